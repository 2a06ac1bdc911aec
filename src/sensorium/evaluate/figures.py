"""The pictures of a run: which numbers go into which plot, under the names that the card shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import scores
from sensorium.evaluate import Ranking, breakdown, plots
from sensorium.pairs import Pairs
from sensorium.types import Rows

#: File name → what the card says beneath it, in the order of the card.
CAPTIONS: Mapping[str, str] = {
    "ranks.png": "Share of test queries whose first relevant is within rank k.",
    "similarities.png": "Scores of true test pairs against random ones.",
    "confusion_matrix.png": "True classes against predicted ones on the test split.",
    "groups.png": "Test queries by group, worst first.",
    "reliability_left_to_right.png": "Stated probabilities against what the test split found, left to right.",
    "reliability_right_to_left.png": "Stated probabilities against what the test split found, right to left.",
    "training_history.png": "Loss and validation measure while training.",
    "speed.png": "Recall of the exact neighbours against queries a second.",
}
_PAIRS = 20_000
_GROUPS = 2  # queries a group must have on average for bars by group to say anything


def draw(
    folder: Path,
    rankings: Mapping[str, Ranking],
    zl: Rows,
    zr: Rows,
    pairs: Pairs,
    *,
    leaky: bool = False,
    calibration: Mapping[str, Any] | None = None,
    class_table: Mapping[str, Any] | None = None,
    measure: str = "hit@10",
    seed: int = 0,
    names: Mapping[str, str] | None = None,
) -> list[Path]:
    """Draw what the evaluated test split supports into ``folder``/plots; returns the files.

    rankings: by direction, of one split. zl (n, d), zr (m, d): head outputs of the whole tables. names: of the sides.
    calibration: by direction, with ``test.reliability``. class_table: names and confusion counts, see
    :func:`sensorium.evaluate.classification.table`. ``folder``/history.jsonl is drawn when it is there.
    """
    out = Path(folder) / "plots"
    ranks = {arrow(d, names): one.first for d, one in rankings.items()}
    drawn = [plots.rank_curve(ranks, {arrow(d, names): len(one.relevance.candidates) for d, one in rankings.items()},
                              out / "ranks.png", leaky)]  # fmt: skip
    split = next(iter(rankings.values())).split
    drawn.append(plots.similarities(*true_and_random(zl, zr, pairs, split, seed), out / "similarities.png", leaky))
    forth = rankings.get("left->right")
    if class_table:
        counts = np.array(class_table["confusion"])
        drawn.append(plots.confusion(counts, class_table["names"], out / "confusion_matrix.png", leaky))
        measure = "hit@1"
    if forth is not None and 1 < len(np.unique(forth.group)) <= len(forth.group) / _GROUPS:
        rows = breakdown.by_group(forth, measure, pairs.group_names, least=_GROUPS, seed=seed)
        if rows:
            drawn.append(
                plots.groups(rows, out / "groups.png", leaky, f"{measure} by group, {arrow('left->right', names)}")
            )
    for direction, record in (calibration or {}).items():
        table = record.get("test", {}).get("reliability")
        if table:
            name = f"reliability_{direction.replace('->', '_to_')}.png"
            drawn.append(plots.reliability(table, out / name, leaky))
    events = history(Path(folder) / "history.jsonl")
    if events:
        drawn.append(plots.training(events, out / "training_history.png", leaky))
    return drawn


def true_and_random(zl: Rows, zr: Rows, pairs: Pairs, split: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of up to 20,000 related pairs of a split, and of as many left and right rows drawn apart."""
    random = np.random.default_rng(seed)
    related = pairs.where(split, 1)
    which = random.permutation(len(related))[:_PAIRS]
    left, right = related.left[which], related.right[which]
    a, b = np.asarray(zl[left], np.float32), np.asarray(zr[right], np.float32)
    other = random.integers(0, len(right), len(right))
    known = np.stack([related.left, related.right], 1)
    unrelated = ~_among(np.stack([left, right[other]], 1), known)
    if pairs.same_table:
        unrelated &= left != right[other]
    if not unrelated.any():  # everything goes with everything
        unrelated[:] = True
    return scores.pair_scores(a, b), scores.pair_scores(a[unrelated], b[other[unrelated]])


def history(path: Path) -> list[dict[str, Any]]:
    """The epoch events of a history.jsonl; empty when there is none."""
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    return [line for line in lines if "loss" in line and "step" in line]


def arrow(direction: str, names: Mapping[str, str] | None = None) -> str:
    """A direction for people. names: of the sides, see ``types.side_names``.

    >>> arrow("left->right", {"left": "image", "right": "caption"})
    'image → caption'
    """
    names = dict(names or {})
    if set(names) == {"left"}:  # both sides are one table
        names["right"] = names["left"]
    return " → ".join(names.get(side, side) for side in direction.split("->"))


def _among(pairs: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which rows (p, 2) stand among the known ones."""
    width = int(max(pairs[:, 1].max(initial=0), known[:, 1].max(initial=0))) + 1
    return np.isin(pairs[:, 0] * width + pairs[:, 1], known[:, 0] * width + known[:, 1])


def present(folder: Path, more: Mapping[str, str] | None = None) -> Sequence[tuple[str, str]]:
    """The figures a run folder has, as (path within the folder, caption), in the card's order.

    more: file name → caption of others that may be there, such as those of a protocol.
    """
    known = {**CAPTIONS, **(more or {})}
    return [(f"plots/{name}", text) for name, text in known.items() if (Path(folder) / "plots" / name).is_file()]
