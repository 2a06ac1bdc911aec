"""Augmented recordings as items: speed, pitch, gain and noise, drawn by seed and made when they are read."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sensorium.errors import BadRecipe, nearest
from sensorium.modalities.audio import files
from sensorium.types import Data, Items, as_ids

KINDS = ("speed", "pitch", "gain", "noise")
_MOST = 1000  # copies of each recording
SPEED = (0.86, 1.14)  # times as fast, which moves pitch and formants with it
PITCH = (-3.0, 3.0)  # semitones, at the same length
GAIN = (-6.0, 6.0)  # dB
NOISE = (10.0, 30.0)  # dB signal-to-noise ratio


class Variant(NamedTuple):
    """An augmented recording: its source and changes are its content key, so a store embeds it once.

    semitones, gain (dB) and noise (dB signal-to-noise; infinity for none) are applied in this order after speed.
    """

    path: str
    speed: float = 1.0
    semitones: float = 0.0
    gain: float = 0.0
    noise: float = float("inf")
    seed: int = 0

    def samples(self, rate: int) -> np.ndarray:
        """Mono float32 samples (n,) at ``rate`` Hz."""
        x = files.read(self.path, rate)
        if self.speed != 1.0:
            x = files.resample(x, round(rate * self.speed), rate)
        if self.semitones:
            factor = 2.0 ** (self.semitones / 12.0)
            # Stretched to be longer, then played faster by as much: the same length, another pitch.
            x = files.resample(stretch(x, factor, rate), round(rate * factor), rate)
        if self.gain:
            x = x * np.float32(10.0 ** (self.gain / 20.0))
        if np.isfinite(self.noise):
            level = np.sqrt(np.mean(x.astype(np.float64) ** 2)) * 10.0 ** (-self.noise / 20.0)
            x = x + (level * np.random.default_rng(self.seed).standard_normal(len(x))).astype(np.float32)
        return x

    def __str__(self) -> str:
        return self.path

    def description(self) -> str:
        """Description of the changes, such as "speed 1.08, gain -3.1 dB"."""
        parts = [
            (self.speed != 1.0, f"speed {self.speed:.2f}"),
            (self.semitones != 0.0, f"pitch {self.semitones:+.1f} st"),
            (self.gain != 0.0, f"gain {self.gain:+.1f} dB"),
            (np.isfinite(self.noise), f"noise {self.noise:.0f} dB"),
        ]
        return ", ".join(text for applies, text in parts if applies)


def stretch(x: np.ndarray, factor: float, rate: int) -> np.ndarray:
    """Samples (n,) ``factor`` times as long at the same pitch, by WSOLA (Verhelst & Roelands 1993).

    Windows of 32 ms are laid at half overlap; each is taken from where the input continues the
    window before it best, within 8 ms of its place.
    """
    size, search = int(0.032 * rate) // 2 * 2, int(0.008 * rate)
    half = size // 2
    if len(x) < 2 * size:
        return files.resample(x, rate, round(rate * factor))  # too short to have a pitch of its own
    window = np.hanning(size + 1)[:size].astype(np.float32)
    padded = np.concatenate([np.zeros(half + search, np.float32), x, np.zeros(size + 2 * search, np.float32)])
    count = int(np.ceil(len(x) * factor / half)) + 1
    out = np.zeros((count + 1) * half, np.float32)
    target = padded[search : search + size]
    for k in range(count):
        place = min(int(k * half / factor), len(padded) - size - 2 * search - half)
        near = np.lib.stride_tricks.sliding_window_view(padded[place : place + size + 2 * search], size)
        at = place + int(np.argmax(near @ target)) if k else place + search
        out[k * half : k * half + size] += window * padded[at : at + size]
        target = padded[at + half : at + half + size]
        if len(target) < size:
            target = np.pad(target, (0, size - len(target)))
    return out[half : half + round(len(x) * factor)]


def draw(path: str, kinds: Sequence[str], probability: float, rng: np.random.Generator) -> Variant:
    """A variant to which each kind of change is applied with this probability, at least one always."""
    applied = [kind for kind in kinds if rng.random() < probability] or [str(rng.choice(list(kinds)))]
    field_of = {"speed": "speed", "pitch": "semitones", "gain": "gain", "noise": "noise"}
    ranges = {"speed": SPEED, "pitch": PITCH, "gain": GAIN, "noise": NOISE}
    values = {field_of[kind]: round(float(rng.uniform(*ranges[kind])), 3) for kind in applied}
    return Variant(path, **values, seed=int(rng.integers(1 << 31)) if "noise" in applied else 0)


def with_copies(data: Data, copies: int, probability: float, kinds: Sequence[str], seed: int) -> Data:
    """The data with ``copies`` variants of every training recording, as further training items.

    Their ids end in "~1", "~2" …, and they are not searchable. The same seed
    draws the same variants, so a store encodes them once. Raises BadRecipe for values out of range.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise BadRecipe(f"data.augment_kinds: '{kind}'; {nearest(kind, KINDS)}")
    if not 0 <= copies <= _MOST or not 0 < probability <= 1 or not kinds:
        raise BadRecipe(
            f"data.copies={copies}, data.augment={probability}, {len(kinds)} augment_kinds; "
            f"expected 0 to {_MOST} copies, a probability above 0 and up to 1, and a kind; for none type: data.copies=0"
        )
    left, pairs = data.left, data.pairs
    if not copies:
        return data
    chosen = np.flatnonzero(pairs.split == "train")
    rows = pairs.left[chosen]
    # From the id alone, so that other splits of the same data share their copies in a store.
    origins = [(k, zlib.crc32(str(left.ids[row]).encode()), row) for k in range(copies) for row in rows]
    made = [draw(str(left.values[row]), kinds, probability, np.random.default_rng([seed, k, name]))
            for k, name, row in origins]  # fmt: skip
    numbers = np.repeat(np.arange(1, copies + 1), len(rows))
    ids = [f"{left.ids[row]}~{k}" for row, k in zip(np.tile(rows, copies), numbers, strict=True)]
    origin = np.concatenate([np.arange(len(left)), np.tile(rows, copies)])
    meta = {name: np.asarray(column)[origin] for name, column in left.meta.items()}
    searchable = np.arange(len(origin)) < len(left)
    items = Items(as_ids([*left.ids.tolist(), *ids]), [*left.values, *made], left.kind, meta, searchable=searchable)
    extra = np.tile(chosen, copies)
    added = {name: np.concatenate([getattr(pairs, name), getattr(pairs, name)[extra]])
             for name in ("right", "label", "group", "split")}  # fmt: skip
    grown = replace(pairs, left=np.concatenate([pairs.left, len(left) + np.arange(len(made))]), **added)
    return Data(items, data.right, grown, {**data.notes, "augmented": len(made)})
