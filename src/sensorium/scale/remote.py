"""A store in an object store, of the same format: workers write its shards there, this process its manifest."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sensorium import io
from sensorium.errors import Corrupt
from sensorium.scale import lease
from sensorium.scale.cluster import Where
from sensorium.scale.embedding import OnRay
from sensorium.scale.objects import Objects
from sensorium.scale.places import Place
from sensorium.store import arrivals, compacting, manifest, repairing, shard
from sensorium.store.manifest import File, Manifest, Shard
from sensorium.store.shard import Batch
from sensorium.store.writing import SHARD_BYTES, Writer

THREADS = 8  # objects that are read at a time
ITEMS = ".items.parquet"


@dataclass(frozen=True)
class Bucket:
    """The objects of a store, to which workers write."""

    objects: Objects

    def write(self, batch: Batch, known: Manifest, name: str) -> Shard:
        """Write a shard, the object of items last: a shard is there when that is. Raises Unreachable."""
        made, contents = shard.pack(batch, known, name)
        for file in sorted(made.files.values(), key=lambda file: file.name.endswith(ITEMS)):
            self.objects.put(file.name, contents[file.name])
        return made

    def written(self, prefix: str) -> Iterator[tuple[Shard, list[bytes]]]:
        """The shards whose name begins so, which a worker that ended has written."""
        yield from _whole(self.objects, self.objects.sizes(prefix))


class InObjects(OnRay):
    """An engine whose stores lie below a URL.

    whole: copy the vectors into the local folder too, as a run needs them; else a temporary folder holds what the
    commits need, which are ids and metadata, and the vectors are not read here.
    """

    compacts = False

    def __init__(self, where: Where, url: str, whole: bool, workers: int | None = None, progress: bool = False) -> None:
        super().__init__(where, workers)
        self.base, self.whole, self.progress = Objects(url), whole, progress
        self._known: dict[Path, Manifest | None] = {}  # as last read or written
        self._there: dict[Path, set[str]] = {}  # names of objects that are surely there
        self._root: Path | None = None

    @contextlib.contextmanager
    def opened(self, folder: Path) -> Iterator[Path]:
        """The local copy of the store, with what is there; within the block no other process changes the store."""
        if not self.whole:
            if self._root is None:
                self._root = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="sensorium-")))
            folder = self._root / folder.name
        folder = folder.absolute()
        objects = self.base.below(folder.name)
        with lease.held(objects, self.progress):
            self._pull(folder, objects)
            yield folder
            self._push(folder, objects)

    def place(self, writer: Writer) -> Place:
        """The store's objects."""
        return Bucket(self._objects(writer))

    def take(self, writer: Writer, shards: Sequence[Shard]) -> int:
        """Commit shards that workers have written, there and here."""
        objects, incoming = self._objects(writer), arrivals.folder_of(writer.folder)
        self._download(objects, self._wanted(shards), incoming)
        self._there[writer.folder] |= {f.name for s in shards for f in s.files.values()}
        added = arrivals.adopt(writer, shards, without=lambda s: not self.whole).added
        self._push(writer.folder, objects)
        return added

    def left(self, writer: Writer) -> list[Shard]:
        """Shards that were written and that the manifest does not name."""
        objects = self._objects(writer)
        named = {f.name for f in writer.manifest.files()} if writer.manifest else set()
        sizes = {name: size for name, size in objects.sizes().items() if name not in named}
        return [s for s, _ in _whole(objects, sizes)]

    def swept(self, writer: Writer) -> None:
        """Delete what the manifest does not name: parts of shards of killed workers, and shards that came twice."""
        super().swept(writer)
        objects = self._objects(writer)
        if (known := self._known.get(writer.folder)) is not None:
            named = {f.name for f in known.files()} | {manifest.NAME, lease.NAME}
            objects.delete(name for name in objects.sizes() if name not in named)

    def fetch(self, writer: Writer) -> None:
        """Bring every vector into the local copy, of which some are needed under other ids."""
        files = [s.files["vectors"] for s in writer.manifest.shards]
        absent = [f for f in files if not (writer.folder / f.name).is_file()]
        self._download(self._objects(writer), absent, writer.folder)

    def _wanted(self, shards: Sequence[Shard]) -> list[File]:
        return [f for s in shards for kind, f in s.files.items() if self.whole or kind != "vectors"]

    def _objects(self, writer: Writer) -> Objects:
        return self.base.below(writer.folder.name)

    def _pull(self, folder: Path, objects: Objects) -> None:
        """Bring the local copy up to what is in the object store."""
        there = self._known[folder] = _manifest(objects)
        self._there[folder] = set() if there is None else {f.name for f in there.files()}
        if there is None:
            return
        here = manifest.read(folder) if manifest.exists(folder) else None
        have = set() if here is None else {s.name for s in here.shards}
        new = [s for s in there.shards if s.name not in have]
        wanted = self._wanted(new)
        if here is None:
            self._download(objects, wanted, folder)
            with io.lock(folder):
                there.write(folder)
            return
        incoming = arrivals.folder_of(folder)
        self._download(objects, wanted, incoming)
        clean = [s for s in new if not s.dead]
        for s in new:
            for batch in compacting.merged(incoming, there, [s], SHARD_BYTES) if s.dead else ():
                clean.append(arrivals.write(incoming, batch, there))
        arrivals.adopt(Writer(folder, there.fingerprint), clean)

    def _push(self, folder: Path, objects: Objects) -> None:
        """Bring the object store up to the local manifest: files that are only here, the manifest, what it dropped."""
        if not manifest.exists(folder):
            return
        here, before = manifest.read(folder), self._known.get(folder)
        if here == before:
            return
        named = {f.name for f in before.files()} if before else set()
        for file in here.files():
            if file.name not in self._there[folder]:
                objects.put(file.name, (folder / file.name).read_bytes())
                self._there[folder].add(file.name)
        objects.put(manifest.NAME, (folder / manifest.NAME).read_bytes())
        self._known[folder] = here
        objects.delete(sorted(named - {f.name for f in here.files()}))

    def _download(self, objects: Objects, files: Sequence[File], folder: Path) -> None:
        def one(file: File) -> None:
            io.write(folder / file.name, objects.checked(file))

        if files:
            folder.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(one, files))


def _manifest(objects: Objects) -> Manifest | None:
    """The manifest in the object store; None where there is none. Raises Corrupt."""
    try:
        content = objects.get(manifest.NAME)
    except FileNotFoundError:
        return None
    with tempfile.TemporaryDirectory(prefix="sensorium-") as folder:
        (Path(folder) / manifest.NAME).write_bytes(content)
        return manifest.read(Path(folder))


def _whole(objects: Objects, sizes: dict[str, int]) -> Iterable[tuple[Shard, list[bytes]]]:
    """The whole shards among some objects, the oldest first, with the content keys of their items."""
    found = []
    for name in sorted(name for name in sizes if name.endswith(ITEMS)):
        with contextlib.suppress(Corrupt, ValueError, KeyError, FileNotFoundError):  # incomplete: encoded again
            s, about, keys = repairing.from_bytes(name, objects.get(name))
            if all(sizes.get(f.name) == f.bytes for f in s.files.values()):
                found.append((about["written"], s, keys))
    return [(s, keys) for _, s, keys in sorted(found, key=lambda one: one[0])]
