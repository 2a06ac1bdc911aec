"""Seconds until the documents' held-out MRR is reached: their loops beside recipes of ours, on the same vectors.

    python -m bench.time_to_quality --data FOLDER [--cases emorag,embed2image,outfits] [--seeds 1] [--threads 2]

FOLDER holds the data; a file that is missing skips its case. The loops are those of :mod:`bench.documents`, each to
its own end, with a DataLoader as the documents write it.

emorag       ravdess-yamnet-style-a01-12.npz: a style caption finds clips of its emotion among those of two unseen
             actors. The document: 12,000 steps of batch 1,024.
emorag-made  planted pairs, 20,000 to train and 2,000 held out (problem nonlinear of :mod:`bench.emorag_quality`): a
             text finds its own clip. The document: the same 12,000 steps. Not among the cases that run by themselves.
embed2image  flickr8k-pairs-4000.npz: pictures and five captions each, both ways, 500 unseen pictures. The document:
             10 epochs.
outfits      fashion-myntra-3000.tar, vectors of pictures: the missing item of an unseen look among those of its
             category, looks made by rule. The document: 10 epochs of its pairs.

Both begin with vectors that are computed already, in one process with the same number of threads, imports done. Ours
is what a user types, listed with the results, from building the heads to the fitted heads: closed forms, training and
every choice on validation included. ``train.seconds=S`` is a whole fit with that limit. Fits of ours are spread evenly
between the units of the document's loop, so that both meet the same other load. Measuring is taken out of both. Every
document that has no validation split trains on ours too; nothing is chosen on the test split, which a curve shows.

MRR: mean over test queries of 1 / rank of the first right answer, ties against; the mean of both directions where the
case has two. "aim" is the document's MRR at its end; "first" is when the document was as good as that for the first
time, "best" its highest MRR on the way and when. Ratios: the document's seconds to its end by those of our fastest
way that reaches the aim, then "first" by the same, then seconds to the document's best by those of our fastest way to
it. Which limit of a way is enough is read off its held-out curve, as it is for the document. Where no way of ours
reaches an aim the table says so. "at its time": ours with ``train.seconds`` set to the document's seconds, 60 at most.
"""

from __future__ import annotations

import argparse
import csv
import functools
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl
import torch
from bench import documents, emorag_quality
from bench.documents import Loop, measured

from sensorium import heads, pipeline, scores
from sensorium import recipe as recipes
from sensorium.evaluate.card import markdown
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols._cir import Retrieval
from sensorium.evaluate.protocols._scorer import Scorer
from sensorium.evaluate.protocols.outfits import as_text
from sensorium.fitting import auto, loop  # noqa: F401 - imports are not what is timed
from sensorium.fitting import encoders as encoding
from sensorium.pairs import Pairs
from sensorium.scores import measures
from sensorium.types import Data, Embeddings

#: Limits of time, in seconds, that ways are fitted with.
AUTO, OF_OUTFITS = (1.0, 5.0, 15.0, 60.0), (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 4.0)
LONGEST = 60.0  # of a fit


@dataclass(frozen=True)
class Case:
    """keys: of the data, which every recipe takes. ways: recipe and keys, or several of them with limits of time."""

    name: str
    document: Callable[[Prepared, int, int], Loop]
    directions: Sequence[str]
    keys: Sequence[str]
    ways: Sequence[tuple[str, Sequence[str], Sequence[float]]]  # a limit of 0 is none


@dataclass(frozen=True)
class Prepared:
    """The data of a recipe, split and embedded."""

    data: Data
    pairs: Pairs
    left: Embeddings
    right: Embeddings

    @classmethod
    def of(cls, recipe: str, keys: Sequence[str], folder: Path) -> tuple[recipes.Recipe, Prepared]:
        plan = recipes.load(recipe, keys)
        data = plan.part("data").load()
        plan, built, _ = encoding.settled(plan, data, plan.build(), keys)
        left, right = pipeline.embed(plan, data, folder / "stores", False, built)
        return plan, cls(data, pipeline.split(plan, data.pairs), left, left if right is None else right)

    def rows(self, *splits: str) -> Pairs:
        """The related pairs of some splits."""
        return self.pairs.take(np.flatnonzero(np.isin(self.pairs.split, splits) & (self.pairs.label == 1)))

    def vectors(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """Left and right vectors of pairs, one row a pair."""
        return np.asarray(self.left.vectors)[pairs.left], np.asarray(self.right.vectors)[pairs.right]

    def mrr(self, left: np.ndarray, right: np.ndarray, directions: Sequence[str], head: Any = None) -> float:
        """Held-out MRR of outputs of both tables; head: what made them, where it composes sets itself."""
        if self.pairs.sets is not None:
            words = as_text(self.data.left.meta["category"])
            code = np.unique(words, return_inverse=True)[1].reshape(-1)
            retrieval = Retrieval.of(self.pairs.sets.where("test", label=1), code, np.asarray(self.data.left.ids))
            projected = Projected(self.left, self.left, self.pairs, left, left, head)
            return float((1 / retrieval.ranks(Scorer.make(projected, words).compose, left)).mean())
        found, sides = [], {"left->right": (left, right), "right->left": (right, left)}
        for direction in directions:
            relevance = self.pairs.relevance(direction, "test")
            ranks = scores.ranks(*sides[direction], relevance)
            found.append(measures.parse("MRR").per_query(ranks, relevance.offsets).mean())
        return float(np.mean(found))


@dataclass
class Way:
    """What a user types, and what its fits took and reached."""

    recipe: str
    keys: list[str]
    typed: str
    limit: float = 0.0
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    reached: list[float] = field(default_factory=list)

    def fit(self, case: Case, folder: Path, seed: int, keep: bool = True) -> None:
        """One fit from built parts to fitted heads."""
        plan, of = Prepared.of(self.recipe, [*self.keys, f"seed={seed}"], folder)
        right = None if of.pairs.same_table else of.right
        with measured() as took:
            fitted = pipeline.fit_heads(plan, of.left, right, of.pairs, None, False, data=of.data)
        left = heads.project(fitted.left_head, of.left)
        other = left if right is None else heads.project(fitted.right_head, right)
        if keep:
            self.seconds.append(took.seconds)
            self.cpu.append(took.cpu)
            self.reached.append(of.mrr(left, other, case.directions, fitted.left_head))


def cases(data: Path, folder: Path, names: Sequence[str], steps: int) -> Iterator[Case]:
    """Those of ``names`` whose data are there, written as files that recipes read. steps: of EmoRAG's loop."""
    emorag = functools.partial(emorag_of, steps)
    if "emorag" in names and (voices := data / "ravdess-yamnet-style-a01-12.npz").is_file():
        with np.load(voices) as file:
            kept = {key: file[key] for key in ("text", "audio_mean", "emotion", "actor", "ids")}
        split = np.select([kept["actor"] <= 8, kept["actor"] <= 10], ["train", "validation"], "test")
        np.savez(folder / "voices.npz", split=split, **kept)
        keys = [f"data.file={folder / 'voices.npz'}", "data.left=text", "data.right=audio_mean",
                "data.relevant=emotion", "data.group=actor", "data.split=split"]  # fmt: skip
        ways = [("emorag-best", [], (0.0,)), ("arrays", [], AUTO)]
        yield Case("emorag", emorag, ("left->right",), keys, ways)
    if "embed2image" in names and (pictures := data / "flickr8k-pairs-4000.npz").is_file():
        keys = [f"data.file={pictures}", "data.left=image", "data.right=text"]
        ways = [("arrays", ["objective=cca"], (0.0,)), ("captions-best", [], (0.0,)), ("arrays", [], AUTO)]
        yield Case("embed2image", embed2image_of, ("left->right", "right->left"), keys, ways)
    if "outfits" in names and (packed := data / "fashion-myntra-3000.tar").is_file():
        root = looks(packed, folder)
        keys = [f"data.root={root}", "data.vectors=embeddings.npy", "data.text=", "left.encoder=none"]
        quick = ["train.members=1", "train.lr=4e-3", "train.batch=256"]
        ways = [("outfits", quick, OF_OUTFITS), ("outfits", [], (4.0, 15.0))]
        yield Case("outfits", functools.partial(outfits_of, root), (), keys, ways)
    if "emorag-made" not in names:
        return
    x, y = emorag_quality.problem("nonlinear", 0)
    n = emorag_quality.N
    part = np.where(np.arange(len(x)) < n, "train", "test").astype("<U10")
    part[:n][np.random.default_rng(0).random(n) < 0.05] = "validation"
    np.savez(folder / "made.npz", text=x, audio=y, split=part)
    keys = [f"data.file={folder / 'made.npz'}", "data.left=text", "data.right=audio", "data.split=split"]
    yield Case("emorag-made", emorag, ("left->right",), keys, [("emorag-fast", [], (0.0,)), ("arrays", [], AUTO)])


def looks(packed: Path, folder: Path) -> Path:
    """The lists and the vectors of pictures, without the pictures."""
    with tarfile.open(packed) as archive:
        archive.extractall(folder, [one for one in archive if not one.name.endswith(".jpg")], filter="data")
    root = folder / "fashion"
    with np.load(root / "embeddings.npz") as file:
        np.save(root / "embeddings.npy", file["image"].astype(np.float32))
        (root / "ids.json").write_text(json.dumps(file["ids"].tolist()))
    return root


def emorag_of(steps: int, of: Prepared, seed: int, workers: int) -> Loop:
    return documents.emorag(*of.vectors(of.rows("train", "validation")), seed, workers, steps)


def embed2image_of(of: Prepared, seed: int, workers: int) -> Loop:
    return documents.embed2image(*of.vectors(of.rows("train")), of.vectors(of.rows("validation")), seed, workers)


def outfits_of(root: Path, of: Prepared, seed: int, workers: int) -> Loop:
    """The pairs of the lists, as the document reads them: related and unrelated ones."""
    row, pairs, label = {id: i for i, id in enumerate(of.left.ids.tolist())}, [], []
    for split in ("train", "valid"):
        text = (root / f"pairs_{split}.csv").read_text()
        for line in csv.DictReader(io.StringIO(text)):
            pairs.append((row[line["a_id"]], row[line["b_id"]]))
            label.append(int(line["label"]))
    return documents.outfits(np.asarray(of.left.vectors), np.array(pairs), np.array(label), seed, workers)


def ways_of(case: Case) -> list[Way]:
    """Every way of a case, and with every limit of time."""
    found = []
    for recipe, keys, limits in case.ways:
        for limit in limits:
            more = [*keys, *([f"train.seconds={limit:g}"] if limit else [])]
            found.append(Way(recipe, [*case.keys, *more], " ".join(["sensorium run", recipe, "DATA", *more]),
                             limit))  # fmt: skip
    return found


def measure(case: Case, folder: Path, seed: int, workers: int) -> dict[str, Any]:
    """One case with one seed: the document's curve, every way of ours, and the row of the table."""
    of = Prepared.of(case.ways[0][0], case.keys, folder)[1]
    ways = ways_of(case)
    min(ways, key=lambda way: way.limit or LONGEST).fit(case, folder, seed, keep=False)  # to warm up
    documents.warm_up()
    document, along = case.document(of, seed, workers), []
    due = np.linspace(0, document.units, len(ways), endpoint=False).astype(int).tolist()
    order = np.random.default_rng(seed).permutation(len(ways)).tolist()
    while document.done < document.units:
        for _ in range(due.count(document.done)):
            ways[order.pop()].fit(case, folder, seed)
        document.unit()
        z = document.outputs(np.asarray(of.left.vectors), np.asarray(of.right.vectors))
        along.append((document.done, document.seconds, of.mrr(*z, case.directions), document.cpu))
    final, best = along[-1][2], max(along, key=lambda one: one[2])
    first = next(one for one in along if one[2] >= final)
    last = Way(ways[-1].recipe, [*case.keys, *case.ways[-1][1], f"train.seconds={min(document.seconds, LONGEST):.2f}"],
               "")  # fmt: skip
    last.fit(case, folder, seed)
    for aim in (final, best[2]):  # the ways that decide are fitted twice more
        for way in [one for one in [fastest(ways, aim)] if one is not None and len(one.seconds) == 1]:
            way.fit(case, folder, seed)
            way.fit(case, folder, seed)
    report(case, seed, document, along, ways)
    row = {"case": case.name, "seed": seed, "document_s": document.seconds, "document_cpu_s": document.cpu,
           "aim": final, "first_s": first[1], "best": best[2], "best_s": best[1],
           "at_its_time": last.reached[0]}  # fmt: skip
    for name, aim in (("aim", final), ("best", best[2])):
        way = fastest(ways, aim)
        row[f"ours_{name}_s"] = None if way is None else float(np.median(way.seconds))
        row[f"ours_{name}_cpu_s"] = None if way is None else float(np.median(way.cpu))
        row[f"ours_{name}"] = None if way is None else min(way.reached)
        row[f"ours_{name}_typed"] = None if way is None else way.typed
    return row


def fastest(ways: Sequence[Way], aim: float) -> Way | None:
    """The way that takes least, of those of which every fit reaches the aim."""
    good = [way for way in ways if min(way.reached, default=-1.0) >= aim]
    return min(good, key=lambda way: float(np.median(way.seconds)), default=None)


def report(case: Case, seed: int, document: Loop, along: Sequence[Any], ways: Sequence[Way]) -> None:
    """The curves of both."""
    print(f"\n{case.name}, seed {seed}, {torch.get_num_threads()} threads")
    shown = sorted({0, 1, 3, 7, *np.linspace(0, len(along) - 1, 10).astype(int).tolist()})
    for done, seconds, value, cpu in (along[k] for k in shown if k < len(along)):
        print(f"  document {seconds:8.2f} s ({cpu:8.2f} of processors)  MRR {value:.4f}  {done} × {document.each}")
    for way in sorted(ways, key=lambda way: float(np.median(way.seconds))):
        many = f", {len(way.seconds)} fits" if len(way.seconds) > 1 else ""
        time = f"{np.median(way.seconds):8.2f} s ({np.median(way.cpu):8.2f} of processors)"
        print(f"  ours     {time}  MRR {min(way.reached):.4f}  {way.typed}{many}", flush=True)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown, a row a case and seed."""
    made = []
    for row in rows:
        ours, to_best = row["ours_aim_s"], row["ours_best_s"]
        made.append({
            "case": f"{row['case']}, seed {row['seed']}",
            "document: s, MRR": f"{row['document_s']:.1f}, {row['aim']:.3f}",
            "first; best": f"{row['first_s']:.1f} s; {row['best']:.3f} after {row['best_s']:.1f} s",
            "ours: s, MRR": "not reached" if ours is None else f"{ours:.2f}, {row['ours_aim']:.3f}",
            "ratio": "–" if ours is None else f"{row['document_s'] / ours:.1f} ×",
            "ratio to first": "–" if ours is None else f"{row['first_s'] / ours:.1f} ×",
            "ratio to best": "not reached" if to_best is None else f"{row['best_s'] / to_best:.1f} ×",
            "ours at its time": f"{row['at_its_time']:.3f}",
            "typed": row["ours_aim_typed"] or "",
        })  # fmt: skip
    return markdown(made)


def main() -> None:
    """Run the cases and print curves and the table; rows also as JSON lines with --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the files named above")
    parser.add_argument("--cases", default="emorag,embed2image,outfits")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="of the DataLoader; more are slower on two cores")
    parser.add_argument("--steps", type=int, default=documents.STEPS, help="of EmoRAG's loop; fewer are no measurement")
    parser.add_argument("--out", type=Path, help="file that rows are added to, as JSON lines")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rows = []
    with threadpoolctl.threadpool_limits(asked.threads), tempfile.TemporaryDirectory() as folder:
        for case in cases(asked.data, Path(folder), asked.cases.split(","), asked.steps):
            for seed in range(asked.seeds):
                rows.append(measure(case, Path(folder), seed, asked.workers))
                if asked.out is not None:
                    with asked.out.open("a") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
    print(f"\n{table(rows)}")


if __name__ == "__main__":
    main()
