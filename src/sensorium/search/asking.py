"""Queries as Python values: what a value is, its vector, and the hits of one query or of many in one pass."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import modalities
from sensorium.errors import BadData, BadRecipe
from sensorium.search import joined, media, query
from sensorium.search.hits import HitList
from sensorium.search.query import Input, Options, Query, Ranked
from sensorium.types import Pictured, blocks
from sensorium.values.frames import column_of, is_picture

if TYPE_CHECKING:
    from sensorium.search.run import Run


def search(run: Run, inputs: Mapping[str, Any], side: str | None, options: Options) -> HitList:
    """The hits of one input: see ``Run.search``. Facets can be asked for without one; there are no hits then."""
    values = joined.together(run, {name: value for name, value in inputs.items() if value is not None}, side)
    if not values and options.facets:
        return HitList((), facets=query.facets(run, query.side_of_facets(run, options), options))
    if len(values) != 1:
        names = ", ".join([*modalities.names(), "id"])
        raise BadRecipe(f"give exactly one of {names} or vector; got {', '.join(values) or 'none'}")
    return many(run, [next(iter(values.items()))], side, options)[0]


def many(run: Run, named: Sequence[tuple[str, Any]], side: str | None, options: Options) -> list[HitList]:
    """The hits of each input, given by name ("text", "id", "vector", …) and value, in the order of the inputs.

    Inputs of one kind are encoded in batches, and all that search the same side are one pass of the index.
    """
    resolved, found = ranked(run, named, side, options)
    facets = {to: query.facets(run, to, options) for to in {one.to for one in resolved}} if options.facets else {}
    return [
        HitList(query.hits(run, one, hits), Media(run, one.to), facets.get(one.to))
        for one, hits in zip(resolved, found, strict=True)
    ]


def ranked(
    run: Run, named: Sequence[tuple[str, Any]], side: str | None, options: Options
) -> tuple[list[Query], list[Ranked]]:
    """The query of each input and its ranked rows: what :func:`many` reads the hits of."""
    if any(name == "text" and not str(value).strip() for name, value in named):
        raise BadRecipe("text is empty; give the words to search for")
    sides = [query.side_of(run, name, value, side) for name, value in named]
    vectors: list[np.ndarray | None] = [None] * len(named)
    groups: dict[tuple[str, str], list[int]] = {}
    for at, ((name, value), own) in enumerate(zip(named, sides, strict=True)):
        if name == "id":
            vectors[at] = run.vector_of(own, str(value))
        elif name == "vector":
            found = run.project(own, value)
            if len(found) != 1:
                raise BadData(f"vector: {len(found)} rows; a search takes one")
            vectors[at] = found[0]
        else:
            groups.setdefault((name, own), []).append(at)
    for (_, own), places in groups.items():
        encoder = run.encoder(own)
        for part in blocks(len(places), 1 if encoder is None else max(1, int(encoder.batch))):
            values = [joined.value_of(encoder, *named[p]) for p in places[part]]
            for at, vector in zip(places[part], run.encode(own, values), strict=True):
                vectors[at] = vector
    asked = [Input(own, str(value) if name == "id" else None) for (name, value), own in zip(named, sides, strict=True)]
    resolved = [query.resolve(run, [one], options) for one in asked]
    return resolved, query.search(run, np.stack(vectors), resolved) if resolved else []  # type: ignore[arg-type]


def all_named(run: Run, queries: Any) -> list[tuple[str, Any]]:
    """Every query of a list, column or matrix as :func:`named` says. Raises BadRecipe, naming its place."""
    given = column_of(queries, "queries")
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, (list, np.ndarray)):
        raise BadRecipe(f"queries is {type(queries).__name__}; expected a list of texts, paths, pictures or vectors")
    found = []
    for at, value in enumerate(given):
        try:
            found.append(named(run, value))
        except (BadRecipe, BadData) as error:
            raise type(error)(f"query {at}: {error}") from None
    return found


def named(run: Run, value: Any) -> tuple[str, Any]:
    """What kind of query a value is: its name, as in ``run.search(text=…)``, and the value as that kind takes it.

    A text is the words to search for, or a file where the run takes files of its ending and it is there. An array of
    uint8 is a picture where the run takes pictures; another one is a vector where its width is one that a side's head
    takes, else a sound.

    Raises BadRecipe, saying what the run takes, for anything else.
    """
    kinds = [kind for side in run.sides for kind in joined.taken(run.encoder(side))]
    files = [kind for kind in dict.fromkeys(kinds) if modalities.find(kind).is_file]
    if isinstance(value, Pictured):
        return "image", value
    if isinstance(value, os.PathLike) or (isinstance(value, str) and _is_file_of(value, files)):
        path = Path(value).expanduser()
        fitting = [kind for kind in files if path.suffix.lower() in modalities.find(kind).media_types] or files
        if fitting:
            return fitting[0], str(path)
    elif isinstance(value, str) and "text" in kinds:
        return "text", value
    elif isinstance(value, str):
        raise BadRecipe(
            f"no side of {run.folder} takes text: {_takes(run)}; to search by an item: run.search(id={value!r:.40})"
        )
    elif is_picture(value):
        shown = [kind for kind in files if modalities.find(kind).shown_as == "image"]
        if shown:
            return shown[0], value
    elif isinstance(value, tuple) and "audio" in files:
        return "audio", value
    else:
        found = column_of(value, "the query")
        array = np.asarray(found) if isinstance(found, (list, np.ndarray)) else np.zeros(0, object)
        widths = {run.head(side).dim_in for side in run.sides}
        if array.dtype == np.uint8 and array.ndim in (2, 3):
            shown = [kind for kind in files if modalities.find(kind).shown_as == "image"]
            if shown:
                return shown[0], array
        if array.dtype.kind in "fiu" and array.shape and array.shape[-1] in widths and array.ndim < 3:
            if array.ndim == 2 and len(array) != 1:
                raise BadData(f"the query has {len(array)} rows; search takes one: run.search_many(rows)")
            return "vector", array.reshape(-1)
        if array.dtype.kind == "f" and array.ndim == 1 and "audio" in files:
            return "audio", array
        if array.dtype.kind in "fiu" and array.ndim:
            raise BadData(f"the query has shape {array.shape}; {_takes(run)}")
    raise BadRecipe(f"the query is {type(value).__name__}; {_takes(run)}")


def _is_file_of(text: str, kinds: Sequence[str]) -> bool:
    """Whether a text names a file of one of these kinds, which is there."""
    ending = Path(text).suffix.lower() if len(text) < 4096 else ""
    known = any(ending in modalities.find(kind).media_types for kind in kinds)
    return bool(ending) and known and Path(text).expanduser().is_file()


def _takes(run: Run) -> str:
    """What the run takes, for messages: "left takes image, right takes vectors of 64 numbers"."""
    said = []
    for side in run.sides:
        encoder = run.encoder(side)
        said.append(
            f"{side} takes {f'vectors of {run.head(side).dim_in} numbers' if encoder is None else encoder.takes}"
        )
    return ", ".join(said)


class Media:
    """Media of the items of one side by id, opened when the first is shown."""

    def __init__(self, run: Run, side: str) -> None:
        self._run, self._side, self._table = run, side, None
        self._opened = False

    def __call__(self, id: str) -> tuple[str, bytes | Path] | None:
        """Media type, and bytes or a file, of an item; None where there is nothing to show."""
        live = self._run.journals[self._side].media(id) if self._side in self._run.journals else None
        if live is not None:
            return live
        if not self._opened:
            self._table, self._opened = media.open(self._run.folder, self._side), True
        return None if self._table is None else self._table.get(id)
