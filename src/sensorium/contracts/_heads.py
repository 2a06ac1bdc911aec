"""What heads must have: of vectors, of sequences, of sets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sensorium.errors import BadRecipe
from sensorium.types import Affine

if TYPE_CHECKING:  # annotations only: nothing here is imported when the package is
    from torch import Tensor

    from sensorium.heads._preprocess import AffineLayers
    from sensorium.numerics.moments import InputStats

State = tuple[Any, ...]  #: arrays of b streams, the streams along the first axis


class Head(Protocol):
    """A small ``torch.nn.Module`` from an encoder's vectors into the shared space.

    arguments: those of ``__init__`` by name, from which a saved head is made again. dim_in, dim: widths of input and
    output, set by :meth:`build`. ``nn.Module`` comes first among the bases.

    Example::

        import torch
        from sensorium.contracts import Head

        class Scale(torch.nn.Module, Head):
            def __init__(self, start: float = 1.0):
                super().__init__()
                self.arguments = {"start": start}
            def build(self, dim_in, stats=None, like=None):
                self.dim_in = self.dim = dim_in
                self.weight = torch.nn.Parameter(torch.full((dim_in,), self.arguments["start"]))
            def forward(self, x):
                return torch.nn.functional.normalize(x * self.weight, dim=-1)
    """

    arguments: Mapping[str, Any]
    dim_in: int | None = None  #: None until built
    dim: int | None = None
    trainable: bool = True  #: False: fitted by ``build``, or fixed, and never trained
    takes_vectors: bool = True  #: forward(x (n, d_in))
    takes_sequences: bool = False  #: forward(x (b, t, d_in), lengths (b,))
    streams: bool = False  #: has ``start``, ``step`` and ``advance``: see SequenceHead
    takes_sets: bool = False  #: has ``compose``: see SetHead
    normalize: bool = False  #: outputs have unit length
    solved: bool = False  #: a closed form is written into it by ``initialise``; others give way to a linear head
    lift_dim: int | None = None  #: width of ``lift``, fixed features that a closed form takes in place of the input
    #: What no weight takes part in, (frames (b, t, d), lengths (b,)) → (b, w), computed once before ``forward``.
    frozen: Callable[[Tensor, Tensor], Tensor] | None = None
    #: What comes before the statistics of a head of vectors: x (n, d_in) → (n, d_in), without weights, before and after
    #: ``build``, whose ``stats`` are of this. Closed forms are solved on what ``affine_layers().preprocess`` makes.
    features: Callable[[Tensor], Tensor] | None = None

    @abstractmethod
    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. like: width of the other side's output, for a head that leaves its own open.

        stats: of the training inputs, or of their ``features``; None when they are not needed, or ``load_state_dict``
        follows.
        """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, dim)."""

    @property
    def needs_statistics(self) -> bool:
        """Whether ``build`` needs the mean and covariance of the training inputs."""
        return self.arguments.get("preprocess", "none") != "none"

    @property
    def open_width(self) -> bool:
        """Whether the output takes the width of the other side."""
        return self.arguments.get("dim", 0) is None

    def lift(self, x: Tensor) -> Tensor:
        """Features (n, m) of raw inputs x (n, d_in), of which ``initialise`` takes a closed form."""
        raise BadRecipe(f"the {type(self).__name__} head sets lift_dim but has no lift(); unset it")

    def affine(self) -> Affine | None:
        """What it computes of raw inputs before the normalisation; None when that is not linear."""
        return None

    def affine_layers(self) -> AffineLayers | None:
        """Its layers for the fused training step; None to be trained by autograd."""
        return None

    def initialise(self, affine: Affine) -> None:
        """Start at a closed form of the raw input. Raises BadRecipe where the head cannot."""
        raise BadRecipe(f"the {type(self).__name__} head cannot start at a linear map; use linear or mlp")


class SequenceHead(Head, Protocol):
    """A head that reads sequences of frames, offline or as they arrive. Streamed outputs equal offline ones to 1e-5.

    Example::

        import torch
        from sensorium.contracts import SequenceHead

        class Last(torch.nn.Module, SequenceHead):
            def __init__(self):
                super().__init__()
                self.arguments = {}
            def build(self, dim_in, stats=None, like=None):
                self.dim_in, self.dim = dim_in, like or dim_in
                self.fc = torch.nn.Linear(dim_in, self.dim)
            def forward(self, x, lengths):
                return self.fc(x[torch.arange(len(x)), lengths - 1])
            def start(self, b=1): return (torch.zeros(b, 1),)
            def step(self, x, state=None):
                return self.fc(x), self.start(len(x)) if state is None else state
    """

    takes_vectors: bool = False
    takes_sequences: bool = True
    streams: bool = True

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Frames x (b, t, d_in), of which the first ``lengths`` (b,) of each are real → (b, dim)."""

    @abstractmethod
    def start(self, b: int = 1) -> State:
        """The state of b new streams: tensors with the streams along the first axis."""

    @abstractmethod
    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """More frames x (b, t, d_in) → the output after each of them (b, t, dim), and the state; None starts."""

    def advance(self, x: Tensor, lengths: Tensor, state: State) -> tuple[Tensor, State]:
        """More frames x (b, t, d_in), the first ``lengths`` (b,) of each real → output after the last (b, dim), state.

        The output of a stream without a new frame is undefined.
        """
        z, after = x.new_zeros(len(x), self.dim), tuple(part.clone() for part in state)
        for count in filter(None, lengths.unique().tolist()):  # streams with as many new frames make one batch
            at = (lengths == count).nonzero()[:, 0]
            read, new = self.step(x[at, :count], tuple(part[at] for part in state))
            z[at] = read[:, -1]
            for part, changed in zip(after, new, strict=True):
                part[at] = changed
        return z, after


class SetHead(Head, Protocol):
    """A head that also makes one query of several items, for the item that is missing among them.

    ``forward`` gives the vector of an item as a candidate; the score of a candidate is its inner product with the
    query. categories: the words of the items' categories; a category is said by its place there, -1 where it is none
    of them. Set before :meth:`build`, and among ``arguments``. What a head without ``compose`` does is
    :func:`sensorium.heads.compose`: the mean of its outputs, so that scores are mean inner products.

    Example::

        import torch
        from sensorium.contracts import SetHead

        class Mean(torch.nn.Module, SetHead):
            def __init__(self, categories=()):
                super().__init__()
                self.categories = list(categories)
                self.arguments = {"categories": self.categories}
            def build(self, dim_in, stats=None, like=None):
                self.dim_in, self.dim = dim_in, like or dim_in
                self.fc = torch.nn.Linear(dim_in, self.dim)
            def forward(self, x):
                return torch.nn.functional.normalize(self.fc(x), dim=-1)
            def compose(self, x, lengths, category, slot):
                there = torch.arange(x.shape[1]) < lengths[:, None]
                return self.forward(x).masked_fill(~there[:, :, None], 0).sum(1) / lengths[:, None]
    """

    takes_sets: bool = True
    categories: Sequence[str]

    def set_categories(self, categories: Sequence[str]) -> None:
        """Take these words, before :meth:`build`; the fit does so where a recipe names none."""
        self.categories = [str(word) for word in categories]
        self.arguments = {**self.arguments, "categories": self.categories}

    @abstractmethod
    def compose(self, x: Tensor, lengths: Tensor, category: Tensor, slot: Tensor) -> Tensor:
        """Contexts as queries (b, dim).

        x (b, s, d_in): vectors of the items, of which the first ``lengths`` (b,) of each context are there.
        category (b, s) int64: of each item. slot (b,) int64: category of the missing item; -1 where it is open.
        """
