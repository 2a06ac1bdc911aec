"""Query styles: the test captions asked as tags, questions, commands, paraphrases and "… without …", of the same run.

Captions are what heads are fitted on; people type other things. The rewritten texts go through the run's own encoder
and head, and each style is measured on the same queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from sensorium import heads, store
from sensorium.contracts import Encoder
from sensorium.errors import BadRecipe
from sensorium.evaluate import per_query, protocols, statistics
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.modalities.text import rewrites
from sensorium.pairs import Relevance
from sensorium.types import Data, Items, Rows, as_ids, blocks

K = 10
_SOUNDS = ("sound", "audio", "clip", "recording", "voice")
_NUMBERS = 1 << 24  # scores of a block


def report(
    data: Data, projected: Projected, options: EvaluateOptions, folder: Path, encoder: Encoder | None, stores: Path,
    progress: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """R@10 of every style on the test split, text → media, without hubness correction.

    R@10: whether one of the caption's items is among the first 10. "without" names a thing of the most similar other
    item that the caption's own items lack; it counts where the caption's item is among the first 10 and no item that
    has the thing is. An item has a thing where one of its captions names it. ``results`` holds a row a style: value,
    low, high, and ratio to the plain caption; ``without`` what the exclusion did: R@10 alone, the share of the first 10
    that has the thing, and both for the caption as it was. Intervals resample groups, such as clips.

    encoder: of the texts. stores: folder in which the rewritten texts' vectors are kept.

    Raises BadRecipe where the texts of the run came as vectors.
    """
    side = protocols.text_side(data)
    items, other = (data.left, data.right) if side == "left" else (data.right, data.left)
    if encoder is None or items is None or items.kind != "text" or other is None:
        raise BadRecipe(
            "evaluate.styles rewrites captions and embeds them anew, which needs their texts and an encoder, but the "
            f"{side} side came as vectors; name the encoder: {side}.encoder=minilm"
        )
    direction = "left->right" if side == "left" else "right->left"
    relevance = projected.pairs.relevance(direction, "test")
    media = "sound" if other.kind == "audio" or any(word in other.name for word in _SOUNDS) else "picture"
    captions = [str(items.values[row]) for row in relevance.queries.tolist()]
    excluded, has = exclusions(relevance, projected, items, side, captions)
    both = list(zip(captions, excluded, strict=True))
    texts = {style: [rewrites.rewrite(text, style, media, thing) for text, thing in both]
             for style in rewrites.STYLES}  # fmt: skip
    head = heads.restore(Path(folder) / side)[0]
    candidates = np.asarray((projected.zr if side == "left" else projected.zl)[relevance.candidates], np.float32)
    values: dict[str, np.ndarray] = {}
    share: dict[str, np.ndarray] = {}
    asked = np.array([bool(thing) for thing in excluded])
    for style, rewritten in texts.items():
        z = _encoded(rewritten, encoder, head, stores, progress)
        values[style] = _hits(z, projected, relevance, direction)
        if style in ("caption", "without"):
            share[style] = _share(z, candidates, has)
    respected = values["without"] * (share["without"] == 0)
    alone, values["without"] = values["without"], np.where(asked, respected, np.nan)
    rows = _rows(values, relevance.group, options, len(relevance.candidates))
    ranked = sorted(rows, key=lambda row: -row["value"])
    caption = rows[0]["value"]
    return {
        "direction": direction, "measure": f"R@{K}", "results": rows, "best": ranked[0]["style"],
        "worst": ranked[-1]["style"], "worst_ratio": ranked[-1]["value"] / caption if caption else None,
        "without": _without(values["caption"], alone, share, asked),
        "examples": {style: rewritten[int(np.argmax(asked))] for style, rewritten in texts.items()},
    }  # fmt: skip


def exclusions(
    relevance: Relevance, projected: Projected, items: Items, side: str, captions: list[str]
) -> tuple[list[str], np.ndarray]:
    """The thing that each query excludes, "" where there is none; and which candidates have it, (q, n) bool.

    Of the candidate that shares most words with a query's own items: the noun that the fewest candidates have, among
    those that the query's items lack. Where the candidate has three captions or more, two of them must name it.
    """
    related = projected.pairs.where("test", 1)
    of_text, of_item = (related.left, related.right) if side == "left" else (related.right, related.left)
    place = {row: at for at, row in enumerate(relevance.candidates.tolist())}
    words: list[set[str]] = [set() for _ in place]
    named: list[dict[str, int]] = [{} for _ in place]
    count = np.zeros(len(place), np.int64)
    for text, item in dict.fromkeys(zip(of_text.tolist(), of_item.tolist(), strict=True)):
        at, value = place[item], str(items.values[text])
        words[at] |= rewrites.stems(value)
        count[at] += 1
        for thing in rewrites.things(value):
            named[at][thing] = named[at].get(thing, 0) + 1
    known = sorted(set().union(*words))
    column = {word: at for at, word in enumerate(known)}
    there = np.zeros((len(words), len(known)), np.float32)
    for at, own in enumerate(words):
        there[at, [column[word] for word in own]] = 1
    frequency = there.sum(axis=0)
    weight = np.log(len(words) / frequency)  # words that every item has say nothing of their likeness
    chosen: list[str] = []
    offsets = relevance.offsets
    for query in range(len(captions)):
        own = relevance.relevant[offsets[query] : offsets[query + 1]]
        mine = there[own].max(axis=0)
        alike = there @ (mine * weight) / np.maximum(np.sqrt((there * weight).sum(axis=1)), 1e-9)
        alike[own] = -np.inf
        chosen.append("")
        for at in np.argsort(-alike, kind="stable")[:20].tolist():
            least = 2 if count[at] >= 3 else 1
            free = [w for w, n in named[at].items() if n >= least and w in column and not mine[column[w]]]
            if free and np.isfinite(alike[at]):
                chosen[-1] = min(free, key=lambda word: (frequency[column[word]], word))
                break
    has = np.zeros((len(captions), len(words)), bool)
    for query, thing in enumerate(chosen):
        if thing:
            has[query] = there[:, column[thing]] > 0
    return chosen, has


def table(styles: Mapping[str, Any]) -> list[dict[str, str]]:
    """The report as rows for people, in percent, with an example of each style."""
    return [{"style": row["style"], styles["measure"]: f"{100 * row['value']:.1f}",
             "95% interval": f"{100 * row['low']:.1f} – {100 * row['high']:.1f}",
             "of caption": f"{row['ratio']:.2f}" if row["ratio"] is not None else "",
             "queries": f"{row['n_queries']:,}", "example": styles["examples"][row["style"]]}
            for row in styles["results"]]  # fmt: skip


def statement(styles: Mapping[str, Any]) -> str:
    """Best and worst style in one line, and what the exclusion did."""
    by = {row["style"]: row["value"] for row in styles["results"]}
    best, worst, ratio, out = styles["best"], styles["worst"], styles["worst_ratio"], styles["without"]
    said = f"best {best} {100 * by[best]:.1f}, worst {worst} {100 * by[worst]:.1f}" + (
        f", {ratio:.2f} of the caption's" if ratio is not None else ""
    )
    return (f"{said}. Without: R@{K} {100 * out['recall']:.1f}; {100 * out['excluded']:.1f}% of the first {K} have the "
            f"excluded thing, {100 * out['excluded_by_caption']:.1f}% when it is not named; without any of them the "
            f"caption alone reaches {100 * out['caption_right']:.1f}.")  # fmt: skip


def _encoded(texts: list[str], encoder: Encoder, head: Any, stores: Path, progress: bool) -> np.ndarray:
    """Head outputs (q, d) of texts; each distinct one is encoded once, and kept."""
    distinct, code = np.unique(np.array(texts, np.str_), return_inverse=True)
    names = as_ids([xxhash.xxh3_64_hexdigest(text.encode()) for text in distinct.tolist()])
    made = store.embed(Items(names, distinct.tolist(), "text"), encoder, stores, progress=progress)
    return np.asarray(heads.project(head, made), np.float32)[code.reshape(-1)]


def _hits(z: np.ndarray, projected: Projected, relevance: Relevance, direction: str) -> np.ndarray:
    """Whether each query finds one of its items among the first K, (q,) float64."""
    tables: list[Rows] = [projected.zl, projected.zr]
    side = 0 if direction == "left->right" else 1
    replaced = np.array(tables[side][:], np.float32)
    replaced[relevance.queries] = z
    tables[side] = replaced
    return per_query(tables[0], tables[1], projected.pairs, "test", (direction,))[direction].values(f"hit@{K}")


def _share(z: np.ndarray, candidates: np.ndarray, has: np.ndarray) -> np.ndarray:
    """The share of the first K candidates of each query that ``has`` (q, n) marks, (q,)."""
    k, found = min(K, len(candidates)), np.zeros(len(z))
    for part in blocks(len(z), max(1, _NUMBERS // max(1, len(candidates)))):
        order = np.argsort(-(z[part] @ candidates.T), axis=1, kind="stable")[:, :k]
        found[part] = np.take_along_axis(has[part], order, axis=1).mean(axis=1)
    return found


def _rows(
    values: Mapping[str, np.ndarray], group: np.ndarray, options: EvaluateOptions, candidates: int
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for style, value in values.items():
        there = np.isfinite(value)
        mine, of = (value[there], group[there]) if there.any() else (np.zeros(1), group[:1])
        low, high = statistics.interval(mine, of, "mean", options.resamples, options.seed)
        first = rows[0]["value"] if rows else float(mine.mean())
        rows.append({
            "style": style, "value": float(mine.mean()), "low": low, "high": high,
            "ratio": float(mine.mean()) / first if first else None, "n_queries": int(there.sum()),
            "n_candidates": candidates, "n_groups": len(np.unique(of)), "seed": options.seed,
        })  # fmt: skip
    return rows


def _without(
    caption: np.ndarray, alone: np.ndarray, share: Mapping[str, np.ndarray], asked: np.ndarray
) -> dict[str, float]:
    if not asked.any():
        return {"recall": 0.0, "excluded": 0.0, "excluded_by_caption": 0.0, "caption_right": 0.0}
    return {
        "recall": float(alone[asked].mean()),
        "excluded": float(share["without"][asked].mean()),
        "excluded_by_caption": float(share["caption"][asked].mean()),
        "caption_right": float((caption * (share["caption"] == 0))[asked].mean()),
    }
