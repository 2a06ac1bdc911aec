"""Resemblyzer: a voice as 256 numbers by an LSTM trained to verify speakers (Wan et al. 2018, GE2E)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from sensorium import downloads
from sensorium.contracts import Encoder
from sensorium.errors import BadRecipe, Corrupt, require
from sensorium.modalities.audio import files, mel
from sensorium.numerics import device as devices
from sensorium.numerics.unit_length import unit

LICENCE = "Apache 2.0"  # of the weights
WEIGHTS = "the package Resemblyzer"
FILE = "pretrained.pt"
SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
RATE = 16_000
FFT, HOP, BANDS = 400, 160, 40  # samples, samples, mel bands
FRAMES = 160  # frames of a window: 1.6 s
LEAST = 0.75  # share of the last window that must be sound
LOUDNESS = -30.0  # dB of full scale; quieter recordings are raised to it
WIDTH = 256
_TOGETHER = 64  # windows in one pass


class Resemblyzer(Encoder):
    """The voice in a recording: the mean over windows of 1.6 s of an LSTM's last state, unit length.

    rate: windows a second, 0.625 (side by side) to 100. pooling: "mean", or "frames": one vector a window.

    Numbers are those of the package's ``embed_utterance`` after ``normalize_volume``; long silences are not cut, as
    its ``trim_long_silences`` would by ``webrtcvad``. The weights come from the package ``Resemblyzer``, which is not
    imported. A recording's vector does not depend on its companions beyond rounding (1e-6).
    """

    accelerated = True

    takes: ClassVar[str] = "audio"
    dim: ClassVar[int] = WIDTH
    sample_rate: ClassVar[int] = RATE
    taken_from: ClassVar[str] = "last state of the third LSTM layer through a linear one, mean over windows of 1.6 s"
    batch: ClassVar[int] = 64

    def __init__(self, rate: float = 1.3, pooling: str = "mean") -> None:
        if not RATE / (HOP * FRAMES) <= rate <= 100:
            raise BadRecipe(f"resemblyzer: rate={rate!r}; expected 0.625 to 100 windows a second")
        if pooling not in ("mean", "frames"):
            raise BadRecipe(f"resemblyzer: pooling={pooling!r}; expected mean or frames")
        self.rate, self.pooling, self.frames = float(rate), pooling, pooling == "frames"

    @property
    def fingerprint(self) -> dict[str, str | float]:
        """What made the vectors; the checksum names the weights, and is compared on loading."""
        return {"name": "resemblyzer", "weights": SHA256, "rate": self.rate, "pooling": self.pooling}

    def encode(self, values: Sequence[Any]) -> Any:
        """Vectors (n, 256) float32, or with pooling "frames" a list of (t_i, 256), of paths or ``(samples, rate)``.

        Raises BadData for recordings that cannot be read, and whatever loading the weights raises.
        """
        parts = [windows(files.read(value, RATE), self.rate) for value in values]
        if not parts:
            return [] if self.frames else np.zeros((0, WIDTH), np.float32)
        found = self._run(np.concatenate(parts))
        each = np.split(found, np.cumsum([len(part) for part in parts])[:-1])
        return each if self.frames else np.stack([unit(part.mean(0)) for part in each])

    def _run(self, windows: np.ndarray) -> np.ndarray:
        """Windows (n, FRAMES, BANDS) to unit vectors (n, 256)."""
        import torch

        lstm, linear = self._network
        out = np.empty((len(windows), WIDTH), np.float32)
        with torch.inference_mode():
            for at in range(0, len(windows), _TOGETHER):
                x = torch.from_numpy(windows[at : at + _TOGETHER]).to(self._where)
                _, (state, _) = lstm(x)
                out[at : at + _TOGETHER] = torch.relu(linear(state[-1])).cpu().numpy()
        return unit(out)

    @cached_property
    def _where(self) -> Any:
        return devices.choose(self.device)

    @cached_property
    def _network(self) -> tuple[Any, Any]:
        """The LSTM and the layer after it. Raises MissingExtra, BadData without the package, or Corrupt."""
        torch = require("torch", "train")
        path = downloads.packaged(weights()) / FILE
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")["model_state"]
            lstm, linear = torch.nn.LSTM(BANDS, WIDTH, 3, batch_first=True), torch.nn.Linear(WIDTH, WIDTH)
            for layer, name in ((lstm, "lstm."), (linear, "linear.")):
                layer.load_state_dict({k.removeprefix(name): v for k, v in state.items() if k.startswith(name)})
        except (KeyError, RuntimeError, OSError) as error:
            raise Corrupt(f"{path} holds no weights of resemblyzer ({error}); {weights().repair}") from None
        return lstm.to(self._where).eval(), linear.to(self._where).eval()


def weights() -> downloads.Weights:
    """Where the weights are looked for: the package."""
    install = "pip install --no-deps Resemblyzer==0.1.4"
    return downloads.Weights("resemblyzer", "resemblyzer", (FILE,), "audio", f"type: {install}",
                        f"type: {install} --force-reinstall", package="resemblyzer", package_folder="",
                        sha256={FILE: SHA256})  # fmt: skip


def windows(samples: np.ndarray, rate: float) -> np.ndarray:
    """Power in mel bands, (windows, FRAMES, BANDS) float32, of samples (n,) raised to LOUDNESS.

    As ``librosa.feature.melspectrogram``: frames are centred, with zeros beyond the ends.
    """
    import torch

    power = float(np.mean(np.square(samples, dtype=np.float64)))
    gain = LOUDNESS - 10 * np.log10(power) if power > 0 else 0.0
    samples = samples * np.float32(10 ** (max(gain, 0.0) / 20))
    first = starts(len(samples), rate)
    samples = np.pad(samples, (0, max(0, (first[-1] + FRAMES) * HOP - len(samples)))).astype(np.float32)
    window = torch.hann_window(FFT, periodic=True)
    spectrum = torch.stft(torch.from_numpy(samples), FFT, HOP, window=window, center=True, pad_mode="constant",
                          return_complex=True)  # fmt: skip
    filters = torch.from_numpy(mel.filters(BANDS, FFT, RATE, 0.0, RATE / 2)).float()
    bands = (spectrum.abs().square().T @ filters).numpy()
    return np.stack([bands[at : at + FRAMES] for at in first])


def starts(samples: int, rate: float) -> list[int]:
    """First frame of each window of a recording of so many samples; at least one.

    The last is left out where less than LEAST of it is sound.
    """
    step = round(RATE / rate / HOP)
    frames = -(-(samples + 1) // HOP)
    found = list(range(0, max(1, frames - FRAMES + step + 1), step))
    if len(found) > 1 and (samples - found[-1] * HOP) / (FRAMES * HOP) < LEAST:
        found.pop()
    return found
