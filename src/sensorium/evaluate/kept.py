"""Recall kept: the ratio of two means over the same queries, with a paired bootstrap interval over groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium import evaluate
from sensorium.evaluate import statistics
from sensorium.pairs import Pairs
from sensorium.types import Rows

#: Candidates from which the first ten are few enough to tell anything; below, the first one counts.
_MANY = 50
WORTH = 0.95  #: recall kept from which new queries in the old index are called good,
SURE = 0.9  #: where the low end of its interval is at least this


def ratio(
    a: np.ndarray, b: np.ndarray, group: np.ndarray, resamples: int = 1000, seed: int = 0
) -> tuple[float, float, float] | None:
    """mean(a) / mean(b) of per-query values (q,) in 0..1, and a 95% interval of it; None where b is all zero.

    Both means are of the same resampled groups, so what moves both moves the ratio little. For the interval two made
    queries join, one that only a finds and one that only b finds: without them the interval of two ways that differ on
    no query would have no width, however few queries there were (the idea of Agresti & Min 2005 for paired shares).
    """
    if not len(b) or not float(np.mean(b)) > 0:
        return None
    _, code = np.unique(group, return_inverse=True)
    if code.max() == 0:
        code = np.arange(len(group))
    code = np.append(code, code.max() + np.array([1, 2]))
    pairs = np.concatenate([a, [1.0, 0.0]]), np.concatenate([b, [0.0, 1.0]])
    over, under = (statistics.resample(values, code, "mean", resamples, seed) for values in pairs)
    low, high = np.quantile(over[under > 0] / under[under > 0], [0.025, 0.975]).tolist()
    value = float(np.mean(a) / np.mean(b))
    return value, min(low, value), max(high, value)


def rankings(zl: Rows, zr: Rows, pairs: Pairs, direction: str) -> evaluate.Ranking:
    """Ranks of the pairs' relevants in one direction; the pairs' rows alone are queries and candidates."""
    return evaluate.per_query(zl, zr, pairs, "test", [direction])[direction]


def measure_of(ranking: evaluate.Ranking) -> str:
    """The measure that recall is counted by: hit@10, or hit@1 among few candidates, such as classes."""
    return "hit@10" if len(ranking.relevance.candidates) >= _MANY else "hit@1"


def arm(ranking: evaluate.Ranking) -> dict[str, float]:
    """Means of one way to search, for a table."""
    return {name: float(ranking.values(name).mean()) for name in ("hit@1", "hit@10", "MRR")}


def kept(
    one: evaluate.Ranking, other: evaluate.Ranking, resamples: int, seed: int, measure: str | None = None
) -> dict[str, Any] | None:
    """Recall of one way to search as a share of another's, over the same queries: value, low, high; None at zero."""
    measure = measure or measure_of(other)
    found = ratio(one.values(measure), other.values(measure), other.group, resamples, seed)
    if found is None:
        return None
    groups = len(np.unique(other.group))
    return {"measure": measure, "value": found[0], "low": found[1], "high": found[2],
            "n_queries": len(other.relevance.queries), "n_groups": groups, **statistics.few(groups)}  # fmt: skip


def verdict(against_old: Mapping[str, Any] | None, against_new: Mapping[str, Any] | None,
            new_over_old: Mapping[str, Any] | None, old: str, new: str) -> str:  # fmt: skip
    """What the ratios say of migrating, in plain words.

    against_old: adapted over old. against_new: adapted over re-embedded and fitted anew. new_over_old: both encoders,
    each with heads fitted on the sample.
    """
    if against_old is None:
        return "Not measured: the old encoder finds none of the test items, so nothing can be kept."
    said = []
    if against_old["low"] > 1:
        said.append(f"Queries of {new} find more through the adapter than those of {old} did.")
    elif against_old["high"] < WORTH:
        said.append(f"Queries of {new} find only {_share(against_old)} of what those of {old} found: keep {old} until "
                    "all is embedded anew (--rollback), then --swap.")  # fmt: skip
    elif against_old["value"] >= WORTH and against_old["low"] >= SURE:
        said.append(f"Queries of {new} find {_share(against_old)} of what those of {old} found: the old index serves "
                    "well until all is embedded anew.")  # fmt: skip
    else:
        said.append(f"Queries of {new} find {_share(against_old)} of what those of {old} found; the test items are too "
                    f"few to say whether that is {100 * WORTH:.0f}% or more.")  # fmt: skip
    if new_over_old is None:
        return " ".join([*said, f"Whether {new} is the better encoder was not measured."])
    if new_over_old["low"] > 1:
        said.append(f"{new} is the better encoder here: fitted on the same sample it finds {_share(new_over_old)} of "
                    f"what {old} does, so embedding all anew pays.")  # fmt: skip
    elif new_over_old["high"] < 1:
        said.append(f"Not worth it: fitted on the same sample, {new} finds {_share(new_over_old)} of what {old} does.")
    else:
        said.append(f"No gain is seen: fitted on the same sample, {new} finds {_share(new_over_old)} of what {old} "
                    "does, so migrating is worth it only for other reasons, such as speed.")  # fmt: skip
    if against_new is not None and against_new["low"] > 1:
        said.append("Through the adapter the old head, which saw all items, is better than a new one of this sample.")
    return " ".join(said)


def _share(row: Mapping[str, Any]) -> str:
    return f"{100 * row['value']:.1f}% [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
