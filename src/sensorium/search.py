"""An opened run: encode a query, project it with its head, find the nearest of the other side."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io, parts, trust
from sensorium import recipe as recipes
from sensorium.errors import BadData, BadRecipe, Mismatch, nearest
from sensorium.types import Hits

#: What a query may be given as, and the kind of item an encoder must take for it.
INPUTS = {"text": "text", "audio": "audio", "image": "image", "face": "face"}
SIDES = ("left", "right")
#: A corrected search corrects the best DEPTH × k raw hits, at least DEPTH_LEAST of them.
DEPTH = 10
DEPTH_LEAST = 200


def open(folder: str | Path) -> Run:
    """Open a run folder. Raises Corrupt when the folder is not a whole run."""
    folder = Path(folder)
    if not (folder / "metrics.json").is_file():
        started = folder.with_name(f".{folder.name}.building")
        hint = (
            f"it was interrupted; type: sensorium run {folder.name} --out {folder}"
            if started.exists()
            else ("make one with: sensorium run RECIPE --out " + str(folder))
        )
        raise BadData(f"{folder} is not a run (no metrics.json); {hint}")
    return Run(folder)


class Run:
    """A run folder, opened: its numbers, heads and indexes, each loaded when first used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics: dict[str, Any] = io.read_json(folder / "metrics.json", "make the run anew")
        self.recipe = recipes.load(folder / "recipe.toml")
        self._encoders: dict[str, Any] = {}
        self._heads: dict[str, Any] = {}
        self._indexes: dict[str, Any] = {}
        self._shifts: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {len(self.sides)} sides, {len(self.metrics.get('results', []))} results)"

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """The sides that have an index; one when both sides are the same table."""
        return tuple(side for side in SIDES if (self.folder / "index" / f"{side}.json").is_file())

    def encoder(self, side: str) -> Any:
        """The encoder of a side; None when its items came as vectors."""
        if side not in self._encoders:
            self._encoders[side] = self.recipe.part(f"{side}.encoder")
        return self._encoders[side]

    def head(self, side: str) -> Any:
        """The head of a side, checked against the encoder it was fitted for."""
        from sensorium import head

        if side not in self._heads:
            module, fingerprint = head.load(self.folder / side)
            encoder = self.encoder(side)
            if encoder is not None:
                head.check(fingerprint, encoder.fingerprint, f"{self.folder}: {side} head")
            self._heads[side] = module
        return self._heads[side]

    def stale(self) -> list[str]:
        """Sides whose index was made with another head than the one that lies here now."""
        return [side for side in self.sides if self._stamp(side)["head"] != self._head_checksum(side)]

    def index(self, side: str) -> Any:
        """The index over a side's items. Raises Mismatch when it is older than the head."""
        if side not in self.sides:
            raise BadData(f"{self.folder} has no {side} index; type: sensorium index {self.folder}")
        if side not in self._indexes:
            stamp, head_now = self._stamp(side), self._head_checksum(side)
            if stamp["head"] != head_now:
                raise Mismatch(
                    f"{self.folder}: the {side} index was made with head {stamp['head'][:8]}…, the head is "
                    f"{head_now[:8]}… now; type: sensorium index {self.folder}"
                )
            part = parts.find("indexes", stamp["part"]["name"])
            self._indexes[side] = part.load(self.folder / "index" / side)
        return self._indexes[side]

    def _stamp(self, side: str) -> Mapping[str, Any]:
        return io.read_json(self.folder / "index" / f"{side}.json", f"type: sensorium index {self.folder}")

    def _head_checksum(self, side: str) -> str:
        return io.checksum(self.folder / f"{side}.safetensors")

    def encode(self, side: str, values: Any) -> np.ndarray:
        """Values of a side's kind, through its encoder and head: (n, d) in the shared space."""
        encoder = self.encoder(side)
        if encoder is None:
            raise BadData(f"the {side} items of {self.folder} came as vectors, so only --vector and --id can ask")
        return self.project(side, encoder.encode(values))

    def project(self, side: str, vectors: np.ndarray) -> np.ndarray:
        """Vectors as a side's encoder gives them, (n, d_in), through its head: (n, d)."""
        from sensorium import head

        vectors = np.atleast_2d(np.asarray(vectors, np.float32))
        head.check_finite(vectors, None, "query vector")
        return head.apply(self.head(side), vectors)

    def search(
        self,
        *,
        text: str | None = None,
        audio: Any = None,
        image: Any = None,
        face: Any = None,
        id: str | None = None,
        vector: np.ndarray | None = None,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        side: str | None = None,
        to: str | None = None,
        corrected: bool = True,
    ) -> list[dict[str, Any]]:
        """The k items nearest to one query: dicts of rank (from 1), id, score and metadata, best first.

        Where the run has been calibrated, ``probability`` says how likely the hit is right.

        Give exactly one of text, audio, image, face (a value or a path), id or vector (as the
        side's encoder gives it). side: the side the query belongs to, needed only when it is not
        evident. to: the side to search, by default the other one. where: see ``Table.where``.
        An item is never its own neighbour. corrected: apply the run's hubness correction, if it has one.

        Raises BadRecipe for a question that cannot be meant, BadData for an unknown id.
        """
        given = {
            name: value
            for name, value in dict(text=text, audio=audio, image=image, face=face, id=id, vector=vector).items()
            if value is not None
        }
        if len(given) != 1:
            raise BadRecipe(
                f"give exactly one of text, audio, image, face, id or vector; got {', '.join(given) or 'none'}"
            )
        if k < 1:
            raise BadRecipe(f"k={k}; expected 1 or more")
        ((name, value),) = given.items()
        side = side or self._side_of(name, value)
        if side not in SIDES:
            raise BadRecipe(f"side '{side}'; expected left or right")
        to = to or ("left" if len(self.sides) == 1 else SIDES[1 - SIDES.index(side)])
        exclude = None
        if name == "id":
            query = self._stored(side, str(value))
            exclude = np.array([value]) if side == to or len(self.sides) == 1 else None
        elif name == "vector":
            query = self.project(side, value)
            if len(query) != 1:
                raise BadData(f"vector: {len(query)} rows; a search takes one")
        else:
            query = self.encode(side, [value])
        direction = "left->right" if len(self.sides) == 1 else f"{side}->{to}"
        return self.nearest(query, to, k, where, exclude, direction, corrected)[0]

    @cached_property
    def trust(self) -> Mapping[str, Any]:
        """By direction: how scores become probabilities, and when to say "no match"."""
        return io.read_json(self.folder / trust.FILE) if (self.folder / trust.FILE).is_file() else {}

    @cached_property
    def corrections(self) -> Mapping[str, Any]:
        """The hubness correction of each direction that has one."""
        from sensorium.evaluate import corrections

        return corrections.load(self.folder)

    def shift(self, direction: str, to: str) -> Any:
        """A direction's correction settled for everything that side ``to`` has indexed; None without one."""
        if direction not in self.corrections:
            return None
        if direction not in self._shifts:
            index = self.index(to)
            self._shifts[direction] = self.corrections[direction].shift(index.vectors(np.arange(len(index.table))))
        return self._shifts[direction]

    def nearest(
        self,
        queries: np.ndarray,
        to: str,
        k: int,
        where: Mapping[str, Any] | None = None,
        exclude: np.ndarray | None = None,
        direction: str | None = None,
        corrected: bool = True,
    ) -> list[list[dict[str, Any]]]:
        """For each of (q, d) projected queries, the k nearest items of side ``to`` as dicts."""
        index = self.index(to)
        shift = self.shift(direction, to) if corrected and direction else None
        depth = k if shift is None else max(DEPTH * k, DEPTH_LEAST)
        hits = index.search(queries, depth, where=where, exclude=exclude)
        rows, known = _rows(index.table.ids, hits.ids)
        if shift is not None:
            positions, found = shift.rerank(np.where(known, rows, -1), hits.scores, k)
            rows, known = positions, positions >= 0
            hits = Hits(np.where(known, index.table.ids[rows], ""), found)
        told = self.trust.get(direction or "")
        # A probability was learnt on the scores that the run searches with; on others it means nothing.
        chance = (
            probability_of(told, hits.scores)
            if told and (shift is not None or direction not in self.corrections)
            else None
        )
        return [
            [self._hit(index, rank, rows[q, rank], hits.scores[q, rank], None if chance is None else chance[q, rank])
             for rank in range(rows.shape[1]) if hits.ids[q, rank] != ""]
            for q in range(len(rows))
        ]  # fmt: skip

    @staticmethod
    def _hit(index: Any, place: int, row: int, score: float, chance: float | None) -> dict[str, Any]:
        told = index.table.row(int(row))
        hit = {"rank": place + 1, "id": told.pop("id"), "score": float(score)}
        return {**hit, **({} if chance is None else {"probability": round(float(chance), 4)}), **told}

    def _side_of(self, name: str, value: Any) -> str:
        """The side a query belongs to, where that is evident."""
        if len(self.sides) == 1:
            return "left"
        if name in INPUTS:
            sides = [s for s in SIDES if (e := self.encoder(s)) is not None and e.takes == INPUTS[name]]
            if not sides:
                takes = {s: getattr(self.encoder(s), "takes", "vectors") for s in SIDES}
                raise BadRecipe(
                    f"no side of {self.folder} takes {name}: left takes {takes['left']}, right takes {takes['right']}"
                )
        elif name == "id":
            sides = [s for s in SIDES if (self.index(s).table.ids == str(value)).any()]
            if not sides:
                raise BadData(f"no item '{value}' in {self.folder}; {nearest(str(value), self._some_ids())}")
        else:
            widths = {s: self.head(s).dim_in for s in SIDES}
            sides = [s for s in SIDES if widths[s] == np.shape(value)[-1]]
            if not sides:
                raise BadData(
                    f"vector has {np.shape(value)[-1]} values; left takes {widths['left']}, right {widths['right']}"
                )
        if len(sides) > 1:
            raise BadRecipe(f"both sides take this {name}; say which with --from left or --from right")
        return sides[0]

    def _stored(self, side: str, id: str) -> np.ndarray:
        index = self.index(side)
        at = np.flatnonzero(index.table.ids == id)
        if not len(at):
            raise BadData(f"no item '{id}' on the {side} side of {self.folder}; {nearest(id, self._some_ids())}")
        return index.vectors(at)

    def _some_ids(self) -> list[str]:
        """A few ids to suggest from; a close match over a million would take longer than the search."""
        return [i for side in self.sides for i in self.index(side).table.ids[:20000].tolist()]


def _rows(ids: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from sensorium.pairs import rows_of

    rows, known = rows_of(wanted.ravel(), ids)
    return rows.reshape(wanted.shape), known.reshape(wanted.shape)


def probability_of(told: Mapping[str, Any], scores: np.ndarray) -> np.ndarray:
    """Probability that each hit is right, by what :mod:`sensorium.trust` kept of one direction."""
    from sensorium.evaluate import calibration

    return calibration.from_dict(told["probability"])(scores)
