"""The monitored measure: retrieval on the validation split by exact ranks, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from sensorium import scores
from sensorium.errors import BadRecipe
from sensorium.fitting.batches import Side
from sensorium.fitting.environment import memory_budget
from sensorium.fitting.options import COSINE, TrainOptions
from sensorium.numerics import unit
from sensorium.pairs import Pairs, Relevance, csr
from sensorium.scores import measures
from sensorium.types import Embeddings, blocks

QUERIES = 2000  # at most per direction, the same ones every time; all candidates are used
_BLOCK = 4096
_RAW = 256  # items a block, which a network takes in passes
ALWAYS = ("MRR", "hit@1", "hit@10")


class Validation:
    """Evaluates two heads on the validation pairs. Falsy when the split has no related pair.

    measure() gives each measure's mean over the directions; "validation" is the monitored one.
    """

    def __init__(
        self,
        left: Embeddings,
        right: Embeddings,
        left_head: Any,
        right_head: Any,
        pairs: Pairs,
        options: TrainOptions,
        device: torch.device,
    ) -> None:
        self.heads, self.monitor = (left_head, right_head), options.monitor
        if self.monitor == "fill_in_the_blank":
            raise BadRecipe("train.monitor=fill_in_the_blank needs sets of items, such as outfits; type: "
                            "train.monitor=MRR")  # fmt: skip
        self.measures = tuple(dict.fromkeys((options.monitor, *ALWAYS)))
        self.relevance: dict[str, Relevance] = {}
        held_out = pairs.where("validation")
        if not (held_out.label == 1).any():
            return
        directions = ("left->right", "right->left") if options.direction == "both" else (options.direction,)
        if pairs.same_table:  # a relation holds both ways: one direction is enough
            directions = directions[:1]
        self.relevance = {d: few(pairs.relevance(d, "validation")) for d in directions}
        rows = held_out.left, held_out.right
        if pairs.same_table:
            rows = (np.concatenate(rows),) * 2
        budget = memory_budget(device)
        self.sides = tuple(
            Side(table, of, device, budget, frozen=head.frozen)
            for table, of, head in zip((left, right), rows, self.heads, strict=True)
        )

    def __bool__(self) -> bool:
        return bool(self.relevance)

    def measure(self) -> dict[str, float]:
        """Every measure, averaged over the directions."""
        found: dict[str, list[float]] = {name: [] for name in self.measures}
        project = Once(self._project)
        for direction, relevance in self.relevance.items():
            query_side, candidate_side = (0, 1) if direction == "left->right" else (1, 0)
            queries, candidates = project(query_side, relevance.queries), project(candidate_side, relevance.candidates)
            here = replace(relevance, queries=np.arange(len(queries)), candidates=np.arange(len(candidates)))
            ranks = scores.ranks(queries, candidates, here)
            for name in self.measures:
                one = _cosine(queries, candidates, here) if name == COSINE else measures.parse(name).summary(
                    ranks, relevance.offsets)  # fmt: skip
                found[name].append(one)
        means = {name: float(np.mean(values)) for name, values in found.items()}
        return {"validation": means[self.monitor], **means}

    @torch.inference_mode()
    def _project(self, side: int, rows: np.ndarray) -> np.ndarray:
        source, head = self.sides[side], self.heads[side]
        out = []
        for part in blocks(len(rows), _BLOCK if source.raw is None else _RAW):
            x = source.take(rows[part])
            z = head(*x) if isinstance(x, tuple) else head(x)
            out.append(z.float().cpu().numpy())
        return np.concatenate(out)


class Once:
    """Calls ``project`` (side, rows) once for the same rows of a side, which one direction seeks and another asks."""

    def __init__(self, project: Callable[[int, np.ndarray], np.ndarray]) -> None:
        self.project = project
        self.known: list[tuple[int, np.ndarray, np.ndarray]] = []

    def __call__(self, side: int, rows: np.ndarray) -> np.ndarray:
        """Outputs (n, d) of these rows."""
        for of, same, made in self.known:
            if of == side and np.array_equal(same, rows):
                return made
        self.known.append((side, rows, self.project(side, rows)))
        return self.known[-1][2]


def _cosine(queries: np.ndarray, candidates: np.ndarray, relevance: Relevance) -> float:
    """Mean cosine of each query and its relevants."""
    row = np.repeat(np.arange(len(queries)), np.diff(relevance.offsets))
    return float(np.einsum("nd,nd->n", unit(queries)[row], unit(candidates)[relevance.relevant]).mean())


def few(relevance: Relevance, most: int | None = None) -> Relevance:
    """At most so many queries, by default QUERIES, evenly spread."""
    most = QUERIES if most is None else most
    q = len(relevance.queries)
    if q <= most:
        return relevance
    chosen = np.linspace(0, q - 1, most).round().astype(np.int64)
    some = csr.Ragged(relevance.offsets, relevance.relevant).take(chosen)
    return replace(
        relevance,
        queries=relevance.queries[chosen],
        offsets=some.offsets,
        relevant=some.values,
        group=relevance.group[chosen],
        own=relevance.own[chosen],
    )
