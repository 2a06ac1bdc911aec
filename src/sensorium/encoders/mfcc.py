"""MFCC, log-mel, pitch and energy frames of sound: causal, so that streamed frames equal those of the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.contracts import FrameEncoder
from sensorium.errors import BadRecipe
from sensorium.modalities.audio import files
from sensorium.modalities.audio.causal import PRIOR, Causal, State, columns
from sensorium.modalities.audio.framing import Geometry, frames
from sensorium.numerics import threads
from sensorium.numerics.threads import keep_freed_memory

if TYPE_CHECKING:
    from torch import Tensor

_PASS = 400_000  # samples of padded frames that are transformed in one go: few enough to stay in the cache
_LOGS = 2048  # frames whose logarithms are taken in one go
_TOGETHER = 32  # recordings that a thread takes at a time
_SAMPLES = 1 << 20  # of recordings that are framed in one go
_WORDS = {"cmvn": ("none", "running", "utterance"), "silence": ("keep", "mark", "drop")}
_QUIET = 1000  # dB; no sound has as many
_LONGEST = 10_000  # milliseconds of a frame
_POINTS = 1 << 17  # of a transform


class Mfcc(FrameEncoder):
    """Frames of 25 ms every 10 ms, (t, d) a recording, for streamable heads.

    n_mfcc: cepstral coefficients of the mel spectrum in dB, as ``librosa.feature.mfcc(center=False)``
    gives them without its per-clip ``top_db``, which cannot stream; 0 for none.
    n_mels: number of mel filters. fft: points of the transform. fmin, fmax: range of the filters in Hz; fmax=0
    is half the rate.
    frame, hop: length of a frame, and from one to the next, in milliseconds. rate: Hz, to which every
    recording is resampled.
    mels: append the mel spectrum in dB (n_mels). energy: append the frame level in dBFS (1). pitch: append pitch
    and voicing (2). shape: append spectral centroid, tilt and flatness (3).
    deltas: 1 appends causal slopes of all of these, 2 slopes of slopes too.
    silence: "keep" every frame, "drop" those that are not voice, or "mark" voice in a last column.
    silence_db: voice is within so many dB of the loudest frame so far. silence_floor: voice is above so many dBFS.
    silence_release: dB a second by which the loudest fades.
    cmvn: "none" (training statistics in the head do it), "running", or "utterance", which cannot stream.
    """

    takes = "audio"
    frames = True

    def __init__(
        self,
        n_mfcc: int = 13,
        n_mels: int = 40,
        fft: int = 512,
        frame: float = 25.0,
        hop: float = 10.0,
        rate: int = files.RATE,
        fmin: float = 0.0,
        fmax: float = 0.0,
        mels: bool = False,
        energy: bool = False,
        pitch: bool = False,
        shape: bool = False,
        deltas: int = 0,
        silence: str = "keep",
        silence_db: float = 35.0,
        silence_floor: float = -60.0,
        silence_release: float = 0.0,
        cmvn: str = "none",
    ) -> None:
        self.arguments = {key: value for key, value in locals().items() if key != "self"}
        for key, words in _WORDS.items():
            if self.arguments[key] not in words:
                raise BadRecipe(f"mfcc.{key}='{self.arguments[key]}'; expected one of {', '.join(words)}")
        if not (0 <= silence_db <= _QUIET and -_QUIET <= silence_floor <= _QUIET and 0 <= silence_release <= _QUIET):
            raise BadRecipe(
                f"mfcc: silence_db={silence_db}, silence_floor={silence_floor}, silence_release={silence_release}; "
                f"expected 0 to {_QUIET}, {-_QUIET} to {_QUIET} and 0 to {_QUIET} dB"
            )
        if deltas not in (0, 1, 2):
            raise BadRecipe(f"mfcc.deltas={deltas}; expected 0, 1 or 2")
        if not 2_000 <= rate <= 1_000_000:
            raise BadRecipe(f"mfcc.rate={rate}; expected 2000 to 1000000 Hz")
        if not (0 < frame <= _LONGEST and 0 < hop <= _LONGEST and fft <= _POINTS and n_mels <= _POINTS):
            raise BadRecipe(
                f"mfcc: frame={frame}, hop={hop}, fft={fft}, n_mels={n_mels}; expected frames and hops above 0 and "
                f"up to {_LONGEST} ms, and at most {_POINTS} points and filters"
            )
        self.size, self.hop, self.span = Geometry.of(self.arguments)  # samples
        if not self.hop > 0 or not 1 < self.size <= fft:
            raise BadRecipe(
                f"mfcc: frames of {self.size} samples every {self.hop}; expected 2 to fft={fft}, and a hop above 0"
            )
        if not 0 <= n_mfcc <= n_mels or not 0 <= fmin < (fmax or rate / 2) <= rate / 2:
            raise BadRecipe(
                f"mfcc: n_mfcc={n_mfcc} of n_mels={n_mels}, {fmin} to {fmax or rate / 2} Hz; "
                "expected n_mfcc up to n_mels, and fmin below fmax up to half the rate"
            )
        self.block = max(1, _PASS // fft)  # frames a pass
        self.base = columns(self.arguments)
        if not self.base:
            raise BadRecipe("mfcc: frames without any feature; set n_mfcc, mels, energy, pitch or shape")
        self.rate = rate
        self.causal = Causal.of(self.arguments, self.hop / rate)

    @property
    def sample_rate(self) -> int:
        """Hz to which recordings are resampled."""
        return self.rate

    @property
    def taken_from(self) -> str:
        """What a vector is."""
        return f"a frame of {self.arguments['frame']:g} ms every {self.arguments['hop']:g} ms, without a network"

    @property
    def dim(self) -> int:
        """Width d of a frame."""
        return self.causal.dim

    @property
    def fingerprint(self) -> dict[str, str | int | float | bool]:
        """What makes these frames differ from others."""
        return {"name": "mfcc", "revision": "1", **self.arguments}

    def encode(self, values: Sequence[Any]) -> list[np.ndarray]:
        """Frames (t_i, d) float32 of each recording: a path, or ``(samples, rate)``. t_i is at least 1."""
        import torch

        keep_freed_memory()
        size = max(1, min(_TOGETHER, -(-len(values) // threads.count(torch))))
        shares = [values[i : i + size] for i in range(0, len(values), size)]
        if len(shares) == 1:
            return self._together(values)
        # Threads that each take whole recordings share the work better than torch's own within each small step.
        return [x for found in threads.each(self._together, shares, torch) for x in found]

    def _together(self, values: Sequence[Any]) -> list[np.ndarray]:
        """The frames of some recordings; no more of them are in memory than make a few passes."""
        found: list[np.ndarray] = []
        for group in _groups((files.read(value, rate=self.rate) for value in values), _SAMPLES):
            found += self._recordings(group)
        return [self._normalised(x) for x in found]

    def _recordings(self, group: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Frames (k_i, d) of whole recordings (n_i,) at ``rate``; one shorter than a frame is padded to one."""
        silence = np.zeros(self.span - self.size, np.float32)  # before the beginning
        framed = [frames(np.concatenate([silence, x]) if len(silence) else x, self.span, self.hop) for x in group]
        levels = self.arguments["silence"] != "keep"
        base, level = self._spectra(framed, sum(map(len, framed)), levels)
        found, at = [], 0
        for part in framed:
            rows = slice(at, at := at + len(part))
            made = self.causal.step(base[None, rows], level[None, rows] if levels else None, self.causal.start(1))
            found.append(made.x[0][made.counted[0]] if self.arguments["silence"] == "drop" else made.x[0])
        return found

    def start(self, b: int = 1) -> State:
        """The state of b new streams, for :meth:`step`: frames so far, peaks, past frames, sums.

        Raises BadRecipe where the normalisation needs the whole utterance.
        """
        if self.arguments["cmvn"] == "utterance":
            raise BadRecipe("mfcc.cmvn='utterance' needs the whole utterance; to stream, set cmvn to none or running")
        return self.causal.start(b)

    def step(self, samples: np.ndarray, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray, State]:
        """t more frames of b streams at once, each what :meth:`encode` gives of it.

        samples (b, span + (t - 1)·hop): those that the frames cover; a stream begins with
        ``span - size`` zeros. Returns frames x (b, t, d), which of them count (b, t) bool (the others
        are dropped silence), which are voice (b, t) bool, and the state.
        """
        b = len(samples)
        view = np.lib.stride_tricks.sliding_window_view(samples, self.span, 1)[:, :: self.hop]
        t = view.shape[1]
        rows = max(1, self.block // t)
        parts = (view[at : at + rows].reshape(-1, self.span) for at in range(0, b, rows))
        base, level = self._spectra(parts, b * t, True)
        made = self.causal.step(base.reshape(b, t, -1), level.reshape(b, t), state)
        return made.x, made.counted, made.voice, made.state

    def _spectra(self, framed: Iterable[np.ndarray], t: int, levels: bool) -> tuple[np.ndarray, np.ndarray]:
        """What each frame gives by itself: (t, base) and its level in dBFS, (t,), or 0 where ``levels`` is false.

        framed: arrays of frames (t_i, span) in order, t in all.
        """
        import torch

        from sensorium.modalities.audio import spectra

        options = self.arguments
        base, level = np.empty((t, self.base), np.float32), np.zeros(t, np.float32)
        levels = levels or options["energy"]
        n, mels = options["n_mfcc"], options["n_mels"] * options["mels"]
        power = torch.empty(options["n_mels"] if n or mels else 0, t)
        at = 0
        with torch.inference_mode():
            for block in _blocks(framed, self.block):
                rows = slice(at, at := at + sum(map(len, block)))
                self._block(block, power[:, rows], level[rows] if levels else None, base[rows, n + mels :])
            for at in range(0, t if len(power) else 0, _LOGS):
                rows = slice(at, at + _LOGS)
                # Decibels in float64, as float32 sums of 40 terms of -100 dB depend on the block by up to 5e-5;
                # the powers before them are all positive, and their sums do not.
                loud = spectra.decibels(power[:, rows], torch.float64)
                base[rows, n : n + mels] = loud[:mels].T.numpy()
                if n:
                    base[rows, :n] = spectra.cepstrum(loud, n).T.numpy()
        return base, level

    def _block(self, framed: list[np.ndarray], mel: Tensor, level: np.ndarray | None, rest: np.ndarray) -> None:
        """Write mel spectra (n_mels, t), levels (t,) and all columns behind the mel's, of arrays of frames."""
        import torch

        from sensorium.modalities.audio import spectra

        options = self.arguments
        long = [torch.from_numpy(x if x.flags.writeable else x.copy()) for x in framed]
        short = [x[:, self.span - self.size :] for x in long] if self.span > self.size else long
        power = spectra.power(short, options["fft"])
        if len(mel):
            spectra.mel_spectrum(
                power, options["fft"], self.rate, options["fmin"], options["fmax"] or self.rate / 2, mel
            )
        if level is not None:
            level[:] = spectra.decibels(torch.cat([x.square().mean(1) for x in short])).numpy()
        at = 0
        if options["energy"]:
            rest[:, 0], at = level, 1
        if options["pitch"]:
            rest[:, at : at + 2], at = spectra.pitch(torch.cat(long), self.rate).numpy(), at + 2
        if options["shape"]:
            rest[:, at:] = spectra.shape(power, options["fft"], self.rate).numpy()

    def _normalised(self, x: np.ndarray) -> np.ndarray:
        if self.arguments["cmvn"] != "utterance":
            return x
        wide = x.astype(np.float64)
        return ((wide - wide.mean(0)) / np.sqrt(wide.var(0) + PRIOR)).astype(np.float32)


def _groups(recordings: Iterable[np.ndarray], samples: int) -> Iterator[list[np.ndarray]]:
    """Recordings in order, in lists of at most so many samples together, or of one recording."""
    group: list[np.ndarray] = []
    for recording in recordings:
        if group and sum(map(len, group)) + len(recording) > samples:
            yield group
            group = []
        group.append(recording)
    if group:
        yield group


def _blocks(framed: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Arrays of frames (t_i, span) cut and gathered into lists of ``size`` frames, the last of fewer."""
    block, room = [], size
    for part in framed:
        while len(part):
            block.append(part[:room])
            part = part[room:]
            room -= len(block[-1])
            if not room:
                yield block
                block, room = [], size
    if block:
        yield block
