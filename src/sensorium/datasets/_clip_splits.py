"""Splits of clips: by whole speakers, as a table says, or by lists of speakers; which pairs stay within one split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.datasets._speakers import Speakers, by_speakers
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.pairs import SPLITS, Pairs
from sensorium.pairs.classes import Classes

if TYPE_CHECKING:
    from sensorium.datasets._clip_library import Library

_EACH = 5  # pairs that are listed for each row
CLIP = "clip"  # data.group: each clip is a group of its own


@dataclass(frozen=True)
class Splitting:
    """How clips are divided: by lists of speakers, by the column ``split``, or drawn by group.

    group: a column, "clip" for each clip on its own, None for the speaker.
    """

    shares: Mapping[str, float]
    seed: int
    lists: Mapping[str, Speakers]
    use_column: bool
    group: str | None

    def of(self, library: Library) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        """Split words and groups (n,) of the clips, and notes."""
        group = self._group(library)
        notes: dict[str, Any] = {"speakers": len({one for one in library.texts("speaker") if one is not None})}
        if self.lists["test"]:
            split, more = listed(library.texts("speaker"), self.lists)
            return split, group, {**notes, **more, "split": "by lists of speakers"}
        if self.lists["train"] or self.lists["validation"]:
            raise BadRecipe("data: train_actors or validation_actors without test_actors; type: data.test_actors=[…]")
        words = library.texts("split")
        if self.use_column and any(word is not None for word in words):
            split = of_words(words, f"the split of {library.manifest.source.where}")
            return split, group, {**notes, "split": "given", "clips_in_no_split": int((split == "").sum())}
        if self.group is None and len(set(group.tolist())) == len(library) > 1:
            notes["said"] = ["no speakers are known, so clips of one speaker may be in training and test; "
                             "type: data.speaker=COLUMN, or data.speaker=folder"]  # fmt: skip
        if self.group == CLIP:
            notes["said"] = ["data.group=clip: clips of one speaker are in training and test; the numbers are of "
                             "speakers that are known"]  # fmt: skip
        what = {None: "speakers", CLIP: "clips"}.get(self.group, f"values of '{self.group}'")
        return drawn(group, self.shares, self.seed, what), group, {**notes, "split": "drawn"}

    def _group(self, library: Library) -> np.ndarray:
        if self.group == CLIP:
            return library.ids
        name = "speaker" if self.group is None else self.group
        if self.group is not None and name not in library.columns:
            raise BadRecipe(f"data.group={name}: the clips have no such column; {nearest(name, library.columns)}")
        return groups(library.texts(name), library.ids)


def groups(speaker: Sequence[str | None], ids: np.ndarray) -> np.ndarray:
    """The group (n,) of each clip: its speaker, of a clip without one the clip itself."""
    return np.array([f"(clip {id})" if one is None else str(one)
                     for one, id in zip(speaker, ids.tolist(), strict=True)], np.str_)  # fmt: skip


def check_shares(test: float, validation: float, split_seed: int) -> None:
    """Raise BadRecipe for shares below 0, no whole number above 1, or a seed below 0."""
    for key, value in (("test", test), ("validation", validation)):
        if not (0 <= value <= 1 or (1 < value < 1e12 and value == int(value))):
            raise BadRecipe(f"data.{key}={value}; expected a share of the groups from 0 to 1, or their number")
    if not 0 <= split_seed < 2**63:
        raise BadRecipe(f"data.split_seed={split_seed}; expected a whole number, 0 or above")


def drawn(group: np.ndarray, shares: Mapping[str, float], seed: int, what: str = "speakers") -> np.ndarray:
    """Split words (n,) by whole groups, drawn at random. Raises BadData where there are fewer groups than splits."""
    wanted = [share for share in shares.values() if share]
    if (n := len(np.unique(group))) <= len(wanted):
        raise BadData(
            f"{n} {what if n != 1 else what.removesuffix('s')} cannot be divided among training"
            f"{', validation' if shares['validation'] else ''}{' and test' if shares['test'] else ''}; to put clips of "
            "one speaker on several sides type: data.group=clip"
        )
    at = np.arange(len(group))
    return Pairs.of(at, at, group=group).split_by_group(shares, seed).split


def of_words(words: Sequence[str | None], where: str) -> np.ndarray:
    """Split words (n,) of a column, "" where one is missing. Raises BadData, naming it, for another word."""
    at = np.arange(len(words))
    try:
        return Pairs.of(at, at, split=np.array(["" if word is None else word for word in words], np.str_)).split
    except BadData as error:
        raise BadData(f"{where}: {error}") from None


def listed(speaker: Sequence[str | None], lists: Mapping[str, Speakers]) -> tuple[np.ndarray, dict[str, Any]]:
    """Split words (n,) by lists of whole speakers: see ``_speakers.by_speakers``. Raises BadRecipe without speakers."""
    names = np.array(["" if one is None else one for one in speaker], np.str_)
    there = np.flatnonzero(names != "")
    if not len(there):
        raise BadRecipe("data.test_actors: no clip has a speaker; type: data.speaker=COLUMN or data.speaker=folder")
    split = np.full(len(names), "", "<U10")
    split[there], notes = by_speakers(names[there], lists)
    return split, notes


def related(left: Sequence[str | None], left_split: np.ndarray, right: Sequence[str | None],
            right_split: np.ndarray, group: np.ndarray) -> Pairs:  # fmt: skip
    """Pairs of n left and m right rows of which those of one label are related within a split: see pairs.Classes.

    Listed are, of each label and split, five pairs for each row of the side that has more of them, in which every row
    stands. Rows without a label or split, or without a partner, are in no pair. group (m,): of the right rows.
    """
    one, other = (np.array(["" if v is None else v for v in words], np.str_) for words in (left, right))
    every = np.concatenate([one, other])
    codes = np.where(every == "", -1, np.unique(every, return_inverse=True)[1])
    of = Classes(codes[: len(one)].copy(), codes[len(one) :].copy())
    i, j = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    mix = np.random.default_rng(0)  # so that consecutive pairs are of several groups
    for split in SPLITS:
        for code in np.intersect1d(of.left[left_split == split], of.right[right_split == split]):
            if code >= 0:
                a = mix.permutation(np.flatnonzero((of.left == code) & (left_split == split)))
                b = mix.permutation(np.flatnonzero((of.right == code) & (right_split == split)))
                each = np.arange(max(len(a), len(b)))
                for k in range(min(_EACH, len(a), len(b))):
                    shift = (0, k) if len(a) > len(b) else (k, 0)
                    i.append(a[(each + shift[0]) % len(a)])
                    j.append(b[(each + shift[1]) % len(b)])
    rows, columns = np.concatenate(i), np.concatenate(j)
    for known, there in ((of.left, rows), (of.right, columns)):
        known[np.setdiff1d(np.arange(len(known)), there)] = -1
    return replace(Pairs.of(rows, columns, group=group[columns], split=right_split[columns]), classes=of)
