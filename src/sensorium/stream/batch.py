"""Batched streams: the chunks of many live streams go through one encoder and one head together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch

from sensorium.contracts import Encoder, FrameEncoder, Head, SequenceHead
from sensorium.errors import BadRecipe
from sensorium.modalities.audio import files
from sensorium.stream import speech
from sensorium.stream.tracker import TrackerOptions

STEP = 0.1  # seconds between two readings
_DEEP = 8  # steps of one stream computed at once where many wait, as of a file
_OPTIONS = TrackerOptions()
_FIRST = 64  # slots at first


class Reading(NamedTuple):
    """Output of one stream after one step, from all its frames so far that count.

    begin, end: seconds of sound that this step's frames cover. frames: how many frames there were so
    far. voiced_fraction: share of this step's frames that are voice. values (c,): the head's output, or what
    ``Streams(read=…)`` made of it. utterance (c,): the same from the present utterance alone, which began
    after the last pause; None where that was not asked for.
    """

    begin: float
    end: float
    frames: int
    voiced_fraction: float
    values: list[float]
    utterance: list[float] | None = None


class Streams:
    """Open streams of one run; the states of all of them are rows ("slots") of a few arrays.

    encoder: one that streams, such as ``mfcc``. head: one that streams, such as ``lstm``. read: maps outputs
    of the head (b, c) to what is reported (b, c). Steps are counted in frames from each stream's beginning,
    so that readings never depend on how the sound was cut into chunks. Readings equal those of the stream
    alone, and the last one that of the whole file, to 1e-5.
    options: the share of voice that makes a step speech, and the pause after which an utterance is over.
    spoken: voice is speech alone, so that steady noise is none, however loud; see :mod:`sensorium.stream.speech`.
    Raises BadRecipe for parts that cannot stream.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        head: SequenceHead,
        read: Callable[[np.ndarray], np.ndarray] = lambda values: values,
        step: float = STEP,
        options: TrackerOptions = _OPTIONS,
        spoken: bool = False,
    ) -> None:
        check_parts(encoder, head)
        self.encoder, self.head, self.read, self.spoken = encoder, head.eval(), read, spoken
        self._floor_steps = max(1, round(speech.FLOOR_SECONDS / step))
        self.per = max(1, round(step * encoder.rate / encoder.hop))  # frames a step
        self._active_share, self._pause = options.active_share, max(1, round(options.pause / step))  # steps
        self._open: dict[int, _Stream] = {}
        self._next = 0
        self._free: list[int] = []
        self._features = encoder.start(0)
        self._whole, self._present = _HeadStates.of(head, 0), _HeadStates.of(head, 0)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def bytes(self) -> int:
        """Memory of the states and of the buffered samples, all streams together."""
        states = sum(part.nbytes for part in (*self._features, *self._whole, *self._present))
        return states + sum(4 * stream.size for stream in self._open.values())

    def open(self, rate: int = files.RATE, utterances: bool = False) -> int:
        """A new stream of sound at ``rate`` Hz; its key. Raises BadData for a rate that no recording has.

        utterances: read each utterance by itself too.
        """
        resampler = files.Resampler(rate, self.encoder.rate)
        if not self._free:
            self._grow()
        key, self._next = self._next, self._next + 1
        stream = self._open[key] = _Stream(self._free.pop(), rate, resampler, utterances)
        self._begin(stream)
        return key

    def close(self, key: int) -> None:
        """Forget a stream; one that is not open is no error."""
        if (stream := self._open.pop(key, None)) is not None:
            self._free.append(stream.slot)

    def reset(self, key: int) -> None:
        """Begin a stream anew at second 0: everything before is forgotten."""
        stream = self._open[key]
        stream.resampler = files.Resampler(stream.rate, self.encoder.rate)
        self._begin(stream)

    def push(self, chunks: Mapping[int, np.ndarray], ended: Collection[int] = ()) -> dict[int, list[Reading]]:
        """Samples (n_i,) of some streams in → one reading for each step of theirs that is complete.

        ended: those of them that end here; their last frames are read too, and they are closed. One that
        never had a sample gives no reading.
        """
        readings: dict[int, list[Reading]] = {key: [] for key in chunks}
        streams = {key: self._open[key] for key in chunks}
        for key, samples in chunks.items():
            streams[key].add(streams[key].resampler.push(samples, key in ended))
        waiting = streams
        with torch.inference_mode():
            while waiting := {k: s for k, s in waiting.items() if s.frames_of(self.encoder) >= self.per}:
                deep = {k: s for k, s in waiting.items() if s.frames_of(self.encoder) >= _DEEP * self.per}
                shallow = {k: s for k, s in waiting.items() if k not in deep}
                self._advance(deep, _DEEP * self.per, readings)
                self._advance(shallow, self.per, readings)
            last = {key: streams[key] for key in ended if key in streams}
            for rest in range(1, self.per):
                some = {key: stream for key, stream in last.items() if stream.frames_of(self.encoder) == rest}
                self._advance(some, rest, readings)
            short = {key: stream for key, stream in last.items() if stream.began and not stream.frames}
            for stream in short.values():  # shorter than a frame: padded to one, as offline
                stream.add(np.zeros(self.encoder.span - stream.size, np.float32))
            self._advance(short, 1, readings)
        for key in ended:
            self.close(key)
        return readings

    def _advance(self, streams: Mapping[int, _Stream], frames: int, readings: dict[int, list[Reading]]) -> None:
        """So many frames of each of these streams, as one batch."""
        if not streams:
            return
        encoder, batch = self.encoder, list(streams.values())
        slots = np.array([stream.slot for stream in batch])
        samples = np.empty((len(slots), encoder.span + (frames - 1) * encoder.hop), np.float32)
        for row, stream in zip(samples, batch, strict=True):
            stream.take(row, frames * encoder.hop)
        x, counted, voice, after = encoder.step(samples, tuple(part[slots] for part in self._features))
        for part, new in zip(self._features, after, strict=True):
            part[slots] = new
        rows, alone = torch.from_numpy(slots), [i for i, s in enumerate(batch) if s.utterances]
        apart = rows[alone]
        whole, present = self._whole.take(rows), self._present.take(apart)
        for start in range(0, frames, self.per):
            cut = slice(start, min(start + self.per, frames))
            lengths, found = _counted(x[:, cut], counted[:, cut])
            shares = voice[:, cut].mean(1)
            if self.spoken:
                heard = samples[:, start * encoder.hop : (cut.stop - 1) * encoder.hop + encoder.span]
                shares = np.where(self._speech(batch, heard, shares >= self._active_share), shares, 0.0)
            shares = shares.tolist()
            whole = whole.advance(self.head, found, lengths)
            values, more = self.read(whole.latest.numpy()).tolist(), {}
            if alone:
                over = [place for place, i in enumerate(alone) if self._over(batch[i], shares[i])]
                present = present.renew(self.head, over).advance(self.head, found[alone], lengths[alone])
                more = dict(zip(alone, self.read(present.latest.numpy()).tolist(), strict=True))
            for i, (key, stream) in enumerate(streams.items()):
                begin = stream.frames * encoder.hop
                stream.frames += cut.stop - cut.start
                end = (stream.frames - 1) * encoder.hop + encoder.size
                times = begin / encoder.rate, end / encoder.rate
                readings[key].append(Reading(*times, stream.frames, shares[i], values[i], more.get(i)))
        self._whole.put(rows, whole)
        self._present.put(apart, present)

    def _speech(self, batch: list[_Stream], samples: np.ndarray, voice: np.ndarray) -> np.ndarray:
        """Which streams' steps (b, n) may be speech, of those that are voice (b,); their levels are remembered."""
        level = speech.levels(samples)
        found = speech.is_speech(samples, self.encoder.rate, [stream.levels for stream in batch], level, voice)
        for stream, one in zip(batch, level.tolist(), strict=True):
            stream.levels.append(one)
            if len(stream.levels) > self._floor_steps:
                stream.levels.popleft()
        return found

    def _over(self, stream: _Stream, share: float) -> bool:
        """Whether an utterance was over when this step began; counts the step itself as voice or pause."""
        over, active = stream.spoken and stream.quiet >= self._pause, share >= self._active_share
        stream.spoken = (stream.spoken and not over) or active
        stream.quiet = 0 if active else stream.quiet + 1
        return over

    def _begin(self, stream: _Stream) -> None:
        """The initial state for a stream."""
        for part, empty in zip(self._features, self.encoder.start(1), strict=True):
            part[stream.slot] = empty[0]
        slot, empty = torch.tensor([stream.slot]), _HeadStates.of(self.head, 1)
        self._whole.put(slot, empty)
        self._present.put(slot, empty)
        stream.begin(self.encoder.span - self.encoder.size)

    def _grow(self) -> None:
        """Slots for twice as many streams."""
        room = len(self._whole.latest)
        more = max(_FIRST, room)
        self._free += range(room + more - 1, room - 1, -1)
        new = self.encoder.start(more)
        self._features = tuple(np.concatenate(both) for both in zip(self._features, new, strict=True))
        empty = _HeadStates.of(self.head, more)
        self._whole, self._present = self._whole.join(empty), self._present.join(empty)


def check_parts(encoder: Encoder, head: Head, where: str = "") -> None:
    """Raise BadRecipe unless both can stream; ``where`` begins the message."""
    for part in (encoder, head):
        if not part.streams:
            raise BadRecipe(f"{where}{type(part).__name__} cannot stream; choose an encoder such as mfcc and a head "
                            "such as lstm")  # fmt: skip
    encoder.start(0)  # refuses a normalisation that needs the end first


class _HeadStates:
    """States of a head for b streams, and its latest output for each."""

    def __init__(self, state: tuple[torch.Tensor, ...], latest: torch.Tensor) -> None:
        self.state, self.latest = state, latest

    @classmethod
    def of(cls, head: SequenceHead, b: int) -> _HeadStates:
        """Those of b new streams."""
        return cls(head.start(b), torch.zeros(b, head.dim))

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from (*self.state, self.latest)

    def take(self, rows: torch.Tensor) -> _HeadStates:
        """Copies of some rows."""
        return _HeadStates(tuple(part[rows] for part in self.state), self.latest[rows])

    def put(self, rows: torch.Tensor, other: _HeadStates) -> None:
        """Write rows of another back here."""
        for part, new in zip(self, other, strict=True):
            part[rows] = new

    def join(self, other: _HeadStates) -> _HeadStates:
        """These rows, then those of another."""
        parts = [torch.cat(both) for both in zip(self, other, strict=True)]
        return _HeadStates(tuple(parts[:-1]), parts[-1])

    def renew(self, head: SequenceHead, rows: list[int]) -> _HeadStates:
        """Some rows as of new streams."""
        if rows:
            self.put(torch.tensor(rows), _HeadStates.of(head, len(rows)))
        return self

    def advance(self, head: SequenceHead, frames: np.ndarray, lengths: np.ndarray) -> _HeadStates:
        """More frames (b, t, d), the first ``lengths`` (b,) of each real."""
        real = torch.from_numpy(lengths)
        z, state = head.advance(torch.from_numpy(np.ascontiguousarray(frames)), real, self.state)
        return _HeadStates(state, torch.where(real[:, None] > 0, z, self.latest))


def _counted(frames: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many frames count, (b,), and frames (b, t, d) with those that do to the front, in their order."""
    lengths = counted.sum(1)
    if lengths.min() < frames.shape[1]:
        frames = np.take_along_axis(frames, np.argsort(~counted, 1, kind="stable")[..., None], 1)
    return lengths, frames


class _Stream:
    """What one stream has outside the arrays: its slot in them, its resampler, its buffered samples."""

    __slots__ = (
        "_skip",
        "began",
        "buffer",
        "frames",
        "levels",
        "quiet",
        "rate",
        "resampler",
        "size",
        "slot",
        "spoken",
        "utterances",
    )  # fmt: skip

    def __init__(self, slot: int, rate: int, resampler: files.Resampler, utterances: bool) -> None:
        self.slot, self.rate, self.resampler, self.utterances = slot, rate, resampler, utterances

    def begin(self, silence: int) -> None:
        """At second 0, with so many samples of silence before it."""
        self.buffer: list[np.ndarray] = [np.zeros(silence, np.float32)]
        self.size, self._skip, self.frames, self.began = silence, 0, 0, False
        self.levels: deque[float] = deque()  # of the steps before, see stream.speech
        self.quiet, self.spoken = 0, False  # steps without voice until now; whether there was voice before them

    def add(self, samples: np.ndarray) -> None:
        """Buffer samples (n,) at the encoder's rate."""
        if len(samples):
            self.began = True
            self.buffer.append(samples)
            self.size += len(samples)

    def frames_of(self, encoder: FrameEncoder) -> int:
        """Whole frames among the buffered samples."""
        return max(0, (self.size - self._skip - encoder.span) // encoder.hop + 1)

    def take(self, row: np.ndarray, advance: int) -> None:
        """Fill a row with the first buffered samples, and drop ``advance`` of them."""
        known = self.buffer[0] if len(self.buffer) == 1 else np.concatenate(self.buffer)
        known = known[self._skip :]
        row[:] = known[: len(row)]
        # Where the hop is longer than a frame, samples that are yet to come are skipped too.
        self._skip = max(0, advance - len(known))
        # A copy, so that a long chunk is not kept alive, unless much of it is still needed.
        rest = known[advance:]
        self.buffer = [rest if len(rest) > len(row) else rest.copy()]
        self.size = len(rest)
