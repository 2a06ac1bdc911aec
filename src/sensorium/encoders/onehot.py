"""One-hot vectors of class names: with them a classifier is retrieval over its class table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.contracts import Encoder
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.types import check_unique


class Onehot(Encoder):
    """Row k of the identity for the k-th class name; with an identity head the left side gives the logits.

    classes: all names, in their order. Swap it for a text encoder to make the vocabulary open.
    """

    takes = "text"

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = [str(name) for name in classes]
        if len(self.classes) < 2:
            raise BadRecipe(f"onehot.classes names {len(self.classes)} classes; expected 2 or more")
        check_unique(np.array(self.classes), "onehot.classes")

    @property
    def dim(self) -> int:
        """Number of classes c."""
        return len(self.classes)

    @property
    def example(self) -> str:
        """A valid class name; all others are refused."""
        return self.classes[0]

    @property
    def fingerprint(self) -> dict[str, str]:
        """The classes and their order."""
        return {"name": "onehot", "classes": ",".join(self.classes)}

    def check(self, values: Sequence[str]) -> None:
        """Raises BadData for a name that is no class."""
        for value in dict.fromkeys(map(str, values)):
            if value not in self.classes:
                raise BadData(
                    f"'{value}' is none of the {self.dim} classes; {nearest(str(value), self.classes)}; name it in "
                    "right.encoder.classes='[…]', or leave it out by data.classes='[…]'"
                )

    def encode(self, values: Sequence[str]) -> np.ndarray:
        """(n, c) float32. Raises BadData for a name that is no class."""
        self.check(values)
        return np.eye(self.dim, dtype=np.float32)[[self.classes.index(str(value)) for value in values]]
