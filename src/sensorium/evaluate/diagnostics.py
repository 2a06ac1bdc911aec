"""Doctor for vectors: norms, rank, dead or constant dimensions, NaN, duplicates; batch-invariance, determinism."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.evaluate import duplicates
from sensorium.numerics import unit
from sensorium.types import Embeddings, Rows, blocks

_SAMPLE = 20_000  # rows for rank and duplicates; counts of bad rows are over all of them
_BLOCK = 16_384
_ENCODED = 8  # items encoded again
_AGREE = 1e-3  # largest accepted 1 − cosine between two encodings of one item
_SAME = 1e-6


def examine(embeddings: Embeddings, encoder: Any = None, items: Sequence[Any] | None = None) -> list[dict[str, str]]:
    """Findings as records of check, state ("good", "note" or "bad") and found.

    embeddings: one vector an item, or ragged frames. encoder and items (the raw values behind the
    vectors, in order): when both are given, some are encoded again, alone and in a batch, and
    compared with each other and with what is stored.
    """
    x = embeddings.vectors
    if not len(x):
        return [_finding("vectors", "bad", "there are none")]
    numbers = _scan(x)
    found = [
        _finding("shape", "good", f"{len(embeddings)} items, {len(x)} vectors of {x.shape[1]}, {x.dtype}"),
        _finite(numbers, embeddings),
        _zero(numbers, embeddings),
        *_norms(numbers),
        *_dimensions(numbers),
    ]
    fine = np.flatnonzero(numbers["finite"] & (numbers["norm"] > 0))
    if len(fine) > 1:
        rows = fine[np.unique(np.linspace(0, len(fine) - 1, min(len(fine), _SAMPLE)).astype(np.int64))]
        found += [_rank(x, rows), _cone(x, rows)]
        if embeddings.offsets is None:  # frames of silence are rightly equal
            found.append(_duplicates(x, rows, embeddings.ids))
    if encoder is not None and items is not None and len(items):
        found += _encodings(embeddings, encoder, items)
    return found


def effective_rank(x: np.ndarray) -> float:
    """exp of the entropy of the normalised singular values of centred rows (Roy & Vetterli 2007): 1 to d."""
    x = np.asarray(x, np.float64)
    values = np.linalg.eigvalsh(np.cov(x, rowvar=False, bias=True).reshape(x.shape[1], -1))
    s = np.sqrt(np.clip(values, 0, None))
    # Eigenvalues below float64's noise would add up to a rank that is not there.
    s = s[s > 1e-7 * s.max(initial=0)]
    if not len(s):
        return 0.0
    p = s / s.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def _scan(x: Rows) -> dict[str, np.ndarray]:
    """One pass: which rows are finite, norms, and each dimension's range over finite rows."""
    finite, norm = np.ones(len(x), bool), np.zeros(len(x))
    low, high = np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf)
    for rows in blocks(len(x), _BLOCK):
        block = np.asarray(x[rows], np.float32)
        good = np.isfinite(block).all(axis=1)
        finite[rows] = good
        norm[rows] = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
        if good.any():
            low, high = np.minimum(low, block[good].min(axis=0)), np.maximum(high, block[good].max(axis=0))
    return {"finite": finite, "norm": norm, "low": low, "high": high}


def _finite(numbers: dict[str, np.ndarray], embeddings: Embeddings) -> dict[str, str]:
    bad = np.flatnonzero(~numbers["finite"])
    if not len(bad):
        return _finding("NaN or infinity", "good", "none")
    return _finding("NaN or infinity", "bad", f"{len(bad)} of {len(numbers['finite'])} vectors, such as "
                    f"{_names(embeddings, bad)}; encode those items again")  # fmt: skip


def _zero(numbers: dict[str, np.ndarray], embeddings: Embeddings) -> dict[str, str]:
    bad = np.flatnonzero(numbers["finite"] & (numbers["norm"] == 0))
    if not len(bad):
        return _finding("zero vectors", "good", "none")
    state = "bad" if embeddings.offsets is None else "note"
    return _finding("zero vectors", state, f"{len(bad)} have no direction, such as {_names(embeddings, bad)}")


def _norms(numbers: dict[str, np.ndarray]) -> list[dict[str, str]]:
    norm = numbers["norm"][numbers["finite"]]
    if not len(norm):
        return []
    low, middle, high = np.quantile(norm, [0, 0.5, 1])
    text = "all 1: unit length" if np.abs(norm - 1).max() < 1e-3 else f"{low:.4g} to {high:.4g}, median {middle:.4g}"
    wild = middle > 0 and high > 20 * middle
    return [
        _finding("norms", "note" if wild else "good", text + ("; a few are far longer than the rest" if wild else ""))
    ]


def _dimensions(numbers: dict[str, np.ndarray]) -> list[dict[str, str]]:
    low, high = numbers["low"], numbers["high"]
    constant = np.flatnonzero(low == high)
    dead = constant[low[constant] == 0]
    found = []
    for name, which in (("dead dimensions", dead), ("constant dimensions", np.setdiff1d(constant, dead))):
        some = ", ".join(map(str, which[:5])) + (", …" if len(which) > 5 else "")
        text = f"{len(which)} of {len(low)} ({some})" if len(which) else "none"
        found.append(_finding(name, "note" if len(which) else "good", text))
    return found


def _rank(x: Rows, rows: np.ndarray) -> dict[str, str]:
    rank = effective_rank(np.asarray(x[rows], np.float64))
    d = int(x.shape[1])
    few = rank < max(1.5, 0.05 * min(d, len(rows)))
    return _finding("effective rank", "note" if few else "good", f"{rank:.1f} of {min(d, len(rows) - 1)}"
                    + ("; a few directions carry nearly everything: try preprocess=whiten" if few else ""))  # fmt: skip


def _cone(x: Rows, rows: np.ndarray) -> dict[str, str]:
    block = np.asarray(x[rows], np.float64)
    mean = unit(block).mean(axis=0)
    cosine = float(mean @ mean)
    narrow = cosine > duplicates.CONE
    return _finding("mean cosine", "note" if narrow else "good", f"{cosine:.3f} between random rows"
                    + ("; one narrow cone: try preprocess=center" if narrow else ""))  # fmt: skip


def _duplicates(x: Rows, rows: np.ndarray, ids: np.ndarray) -> dict[str, str]:
    block = np.ascontiguousarray(x[rows])
    _, first, code, count = np.unique(block.view(np.dtype((np.void, block.itemsize * block.shape[1])))[:, 0],
                                      return_index=True, return_inverse=True, return_counts=True)  # fmt: skip
    extra = len(rows) - len(first)
    if not extra:
        return _finding("duplicates", "good", f"none among {len(rows)}")
    twin = np.flatnonzero(code == np.flatnonzero(count > 1)[0])[:2]
    return _finding("duplicates", "note", f"{extra} of {len(rows)} vectors repeat another exactly, such as "
                    f"{' = '.join(map(repr, ids[rows[twin]].tolist()))}")  # fmt: skip


def _encodings(embeddings: Embeddings, encoder: Any, items: Sequence[Any]) -> list[dict[str, str]]:
    which = np.unique(np.linspace(0, len(items) - 1, min(len(items), _ENCODED)).astype(np.int64))
    values = [items[int(i)] for i in which]
    together, again = encoder.encode(values), encoder.encode(values)
    alone = [encoder.encode([value])[0] for value in values]
    stored = [_stored(embeddings, int(i)) for i in which]
    found = []
    for check, a, b, good in (
        ("determinism", together, again, "the same items give the same vectors twice"),
        ("batch-invariance", together, alone, "alone and in a batch an item gives the same vector"),
        ("as stored", together, stored, "encoding again gives what is stored"),
    ):
        worst = max(_apart(p, q) for p, q in zip(a, b, strict=True))
        state = "good" if worst < _SAME else "note" if worst < _AGREE else "bad"
        text = good if worst < _SAME else f"largest 1 − cosine {worst:.2g} over {len(values)} items"
        found.append(_finding(check, state, text + _REMEDY.get((check, state), "")))
    return found


_REMEDY = {
    ("batch-invariance", "bad"): "; padding or batch statistics leak between items: correct the encoder first",
    ("determinism", "bad"): "; the encoder is random (dropout left on, unseeded crops?)",
    ("as stored", "bad"): "; the store was made by another encoder or other data: embed anew",
}  # fmt: skip


def _stored(embeddings: Embeddings, i: int) -> np.ndarray:
    if embeddings.offsets is None:
        return np.asarray(embeddings.vectors[np.array([i])])[0]
    return np.asarray(embeddings.vectors[slice(int(embeddings.offsets[i]), int(embeddings.offsets[i + 1]))])


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """1 − cosine of two encodings as whole arrays; 2 when their shapes differ."""
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    if a.shape != b.shape:
        return 2.0
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    return float(max(0.0, 1 - a @ b / scale)) if scale else float(np.abs(a - b).max(initial=0))


def _names(embeddings: Embeddings, vectors: np.ndarray) -> str:
    """Ids of the items that own some vectors."""
    offsets = embeddings.offsets
    items = vectors if offsets is None else np.unique(np.searchsorted(offsets, vectors, side="right") - 1)
    return ", ".join(map(repr, embeddings.ids[items[:3]].tolist()))


def _finding(check: str, state: str, found: str) -> dict[str, str]:
    return {"check": check, "state": state, "found": found}
