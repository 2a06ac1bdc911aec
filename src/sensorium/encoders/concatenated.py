"""Several encoders of one kind of item side by side: a vector is theirs, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium import parts
from sensorium.contracts import Encoder, EncoderPart
from sensorium.encoders import _names
from sensorium.errors import BadRecipe
from sensorium.numerics.unit_length import unit

SCALES = ("none", "unit")
_MOST = 100  # encoders


class Concatenated(Encoder):
    """z = [u₁, u₂, …], the vectors of K encoders of the same item, such as a voice by its sound and by its speaker.

    encoders: two or more, each a name or ``{name = …}``; ``right.encoder=functionals+resemblyzer`` says the same.
    scale: "none" leaves the blocks as they are, for a head with preprocess=standardize; "unit" brings each to the
    length 1 / √K, so that a cosine is the mean of the encoders' cosines.

    Each encoder's vectors are cached in a store of its own: a further encoder does not compute the others again.

    Raises BadRecipe for fewer than two encoders, encoders of unlike kinds of item or of frames, or another scale.
    """

    parted = True

    def __init__(self, encoders: Sequence[str | Mapping[str, Any]], scale: str = "none") -> None:
        if not isinstance(encoders, (list, tuple)) or not 2 <= len(encoders) <= _MOST:
            raise BadRecipe(f"concatenated: encoders={encoders!r}; expected a list of 2 to {_MOST}, such as "
                            "'[\"functionals\", \"resemblyzer\"]'")  # fmt: skip
        if scale not in SCALES:
            raise BadRecipe(f"concatenated: scale={scale!r}; expected {' or '.join(SCALES)}")
        self.scale, self.specs, self.parts = scale, [], []
        for at, spec in enumerate(encoders):
            where = f"encoder.encoders[{at}]"
            if not isinstance(spec, (str, Mapping)):
                raise BadRecipe(f"{where}={spec!r}; expected a name or {{name = …}}")
            given = _names.expand({"name": spec} if isinstance(spec, str) else dict(spec), where)
            self.specs.append(given)
            self.parts.append(parts.make("encoders", given, where))
        for given, part in zip(self.specs, self.parts, strict=True):
            if part.frames or part.parted:
                what = "gives frames" if part.frames else "is made of several itself"
                raise BadRecipe(f"concatenated: '{given['name']}' {what}; expected encoders of one vector an item")
        kinds = [set(part.towers) or {part.takes} for part in self.parts]
        if not (shared := set.intersection(*kinds)):
            said = ", ".join(
                f"{given['name']} {part.takes}" for given, part in zip(self.specs, self.parts, strict=True)
            )
            raise BadRecipe(f"concatenated: its encoders take unlike kinds of item ({said}); expected one kind")
        self.choose(next(kind for part in self.parts for kind in (part.takes, *part.towers) if kind in shared))

    def choose(self, kind: str) -> None:
        """Its encoders take items of this kind, where all of them can."""
        for part in self.parts:
            if part.towers:
                part.choose(kind)
        self.takes = self.parts[0].takes

    @property
    def towers(self) -> Sequence[str]:
        """The kinds to choose from, where every encoder has several."""
        every = [tuple(part.towers) for part in self.parts]
        return [kind for kind in every[0] if all(kind in others for others in every)]

    @property
    def sample_rate(self) -> int:
        """The highest rate of its encoders."""
        return max(part.sample_rate for part in self.parts)

    @property
    def taken_from(self) -> str:
        """What each block is."""
        return "; ".join(part.taken_from for part in self.parts)

    @property
    def dim(self) -> int:
        """All widths together."""
        return sum(int(part.dim) for part in self.parts)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Those of the encoders, in order, and the scale."""
        return {"name": "concatenated", "encoders": [dict(part.fingerprint) for part in self.parts],
                "scale": self.scale}  # fmt: skip

    @property
    def batch(self) -> int:
        """The smallest of the encoders' batches."""
        return min(max(1, int(part.batch)) for part in self.parts)

    @property
    def device(self) -> str:
        """Where the encoders compute."""
        return self.parts[0].device

    @device.setter
    def device(self, name: str) -> None:
        for part in self.parts:
            part.device = name

    def check(self, values: Sequence[Any]) -> None:
        """Raises BadData for what an encoder refuses."""
        for part in self.parts:
            part.check(values)

    def settle(self) -> Mapping[str, Any]:
        """The encoders with their open keys."""
        return {"encoders": [{**spec, **part.settle()} for spec, part in zip(self.specs, self.parts, strict=True)]}

    def cost(self, values: Sequence[Any]) -> str:
        """What the encoders cost."""
        return "; ".join(filter(None, (part.cost(values) for part in self.parts)))

    def split(self, values: Sequence[Any]) -> dict[str, EncoderPart]:
        """Every encoder with all values."""
        rows = np.arange(len(values))
        return {str(at): EncoderPart(part, rows, list(values)) for at, part in enumerate(self.parts)}

    def join(self, parts: Mapping[str, tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray:
        """The encoders' vectors side by side."""
        blocks = [np.asarray(parts[str(at)][1], np.float32) for at in range(len(self.parts))] if n else []
        if self.scale == "unit":
            blocks = [unit(block) / np.float32(len(blocks) ** 0.5) for block in blocks]
        return np.concatenate(blocks, 1) if n else np.zeros((0, self.dim), np.float32)

    def encode(self, values: Sequence[Any]) -> np.ndarray:
        """(n, dim) float32. Raises BadData for a value that an encoder cannot read."""
        found = {at: (part.rows, part.encoder.encode(part.values)) for at, part in self.split(values).items()}
        return self.join(found, len(values))
