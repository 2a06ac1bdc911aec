"""Folds of one protocol together: mean ± deviation, every group evaluated, what was taken for what, a card.

A fold is given as what metrics.json says of its runs, one a seed; folds and seeds in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.evaluate import figures, plots
from sensorium.evaluate.card import markdown, number

Metrics = Mapping[str, Any]
_SEVERAL = ("UA", "WA", "macro-F1")


def summarise(folds: Sequence[Sequence[Metrics]]) -> dict[str, Any]:
    """What folds.json says: how many ``folds`` and ``seeds``, ``results``, ``groups`` and ``classes``.

    results: a row per direction and measure of the test splits. mean (over folds, each the mean of its
    seeds), std_folds (of these, n - 1 in the denominator, as papers give it), std_seeds (of the seeds' own
    means over folds; None for one seed), lowest and highest fold. ``leaky`` where any fold was stamped.
    groups: each group that was evaluated, worst first, the mean over its runs of what their breakdown says.
    classes: confusion counts summed over all runs, and recall; only where the right side is a class table.
    """
    results = [[one["results"] for one in of_fold] for of_fold in folds]
    runs = [one for of_fold in folds for one in of_fold]
    summary = {
        "folds": len(folds),
        "seeds": len(folds[0]),
        "sides": runs[0].get("sides"),
        "results": _results(results),
        "groups": _groups(runs),
    }
    counted = [one["classes"] for one in runs if one.get("classes")]
    if len(counted) == len(runs) and all(one["names"] == counted[0]["names"] for one in counted):
        counts = np.sum([one["confusion"] for one in counted], axis=0)
        there = counts.sum(1)
        recall = [int(right) / int(n) if n else None for right, n in zip(np.diag(counts), there, strict=True)]
        summary["classes"] = {"names": counted[0]["names"], "confusion": counts.tolist(), "recall": recall}
    return summary


def table(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """The results as rows for people: percent, ranks as they are; LEAKY where a fold leaks."""
    rows = []
    for r in summary["results"]:
        measure = r["measure"]

        def spread(value: float | None, measure: str = measure) -> str:
            return "" if value is None else f"± {number(measure, value)}"

        rows.append({
            "direction": figures.arrow(r["direction"], summary.get("sides")), "measure": measure,
            "mean": number(measure, r["mean"]) + (" LEAKY" if r.get("leaky") else ""),
            "over folds": spread(r["std_folds"]), "over seeds": spread(r["std_seeds"]),
            "lowest": number(measure, r["lowest"]), "highest": number(measure, r["highest"]),
        })  # fmt: skip
    return rows


def group_table(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """The groups as rows for people, in percent."""
    measures = [name for name in (*_SEVERAL, "value") if summary["groups"] and name in summary["groups"][0]]
    if len(measures) > 1:
        measures.remove("value")
    return [
        {"group": g["name"], **{name: f"{100 * g[name]:.1f}" for name in measures}, "queries": f"{g['n']:,}"}
        for g in summary["groups"]
    ]


def write(summary: Mapping[str, Any], name: str, folder: Path) -> None:
    """folds.json, its pictures and its card into a folder that holds ``fold-<k>/seed-<s>``."""
    io.write_json(folder / "folds.json", summary)
    leaky = any(row.get("leaky") for row in summary["results"])
    pictured = []
    if summary.get("classes"):
        counts = np.array(summary["classes"]["confusion"])
        plots.confusion(counts, summary["classes"]["names"], folder / "plots" / "confusion_matrix.png", leaky)
        pictured.append(("plots/confusion_matrix.png", "True classes against predicted ones, all folds and seeds."))
    if len(summary["groups"]) > 1:
        bars = [{**g, "low": None, "high": None} for g in summary["groups"]]
        plots.groups(bars, folder / "plots" / "groups.png", leaky, f"{summary['groups'][0]['measure']} by group")
        pictured.append(("plots/groups.png", "Every evaluated group, worst first."))
    io.write(folder / "README.md", card(summary, name, pictured))


def card(summary: Mapping[str, Any], name: str, pictured: Sequence[tuple[str, str]] = ()) -> str:
    """Markdown: the numbers, every group, recall of each class, pictures as (path, caption)."""
    leaky = " — **LEAKY**" if any(row.get("leaky") for row in summary["results"]) else ""
    text = [f"# {name}, every fold{leaky}",
            f"{summary['folds']} folds, {summary['seeds']} seed{'s' * (summary['seeds'] > 1)} each; `fold-K/seed-S` "
            "are the runs. Percent, except ranks. Mean over folds, each the mean of its seeds; ± is one standard "
            "deviation (n - 1) of folds, as papers give it, and of the seeds' own means.",
            markdown(table(summary))]  # fmt: skip
    if summary["groups"]:
        text += ["## Every group", markdown(group_table(summary))]
    if summary.get("classes"):
        each = zip(summary["classes"]["names"], summary["classes"]["recall"], strict=True)
        rows = [{"class": name, "recall": "" if share is None else f"{100 * share:.1f}"} for name, share in each]
        text += ["## Recall of each class", markdown(rows)]
    text += [f"![{caption}]({path})\n*{caption}*" for path, caption in pictured]
    return "\n\n".join(text) + "\n"


def _results(results: Sequence[Sequence[Sequence[Mapping[str, Any]]]]) -> list[dict[str, Any]]:
    rows = []
    for first in results[0][0]:
        direction, measure, split = key = first["direction"], first["measure"], first["split"]
        found = [[_row(one, key) for one in of_fold] for of_fold in results]
        value = np.array([[row["value"] for row in of_fold] for of_fold in found], np.float64)  # (folds, seeds)
        by_fold, by_seed = value.mean(1), value.mean(0)
        rows.append({
            "direction": direction, "measure": measure, "split": split, "mean": float(value.mean()),
            "std_folds": _deviation(by_fold), "std_seeds": _deviation(by_seed), "lowest": float(by_fold.min()),
            "highest": float(by_fold.max()), "folds": len(by_fold), "seeds": len(by_seed),
            **({"leaky": True} if any(row.get("leaky") for of_fold in found for row in of_fold) else {}),
        })  # fmt: skip
    return rows


def _row(results: Sequence[Mapping[str, Any]], key: tuple[str, str, str]) -> Mapping[str, Any]:
    return next(row for row in results if (row["direction"], row["measure"], row["split"]) == key)


def _groups(runs: Sequence[Metrics]) -> list[dict[str, Any]]:
    """Each group's numbers, mean over the runs that evaluated it, and how many ``n`` queries it has in one of them."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in runs:
        for row in one.get("breakdown", {}).get("worst", ()):
            found.setdefault(row["name"], []).append({**row, "measure": one["breakdown"]["measure"]})
    rows = [
        {"name": name, "measure": summary[0]["measure"], "n": summary[0]["n"],
         **{m: float(np.mean([row[m] for row in summary])) for m in ("value", *_SEVERAL) if m in summary[0]}}
        for name, summary in found.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: row["value"])


def _deviation(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None
