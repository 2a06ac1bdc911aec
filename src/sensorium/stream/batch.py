"""Many live streams through one encoder and one head: whatever arrived meanwhile is computed as one batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from sensorium.errors import BadRecipe
from sensorium.modalities.audio import files
from sensorium.numerics import ragged
from sensorium.stream.tracker import Habits

STEP = 0.1  # seconds between two readings
_DEEP = 8  # steps of one stream taken at once where many wait, as of a file
_HABITS = Habits()
_FIRST = 64  # streams that there is room for at first


class Reading(NamedTuple):
    """What one stream says after one step: all it heard so far, read at its last frame that counts.

    begin, end: seconds of sound that this step's frames cover. frames: how many frames were made so
    far. voice: share of this step's frames that are voice. values (c,): what the head read, or what
    ``Streams(read=…)`` made of it. present (c,): the same of the present utterance alone, which began
    after the last pause; None where that was not asked for.
    """

    begin: float
    end: float
    frames: int
    voice: float
    values: list[float]
    present: list[float] | None = None


class Streams:
    """Open streams of one run, with the states of all of them in a few arrays.

    encoder: one that steps many streams, such as ``mfcc``. head: one that steps, such as ``lstm``.
    read: maps what the head reads (b, c) to what is reported (b, c). Steps are counted in frames from
    each stream's beginning, so that readings never depend on how the sound was cut into chunks. What
    a stream reads equals what it would read alone, and its last reading what the whole file gives, to 1e-5.
    habits: what counts as voice, and the silence after which an utterance is over.
    Raises BadRecipe for parts that cannot stream.
    """

    def __init__(
        self,
        encoder: Any,
        head: Any,
        read: Callable[[np.ndarray], np.ndarray] = lambda values: values,
        step: float = STEP,
        habits: Habits = _HABITS,
    ) -> None:
        for part in (encoder, head):
            if not part.streams:
                raise BadRecipe(
                    f"{type(part).__name__} cannot stream; choose an encoder such as mfcc and a head such as lstm"
                )
        self.encoder, self.head, self.read = encoder, head.eval(), read
        self.per = max(1, round(step * encoder.rate / encoder.hop))  # frames a step
        self._voice, self._pause = habits.voice, max(1, round(habits.pause / step))  # steps
        self._open: dict[int, _Stream] = {}
        self._next = 0
        self._free: list[int] = []
        self._features = encoder.start(0)
        self._whole, self._present = _Reader.of(head, 0), _Reader.of(head, 0)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def bytes(self) -> int:
        """Memory of the states and of the samples that wait, all streams together."""
        held = sum(part.nbytes for part in (*self._features, *self._whole, *self._present))
        return held + sum(4 * stream.size for stream in self._open.values())

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
        """Begin a stream anew, at second 0: nothing heard before counts any more."""
        stream = self._open[key]
        stream.resampler = files.Resampler(stream.rate, self.encoder.rate)
        self._begin(stream)

    def push(self, chunks: Mapping[int, np.ndarray], ended: Collection[int] = ()) -> dict[int, list[Reading]]:
        """Samples (n_i,) of some streams in → one reading for each step of theirs that is complete.

        ended: those of them that end here; their last frames are read too, and they are closed. One that
        never had a sample gives no reading.
        """
        told: dict[int, list[Reading]] = {key: [] for key in chunks}
        held = {key: self._open[key] for key in chunks}
        for key, samples in chunks.items():
            held[key].add(held[key].resampler.push(samples, key in ended))
        waiting = held
        with torch.inference_mode():
            while waiting := {k: s for k, s in waiting.items() if s.frames_of(self.encoder) >= self.per}:
                deep = {k: s for k, s in waiting.items() if s.frames_of(self.encoder) >= _DEEP * self.per}
                shallow = {k: s for k, s in waiting.items() if k not in deep}
                self._advance(deep, _DEEP * self.per, told)
                self._advance(shallow, self.per, told)
            for rest in range(1, self.per):
                self._advance(
                    {k: held[k] for k in ended if k in held and held[k].frames_of(self.encoder) == rest}, rest, told
                )
            short = {k: held[k] for k in ended if k in held and held[k].heard and not held[k].frames}
            for stream in short.values():  # shorter than a frame: padded to one, as offline
                stream.add(np.zeros(self.encoder.span - stream.size, np.float32))
            self._advance(short, 1, told)
        for key in ended:
            self.close(key)
        return told

    def _advance(self, streams: Mapping[int, _Stream], frames: int, told: dict[int, list[Reading]]) -> None:
        """So many frames of each of these streams, as one batch."""
        if not streams:
            return
        encoder, held = self.encoder, list(streams.values())
        slots = np.array([stream.slot for stream in held])
        samples = np.empty((len(slots), encoder.span + (frames - 1) * encoder.hop), np.float32)
        for row, stream in zip(samples, held, strict=True):
            stream.take(row, frames * encoder.hop)
        x, counted, voice, after = encoder.step(samples, tuple(part[slots] for part in self._features))
        for part, new in zip(self._features, after, strict=True):
            part[slots] = new
        rows, alone = torch.from_numpy(slots), [i for i, s in enumerate(held) if s.utterances]
        apart = rows[alone]
        whole, present = self._whole.take(rows), self._present.take(apart)
        for start in range(0, frames, self.per):
            cut = slice(start, min(start + self.per, frames))
            lengths, found = _counted(x[:, cut], counted[:, cut])
            shares = voice[:, cut].mean(1).tolist()
            whole = whole.advance(self.head, found, lengths)
            values, more = self.read(whole.latest.numpy()).tolist(), {}
            if alone:
                over = [place for place, i in enumerate(alone) if self._over(held[i], shares[i])]
                present = present.renew(self.head, over).advance(self.head, found[alone], lengths[alone])
                more = dict(zip(alone, self.read(present.latest.numpy()).tolist(), strict=True))
            for i, (key, stream) in enumerate(streams.items()):
                begin = stream.frames * encoder.hop
                stream.frames += cut.stop - cut.start
                end = (stream.frames - 1) * encoder.hop + encoder.size
                told[key].append(Reading(begin / encoder.rate, end / encoder.rate, stream.frames, shares[i], values[i],
                                         more.get(i)))  # fmt: skip
        self._whole.put(rows, whole)
        self._present.put(apart, present)

    def _over(self, stream: _Stream, share: float) -> bool:
        """Whether an utterance was over when this step began; notes how much voice the step itself has."""
        over = stream.spoken and stream.quiet >= self._pause
        stream.spoken = (stream.spoken and not over) or share >= self._voice
        stream.quiet = 0 if share >= self._voice else stream.quiet + 1
        return over

    def _begin(self, stream: _Stream) -> None:
        """An empty past for a stream."""
        for part, empty in zip(self._features, self.encoder.start(1), strict=True):
            part[stream.slot] = empty[0]
        slot, empty = torch.tensor([stream.slot]), _Reader.of(self.head, 1)
        self._whole.put(slot, empty)
        self._present.put(slot, empty)
        stream.begin(self.encoder.span - self.encoder.size)

    def _grow(self) -> None:
        """Room for twice as many streams."""
        room = len(self._whole.latest)
        more = max(_FIRST, room)
        self._free += range(room + more - 1, room - 1, -1)
        new = self.encoder.start(more)
        self._features = tuple(np.concatenate(both) for both in zip(self._features, new, strict=True))
        empty = _Reader.of(self.head, more)
        self._whole, self._present = self._whole.join(empty), self._present.join(empty)


class _Reader:
    """States of a head for b streams, and what it read last of each: a batch of memories of what was heard."""

    def __init__(self, state: tuple[torch.Tensor, ...], latest: torch.Tensor) -> None:
        self.state, self.latest = state, latest

    @classmethod
    def of(cls, head: Any, b: int) -> _Reader:
        """Memories of b streams that heard nothing yet."""
        return cls(head.start(b), torch.zeros(b, head.dim))

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from (*self.state, self.latest)

    def take(self, rows: torch.Tensor) -> _Reader:
        """Copies of some rows."""
        return _Reader(tuple(part[rows] for part in self.state), self.latest[rows])

    def put(self, rows: torch.Tensor, other: _Reader) -> None:
        """Write rows of another back here."""
        for part, new in zip(self, other, strict=True):
            part[rows] = new

    def join(self, other: _Reader) -> _Reader:
        """These rows, then those of another."""
        parts = [torch.cat(both) for both in zip(self, other, strict=True)]
        return _Reader(tuple(parts[:-1]), parts[-1])

    def renew(self, head: Any, rows: list[int]) -> _Reader:
        """Forget what some rows heard."""
        if rows:
            self.put(torch.tensor(rows), _Reader.of(head, len(rows)))
        return self

    def advance(self, head: Any, frames: np.ndarray, lengths: np.ndarray) -> _Reader:
        """More frames (b, t, d), the first ``lengths`` (b,) of each real."""
        real = torch.from_numpy(lengths)
        z, state = head.advance(torch.from_numpy(np.ascontiguousarray(frames)), real, self.state)
        return _Reader(state, torch.where(real[:, None] > 0, z, self.latest))


def _counted(frames: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many frames count, (b,), and frames (b, t, d) with those that do to the front, in their order."""
    lengths = counted.sum(1)
    if lengths.min() < frames.shape[1]:
        frames = np.take_along_axis(frames, np.argsort(~counted, 1, kind="stable")[..., None], 1)
    return lengths, frames


class _Stream:
    """What one stream keeps outside the arrays: its place in them, its resampler, samples that wait."""

    __slots__ = ("_skip", "frames", "heard", "quiet", "rate", "resampler", "size", "slot", "spoken", "utterances",
                 "waiting")  # fmt: skip

    def __init__(self, slot: int, rate: int, resampler: files.Resampler, utterances: bool) -> None:
        self.slot, self.rate, self.resampler, self.utterances = slot, rate, resampler, utterances

    def begin(self, silence: int) -> None:
        """At second 0, with as many samples of silence before it."""
        self.waiting: list[np.ndarray] = [np.zeros(silence, np.float32)]
        self.size, self._skip, self.frames, self.heard = silence, 0, 0, False
        self.quiet, self.spoken = 0, False  # steps without voice until now; whether there was voice before them

    def add(self, samples: np.ndarray) -> None:
        """Samples (n,) at the encoder's rate, to be taken later."""
        if len(samples):
            self.heard = True
            self.waiting.append(samples)
            self.size += len(samples)

    def frames_of(self, encoder: Any) -> int:
        """Whole frames that wait."""
        return max(0, (self.size - self._skip - encoder.span) // encoder.hop + 1)

    def take(self, row: np.ndarray, advance: int) -> None:
        """Fill a row with the first samples that wait, and go on by ``advance`` samples."""
        known = self.waiting[0] if len(self.waiting) == 1 else np.concatenate(self.waiting)
        known = known[self._skip :]
        row[:] = known[: len(row)]
        # Where the hop is longer than a frame, samples that are yet to come are skipped too.
        self._skip = max(0, advance - len(known))
        # A copy, so that a long chunk is not kept alive, unless much of it still waits.
        rest = known[advance:]
        self.waiting = [rest if len(rest) > len(row) else rest.copy()]
        self.size = len(rest)


def offline(encoder: Any, head: Any, sources: Iterable[Any]) -> np.ndarray:
    """What the head reads of whole recordings, (n, c): paths or ``(samples, rate)``; what streams must equal."""
    frames = encoder.encode(list(sources))
    offsets = np.cumsum([0, *map(len, frames)])
    return ragged.apply_frames(head, np.concatenate(frames), offsets)
