"""Minibatches by index: drawn per epoch from a seed alone, gathered without Python per row."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import BadData, BadRecipe
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.raw_items import RawItems
from sensorium.numerics.ragged import alike
from sensorium.pairs import Pairs, csr
from sensorium.pairs.positives import BatchPositives, Positives
from sensorium.types import Embeddings, blocks

_READ = 1 << 12  # rows read at a time into memory: few enough to stay in the cache
_FRAMES = 1 << 15  # padded frames, likewise


def step_size(n: int, options: TrainOptions) -> tuple[int, int, str]:
    """Pairs of a batch, batches of a step, and a note, empty unless n training pairs are fewer than the options ask.

    The batch becomes smaller first, down to 2, then the number of batches. Mixup makes one row of two, so that a batch
    has 4 pairs at least. Raises BadData for fewer pairs than a batch has at least, BadRecipe for a smaller batch.
    """
    least = 4 if options.mixup else 2
    if 2 <= n < least:
        raise BadData(f"{n} related training pairs; train.mixup needs {least} at least; type: train.mixup=0")
    if (options.batch or least) < least:
        raise BadRecipe(f"train.batch={options.batch} with train.mixup; expected {least} or more")
    if n < 2:
        few = "no related training pair" if n < 1 else "1 related training pair"
        raise BadData(f"{few}; a trained fit needs 2 at least, a closed form 1; type: objective=ridge")
    batch, each = options.batch, options.accumulate
    if n >= (batch or least) * each:
        return batch or min(1024, max(least, n // (8 * each))), each, ""
    asked = f"train.batch={batch or least}" + (f" times train.accumulate={each}" if each > 1 else "")
    each = min(each, n // least)
    batch = min(batch or least, n // each)
    used = f"train.batch={batch}" + (f" train.accumulate={each}" if options.accumulate > 1 else "")
    return batch, each, f"{n:,} training pairs are fewer than {asked}: {used} is used"


class Batch(NamedTuple):
    """One minibatch: inputs of both heads (b, d), or (frames (b, t, d), lengths (b,)); the positives among them."""

    left: Any
    right: Any
    positives: Positives
    part: slice = slice(None)  #: of a fit by several processes: the rows that ``left`` and ``right`` are of


class Side:
    """The training vectors of one side, read by row.

    Cached in memory, in the dtype they are used in, when they fit ``budget`` bytes; else ``table``
    is None and they are read batch by batch. change: applied to vectors before use, once when
    cached: an untrained head (pca), or a head's input statistics. frozen: the same for sequences of
    frames, (b, t, d) and lengths (b,) in, a vector (b, w) each out; without it they come as they are.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        rows: np.ndarray,
        device: torch.device,
        budget: int,
        dtype: torch.dtype = torch.float32,
        change: Callable[[Tensor], Tensor] | None = None,
        frozen: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        self.vectors, self.offsets = embeddings.vectors, embeddings.offsets
        self.raw = self.vectors if isinstance(self.vectors, RawItems) else None
        self.dtype, self.device, self.change, self.frozen = dtype, device, change, frozen
        self.table: Tensor | None = None
        rows = np.unique(rows)
        dim = embeddings.dim
        if self.offsets is not None:
            dim = self._pooled(rows[:1]).shape[1] if frozen and len(rows) else 0
        if dim and self.raw is None and len(rows) * dim * dtype.itemsize <= budget:
            self.position = np.zeros(len(embeddings.vectors), np.int64)
            self.position[rows] = np.arange(len(rows))
            self.table = self._cache(rows)

    def take(self, rows: np.ndarray, turn: tuple[int, ...] | None = None, first: int = 0) -> Any:
        """Inputs (b, d) of these rows; (frames (b, t, d), lengths (b,)) where items are frame sequences.

        Raw items come as a :class:`RawBatch`, pictures augmented where ``turn`` says when: step and batch of it.
        first: place of the first row in the whole batch.
        """
        if self.raw is not None:
            return (self.raw[rows] if turn is None else self.raw.augmented(rows, turn, first)).to(self.device)
        if self.table is not None:
            at = torch.from_numpy(self.position[rows])
            return self.table.index_select(0, at.to(self.device))
        if self.offsets is None:
            return self._read(rows)
        return self._pooled(rows) if self.frozen else self._frames(rows)

    def _cache(self, rows: np.ndarray) -> Tensor:
        """All rows in one tensor, filled block by block so that there is never a second full copy."""
        table = None
        single = self.offsets is None
        parts = blocks(len(rows), _READ) if single else alike(np.diff(self.offsets)[rows], _FRAMES)
        for part in parts:
            x = self._read(rows[part]) if single else self._pooled(rows[part])
            table = x.new_empty((len(rows), x.shape[1])) if table is None else table
            table[part] = x
        return table

    def _read(self, rows: np.ndarray) -> Tensor:
        if len(rows) and (np.diff(rows) == 1).all():
            block = np.ascontiguousarray(self.vectors[int(rows[0]) : int(rows[-1]) + 1], np.float32)
        else:
            order = np.argsort(rows, kind="stable")  # a memory map is read front to back
            block = np.empty((len(rows), self.vectors.shape[1]), np.float32)
            block[order] = self.vectors[rows[order]]
        with warnings.catch_warnings():  # a memory map is read-only, and nothing here writes to it
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            x = torch.from_numpy(block).to(self.device)
        with torch.no_grad():
            return (x if self.change is None else self.change(x)).to(self.dtype)

    @torch.no_grad()
    def _pooled(self, rows: np.ndarray) -> Tensor:
        """The frozen part of a head, (b, w), applied to the frames of these rows."""
        return self.frozen(*self._frames(rows)).to(self.dtype)

    def _frames(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        start, length = self.offsets[rows], np.diff(self.offsets)[rows]
        item = np.repeat(np.arange(len(rows)), length)
        frame = csr.positions(length)
        padded = np.zeros((len(rows), int(length.max(initial=0)), self.vectors.shape[1]), np.float32)
        padded[item, frame] = self.vectors[np.repeat(start, length) + frame]
        return torch.from_numpy(padded).to(self.device), torch.from_numpy(length.astype(np.int64)).to(self.device)


class Sampler:
    """Assigns training pairs to batches: a function of (seed, epoch) alone.

    Every epoch is a new permutation, cut into ``steps`` steps of ``accumulate`` batches of ``batch``
    pairs; the rest of it is left out. Under balance it draws as often from every class (right
    item) or group; with together, the permutation is of items, each with all its pairs. Raises
    BadData for fewer than two pairs.
    """

    def __init__(self, pairs: Pairs, options: TrainOptions, seed: int) -> None:
        self.pairs, self.seed = pairs, seed
        self.batch, self.accumulate, _ = step_size(len(pairs), options)
        self.steps = len(pairs) // (self.batch * self.accumulate)
        self.kind = None
        if options.balance != "none":
            key = pairs.right if options.balance == "class" else pairs.group
            self.kind = np.unique(key, return_inverse=True)[1]
        self.item = None
        if options.together != "none":
            key = pairs.left if options.together == "left" else pairs.right
            self.item = np.unique(key, return_inverse=True)[1]

    def epoch(self, epoch: int) -> np.ndarray:
        """Positions (steps, accumulate, batch) of the pairs of one epoch, counted from 0."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.pairs)) if self.kind is None else self._balanced(rng)
        if self.item is not None:
            place = rng.permutation(int(self.item.max()) + 1)
            order = order[np.argsort(place[self.item[order]], kind="stable")]
        return order[: self.steps * self.accumulate * self.batch].reshape(self.steps, self.accumulate, self.batch)

    def _balanced(self, rng: np.random.Generator) -> np.ndarray:
        """As many pairs of each kind: those of a kind in random order, repeated until they suffice."""
        n = len(self.pairs)
        order = rng.permutation(n)
        order = order[np.argsort(self.kind[order], kind="stable")]
        count = np.bincount(self.kind)
        start = csr.offsets_of(count)[:-1]
        each = -(-n // len(count))
        turn = np.tile(np.arange(each), len(count))
        kind = np.repeat(np.arange(len(count)), each)
        return rng.permutation(order[start[kind] + turn % count[kind]])


def batches(
    sampler: Sampler,
    sides: tuple[Side, Side],
    positives: BatchPositives,
    start: int,
    total: int,
    part: slice = slice(None),
) -> Iterator[list[Batch]]:
    """The batches of each of the steps ``start`` … ``total`` - 1.

    Where a side is larger than memory, the next step's are read in a thread meanwhile. part: rows of each batch whose
    inputs are read; the positives are always those of the whole batch.
    """
    left, right = sampler.pairs.left, sampler.pairs.right

    def make(number: int, step: np.ndarray) -> list[Batch]:
        rows, first = [(left[chosen], right[chosen]) for chosen in step], part.start or 0
        return [Batch(sides[0].take(a[part], (number, k, 0), first), sides[1].take(b[part], (number, k, 1), first),
                      positives.of(a, b), part) for k, (a, b) in enumerate(rows)]  # fmt: skip

    def steps() -> Iterator[np.ndarray]:
        for epoch in range(start // sampler.steps, -(-total // sampler.steps)):
            before = epoch * sampler.steps
            yield from sampler.epoch(epoch)[max(start - before, 0) : total - before]

    if all(side.table is not None for side in sides):
        yield from map(make, count(start), steps())
        return
    with ThreadPoolExecutor(1) as reader:
        coming = None
        for number, step in enumerate(steps(), start):
            ready, coming = coming, reader.submit(make, number, step)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()
