"""What objective=auto reaches beside its best member and its best closed form: hit@10 on test, by seed, in one table.

    python -m bench.auto --data FOLDER [--cases flickr,glyphs,digits,ravdess] [--seeds 3] [--seconds 60]

FOLDER: of flickr8k-pairs-4000.npz, uci-mfeat-two-views-2000.npz and ravdess-yamnet-style-a01-12.npz; glyphs none.
Members, strengths and weights are chosen on validation; the test split is read once a run. "Corrected" is as searched,
with the hubness correction that validation chooses. Differences are paired, query by query, with 95% bootstrap
intervals over groups, uncorrected on both sides. cpu_s: of the fit alone, all threads together; a machine that does
other work gives auto fewer members within its seconds, so run it on a quiet one.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import sensorium
from sensorium import fitting, heads, scores
from sensorium.evaluate import statistics
from sensorium.scores import measures

DIRECTIONS = ("left->right", "right->left")


def main() -> None:
    """Print one JSON line a case and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", default="flickr,glyphs,digits,ravdess")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--most", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("runs/auto"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name, recipe, keys in cases(asked.data, asked.out):
        if not any(name.startswith(one) for one in asked.cases.split(",")):
            continue
        for seed in range(asked.seeds):
            more = ["objective=auto", f"objective.seconds={asked.seconds}", f"objective.most={asked.most}",
                    "evaluate.plots=false", "evaluate.calibrate=false", "evaluate.baselines=[]"]  # fmt: skip
            print(json.dumps(measured(name, recipe, [*keys, *more], seed, asked.out)), flush=True)


def cases(data: Path, out: Path) -> list[tuple[str, str, list[str]]]:
    """Name, recipe and keys of each case; digits and voices are written beside the runs as tables with a split."""
    digits = np.load(data / "uci-mfeat-two-views-2000.npz")
    both = {key: np.concatenate([digits[f"{key}_tr"], digits[f"{key}_te"]]) for key in "ITP"}
    split = np.array(["train"] * len(digits["I_tr"]) + ["test"] * len(digits["I_te"]))
    split[np.random.default_rng(7).permutation(len(digits["I_tr"]))[:300]] = "dev"
    np.savez(out / "digits.npz", split=split, **both)
    voices = np.load(data / "ravdess-yamnet-style-a01-12.npz")
    part = np.select([voices["actor"] <= 8, voices["actor"] <= 10], ["train", "dev"], "test")
    np.savez(out / "voices.npz", split=part, text=voices["text"][:, 0], **{
        key: voices[key] for key in ("audio_mean", "emotion", "actor")})  # fmt: skip
    flickr, table = f"data.file={data / 'flickr8k-pairs-4000.npz'}", f"data.file={out / 'digits.npz'}"
    found = [("flickr", "arrays", [flickr, "data.left=image", "data.right=text"]), ("glyphs", "glyphs", [])]
    for a, b in ("IT", "IP", "TP"):
        found.append((f"digits {a}{b}", "arrays", [table, f"data.left={a}", f"data.right={b}"]))
    voices_keys = ["data.left=text", "data.right=audio_mean", "data.relevant=emotion", "data.group=actor"]
    found.append(("ravdess", "arrays", [f"data.file={out / 'voices.npz'}", *voices_keys, "data.split=split"]))
    return found


def measured(name: str, recipe: str, keys: list[str], seed: int, out: Path) -> dict[str, Any]:
    """One run: its numbers, and its difference to its best member."""
    spent: list[float] = []
    plain = fitting.train

    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        made = plain(*args, **kwargs)
        spent.append(time.process_time() - started)
        return made

    fitting.train = timed
    try:
        run = sensorium.run(recipe, keys, out=out / f"{name.replace(' ', '-')}-{seed}", seed=seed, quiet=True)
    finally:
        fitting.train = plain
    fit, measure = run.metrics["fit"], "precision@10" if run.metrics["dataset"].get("classes") else "hit@10"
    line = {"case": name, "seed": seed, "cpu_s": round(sum(spent), 1), "fit_s": run.metrics["seconds"]["fit"],
            "measure": measure, "corrected": values(run.metrics["results"], measure),
            "uncorrected": values(run.metrics["uncorrected"] or run.metrics["results"], measure),
            "members": {row["member"]: round(row["weight"], 2) for row in fit["mixture"]},
            "validation": {row["member"]: round(row.get("validation") or 0.0, 4) for row in fit["mixture"]},
            "closed_form": fit["closed_form"]}  # fmt: skip
    return line | {"beside_best_member": beside(run, keys, recipe, measure)}


def values(rows: list[dict[str, Any]], measure: str) -> dict[str, float]:
    """Percent of each direction."""
    return {row["direction"]: round(100 * row["value"], 1) for row in rows if row["measure"] == measure}


def beside(run: Any, keys: list[str], recipe: str, measure: str) -> dict[str, Any]:
    """The result less its best member alone, the one with the highest validation measure, on the test split."""
    from sensorium import pipeline
    from sensorium import recipe as recipes
    from sensorium.fitting import encoders as encoding

    plan = recipes.load(recipe, keys)
    data = plan.part("data").load()
    plan, built, _ = encoding.settled(plan, data, plan.build(), keys)
    pairs = pipeline.split(plan, data.pairs)
    tables = pipeline.embed(plan, data, Path(run.folder).parent / "embeddings", False, built)
    kept = [row for row in run.metrics["fit"]["mixture"] if row["weight"] > 0]
    best = max(range(len(kept)), key=lambda k: kept[k].get("validation") or 0.0)
    z = [heads.apply(run.head(side), table.vectors) for side, table in zip(("left", "right"), tables, strict=True)]
    ends = [np.cumsum([0, *(member.dim for member in run.head(side).members)]) for side in ("left", "right")]
    alone = [one[:, e[best] : e[best + 1]] for one, e in zip(z, ends, strict=True)]
    found: dict[str, Any] = {"member": kept[best]["member"]}
    for direction, (a, b) in zip(DIRECTIONS, ((0, 1), (1, 0)), strict=True):
        relevance = pairs.relevance(direction, "test")
        each = [measures.parse(measure).per_query(scores.ranks(one[a], one[b], relevance), relevance.offsets)
                for one in (z, alone)]  # fmt: skip
        low, high = statistics.interval(each[0] - each[1], relevance.group, resamples=1000, seed=0)
        found[direction] = [round(100 * float(v), 1) for v in (each[1].mean(), (each[0] - each[1]).mean(), low, high)]
    return found


if __name__ == "__main__":
    main()
