"""The recipe captions-best on real vectors of pictures and five captions each: what it finds, and never below its members on validation."""

import numpy as np
import pytest

import sensorium


@pytest.mark.slow
@pytest.mark.thorough
def test_captions_best_finds_what_it_should_and_is_not_below_its_members(tmp_path, shared_data) -> None:
    file = shared_data / "flickr8k-pairs-4000.npz"
    keys = [f"data.file={file}", "train.precision=fp32", "evaluate.plots=false", "evaluate.leaks=off"]
    run = sensorium.run("captions-best", keys, out=tmp_path / "run", quiet=True)
    found = {(r.get("baseline") or "own", r["direction"]): r["value"] for r in run.metrics["results"]
             if r["measure"] == "hit@10" and r.get("split", "test") == "test"}  # fmt: skip
    assert found["own", "right->left"] >= 0.57 and found["own", "left->right"] >= 0.60
    fit = run.metrics["fit"]
    assert fit["validation"] >= max(row["validation"] for row in fit["mixture"])
    assert np.isclose(sum(row["weight"] for row in fit["mixture"]), 1)
