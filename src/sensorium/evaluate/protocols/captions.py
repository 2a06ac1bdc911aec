"""Sound and picture captions: Clotho/AudioCaps retrieval both ways, and DCASE 2025 task 6."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.evaluate import evaluate
from sensorium.pairs import Pairs
from sensorium.types import Rows

#: Text → clip has one relevant, clip → text usually five, so recall@k and hit@k differ only there.
MEASURES = ("hit@1", "hit@5", "hit@10", "recall@1", "recall@5", "recall@10", "mAP@10", "median_rank")
#: mAP@16 ranked the challenge; the others were reported beside it.
DCASE25 = ("mAP@16", "mAP@10", "hit@1", "hit@5", "hit@10", "recall@5", "recall@10")


def retrieval(
    clips: Rows, captions: Rows, pairs: Pairs, split: str = "test", seed: int = 0, resamples: int = 1000
) -> list[dict[str, Any]]:
    """Clotho and AudioCaps: every caption is a query over the unique clips, and every clip over all captions.

    clips (n, d) and captions (m, d): head outputs; ``pairs`` joins clip rows (left) to caption
    rows (right). A query without a hit counts as 0 in mAP@10. Intervals resample clips.
    Raises BadData when a caption describes several clips (judge those with :func:`dcase25`).
    """
    related = pairs.where(split, 1)
    rows, counts = np.unique(np.unique(np.stack([related.right, related.left], 1), axis=0)[:, 0], return_counts=True)
    if (counts > 1).any():
        raise BadData(
            f"{np.count_nonzero(counts > 1)} captions of the {split} split describe several clips, such as row "
            f"{rows[counts > 1][0]}; this protocol has one clip a caption: use dcase25, or give each its own id"
        )
    return evaluate(clips, captions, pairs, split, MEASURES, seed, resamples)


def dcase25(
    clips: Rows, captions: Rows, pairs: Pairs, split: str = "test", seed: int = 0, resamples: int = 1000
) -> list[dict[str, Any]]:
    """DCASE 2025 task 6: text → clip with several relevant clips a caption, ranked by mAP@16."""
    return evaluate(clips, captions, pairs, split, DCASE25, seed, resamples, directions=("right->left",))
