"""The doctor for vectors: each fault planted, each fault found."""

import numpy as np
import pytest

from sensorium import contracts
from sensorium.evaluate import diagnostics
from sensorium.types import Embeddings


def table(n=400, d=12, seed=0, change=None):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    if change is not None:
        change(x)
    return Embeddings(np.array([f"item{i}" for i in range(n)]), x, {})


def states(embeddings, *rest):
    found = diagnostics.examine(embeddings, *rest)
    assert all(set(f) == {"check", "state", "found"} and isinstance(f["found"], str) for f in found)
    return {f["check"]: (f["state"], f["found"]) for f in found}


def plant(rows, value):
    def change(x):
        x[rows] = value

    return change


def test_healthy_vectors():
    assert {state for state, _ in states(table()).values()} == {"good"}
    assert states(table())["shape"][1] == "400 items, 400 vectors of 12, float32"


@pytest.mark.parametrize(
    ("check", "state", "text", "change"),
    [
        ("NaN or infinity", "bad", "1 of 400 vectors, such as 'item7'", plant((7, 3), np.nan)),
        ("NaN or infinity", "bad", "1 of 400 vectors, such as 'item9'", plant((9, 3), np.inf)),
        ("zero vectors", "bad", "2 have no direction, such as 'item2', 'item3'", plant(slice(2, 4), 0)),
        ("dead dimensions", "note", "2 of 12 (4, 5)", plant((slice(None), slice(4, 6)), 0)),
        ("constant dimensions", "note", "1 of 12 (4)", plant((slice(None), 4), 2.5)),
        ("duplicates", "note", "1 of 400 vectors repeat another exactly, such as 'item5' = 'item6'",
         lambda x: x.__setitem__(6, x[5])),
        ("norms", "note", "far longer than the rest", lambda x: x.__imul__(np.where(np.arange(400) == 3, 100, 1)[:, None])),
        ("mean cosine", "note", "one narrow cone", lambda x: x.__iadd__(30)),
        ("effective rank", "note", "1.0 of 12", lambda x: x.__setitem__(slice(None), x[:, :1])),
    ],
)  # fmt: skip
def test_planted_fault(check, state, text, change):
    found = states(table(change=change))
    assert found[check][0] == state
    assert text in found[check][1]


def test_effective_rank_of_known_spectra():
    random = np.random.default_rng(0)
    assert diagnostics.effective_rank(random.standard_normal((20_000, 10))) == pytest.approx(10, abs=0.05)
    flat = np.linalg.qr(random.standard_normal((10, 4)))[0]
    assert diagnostics.effective_rank(random.standard_normal((20_000, 4)) @ flat.T) == pytest.approx(4, abs=0.05)
    assert diagnostics.effective_rank(np.ones((5, 3))) == 0


def test_unit_length_is_said():
    x = table()
    unit = x.vectors / np.linalg.norm(x.vectors, axis=1, keepdims=True)
    assert states(Embeddings(x.ids, unit, {}))["norms"] == ("good", "all 1: unit length")


def test_frames():
    x = table(change=plant(slice(10, 12), 0))
    frames = Embeddings(x.ids[:4], x.vectors, {}, offsets=np.array([0, 11, 20, 100, 400]))
    found = states(frames)
    assert found["zero vectors"] == ("note", "2 have no direction, such as 'item0', 'item1'")
    assert "duplicates" not in found


def test_no_vectors():
    assert states(Embeddings(np.array([], str), np.zeros((0, 3), np.float32), {}))["vectors"][0] == "bad"


class Encoder(contracts.Encoder):
    """Numbers to vectors; with faults to order."""

    def __init__(self, padding=0.0, noise=0.0):
        self.padding, self.noise, self.random = padding, noise, np.random.default_rng(0)

    def encode(self, values):
        x = np.stack([np.sin(np.arange(1, 7) * v) for v in values])
        x += self.padding * len(values) + self.noise * self.random.standard_normal(x.shape)
        return x.astype(np.float32)


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        (Encoder(), {"determinism": "good", "batch-invariance": "good", "as stored": "good"}),
        (Encoder(padding=0.5), {"determinism": "good", "batch-invariance": "bad", "as stored": "bad"}),
        (Encoder(noise=0.5), {"determinism": "bad", "batch-invariance": "bad", "as stored": "bad"}),
        (Encoder(noise=1e-3), {"determinism": "note", "batch-invariance": "note", "as stored": "note"}),
    ],
)
def test_encoding_again(encoder, expected):
    values = np.arange(1.0, 31.0).tolist()
    stored = Embeddings(np.array([f"item{i}" for i in range(30)]), Encoder().encode(values), {})
    found = states(stored, encoder, values)
    assert {check: found[check][0] for check in expected} == expected


def test_another_width_is_bad():
    values = np.arange(1.0, 31.0).tolist()
    found = states(table(30), Encoder(), values)
    assert found["as stored"][0] == "bad"
    assert "embed anew" in found["as stored"][1]
