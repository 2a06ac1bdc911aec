"""Places of new vectors on a run's map, without computing the map again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sensorium.numerics import unit
from sensorium.serve.engine import binary
from sensorium.serve.engine.projection import Maps, Space, Working, space_of
from sensorium.serve.engine.registry import ServedRun

FITTED = 4096  # rows of each side that the linear map is solved from
NEIGHBOURS = 10


@dataclass(frozen=True)
class Linear:
    """A map that is a linear function of the vectors, which PCA is: xy = (vectors - centre) weight + bias."""

    centre: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Places (n, 2) of vectors (n, d)."""
        return (vectors - self.centre) @ self.weight + self.bias


@dataclass(frozen=True)
class Neighbours:
    """A map that is no function of the vectors: the mean place of the nearest mapped items of one side.

    By cosine, weighted by similarity; UMAP begins its own transform of new points with such a mean.
    vectors (n, d) at unit length; xy (n, 2).
    """

    vectors: np.ndarray
    xy: np.ndarray

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Places (n, 2) of vectors (n, d)."""
        similar = unit(vectors) @ self.vectors.T
        k = min(NEIGHBOURS, similar.shape[1])
        nearest = np.argpartition(-similar, k - 1, axis=1)[:, :k]
        weight = np.take_along_axis(similar, nearest, 1)
        weight = weight - weight.min(1, keepdims=True) + 1e-3
        return (weight[..., None] * self.xy[nearest]).sum(1) / weight.sum(1, keepdims=True)


Placer = Linear | Neighbours


async def placer(maps: Maps, served: ServedRun, method: str, n: int, side: str) -> Placer | None:
    """What places vectors of a side on the map that ``GET /runs/{run}/map`` gives; None while that is computed.

    Raises a problem where there can be no such map.
    """
    body = await maps.get(served, method, n)
    if isinstance(body, Working):
        return None
    space = await space_of(served)
    return await asyncio.to_thread(_placer, body, space, side)


def _placer(body: bytes, space: Space, side: str) -> Placer:
    header, arrays = binary.unpack(body)
    parts = _sides(header["sides"], arrays, space.vectors)
    if header["method"] != "pca":
        vectors, xy = parts[side]
        return Neighbours(unit(vectors), xy)
    chosen = [_some(*one) for one in parts.values()]
    x = np.concatenate([vectors for vectors, _ in chosen]).astype(np.float64)
    y = np.concatenate([xy for _, xy in chosen]).astype(np.float64)
    centre, bias = x.mean(0), y.mean(0)
    weight = np.linalg.lstsq(x - centre, y - bias, rcond=1e-9)[0]  # exact, as y is a linear function of x
    return Linear(*(one.astype(np.float32) for one in (centre, weight, bias)))


def _sides(
    sides: list[dict[str, int]], arrays: Mapping[str, np.ndarray], vectors: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By side, the vectors and places of the mapped rows; rows that are gone since are left out."""
    found = {}
    for one in sides:
        at = slice(one["start"], one["start"] + one["points"])
        mine = vectors[one["name"]]
        there = arrays["rows"][at] < len(mine)
        found[one["name"]] = (mine[arrays["rows"][at][there]], arrays["xy"][at][there])
    return found


def _some(vectors: np.ndarray, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most FITTED rows, evenly spread."""
    rows = np.linspace(0, len(vectors) - 1, min(FITTED, len(vectors))).astype(int)
    return vectors[rows], xy[rows]
