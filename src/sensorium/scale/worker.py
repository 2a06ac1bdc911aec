"""What runs in a process of Ray: an encoder that is loaded once, and blocks of items that become shards."""

from __future__ import annotations

import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium import fingerprint as fingerprints
from sensorium.errors import SensoriumError
from sensorium.scale.places import Place
from sensorium.store import columns, encoding
from sensorium.store.checks import joined
from sensorium.store.manifest import Manifest, Shard
from sensorium.store.shard import Batch

FEW = 16  # items of a worker's first call; later calls get as many as the pace allows
KEPT = (0.5, 30.0)  # seconds at least and at most between two shards of a slow encoder
SHARE = 0.01  # of the time since the start that a kill may cost, between these two


@dataclass(frozen=True)
class Block:
    """Contents to be encoded, and the items that have them.

    prefix: of the names of its shards, the same whichever worker gets the block. values (c,): the contents. owner (m,):
    the content of each item, rising. ids, keys, meta: of the m items.
    """

    prefix: str
    values: Sequence[Any]
    owner: np.ndarray
    ids: Sequence[str]
    keys: Sequence[bytes]
    meta: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Result:
    """What a worker says: a shard that is written, of so many contents, or the error that ended its block."""

    shard: Shard | None = None
    contents: int = 0
    error: BaseException | None = None
    trace: str = ""


@dataclass(frozen=True)
class Settings:
    """What all blocks of a job share; see :mod:`sensorium.store.engines` for what is not named here.

    encoder: pickled. started: time of the call's start, seconds since 1970. path: where modules of the user's own lie.
    """

    encoder: bytes
    place: Place
    kind: str
    fingerprint: Mapping[str, Any]
    width: int
    dtype: np.dtype | None
    batch: int
    started: float
    path: Sequence[str]


def _firsts(owner: np.ndarray) -> list[int]:
    """Of each content the first item that has it."""
    return np.unique(owner, return_index=True)[1].tolist()


class Worker:
    """Encodes blocks, one after the other."""

    def __init__(self, settings: bytes) -> None:
        import ray.cloudpickle as pickle

        self.settings: Settings = pickle.loads(settings)
        self._encoder: Any = None
        self.call = min(FEW, self.settings.batch)

    @property
    def encoder(self) -> Any:
        """The encoder, made at first use, so that what it raises is reported as the error of a block."""
        import ray.cloudpickle as pickle

        if self._encoder is None:
            sys.path += [path for path in self.settings.path if path not in sys.path]
            encoder = pickle.loads(self.settings.encoder)
            encoder.choose(self.settings.kind)
            fingerprints.check(self.settings.fingerprint, encoder.fingerprint, "the command embeds by an encoder",
                               f"install the same packages and weights on {socket.gethostname()}")  # fmt: skip
            self._encoder = encoder
        return self._encoder

    def __call__(self, rows: Mapping[str, Any]) -> Iterator[dict[str, list[bytes]]]:
        """Blocks to results, both pickled."""
        import ray.cloudpickle as pickle

        for block in rows["block"]:
            for result in self.results(pickle.loads(block)):
                yield {"result": [pickle.dumps(result)]}

    def results(self, block: Block) -> Iterator[Result]:
        """The shards of a block. What an earlier worker has written of it is not encoded again."""
        try:
            there: set[bytes] = set()
            for shard, keys in self.settings.place.written(block.prefix):
                there.update(keys)
                yield Result(shard, len(set(keys)))
            missing = [c for c, i in enumerate(_firsts(block.owner)) if block.keys[i] not in there]
            if missing:
                yield from self._encode(block, missing)
        except SensoriumError as error:
            yield Result(error=error)
        except Exception as error:
            yield Result(error=RuntimeError(f"{type(error).__name__}: {error}"), trace=traceback.format_exc())

    def _encode(self, block: Block, missing: list[int]) -> Iterator[Result]:
        names = [block.ids[i] for i in _firsts(block.owner)]
        if self.settings.kind == "text":  # longest first: little padding, and a batch that is too large fails at once
            missing = sorted(missing, key=lambda c: -len(block.values[c]))
        done: list[tuple[list[int], Any]] = []
        last, at = time.monotonic(), 0
        try:
            while at < len(missing):
                members = missing[at : at + self.call]
                done.append((members, self._vectors([names[c] for c in members], [block.values[c] for c in members])))
                at += len(members)
                if time.monotonic() - last > self._pause() and at < len(missing):
                    yield self._written(block, done)
                    done, last = [], time.monotonic()
        except Exception:  # one bad item does not cost what was encoded before it
            if done:
                yield self._written(block, done)
            raise
        if done:
            yield self._written(block, done)

    def _vectors(self, ids: list[str], values: list[Any]) -> Any:
        """One call of the encoder; the next one gets more items while calls are short beside what a kill may cost."""
        settings, start = self.settings, time.monotonic()
        found = encoding.encoded(self.encoder, ids, values, settings.width, settings.dtype)
        if len(ids) == self.call and time.monotonic() - start < self._pause() / 4:
            self.call = min(2 * self.call, settings.batch)
        return found

    def _pause(self) -> float:
        """Seconds after which what is encoded is written, so that a kill costs a small share of the time so far."""
        return min(max(SHARE * (time.time() - self.settings.started), KEPT[0]), KEPT[1])

    def _written(self, block: Block, done: list[tuple[list[int], Any]]) -> Result:
        """One shard of what is encoded, for every item that has its content, in the order of the items."""
        vectors = [v for _, found in done for v in found]
        row = {c: n for n, c in enumerate(c for members, _ in done for c in members)}
        items = [i for i, c in enumerate(block.owner.tolist()) if c in row]
        chosen = [vectors[row[int(block.owner[i])]] for i in items]
        ids, keys = [block.ids[i] for i in items], [block.keys[i] for i in items]
        flat, offsets = joined(ids, chosen) if self.encoder.frames else (np.stack(chosen), None)
        meta = {name: column[items] for name, column in block.meta.items()}
        known = Manifest(self.settings.fingerprint, self.settings.width, flat.dtype.name, offsets is not None,
                         columns.kinds(meta))  # fmt: skip
        name = f"{block.prefix}{min(row):04x}"
        return Result(self.settings.place.write(Batch(ids, keys, flat, meta, offsets), known, name), len(row))
