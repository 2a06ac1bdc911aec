"""The result of a fit: two heads, the training history, notes for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fitted:
    """Two fitted heads; they are one object when both sides are one table under a tied head.

    history: one mapping an event (empty for a closed form). notes: for the report, such as the
    ridge strength chosen. names: head part of a side where the fit replaced the recipe's.
    encoders: by side the weights of its encoder that were trained, by name. ensemble: by side a head and its part's
    name, of the ensemble that the heads were distilled from.
    """

    left_head: Any
    right_head: Any
    history: list[dict[str, Any]] = field(default_factory=list)
    notes: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    encoders: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ensemble: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
