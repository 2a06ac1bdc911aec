"""What each kind of part must have: encoders, heads, objectives, indexes and data sets as Protocols.

A part subclasses its Protocol and so inherits the defaults; what has no default it must define itself. Every
docstring ends with a whole part of about ten lines. ``python -m sensorium.testing my_part.py:Name`` checks a part.
Letters in shapes are those of :mod:`sensorium.types`: n items, b batch, t frames, d width, c classes, k neighbours.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from sensorium.errors import BadRecipe
from sensorium.types import Affine, Data, Embeddings, Hits, Solution

if TYPE_CHECKING:  # annotations only: nothing here is imported when the package is
    from torch import Tensor, nn

    from sensorium.heads._preprocess import AffineLayers
    from sensorium.numerics.moments import InputStats, Moments
    from sensorium.pairs import Pairs
    from sensorium.pairs.positives import Positives
    from sensorium.table import Table

State = tuple[Any, ...]  #: arrays of b streams, the streams along the first axis
Validate = Callable[[Affine | None, Affine | None], float]  #: measures a pair of maps on held-out pairs
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Dataset(Protocol):
    """Items of both sides and the pairs between them.

    Example::

        import numpy as np
        from sensorium.contracts import Dataset
        from sensorium.pairs import Pairs
        from sensorium.types import Data, Items
        class Squares(Dataset):
            def __init__(self, n: int = 20): self.n = n
            def load(self) -> Data:
                ids, row = np.array([f"n{i}" for i in range(self.n)]), np.arange(self.n)
                squares = [str(i * i) for i in range(self.n)]
                return Data(Items(ids, [str(i) for i in range(self.n)], "text"), Items(ids, squares, "text"),
                            Pairs.of(row, row))
    """

    @abstractmethod
    def load(self) -> Data:
        """The items and pairs; the same each time. Raises BadData when files are missing or unreadable."""

    def obtain(self) -> list[Path]:
        """Download what is missing; returns the folders. Raises BadRecipe where there is nothing to download."""
        raise BadRecipe(f"the data set '{type(self).__name__.lower()}' has nothing to fetch; bring its files yourself")

    def folds(self) -> int:
        """Number of cross-validation folds, of which ``fold`` chooses one; 0 for a data set without folds."""
        return 0


class Encoder(Protocol):
    """A frozen model: items of one kind in, vectors out. The vector of an item does not depend on its batch.

    takes: the kind of item, such as "text" or "image". dim: width d of a vector. fingerprint: a JSON object that
    differs whenever the vectors would; stores and heads are compared by it.

    Example::

        import numpy as np
        from sensorium.contracts import Encoder
        class Vowels(Encoder):
            takes, dim = "text", 5
            fingerprint = {"name": "vowels"}
            def encode(self, values):
                return np.array([[text.count(v) for v in "aeiou"] for text in values], np.float32).reshape(-1, 5)
    """

    takes: str
    dim: int
    fingerprint: Mapping[str, Any]
    batch: int = 64  #: items that one call should get
    frames: bool = False  #: each item becomes a sequence of frames (t_i, d) instead of one vector
    streams: bool = False  #: has ``start`` and ``step``: see FrameEncoder
    arguments: Mapping[str, Any] = _NOTHING  #: its own settings, where other formats store them
    example: Any = None  #: a value that it can encode, where not every value of its kind is valid
    device: str = "auto"  #: where it computes, of numerics.device; set by the recipe's key ``device``
    towers: Sequence[str] = ()  #: kinds of item that its key ``tower`` chooses from, one of which it then takes
    space: str = ""  #: name of the space of its vectors; vectors of one space can be compared without a fit

    def check(self, values: Sequence[Any]) -> None:
        """Called before anything is embedded. Raises BadData for values that it does not take; reads no file."""

    @abstractmethod
    def encode(self, values: Sequence[Any]) -> Any:
        """(n, d) float32; with ``frames`` a list of n arrays (t_i, d), t_i >= 1. Raises BadData for a bad value."""

    def choose(self, kind: str) -> None:
        """Called first, with the kind of the side's items: take it, where there are several to choose from."""

    def settle(self) -> Mapping[str, Any]:
        """Keys that were open, as the items and the machine decided them; written into the run's recipe."""
        return _NOTHING

    def cost(self, values: Sequence[Any]) -> str:
        """What encoding these will cost, in words, said before it starts; "" where it costs time alone."""
        return ""


class FrameEncoder(Encoder, Protocol):
    """An encoder of sound whose frames can be computed as the samples arrive.

    rate: samples a second. hop: samples from one frame to the next. size: samples of a frame. span: samples that a
    frame looks at, ``size`` or more; a stream begins with span - size zeros. Streamed frames equal those of
    :meth:`encode` to 1e-5.

    Example::

        import numpy as np
        from sensorium.contracts import FrameEncoder
        from sensorium.modalities.audio import files
        class Loudness(FrameEncoder):
            takes, dim, rate, hop, size, span = "audio", 1, 16000, 160, 400, 400
            fingerprint = {"name": "loudness"}
            def start(self, b=1): return (np.zeros(b, np.int64),)
            def step(self, samples, state):
                x = np.lib.stride_tricks.sliding_window_view(samples, self.span, 1)[:, :: self.hop]
                x = np.square(x).mean(2, keepdims=True, dtype=np.float32)
                all_of = np.ones(x.shape[:2], bool)
                return x, all_of, all_of, (state[0] + x.shape[1],)
            def encode(self, values):
                read = [files.read(value, self.rate) for value in values]
                read = [np.pad(x, (0, max(0, self.size - len(x)))) for x in read]
                return [self.step(x[None], self.start())[0][0] for x in read]
    """

    rate: int
    hop: int
    size: int
    span: int
    frames: bool = True
    streams: bool = True

    @abstractmethod
    def start(self, b: int = 1) -> State:
        """The state of b new streams. Raises BadRecipe where the settings need the end of a recording."""

    @abstractmethod
    def step(self, samples: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray, State]:
        """samples (b, span + (t - 1) hop) → frames (b, t, d), which count (b, t), which are voice (b, t), state."""


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
    normalize: bool = False  #: outputs have unit length
    #: What no weight takes part in, (frames (b, t, d), lengths (b,)) → (b, w), computed once before ``forward``.
    frozen: Callable[[Tensor, Tensor], Tensor] | None = None

    @abstractmethod
    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. like: width of the other side's output, for a head that leaves its own open.

        stats: of the training inputs; None when they are not needed, or ``load_state_dict`` follows.
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


class Objective(Protocol):
    """What a fit optimises: :class:`ClosedFormObjective` or :class:`TrainedObjective`."""

    closed_form: bool
    gives_probabilities: bool = False  #: scores of all classes can be turned into their probabilities

    def check(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> None:
        """Called before anything is embedded, with zeros as vectors and the training pairs. Raises BadRecipe."""

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Scores (n, c) as probabilities (n, c), float64, rows adding up to 1. Raises BadRecipe where undefined."""
        name = type(self).__name__.lower()
        raise BadRecipe(f"objective '{name}' gives no probabilities of classes; type: objective=cross_entropy")


class ClosedFormObjective(Objective, Protocol):
    """An objective with an exact solution from the means and covariances of the training pairs.

    Example::

        import numpy as np
        from sensorium.contracts import ClosedFormObjective
        from sensorium.types import Affine, Solution

        class LeastSquares(ClosedFormObjective):
            def solve(self, moments, validate=None):
                weight = np.linalg.lstsq(moments.cov_xx, moments.cov_xy, rcond=None)[0]
                return Solution(Affine(weight, moments.mean_y - moments.mean_x @ weight), None, {})
    """

    closed_form: bool = True
    tied: bool = False  #: has ``solve_tied``: one map for both sides of one table
    needs: Sequence[str] = ("xx", "xy")  #: covariances it reads, of "xx", "yy" and "xy"

    @abstractmethod
    def solve(self, moments: Moments, validate: Validate | None = None) -> Solution:
        """A map for each side. validate: scores two maps on held-out pairs; None without validation pairs."""

    def solve_tied(self, moments: Moments, validate: Validate | None = None) -> Solution:
        """One map for both sides of one table, each pair counted in both orders."""
        raise BadRecipe(f"objective '{type(self).__name__.lower()}' maps one table into another; type: objective=cca")


class TrainedObjective(Objective, Protocol):
    """A loss of a batch of pairs, minimised by gradient descent: a ``torch.nn.Module``, named first among the bases.

    Example::

        import torch
        from sensorium.contracts import TrainedObjective

        class Distance(torch.nn.Module, TrainedObjective):
            def loss(self, zl, zr, positives):
                return (zl - zr).square().sum(1).mean()
    """

    closed_form: bool = False
    gives_gradients: bool = False  #: has ``gradients`` and ``learned``, for the fused training step
    takes_mixtures: bool = True  #: works on mixtures of items (train.mixup)

    def prepare(self, left: Embeddings, right: Embeddings, pairs: Pairs, left_head: Head, right_head: Head) -> None:
        """Called once before training, with the training pairs and the built heads."""

    @abstractmethod
    def loss(self, zl: Tensor, zr: Tensor, positives: Positives) -> Tensor:
        """Loss of a batch, 0-d: zl, zr (b, d), row i of each a true pair; positives: all true pairs among them."""

    def gradients(self, zl: Tensor, zr: Tensor, positives: Positives, sides: tuple[bool, bool] = (True, True),
                  bound: float | None = None) -> Any:  # fmt: skip
        """The loss with its gradients to zl and zr; see ``objectives._contrastive.Gradients``."""
        raise BadRecipe(f"objective '{type(self).__name__}' sets gives_gradients but has no gradients(); unset it")

    def learned(self, found: Any) -> list[tuple[nn.Parameter, Tensor]]:
        """The objective's own parameters, each with its gradient, of what :meth:`gradients` returned."""
        return []


class Index(Protocol):
    """Vectors by id with metadata columns, searched by inner product. A whole one: tests/parts/test_adding_parts.py."""

    table: Table  #: ids and columns of the rows, in the order of :meth:`vectors`
    fingerprint: Mapping[str, Any] = _NOTHING  #: of what made the vectors

    @abstractmethod
    def add(self, ids: Sequence[Any], vectors: np.ndarray, columns: Mapping[str, Any] | None = None) -> None:
        """Append items; all, or none when BadData is raised (NaN, another width, an id that is there already)."""

    @abstractmethod
    def remove(self, ids: Sequence[Any]) -> int:
        """Take items out; returns how many there were. Unknown ids are no error."""

    @abstractmethod
    def search(self, queries: np.ndarray, k: int, where: Any = None, exclude: Sequence[Any] | None = None) -> Hits:
        """The k best of each query (q, d), best first, else row -1 and score -inf. where: conditions on columns."""

    @abstractmethod
    def vectors(self, rows: Any = slice(None)) -> np.ndarray:
        """Vectors of the given rows of :attr:`table`."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write into an empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """What :meth:`save` wrote. Raises Corrupt when damaged."""

    @abstractmethod
    def __len__(self) -> int: ...

    def report(self, vectors: np.ndarray) -> dict[str, Any]:
        """What is known of its quality, with some of its own vectors (n, d) as queries."""
        return {}

    def variants(self) -> dict[str, Index]:
        """The same index with other search settings, by setting, for the speed-recall curve; none by default."""
        return {}


#: The Protocols that parts of a kind may subclass; the first is that of a part that subclasses none.
CONTRACTS: Mapping[str, tuple[type, ...]] = {
    "datasets": (Dataset,), "encoders": (Encoder, FrameEncoder), "heads": (Head, SequenceHead), "indexes": (Index,),
    "objectives": (TrainedObjective, ClosedFormObjective)}  # fmt: skip
