"""What each kind of part must have: encoders, heads, objectives, indexes and data sets as Protocols.

A part subclasses its Protocol and so inherits the defaults; what has no default it must define itself. Every
docstring ends with a whole part of about ten lines. ``python -m sensorium.testing my_part.py:Name`` checks a part.
Letters in shapes are those of :mod:`sensorium.types`: n items, b batch, t frames, d width, c classes, k neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping

from sensorium.contracts._data import Dataset, Encoder, EncoderPart, FrameEncoder, TrainableEncoder
from sensorium.contracts._heads import Head, SequenceHead, SetHead, State
from sensorium.contracts._indexes import Index
from sensorium.contracts._objectives import (
    ClosedFormObjective,
    Member,
    MixtureObjective,
    Objective,
    TrainedObjective,
    Validate,
)

__all__ = [
    "CONTRACTS", "ClosedFormObjective", "Dataset", "Encoder", "EncoderPart", "FrameEncoder", "Head", "Index",
    "Member", "MixtureObjective", "Objective", "SequenceHead", "SetHead", "State", "TrainableEncoder",
    "TrainedObjective", "Validate",
]  # fmt: skip

#: The Protocols that parts of a kind may subclass; the first is that of a part that subclasses none.
CONTRACTS: Mapping[str, tuple[type, ...]] = {
    "datasets": (Dataset,),
    "encoders": (Encoder, FrameEncoder, TrainableEncoder),
    "heads": (Head, SequenceHead, SetHead),
    "indexes": (Index,),
    "objectives": (TrainedObjective, ClosedFormObjective, MixtureObjective),
}
