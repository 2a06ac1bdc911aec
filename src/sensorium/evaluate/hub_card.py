"""The page of a run on the Hub: a model card with the numbers and intervals, data, licences, and how to load it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sensorium import parts
from sensorium.evaluate import card, figures
from sensorium.store import hub_errors
from sensorium.store.hub import Place
from sensorium.store.hub_card import OURS, UNKNOWN

TASK = "feature-extraction"  # the Hub's word for models that give vectors


def page(place: Place, metrics: Mapping[str, Any], recipe: str, folder: Path, licence: str = "") -> str:
    """The model card of a run: front matter that the Hub's validator accepts, then the run's own card.

    metrics, recipe, folder: as of :func:`sensorium.evaluate.card.card`. licence: of the heads and index, by the Hub's
    own word, such as "apache-2.0".
    """
    plan = tomllib.loads(recipe)
    names = metrics.get("sides") or {}
    data = hub_errors.module().ModelCardData(
        license=licence or UNKNOWN, library_name="sensorium", pipeline_tag=TASK,
        tags=list(dict.fromkeys(["sensorium", "retrieval", *(str(name) for name in names.values())])),
        model_name=place.name.partition("/")[2], eval_results=list(results(metrics, plan)) or None,
    )  # fmt: skip
    body = card.card(metrics, recipe, folder, "\n\n".join([_use(place), _data(plan, metrics, folder, licence)]))
    return f"---\n{data.to_yaml()}\n---\n\n{OURS}\n\n{body}"


def results(metrics: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[Any]:
    """The results of a run, and those of its protocol, as the Hub's ``EvalResult``; intervals are arguments of each."""
    name = str(plan.get("data", {}).get("name", "unnamed"))
    protocol = metrics.get("protocol") or {}
    known = [("", row) for row in metrics.get("results", ())]
    known += [(f"protocol {protocol.get('name')}, ", row) for row in protocol.get("results", ())]
    for of, row in known:
        arrow = figures.arrow(row["direction"], metrics.get("sides"))
        sure = {} if row.get("degenerate") else {"low": _round(row["low"]), "high": _round(row["high"]), "level": 0.95}
        more = {**sure, "queries": row["n_queries"], "candidates": row["n_candidates"],
                **({"leaky": True} if row.get("leaky") else {})}  # fmt: skip
        yield hub_errors.module().EvalResult(
            task_type=TASK, task_name="retrieval", dataset_type=name, dataset_name=name, dataset_split=row["split"],
            metric_type=row["measure"], metric_value=_round(row["value"]), metric_args=more,
            metric_name=f"{of}{arrow} {row['measure']}" + (" (LEAKY)" if row.get("leaky") else ""),
        )  # fmt: skip


def _round(value: float) -> float:
    return round(float(value), 6)


def _use(place: Place) -> str:
    short = place.name.partition("/")[2]
    python = ["```python", "import sensorium", "", f'run = sensorium.from_pretrained("{place.name}")',
              'run.search(id="…", k=5)  # or text=, image=, audio=, face=, vector=', "```"]  # fmt: skip
    shell = ["```sh", "pip install 'sensorium[hub]'", f"sensorium pull {place.name} --out runs/{short}",
             f"sensorium search runs/{short} --id ID -k 5", f"sensorium serve runs/{short}", "```"]  # fmt: skip
    return "\n".join(["## Load it", "", *python, "", *shell])


def _data(plan: Mapping[str, Any], metrics: Mapping[str, Any], folder: Path, licence: str) -> str:
    name = str(plan.get("data", {}).get("name", ""))
    about, known = parts.names("datasets").get(name, ""), parts.licence("datasets", name) if name.isidentifier() else ""
    counts = [f"{key.replace('_', ' ')} {value:,}" for key, value in metrics.get("dataset", {}).items()
              if isinstance(value, int) and not isinstance(value, bool)]  # fmt: skip
    lines = [f"- Data set: `{name}`" + (f", {about[0].lower()}{about[1:].rstrip('.')}" if about else "") + "."]
    lines += [f"- Counts: {', '.join(counts)}."] if counts else []
    lines += [f"- Licence of the data: {known}."] if known else ["- Licence of the data: see where they come from."]
    lines += list(_media(folder))
    lines += [f"- Licence of heads and index: {licence or 'not stated by their publisher'}."]
    return "\n".join(["## Data and licences", "", *lines])


def _media(folder: Path) -> Iterable[str]:
    if (folder / "media").is_dir():
        yield "- Pictures or sounds of the data are in it as small copies, under the licence of the data."
