"""An opened run: encode a query, project it with its head, find the nearest of the other side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium import io, parts
from sensorium import recipe as recipes
from sensorium.errors import BadData, BadRecipe, Mismatch, SensoriumError, nearest
from sensorium.evaluate import posthoc
from sensorium.search import journal
from sensorium.search import mmr as diversity
from sensorium.types import Embeddings

#: What a query may be given as, and the kind of item an encoder must take for it.
INPUTS = {"text": "text", "audio": "audio", "image": "image", "face": "face"}
SIDES = ("left", "right")
#: A corrected search corrects the best DEPTH × k raw hits, at least DEPTH_LEAST of them.
DEPTH = 10
DEPTH_LEAST = 200


def open(folder: str | Path, encoders: Sequence[Any] = ()) -> Run:
    """Open a run folder. encoders: loaded already, to be used instead of equal ones of the run's own.

    Raises Corrupt when the folder is not a whole run.
    """
    folder = Path(folder)
    if not (folder / "metrics.json").is_file():
        started = folder.parent / f".{folder.name}.building"
        hint = (
            f"it was interrupted; type: sensorium run {folder.name} --out {folder}"
            if started.exists()
            else ("make one with: sensorium run RECIPE --out " + str(folder))
        )
        raise BadData(f"{folder} is not a run (no metrics.json); {hint}")
    return Run(folder, encoders)


class Found(NamedTuple):
    """The nearest rows (q, k) of one side's index, best first; -1 with score -inf where fewer are there.

    probability (q, k): how likely each hit is right, where the run has been calibrated for these scores.
    """

    rows: np.ndarray
    scores: np.ndarray
    probability: np.ndarray | None


class Run:
    """A run folder, opened: its numbers, heads and indexes, each loaded when first used."""

    def __init__(self, folder: Path, encoders: Sequence[Any] = ()) -> None:
        self.folder, self._loaded = folder, [one for one in encoders if one is not None]
        self.metrics: dict[str, Any] = io.read_json(folder / "metrics.json", "make the run anew")
        self.recipe = recipes.load(folder / "recipe.toml")
        self._encoders: dict[str, Any] = {}
        self._heads: dict[str, Any] = {}
        self._indexes: dict[str, Any] = {}
        self._shifts: dict[str, Any] = {}
        self._places: dict[str, tuple[Any, dict[str, int]]] = {}
        self.journals: dict[str, journal.Journal] = {}

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {len(self.sides)} sides, {len(self.metrics.get('results', []))} results)"

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """The sides that have an index; one when both sides are the same table."""
        return tuple(side for side in SIDES if (self.folder / "index" / f"{side}.json").is_file())

    def encoder(self, side: str) -> Any:
        """The encoder of a side; None when its items came as vectors."""
        if side not in self._encoders:
            fresh = self.recipe.part(f"{side}.encoder")
            equal = [e for e in self._loaded if fresh is not None and e.fingerprint == fresh.fingerprint]
            self._encoders[side] = equal[0] if equal else fresh
        return self._encoders[side]

    def head(self, side: str) -> Any:
        """The head of a side, checked against the encoder it was fitted for."""
        from sensorium import heads

        if side not in self._heads:
            module, fingerprint = heads.load(self.folder / side)
            encoder = self.encoder(side)
            if encoder is not None:
                heads.check(fingerprint, encoder.fingerprint, f"{self.folder}: {side} head")
            self._heads[side] = module
        return self._heads[side]

    def stale(self) -> list[str]:
        """Sides whose index was made with another head than the one that lies here now."""
        return [side for side in self.sides if self._stamp(side)["head"] != self._head_checksum(side)]

    def index(self, side: str) -> Any:
        """The index over a side's items, with what was added and removed live since it was built.

        Raises Mismatch when it is older than the head.
        """
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
            self.journals[side] = journal.Journal(self.folder, side)
            self.apply(side, self.journals[side].read())
        return self._indexes[side]

    def apply(self, side: str, changes: Sequence[journal.Change]) -> int:
        """Bring live changes into a side's index; returns how many could not be, as another encoder made them."""
        last = {change.id: change for change in changes}
        if not last:
            return 0
        index, maker = self.index(side), journal.digest(self.fingerprint(side))
        before, known = index.table, self.places(side)
        gone = [id for id in last if id in known]
        index.remove(gone)
        added = [c for c in last.values() if c.vector is not None and c.encoder == maker]
        if added:
            columns = journal.columns(added, before.columns, len(before))
            index.add([c.id for c in added], np.concatenate([self.project_one(side, c.vector) for c in added]), columns)
        for direction, shift in list(self._shifts.items()):
            if direction.endswith(f"->{side}") or len(self.sides) == 1:
                keep = np.ones(len(before), bool)
                keep[[known[id] for id in gone]] = False
                new = index.vectors(np.arange(int(keep.sum()), len(index.table)))
                self._shifts[direction] = self.corrections[direction].extended(shift, keep, new)
        return sum(c.vector is not None for c in last.values()) - len(added)

    def places(self, side: str) -> Mapping[str, int]:
        """The row of every id in a side's index."""
        table = self.index(side).table
        if self._places.get(side, (None,))[0] is not table:
            self._places[side] = table, {id: row for row, id in enumerate(table.ids.tolist())}
        return self._places[side][1]

    def fingerprint(self, side: str) -> Mapping[str, Any]:
        """What made the vectors that a side's head takes."""
        return io.read_json(self.folder / f"{side}.json")["encoder"]

    def project_one(self, side: str, vector: np.ndarray) -> np.ndarray:
        """One item, a vector (d_in,) or frames (t, d_in), through its head: (1, d)."""
        from sensorium import heads

        if vector.ndim == 1:
            return self.project(side, vector)
        table = Embeddings(np.array(["live"]), vector, {}, offsets=np.array([0, len(vector)]))
        return heads.project(self.head(side), table)

    def _stamp(self, side: str) -> Mapping[str, Any]:
        return io.read_json(self.folder / "index" / f"{side}.json", f"type: sensorium index {self.folder}")

    def _head_checksum(self, side: str) -> str:
        return io.checksum(self.folder / f"{side}.safetensors")

    @cached_property
    def streams(self) -> bool:
        """Whether live sound can be heard with this run: see :meth:`stream`."""
        from sensorium.stream import session

        try:
            session.check(self)
        except SensoriumError:
            return False
        return True

    @cached_property
    def voice(self) -> Any:
        """What hears in this run: encoder, head and class names. Raises BadRecipe for a run that cannot stream."""
        from sensorium.stream import session

        return session.Voice(self)

    def stream(self, rate: int = 16_000, utterances: bool = False) -> Any:
        """A live stream of sound at ``rate`` Hz: ``push(samples)`` gives events, ``end()`` the final answer.

        utterances: read each utterance by itself, from pause to pause, instead of all sound so far; the
        final answer is of all sound either way.
        Raises BadRecipe for a run that cannot stream, BadData for a rate that no recording has.
        """
        from sensorium.stream import session

        return session.Listener(self.voice, rate, utterances)

    def encode(self, side: str, values: Any) -> np.ndarray:
        """Values of a side's kind, through its encoder and head: (n, d) in the shared space."""
        encoder = self.encoder(side)
        if encoder is None:
            raise BadData(f"the {side} items of {self.folder} came as vectors, so only --vector and --id can ask")
        found = encoder.encode(values)
        if getattr(encoder, "frames", False):
            return np.concatenate([self.project_one(side, frames) for frames in found])
        return self.project(side, found)

    def project(self, side: str, vectors: np.ndarray) -> np.ndarray:
        """Vectors as a side's encoder gives them, (n, d_in), through its head: (n, d)."""
        from sensorium import heads

        vectors = np.atleast_2d(np.asarray(vectors, np.float32))
        heads.check_finite(vectors, None, "query vector")
        return heads.apply(self.head(side), vectors)

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
        mmr: float | None = None,
    ) -> list[dict[str, Any]]:
        """The k items nearest to one query: dicts of rank (from 1), id, score and metadata, best first.

        Where the run has been calibrated, ``probability`` says how likely the hit is right.

        Give exactly one of text, audio, image, face (a value or a path), id or vector (as the
        side's encoder gives it). side: the side the query belongs to, needed only when it is not
        evident. to: the side to search, by default the other one. where: see ``Table.where``.
        An item is never its own neighbour. corrected: apply the run's hubness correction, if it has one.
        mmr: λ of maximal marginal relevance, for results that differ from each other.

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
        if name == "text" and not str(value).strip():
            raise BadRecipe("text is empty; give the words to search for")
        side = side or self.side_of(name, value)
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
        k = min(k, max(1, len(self.index(to))))
        if mmr is None:
            return self.nearest(query, to, k, where, exclude, direction, corrected)[0]
        found = self.find(query, to, diversity.POOL * k, where, exclude, direction, corrected)
        return self.hits(to, self.varied(to, Found(*(None if x is None else x[0] for x in found)), k, mmr))

    def varied(self, to: str, found: Found, k: int, trade: float) -> Found:
        """The k of one query's hits, (K,) each, that maximal marginal relevance takes; ``trade`` is its λ."""
        there = np.flatnonzero(found.rows >= 0)
        taken = there[diversity.mmr(found.scores[there], self.index(to).vectors(found.rows[there]), k, trade)]
        return Found(*(None if x is None else x[taken] for x in found))

    @cached_property
    def trust(self) -> Mapping[str, Any]:
        """By direction: how scores become probabilities, and when to say "no match"."""
        return io.read_json(self.folder / posthoc.FILE) if (self.folder / posthoc.FILE).is_file() else {}

    @cached_property
    def corrections(self) -> Mapping[str, Any]:
        """The hubness correction of each direction that has one."""
        from sensorium.evaluate import hubness_corrections

        return hubness_corrections.load(self.folder)

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
        found = self.find(queries, to, k, where, exclude, direction, corrected)
        return [self.hits(to, Found(*(None if x is None else x[q] for x in found))) for q in range(len(found.rows))]

    def find(
        self,
        queries: np.ndarray,
        to: str,
        k: int,
        where: Mapping[str, Any] | None = None,
        exclude: np.ndarray | None = None,
        direction: str | None = None,
        corrected: bool = True,
    ) -> Found:
        """As :meth:`nearest`, in rows of the index: what many queries at once are answered with."""
        index = self.index(to)
        shift = self.shift(direction, to) if corrected and direction else None
        depth = k if shift is None else max(DEPTH * k, DEPTH_LEAST)
        ids, scores = index.search(queries, depth, where=where, exclude=exclude)
        known = self.places(to)
        rows = np.array([known.get(id, -1) for id in ids.ravel().tolist()], np.int64).reshape(ids.shape)
        if shift is not None:
            rows, scores = shift.rerank(rows, scores, k)
        told = self.trust.get(direction or "")
        # A probability was learnt on the scores that the run searches with; on others it means nothing.
        meant = told and (shift is not None or direction not in self.corrections)
        return Found(rows, scores, probability_of(told, scores) if meant else None)

    def hits(self, to: str, found: Found) -> list[dict[str, Any]]:
        """One query's part of what :meth:`find` found, (k,) each, as dicts."""
        table, hits = self.index(to).table, []
        chances = [None] * len(found.rows) if found.probability is None else found.probability.tolist()
        for place, (row, score, chance) in enumerate(
            zip(found.rows.tolist(), found.scores.tolist(), chances, strict=True)
        ):
            if row >= 0:
                told = table.row(row)
                hit = {"rank": place + 1, "id": told.pop("id"), "score": score}
                hits.append({**hit, **({} if chance is None else {"probability": round(chance, 4)}), **told})
        return hits

    def side_of(self, name: str, value: Any) -> str:
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
            sides = [s for s in SIDES if str(value) in self.places(s)]
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
        row = self.places(side).get(id)
        if row is None:
            raise BadData(f"no item '{id}' on the {side} side of {self.folder}; {nearest(id, self._some_ids())}")
        return self.index(side).vectors(np.array([row]))

    def _some_ids(self) -> list[str]:
        """A few ids to suggest from; a close match over a million would take longer than the search."""
        return [i for side in self.sides for i in self.index(side).table.ids[:20000].tolist()]


def probability_of(told: Mapping[str, Any], scores: np.ndarray) -> np.ndarray:
    """Probability that each hit is right, by what :mod:`sensorium.evaluate.posthoc` kept of one direction."""
    from sensorium.evaluate import calibration

    return calibration.from_dict(told["probability"])(scores)
