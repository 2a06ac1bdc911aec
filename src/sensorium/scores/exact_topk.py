"""Exact top-k: a floor under the k-th best rises block by block, and only what may reach it is scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from sensorium.numerics import memory_limits, threads
from sensorium.scores import cpu_features, int8
from sensorium.scores.similarity import error32, near_scores, scores_at
from sensorium.scores.source import Source, same_width
from sensorium.types import Rows, blocks

_ROWS, _COLUMNS = 1024, 4096
_PAIRS = 1 << 20  # pairs collected at a time
_TILE = 1 << 20  # scores of a float32 tile when the queries are few
_CACHED = 1 << 28  # codes of a table (bytes) that are cached between blocks of queries, where there is memory
_SMALL, _SHARE = 1 << 24, 0.1  # bytes that are cached in any case; share of the free memory for more

Part = tuple[slice, np.ndarray, int8.Block]  # positions, vectors, codes


def topk(
    queries: Rows,
    candidates: Rows,
    k: int,
    own: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    lengths: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k candidates of highest score for each query: positions (q, k) int64, scores (q, k) float32.

    queries (q, d), candidates (m, d). own (q,): a candidate position never returned for that
    query, -1 for none. mask (m,): which candidates may be returned. lengths (m,): of candidates
    that were checked before, which spares a pass over them. Equal scores come in order of
    position. Where fewer than k remain, the position is -1 and the score -inf.
    Raises BadData on NaN, infinite or overlong vectors and on different widths.
    """
    same_width(queries, candidates)
    positions, scores = _empty(len(queries), k)
    allowed = None if mask is None else np.flatnonzero(mask)
    source, query_source = Source(candidates, allowed, known=lengths), Source(queries, None, "queries")
    if not (k and len(source) and len(query_source)):
        return positions, scores
    if own is not None and allowed is not None:  # positions among the allowed
        own = np.where(np.asarray(mask)[own] & (own >= 0), np.searchsorted(allowed, own), -1)
    use = cpu_features.choose(float(len(query_source)) * len(source) * source.width)
    parts = _Parts(source, use.torch) if use.int8 else None

    def answer(rows: slice) -> None:
        q, length = query_source.read(rows)
        mine = None if own is None else own[rows]
        if parts is not None:
            narrowed = int8.QuantizedQueries(q, length, parts.space, use.torch)
            positions[rows], scores[rows] = scan(narrowed, q, parts, source, k, mine)
        else:
            positions[rows], scores[rows] = _by_float32(q, length, source, k, mine)

    if use.int8:
        threads.each(answer, blocks(len(query_source), share(len(query_source), use.torch)), use.torch)
    else:
        for rows in blocks(len(query_source), _ROWS):
            answer(rows)
    if allowed is not None:
        positions = np.where(positions >= 0, allowed[positions], -1)
    return positions, scores


class _Parts:
    """A table as coded blocks; the codes are cached for the next queries while they are small."""

    def __init__(self, source: Source, torch: Any) -> None:
        self.source, self.torch, self.space = source, torch, int8.space_of(source)
        self.cached: list[int8.Block] = []
        size = len(source) * source.width
        if size <= _SMALL or size <= min(_CACHED, _SHARE * memory_limits.available()):
            self.cached = threads.each(
                lambda part: self._code(*source.read(part)), blocks(len(source), _COLUMNS), torch
            )

    def __iter__(self) -> Iterator[Part]:
        for n, (part, c, length) in enumerate(self.source.blocks(_COLUMNS)):
            yield part, c, self.cached[n] if self.cached else self._code(c, length)

    def _code(self, c: np.ndarray, length: np.ndarray) -> int8.Block:
        return int8.encode(c, length, self.space, self.torch)


def share(queries: int, torch: Any) -> int:
    """How many queries a thread takes at a time: all threads busy, products not too thin, memory bounded."""
    return int(np.clip(-(-queries // threads.count(torch)), 1, _ROWS))


def scan(
    quantized: int8.QuantizedQueries,
    q: np.ndarray,
    parts: Iterable[Part],
    vectors: Source,
    k: int,
    own: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Top-k of queries q (b, d) over coded blocks of ``vectors``, by int8 products; otherwise as :func:`topk`."""
    torch, best = quantized.torch, _Best(q, vectors, k)
    for part, c, block in parts:
        tile = quantized.tile(slice(None), block)
        if mask is not None:
            tile[:, : block.size].masked_fill_(torch.from_numpy(~mask[part]), -int8.NEVER)
        if own is not None:
            here = np.flatnonzero((own >= part.start) & (own < part.stop))
            tile[torch.from_numpy(here), torch.from_numpy(own[here] - part.start)] = -int8.NEVER
        top = int8.stretch_tops(tile)
        if block.size >= k and np.isneginf(best.floor).any():
            # k stretches reach the k-th greatest of their maxima, so the k-th best score is no lower.
            wide = top if top.shape[1] >= k else tile.numpy()
            value = np.partition(wide, wide.shape[1] - k, axis=1)[:, wide.shape[1] - k]
            least = value * (quantized.step * block.step) + quantized.constant - quantized.error(block)
            best.floor = np.maximum(best.floor, np.where(value > -int8.NEVER, least, -np.inf))
        low, _ = quantized.limits(best.floor[:, None], block)
        i, j, _ = int8.found(tile, low[:, 0], top)
        error = error32(quantized.length, block.longest, q.shape[1])
        best.add(i, part.start + j, near_scores(q, c, i, j, torch), error[i])
    return best.settle()


class _Best:
    """Candidates that may belong to the k best of each query, and a floor under each k-th best score."""

    def __init__(self, q: np.ndarray, vectors: Source, k: int) -> None:
        self.q, self.vectors, self.k = q, vectors, k
        self.floor = np.full(len(q), -np.inf)
        self.found: list[tuple[np.ndarray, ...]] = []
        self.size = self.settled = 0

    def add(self, i: np.ndarray, position: np.ndarray, near: np.ndarray, error: np.ndarray) -> None:
        """Take in found pairs; ``near`` lies within ``error`` of their scores."""
        self.found.append((i, position, near - error, near + error))
        self.size += len(i)
        if self.size > 2 * self.settled:  # raising the floor sorts what is collected, so it waits for doubling
            self._raise()

    def settle(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (b, k) and scores (b, k) of the best, by the definition."""
        self._raise()
        return self._decided()

    def _decided(self) -> tuple[np.ndarray, np.ndarray]:
        (i, position, _, _), positions_scores = self.found[0], _empty(len(self.q), self.k)
        for part in blocks(len(i), _PAIRS):
            score = np.empty(len(i[part]), np.float32)
            for few in blocks(len(score), 8192):
                c = self.vectors.take(position[part][few])
                score[few] = scores_at(self.q, c, i[part][few], np.arange(len(c)))
            merge(*positions_scores, i[part], position[part], score)
        return positions_scores

    def _raise(self) -> None:
        i, position, least, most = (np.concatenate(x) for x in zip(*self.found, strict=True))
        counts = np.bincount(i, minlength=len(self.floor))
        full = np.flatnonzero(counts >= self.k)
        kth = (np.cumsum(counts) - counts)[full] + self.k - 1
        self.floor[full] = np.maximum(self.floor[full], _descending(i, least)[kth])
        keep = most >= self.floor[i]
        self.found = [(i[keep], position[keep], least[keep], most[keep])]
        self.size = self.settled = int(np.count_nonzero(keep))
        if self.size > max(_PAIRS, 2 * self.k * len(self.q)):  # a crowd of nearly equal scores: decide now
            positions, scores = self._decided()
            self.floor = np.maximum(self.floor, scores[:, -1])
            i, column = np.nonzero(positions >= 0)
            exact = scores[i, column].astype(np.float64)
            self.found = [(i, positions[i, column], exact, exact)]
            self.size = self.settled = len(i)


def _empty(b: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((b, k), -1, np.int64), np.full((b, k), -np.inf, np.float32)


def _descending(i: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Values by ascending row i, descending within a row, each rounded down to float32.

    Row and value become one integer that orders like both, which sorts ten times faster than two keys.
    """
    bits = np.nextafter(value.astype(np.float32), np.float32(-np.inf)).view(np.int32)
    rank = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
    keys = np.sort((i << 32) + (0x7FFFFFFF - rank))
    bits = (0x7FFFFFFF - (keys & 0xFFFFFFFF)).astype(np.int32)
    return np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).view(np.float32)


def _by_float32(
    q: np.ndarray, length: np.ndarray, source: Source, k: int, own: np.ndarray | None
) -> tuple[np.ndarray, ...]:
    positions, scores = _empty(len(q), k)
    for part, c, c_length in source.blocks(max(_COLUMNS, _TILE // len(q))):
        tile = q @ c.T
        if own is not None:
            here = np.flatnonzero((own >= part.start) & (own < part.stop))
            tile[here, own[here] - part.start] = -np.inf
        error = error32(length, float(c_length.max()), source.width)
        floor = scores[:, -1].astype(np.float64)
        if len(c) >= k:  # the k-th best of this block alone is a floor too
            floor = np.maximum(floor, np.partition(tile, len(c) - k, axis=1)[:, len(c) - k] - error)
        i, j = np.nonzero((tile >= (floor - error)[:, None]) & (tile > -np.inf))
        merge(positions, scores, i, part.start + j, scores_at(q, c, i, j))
    return positions, scores


def merge(positions: np.ndarray, scores: np.ndarray, i: np.ndarray, position: np.ndarray, score: np.ndarray) -> None:
    """Put (query, position, score) triples into the best k of each query, (b, k), in place."""
    b, k = positions.shape
    row = np.concatenate([np.repeat(np.arange(b), k), i])
    position = np.concatenate([positions.ravel(), position])
    score = np.concatenate([scores.ravel(), score])
    # Equal scores in order of position; an empty place (position -1, score -inf) stands last.
    order = np.lexsort((position, -score, row))
    starts = np.searchsorted(row[order], np.arange(b))
    best = order[starts[:, None] + np.arange(k)]
    positions[:], scores[:] = position[best], score[best]
