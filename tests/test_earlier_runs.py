"""Runs made by an earlier commit (tests/fixtures/earlier, one a head) open and answer as they did then."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import sensorium
from sensorium import heads, parts
from sensorium.numerics import ragged

EARLIER = Path(__file__).parent / "fixtures" / "earlier"
NAMES = sorted(folder.name for folder in EARLIER.iterdir())


def test_there_is_a_run_of_every_head() -> None:
    assert set(NAMES) >= {"gru", "identity", "layers", "linear", "lstm", "mlp", "pca", "statistics", "tcn"}


@pytest.mark.parametrize("name", NAMES)
def test_an_earlier_run_opens_and_answers_as_it_did(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    shutil.copytree(EARLIER / name, folder)
    expected = json.loads((folder / "expected.json").read_text())
    run = sensorium.open(folder)
    head = run.head("left")
    x = np.random.default_rng(1).standard_normal((12, head.dim_in)).astype(np.float32)
    z = ragged.apply_frames(head, x, np.array([0, 5, 12])) if head.takes_sequences else heads.apply(head, x)
    np.testing.assert_allclose(z, expected["projected"], rtol=1e-5, atol=1e-6)
    found = run.search(id=expected["query"], side="left", to="right", k=3)
    assert [hit["id"] for hit in found] == [hit["id"] for hit in expected["hits"]]
    np.testing.assert_allclose([h["score"] for h in found], [h["score"] for h in expected["hits"]], rtol=1e-5)
    assert run.metrics["results"]


@pytest.mark.parametrize("name", NAMES)
def test_a_head_is_saved_under_the_name_it_is_found_by(name: str, tmp_path: Path) -> None:
    """Wherever its class is defined: a part may be a partial of a class in another module."""
    head, encoder = heads.restore(EARLIER / name / "left")
    heads.save(head, tmp_path / "again", name, encoder)
    saved = json.loads((tmp_path / "again.json").read_text())
    assert saved["name"] == name and name in parts.names("heads")
    again, _ = heads.restore(tmp_path / "again")
    assert {k: v.numpy().tobytes() for k, v in again.state_dict().items()} == {
        k: v.numpy().tobytes() for k, v in head.state_dict().items()
    }
