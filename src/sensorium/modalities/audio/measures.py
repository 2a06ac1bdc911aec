"""What can be measured of a recording beforehand: duration, loudness, peak, clipping, noise, silence at the ends."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.modalities.audio import files, loudness
from sensorium.modalities.audio.samples import to_float
from sensorium.modalities.audio.steadiness import LONGEST, steadiness

VERSION = 1  # to be raised when a measure changes, so that what was kept is measured anew
#: Column → what it is.
COLUMNS = {
    "duration": "length in seconds",
    "loudness": "integrated loudness in LUFS (ITU-R BS.1770-4); missing for silence",
    "rms": "median over the active frames of 20 ms of the root mean square, full scale being 1",
    "peak": "largest sample, full scale being 1",
    "clipping": "share of the samples that are at full scale",
    "snr": "estimated signal-to-noise ratio in dB; missing for silence",
    "silence_start": "seconds before the first active frame",
    "silence_end": "seconds after the last active frame",
    "steadiness": "1 where both halves are alike in level, pitch and timbre, towards 0 where they change",
    "sample_rate": "samples a second, of the file",
}
_FULL = 0.9999  # of full scale: the largest positive sample of 16 bits is 0.99997
_HOP = 100  # hops a second, of energies; a frame is two hops
_BLOCK = 3000  # hops that are converted to floats at once: long recordings need little memory beside their own
_DIGITAL = -90.0  # dBFS: below it a frame is digital silence, which says nothing of the noise
_RANGE, _ABOVE, _CONTRAST = 30.0, 6.0, 12.0  # dB; see active()
_SIGNAL = 3.0  # dB above the noise: what holds as much signal as noise
_LOUD, _QUIET = 95, 5  # percentiles of the levels of frames
_RUN = 3  # active frames in a row that end a silence, so that a click does not
_SNR = (-10.0, 80.0)  # dB; beyond it the estimate says nothing


def measure(samples: np.ndarray, rate: int) -> dict[str, float]:
    """The measures of ``COLUMNS`` of samples (n,) or (n, channels), n of 1 or more. Raises BadData for NaN.

    The noise of ``snr`` is the level of the quietest 5% of the frames that are not digital silence; the signal is the
    mean energy of the active frames that are 3 dB above that noise, less the noise. A recording without any pause has
    no quiet frame: its value is too low, by as much as its quietest speech is above the noise. Steady tones and music
    are no speech, and get low values too.
    """
    samples = samples[:, None] if samples.ndim == 1 else samples
    if not len(samples):
        raise BadData("a recording of 0 samples; expected one sample at least")
    edges = _edges(len(samples), rate)
    sums, squares, weighted, peak, clipped = _energies(samples, rate, edges)
    counts = np.diff(edges).astype(np.float64)
    energy = np.maximum(squares - sums.sum() / len(samples) * (2 * sums - sums.sum() / len(samples) * counts), 0.0)
    frames, covered = (energy, counts) if len(energy) == 1 else (energy[:-1] + energy[1:], counts[:-1] + counts[1:])
    power = frames / covered
    level = 10 * np.log10(np.maximum(power, 1e-12))
    on, noise = active(level)
    duration = len(samples) / rate
    start, end = _silences(on, edges / rate, duration)
    return {
        "duration": duration,
        "loudness": _loudness(weighted, counts),
        "rms": float(np.median(np.sqrt(power[on]))) if on.any() else 0.0,
        "peak": peak,
        "clipping": clipped / samples.size,
        "snr": _snr(power[on & (level > noise + _SIGNAL)], noise),
        "silence_start": start,
        "silence_end": end,
        "steadiness": steadiness(_mono(samples[: int(LONGEST * rate)]), rate, on),
        "sample_rate": float(rate),
    }


def _mono(samples: np.ndarray) -> np.ndarray:
    """Samples (n, channels) as float32 (n,): the mean of the channels."""
    x = to_float(samples)
    return x[:, 0] if x.shape[1] == 1 else x.mean(axis=1)


def measure_file(source: Any, longest: float = files.MAX_SECONDS) -> dict[str, float]:
    """The measures of a file, or of (samples, rate). Raises BadData as ``files.read_channels`` does.

    longest: seconds; a longer recording is refused before it fills the memory.
    """
    if isinstance(source, tuple):
        return measure(np.asarray(source[0]), int(source[1]))
    return measure(*files.read_channels(source, longest))


def speech_rate(transcript: str | None, duration: float, start: float, end: float) -> float:
    """Characters of a transcript, with single blanks, a second between the silences at the ends; NaN without one."""
    spoken = duration - start - end
    text = " ".join((transcript or "").split())
    return len(text) / spoken if text and spoken > 0 else math.nan


def active(level: np.ndarray) -> tuple[np.ndarray, float]:
    """Which frames (t,) are active, by their levels in dBFS, and the level of the noise; NaN of digital silence.

    Active is what lies within 30 dB of the loudest twentieth, and 6 dB above the noise where loud and quiet frames
    are 12 dB apart.
    """
    sound = level[level > _DIGITAL]
    if not len(sound):
        return np.zeros(len(level), bool), math.nan
    loud, quiet = (float(v) for v in np.percentile(sound, (_LOUD, _QUIET)))
    least = loud - _RANGE
    if loud - quiet >= _CONTRAST:
        least = max(least, quiet + _ABOVE)
    return (level > least) & (level > _DIGITAL), quiet


def _edges(n: int, rate: int) -> np.ndarray:
    """Where hops of 10 ms begin and end, (t + 1,); what is left at the end belongs to the last."""
    count = max(1, n * _HOP // rate)
    edges = np.round(np.arange(count + 1) * (rate / _HOP)).astype(np.int64)
    edges[-1] = n
    return edges


def _energies(samples: np.ndarray, rate: int, edges: np.ndarray) -> tuple[Any, ...]:
    """Of each hop (t,): sum and squares of the mean of the channels, K-weighted energy; then peak and clipped."""
    from scipy.signal import sosfilt

    sections, weights = loudness.k_weighting(rate), loudness.weights(samples.shape[1])
    state = np.zeros((len(sections), 2, samples.shape[1]))
    found: list[tuple[np.ndarray, ...]] = []
    peak, clipped = 0.0, 0
    for at in range(0, len(edges) - 1, _BLOCK):
        some = edges[at : at + _BLOCK + 1]
        x = to_float(samples[some[0] : some[-1]])
        largest = max(float(x.max()), -float(x.min()))
        if largest >= _FULL:
            clipped += int(np.count_nonzero(np.abs(x) >= _FULL))
        peak = max(peak, largest)
        filtered, state = sosfilt(sections, x, axis=0, zi=state)
        mono = (x[:, 0] if x.shape[1] == 1 else x.mean(axis=1)).astype(np.float64)
        starts = some[:-1] - some[0]
        found.append(tuple(np.add.reduceat(column, starts) for column in (mono, mono * mono, filtered**2 @ weights)))
    return *(np.concatenate(columns) for columns in zip(*found, strict=True)), peak, clipped


def _loudness(weighted: np.ndarray, counts: np.ndarray) -> float:
    """Integrated loudness of hops of 10 ms, in segments of ten; a rest below a segment is left out."""
    tenths = len(weighted) // 10
    if not tenths:
        return loudness.integrated(weighted.sum(keepdims=True), counts.sum(keepdims=True))
    grouped = (column[: 10 * tenths].reshape(tenths, 10).sum(axis=1) for column in (weighted, counts))
    return loudness.integrated(*grouped)


def _snr(power: np.ndarray, noise: float) -> float:
    if math.isnan(noise):
        return math.nan
    if not len(power):
        return _SNR[0]
    floor = 10 ** (noise / 10)
    return float(np.clip(10 * math.log10(max(float(power.mean()) - floor, 1e-30) / floor), *_SNR))


def _silences(on: np.ndarray, seconds: np.ndarray, duration: float) -> tuple[float, float]:
    """Seconds before the first and after the last active frame of a run; all of it where there is none."""
    if not on.any():
        return duration, duration
    runs = np.convolve(on, np.ones(_RUN), "valid") == _RUN if len(on) >= _RUN else np.zeros(0, bool)
    first, last = (runs.argmax(), len(on) - 1 - runs[::-1].argmax()) if runs.any() else (
        on.argmax(), len(on) - 1 - on[::-1].argmax())  # fmt: skip
    end = seconds[min(int(last) + 2, len(seconds) - 1)]
    return float(seconds[int(first)]), max(0.0, float(duration - end))
