"""Published speaker-disjoint folds of RAVDESS, as split words of each fold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest

#: Test actors of each fold of RAVDESS. emobox: Ma et al. 2024; luna: Luna-Jiménez et al. 2021.
FOLDS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "emobox": ((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22)),
    "luna": ((2, 5, 14, 15, 16), (3, 6, 7, 13, 18), (10, 11, 12, 19, 20), (8, 17, 21, 23, 24), (1, 4, 9, 22)),
}


def actor_folds(actor: np.ndarray, protocol: str = "emobox") -> list[np.ndarray]:
    """Split words (n,) of each fold: the next fold's test actors validate, so every actor does once.

    actor (n,): numbers 1 to 24, as text or not. Folds of which no actor is present are left out.
    Raises BadRecipe for an unknown protocol, BadData when fewer than 3 folds have actors.
    """
    if protocol not in FOLDS:
        raise BadRecipe(f"protocol '{protocol}'; {nearest(protocol, FOLDS)}")
    actor = np.asarray(actor).astype(np.int64)
    present = [f for f in FOLDS[protocol] if np.isin(f, actor).any()]
    if len(present) < 3:
        raise BadData(
            f"{protocol}: actors of {len(present)} of {len(FOLDS[protocol])} folds are present; at least 3 are "
            "needed to train, validate and test apart"
        )
    splits = []
    for test, validation in zip(present, present[1:] + present[:1], strict=True):
        word = np.where(np.isin(actor, validation), "validation", "train")
        splits.append(np.where(np.isin(actor, test), "test", word))
    return splits
