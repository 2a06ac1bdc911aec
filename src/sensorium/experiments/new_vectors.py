"""The new vectors of a migration: from an encoder, into a store, or from a file of vectors made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import fingerprint as fingerprints
from sensorium import formats, pipeline
from sensorium import recipe as recipes
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting import encoders as encoding
from sensorium.recipe import Recipe
from sensorium.search.folder import RunFolder
from sensorium.table import RowLookup
from sensorium.types import SIDES, Embeddings, Items, as_ids, check_unique

if TYPE_CHECKING:
    from sensorium.experiments.migrate import Base

_EXPECTED = "expected left.encoder=NAME or right.encoder=NAME, or left.vectors=FILE of vectors made elsewhere"


@dataclass(frozen=True)
class Target:
    """What is migrated. what: "encoder" or "vectors". file, ids: as typed, of vectors."""

    side: str
    what: str
    file: str = ""
    ids: str = ""


@dataclass(frozen=True)
class Source:
    """Where new vectors come from. rows: of the side that have one; None: every item can be encoded.

    name, old: of the new encoder and the old one; where they are equal, with what differs, as "hashing dim=96".
    plan: the run's recipe with the new encoder. spec: the encoder as a recipe names it; None of vectors.
    about: more for the record.
    """

    name: str
    fingerprint: Mapping[str, Any]
    plan: Recipe
    spec: Mapping[str, Any] | None
    rows: np.ndarray | None
    read: Any
    about: Mapping[str, Any] = field(default_factory=dict)
    old: str = ""

    def vectors(self, rows: np.ndarray, progress: bool) -> Embeddings:
        """A table as long as the side's, with the new vectors of these rows; the others are zeros."""
        return self.read(rows, progress)


def target_of(overrides: Sequence[str]) -> Target:
    """Side and kind of a migration from its keys. Raises BadRecipe for keys of anything else."""
    found: dict[str, dict[str, str]] = {}
    for text in overrides:
        key, sign, value = text.partition("=")
        side, _, rest = key.partition(".")
        if not sign or side not in SIDES or rest.split(".")[0] not in ("encoder", "vectors", "ids"):
            raise BadRecipe(f"'{text}' is no key of a migration; {_EXPECTED}")
        found.setdefault(side, {})[rest] = value
    if len(found) != 1:
        raise BadRecipe(f"one side is migrated at a time, these name {' and '.join(found) or 'none'}; {_EXPECTED}")
    ((side, keys),) = found.items()
    if "vectors" in keys and any(key.split(".")[0] == "encoder" for key in keys):
        raise BadRecipe(f"{side}.encoder and {side}.vectors were both given; {_EXPECTED}")
    if "vectors" in keys:
        return Target(side, "vectors", keys["vectors"], keys.get("ids", ""))
    if not keys.get("encoder") or keys["encoder"] == "none" or "ids" in keys:
        raise BadRecipe(f"{' '.join(overrides)}: no new encoder is named; {_EXPECTED}")
    return Target(side, "encoder")


def open_source(base: Base, target: Target, overrides: Sequence[str]) -> Source:
    """The source of new vectors, checked. Raises BadRecipe, BadData."""
    items = base.data.left if target.side == "left" or base.data.right is None else base.data.right
    made = _of_file(base, target, items) if target.what == "vectors" else _of_encoder(base, target, items, overrides)
    own = base.run.own_fingerprint(target.side)
    keys = fingerprints.differing(own, made.fingerprint)
    if not keys:
        raise BadRecipe(f"{base.run.folder}: its {target.side} vectors are of this encoder already ({made.name}); "
                        f"name another: {target.side}.encoder=NEW")  # fmt: skip
    old = base.run.recipe.part_name(f"{target.side}.encoder") or str(own.get("key") or own.get("name") or "vectors")
    if old != made.name:
        return replace(made, old=old)
    told = [
        " ".join(f"{key}={one.get(key)}" for key in keys) for one in map(fingerprints.plain, (own, made.fingerprint))
    ]
    return replace(made, old=f"{old} {told[0]}", name=f"{made.name} {told[1]}")


def _of_encoder(base: Base, target: Target, items: Items, overrides: Sequence[str]) -> Source:
    side = target.side
    if items.kind == "vector":
        raise BadRecipe(f"the {side} items of {base.run.folder} came as vectors, which no encoder takes; give the new "
                        f"vectors of a sample: {side}.vectors=FILE[:KEY] {side}.ids=FILE[:KEY]")  # fmt: skip
    plan = recipes.load(base.run.folder / "recipe.toml", overrides, of_run=True).here()
    plan, parts, _ = encoding.settled(plan, base.data, plan.build(), overrides)
    encoder = parts.encoders[side]
    if encoder.frames:
        raise BadRecipe(f"{side}.encoder: '{plan.part_name(f'{side}.encoder')}' gives frames, an adapter takes one "
                        "vector an item; name an encoder that pools")  # fmt: skip
    stores = RunFolder(base.run.folder).stores

    def read(rows: np.ndarray, progress: bool) -> Embeddings:
        some = replace(
            items, ids=items.ids[rows], values=_taken(items.values, rows), searchable=None,
            meta={name: np.asarray(column)[rows] for name, column in items.meta.items()},
        )  # fmt: skip
        table = pipeline.embed_side(side, some, _without_center(plan, side), stores, progress, encoder)
        return _spread(items, rows, table.vectors, table.fingerprint)

    spec = dict(plan.values[side]["encoder"])
    return Source(spec["name"], encoder.fingerprint, plan, spec, None, read)


def _of_file(base: Base, target: Target, items: Items) -> Source:
    """Vectors of a file by id: all items in the data's order where it has no ids, and as many rows."""
    side = target.side
    path, key = formats.split(target.file)
    columns = formats.read(path)
    key = key or columns.key or next(iter(formats.names_of_vectors(columns)), "")
    if key not in columns:
        raise BadRecipe(
            f"{side}.vectors={target.file}: {path.name} has no array '{key}'; it holds {', '.join(columns)}"
        )
    vectors = np.asarray(columns[key])
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise BadData(f"{side}.vectors={target.file} is {vectors.dtype} {vectors.shape}; expected numbers [n, d]")
    ids = _ids(target, path, columns)
    if ids is None and len(vectors) != len(items):
        raise BadData(f"{side}.vectors={target.file} has {len(vectors):,} rows and no ids, the {side} side has "
                      f"{len(items):,} items; name their ids: {side}.ids=FILE[:KEY]")  # fmt: skip
    ids = items.ids if ids is None else ids
    if len(ids) != len(vectors):
        raise BadData(f"{side}.ids: {len(ids):,} ids for {len(vectors):,} vectors; they must be as many")
    check_unique(ids, f"{side}.ids")
    from sensorium import heads

    heads.check_finite(vectors, ids, f"{side}.vectors")
    rows = RowLookup.of(items.ids).rows(ids.tolist())
    if not (rows >= 0).any():
        raise BadData(f"{side}.ids: none of {len(ids):,} ids is an item of the {side} side, such as '{ids[0]}'")
    known = np.flatnonzero(rows >= 0)
    place = dict(zip(rows[known].tolist(), known.tolist(), strict=True))
    named = {"name": "vectors", "key": f"{path.stem}{':' if key else ''}{key}", "dim": int(vectors.shape[1])}

    def read(wanted: np.ndarray, progress: bool) -> Embeddings:
        some = vectors[[place[row] for row in wanted.tolist()]].astype(np.float32)
        return _spread(items, wanted, some, named)

    about = {"vectors": str(path.absolute()) + (f":{key}" if key else ""), "ids": _absolute(target.ids),
             "items": len(known)}  # fmt: skip
    plan = base.run.recipe
    values = {**plan.values, side: {k: v for k, v in plan.values[side].items() if k != "encoder"}}
    return Source(named["key"], named, replace(plan, values=values), None, np.sort(rows[known]), read, about)


def _ids(target: Target, path: Path, columns: Any) -> np.ndarray | None:
    """The ids of a file's vectors: of the key that was named, a text file with one a line, or the file's own."""
    if not target.ids:
        own = getattr(columns, "ids", None)
        return as_ids(columns[own]) if isinstance(own, str) and own in columns else None
    where, key = formats.split(target.ids)
    if not where.exists() and target.ids in columns:
        return as_ids(columns[target.ids])
    if where.suffix in (".txt", ""):
        if not where.is_file():
            raise BadRecipe(f"{target.side}.ids={target.ids}: no such file, nor an array of {path.name}")
        return as_ids([line.strip() for line in where.read_text("utf-8-sig").splitlines() if line.strip()])
    found = formats.read(where)
    if (key or "ids") not in found:
        raise BadRecipe(f"{target.side}.ids={target.ids}: {where.name} has no array '{key or 'ids'}'; it holds "
                        f"{', '.join(found)}")  # fmt: skip
    return as_ids(np.asarray(found[key or "ids"]))


def _absolute(spec: str) -> str:
    where, key = formats.split(spec) if spec else (None, "")
    return spec if where is None or not where.exists() else str(where.absolute()) + (f":{key}" if key else "")


def _taken(values: Any, rows: np.ndarray) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows.tolist()]


def _spread(items: Items, rows: np.ndarray, vectors: Any, fingerprint: Mapping[str, Any]) -> Embeddings:
    """A table as long as the items, with vectors at these rows; pages of other rows are never touched."""
    whole = np.zeros((len(items), vectors.shape[1]), np.float32)
    whole[rows] = vectors[np.arange(len(rows))]
    return Embeddings(items.ids, whole, dict(fingerprint), items.meta)


def _without_center(plan: Recipe, side: str) -> Recipe:
    return replace(plan, values={**plan.values, side: {k: v for k, v in plan.values[side].items() if k != "center"}})
