"""An opened run: its recipe, encoders, heads and indexes with their live changes, each loaded when first used.

What turns a query into hits is in :mod:`sensorium.search.query`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import integrity
from sensorium import recipe as recipes
from sensorium.errors import BadData, BadRecipe, Corrupt, SensoriumError, nearest
from sensorium.numerics.centers import FILE, Centers
from sensorium.search import asking, editing, journal, live, located, stored_index, trust
from sensorium.search.damage import reading, record
from sensorium.search.folder import RunFolder, quote
from sensorium.search.functions import HeadFunction
from sensorium.search.hits import HitList
from sensorium.search.metrics import Metrics
from sensorium.search.migration import Migrations
from sensorium.search.query import SIDES, Options
from sensorium.table import RowLookup
from sensorium.types import Embeddings

if TYPE_CHECKING:
    from sensorium.stream.classifier import StreamingClassifier
    from sensorium.stream.session import Session


def open(folder: str | Path, encoders: Sequence[Any] = (), *, remaking: str | None = None) -> Run:
    """Open a run folder. encoders: loaded already, to be used instead of equal ones of the run's own.

    remaking: the stage whose files are about to be made anew, so that damage of them does not matter.
    Raises BadData when the folder is not a whole run, Corrupt when a file is damaged or of another run, Untrusted
    when it names code that the user has not allowed.
    """
    folder = Path(folder)
    where = RunFolder(folder)
    if not where.is_run:
        if where.is_building:
            raise BadData(f"{folder} is being made at this moment; wait for it, its history is in {where.building}")
        if where.started.is_file():
            raise BadData(f"{folder} is not a run (no metrics.json); it was interrupted; type: {where.resume}")
        if folder.is_file() and folder.suffix == ".zip":
            raise BadData(f"{folder} is a packed run; type: sensorium unpack {quote(folder)}")
        known = f"sensorium run RECIPE --out {quote(folder)}"
        raise BadData(f"{folder} is not a run (no metrics.json); make one with: {known}")
    integrity.check(folder, remaking)
    return Run(folder, encoders)


class Run:
    """A run folder, opened: its numbers, heads and indexes, each loaded when first used."""

    def __init__(self, folder: Path, encoders: Sequence[Any] = ()) -> None:
        self.folder, self._loaded = folder, [one for one in encoders if one is not None]
        self.metrics = Metrics(record(folder / "metrics.json", "make the run anew"), folder)
        with reading(folder / "recipe.toml"):
            self.recipe = recipes.load(folder / "recipe.toml", of_run=True).here()
            self.migrations = Migrations(folder)
            self.recipe = self.migrations.overlaid(self.recipe)
        self._encoders: dict[str, Any] = {}
        self._heads: dict[Any, Any] = {}
        self._indexes: dict[str, Any] = {}
        self._shifts: dict[str, Any] = {}
        self.journals: dict[str, journal.Journal] = {}

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {len(self.sides)} sides, {len(self.metrics.get('results', []))} results)"

    @cached_property
    def sides(self) -> tuple[str, ...]:
        """The sides that have an index; one when both sides are the same table. Raises Corrupt when one is missing."""
        found = tuple(side for side in SIDES if (self.folder / "index" / f"{side}.json").is_file())
        for side in SIDES:
            stamp = self.folder / "index" / f"{side}.json"
            if found and side not in found and (self.folder / f"{side}.json").is_file():
                raise Corrupt(f"{stamp} is missing; type: sensorium index {self.folder}")
        return found

    @cached_property
    def names(self) -> Mapping[str, str]:
        """What the data call each side, such as "image" and "caption"; left and right in runs of earlier versions."""
        known = self.metrics.get("sides")
        known = known if isinstance(known, dict) else {}
        named = {side: str(known.get(side, side)) for side in SIDES}
        return named if len(set(named.values())) == len(SIDES) else {side: side for side in SIDES}

    def key_of(self, side: str, what: str = "side") -> str:
        """left or right, of either word or of the side's name. Raises BadRecipe for another word."""
        keys = {**{name: key for key, name in self.names.items()}, **{key: key for key in SIDES}}
        if side not in keys:
            words = " or ".join(SIDES)
            named = " or ".join(self.names.values())
            raise BadRecipe(f"{what} '{side}'; expected {named if named == words else f'{named} ({words})'}")
        return keys[side]

    def encoder(self, side: str) -> Any:
        """The encoder of a side; None when its items came as vectors."""
        if side not in self._encoders:
            fresh = located.tune(self.recipe.part(f"{side}.encoder"), side, self.folder)
            equal = [e for e in self._loaded if fresh is not None and e.fingerprint == fresh.fingerprint]
            self._encoders[side] = equal[0] if equal else fresh
        return self._encoders[side]

    def head(self, side: str) -> Any:
        """The head of a side, checked against the encoder it was fitted for; behind an adapter while it is migrated."""
        from sensorium import heads

        if side not in self._heads:
            encoder = self.encoder(side)
            if encoder is not None:
                heads.check(self.fingerprint(side), encoder.fingerprint, f"{self.folder}: {side} head")
            self._heads[side] = self.head_for(side, self.encoder_digest(side))
        return self._heads[side]

    def head_for(self, side: str, digest: str) -> Any:
        """The head for a side's vectors of the encoder of this digest, perhaps behind an adapter; None: unknown."""
        from sensorium import heads

        if digest != journal.digest(self.own_fingerprint(side)):
            return self.migrations.head(side, digest)
        if (side, digest) not in self._heads:
            with reading(self.folder / side):
                self._heads[side, digest] = heads.restore(self.folder / side)[0]
        return self._heads[side, digest]

    def stale(self) -> list[str]:
        """Sides whose index was made with another head than the one that lies here now."""
        return [side for side in self.sides if stored_index.is_stale(self.folder, side)]

    def index(self, side: str) -> Any:
        """The index over a side's items, with what was added and removed live since it was built.

        Raises Mismatch when it is older than the head.
        """
        if side not in self.sides:
            raise BadData(f"{self.folder} has no {side} index; type: sensorium index {self.folder}")
        if side not in self._indexes:
            index = stored_index.load(self.folder, side)
            self._indexes[side] = index
            self.journals[side] = journal.Journal(self.folder, side)
            self.apply(side, self.journals[side].read())
        return self._indexes[side]

    def apply(self, side: str, changes: Sequence[journal.Change]) -> int:
        """Bring live changes into a side's index; returns how many could not be: of another encoder, or unusable."""
        return live.apply(self, side, changes)

    def commit(self, side: str, change: journal.Change) -> None:
        """Make a change durable and apply it: see :meth:`commit_many`."""
        live.commit(self, side, [change])

    def commit_many(self, side: str, changes: Sequence[journal.Change]) -> None:
        """Make changes durable in one append and apply them: all of them or, when anything is raised, none.

        What cannot be applied is refused before it is written. The last change of an id holds. In the thread of
        the side's index. Raises BadData for an item that no index takes, Mismatch for a vector of another
        encoder, ReadOnly for a run that may not be written, and DiskFull.
        """
        live.commit(self, side, changes)

    def shift_changed(self, side: str, keep: np.ndarray) -> None:
        """Bring the hubness corrections up to date after rows of a side left (keep (n,) false) and others came."""
        for direction, shift in list(self._shifts.items()):
            if direction.endswith(f"->{side}") or len(self.sides) == 1:
                index = self.index(side)
                new = index.vectors(np.arange(int(keep.sum()), len(index.table)))
                self._shifts[direction] = self.corrections[direction].extended(shift, keep, new)

    def places(self, side: str) -> RowLookup:
        """The row of every id in a side's index, as a mapping."""
        return self.index(side).table.rows

    def encoder_digest(self, side: str) -> str:
        """Digest of the fingerprint of the vectors that a side's head takes."""
        return journal.digest(self.fingerprint(side))

    def fingerprint(self, side: str) -> Mapping[str, Any]:
        """Fingerprint of the encoder that answers for a side: the vectors that its head takes."""
        moving = self.migrations.active(side)
        return self.own_fingerprint(side) if moving is None else moving.record["new"]["fingerprint"]

    def own_fingerprint(self, side: str) -> Mapping[str, Any]:
        """Fingerprint of the encoder that the side's own head was fitted on."""
        return record(self.folder / f"{side}.json", "make the run anew", encoder=dict)["encoder"]

    def project_one(self, side: str, vector: np.ndarray) -> np.ndarray:
        """One item, a vector (d_in,) or frames (t, d_in), through its head: (1, d)."""
        from sensorium import heads

        if vector.ndim == 1:
            return self.project(side, vector)
        table = Embeddings(np.array(["live"]), vector, {}, offsets=np.array([0, len(vector)]))
        return heads.project(self.head(side), table)

    @cached_property
    def centers(self) -> Mapping[str, Centers | None]:
        """By side, how groups of its vectors are moved before the head; None where they are not."""
        return {side: Centers.load(self.folder / FILE.format(side=side)) for side in SIDES}

    @cached_property
    def streams(self) -> bool:
        """Whether this run can classify live sound: see :meth:`stream`."""
        from sensorium.stream import classifier

        try:
            classifier.check(self)
        except SensoriumError:
            return False
        return True

    @cached_property
    def classifier(self) -> StreamingClassifier:
        """Encoder, head and classes for streaming. Raises BadRecipe for a run that cannot stream."""
        from sensorium.stream.classifier import StreamingClassifier

        return StreamingClassifier(self)

    def stream(self, rate: int = 16_000, utterances: bool = False) -> Session:
        """A live stream of sound at ``rate`` Hz: ``push(samples)`` gives messages, ``end()`` the final answer.

        utterances: read each utterance by itself, from pause to pause, instead of all sound so far; the
        final answer is of all sound either way.
        Raises BadRecipe for a run that cannot stream, BadData for a rate that no recording has.
        """
        from sensorium.stream.session import Session

        return Session(self.classifier, rate, utterances)

    def encode(self, side: str, values: Any) -> np.ndarray:
        """Values of a side's kind, through its encoder and head: (n, d) in the shared space."""
        encoder, name = self.encoder(side), self.names[side]
        if encoder is None:
            raise BadData(f"the {name} items of {self.folder} came as vectors, so only --vector and --id can ask")
        found = encoder.encode(values)
        if encoder.frames:
            return np.concatenate([self.project_one(side, frames) for frames in found])
        return self.project(side, found)

    def project(self, side: str, vectors: np.ndarray) -> np.ndarray:
        """Vectors as a side's encoder gives them, (n, d_in), through its head: (n, d). BadRecipe if it takes frames."""
        from sensorium import heads

        vectors = np.atleast_2d(np.asarray(vectors, np.float32))
        heads.check_finite(vectors, None, "query vector")
        if not self.head(side).takes_vectors:
            raise BadRecipe(f"the {self.names[side]} head takes frames, not one vector; search with a file or an id")
        return heads.apply(self.head(side), vectors)

    @property
    def left(self) -> HeadFunction:
        """The left head as a function: ``run.left(X)`` (n, d); ``run.left.module`` is the ``nn.Module``."""
        return HeadFunction(self, "left")

    @property
    def right(self) -> HeadFunction:
        """The right head as a function; that of the left side where both sides are one table."""
        return HeadFunction(self, self.sides[-1] if self.sides else "right")

    def search(
        self,
        query: Any = None,
        /,
        *,
        id: str | None = None,
        vector: np.ndarray | None = None,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        side: str | None = None,
        to: str | None = None,
        corrected: bool = True,
        mmr: float | None = None,
        facets: Sequence[str] = (),
        collapse: str | None = None,
        collapse_size: int = 1,
        min_score: float | None = None,
        fallback: Mapping[str, Any] | None = None,
        **inputs: Any,
    ) -> HitList:
        """The k items nearest to one query: a list of dicts of rank (from 1), id, score and the item's columns.

        ``metadata`` holds the item's columns; those whose name is not one of the hit's own fields stand
        beside them, too. Where the run has been calibrated, ``probability`` says how likely the hit is right.

        query: words to search for, a path, a picture of Pillow, or an array: see :func:`sensorium.search.asking.named`.
        Or give exactly one input by name: id, vector (as the side's encoder gives it), or a value or path of the kind
        that an encoder takes, such as text="…" or image="picture.png". side: the side the input belongs to,
        needed only when it is not evident. to: the side to search, by default the other one.
        where: see ``Table.where``. An item is never its own neighbour. corrected: apply the run's hubness
        correction, if it has one. mmr: λ of maximal marginal relevance, for results that differ from each other.
        facets, collapse, collapse_size, min_score, fallback: see :class:`sensorium.search.query.Options`. Facets are
        ``.facets`` of the hits; they can be asked for without a query, too.

        Raises BadRecipe for an invalid query, BadData for an unknown id.
        """
        given = {**inputs, "id": id, "vector": vector}
        if query is not None and any(value is not None for value in given.values()):
            named = ", ".join(name for name, value in given.items() if value is not None)
            raise BadRecipe(f"give one query: the first argument, or {named}")
        if query is not None:
            given = dict([asking.named(self, query)])
        groups = (collapse, collapse_size, min_score, fallback)
        options = Options(k, to, where, corrected, mmr, None, "head", facets, *groups)
        return asking.search(self, given, side, options)

    def search_many(
        self,
        queries: Sequence[Any],
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        side: str | None = None,
        to: str | None = None,
        corrected: bool = True,
        mmr: float | None = None,
        facets: Sequence[str] = (),
        collapse: str | None = None,
        collapse_size: int = 1,
        min_score: float | None = None,
        fallback: Mapping[str, Any] | None = None,
    ) -> list[HitList]:
        """The hits of each query, as :meth:`search` finds them, encoded in batches and found in one pass of the index.

        queries: a list of texts, paths, pictures or vectors, also mixed; or a matrix of vectors (q, d).
        """
        groups = (collapse, collapse_size, min_score, fallback)
        options = Options(k, to, where, corrected, mmr, None, "head", facets, *groups)
        return asking.many(self, asking.all_named(self, queries), side, options)

    def add(
        self,
        values: Any,
        *,
        ids: Any = None,
        metadata: Any = None,
        side: str | None = None,
        replace: bool = False,
        progress: bool = False,
    ) -> dict[str, Any]:
        """Add items, encoded by the run's own encoder and durable when this returns: what is searched has them at once.

        values: texts, paths, pictures or vectors of one side, or a table of them, as ``sensorium.fit`` takes them.
        ids: one each, or the name of a table's column; numbers that are free without them. metadata: a table or mapping
        of columns. side: needed only when it is not evident. replace: items of ids that are there take their place.

        Returns ``{"side", "added", "replaced", "items", "ids"}``. Raises BadData for ids that are there already,
        unknown columns, and values that cannot be encoded; ReadOnly and DiskFull.
        """
        return editing.add(self, values, ids, metadata, side, replace, progress)

    def remove(self, ids: Any, *, side: str | None = None, missing: bool = False) -> int:
        """Remove items by id, durable when this returns; returns how many there were.

        missing: ids that are not there are no error; otherwise BadData is raised and nothing is removed.
        """
        return editing.remove(self, ids, side, missing)

    def save(self, path: str | Path) -> Run:
        """Copy the run, with its live changes, into a folder that is absent, empty or a run; returns it, opened.

        Raises BadRecipe when something else lies there, DiskFull; what was there before is then untouched.
        """
        return open(editing.save(self, path), tuple(self._encoders.values()))

    def vector_of(self, side: str, id: str) -> np.ndarray:
        """The indexed vector (d,) of an item. Raises BadData for an unknown id."""
        row = self.places(side).row(id)
        if row < 0:
            some = self.index(side).table.ids[:20000].tolist()
            raise BadData(f"no item '{id}' on the {self.names[side]} side of {self.folder}; {nearest(id, some)}")
        return np.array(self.index(side).vectors(np.array([row]))[0])

    @cached_property
    def trust(self) -> Mapping[str, Any]:
        """By direction: the calibration of scores, and the rejection threshold; written by ``evaluate.posthoc``."""
        return trust.read(self.folder)

    @cached_property
    def corrections(self) -> Mapping[str, Any]:
        """The hubness correction of each direction that has one."""
        from sensorium.evaluate import hubness_corrections

        with reading(self.folder):
            return hubness_corrections.load(self.folder)

    def shift(self, direction: str, to: str) -> Any:
        """A direction's correction, fitted to everything that side ``to`` has indexed; None without one."""
        if direction not in self.corrections:
            return None
        if direction not in self._shifts:
            index = self.index(to)
            self._shifts[direction] = self.corrections[direction].shift(index.vectors(np.arange(len(index.table))))
        return self._shifts[direction]
