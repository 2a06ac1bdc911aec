"""Inference in NumPy alone, without torch, for small devices: any saved head, and live sound to a speech run's head."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.modalities.audio import mel, pitch
from sensorium.modalities.audio.causal import Causal
from sensorium.modalities.audio.framing import Framer, Geometry
from sensorium.numerics import unit
from sensorium.numerics.signed_power import signed_power
from sensorium.stream._lite_heads import HEADS
from sensorium.stream._lite_vectors import SET_HEADS, VECTOR_HEADS, adapted, item_tower


class Head:
    """A saved head of any kind as a function of NumPy arrays: vectors (n, d_in), or frames (t, d_in) of one item.

    >>> head = Head("runs/mine/right")                         # doctest: +SKIP
    >>> z = head(vectors)                                      # doctest: +SKIP  (n, d) for vectors (n, d_in)
    >>> z = head.sequence(frames)                              # doctest: +SKIP  (d,) for the frames of one item

    path: of a run's side, or of a head's .safetensors file, which alone is enough. encoder: the fingerprint of what
    made the vectors. The outputs equal those of the torch head to 1e-5.
    Raises BadRecipe for a head from outside of sensorium, Corrupt when the files are damaged.
    """

    def __init__(self, path: Path | str) -> None:
        self._hold(path, *_read(Path(path)))

    def _hold(self, path: Path | str, name: str, weights: Mapping[str, np.ndarray], arguments: Mapping[str, Any],
              dim_in: int, dim: int, encoder: Mapping[str, Any]) -> None:  # fmt: skip
        self.name = name
        self.weights, self.arguments = item_tower(weights, arguments) if name in SET_HEADS else (weights, arguments)
        self.dim_in, self.dim, self.encoder = dim_in, dim, encoder
        self.members = [self._member(path, k, spec) for k, spec in enumerate(_members(name, arguments))]
        #: Name of the part that computes: that of the members of an ensemble, of vectors in a mixture.
        self.part = self.members[0].part if self.members else "mlp" if name in SET_HEADS else name
        if self.part not in HEADS and self.part not in VECTOR_HEADS:
            known = ", ".join([*VECTOR_HEADS, *HEADS])
            raise BadRecipe(f"{path}: head '{name}'; without torch only {known}, ensembles and mixtures of them run")

    def _member(self, path: Path | str, k: int, spec: Mapping[str, Any]) -> Head:
        adapted = self.name == "adapted"
        prefix, arguments = "head." if adapted else f"members.{k}.", dict(spec)
        weights = {key.removeprefix(prefix): w for key, w in self.weights.items() if key.startswith(prefix)}
        dim_in = len(self.weights["adapter.bias"]) if adapted else self.dim_in
        member = object.__new__(Head)
        member._hold(path, arguments.pop("name"), weights, arguments, dim_in, self.dim, self.encoder)
        return member

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (n, d_in) to (n, d) float32. Raises BadRecipe for a head of frames, BadData for another width."""
        if self.part not in VECTOR_HEADS:
            raise BadRecipe(f"the {self.part} head takes the frames of an item; call head.sequence(frames)")
        x = self._checked(vectors)
        if self.name == "adapted":
            return self.members[0](adapted(x, self.weights, self.arguments))
        if self.members:
            return self._combined([member(self._powered(x)) for member in self.members])
        return self._end(VECTOR_HEADS[self.part](self._prepared(x), self.weights, self.arguments))

    def sequence(self, frames: np.ndarray) -> np.ndarray:
        """The frames (t, d_in) of one item to (d,) float32. Raises BadRecipe for a head of vectors alone."""
        x = self._checked(frames)
        if self.name == "adapted":
            raise BadRecipe(f"the {self.name} head takes vectors; call head(vectors)")
        if not len(x):
            raise BadData("an item without frames; expected (t, d) with t of 1 or more")
        if self.members:
            return self._combined([member.sequence(frames) for member in self.members])
        if self.name in HEADS:
            stream = HEADS[self.name](self.weights, self.arguments, self.dim_in)
            return self._end(stream(self._prepared(x)))[-1]
        if self.name != "layers":
            raise BadRecipe(f"the {self.name} head takes vectors; call head(vectors)")
        return self._end(_layers_of_frames(self._prepared(x), self.weights, self.arguments))[0]

    def stream(self) -> Callable[[np.ndarray], np.ndarray]:
        """A new stream: a function of the next frames (t, d_in) to the outputs after each of them (t, d)."""
        if self.part not in HEADS:
            raise BadRecipe(f"the {self.part} head does not stream; choose one of {', '.join(HEADS)}")
        if self.members:
            streams = [member.stream() for member in self.members]
            return lambda frames: self._combined([one(frames) for one in streams])
        step = HEADS[self.name](self.weights, self.arguments, self.dim_in)
        return lambda frames: self._end(step(self._prepared(self._checked(frames))))

    def _checked(self, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self.dim_in:
            raise BadData(f"vectors of shape {x.shape}; the head takes (n, {self.dim_in})")
        return x

    def _prepared(self, x: np.ndarray) -> np.ndarray:
        if "preprocess.mean" in self.weights:
            x = x - self.weights["preprocess.mean"]
        if "preprocess.scale" in self.weights:
            x = x * self.weights["preprocess.scale"]
        if "preprocess.matrix" in self.weights:
            x = x @ self.weights["preprocess.matrix"]
        if self.arguments.get("preprocess") == "unit":
            x = unit(x)
        return x.astype(np.float32, copy=False)

    def _combined(self, outputs: list[np.ndarray]) -> np.ndarray:
        """As :class:`sensorium.heads.ensemble.Ensemble`, and :class:`sensorium.heads.mixture.Mixture`."""
        if self.name == "mixture":
            share = np.array(self.arguments["weights"]) / sum(self.arguments["weights"])
            return np.concatenate([w**0.5 * z for w, z in zip(share, outputs, strict=True)], -1).astype(np.float32)
        if self.arguments["combine"] == "mean":
            return np.mean(outputs, 0, dtype=np.float32)
        return np.concatenate(outputs, -1) * np.float32(len(outputs) ** -0.5)

    def _powered(self, x: np.ndarray) -> np.ndarray:
        """The input of the members: of a mixture, its signed power."""
        power = self.arguments.get("power", 1.0) if self.name == "mixture" else 1.0
        return signed_power(x, power)

    def _end(self, z: np.ndarray) -> np.ndarray:
        z = z.astype(np.float32, copy=False)
        return unit(z) if self.arguments.get("normalize") else z


def _members(name: str, arguments: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Name and arguments of each member of an ensemble or a mixture, or of the head behind an adapter; else none."""
    if name == "mixture":
        return list(arguments["members"])
    if name == "adapted":
        return [arguments["head"]]
    return [arguments["head"]] * arguments["members"] if name == "ensemble" else []


def _layers_of_frames(x: np.ndarray, weights: Any, arguments: Any) -> np.ndarray:
    return VECTOR_HEADS["layers"](x.mean(0, keepdims=True), weights, arguments)


def _read(path: Path) -> tuple[str, Mapping[str, np.ndarray], Mapping[str, Any], int, int, Mapping[str, Any]]:
    """Name, weights, arguments, widths and encoder of a saved head. Raises BadRecipe where there is none, Corrupt."""
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load

    path = path.expanduser()
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    weights, beside = (stem.with_name(stem.name + ending) for ending in (".safetensors", ".json"))
    if not weights.is_file():
        raise BadRecipe(f"no head {weights}; expected a run's side such as runs/mine/left")
    try:
        if beside.is_file():
            saved = io.read_json(beside)
            io.verify(weights, saved["checksum"], "fit the head again, or restore both of its files")
        else:
            with safe_open(weights, "np") as file:
                saved = json.loads((file.metadata() or {})["sensorium"])
        known = (saved["name"], load(weights.read_bytes()), saved["arguments"], saved["dim_in"], saved["dim"])
        return (*known, saved["encoder"])
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        raise Corrupt(f"{stem} holds no head ({error}); fit it again, or restore both of its files") from None


class Lite:
    """One stream through a saved head and the encoder it was fitted on.

    >>> lite = Lite("runs/ravdess/left")                       # doctest: +SKIP
    >>> for chunk in chunks:                                   # doctest: +SKIP
    ...     logits = lite.push(chunk)                          # (k, c), one row per new frame

    The outputs equal those of the torch parts to 1e-5. Raises BadRecipe for heads or encoders other
    than lstm, gru, statistics, tcn and mfcc; Corrupt when the files are damaged.
    """

    def __init__(self, stem: Path | str) -> None:
        head = Head(stem)
        if head.part not in HEADS or head.encoder.get("name") != "mfcc":
            raise BadRecipe(f"{stem}: head '{head.part}' on '{head.encoder.get('name')}'; without torch only "
                            f"{', '.join(HEADS)} on mfcc run")  # fmt: skip
        self.features, self.head = Features(head.encoder), head.stream()

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """Logits (k, c) after each frame that these samples (n,) complete; ``last`` ends the stream."""
        return self.head(self.features.push(samples, last))


class Features:
    """Causal frames of one stream, as the ``mfcc`` encoder of this fingerprint makes them."""

    def __init__(self, wants: Mapping[str, Any]) -> None:
        self.wants, self.rate = wants, int(wants["rate"])
        self.size, hop, self.span = Geometry.of(wants)
        self.framer = Framer(self.span, hop, self.span - self.size)
        self.causal = Causal.of(wants, hop / self.rate)
        self.state = self.causal.start(1)
        top = wants["fmax"] or self.rate / 2
        self.filters = mel.filters(wants["n_mels"], wants["fft"], self.rate, wants["fmin"], top)
        self.dct = mel.dct(wants["n_mels"], wants["n_mfcc"]) if wants["n_mfcc"] else None

    def push(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """New frames (k, d) of samples (n,)."""
        frames = self.framer.push(np.asarray(samples, np.float32))
        if last and not len(frames):
            frames = self.framer.finish()
        if not len(frames):
            return np.zeros((0, self.causal.dim), np.float32)
        base, level = self._spectra(frames)
        x, counted, _, self.state = self.causal.step(base[None], level[None], self.state)
        return x[0][counted[0]]

    def _spectra(self, long: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wants, short = self.wants, long[:, self.span - self.size :]
        level = _decibels((short.astype(np.float64) ** 2).mean(1))
        power = np.abs(np.fft.rfft(short * _hann(self.size), wants["fft"])) ** 2
        parts = []
        if wants["n_mfcc"] or wants["mels"]:
            mels = _decibels(power @ self.filters)
            parts += [mels @ self.dct] if wants["n_mfcc"] else []
            parts += [mels] if wants["mels"] else []
        if wants["energy"]:
            parts.append(level[:, None])
        if wants["pitch"]:
            parts.append(self._pitch(long))
        if wants["shape"]:
            parts.append(self._shape(power))
        return np.concatenate(parts, 1).astype(np.float32), level.astype(np.float32)

    def _pitch(self, frames: np.ndarray) -> np.ndarray:
        """As :func:`sensorium.modalities.audio.spectra.pitch`."""
        size = frames.shape[1]
        window = _hann(size)
        fft = 1 << (2 * size - 1).bit_length()
        first, last = pitch.lags(size, self.rate)

        def correlation(x: np.ndarray) -> np.ndarray:
            return np.fft.irfft(np.abs(np.fft.rfft(x, fft)) ** 2, fft)

        auto = correlation((frames - frames.mean(1, keepdims=True)) * window)
        own = correlation(window[None])
        ratio = (auto[:, first:last] / (auto[:, :1] + pitch.QUIET)) / (own[:, first:last] / own[:, :1])
        ratio = np.clip(ratio, -1.0, 1.0)
        score = pitch.SHARP * (ratio - pitch.SLOPE * np.arange(last - first))
        weight = np.exp(score - score.max(1, keepdims=True, initial=-np.inf))
        weight /= weight.sum(1, keepdims=True)
        log_pitch = weight @ np.log(self.rate / np.arange(first, last) / pitch.REFERENCE)
        return np.stack([log_pitch, np.maximum((weight * ratio).sum(1), 0.0)], 1)

    def _shape(self, power: np.ndarray) -> np.ndarray:
        """As :func:`sensorium.modalities.audio.spectra.shape`."""
        hz = mel.bins(self.wants["fft"], self.rate)
        total, split = power.sum(1) + mel.FLOOR, int(np.searchsorted(hz, 1000.0))
        tilt = np.log((power[:, split:].sum(1) + mel.FLOOR) / (power[:, :split].sum(1) + mel.FLOOR))
        flatness = np.log(power + mel.FLOOR).mean(1) - np.log(total / power.shape[1])
        return np.stack([np.log((power @ hz) / total + 1.0) - 7.0, tilt, flatness], 1)


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10.0 * np.log10(np.maximum(power, mel.FLOOR))


def _hann(size: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(size) / size)
