"""Inputs of a side whose encoder joins several parts of an item, such as a picture and a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sensorium.types import Pictured

if TYPE_CHECKING:
    from sensorium.contracts import Encoder
    from sensorium.search.run import Run


def taken(encoder: Encoder | None) -> tuple[str, ...]:
    """The kinds of input that an encoder takes; none without an encoder."""
    if encoder is None:
        return ()
    return tuple(encoder.joins) or (encoder.takes,)


def value_of(encoder: Encoder | None, name: str, value: Any) -> Any:
    """An input as the encoder takes it: one part of an item of several becomes an item without the others."""
    if encoder is None or not encoder.joins or isinstance(value, Pictured):
        return value
    return Pictured(None, str(value)) if name == "text" else Pictured(value, None)


def together(run: Run, values: Mapping[str, Any], side: str | None = None) -> dict[str, Any]:
    """Inputs by name, of which parts of one item, such as image and text, become one input.

    side: the side of the inputs, where it is known; else any side whose encoder joins them.
    """
    for one in run.sides if side is None else (run.key_of(side),):
        encoder = run.encoder(one) if one in run.sides else None
        if encoder is not None and len(values) > 1 and set(values) <= set(encoder.joins):
            return {encoder.takes: Pictured(values.get("image"), values.get("text"))}
    return dict(values)
