"""Embedding on Ray Data: blocks of items go to encoder actors, which write shards; this process commits them."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData, SensoriumError, Unreachable
from sensorium.fitting.partial_moments import Pass
from sensorium.numerics.moments import Moments
from sensorium.progress import bar, say
from sensorium.scale.cluster import Where, connected
from sensorium.scale.moments import FEWEST as FEWEST_PAIRS
from sensorium.scale.moments import map_reduce
from sensorium.scale.places import Folder, Place
from sensorium.scale.worker import Block, Result, Settings, Worker
from sensorium.store import arrivals
from sensorium.store.content_keys import content_keys
from sensorium.store.engines import Job
from sensorium.store.manifest import Shard
from sensorium.store.writing import Writer

BLOCKS = 32  # that each worker gets of a job, so that none waits long for the last one
FEWEST, MOST = 32, 8192  # contents of a block
FILES = 256  # of a task that reads them for their content keys
RESTARTS = 64  # of one worker
EVERY = 2.0  # seconds between two commits


class OnRay:
    """An engine of :mod:`sensorium.store.engines`. Ray is connected at the first store that has something to encode.

    where: the cluster. workers: encoder actors at most, by default one for each processor, or for each GPU.
    """

    whole = compacts = True

    def __init__(self, where: Where, workers: int | None = None) -> None:
        self.where, self.workers = where, workers
        self._stack = contextlib.ExitStack()
        self._ray: Any = None

    def __enter__(self) -> OnRay:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def ray(self) -> Any:
        """The module, connected."""
        if self._ray is None:
            self._ray = self._stack.enter_context(connected(self.where, self.workers))
        return self._ray

    # what a store asks for

    @contextlib.contextmanager
    def opened(self, folder: Path) -> Iterator[Path]:
        """The folder itself; shards that an interrupted call left among the arrivals are committed at once."""
        yield folder

    def keys(self, kind: str, ids: Iterable[str], values: Sequence[Any]) -> list[bytes]:
        """Content keys; those of many files are read on Ray. Raises BadData as ``content_keys`` does."""
        ids = list(ids)
        if kind == "text" or len(ids) <= FILES or not isinstance(values[0], (str, os.PathLike)):
            return content_keys(kind, ids, values)
        ray = self.ray

        def read(kind: str, ids: list[str], values: list[Any]) -> list[bytes] | SensoriumError:
            try:
                return content_keys(kind, ids, values)
            except SensoriumError as error:
                return error

        task = ray.remote(read)
        cuts = [slice(at, at + FILES) for at in range(0, len(ids), FILES)]
        found: list[bytes] = []
        for part in ray.get([task.remote(kind, ids[cut], list(values[cut])) for cut in cuts]):
            if isinstance(part, SensoriumError):
                raise part
            found += part
        return found

    def fetch(self, writer: Writer) -> None:
        """Every vector is in the folder already."""

    def encode(self, job: Job) -> None:
        """Encode on Ray; see :func:`embed`."""
        embed(self.ray, job, self.place(job.writer), self.workers, self)

    def moments(self, work: Pass) -> Moments:
        """The moments of a pass over pairs: on Ray where they are many."""
        return map_reduce(self.ray, work) if len(work) >= FEWEST_PAIRS else work.moments()

    def place(self, writer: Writer) -> Place:
        """Where the workers write the shards of a store."""
        return Folder(writer.folder.absolute())

    def take(self, writer: Writer, shards: Sequence[Shard]) -> int:
        """Commit shards that workers have written. Returns how many items are new."""
        return arrivals.adopt(writer, shards).added

    def left(self, writer: Writer) -> list[Shard]:
        """Shards that were written and not committed."""
        return arrivals.left(writer.folder)

    def swept(self, writer: Writer) -> None:
        """Called when a job ends: delete what is of no use any more."""
        arrivals.sweep(writer.folder)


def embed(ray: Any, job: Job, place: Place, workers: int | None, store: OnRay) -> None:
    """Encode a job's contents on Ray and commit the shards while they arrive.

    Whatever ends it, an error, Ctrl-C or the death of a worker, the shards that are written are committed first.
    Raises what the encoder raised.
    """
    missing = _after_leftovers(job, store)
    if not missing:
        store.swept(job.writer)
        return
    cores, gpus = _resources(ray, job)
    most = min(workers or (gpus or cores), max(1, gpus or cores))
    blocks = _blocks(job, missing, most)
    results = _results(ray, _settings(job, place), blocks, min(most, len(blocks)), bool(gpus))
    waiting: list[Shard] = []
    last = time.monotonic()
    try:
        with bar(f"embedding {job.kind}", len(missing), job.progress) as advance:
            for result in results:
                if result.error is not None:
                    if result.trace:
                        print(result.trace, file=sys.stderr)
                    raise result.error
                waiting.append(result.shard)
                advance(result.contents)
                if time.monotonic() - last > EVERY:
                    _commit(job, store, waiting)
                    last = time.monotonic()
    except BaseException as error:
        results.close()
        with contextlib.suppress(SensoriumError):
            _commit(job, store, waiting)
            _commit(job, store, store.left(job.writer))
        if isinstance(error, ray.exceptions.RayError):
            said = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            raise Unreachable(
                f"Ray ended the job ({said[-1][:300]}); what was encoded is in the store: correct that, and type the "
                "same command again"
            ) from error
        raise
    _commit(job, store, waiting)
    store.swept(job.writer)


def _after_leftovers(job: Job, store: OnRay) -> list[bytes]:
    """The contents still to be encoded after those are committed that an interrupted call has left."""
    waiting = store.left(job.writer)
    if not waiting:
        return list(job.owners)
    found = _commit(job, store, waiting)
    if found and job.progress:
        say("embed", f"{found:,} items that an interrupted call has encoded are committed")
    with job.writer.locked():
        by_key = job.writer.locations.by_key
        return [key for key in job.owners if key not in by_key]


def _commit(job: Job, store: OnRay, waiting: list[Shard]) -> int:
    if not waiting:
        return 0
    added = store.take(job.writer, waiting)
    waiting.clear()
    job.committed(added)
    return added


def _resources(ray: Any, job: Job) -> tuple[int, int]:
    """Processors of the cluster, and its GPUs where the encoder computes on one."""
    there: Mapping[str, float] = ray.cluster_resources()
    gpus = int(there.get("GPU", 0)) if job.encoder.accelerated and job.encoder.device != "cpu" else 0
    return max(1, int(there.get("CPU", 1))), gpus


def _settings(job: Job, place: Place) -> bytes:
    import ray.cloudpickle as pickle

    for name, module in list(sys.modules.items()):
        if name.startswith("sensorium_part_"):  # a part from a file of the user's, which is no module elsewhere
            pickle.register_pickle_by_value(module)
    try:
        encoder = pickle.dumps(job.encoder)
    except (TypeError, AttributeError, ValueError) as error:
        raise BadData(
            f"the encoder {type(job.encoder).__name__} cannot go to another process ({error}); give it a __getstate__ "
            "that leaves out what it has loaded, or embed without --on"
        ) from error
    return pickle.dumps(Settings(encoder, place, job.kind, dict(job.writer.fingerprint), job.width, job.dtype,
                                 job.batch, time.time(), [os.path.abspath(path) for path in sys.path]))  # fmt: skip


def _blocks(job: Job, contents: Sequence[bytes], workers: int) -> list[Block]:
    """The contents in blocks, each with the items that have them."""
    size = job.shard_rows or min(max(len(contents) // (workers * BLOCKS), FEWEST), MOST)
    token = secrets.token_hex(4)
    found = []
    for number, at in enumerate(range(0, len(contents), size)):
        some = contents[at : at + size]
        items = [(c, i) for c, key in enumerate(some) for i in job.owners[key]]
        rows = [i for _, i in items]
        found.append(Block(
            f"{token}{number:04x}", [job.values[job.owners[key][0]] for key in some],
            np.array([c for c, _ in items], np.int64), [job.ids[i] for i in rows], [job.keys[i] for i in rows],
            {name: column[rows] for name, column in job.meta.items()},
        ))  # fmt: skip
    return found


def _results(
    ray: Any, settings: bytes, blocks: Sequence[Block], workers: int, on_gpu: bool
) -> Iterator[Result]:  # fmt: skip
    """What the workers say, in the order in which they say it."""
    import ray.cloudpickle as pickle

    data = ray.data.from_items([{"block": pickle.dumps(block)} for block in blocks], override_num_blocks=len(blocks))
    data = data.map_batches(
        Worker, fn_constructor_args=(settings,), batch_size=1, batch_format="numpy", zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers), max_restarts=RESTARTS,
        max_task_retries=RESTARTS, num_cpus=0 if on_gpu else 1, **({"num_gpus": 1} if on_gpu else {}),
    )  # fmt: skip
    stream = data.iter_batches(batch_size=None, prefetch_batches=0)
    yield from (pickle.loads(row) for row in itertools.chain.from_iterable(batch["result"] for batch in stream))
