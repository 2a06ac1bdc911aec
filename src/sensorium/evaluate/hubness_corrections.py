"""Hubness corrections: a method, its strength and its bank of training queries, stored with the run.

Settled for some candidates it gives their biases (see ``evaluate.biases``), which search and
evaluation subtract alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sensorium import io, scores
from sensorium.errors import BadRecipe, Corrupt, Mismatch, nearest
from sensorium.evaluate.hubness_methods import METHODS, Shift
from sensorium.pairs import Relevance
from sensorium.types import Rows

FORMAT = 1


@dataclass(frozen=True)
class Correction:
    """A method, its strength, and the bank of training queries (b, d) float32 it is fitted on.

    strength: β for inverted_softmax and qb_norm, 1/ε for sinkhorn (all per unit of score),
    the number of neighbours k for csls.
    """

    method: str
    strength: float
    bank: np.ndarray

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BadRecipe(f"evaluate.correction='{self.method}'; {nearest(self.method, ['none', 'auto', *METHODS])}")
        if not self.strength > 0:
            raise BadRecipe(f"correction '{self.method}': strength {self.strength}; expected above 0")

    def shift(self, candidates: Rows) -> Shift:
        """Settle the correction for candidates (m, d). Raises Mismatch on another width."""
        if candidates.shape[1] != self.bank.shape[1]:
            raise Mismatch(
                f"the correction was fitted on queries {self.bank.shape[1]} wide, the candidates are "
                f"{candidates.shape[1]}; type: sensorium evaluate RUN"
            )
        return METHODS[self.method](self.bank, candidates, self.strength)

    def extended(self, shift: Shift, keep: np.ndarray, new: np.ndarray) -> Shift:
        """A fitted correction after candidates changed: those under the mask ``keep`` stay, ``new`` (m, d) join.

        The others' biases stay as they are, which is exact but for sinkhorn and for which items are hubs in qb_norm.
        """
        fresh = self.shift(new) if len(new) else Shift(np.zeros(0, np.float32))
        hubs = None if shift.hubs is None else np.append(shift.hubs[keep], np.zeros(len(new), bool))
        return Shift(np.append(shift.bias[keep], fresh.bias), hubs)

    def ranks(self, queries: Rows, candidates: Rows, relevance: Relevance, shift: Shift | None = None) -> np.ndarray:
        """Corrected ranks, as ``scores.ranks`` gives them for raw scores: (nnz,) int64.

        shift: this correction fitted to ``relevance.candidates`` already, to save fitting it again.
        """
        raw = Taken(candidates, relevance.candidates)
        shift = shift or self.shift(raw)
        q = np.asarray(queries[relevance.queries], np.float32)
        here = replace(relevance, queries=np.arange(len(q)), candidates=np.arange(len(relevance.candidates)))
        corrected = scores.ranks(shift.wide_queries(q), shift.wide_candidates(raw), here)
        if shift.hubs is None:
            return corrected
        best, _ = scores.topk(q, raw, 1, own=relevance.own)
        to_correct = shift.hubs[best[:, 0]] & (best[:, 0] >= 0)
        return np.where(np.repeat(to_correct, relevance.counts()), corrected, scores.ranks(q, raw, here))

    def topk(
        self,
        queries: np.ndarray,
        candidates: Rows,
        k: int,
        own: np.ndarray | None = None,
        mask: np.ndarray | None = None,
        shift: Shift | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Corrected search, exact: positions (q, k) int64 and corrected scores (q, k) float32.

        shift: this correction fitted to these candidates already, to save fitting it again.
        """
        shift = shift or self.shift(candidates)
        queries = np.asarray(queries, np.float32)
        found = scores.topk(shift.wide_queries(queries), shift.wide_candidates(candidates), k, own, mask)
        if shift.hubs is None or not k:
            return found
        raw = scores.topk(queries, candidates, k, own, mask)
        to_correct = shift.hubs[raw[0][:, :1]] & (raw[0][:, :1] >= 0)
        return np.where(to_correct, found[0], raw[0]), np.where(to_correct, found[1], raw[1])


@dataclass(frozen=True)
class Taken:
    """Some rows of a table, read when needed: (m, d) Rows."""

    table: Rows
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(m, d)."""
        return (len(self.rows), int(self.table.shape[1]))

    @property
    def dtype(self) -> np.dtype:
        """The table's own."""
        return self.table.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        return self.table[self.rows[which]]


def save(corrections: Mapping[str, Correction], folder: Path) -> None:
    """Write corrections by direction as ``correction.safetensors`` (banks) and ``correction.json``."""
    from safetensors.numpy import save as to_bytes

    folder = Path(folder)
    banks = {direction: np.ascontiguousarray(c.bank, np.float32) for direction, c in corrections.items()}
    io.write(folder / "correction.safetensors", to_bytes(banks))
    record = {direction: {"method": c.method, "strength": float(c.strength)} for direction, c in corrections.items()}
    io.write_json(folder / "correction.json", {"format": FORMAT, "corrections": record,
                                               "checksum": io.checksum(folder / "correction.safetensors")})  # fmt: skip


def load(folder: Path) -> dict[str, Correction]:
    """Read what :func:`save` wrote; empty when the run has none. Raises Corrupt on damage."""
    from safetensors.numpy import load_file

    folder = Path(folder)
    if not (folder / "correction.json").is_file():
        return {}
    remedy = "type: sensorium evaluate RUN"
    record = io.read_json(folder / "correction.json", remedy)
    if record.get("format") != FORMAT:
        raise Corrupt(f"{folder / 'correction.json'}: format {record.get('format')}, expected {FORMAT}; {remedy}")
    io.verify(folder / "correction.safetensors", record["checksum"], remedy)
    banks = load_file(folder / "correction.safetensors")
    return {direction: Correction(c["method"], c["strength"], banks[direction])
            for direction, c in record["corrections"].items()}  # fmt: skip
