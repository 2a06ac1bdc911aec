"""A Milvus database: an embedded one in a folder, a server or a cluster; its collections of items, with typed errors.

A collection holds items under the xxh3-128 of their ids, so that whatever is written again takes the place of itself.
What a collection holds, and of which encoder and head, stands in its properties.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io
from sensorium.errors import BadRecipe, Busy, DatabaseError, require
from sensorium.indexes._milvus_filters import KEY, LONGEST_TEXT, Field, among, type_of

TOKEN = "MILVUS_TOKEN"  #: environment variable: "user:password", or an API key
ABOUT = "sensorium"  #: property of a collection: what it holds, as JSON
MOST = 16_384  #: results of one search or query at most
_BATCH_BYTES = 16 << 20  # of one write: a message may have 64 MB
_BATCH = 1000  # keys of one request
_NOT_LOADED = 101  # Milvus' code
_SECONDS = 60.0  # for an answer
_TO_CONNECT = 10.0
_TO_INDEX = 24 * 3600.0  # for a server to index what was written
_LONGEST_ID = 4000  # bytes
_SCHEMES = ("http://", "https://", "tcp://")
_opened: dict[str, int] = {}  # embedded databases of this process, and by how many they are used
_opening = threading.Lock()


def check_uri(uri: str) -> None:
    """Raise BadRecipe for what is no address of a server, and for one with a password in it."""
    if uri and not uri.startswith(_SCHEMES):
        raise BadRecipe(f"milvus: uri='{uri}'; expected an address such as http://localhost:19530, or '' for a file")
    if "@" in uri:
        raise BadRecipe(f"milvus: the uri contains a password; take it out and type: export {TOKEN}=USER:PASSWORD")


class Database:
    """An open database. uri: of a server; or folder: of an embedded one, of which this process has one at a time."""

    def __init__(self, uri: str = "", folder: Path | None = None) -> None:
        self.uri, self.folder = uri, None if folder is None else str(Path(folder).absolute())
        self.where = uri or str(folder)
        library = require("pymilvus", "scale")
        for name in ("pymilvus", "milvus_lite"):  # errors are raised, and not written to the terminal too
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._closed = False
        if self.folder is not None:
            require("milvus_lite", "scale")
            _hold(self.folder)
        try:
            with answering(self.where):
                token = os.environ.get(TOKEN, "") if uri else ""
                # A channel of its own: one that a dead server left is not tried again at once.
                own = {"token": token, "dedicated": True} if uri else {}
                self.client = library.MilvusClient(self.folder or uri, timeout=_TO_CONNECT, **own)
        except BaseException:
            self._closed = True
            if self.folder is not None:
                _release(self.folder)
                if Path(self.folder).is_dir():
                    raise Busy(
                        f"{self.folder} cannot be opened; an embedded database is of one process at a time: end the "
                        "other one, or use a server: index.uri=http://HOST:19530"
                    ) from None
            raise

    def close(self) -> None:
        """Close the connection, and an embedded database that nobody else in this process uses."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(Exception):
            self.client.close()
        if self.folder is not None:
            _release(self.folder)

    # Collections.

    def make(self, name: str, dim: int, fields: Sequence[Field], kind: str, build: Mapping[str, Any]) -> None:
        """Make a collection of vectors of a width, indexed by inner product."""
        types = require("pymilvus", "scale").DataType
        with answering(self.where):
            schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field(KEY, types.VARCHAR, is_primary=True, max_length=32)
            schema.add_field("id", types.VARCHAR, max_length=_LONGEST_ID)
            schema.add_field("vector", types.FLOAT_VECTOR, dim=dim)
            for field in fields:
                more = {"max_length": LONGEST_TEXT} if field.kind == "text" else {}
                schema.add_field(field.name, types[type_of(field)], **more)
                if field.gaps:
                    schema.add_field(field.there, types.INT64)
            how = self.client.prepare_index_params()
            how.add_index("vector", index_type=kind, metric_type="IP", params=dict(build))
            self.client.create_collection(
                name, schema=schema, index_params=how, consistency_level="Strong", timeout=_SECONDS
            )

    def has(self, name: str) -> bool:
        """Whether there is a collection of this name, or an alias."""
        with answering(self.where):
            return bool(self.client.has_collection(name, timeout=_SECONDS))

    def names(self) -> list[str]:
        """The collections."""
        with answering(self.where):
            return sorted(self.client.list_collections(timeout=_SECONDS))

    def about(self, name: str) -> dict[str, Any]:
        """What a collection says that it holds; empty where it says nothing."""
        with answering(self.where):
            text = (self.client.describe_collection(name, timeout=_SECONDS).get("properties") or {}).get(ABOUT)
        try:
            found = json.loads(text) if isinstance(text, str) else text
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def set_about(self, name: str, about: Mapping[str, Any]) -> None:
        """Say what a collection holds."""
        with answering(self.where):
            text = json.dumps(about, sort_keys=True)
            self.client.alter_collection_properties(name, properties={ABOUT: text}, timeout=_SECONDS)

    def ready(self, name: str) -> None:
        """Return when a collection can be searched, which after a start of the database it cannot at once."""
        with answering(self.where):
            self.client.load_collection(name, timeout=_TO_INDEX)

    def drop(self, name: str) -> None:
        """Delete a collection."""
        with answering(self.where):
            self.client.drop_collection(name, timeout=_SECONDS)

    def target(self, alias: str) -> str | None:
        """The collection that an alias names; None where there is no such alias."""
        with answering(self.where):
            if not self.client.has_collection(alias, timeout=_SECONDS):
                return None
            name = self.client.describe_collection(alias, timeout=_SECONDS)["collection_name"]
        return None if name == alias else str(name)

    def switch(self, alias: str, name: str) -> None:
        """Let an alias name a collection from now on, in one step."""
        with answering(self.where):
            change = self.client.alter_alias if self.target(alias) else self.client.create_alias
            change(name, alias, timeout=_SECONDS)

    # Items.

    def count(self, name: str) -> int:
        """How many items a collection holds."""
        with answering(self.where):
            found = self._of(name, "query", filter="", output_fields=["count(*)"], timeout=_SECONDS)
        return int(found[0]["count(*)"])

    def write(
        self, name: str, keys: Sequence[str], ids: Sequence[str], vectors: np.ndarray, columns: Mapping[str, list[Any]]
    ) -> None:
        """Write items: those of the same key are replaced. In batches, each durable when it is acknowledged."""
        size = max(1, min(5000, _BATCH_BYTES // (4 * vectors.shape[1] + 200)))
        for start in range(0, len(keys), size):
            rows = range(start, min(start + size, len(keys)))
            data = [
                {KEY: keys[i], "id": ids[i], "vector": vectors[i], **{name: c[i] for name, c in columns.items()}}
                for i in rows
            ]
            with answering(self.where):
                self.client.upsert(name, data, timeout=_SECONDS)

    def known(self, name: str, keys: Sequence[str]) -> set[str]:
        """Those of the keys that a collection holds."""
        found: set[str] = set()
        for start in range(0, len(keys), _BATCH):
            with answering(self.where):
                some = among(keys[start : start + _BATCH])
                rows = self._of(name, "query", filter=some, output_fields=[KEY], timeout=_SECONDS)
            found.update(row[KEY] for row in rows)
        return found

    def vectors(self, name: str, keys: Sequence[str], dim: int) -> tuple[np.ndarray, np.ndarray]:
        """The vectors (n, d) of keys, and which (n,) were there; zeros for the others."""
        vectors, there = np.zeros((len(keys), dim), np.float32), np.zeros(len(keys), bool)
        at = {key: i for i, key in enumerate(keys)}
        for start in range(0, len(keys), _BATCH):
            with answering(self.where):
                some = list(keys[start : start + _BATCH])
                rows = self._of(name, "get", ids=some, output_fields=["vector"], timeout=_SECONDS)
            for row in rows:
                vectors[at[row[KEY]]], there[at[row[KEY]]] = row["vector"], True
        return vectors, there

    def remove(self, name: str, keys: Sequence[str]) -> None:
        """Remove items; keys that are not there are no error."""
        for start in range(0, len(keys), _BATCH):
            with answering(self.where):
                self.client.delete(name, ids=list(keys[start : start + _BATCH]), timeout=_SECONDS)

    def search(
        self, name: str, queries: np.ndarray, limit: int, where: str, how: Mapping[str, Any]
    ) -> list[tuple[list[str], np.ndarray, np.ndarray]]:
        """For each query: ids, vectors (m, d) and raw scores (m,) of at most ``limit`` items under a filter."""
        with answering(self.where):
            found = self._of(
                name, "search", data=list(queries), filter=where, limit=limit, output_fields=["id", "vector"],
                anns_field="vector", search_params={"metric_type": "IP", "params": dict(how)}, timeout=_SECONDS,
            )  # fmt: skip
        answers = []
        for hits in found:
            vectors = np.array([hit["entity"]["vector"] for hit in hits], np.float32)
            scores = np.array([hit["distance"] for hit in hits], np.float32)
            ids = [hit["entity"]["id"] for hit in hits]
            answers.append((ids, vectors.reshape(-1, queries.shape[1]), scores))
        return answers

    def _of(self, name: str, call: str, **options: Any) -> Any:
        """An answer of the client about a collection, which is loaded first where the database was started anew."""
        try:
            return getattr(self.client, call)(name, **options)
        except require("pymilvus", "scale").MilvusException as error:
            if error.code != _NOT_LOADED:
                raise
        self.ready(name)
        return getattr(self.client, call)(name, **options)

    def settle(self, name: str) -> None:
        """Return when what was written lies on the disk and is indexed."""
        with answering(self.where):
            self.client.flush(name, timeout=_TO_INDEX)
            end = time.monotonic() + _TO_INDEX
            while self.uri and time.monotonic() < end:
                state = self.client.describe_index(name, "vector", timeout=_SECONDS)
                if not int(state.get("pending_index_rows") or 0) and state.get("state") in ("Finished", None):
                    break
                time.sleep(0.5)


def copy(folder: Path, target: Path) -> None:
    """Copy an embedded database that is closed. Raises DiskFull.

    Its data files are never changed once they are written, so the copy shares them where the file system can.
    """
    with io.typed_errors(target):
        for place, _, files in os.walk(folder):
            here = target / Path(place).relative_to(folder)
            here.mkdir(parents=True, exist_ok=True)
            for name in files:
                _copy_file(Path(place) / name, here / name)


def _copy_file(source: Path, target: Path) -> None:
    if source.suffix in (".parquet", ".idx"):
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)


def _hold(folder: str) -> None:
    with _opening:
        _opened[folder] = _opened.get(folder, 0) + 1


def _release(folder: str) -> None:
    from milvus_lite.server_manager import server_manager_instance

    with _opening:
        _opened[folder] -= 1
        if not _opened[folder]:
            del _opened[folder]
            server_manager_instance.release_server(folder)


@contextlib.contextmanager
def answering(where: str) -> Iterator[None]:
    """Turn what the client of Milvus raises into DatabaseError."""
    try:
        yield
    except require("pymilvus", "scale").MilvusException as error:
        raise DatabaseError(f"milvus at {where}: {_reason(error)}; nothing is lost: type it again") from error
    except (ConnectionError, TimeoutError) as error:
        raise DatabaseError(f"milvus at {where} gives no answer ({error}); nothing is lost: type it again") from error
    except Exception as error:  # of grpc, which is no part of the client's own errors
        if not type(error).__module__.startswith("grpc"):
            raise
        raise DatabaseError(
            f"milvus at {where} gives no answer; nothing is lost: start it and type it again"
        ) from error


def _reason(error: Any) -> str:
    """The first line of an error's message."""
    text = str(error.message or error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:300]
