"""Text space: whether a run's head predicts the text vectors that a picture model conditions on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensorium.errors import Mismatch
from sensorium.numerics import unit

if TYPE_CHECKING:
    from sensorium.search.run import Run

#: Texts by which the run's text encoder and the model's text model are compared.
PROBES = ("a person looking happy", "an old wooden door", "rain over the sea at night")
SAME = 0.99  # least cosine of their vectors of one text


def check_width(run: Run, side: str, width: int, name: str) -> None:
    """Raise Mismatch unless a side's head gives vectors of the model's width, and the other side's head keeps them.

    The other side must have the head ``identity``: with any other, both sides are in a space of their own.
    """
    dim = run.head(side).dim
    if dim != width:
        raise Mismatch(f"the {run.names[side]} head of {run.folder.name} gives {dim} numbers, the text model of {name} "
                       f"has {width}; for Stable Diffusion 1.x train with right.encoder=clip_text (768)")  # fmt: skip
    other = "right" if side == "left" else "left"
    head = run.recipe.values.get(other, {}).get("head") or {}
    if head.get("name", "identity") != "identity":
        raise Mismatch(f"the {run.names[other]} head of {run.folder.name} is {head['name']}, so the shared "
                       f"space is not that of a text model; train with {other}.head=identity")  # fmt: skip


def check_texts(run: Run, side: str, pooled: np.ndarray, name: str) -> bool:
    """Whether the other side's encoder was compared with the model's text model, by the vectors of ``PROBES``.

    pooled (n, d): the model's. False where that side has no encoder of text, as in runs of vectors. Raises Mismatch
    where they are different: a vector of another space would condition with noise.
    """
    encoder = run.encoder("right" if side == "left" else "left")
    if encoder is None or encoder.takes != "text":
        return False
    theirs = np.asarray(encoder.encode(list(PROBES)), np.float32)
    cosine = (unit(theirs) * unit(pooled)).sum(1).min() if theirs.shape == pooled.shape else 0.0
    if cosine < SAME:
        told = f"cosine {cosine:.2f}, expected {SAME}; train with right.encoder.model=FOLDER/text_encoder"
        raise Mismatch(f"the text encoder of {run.folder.name} and the text model of {name} give other vectors: {told}")
    return True
