"""Migration of one side of a run to another encoder: an adapter fitted on a sample, its recall measured, both served.

The run's folder stays: see :mod:`sensorium.search.migration`. The swap is :mod:`sensorium.experiments.swap`'s.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import fingerprint as fingerprints
from sensorium import heads, io, pipeline
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe, Mismatch, SensoriumError
from sensorium.evaluate import kept
from sensorium.evaluate.partner_ranks import PartnerRanks
from sensorium.experiments import new_vectors
from sensorium.fitting import adapter_choice
from sensorium.pairs import Pairs
from sensorium.progress import timed
from sensorium.search import located, migration
from sensorium.search.folder import RunFolder, quote
from sensorium.search.run import Run
from sensorium.search.run import open as open_run
from sensorium.types import Data, Embeddings

SAMPLE = 2000  # items, where none are asked for
LEAST = 40  # items of a sample: five folds of eight


@dataclass(frozen=True)
class Base:
    """The run as it is: its data, the old encoder's vectors of both sides, its pairs with their splits, its heads."""

    run: Run
    data: Data
    left: Embeddings
    right: Embeddings | None
    pairs: Pairs

    @classmethod
    def of(cls, folder: Path, progress: bool, stores: Path | None = None) -> Base:
        """Read a run's data and stored vectors. Raises Mismatch where they are no longer what it was fitted on.

        stores: folder of the embeddings, by default the usual one beside the run.
        """
        run = open_run(folder)
        plan = recipes.load(run.folder / "recipe.toml", of_run=True).here()
        parts = located.tuned(plan.build(), run.folder)
        data = located.data(plan, run.folder, progress).load()
        left, right = pipeline.embed(plan, data, stores or RunFolder(folder).stores, progress, parts)
        found = fingerprints.of_data(left, right)
        if found != run.metrics["data"]:
            raise Mismatch(f"{folder} was fitted on data {run.metrics['data']}, which is {found} now; make it anew: "
                           f"{RunFolder(folder).again()}")  # fmt: skip
        return cls(run, data, left, right, pipeline.split(plan, data.pairs, ["test"]))

    def table(self, side: str) -> Embeddings:
        """The old encoder's vectors of a side."""
        return self.left if side == "left" or self.right is None else self.right

    def own_head(self, side: str) -> Any:
        """The run's own head of a side, without an adapter."""
        at = "left" if self.right is None else side
        return self.run.head_for(at, fingerprints.digest(dict(self.run.own_fingerprint(at))))

    def rows_of(self, side: str, pairs: Pairs) -> np.ndarray:
        """Rows of a side in some pairs; of both ends within one table."""
        if pairs.same_table:
            return np.unique(np.concatenate([pairs.left, pairs.right]))
        return np.unique(pairs.left if side == "left" else pairs.right)


def migrate(
    folder: str | Path,
    overrides: Sequence[str],
    *,
    sample: int | None = None,
    refit: bool = True,
    quiet: bool = False,
) -> dict[str, Any]:
    """Fit the adapter of one side, measure it, and let the new encoder answer; returns the record.

    overrides: ``left.encoder=NEW`` and keys of it, or ``left.vectors=FILE[:KEY]`` and ``left.ids=FILE[:KEY]``. sample:
    items that both encoders embed, beside the test items; by default 2,000, or all there are. refit: also fit heads
    on the sample with each encoder alone, to say what embedding everything anew would bring.

    Interrupted, it goes on when it is called again: what was embedded stays in the store beside the run.
    Raises BadRecipe, BadData, Mismatch and Corrupt for what a caller can correct.
    """
    folder, began = Path(folder), time.perf_counter()
    seconds: dict[str, float] = {}
    target = new_vectors.target_of(overrides)
    run = open_run(folder)
    side = _checked(run, target)
    if (there := run.migrations.active(side)) is not None:
        again = f"sensorium migrate {quote(folder)}"
        raise BadRecipe(f"{folder} is being migrated from '{there.old}' to '{there.new}' already; finish with: {again} "
                        f"--swap, or undo with: {again} --rollback")  # fmt: skip
    with timed("load", seconds, quiet):
        base = Base.of(folder, not quiet)
    source = new_vectors.open_source(base, target, overrides)
    rows, test = _sample(base, side, source.rows, sample)
    with timed("embed", seconds, quiet):
        new = source.vectors(np.union1d(rows, test), not quiet)
    with timed("fit", seconds, quiet):
        chosen = fit(base, side, new, rows)
    report: dict[str, Any] = {}
    if len(test):
        with timed("evaluate", seconds, quiet):
            report = _report(base, side, chosen.adapter, new, rows, test, source, refit)
    digest = fingerprints.digest(dict(source.fingerprint))
    record = {
        "state": migration.BESIDE, "side": side,
        "old": {"name": source.old, "fingerprint": fingerprints.plain(base.run.own_fingerprint(side))},
        "new": {"name": source.name, "encoder": source.spec, "fingerprint": fingerprints.plain(source.fingerprint),
                **source.about},
        "adapter": {"name": chosen.adapter.name, "items": len(rows), "held_out_error": chosen.error,
                    "tried": chosen.tried},
        "sample": len(rows), "test_items": len(test),
        **report,
        "seconds": {**seconds, "all": round(time.perf_counter() - began, 3)},
    }  # fmt: skip
    module = chosen.adapter.before(head_name(base.run, side), base.own_head(side))
    with migration.changing(folder) as building:
        heads.save(module, building / f"{side}-{digest}", "adapted", source.fingerprint)
        migration.write(building, migration.Migration(side, record))
    return record


def head_name(run: Run, side: str) -> str:
    """Name of the part that a side's own head was saved by; of a closed form it is not the recipe's."""
    return str(io.read_object(run.folder / f"{side}.json", name=str)["name"])


def _checked(run: Run, target: new_vectors.Target) -> str:
    """The side that is migrated. Raises BadRecipe for a run, or a side of it, that cannot be."""
    side, plan = target.side, run.recipe
    anew = f"type: sensorium run {quote(run.folder / 'recipe.toml')} {side}.encoder=NEW --out OTHER"
    if side not in run.sides:
        raise BadRecipe(f"{run.folder} has one table for both sides; type: left.{target.what}=NEW" if run.sides else
                        f"{run.folder} has no index; type: sensorium index {quote(run.folder)}")  # fmt: skip
    if plan.finetune_options() is not None:
        raise BadRecipe(f"{run.folder}: its encoders were trained with its heads, so another one needs another fit; "
                        f"{anew}")  # fmt: skip
    if run.centers[side] is not None:
        raise BadRecipe(f"{run.folder}: its {side} vectors are centred ({side}.center), which no adapter follows; "
                        f"{anew}")  # fmt: skip
    if not run.head(side).takes_vectors or run.head(side).streams:
        raise BadRecipe(f"{run.folder}: its {side} head reads frames, an adapter takes one vector an item; {anew}")
    return side


def _sample(base: Base, side: str, known: np.ndarray | None, wanted: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows that the adapter is fitted on, none of the test split, and rows it is measured on.

    known: rows that have a new vector; None: any can be had. Within one table whole pairs are drawn.
    """
    related = base.pairs.where(label=1)
    fit, test = related.take(np.flatnonzero(related.split != "test")), related.where("test")
    held = base.rows_of(side, test)
    usable = np.setdiff1d(base.rows_of(side, fit), held)
    if known is not None:
        usable, held = np.intersect1d(usable, known), np.intersect1d(held, known)
    name = base.run.names[side]
    if len(usable) < LEAST:
        have = (
            "related items outside the test split"
            if known is None
            else "items outside the test split have a new vector"
        )
        raise BadRecipe(f"too few to fit an adapter: {len(usable)} {name} {have}; {LEAST} are needed")
    if wanted is not None and wanted > len(usable):
        raise BadRecipe(f"--sample {wanted}: there are {len(usable)} {name} items outside the test split that can be "
                        f"sampled; type --sample {len(usable)}, or leave it out")  # fmt: skip
    if wanted is not None and wanted < LEAST:
        raise BadRecipe(f"--sample {wanted}: an adapter needs {LEAST} items or more; type --sample {LEAST}")
    random = np.random.default_rng(base.run.recipe.seed)
    n = min(wanted or SAMPLE, len(usable))
    if base.pairs.same_table:
        order = random.permutation(len(fit))
        both = np.stack([fit.left[order], fit.right[order]], 1).ravel()
        both = both[np.isin(both, usable)]
        _, first = np.unique(both, return_index=True)
        rows = both[np.sort(first)][:n]
    else:
        rows = random.choice(usable, n, replace=False)
    most = max(n, SAMPLE)
    if len(held) > most:
        held = random.choice(held, most, replace=False)
    return np.sort(rows), np.sort(held)


def fit(base: Base, side: str, new: Embeddings, rows: np.ndarray) -> adapter_choice.Choice:
    """The adapter of the sample's rows. new: a table as long as the side's, whose other rows are not read.

    Judged by the rank of each item's best partner among the partners of all pairs outside the test split.
    """
    old = np.asarray(base.table(side).vectors[rows], np.float32)
    return of_vectors(base, side, base.own_head(side), np.asarray(new.vectors[rows], np.float32), old, rows)


def of_vectors(base: Base, side: str, head: Any, x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> Any:
    """The adapter of x (n, d_x) to y (n, d_y), which ``head`` takes; both are of a side's ``rows``."""
    related = base.pairs.take(np.flatnonzero((base.pairs.split != "test") & (base.pairs.label == 1)))
    ranks = PartnerRanks(related, _direction(side), rows, base.run.recipe.seed)
    other = _other(side)
    candidates = _through(base.own_head(other), base.table(other), ranks.candidates)
    group = np.zeros(len(base.table(side)), np.int64)
    for end in [related.left, related.right] if related.same_table else [getattr(related, side)]:
        group[end] = related.group
    for parameter in head.parameters():
        parameter.requires_grad_(False)
    judge = lambda places, z: ranks(places, heads.apply(head, z), candidates)  # noqa: E731
    return adapter_choice.choose(x, y, judge, head.eval(), group[rows], base.run.recipe.seed)


def _other(side: str) -> str:
    return "right" if side == "left" else "left"


def _direction(side: str) -> str:
    """The direction in which a side's items are the queries."""
    return f"{side}->{_other(side)}"


def _through(head: Any, table: Embeddings, rows: np.ndarray) -> np.ndarray:
    """Some rows of a table, vectors or frames, through a head: (m, d)."""
    return heads.apply(head, table.vectors, rows) if table.offsets is None else heads.project(head, table)[rows]


def _report(
    base: Base, side: str, adapter: Any, new: Embeddings, rows: np.ndarray, test: np.ndarray, source: Any, refit: bool
) -> dict[str, Any]:
    """Ways to search the test items, and what the adapter keeps of the others, with paired intervals."""
    plan = base.run.recipe
    resamples, seed = plan.evaluate_options().resamples, plan.seed
    pairs = _of_rows(base.pairs.where("test", label=1), side, test)
    old_table, head = base.table(side), base.own_head(side)
    zl, zr = _projected(base, pairs)
    z_new = np.zeros((len(old_table), head.dim), np.float32)
    z_new[test] = heads.apply(head, adapter(np.asarray(new.vectors[test], np.float32)))
    direction, back = _direction(side), _direction(_other(side))
    adapted = (z_new, zr) if side == "left" else (zl, z_new)
    ways = {"old": kept.rankings(zl, zr, pairs, direction)}
    ways["adapted"] = _between(adapted, (zl, zr), pairs, direction)
    as_items = None
    if not pairs.same_table:  # items of the new encoder, found among themselves by queries of the other side
        as_items = kept.kept(kept.rankings(*adapted, pairs, back), kept.rankings(zl, zr, pairs, back), resamples, seed)
    measure = kept.measure_of(ways["old"])
    notes = []
    if refit:
        for name, tables in (("old refit", old_table), ("new refit", new)):
            try:
                found = _fitted_anew(base, side, tables, rows, pairs, source if name == "new refit" else None)
                ways[name] = kept.rankings(*found, pairs, direction)
            except SensoriumError as error:
                notes.append(f"{name} was not measured: {error}")
    against = {name: kept.kept(ways["adapted"], one, resamples, seed, measure) for name, one in ways.items()}
    gain = None
    if "new refit" in ways and "old refit" in ways:
        gain = kept.kept(ways["new refit"], ways["old refit"], resamples, seed, measure)
    return {
        "direction": direction,
        "ways": [{"way": name, **kept.arm(one), "kept": against[name] if name != "adapted" else None}
                 for name, one in ways.items()],
        "kept": against["old"], "kept_of_refit": against.get("new refit"), "kept_as_items": as_items, "gain": gain,
        "verdict": kept.verdict(against["old"], against.get("new refit"), gain, source.old, source.name),
        **({"notes": notes} if notes else {}),
    }  # fmt: skip


def _between(queries: tuple[Any, Any], candidates: tuple[Any, Any], pairs: Pairs, direction: str) -> Any:
    """Ranks of new queries among old candidates; within one table the same rows are both."""
    if not pairs.same_table:
        return kept.rankings(*queries, pairs, direction)
    return kept.rankings(queries[0], candidates[1], pairs, direction)


def _of_rows(pairs: Pairs, side: str, rows: np.ndarray) -> Pairs:
    """The pairs whose rows of a side, or of both ends within one table, are among these."""
    left, right = np.isin(pairs.left, rows), np.isin(pairs.right, rows)
    inside = left & right if pairs.same_table else left if side == "left" else right
    return pairs.take(np.flatnonzero(inside))


def _projected(base: Base, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Both tables' rows of some pairs through the run's own heads; other rows are zeros, and not read."""
    made = []
    for side in ("left", "right"):
        head, table, rows = base.own_head(side), base.table(side), base.rows_of(side, pairs)
        z = np.zeros((len(table), head.dim), np.float32)
        z[rows] = _through(head, table, rows)
        made.append(z)
    return made[0], made[0] if pairs.same_table else made[1]


def _fitted_anew(
    base: Base, side: str, table: Embeddings, rows: np.ndarray, test: Pairs, source: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Both tables through heads that were fitted on the sample's pairs alone. table: of the side, as it is fitted.

    source: of the new encoder; None: the old one.
    """
    plan = base.run.recipe if source is None else source.plan
    pairs = _of_rows(base.pairs, side, rows)
    if not len(pairs.where("train", label=1)):
        raise BadRecipe("the sample has no pair of the train split")
    tables: Mapping[str, Any] = {"left": base.left, "right": base.right, side: table}
    with tempfile.TemporaryDirectory() as folder:
        fitted = pipeline.fit_heads(plan, tables["left"], tables["right"], pairs, Path(folder), progress=False)
    made = []
    for at, head in (("left", fitted.left_head), ("right", fitted.right_head)):
        own = tables[at] if tables[at] is not None else tables["left"]
        used = base.rows_of(at, test)
        z = np.zeros((len(own), head.dim), np.float32)
        z[used] = _through(head, own, used)
        made.append(z)
    return made[0], made[0] if test.same_table else made[1]
