"""Leak audit: can the evaluated split be answered from memory of what the fit has seen?

The rule. The group is the unit of independence.

* A group on both sides of the split is a leak, always.
* An evaluated pair both of whose ends stand in one seen pair (the same rows, or near-duplicates of them: equal
  content or nearly equal vectors) is a leak, always: the answer itself was seen. Evaluating on the
  fitted rows is the extreme case.
* An evaluated item whose near-duplicate was seen with *other* related items (Latin A and Greek Alpha, the same caption
  under two pictures, the eight class rows of a classifier) makes the test hard or closed, not
  leaky. It is counted and shown. Only where no group was declared, and groups had to be inferred
  from shared rows, is it a leak when it touches more than 5% of the evaluated pairs: then it is
  most likely one item under several ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.evaluate import duplicates
from sensorium.pairs import Pairs
from sensorium.types import Rows

POLICIES = ("stamp", "refuse", "off")
STAMP = "LEAKY"
#: Share of evaluated pairs with a near-duplicate on one end, above which inferred groups are not believed.
TOLERANCE = 0.05
_EXAMPLES = 5


@dataclass(frozen=True)
class Finding:
    """One kind of overlap: how many of how many, whether it makes the number leaky, and examples.

    kind: "shared_group", "fitted_rows", "repeated_pair", "twin" or "known_row". side: "left",
    "right" or "pair". examples: (evaluated, seen) ids or group names.
    """

    kind: str
    side: str
    count: int
    of: int
    leaky: bool
    text: str
    examples: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Leaks:
    """What the audit of one evaluated split found. affected (p,): positions of the leaky evaluated pairs."""

    split: str
    seen: tuple[str, ...]
    findings: tuple[Finding, ...]
    affected: np.ndarray

    @property
    def leaky(self) -> bool:
        """Whether the evaluated numbers must carry the stamp."""
        return any(f.leaky for f in self.findings)

    def count(self, kind: str, side: str | None = None) -> int:
        """Total of one kind, over both sides unless one is named."""
        return sum(f.count for f in self.findings if f.kind == kind and side in (None, f.side))

    def to_dict(self) -> dict[str, Any]:
        """For metrics.json: ``leaky``, the splits compared, and the findings."""
        return {
            "leaky": self.leaky,
            "stamp": STAMP if self.leaky else "",
            "split": self.split,
            "seen": list(self.seen),
            "affected_pairs": len(self.affected),
            "findings": [asdict(f) for f in self.findings],
        }

    def stamp(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Result rows with ``leaky: true`` added to those of the audited split."""
        return [
            {**row, "leaky": True} if self.leaky and row.get("split", self.split) == self.split else dict(row)
            for row in rows
        ]

    def enforce(self, policy: str) -> Leaks:
        """Raise BadData under "refuse" when leaky; return the report itself under "stamp"."""
        check_policy(policy)
        if policy == "refuse" and self.leaky:
            why = "; ".join(f.text for f in self.findings if f.leaky)
            raise BadData(
                f"the {self.split} split leaks: {why}. Split by group (data.group=COLUMN), or type: "
                "evaluate.leaks=stamp to print the number marked LEAKY"
            )
        return self


def check_policy(policy: str) -> None:
    """Raise BadRecipe unless the policy is "stamp", "refuse" or "off"."""
    if policy not in POLICIES:
        raise BadRecipe(f"evaluate.leaks='{policy}'; {nearest(policy, POLICIES)}")


def audit(
    pairs: Pairs,
    left: Rows | None = None,
    right: Rows | None = None,
    *,
    left_content: np.ndarray | None = None,
    right_content: np.ndarray | None = None,
    left_ids: np.ndarray | None = None,
    right_ids: np.ndarray | None = None,
    split: str = "test",
    seen: Sequence[str] = ("train", "validation"),
    cosine: float = duplicates.COSINE,
    names: Mapping[str, str] | None = None,
) -> Leaks:
    """Audit one evaluated split against the splits the fit has seen.

    left (n, d), right (m, d): encoder vectors of the whole tables, compared for near-duplicates
    when given. left_content (n,), right_content (m,): anything that is equal for equal items
    (texts, hashes). Ids are only for the examples, names of the sides for the texts. With
    ``pairs.same_table`` the right table is the left one. Validation is compared with what else was
    seen, as it was not fitted itself.

    Raises BadData when the evaluated split has no related pair.
    """
    if pairs.same_table:
        right, right_content, right_ids = left, left_content, left_ids
    if split == "validation":
        seen = [s for s in seen if s != split]
    related = pairs.label == 1
    evaluated = np.flatnonzero(related & (pairs.split == split))
    known = np.flatnonzero(related & np.isin(pairs.split, list(seen)))
    if not len(evaluated):
        raise BadData(
            f"split '{split}' has no related pair to audit; known splits: "
            f"{', '.join(repr(s) for s in np.unique(pairs.split).tolist())}"
        )
    if split in seen:
        text = f"the {len(evaluated)} evaluated pairs are the training pairs"
        return Leaks(
            split, tuple(seen), (Finding("fitted_rows", "pair", len(evaluated), len(evaluated), True, text),), evaluated
        )

    if pairs.same_table:
        code = _classes(
            np.concatenate([pairs.left, pairs.right]),
            np.concatenate([evaluated, evaluated + len(pairs)]),
            np.concatenate([known, known + len(pairs)]),
            left,
            left_content,
            cosine,
        )
        codes = {"left": code, "right": code}
    else:
        codes = {
            "left": _classes(pairs.left, evaluated, known, left, left_content, cosine),
            "right": _classes(pairs.right, evaluated, known, right, right_content, cosine),
        }
    ids = {"left": left_ids, "right": right_ids}
    shared, in_shared = _shared_groups(pairs, evaluated, known)
    repeated, is_repeated = _repeated_pairs(pairs, evaluated, known, codes, ids)
    found = [shared, repeated]
    touched = in_shared | is_repeated
    for side in ("left", "right"):
        known_row, near_duplicate, duplicated = _one_sided(
            pairs, side, evaluated, known, codes[side], ids[side], is_repeated, (names or {}).get(side, side)
        )
        found += [known_row, near_duplicate]
        if near_duplicate is not None and near_duplicate.leaky:
            touched |= duplicated
    return Leaks(split, tuple(seen), tuple(f for f in found if f is not None), evaluated[touched])


def without(pairs: Pairs, leaks: Leaks) -> Pairs:
    """The pairs less the leaky evaluated ones: what the number would be without them."""
    return pairs.take(np.setdiff1d(np.arange(len(pairs)), leaks.affected))


def _classes(
    column: np.ndarray,
    evaluated: np.ndarray,
    known: np.ndarray,
    vectors: Rows | None,
    content: np.ndarray | None,
    cosine: float,
) -> np.ndarray:
    """Class code of every row of one table that the pairs name: equal for the same item and its near-duplicates."""
    evaluated_rows, known_rows = np.unique(column[evaluated]), np.unique(column[known])
    edges = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if vectors is not None:
        # A row that stands in both is known by itself and need not be searched for.
        edges = duplicates.near(vectors, np.setdiff1d(evaluated_rows, known_rows), known_rows, cosine)
    n = int(column.max()) + 1
    return duplicates.classes(n, edges, None if content is None else np.asarray(content)[:n])


def _shared_groups(pairs: Pairs, evaluated: np.ndarray, known: np.ndarray) -> tuple[Finding | None, np.ndarray]:
    groups = np.unique(pairs.group[evaluated])
    both = np.intersect1d(groups, pairs.group[known])
    member = np.isin(pairs.group[evaluated], both)
    if not len(both):
        return None, member
    names = both.astype(np.str_) if pairs.group_names is None else pairs.group_names[both]
    what = "groups" if pairs.group_names is not None else "groups of connected items"
    text = (
        f"{len(both)} of {len(groups)} evaluated {what} are also in the training data ({', '.join(names[:3].tolist())})"
    )
    some = tuple((str(g), str(g)) for g in names[:_EXAMPLES])
    return Finding("shared_group", "pair", len(both), len(groups), True, text, some), member


def _repeated_pairs(
    pairs: Pairs,
    evaluated: np.ndarray,
    known: np.ndarray,
    codes: Mapping[str, np.ndarray],
    ids: Mapping[str, np.ndarray | None],
) -> tuple[Finding | None, np.ndarray]:
    """Evaluated pairs both of whose ends are those of one seen pair."""
    width = int(codes["right"].max()) + 1
    ends = codes["left"][pairs.left] * width + codes["right"][pairs.right]
    if pairs.same_table:  # a relation within one table has no direction
        back = codes["right"][pairs.right] * width + codes["left"][pairs.left]
        ends = np.minimum(ends, back)
    values, first = np.unique(ends[known], return_index=True)
    at = np.minimum(np.searchsorted(values, ends[evaluated]), max(len(values) - 1, 0))
    repeated = values[at] == ends[evaluated] if len(values) else np.zeros(len(evaluated), bool)
    count = int(repeated.sum())
    if not count:
        return None, repeated
    some = np.flatnonzero(repeated)[:_EXAMPLES]
    examples = tuple((_name(pairs, evaluated[i], ids), _name(pairs, known[first[at[i]]], ids)) for i in some)
    text = (
        f"{count} of {len(evaluated)} evaluated pairs are also in the training data, both ends the same or "
        "near-duplicates"
    )
    return Finding("repeated_pair", "pair", count, len(evaluated), True, text, examples), repeated


def _one_sided(
    pairs: Pairs,
    side: str,
    evaluated: np.ndarray,
    known: np.ndarray,
    code: np.ndarray,
    ids: np.ndarray | None,
    repeated: np.ndarray,
    called: str,
) -> tuple[Finding | None, Finding | None, np.ndarray]:
    """Rows of one side that stand in both splits, and rows with a near-duplicate there under another related item."""
    column = getattr(pairs, side)
    seen = np.concatenate([pairs.left[known], pairs.right[known]]) if pairs.same_table else column[known]
    rows, known_rows = np.unique(column[evaluated]), np.unique(seen)
    same = np.isin(rows, known_rows)
    row_finding = None
    if same.any():
        text = f"{same.sum()} of {len(rows)} evaluated {called} items are also in the training data, in other pairs"
        row_finding = Finding(
            "known_row",
            side,
            int(same.sum()),
            len(rows),
            False,
            text,
            tuple((_id(ids, r), _id(ids, r)) for r in rows[same][:_EXAMPLES]),
        )
    values, first = np.unique(code[known_rows], return_index=True)
    at = np.minimum(np.searchsorted(values, code[rows]), max(len(values) - 1, 0))
    near = (values[at] == code[rows] if len(values) else np.zeros(len(rows), bool)) & ~same
    duplicated = np.isin(column[evaluated], rows[near]) & ~repeated
    if not near.any():
        return row_finding, None, duplicated
    leaky = pairs.group_names is None and duplicated.mean() > TOLERANCE
    text = (
        f"{near.sum()} of {len(rows)} evaluated {called} items have a near-duplicate (equal content or vector) in the "
        "training data"
    )
    if leaky:
        share = f"{100 * duplicated.mean():.0f}%"
        text += f", touching {share} of the evaluated pairs: give one item one id, or name its group"
    examples = tuple((_id(ids, rows[i]), _id(ids, known_rows[first[at[i]]])) for i in np.flatnonzero(near)[:_EXAMPLES])
    return (
        row_finding,
        Finding("twin", side, int(near.sum()), len(rows), bool(leaky), text, examples),
        duplicated,
    )


def _id(ids: np.ndarray | None, row: int) -> str:
    return f"row {row}" if ids is None else str(ids[row])


def _name(pairs: Pairs, i: int, ids: Mapping[str, np.ndarray | None]) -> str:
    return f"{_id(ids['left'], pairs.left[i])} ~ {_id(ids['right'], pairs.right[i])}"
