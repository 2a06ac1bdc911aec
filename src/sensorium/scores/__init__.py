"""Queries × candidates in blocks: exact top-k and exact ranks, never the whole (q, m) matrix.

The score of a pair is its inner product accumulated in float64 and rounded once to float32
(:func:`pair_scores`). It depends on the two vectors alone, not on block sizes, threads or
machines, so equal vectors tie exactly. Matrix products, in int8, bfloat16 or float32,
whichever this machine multiplies fastest, only decide what is certainly above or below a
threshold; every pair within the rounding bound of one is scored again by the definition.

Start reading at :mod:`~sensorium.scores.exact_ranks`; :mod:`~sensorium.scores.quantize` has the bounds.
"""

from sensorium.scores.exact_ranks import ranks
from sensorium.scores.exact_topk import topk
from sensorium.scores.similarity import pair_scores

__all__ = ["pair_scores", "ranks", "topk"]
