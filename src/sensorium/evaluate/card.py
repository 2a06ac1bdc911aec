"""The run's card: its README.md, from metrics.json, the recipe and the figures, in plain Markdown."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium import parts
from sensorium.evaluate import figures
from sensorium.evaluate.statistics import FEW

_STAMP = "**LEAKY**"
_CATEGORIES = 24  # rows of the breakdown of a protocol


def card(metrics: Mapping[str, Any], recipe: str, folder: Path, use: str = "") -> str:
    """Markdown: what the run is, its numbers with intervals, what they rest on, how to use it again.

    metrics: what metrics.json says (only ``results`` must be there). recipe: the resolved recipe as
    TOML. folder: the run's folder, whose plots are shown. use: how it is loaded, where that is not from a folder.
    """
    folder = Path(folder)
    name = str(metrics.get("name") or folder.name.removeprefix(".").removesuffix(".building"))
    parts = [_head(name, metrics), _numbers(metrics), _protocol(metrics), _styles(metrics), _noted(metrics),
             _reliability(metrics), _figures(folder, metrics), use or _use(name), _made(metrics, recipe)]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _noted(metrics: Mapping[str, Any]) -> str:
    """What the run said before the fit: how it differs from the recipe, and what of the data has to be known."""
    notes = metrics.get("notes", ())
    return "\n".join(["## Notes", "", *(f"- {note}" for note in notes)]) if notes else ""


def markdown(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Records as a Markdown table; columns of numbers to the right, missing cells empty."""
    columns = list(columns or dict.fromkeys(key for row in rows for key in row))
    numeric = {c: all(_numeric(row.get(c)) for row in rows) for c in columns}
    lines = [columns, ["---:" if numeric[c] else "---" for c in columns]]
    lines += [[_cell(row.get(c)) for c in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """The results as rows for people: percent with 95% interval, the baselines beside, LEAKY where it leaks."""
    baselines = {name: {(r["direction"], r["measure"]): r["value"] for r in record["results"]}
                 for name, record in metrics.get("baselines", {}).items() if record.get("results")}  # fmt: skip
    rows, chance = [], any("chance" in r for r in metrics["results"])
    for r in metrics["results"]:
        measure = r["measure"]
        row = {"direction": figures.arrow(r["direction"], metrics.get("sides")), "measure": measure,
               "value": number(measure, r["value"]), "95% interval": _interval(r)}  # fmt: skip
        if chance:
            row["chance"] = number(measure, r["chance"]) if "chance" in r else ""
        for name, values in baselines.items():
            value = values.get((r["direction"], measure))
            row[name] = "" if value is None else number(measure, value)
        row |= {"queries": f"{r['n_queries']:,}", "candidates": f"{r['n_candidates']:,}"}
        if r.get("leaky"):
            row["value"] += " LEAKY"
        rows.append(row)
    return rows


def _interval(row: Mapping[str, Any]) -> str:
    """The interval of a result row; none where the number says nothing, and marked where groups are few."""
    if row.get("degenerate"):
        return "none"
    ends = f"{number(row['measure'], row['low'])} – {number(row['measure'], row['high'])}"
    groups = row.get("n_groups", FEW)
    return ends if groups >= FEW else f"{ends} ({groups} group{'s' * (groups > 1)})"


def caution(metrics: Mapping[str, Any]) -> str:
    """What to know of the intervals where the split has too few groups for them; empty where it has enough."""
    groups = min((row["n_groups"] for row in metrics.get("results", ()) if "n_groups" in row), default=FEW)
    if groups >= FEW:
        return ""
    if groups == 1:
        return "All queries are of one group: the intervals say nothing of how another group would do."
    return (f"The intervals rest on {groups} groups and are too narrow to be believed; more groups tell more: "
            "a larger data.test, or every fold with data.fold=all where there are folds.")  # fmt: skip


def group_table(metrics: Mapping[str, Any], most: int = 24) -> list[dict[str, str]]:
    """The groups of the breakdown as rows for people, in percent, the worst ``most`` of them."""
    record = metrics.get("breakdown", {})
    several = ("UA", "WA", "macro-F1")
    rows = []
    for g in record.get("worst", [])[:most]:
        named = {name: g[name] for name in several if name in g} or {"value": g["value"]}
        rows.append(
            {"group": g["name"], **{name: f"{100 * v:.1f}" for name, v in named.items()}, "queries": f"{g['n']:,}"}
        )
    return rows


def class_table(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Recall of each class as rows for people, in percent; empty where the candidates are no classes."""
    record = metrics.get("classes", {})
    each = zip(record.get("names", []), record.get("recall", []), record.get("confusion", []), strict=True)
    return [{"class": name, "recall": "" if r is None else f"{100 * r:.1f}", "queries": f"{sum(counts):,}"}
            for name, r, counts in each]  # fmt: skip


def number(measure: str, value: float) -> str:
    """Ranks, cosines and correlations as they are, all else in percent; no more digits than intervals support."""
    if measure == "cosine":
        return f"{value:.3f}"
    if measure.startswith("CCC"):
        return f"{value:.2f}"
    return f"{value:,.1f}" if "rank" in measure else f"{100 * value:.1f}"


def _head(name: str, metrics: Mapping[str, Any]) -> str:
    stamp = f" — {_STAMP}" if metrics.get("leaks", {}).get("leaky") else ""
    pairs = metrics.get("pairs", {})
    sizes = ", ".join(
        f"{record['related']:,} {split} pairs in {record['groups']:,} groups" for split, record in pairs.items()
    )
    lines = [f"# {name}{stamp}", "Small heads on frozen encoders, fitted and evaluated by Sensorium."]
    return "\n\n".join([*lines, f"{sizes}." if sizes else "", *_paragraph(metrics.get("verdict"))]).strip()


def _numbers(metrics: Mapping[str, Any]) -> str:
    results = metrics.get("results") or []
    if not results:
        return ""
    split, seed = results[0]["split"], results[0]["seed"]
    text = [f"## Numbers on the {split} split", markdown(table(metrics)),
            "Percent, except ranks; ties count against us; intervals are 95%, by bootstrap over groups "
            f"(seed {seed}). hit@k: any relevant in the first k. recall@k: share of the relevants in the first k. "
            "mAP: queries without a hit count as 0."]  # fmt: skip
    text += [f"**{record}**" for record in [caution(metrics)] if record]
    groups = group_table(metrics)
    if groups:
        text += [f"Groups, worst first, by {metrics['breakdown'].get('measure', 'hit@10')}:", markdown(groups)]
    recall = class_table(metrics)
    if recall:
        text += ["Recall of each class:", markdown(recall)]
    return "\n\n".join(text)


def _reliability(metrics: Mapping[str, Any]) -> str:
    names = metrics.get("sides")
    lines = [*_leaks(metrics.get("leaks", {})), *_hubness(metrics.get("hubness", {}), names),
             *_calibration(metrics.get("calibration", {}), names), *_gap(metrics.get("gap", {}))]  # fmt: skip
    return "\n".join(["## Leaks, hubness, calibration", "", *lines]) if lines else ""


def _leaks(leaks: Mapping[str, Any]) -> Iterable[str]:
    if not leaks:
        yield "- Leaks: not looked for (`evaluate.leaks=off`)."
        return
    if leaks.get("leaky"):
        yield f"- {_STAMP}: {leaks['affected_pairs']:,} of the evaluated pairs could be answered from memory."
    else:
        yield f"- No leak between {leaks['split']} and {' or '.join(leaks['seen'])}."
    for f in leaks.get("findings", []):
        some = f", such as {' and '.join(f['examples'][0])}" if f["examples"] and f["kind"] == "twin" else ""
        yield f"  - {_STAMP + ' ' if f['leaky'] else ''}{f['text']}{some}."


def _hubness(hubness: Mapping[str, Any], names: Mapping[str, str] | None) -> Iterable[str]:
    for direction, record in hubness.items():
        before, after = record["before"]["skewness"], record["after"]["skewness"]
        where, text = figures.arrow(direction, names), f"skewness of N_{record['before']['k']} {before:.2f}"
        if record["chosen"] == "none":
            yield f"- Hubness {where}: {text}; no correction, as none clearly helped on validation."
        else:
            yield (f"- Hubness {where}: {text}, {after:.2f} after `{record['chosen']}`, "
                   "chosen on validation and part of every number and search here.")  # fmt: skip


def _calibration(calibration: Mapping[str, Any], names: Mapping[str, str] | None) -> Iterable[str]:
    for direction, record in calibration.items():
        where = figures.arrow(direction, names)
        if "test" not in record:
            yield f"- Probabilities {where}: none ({record.get('not_applicable', 'not fitted')})."
            continue
        method, ece = record["probability"]["method"], _percent(record["test"]["ECE"])
        yield f"- Probabilities {where}: {method} fitted on validation, ECE {ece} points on test."
        yield from _no_match(record)
        yield from _top_set(record)


def _no_match(record: Mapping[str, Any]) -> Iterable[str]:
    rule = record.get("no_match")
    if not rule:
        return
    promise = f"at most {_percent(rule['risk'])}% wrong with {_percent(rule['confidence'])}% confidence"
    if rule["score"] is None:
        yield f"  - No threshold on the score keeps first answers {promise}."
        return
    wrong = record.get("test_wrong_among_answered")
    found = f"{_percent(record['test_answered'])}% answered" + (
        "" if wrong is None else f", {_percent(wrong)}% of them wrong"
    )
    yield f'  - Below score {rule["score"]:.3f} say "no match": {promise}; on test {found}.'


def _top_set(record: Mapping[str, Any]) -> Iterable[str]:
    top, found = record.get("top_set", {}), record.get("test_coverage")
    if top.get("k") and found:
        interval = f"[{_percent(found['low'])}, {_percent(found['high'])}]"
        yield (f"  - The first {top['k']:,} hold a right one {_percent(top['coverage'])}% of the time; "
               f"found on test {_percent(found['found'])}% {interval}.")  # fmt: skip


def _gap(gap: Mapping[str, Any]) -> Iterable[str]:
    if gap and gap.get("after"):
        before = f"{gap['before']['distance']:.2f} before the heads, " if gap.get("before") else ""
        yield f"- Modality gap (distance of the centroids): {before}{gap['after']['distance']:.2f} after."


def protocol_notes(protocol: Mapping[str, Any]) -> str:
    """How a protocol was measured, in one line."""
    return ", ".join(f"{key.replace('_', ' ')}: {_plain(value)}" for key, value in protocol.get("notes", {}).items())


def _protocol(metrics: Mapping[str, Any]) -> str:
    protocol = metrics.get("protocol")
    if not protocol:
        return ""
    notes = protocol_notes(protocol)
    beside = {name: {"results": rows} for name, rows in protocol.get("baselines", {}).items()}
    rows = table({"results": protocol["results"], "sides": metrics.get("sides"), "baselines": beside})
    lines = [
        f"## Protocol `{protocol['name']}`",
        protocol.get("about", ""),
        markdown(rows),
        f"{notes}." if notes else "",
        *_by_column(protocol.get("breakdown")),
        *_confusion(protocol.get("confusion")),
    ]
    return "\n\n".join(line for line in lines if line)


def _styles(metrics: Mapping[str, Any]) -> str:
    styles = metrics.get("styles")
    if not styles:
        return ""
    from sensorium.evaluate import query_styles  # which reads stores

    return "\n\n".join(["## Query styles", markdown(query_styles.table(styles)), query_styles.statement(styles)])


def _by_column(breakdown: Mapping[str, Any] | None) -> Iterable[str]:
    if breakdown:
        measure = breakdown["measure"]
        yield f"{measure} by {breakdown['by']}, worst first:"
        yield markdown([{breakdown["by"]: row["name"], measure: number(measure, row["value"]),
                         "95% interval": "" if row["low"] is None else _interval({**row, "measure": measure}),
                         "queries": f"{row['n']:,}", "candidates": f"{row['n_candidates']:,}"}
                        for row in breakdown["rows"][:_CATEGORIES]])  # fmt: skip


def _confusion(confusion: Mapping[str, Any] | None) -> Iterable[str]:
    if confusion and len(confusion["names"]) <= _CATEGORIES:
        names = confusion["names"]
        yield f"Counts, {confusion['rows']} (row) by {confusion['columns']} (column):"
        yield markdown([{confusion["rows"]: name, **{other: str(n) for other, n in zip(names, counts, strict=True)}}
                        for name, counts in zip(names, confusion["counts"], strict=True) if any(counts)])  # fmt: skip


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(v)}" for key, v in value.items())
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _figures(folder: Path, metrics: Mapping[str, Any]) -> str:
    shown = figures.present(folder, metrics.get("protocol", {}).get("figures", {}))
    return (
        "\n\n".join(["## Figures", *(f"![{caption}]({path})\n*{caption}*" for path, caption in shown)]) if shown else ""
    )


def _use(name: str) -> str:
    python = ["```python", "import sensorium", "", f'run = sensorium.open("runs/{name}")  # or wherever this folder is',
              'run.search(id="…", k=5)  # or text=, image=, audio=, face=, vector=', "```"]  # fmt: skip
    shell = ["```sh", f"sensorium show runs/{name}", f"sensorium search runs/{name} --id ID -k 5", "```"]
    return "\n".join(["## Use it", "", *python, "", *shell])


def _made(metrics: Mapping[str, Any], recipe: str) -> str:
    hashes = [f"{what} `{metrics[what]}`" for what in ("data", "split", "recipe") if what in metrics]
    seconds = metrics.get("seconds", {})
    lines = ["## How it was made"]
    if hashes:
        lines.append("Hashes: " + ", ".join(hashes) + ". Equal hashes, equal input.")
    lines += encoders(recipe, metrics.get("sides") or {})
    lines += _paragraph(ensemble(metrics.get("fit") or {}))
    lines += _paragraph(mixture(metrics.get("fit") or {}))
    if seconds:
        each = ", ".join(f"{stage} {s:.1f}" for stage, s in seconds.items())
        lines.append(f"Took {sum(seconds.values()):.1f} s ({each}).")
    return "\n\n".join([*lines, f"```toml\n{recipe.strip()}\n```"])


def ensemble(fit: Mapping[str, Any]) -> str:
    """A sentence about a seed ensemble: the members' validation measures, their mean, and its own; "" for one fit."""
    if not fit.get("members"):
        return ""
    measure, each = fit["monitor"], fit["member_validation"]
    text = f"An ensemble of {fit['members']} fits that differ in their seeds; scores are the means of theirs."
    if None in (*each, fit["validation"]):
        return text
    values = ", ".join(number(measure, value) for value in each)
    own, one = fit.get("ensemble_validation", fit["validation"]), ""
    if fit.get("distilled"):
        one = f", the head that was distilled from it and is used {number(measure, fit['validation'])}"
    return (f"{text} {measure} on the validation split: the members {values} (mean "
            f"{number(measure, fit['members_mean'])}), the ensemble {number(measure, own)}{one}.")  # fmt: skip


def mixture(fit: Mapping[str, Any]) -> str:
    """A sentence about a mixture, and one a member: its weight, its own measure, what it brings; "" for another fit."""
    rows, measure = fit.get("mixture"), fit.get("monitor", "")
    if not rows:
        return ""
    text = f"A mixture of {len(rows)} members; scores are weighted sums of theirs."
    if fit.get("validation") is None:
        return text
    each = []
    for row in rows:
        alone = f"{number(measure, row['validation'])} alone, weight {row['weight']:.2f}"
        if "brings" in row:
            ends = ", ".join(number(measure, row[end]) for end in ("brings", "low", "high"))
            alone += " (brings {} [{}, {}])".format(*ends.split(", "))
        each.append(f"{row['member']} {alone}")
    powers = ", ".join(f"{side} {power:g}" for side, power in fit["powers"].items())
    own = number(measure, fit["validation"])
    said = f" Chosen: {fit['said']}." if fit.get("said") else ""
    left_out = "".join(f" {name} was left out: {why}." for name, why in (fit.get("left_out") or {}).items())
    return (f"{text} {measure} on the validation split, on which the weights were chosen: {own}; "
            f"members: {'; '.join(each)}. Signed powers of the inputs: {powers}.{said}{left_out}")  # fmt: skip


def encoders(recipe: str, names: Mapping[str, str]) -> list[str]:
    """A sentence for each side whose encoder has weights: whose they are and under which licence."""
    plan, lines = tomllib.loads(recipe), []
    for side in ("left", "right"):
        called, encoder = names.get(side, side), plan.get(side, {}).get("encoder")
        for depth, spec in _within(encoder):
            name, verb = str(spec.get("name", "")), "uses" if depth else "is"
            licence = parts.licence("encoders", name)
            if licence and spec.get("model"):
                lines.append(f"The {called} encoder {verb} {name} with the weights of {spec['model']}; their publisher "
                             "says under which licence they may be used.")  # fmt: skip
            elif licence:
                lines.append(f"The {called} encoder {verb} {name}; licence of its weights: {licence}.")
    return lines


def _within(encoder: Any, depth: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """The spec of an encoder, and those of the encoders that it is made of, with their depth."""
    spec = encoder if isinstance(encoder, dict) else {"name": encoder}
    yield depth, spec
    inner = [value for value in spec.values() if isinstance(value, dict)] + list(spec.get("encoders", ()))
    for one in inner:
        yield from _within(one, depth + 1)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0")


def _paragraph(text: Any) -> list[str]:
    return [str(text)] if text else []


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _numeric(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value) and value.replace(",", "").replace(" LEAKY", "").lstrip("-").replace(".", "", 1).isdigit()
    return isinstance(value, (int, float))
