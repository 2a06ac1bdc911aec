"""Pictures people look at, as PNG: one function a picture, each stamped LEAKY when the numbers are.

Drawn without pyplot, so nothing global is touched and no display is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData, require

COLOURS = ("#2f6db3", "#d1662a", "#3a8f5c", "#8a5aa8", "#b8323f", "#6b7280")
_GREY = "#6b7280"
_STYLE: Mapping[str, Any] = {
    "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#9aa0a8", "axes.labelcolor": "#333333",
    "axes.grid": True, "grid.color": "#e6e8eb", "grid.linewidth": 0.8, "axes.axisbelow": True, "xtick.color": "#555555",
    "ytick.color": "#555555", "legend.frameon": True, "legend.edgecolor": "none", "legend.framealpha": 0.85,
    "legend.fontsize": 9, "lines.linewidth": 1.8,
}  # fmt: skip


def draw(
    path: Path,
    fill: Callable[[Any], None],
    leaky: bool = False,
    size: tuple[float, float] = (6.0, 3.8),
) -> Path:
    """Write the PNG that ``fill(axes)`` draws; inches at 110 dots each. Raises MissingExtra without matplotlib."""
    matplotlib = require("matplotlib", "train")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(dict(_STYLE)):
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        fill(figure.add_subplot())
        if leaky:
            figure.text(0.5, 0.5, "LEAKY", rotation=24, fontsize=64, fontweight="bold", color="#b8323f", alpha=0.28,
                        ha="center", va="center")  # fmt: skip
        # Without the writer's version the same numbers give the same bytes anywhere.
        io.write(Path(path), lambda file: figure.savefig(file, format="png", metadata={"Software": None}))
    return Path(path)


def rank_curve(ranks: Mapping[str, np.ndarray], candidates: Mapping[str, int], path: Path, leaky: bool = False) -> Path:
    """Share of queries whose first relevant is within rank k, by k; dashed, what chance would give.

    ranks: name (a direction) → rank of each query's first relevant. candidates: name → how many.
    """

    def fill(axes: Any) -> None:
        largest = max(candidates.values())
        for colour, (name, first) in zip(COLOURS, ranks.items(), strict=False):
            k, share = _steps(first, largest)
            axes.step(k, 100 * share, where="post", color=colour, label=f"{name}, of {candidates[name]:,}")
        for i, count in enumerate(sorted(set(candidates.values()))):
            at = np.unique(np.geomspace(1, count, 200).astype(np.int64))
            label = None if i else "chance, one relevant"
            axes.plot(at, 100 * at / count, "--", color=_GREY, linewidth=1.1, label=label)
        axes.set(xscale="log", xlim=(1, largest), ylim=(0, 101), xlabel="rank k", ylabel="found within k (%)",
                 title="How soon the first right one comes")  # fmt: skip
        _plain_log(axes.xaxis)
        axes.legend(loc="lower right")

    return draw(path, fill, leaky)


def similarities(true: np.ndarray, random: np.ndarray, path: Path, leaky: bool = False) -> Path:
    """Histograms of the scores of true pairs (p,) and of random ones (r,), over the same bins."""

    def fill(axes: Any) -> None:
        both = np.concatenate([true, random])
        bins = np.linspace(both.min(), both.max() + 1e-9, 61)
        for name, values, colour in (("random pairs", random, _GREY), ("true pairs", true, COLOURS[0])):
            axes.hist(
                values,
                bins,
                density=True,
                color=colour,
                alpha=0.5,
                label=f"{name}, mean {round(values.mean(), 2) + 0.0:.2f}",
            )
            axes.hist(values, bins, density=True, histtype="step", color=colour, linewidth=1.4)
        above = _chance_above(true, random)
        axes.set(xlabel="similarity (inner product of head outputs)", yticks=[], ylim=(0, None),
                 title=f"A true pair beats a random one {100 * above:.1f}% of the time")  # fmt: skip
        axes.spines["left"].set_visible(False)
        axes.legend(loc="best")

    return draw(path, fill, leaky)


def training(events: Sequence[Mapping[str, Any]], path: Path, leaky: bool = False) -> Path:
    """Loss (left axis) and the validation measure (right axis) by step, from the events of history.jsonl."""
    events = [e for e in events if "step" in e and "loss" in e]
    if not events:
        raise BadData("no training events to draw: a closed form has no curve")
    known = {"step", "epoch", "loss", "pairs_per_second", "lr", "seconds", "elapsed", "grad_norm", "gradient_norm"}
    numbers = [key for key in events[0] if key not in known and _is_number(events[0][key])]
    measure = next((key for key in numbers if "valid" in key), numbers[0] if numbers else None)

    def fill(axes: Any) -> None:
        step = [e["step"] for e in events]
        axes.plot(step, [e["loss"] for e in events], "o-", markersize=3, color=COLOURS[0])
        axes.set(xlabel="step", title="Training", xlim=(0, None))
        axes.set_ylabel("loss", color=COLOURS[0])
        if measure is None:
            return
        other = axes.twinx()
        values = np.array([e.get(measure, np.nan) for e in events], np.float64)
        other.plot(step, values, "s-", markersize=3, color=COLOURS[1])
        best = int(np.nanargmax(values))
        other.plot(step[best], values[best], "o", markersize=9, markerfacecolor="none", color=COLOURS[1])
        other.annotate(f"{values[best]:.3f}", (step[best], values[best]), xytext=(0, -14), textcoords="offset points",
                       ha="center", color=COLOURS[1], fontsize=9)  # fmt: skip
        other.set_ylabel(f"{measure.replace('_', ' ')} (kept: circled)", color=COLOURS[1])
        other.grid(False)

    return draw(path, fill, leaky)


def reliability(table: Sequence[Mapping[str, Any]], path: Path, leaky: bool = False, title: str = "") -> Path:
    """Share right against stated probability, one point a bin with its exact 95% interval, sized by its count."""
    from sensorium.evaluate.calibration import calibration_error
    from sensorium.evaluate.selective import two_sided

    rows = list(table)

    def fill(axes: Any) -> None:
        stated = np.array([row["mean_probability"] for row in rows])
        right = np.array([row["share_right"] for row in rows])
        n = np.array([row["n"] for row in rows])
        low, high = np.array([two_sided(round(r * m), m) for r, m in zip(right, n, strict=True)]).T
        most = min(100.0, 115 * max(stated.max(), high.max()))  # rare hits would huddle in the corner
        axes.plot([0, most], [0, most], "--", color=_GREY, linewidth=1.1, label="as stated")
        axes.errorbar(100 * stated, 100 * right, 100 * np.maximum([right - low, high - right], 0), fmt="none",
                      ecolor=COLOURS[0], alpha=0.5, linewidth=1.4)  # fmt: skip
        axes.plot(100 * stated, 100 * right, "-", color=COLOURS[0], alpha=0.5, linewidth=1.2)
        size = 20 + 60 * n / n.max()
        axes.scatter(100 * stated, 100 * right, size, color=COLOURS[0], label="found, with 95% interval")
        ece = f"Calibration: ECE {100 * calibration_error(rows):.1f} points, {n.sum():,} hits"
        axes.set(xlim=(0, most), ylim=(0, most), xlabel="stated probability that the hit is right (%)",
                 ylabel="found right (%)", title=title or ece)  # fmt: skip
        axes.legend(loc="upper left")

    return draw(path, fill, leaky, (4.8, 4.4))


def confusion(
    counts: np.ndarray,
    classes: Sequence[str],
    path: Path,
    leaky: bool = False,
    title: str = "",
    axes: tuple[str, str] = ("true", "predicted"),
) -> Path:
    """Counts (c, c) as shares of each true class (row), with the counts written in while c ≤ 12.

    title: by default UA and WA. axes: names of rows and columns.
    """
    of_rows, of_columns = axes
    counts = np.asarray(counts)
    if counts.shape != (len(classes), len(classes)):
        raise BadData(f"confusion: counts {counts.shape} for {len(classes)} classes")

    def fill(axes: Any) -> None:
        total = counts.sum(axis=1, keepdims=True)
        share = counts / np.maximum(total, 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axes.grid(False)
        axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), classes)
        axes.tick_params(length=0)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        if len(classes) <= 12:
            for (i, j), n in np.ndenumerate(counts):
                if n:
                    axes.text(j, i, f"{n}", ha="center", va="center", fontsize=9,
                              color="white" if share[i, j] > 0.55 else "#333333")  # fmt: skip
        recall = np.diag(share)[total[:, 0] > 0].mean()
        accuracy = np.trace(counts) / counts.sum()
        by_default = f"UA {100 * recall:.1f}%, WA {100 * accuracy:.1f}% of {counts.sum():,}"
        axes.set(xlabel=of_columns, ylabel=of_rows, title=title or by_default)

    side = min(2.4 + 0.42 * len(classes), 11.0)
    return draw(path, fill, leaky, (side + 0.5, side))


def groups(
    rows: Sequence[Mapping[str, Any]],
    path: Path,
    leaky: bool = False,
    title: str = "",
    most: int = 25,
    overall: bool = True,
) -> Path:
    """Bars of a breakdown (see ``breakdown.by``), worst on top, with intervals and counts; at most ``most``.

    overall: draw the mean over all queries as a line; not for bars of different measures.
    """
    shown = list(rows)[:most]
    if not shown:
        raise BadData("no groups to draw")

    def fill(axes: Any) -> None:
        value = 100 * np.array([row["value"] for row in shown])
        low = 100 * np.array([row["value"] if row["low"] is None else row["low"] for row in shown])
        high = 100 * np.array([row["value"] if row["high"] is None else row["high"] for row in shown])
        at = np.arange(len(shown))
        axes.barh(at, value, 0.72, color=COLOURS[0], alpha=0.85)
        spread = np.maximum([value - low, high - value], 0)
        axes.errorbar(value, at, xerr=spread, fmt="none", ecolor="#333333", elinewidth=1, capsize=2)
        axes.set_yticks(at, [_short(f"{row['name']}  ({row['n']:,})") for row in shown])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.invert_yaxis()
        if overall:
            mean = 100 * float(np.average([r["value"] for r in rows], weights=[r["n"] for r in rows]))
            axes.axvline(mean, color=COLOURS[1], linewidth=1.3)
            axes.annotate(f"all {mean:.1f}", (mean, 1), xycoords=axes.get_xaxis_transform(), ha="center", va="bottom",
                          fontsize=9, color=COLOURS[1])  # fmt: skip
        of = f", {len(shown)} worst of {len(rows)}" if len(rows) > len(shown) else ""
        axes.set_title((title or "By group") + of, pad=16)
        axes.set(xlabel="%", xlim=(0, max(100.0, high.max())))

    return draw(path, fill, leaky, (6.0, 1.3 + 0.25 * len(shown)))


def speed(points: Sequence[Mapping[str, Any]], path: Path, leaky: bool = False) -> Path:
    """Recall against queries a second: a line a family, a dot a setting.

    points: mappings of ``index``, ``recall`` (0..1), ``queries_per_second`` and optionally ``setting``.
    """
    if not points:
        raise BadData("no measured points to draw")

    def fill(axes: Any) -> None:
        names = list(dict.fromkeys(p["index"] for p in points))
        for colour, name in zip(COLOURS * len(names), names, strict=False):
            mine = sorted((p for p in points if p["index"] == name), key=lambda p: p["recall"])
            recall = [100 * p["recall"] for p in mine]
            axes.plot(recall, [p["queries_per_second"] for p in mine], "o-", markersize=5, color=colour, label=name)
            for p, r in zip(mine, recall, strict=True):
                if p.get("setting"):
                    axes.annotate(str(p["setting"]), (r, p["queries_per_second"]), xytext=(5, 4), fontsize=7.5,
                                  textcoords="offset points", color=colour)  # fmt: skip
        axes.set(yscale="log", xlabel="recall of the exact neighbours (%)", ylabel="queries a second",
                 title="Recall against speed: up and right is better")  # fmt: skip
        axes.margins(x=0.08, y=0.15)
        _plain_log(axes.yaxis)
        axes.legend(loc="best")

    return draw(path, fill, leaky)


def _steps(first: np.ndarray, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """The cumulative share at each rank that occurs, from 1 to the largest."""
    k, count = np.unique(first, return_counts=True)
    share = np.cumsum(count) / len(first)
    k, share = (k, share) if k[0] == 1 else (np.r_[1, k], np.r_[0.0, share])
    return np.r_[k, largest], np.r_[share, share[-1]]


def _chance_above(true: np.ndarray, random: np.ndarray) -> float:
    """Probability that a true pair's score exceeds a random one's, ties one half."""
    ordered = np.sort(random)
    return float(
        (np.searchsorted(ordered, true, "left") + np.searchsorted(ordered, true, "right")).mean() / 2 / len(random)
    )


def _plain_log(axis: Any) -> None:
    """Powers of ten as 1, 10, 1,000 instead of exponents."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _short(text: str, longest: int = 32) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
