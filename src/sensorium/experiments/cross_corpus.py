"""A run evaluated on another corpus: the classes both have, speakers, microphones and language that it never met."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import heads, io, pipeline
from sensorium import recipe as recipes
from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate import classification
from sensorium.search import evaluations
from sensorium.search.folder import RunFolder
from sensorium.search.publishing import searchable
from sensorium.types import Data, Items


def judge(run: Path | str, overrides: Sequence[str], quiet: bool = False) -> list[dict[str, Any]]:
    """UA, WA and macro-F1 of a run on all recordings of another corpus whose class the run knows too.

    overrides: ``data=emodb data.root=FOLDER`` and the like, the other corpus; evaluate.resamples. The answer
    is the best of the common classes. Nothing is fitted, and no part of the other corpus is held back but
    recordings that the run itself was made of, as when it is the same corpus with another channel.

    Returns a row a measure: value with its 95% interval over speakers, n_queries, n_candidates (common
    classes), chance, speakers, left_out (recordings of other classes), own (recordings of the run). Stored as
    ``cross-<corpus>.json`` in the run. Raises BadRecipe when the run knows no classes, BadData when fewer
    than two are common or all recordings are the run's own.
    """
    from sensorium.search.run import open as open_run

    opened = open_run(run)
    if opened.recipe.part_name("right.encoder") != "onehot":
        raise BadRecipe(f"{run} knows no classes (its right encoder is not onehot), so another corpus cannot judge it")
    plan = recipes.load(opened.folder / "recipe.toml", overrides, of_run=True)
    known = opened.index("right")
    names = known.table.ids.tolist()
    data = plan.part("data").load()
    emotion = np.asarray(data.right.ids)[data.pairs.right]  # of each clip, in the order of the pairs
    common = [name for name in names if name in set(emotion.tolist())]
    if len(common) < 2:
        raise BadData(
            f"{plan.part_name('data')} has {_some(sorted(set(emotion.tolist())))}, the run knows "
            f"{_some(names)}: fewer than two classes are common, so there is nothing to judge"
        )
    original = np.isin(np.arange(len(data.left)), searchable(data.left))  # no augmented copies
    own = _own(opened, plan, data.left.ids) & original
    chosen = np.isin(emotion, common) & original[data.pairs.left]
    evaluated = np.flatnonzero(chosen & ~own[data.pairs.left])
    if not len(evaluated):
        raise BadData(f"all {int(own.sum())} recordings are the run's own; its test split is judged by: "
                      f"sensorium evaluate {run}")  # fmt: skip
    z = _project(opened, plan, data, data.pairs.left[evaluated], Path(run), quiet)
    table = known.vectors(np.arange(len(names)))[[names.index(name) for name in common]]
    labels = np.array([common.index(name) for name in emotion[evaluated].tolist()])
    group = data.pairs.group[evaluated]
    after = {"n_queries": len(labels), "n_candidates": len(common), "chance": 1.0 / len(common),
             "speakers": len(np.unique(group)), "left_out": len(emotion) - int(chosen.sum()),
             "own": int(chosen.sum()) - len(evaluated),
             "classes": " ".join(common)}  # fmt: skip
    before = {"corpus": plan.part_name("data")}
    resamples = plan.values["evaluate"]["resamples"]
    rows = classification.measured(labels, (z @ table.T).argmax(1), group, before, after, resamples, plan.seed)
    entry = evaluations.corpus_entry(opened.folder, overrides, rows, plan.part_name("data"))
    evaluations.append_to_run(opened.folder, entry)
    io.write_json(opened.folder / f"cross-{plan.part_name('data').replace('/', '_')}.json", {"results": rows})
    return rows


def _own(opened: Any, plan: recipes.Recipe, ids: np.ndarray) -> np.ndarray:
    """Which recordings (n,) the run was made of: those of the same name in the same folder."""
    before, now = opened.recipe.values["data"], plan.values["data"]
    places = {str(Path(str(data.get("root") or data.get("csv"))).expanduser().resolve()) for data in (before, now)}
    if before["name"] != now["name"] or len(places) > 1:
        return np.zeros(len(ids), bool)
    return np.isin(ids, opened.index("left").table.ids)


def _some(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _project(opened: Any, plan: recipes.Recipe, data: Data, rows: np.ndarray, run: Path, quiet: bool) -> np.ndarray:
    """These left items through the run's own encoder and head, (n, d)."""
    left = data.left
    items = Items(left.ids[rows], [left.values[row] for row in rows.tolist()], left.kind)
    table = pipeline.embed_side("left", items, plan, RunFolder(run).stores, progress=not quiet)
    module = opened.head("left")
    heads.check(heads.restore(opened.folder / "left")[1], table.fingerprint, f"{run}: left head")
    return heads.project(module, table)
