"""Two runs compared query by query: difference, interval, p-value and effect, by paired bootstrap.

Both runs answered the same queries, so they are compared on each query's own difference, which
is far more telling than two overlapping intervals. Groups of queries are resampled, the same
ones for both runs (Efron & Tibshirani 1993, ch. 16; for retrieval Smucker et al. 2007).

What a run stores for this is ``per_query.npz``, made by :func:`save` from the run's evaluated
directions and read by :func:`load`. For every split and direction, ``S`` = for example
``validation_left_to_right`` or ``test_right_to_left``, it holds

    S_query       (q,)     ids of the queries, text
    S_group       (q,)     code of each query's group, the unit of the bootstrap
    S_offsets     (q + 1,) where each query's relevants begin in S_ranks
    S_ranks       (r,)     1-based rank of every relevant, so that any measure can be computed later
    S_candidates  (2,)     number of candidates, and a hash of their ids: ranks among other
                           candidates are other numbers, and are never compared

and what a protocol measured: see :mod:`sensorium.evaluate.named`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from sensorium import integrity, io
from sensorium.errors import BadData, Corrupt, Mismatch
from sensorium.evaluate import named, statistics
from sensorium.evaluate.areas import Area
from sensorium.evaluate.named import Named
from sensorium.scores.measures import DEFAULT, Measure, parse

if TYPE_CHECKING:
    from sensorium.evaluate import Ranking

FILE = "per_query.npz"
_COLUMNS = ("query", "group", "offsets", "ranks", "candidates")


@dataclass(frozen=True)
class Ranks:
    """One direction of one split, as a run stores it: the arrays of the module's head, by name."""

    query: np.ndarray
    group: np.ndarray
    offsets: np.ndarray
    ranks: np.ndarray
    candidates: np.ndarray

    @classmethod
    def of(cls, rankings: Ranking, query_ids: np.ndarray, candidate_ids: np.ndarray) -> Ranks:
        """Ranks of an evaluated direction; the ids are those of the two whole tables."""
        relevance = rankings.relevance
        names = "\n".join(np.sort(candidate_ids[relevance.candidates]).tolist())
        universe = np.array([str(len(relevance.candidates)), xxhash.xxh3_64_hexdigest(names.encode())])
        narrow = rankings.ranks.astype(np.int32) if rankings.ranks.max(initial=0) < 2**31 else rankings.ranks
        return cls(query_ids[relevance.queries], relevance.group, relevance.offsets, narrow, universe)

    def values(self, measure: str | Measure) -> np.ndarray:
        """The measure of every query, (q,) float64, ordered by query id: the same order for every run."""
        return parse(measure).per_query(self.ranks, self.offsets)[np.argsort(self.query)]

    def groups(self) -> np.ndarray:
        """Group code of every query, (q,), in the same order."""
        return self.group[np.argsort(self.query)]


@dataclass(frozen=True)
class Comparison:
    """What b has over a: b - a in the measure's own units.

    low, high: the central 95% of the bootstrapped difference. p: two-sided, that a difference at
    least this large arises when there is none. effect: mean over groups of the difference, in
    standard deviations of it between groups (Cohen's d_z); None where groups do not vary.
    higher, lower: number of queries on which b's value lies above or below a's.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    effect: float | None
    higher: int
    lower: int


def paired(
    a: np.ndarray,
    b: np.ndarray,
    group: np.ndarray,
    statistic: str = "mean",
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two runs' values of the same q queries: a, b (q,) float64, group (q,) codes.

    statistic: "mean" or "median" over queries. The p-value comes from the bootstrap distribution
    shifted to a difference of zero, (1 + #{|d* - d| ≥ |d|}) / (1 + resamples), so it is never 0.
    Raises BadData when the lengths differ or there is no query.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not len(a) == len(b) == len(group) or not len(a):
        raise BadData(f"cannot compare {len(a)} with {len(b)} queries in {len(group)} groups; expected equal numbers")
    summary = np.median if statistic == "median" else np.mean
    of_a, of_b = float(summary(a)), float(summary(b))
    # Equal seed and groups draw equal resamples, so medians may be drawn apart and subtracted.
    if statistic == "median":
        drawn = statistics.resample(b, group, statistic, resamples, seed)
        drawn = drawn - statistics.resample(a, group, statistic, resamples, seed)
    else:
        drawn = statistics.resample(b - a, group, statistic, resamples, seed)
    return _compared(of_a, of_b, drawn, b - a, group)


def paired_areas(a: Area, b: Area, kind: str, group: np.ndarray, resamples: int = 2000, seed: int = 0) -> Comparison:
    """Compare two runs' areas ("AUC" or "AP") of the same n labelled things: group (n,) codes.

    Both are computed under the same resamples of groups. higher and lower count things of label 1 that stand above
    more, or fewer, of label 0 than before; the effect is of that share.
    """
    drawn = b.resample(kind, group, resamples, seed) - a.resample(kind, group, resamples, seed)
    difference = b.above() - a.above()
    return _compared(a.value(kind), b.value(kind), drawn[np.isfinite(drawn)], difference, group[a.label == 1])


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Exact two-sided p-value that two runs answer equally well, from what only one of them has right (McNemar 1947).

    a, b (q,): 1 where right, else 0. It takes queries for independent; the bootstrap over groups does not.
    """
    from math import exp, lgamma, log

    only_a, only_b = int(np.count_nonzero(a > b)), int(np.count_nonzero(a < b))
    n, least = only_a + only_b, min(only_a, only_b)
    ways = [exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) - n * log(2)) for i in range(least + 1)]
    return min(1.0, 2 * sum(ways))


def _compared(of_a: float, of_b: float, drawn: np.ndarray, each: np.ndarray, group: np.ndarray) -> Comparison:
    """From the drawn differences (resamples,), and those of each query (q,)."""
    difference = of_b - of_a
    low, high = np.quantile(drawn, [0.025, 0.975])
    slack = 1e-12 * max(1.0, abs(of_a), abs(of_b))  # rounding must not decide whether a tie is as large
    as_large = np.count_nonzero(np.abs(drawn - difference) >= abs(difference) - slack)
    return Comparison(
        of_a,
        of_b,
        difference,
        float(low),
        float(high),
        float((1 + as_large) / (1 + len(drawn))),
        _effect(each, group),
        int(np.count_nonzero(each > 0)),
        int(np.count_nonzero(each < 0)),
    )


def compare_runs(
    a: str | Path,
    b: str | Path,
    measures: Sequence[str | Measure] = DEFAULT,
    split: str = "test",
    resamples: int = 2000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compare two run folders on one split: a row per direction and measure.

    Each row has direction, measure, split, n_queries, the fields of :class:`Comparison` and
    ``better``: "a", "b", or "undecided" where the interval holds zero. What a protocol measured in both runs follows;
    a share of right answers has ``mcnemar_p`` too (:func:`mcnemar`).

    Raises BadData when a folder stores no ranks or not of this split, Corrupt when they cannot be
    read, Mismatch when the runs were not evaluated on the same queries and candidates.
    """
    parsed = [parse(m) for m in measures]
    stored = [read(Path(folder) / FILE) for folder in (a, b)]
    of_a, of_b = ({d: r for (s, d), r in ranks.items() if s == split} for ranks, _ in stored)
    both = [direction for direction in of_a if direction in of_b]
    if not both:
        raise BadData(f"{a} and {b} share no evaluated direction of the split '{split}'; run both recipes again")
    rows = []
    for direction in both:
        one, other = of_a[direction], of_b[direction]
        check_same(one, other, f"{a} and {b}, {split} {direction}")
        for measure in parsed:
            found = paired(one.values(measure), other.values(measure), one.groups(), measure.statistic, resamples, seed)
            rows.append(
                {
                    "direction": direction,
                    "measure": str(measure),
                    "split": split,
                    "n_queries": len(one.query),
                    **vars(found),
                    "better": _better(measure, found),
                    **statistics.few(len(np.unique(one.group))),
                }
            )
    values = [{key: one for key, one in each.items() if key[0] == split} for _, each in stored]
    return rows + [_named(one, values[1][key], f"{a} and {b}, {split} {one.measure}", resamples, seed)
                   for key, one in values[0].items() if key in values[1]]  # fmt: skip


def _named(a: Named, b: Named, where: str, resamples: int, seed: int) -> dict[str, Any]:
    """The row of a measure of a protocol. Raises Mismatch unless both runs answered the same."""
    if not (np.array_equal(a.about, b.about) and np.array_equal(a.group, b.group)):
        raise Mismatch(
            f"{where}: their outfits, questions or candidates differ; make both from the same data with the same "
            "data.split_seed, data.test and data.validation"
        )
    if a.area is not None:
        found, more = paired_areas(a.area, b.area, a.kind, a.group, resamples, seed), {}
    else:
        found = paired(a.value, b.value, a.group, "mean", resamples, seed)
        more = {"mcnemar_p": mcnemar(a.value, b.value)} if np.isin([*a.value, *b.value], (0, 1)).all() else {}
    better = "undecided" if found.low <= 0 <= found.high else "b" if found.difference > 0 else "a"
    about = {"direction": a.direction, "measure": a.measure, "split": a.split, "n_queries": len(a.value)}
    return {**about, **vars(found), "better": better, **more, **statistics.few(len(np.unique(a.group)))}


def check_same(a: Ranks, b: Ranks, where: str) -> None:
    """Raise Mismatch unless both were evaluated on the same queries, relevants and candidates."""
    order_a, order_b = np.argsort(a.query), np.argsort(b.query)
    if not np.array_equal(a.query[order_a], b.query[order_b]):
        shared = len(np.intersect1d(a.query, b.query))
        what = f"they share {shared} of {len(a.query)} and {len(b.query)} queries"
    elif not np.array_equal(a.candidates, b.candidates):
        what = f"their candidates differ ({a.candidates[0]} and {b.candidates[0]} items)"
    elif not np.array_equal(np.diff(a.offsets)[order_a], np.diff(b.offsets)[order_b]):
        what = "their queries have different numbers of relevants"
    else:
        return
    raise Mismatch(
        f"{where}: {what}; make both from the same data with the same data.split_seed, data.test and data.validation"
    )


def save(
    path: Path,
    rankings: Iterable[Ranking],
    left_ids: np.ndarray,
    right_ids: np.ndarray,
    values: Iterable[Named] = (),
) -> None:
    """Write what later comparisons need (usually ``run/per_query.npz``), atomically.

    rankings: directions of one or several splits. left_ids (n,), right_ids (m,): ids of both tables. values: what a
    protocol measured.
    """
    arrays: dict[str, np.ndarray] = named.pack(values)
    for one in rankings:
        ids = (left_ids, right_ids) if one.direction == "left->right" else (right_ids, left_ids)
        stem = f"{one.split}_{one.direction.replace('->', '_to_')}"
        arrays |= {f"{stem}_{name}": column for name, column in vars(Ranks.of(one, *ids)).items()}
    io.write(Path(path), lambda file: np.savez_compressed(file, **arrays))


def version(folder: Path) -> tuple[int, ...]:
    """Changes whenever the ranks that a run folder stores do; empty where it stores none."""
    try:
        found = (Path(folder) / FILE).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def load(path: Path) -> dict[tuple[str, str], Ranks]:
    """Read what :func:`save` wrote: ranks by (split, direction).

    Raises BadData when the file is absent, Corrupt when it is not what was written.
    """
    return read(Path(path))[0]


def read(path: Path) -> tuple[dict[tuple[str, str], Ranks], dict[tuple[str, str, str], Named]]:
    """Ranks by (split, direction), and values of protocols by (split, direction, measure). Raises as :func:`load`."""
    if not path.is_file():
        raise BadData(f"{path.parent} keeps no per-query ranks ({path.name} is absent); run its recipe again")
    integrity.check_file(path.parent, path.name)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: Mapping[str, np.ndarray] = {name: file[name] for name in file.files}
        stems = [name.removesuffix("_query") for name in arrays if name.endswith("_query")]
        found = {}
        for stem in stems:
            split, _, direction = stem.partition("_")
            found[split, direction.replace("_to_", "->")] = Ranks(*(arrays[f"{stem}_{name}"] for name in _COLUMNS))
        values = named.unpack(arrays)
    except Exception as error:  # a damaged archive makes a dozen kinds: of zip, zlib, struct, NumPy, the codecs
        raise Corrupt(f"{path} is damaged ({error}); run its recipe again") from error
    return found, values


def _effect(difference: np.ndarray, group: np.ndarray) -> float | None:
    _, code = np.unique(group, return_inverse=True)
    by_group = np.bincount(code, difference) / np.bincount(code)
    spread = float(np.std(by_group, ddof=1)) if len(by_group) > 1 else 0.0
    return float(np.mean(by_group)) / spread if spread > 1e-12 else None


def _better(measure: Measure, found: Comparison) -> str:
    if found.low <= 0 <= found.high:
        return "undecided"
    # Only ranks themselves are better when smaller; every other measure is a fraction to raise.
    smaller_is_better = measure.name in ("median_rank", "mean_rank")
    return "b" if (found.difference > 0) != smaller_is_better else "a"
