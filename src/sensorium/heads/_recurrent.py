"""Base of the recurrent heads: a cell over frames, its output at the last valid frame, its state for streams."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sensorium.contracts import SequenceHead
from sensorium.errors import BadRecipe
from sensorium.heads import check_dim
from sensorium.heads._preprocess import Preprocess, check_mode, unit
from sensorium.numerics.moments import InputStats
from sensorium.numerics.ragged import spec_augment

State = tuple[Tensor, ...]
_BLOCKS = 6  # blocks of time at most, in training
_DEEPEST = 100  # layers
_SHORTEST = 16  # frames; a call for fewer costs more than it saves


class Recurrent(nn.Module, SequenceHead):
    """cell(d, hidden, depth) → dropout → Linear(hidden, dim), at the last valid frame.

    hidden: width of the state. depth: layers of the cell. dropout: probability, 0 to below 1.
    dim: output width; None takes that of the other side, such as the number of classes.
    preprocess: of the frames, by statistics of the training frames that the head carries.
    normalize: outputs of unit length; off for the logits of a classifier.
    spec_augment: probability with which a training sequence has spans of time and columns masked.

    name: attribute name of the cell, a prefix of its weights' names. parts: how many tensors its state has.
    """

    def __init__(self, name: str, cell: Any, parts: int, /, hidden: int, depth: int, dropout: float = 0.3,
                 dim: int | None = None, preprocess: str = "standardize", normalize: bool = False,
                 spec_augment: float = 0.0) -> None:  # fmt: skip
        super().__init__()
        check_mode(preprocess)
        check_dim(dim)
        if not 0 <= spec_augment <= 1:
            raise BadRecipe(f"{name}: spec_augment={spec_augment}; expected a probability, from 0 to 1")
        if hidden < 1 or not 1 <= depth <= _DEEPEST or not 0 <= dropout < 1:
            raise BadRecipe(
                f"{name}: hidden={hidden}, depth={depth}, dropout={dropout}; expected hidden of 1 or more, depth "
                f"of 1 to {_DEEPEST}, and dropout from 0 to below 1"
            )
        self.arguments = {"hidden": hidden, "depth": depth, "dropout": dropout, "dim": dim, "preprocess": preprocess,
                          "normalize": normalize, "spec_augment": spec_augment}  # fmt: skip
        self.name, self.cell, self.parts, self.normalize = name, cell, parts, normalize

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. ``stats`` of the training frames; None when ``load_state_dict`` follows."""
        options = self.arguments
        self.dim_in, self.dim = dim_in, options["dim"] or like or dim_in
        self.preprocess = Preprocess(options["preprocess"], dim_in, stats)
        between = options["dropout"] if options["depth"] > 1 else 0.0
        self.add_module(
            self.name, self.cell(dim_in, options["hidden"], options["depth"], batch_first=True, dropout=between)
        )
        self.dropout = nn.Dropout(options["dropout"])
        self.fc = nn.Linear(options["hidden"], self.dim)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Frames x (b, t, d), of which the first ``lengths`` (b,) of each are real → (b, c)."""
        x, hide = self.preprocess(x), self.arguments["spec_augment"]
        if self.training and hide:
            x = spec_augment(x, lengths, hide)
        return self._read(self._last(x, lengths))

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """More frames x (b, t, d) of b streams → the output after each of them (b, t, c), and the state.

        Each part of the state is (b, depth, hidden); None starts new streams.
        """
        state = self.start(len(x)) if state is None else state
        if not x.shape[1]:
            return x.new_zeros(len(x), 0, self.dim), state
        before = tuple(part.transpose(0, 1).contiguous() for part in state)
        h, after = self.get_submodule(self.name)(self.preprocess(x), before if self.parts > 1 else before[0])
        after = after if self.parts > 1 else (after,)
        return self._read(h), tuple(part.transpose(0, 1) for part in after)

    def start(self, b: int = 1) -> State:
        """The state of b new streams."""
        shape = b, self.arguments["depth"], self.arguments["hidden"]
        return tuple(torch.zeros(shape) for _ in range(self.parts))

    def _last(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The cell's output (b, hidden) at the last valid frame of x (b, t, d).

        Computed in a few blocks of time, each only for the sequences that are not over: for lengths as those of
        speech, that is little more than half of the padded frames.
        """
        cell, lengths = self.get_submodule(self.name), lengths.clamp_min(1)
        order = torch.argsort(lengths, descending=True, stable=True)
        longest = lengths[order].tolist()
        x, state, start, found = x[order], None, 0, []
        for end in _ends(longest):
            going, after = (sum(n > t for n in longest) for t in (start, end))
            h, state = cell(x[:going, start:end], state)
            at = lengths[order[after:going]] - 1 - start
            found.append(h[torch.arange(after, going, device=x.device), at])
            carried = tuple(part[:, :after].contiguous() for part in (state if self.parts > 1 else (state,)))
            state, start = carried if self.parts > 1 else carried[0], end
        return torch.cat(found[::-1])[torch.argsort(order)]

    def _read(self, h: Tensor) -> Tensor:
        z = self.fc(self.dropout(h))
        return unit(z) if self.normalize else z


def _ends(longest: list[int]) -> list[int]:
    """Ends of the time blocks of a batch whose ``lengths`` are sorted longest first; the last is the longest."""
    ends = [longest[0]]
    for k in range(1, _BLOCKS):
        end = longest[len(longest) * k // _BLOCKS]
        if _SHORTEST <= end <= ends[-1] - _SHORTEST:
            ends.append(end)
    return ends[::-1]
