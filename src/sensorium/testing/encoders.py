"""Rules of encoders."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sensorium import io
from sensorium.testing.rules import Skip

_WORDS = ("a", "an arrow that points upwards", "café", "", "one two three four five six seven", "arrow")
_SENT = 1 << 20  # bytes of settings
_NEAR = 1e-4  # of the largest number: what companions in a batch may change


def samples(kind: str) -> list[Any]:
    """A few items of a kind; raises Skip for one that is not known here."""
    random = np.random.default_rng(0)
    if kind == "text":
        return list(_WORDS)
    if kind == "image":
        return [random.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in ((32, 32), (20, 48), (64, 40))]
    if kind == "audio":
        lengths = (16_000, 4_003, 9_600, 300)
        return [((0.1 * random.standard_normal(n)).astype(np.float32), 16_000) for n in lengths]
    raise Skip(f"no samples of '{kind}' items are known; give some: check(part, values=[…])")


class Subject:
    """An encoder and some items for it."""

    def __init__(self, make: Callable[[], Any], values: Sequence[Any] | None) -> None:
        self.make, self.encoder = make, make()
        self.own_values = list(values) if values is not None else None
        self._encoded: Any = None

    @property
    def values(self) -> list[Any]:
        """Items of the kind that it takes."""
        if self.own_values is not None:
            return self.own_values
        if self.encoder.example is not None:
            return [self.encoder.example] * 3
        return samples(self.encoder.takes)

    @property
    def encoded(self) -> Any:
        """All values in one call, made once."""
        if self._encoded is None:
            self._encoded = self.encoder.encode(self.values)
        return self._encoded


def described(s: Subject) -> None:
    """It says the kind of item it takes, the width of its vectors, and a fingerprint that JSON can hold."""
    assert isinstance(s.encoder.takes, str) and s.encoder.takes, f"takes is {s.encoder.takes!r}"
    dim = s.encoder.dim
    assert isinstance(dim, (int, np.integer)) and dim >= 1, f"dim is {dim!r}, expected a whole number from 1"
    text = json.dumps(dict(s.encoder.fingerprint), default=io.plain)
    assert json.loads(text).get("name"), "the fingerprint has no 'name'"


def shape(s: Subject) -> None:
    """Encoding n items gives n finite float32 vectors (n, dim), or with frames n sequences (t, dim) of t >= 1."""
    if s.encoder.frames:
        assert len(s.encoded) == len(s.values), f"{len(s.encoded)} sequences of {len(s.values)} items"
    else:
        assert isinstance(s.encoded, np.ndarray), f"encode gives {type(s.encoded).__name__}, expected an array"
        expected = (len(s.values), s.encoder.dim)
        assert s.encoded.shape == expected, f"shape {s.encoded.shape}, expected {expected}"
    for x in s.encoded if s.encoder.frames else [s.encoded]:
        assert x.ndim == 2 and x.shape[1] == s.encoder.dim and len(x), f"shape {x.shape}, dim is {s.encoder.dim}"
        assert x.dtype == np.float32, f"type {x.dtype}, expected float32"
        assert np.isfinite(x).all(), "NaN or infinity"


def none(s: Subject) -> None:
    """Encoding no items gives no vectors."""
    found = s.encoder.encode([])
    assert len(found) == 0, f"{len(found)} vectors of no items"
    assert s.encoder.frames or found.shape == (0, s.encoder.dim), f"shape {found.shape}, expected (0, {s.encoder.dim})"


def repeatable(s: Subject) -> None:
    """Encoding the same items again gives the same numbers."""
    _same(s.encoded, s.encoder.encode(s.values), 1e-6, "the second time")


def alone(s: Subject) -> None:
    """A vector does not depend on the other items of its batch, nor on its place in it."""
    each = [s.encoder.encode([value])[0] for value in s.values]
    _same(s.encoded, each, _NEAR, "encoded alone")
    _same(s.encoded, list(s.encoder.encode(s.values[::-1]))[::-1], _NEAR, "in reversed order")


def fingerprinted(s: Subject) -> None:
    """Encoders with equal settings have equal fingerprints, which encoding does not change."""
    before = json.dumps(dict(s.make().fingerprint), default=io.plain, sort_keys=True)
    _ = s.encoded
    after = json.dumps(dict(s.encoder.fingerprint), default=io.plain, sort_keys=True)
    assert before == after, f"{before} and then {after}"


def travels(s: Subject) -> None:
    """What pickle takes of it, after it has encoded, makes an encoder with the same vectors in another process."""
    _ = s.encoded
    state = pickle.dumps(s.encoder.__getstate__())
    assert len(state) < _SENT, f"{len(state):,} bytes would be sent; leave what is loaded out of __getstate__"
    other = type(s.encoder).__new__(type(s.encoder))
    vars(other).update(pickle.loads(state))
    _same(s.encoded, other.encode(s.values), 1e-6, "by an encoder that was sent")
    assert dict(other.fingerprint) == dict(s.encoder.fingerprint), "the fingerprint of an encoder that was sent differs"


def streamed(s: Subject) -> None:
    """Frames of a stream equal those of the whole recording, however the samples arrive and beside other streams."""
    encoder = s.encoder
    if not encoder.streams:
        raise Skip("it does not stream")
    sound = [samples("audio")[0][0], samples("audio")[2][0]]
    whole = encoder.encode([(x, encoder.rate) for x in sound])
    n = min(map(len, sound))
    pad = np.zeros(encoder.span - encoder.size, np.float32)
    both = np.stack([np.concatenate([pad, x[:n]]) for x in sound])
    t = (both.shape[1] - encoder.span) // encoder.hop + 1
    for cuts in ([0, t], [0, 1, 2, 9, t // 2, t]):
        state, found = encoder.start(2), [[], []]
        for begin, end in pairwise(cuts):
            at = slice(begin * encoder.hop, (end - 1) * encoder.hop + encoder.span)
            x, counted, voice, state = encoder.step(both[:, at], state)
            assert x.shape == (2, end - begin, encoder.dim), f"step gives {x.shape} for {end - begin} frames"
            assert voice.shape == counted.shape == x.shape[:2], f"which count: {counted.shape}, voice: {voice.shape}"
            for stream in range(2):
                found[stream].append(x[stream][counted[stream]])
        for stream in range(2):
            got = np.concatenate(found[stream])
            _same([whole[stream][: len(got)]], [got], _NEAR, "streamed")


def _same(a: Any, b: Any, tolerance: float, how: str) -> None:
    assert len(a) == len(b), f"{len(b)} results {how}, {len(a)} before"
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        assert np.shape(x) == np.shape(y), f"item {i}: shape {np.shape(y)} {how}, {np.shape(x)} before"
        scale = max(1.0, float(np.abs(x).max(initial=0.0)))
        off = float(np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64)).max(initial=0.0)) / scale
        assert off <= tolerance, f"item {i} differs by {off:.2g} {how}, at most {tolerance:g} is rounding"


RULES = (described, shape, none, repeatable, alone, fingerprinted, travels, streamed)
