"""What data sets and encoders must have."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from sensorium.contracts._heads import State
from sensorium.errors import BadRecipe
from sensorium.types import Data, Items, TableColumns

if TYPE_CHECKING:  # annotations only: nothing here is imported when the package is
    from torch import Tensor, nn

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

    stores: Path | None = None  #: folder of the run's embeddings, where it may keep what it computes; set by a run
    progress: bool = False  #: whether it may show the progress of long work; set by a run
    asks_encoder: bool = False  #: whether a run sets ``encoder``
    encoder: Encoder | None = None  #: that of the left side, which may say what it finds in an item; set by a run

    @abstractmethod
    def load(self) -> Data:
        """The items and pairs; the same each time. Raises BadData when files are missing or unreadable."""

    def obtain(self) -> list[Path]:
        """Download what is missing; returns the folders. Raises BadRecipe where there is nothing to download."""
        raise BadRecipe(f"the data set '{type(self).__name__.lower()}' has nothing to fetch; bring its files yourself")

    def columns_of(self, names: Sequence[str]) -> TableColumns | None:
        """Which of the columns ``names`` of a table hold more items; None where the data set knows none."""
        return None

    def filled(self, side: str, items: Items) -> Items:
        """Items that are to be added to a side, with the columns that the data set itself computes, such as durations.

        Raises BadData for items that it would refuse.
        """
        return items

    def folds(self) -> int:
        """Number of cross-validation folds, of which ``fold`` chooses one; 0 for a data set without folds."""
        return 0


class EncoderPart(NamedTuple):
    """One encoder of several that are joined: rows (m,) of the items that have its part, and these parts."""

    encoder: Encoder
    rows: np.ndarray
    values: list[Any]


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
    trains: bool = False  #: has ``load``, ``blocks``, ``pixels`` or ``prepare``, ``features``: see TrainableEncoder
    tuned: str = ""  #: file of weights that a fit has trained, which take the place of its own; set by a run
    arguments: Mapping[str, Any] = _NOTHING  #: its own settings, where other formats store them
    example: Any = None  #: a value that it can encode, where not every value of its kind is valid
    kept: str = ""  #: folder with the files of its untrained model, in place of where it looks for them; set by a run
    accelerated: bool = False  #: whether it computes on a GPU where there is one
    accelerated: bool = False  #: whether it computes on a GPU where there is one
    device: str = "auto"  #: where it computes, of numerics.device; set by the recipe's key ``device``
    towers: Sequence[str] = ()  #: kinds of item that its key ``tower`` chooses from, one of which it then takes
    #: Kinds of which it takes any one, or several of one item: see types.Pictured. ``takes`` is the first of them.
    joins: Sequence[str] = ()
    finds: bool = False  #: has ``find``: its items are things that it finds in pictures, such as faces
    finder: Mapping[str, Any] = _NOTHING  #: what its findings depend on, as the fingerprint says it of the vectors
    parted: bool = False  #: its vectors are made of several encoders', by split() and join(); each has its own store
    sample_rate: int = 0  #: Hz to which an encoder of sound resamples what it hears
    taken_from: str = ""  #: of an encoder of sound: the layer or measures of a vector, and its pooling, in words
    space: str = ""  #: name of the space of its vectors; vectors of one space can be compared without a fit

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process: the settings. What it computed from these, it computes there again."""
        defined = {name: value for one in reversed(type(self).__mro__) for name, value in vars(one).items()}
        return {k: v for k, v in vars(self).items() if not isinstance(defined.get(k), cached_property)}

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

    def find(self, value: Any, most: int = 1) -> list[np.ndarray]:
        """What there is in a picture, ``most`` at most, the largest first: items are ``FoundFace(picture, array)``.

        Called in several threads. [] where there is nothing. Raises BadData for a picture that cannot be read.
        """
        raise BadRecipe(f"encoder '{type(self).__name__}' sets finds but has no find(); unset it")

    def split(self, values: Sequence[Any]) -> Mapping[str, EncoderPart]:
        """Of an encoder of several parts: what of the items each of them encodes, by any name."""
        return {}

    def join(self, parts: Mapping[str, tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray:
        """Of an encoder of several parts: n vectors (n, dim) of rows (m,) and vectors (m, d) of each part."""
        raise BadRecipe(f"encoder '{type(self).__name__}' sets joins or parted but has no join(); unset it")


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


class TrainableEncoder(Encoder, Protocol):
    """An encoder whose torch network a fit may run, and train, with the heads (``data.cached=false``).

    One of pictures of one shape defines ``pixels``; any other kind of item ``prepare`` and ``collate``.

    With ``tuned`` set, :meth:`encode` uses those weights, and ``fingerprint`` and ``space`` name their checksum.

    Example::

        import numpy as np
        import torch
        from sensorium import io
        from sensorium.contracts import TrainableEncoder
        from sensorium.modalities.image import files
        class Tint(TrainableEncoder):
            takes, dim = "image", 4
            @property
            def fingerprint(self):
                return {"name": "tint", **({"tuned": io.checksum(self.tuned)} if self.tuned else {})}
            def load(self):
                torch.manual_seed(0)
                return torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Linear(8, 4))
            def blocks(self, network): return list(network)
            def pixels(self, value): return np.array([files.grey(files.read(value)).mean()], np.float32)
            def features(self, network, x): return network(x / 255)
            def encode(self, values):
                network = self.load()
                if self.tuned:
                    from safetensors.torch import load_file
                    network.load_state_dict(load_file(self.tuned), strict=False)
                x = np.array([self.pixels(value) for value in values], np.float32).reshape(-1, 1)
                return self.features(network, torch.from_numpy(x)).detach().numpy()
    """

    trains: bool = True

    @abstractmethod
    def load(self) -> nn.Module:
        """A new copy of the network with its own weights, float32, on the processor, for evaluation."""

    def model_files(self) -> Mapping[str, Path]:
        """The files that ``load`` reads, by name within ``kept``; {} for a model that is no file."""
        return {}

    @abstractmethod
    def blocks(self, network: nn.Module) -> Sequence[nn.Module]:
        """Its blocks, first to last. A fit trains the last of them, and every parameter registered after these."""

    def pixels(self, value: Any) -> np.ndarray:
        """One picture, a path or an array, as an array of the shape that all pictures have. Raises BadData."""
        raise BadRecipe(f"encoder '{type(self).__name__}' sets trains but has neither pixels() nor prepare()")

    def prepare(self, value: Any) -> Any:
        """One item as arrays, or a text, in any nesting: all that needs no network and is kept. Raises BadData.

        Called in several threads.
        """
        return self.pixels(value)

    def collate(self, network: nn.Module, prepared: Sequence[Any]) -> Any:
        """Prepared items (b) as the input of ``features``: tensors in any nesting, moved to the device afterwards."""
        import torch

        return torch.from_numpy(np.stack(prepared))

    @abstractmethod
    def features(self, network: nn.Module, x: Any) -> Tensor:
        """Collated items, on the network's device, to vectors (b, dim), with gradients: those of ``encode``."""
