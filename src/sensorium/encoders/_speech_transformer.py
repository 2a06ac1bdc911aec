"""Pretrained speech transformers as encoders: loaded by id or folder, run in chunks; states pooled or as frames."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sensorium import downloads, io
from sensorium.encoders import _batches, _pretrained, _trainable
from sensorium.errors import BadRecipe
from sensorium.modalities.audio import files
from sensorium.numerics import device as devices
from sensorium.numerics import ragged

_FILES = ("*.json", *_pretrained.WEIGHTS)
_FRAMES = 3000  # padded frames a pass, a minute of sound: all layers of them are in memory at once
_WORDS = {"layers": ("one", "all"), "pooling": ("mean", "mean+std", "frames"), "precision": ("fp32", "bf16")}


class Network(Protocol):
    """Interface of a model architecture: chunks of one recording in, hidden states out."""

    longest: int  #: samples of a chunk at most

    def to(self, device: Any) -> None:
        """Move the network to a torch device."""
        ...

    def modules(self) -> Mapping[str, Any]:
        """Its torch modules, by name."""
        ...

    def prepare(self, samples: np.ndarray) -> np.ndarray:
        """What is done to a whole recording (n,) before it is cut."""
        ...

    def frames(self, n: int) -> int:
        """How many frames n samples give."""
        ...

    def states(self, chunks: Sequence[np.ndarray]) -> Sequence[Any]:
        """Hidden states (b, t, d) of every layer; of each chunk the first ``frames(n)`` are real."""
        ...


class Speech(_trainable.Trainable):
    """Vectors, or frames, of recordings by a transformer, which is frozen unless a fit trains it.

    model: id on the Hugging Face hub, or a folder that ``save_pretrained`` wrote; "" takes the kind's
    usual one. revision: branch, tag or commit of an id. layer: which hidden state, 0 is what enters the
    first layer, -1 the last. layers: "one", or "all" of them side by side, (L + 1) · d wide, from which
    the head ``layers`` learns weights. pooling: "mean" or "mean+std" over the frames of a recording,
    or "frames" for all of them. precision: "bf16" multiplies in bfloat16. chunk: seconds; longer
    recordings go through in equal parts, whose frames are pooled together.

    A recording's vectors do not depend on its companions beyond rounding (1e-5 in fp32).
    """

    accelerated = True

    takes, sample_rate = "audio", files.RATE
    batch = 32  # recordings worth sorting by length together

    def __init__(self, kind: str, network: Callable[[Path], Network], usual: str, /, model: str = "",
                 revision: str = "", layer: int = -1, layers: str = "one", pooling: str = "mean",
                 precision: str = "fp32", chunk: float = 30.0) -> None:  # fmt: skip
        for key, value in (("layers", layers), ("pooling", pooling), ("precision", precision)):
            if value not in _WORDS[key]:
                raise BadRecipe(f"{kind}.{key}='{value}'; expected one of {', '.join(_WORDS[key])}")
        if chunk < 1:
            raise BadRecipe(f"{kind}.chunk={chunk}; expected 1 second or more")
        self.kind, self.network = kind, network
        self.model, self.revision = model or usual, revision
        self.layer, self.layers, self.pooling, self.precision, self.chunk = layer, layers, pooling, precision, chunk
        self.frames = pooling == "frames"

    @cached_property
    def folder(self) -> Path:
        """The model's folder. Raises BadData when it is neither local nor available from the hub."""
        if self.kept:
            return _trainable.kept_in(self.kept)
        return downloads.folder(downloads.Weights(self.kind, self.model, _FILES, "speech",
                                        "type: left.encoder.model=FOLDER", "delete it from the hub's cache",
                                        self.revision))  # fmt: skip

    def model_files(self) -> dict[str, Path]:
        """The files of the model's folder that are read."""
        return _trainable.files_in(self.folder, _FILES, downloads.commit(self.folder) if self.revision else "")

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Number of hidden states and their width. Raises BadRecipe for a model of another kind."""
        config = io.read_json(self.folder / "config.json", "restore the model's folder")
        if config.get("model_type") != self.kind:
            raise BadRecipe(
                f"{self.model} is a {config.get('model_type')} model, not {self.kind}; type: "
                f"left.encoder={config.get('model_type')} left.encoder.model={self.model}"
            )
        depth = config.get("encoder_layers") or config["num_hidden_layers"]
        if not -depth - 1 <= self.layer <= depth:
            raise BadRecipe(f"{self.kind}.layer={self.layer}; {self.model} has 0 to {depth}, or -1 for the last")
        return depth + 1, config.get("d_model") or config["hidden_size"]

    @property
    def taken_from(self) -> str:
        """Which hidden states a vector is of, and how they are pooled."""
        which = "all hidden states" if self.layers == "all" else f"hidden state {self.layer}" + " (the last)" * (
            self.layer == -1)  # fmt: skip
        pooled = {"mean": "mean", "mean+std": "mean and deviation"}.get(self.pooling, "each")
        return f"{which}, {pooled} of a recording's valid frames"

    @property
    def dim(self) -> int:
        """Width of a vector or frame."""
        count, width = self.shape
        return width * (count if self.layers == "all" else 1) * (2 if self.pooling == "mean+std" else 1)

    @cached_property
    def fingerprint(self) -> dict[str, str | int | float]:
        """What made the vectors; the weights by their checksum, wherever they are.

        With ``revision`` the fingerprint holds its commit as well, so that a branch that moved on, with
        another feature extractor for instance, counts as another encoder.
        """
        commit = downloads.commit(self.folder) if self.revision else ""
        layer = "all" if self.layers == "all" else self.layer % self.shape[0]
        return {
            "name": self.kind, "weights": ",".join(io.checksum(path) for path in _pretrained.weight_files(self.folder)),
            "config": io.checksum(self.folder / "config.json"), "layer": layer, "pooling": self.pooling,
            "precision": self.precision, "chunk": self.chunk, **({"revision": commit} if commit else {}),
            **({"tuned": io.checksum(Path(self.tuned))} if self.tuned else {}),
        }  # fmt: skip

    @cached_property
    def where(self) -> Any:
        """The torch device it computes on. Raises BadRecipe when ``device`` is not there."""
        return devices.choose(self.device)

    @cached_property
    def _loaded(self) -> Network:
        _ = self.shape  # refuses a model of another kind before its weights are read
        network = self.network(self.folder)
        if self.tuned:
            _speech_training().restore(network, self.tuned)
        network.to(self.where)
        return network

    @cached_property
    def _size(self) -> _batches.BatchSize:
        return _batches.BatchSize(self.where, _FRAMES, _FRAMES)

    def encode(self, values: Sequence[Any]) -> Any:
        """Vectors (n, d) float32, or with pooling "frames" a list of (t_i, d), of paths or ``(samples, rate)``.

        Raises BadData for recordings that cannot be read.
        """
        if not len(values):
            return [] if self.frames else np.zeros((0, self.dim), np.float32)
        _ = self._loaded  # before several threads ask for it
        chunks, owner = [], []
        for item, parts in enumerate(_batches.side_by_side(self.prepare, values)):
            chunks += parts
            owner += [item] * len(parts)
        found = dict(self._pieces(chunks))
        grouped: list[list[np.ndarray]] = [[] for _ in values]
        for at, item in enumerate(owner):
            grouped[item].append(found[at])
        if self.frames:
            return [np.concatenate(parts) for parts in grouped]
        return np.stack([self._pool(parts) for parts in grouped])

    @property
    def trains(self) -> bool:
        """Whether a recording is one vector."""
        return not self.frames

    def load(self) -> Any:
        """A new copy of the network, on the processor."""
        _ = self.shape
        return _speech_training().Modules(self.network(self.folder))

    def prepare(self, value: Any) -> list[np.ndarray]:
        """A recording's chunks of samples (n_i,). Raises BadData for one that cannot be read."""
        samples = self._loaded.prepare(files.read(value, files.RATE))
        longest = min(self._loaded.longest, round(self.chunk * files.RATE))
        return np.array_split(samples, -(-len(samples) // longest))

    def collate(self, network: Any, prepared: Sequence[Any]) -> Any:
        """All chunks of some recordings, and the number of each one's."""
        return [chunk for parts in prepared for chunk in parts], [len(parts) for parts in prepared]

    def features(self, network: Any, x: Any) -> Any:
        """Collated recordings to vectors (b, dim)."""
        return _speech_training().vectors(self, network, *x)

    def _pieces(self, chunks: list[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Of each chunk its frames (t, d), or where they are pooled, their number, sum and sum of squares (3, d)."""
        import torch

        lengths = np.array([self._loaded.frames(len(chunk)) for chunk in chunks])

        def forward(some: list[np.ndarray]) -> list[np.ndarray]:
            autocast = torch.autocast(self.where.type, torch.bfloat16, enabled=self.precision == "bf16")
            with torch.inference_mode(), autocast:
                states = self._loaded.states(some)
                chosen = [state.float().cpu() for state in (states if self.layers == "all" else [states[self.layer]])]
                found = []
                for at, chunk in enumerate(some):
                    x = torch.cat([state[at, : self._loaded.frames(len(chunk))] for state in chosen], -1)
                    if not self.frames:
                        wide = x.double()
                        x = torch.stack([torch.full_like(wide[0], len(wide)), wide.sum(0), wide.square().sum(0)])
                    found.append(x.numpy())
                return found

        rows = ragged.alike(lengths, self._size.now)
        units = lambda some: int(lengths[some].max()) * len(some)  # noqa: E731
        read = lambda some: [chunks[row] for row in some]  # noqa: E731
        for some, found in _batches.compute(rows, read, forward, self._size, self.where, units):
            yield from zip(some, found, strict=True)

    def _pool(self, parts: list[np.ndarray]) -> np.ndarray:
        """Mean, and deviation, over all frames of a recording; with several layers, layer by layer."""
        n, first, second = np.sum(parts, 0)
        mean = first / n
        if self.pooling == "mean":
            return mean.astype(np.float32)
        deviation = np.sqrt(np.maximum(second / n - mean**2, 0.0))
        count = self.shape[0] if self.layers == "all" else 1
        both = [part.reshape(count, -1) for part in (mean, deviation)]
        return np.concatenate(both, 1).ravel().astype(np.float32)


class Waveform:
    """wav2vec 2.0 and models of its kind: convolutions over samples, then a transformer over their frames.

    The convolutions see one chunk at a time, since those of the base models normalise over time and
    so would hear the padding; the transformer takes a padded batch, whose padding it masks.

    final_norm: the last state is the model's output, after its final layer normalisation: large models have one, which
    is not in the list of states of transformers 5.
    """

    longest = 60 * files.RATE

    def __init__(self, architecture: str, folder: Path, final_norm: bool = False) -> None:
        import torch

        self.final_norm = final_norm

        self.model = load(architecture, folder)
        self.convolutions, self.model.feature_extractor = self.model.feature_extractor, torch.nn.Identity()
        about = folder / "preprocessor_config.json"
        # Without the file, the default of the class.
        self.normalise = (
            bool(json.loads(about.read_text("utf-8")).get("do_normalize", True)) if about.is_file() else True
        )
        self.device = torch.device("cpu")
        kernels, strides = self.model.config.conv_kernel, self.model.config.conv_stride
        self.least = 1  # samples of one frame
        for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
            self.least = (self.least - 1) * stride + kernel

    def to(self, device: Any) -> None:
        """Move the network to a torch device."""
        self.device = device
        self.model.to(device)
        self.convolutions.to(device)

    def modules(self) -> Mapping[str, Any]:
        """The convolutions, and what follows them."""
        return {"convolutions": self.convolutions, "model": self.model}

    def prepare(self, samples: np.ndarray) -> np.ndarray:
        """Zero mean and unit variance over the recording, where the model was trained so; at least one frame long."""
        if self.normalise:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        return np.pad(samples, (0, max(0, self.least - len(samples)))).astype(np.float32)

    def frames(self, n: int) -> int:
        """How many frames n samples give."""
        for kernel, stride in zip(self.model.config.conv_kernel, self.model.config.conv_stride, strict=True):
            n = (n - kernel) // stride + 1
        return n

    def states(self, chunks: Sequence[np.ndarray]) -> Sequence[Any]:
        """Hidden states (b, t, d) of every layer."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        features = [self.convolutions(torch.from_numpy(chunk)[None].to(self.device))[0].float().T for chunk in chunks]
        real = torch.zeros(len(chunks), max(map(len, chunks)), dtype=torch.long, device=self.device)
        for row, chunk in enumerate(chunks):
            real[row, : len(chunk)] = 1
        padded = pad_sequence(features, batch_first=True).transpose(1, 2)
        with warnings.catch_warnings():  # WavLM's own code mixes two types of mask
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            found = self.model(padded, attention_mask=real, output_hidden_states=True)
        return (*found.hidden_states[:-1], found.last_hidden_state) if self.final_norm else found.hidden_states


def _speech_training() -> Any:
    """What needs torch when it is imported."""
    from sensorium.encoders import _speech_training

    return _speech_training


def load(architecture: str, folder: Path) -> Any:
    """A transformers model for evaluation. Raises MissingExtra, or Corrupt when weights are missing."""
    return _pretrained.load(architecture, folder, "speech", ("masked_spec_embed",))
