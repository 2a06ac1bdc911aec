"""The outfit and voice protocols on real vectors, frozen and with closed forms, beside chance.

python -m bench.honest_protocols [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np

from sensorium import fitting, heads, parts
from sensorium.evaluate import leaks
from sensorium.evaluate.card import markdown
from sensorium.evaluate.protocols import outfits, voices
from sensorium.pairs import Pairs
from sensorium.types import Embeddings


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def garments(data: Path) -> list[dict[str, str]]:
    """Frozen vectors on rule-made outfits, with the given negatives and with category-matched ones."""
    names = ("embeddings.npz", "metadata.csv", "compat_test.txt", "fitb_test.json", "pairs_test.csv")
    with tarfile.open(data / "fashion-myntra-3000.tar") as archive:
        read = {name: archive.extractfile(f"fashion/{name}").read() for name in names}
    with np.load(io.BytesIO(read["embeddings.npz"]), allow_pickle=False) as file:
        row = {i: n for n, i in enumerate(file["ids"].tolist())}
        tables = {"picture": unit(file["image"]), "title": unit(file["title_lsa"])}
    category = np.empty(len(row), "<U40")
    for item in csv.DictReader(io.StringIO(read["metadata.csv"].decode())):
        category[row[item["id"]]] = item["subCategory"]
    lines = [line.split() for line in read["compat_test.txt"].decode().splitlines()]
    looks, label = [[row[i] for i in line[1:]] for line in lines], np.array([int(line[0]) for line in lines])
    questions = json.loads(read["fitb_test.json"])
    given = outfits.Blanks([np.array([row[i] for i in q["question"]]) for q in questions],
                           np.array([[row[i] for i in q["answers"]] for q in questions]),
                           np.array([q["correct"] for q in questions]))  # fmt: skip
    real = with_common_categories([look for look, right in zip(looks, label, strict=True) if right], category)
    hard = real + outfits.hard_outfits(real, category)
    hard_label = np.r_[np.ones(len(real)), np.zeros(len(real))]
    blanks = outfits.hard_blanks(real, category)
    links = list(csv.DictReader(io.StringIO(read["pairs_test.csv"].decode())))
    ends = [np.array([row[p[end]] for p in links]) for end in ("a_id", "b_id")]
    related = np.array([int(p["label"]) for p in links])
    rows = []
    for name, z in tables.items():
        pair = outfits.pairs(z, *ends, related)
        rows += [
            {"vectors": name, "protocol": "compatibility AUC", "chance": "50.0", "n": len(looks),
             "given negatives": percent(outfits.compatibility_auc(z, looks, label)),
             "same category": percent(outfits.compatibility_auc(z, hard, hard_label))},
            {"vectors": name, "protocol": "fill in the blank, 4 ways", "chance": "25.0", "n": len(questions),
             "given negatives": percent(outfits.fill_in_the_blank(z, given).mean()),
             "same category": percent(outfits.fill_in_the_blank(z, blanks).mean())},
            {"vectors": name, "protocol": "pair AUC", "given negatives": percent(pair["AUC"]), "chance": "50.0",
             "n": len(links)},
            {"vectors": name, "protocol": "pair AP", "given negatives": percent(pair["AP"]), "n": len(links),
             "chance": percent(related.mean())},
        ]  # fmt: skip
    return rows


def unit(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)


def with_common_categories(looks: list[list[int]], category: np.ndarray) -> list[list[int]]:
    """Outfits whose categories have at least 8 items: rarer ones have no category-matched variant."""
    members = np.unique(np.concatenate(looks))
    names, count = np.unique(category[members], return_counts=True)
    common = set(names[count >= 8].tolist())
    return [look for look in looks if set(category[look].tolist()) <= common]


def spoken(data: Path) -> list[dict[str, str]]:
    """Style caption → clip of the same emotion, actors 11 and 12 unseen."""
    with np.load(data / "ravdess-yamnet-style-a01-12.npz", allow_pickle=False) as file:
        audio = np.concatenate([file["audio_mean"], file["audio_std"]], axis=1).astype(np.float32)
        text, emotion, actor = file["text"].astype(np.float32), file["emotion"], file["actor"]
        ids = file["ids"]
    n, c, d = text.shape
    clip = np.repeat(np.arange(n), c)
    split = np.array(["train", "validation", "test"])[np.searchsorted([9, 11], actor, side="right")]
    pairs = Pairs.of(np.arange(n * c), clip, group=actor[clip], split=split[clip])
    left = Embeddings(np.array([f"{i}#{k}" for i in ids for k in range(c)]), text.reshape(n * c, d), {})
    right = Embeddings(ids, audio, {})
    assert not leaks.audit(pairs).leaky
    identity = parts.find("heads", "identity")
    texts, clips = np.flatnonzero(split[clip] == "test"), np.flatnonzero(split == "test")
    rows = []
    for name in ("cca", "ridge"):
        fitted = fitting.solve(left, right, pairs, identity(), identity(), parts.make("objectives", name))
        z, v = heads.apply(fitted.left_head, left.vectors, texts), heads.apply(fitted.right_head, right.vectors, clips)
        # The captions of a clip agree with each other, so clips are what the bootstrap draws.
        found = voices.emotion_retrieval(z, v, emotion[clip][texts], emotion[clips], group=clip[texts])
        values = {r["measure"]: f"{percent(r['value'])} [{percent(r['low'])}, {percent(r['high'])}]" for r in found}
        rows.append({"method": name, **values, "chance": percent(found[0]["chance"]),
                     "queries": len(texts), "clips": len(clips)})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[1] / "../shared/data")
    data = parser.parse_args().data
    print(markdown(garments(data), ["vectors", "protocol", "given negatives", "same category", "chance", "n"]), "\n")
    print(markdown(spoken(data)))


if __name__ == "__main__":
    main()
