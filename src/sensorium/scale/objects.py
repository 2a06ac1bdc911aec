"""An object store by fsspec, such as s3:// or gs://: every call is tried again after a fault, every read is checked."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import xxhash

from sensorium import io
from sensorium.errors import BadRecipe, MissingExtra, ReadOnly, Unreachable, require
from sensorium.scale.cluster import EXTRA
from sensorium.store.manifest import File

TRIES, FIRST, LONGEST = 8, 0.1, 10.0  # calls, and seconds between the first two and between any two of them
TIMEOUT = "SENSORIUM_STORE_TIMEOUT"  # environment: seconds that an object store may be silent
SECONDS = 30.0  # without it
MODULES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}

T = TypeVar("T")


@dataclass(frozen=True)
class Objects:
    """The objects below a URL, such as ``s3://bucket/folder``. It goes to other processes by pickle.

    endpoint: of an S3 server other than Amazon's, by default what AWS_ENDPOINT_URL says here; credentials are those of
    each machine's own environment. tries: of each call. seconds: that an S3 server may be silent after a call, by
    default what SENSORIUM_STORE_TIMEOUT says here.
    Each object is written once, whole, under a name of its own, so that writing it again after an error is harmless:
    also where the first call has arrived although it was answered by an error.
    """

    url: str
    endpoint: str = field(default_factory=lambda: os.environ.get("AWS_ENDPOINT_URL", ""))
    tries: int = field(default_factory=lambda: TRIES)
    seconds: float = field(default_factory=lambda: _seconds())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url, self.endpoint, self.tries, self.seconds)

    def below(self, name: str) -> Objects:
        """The objects of a folder in it."""
        return Objects(f"{self.url.rstrip('/')}/{name}", self.endpoint, self.tries, self.seconds)

    @cached_property
    def _there(self) -> tuple[Any, str]:
        """The file system and the path. Raises BadRecipe for another kind of URL, MissingExtra without its client."""
        fsspec, scheme = require("fsspec", EXTRA), self.url.partition("://")[0]
        if scheme in MODULES:
            require(MODULES[scheme], EXTRA)
        if "://" not in self.url:
            raise BadRecipe(f"--stores {self.url}; expected s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or file:///FOLDER")
        options: dict[str, Any] = {"use_listings_cache": False} if scheme in MODULES else {}
        if MODULES.get(scheme) == "s3fs":  # what is tried again is counted here
            options["config_kwargs"] = {"retries": {"max_attempts": 1}, "read_timeout": self.seconds}
        if self.endpoint and MODULES.get(scheme) == "s3fs":
            options["endpoint_url"] = self.endpoint
        try:
            fs, path = fsspec.core.url_to_fs(self.url, **options)
        except ImportError as error:
            raise MissingExtra(scheme, EXTRA, str(error)) from None
        except ValueError as error:
            raise BadRecipe(
                f"--stores {self.url}: {error}; expected s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or file:///FOLDER"
            ) from None
        if MODULES.get(scheme) == "s3fs":
            fs.retries = 1  # what is tried again is counted here
        return fs, path.rstrip("/")

    def put(self, name: str, content: bytes) -> None:
        """Write an object. Raises Unreachable after several tries, ReadOnly where that is not allowed."""
        fs, path = self._there
        if self.url.startswith("file:"):  # renamed into place, durable
            io.write(Path(path) / name, content)
        else:
            self._tried(f"write {name}", lambda: fs.pipe_file(f"{path}/{name}", content))

    def get(self, name: str) -> bytes:
        """Read an object whole. Raises FileNotFoundError, Unreachable."""
        fs, path = self._there
        return self._tried(f"read {name}", lambda: fs.cat_file(f"{path}/{name}"))

    def checked(self, file: File) -> bytes:
        """A file of a shard, whole and with its checksum. Raises Unreachable where it stays incomplete."""
        fs, path = self._there

        def read() -> bytes:
            content = fs.cat_file(f"{path}/{file.name}")
            if len(content) != file.bytes or xxhash.xxh3_128_hexdigest(content) != file.xxh3:
                raise OSError(f"{len(content)} bytes of {file.bytes} came, or others than were written")
            return content

        return self._tried(f"read {file.name}", read)

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Bytes of each object whose name begins so."""
        fs, path = self._there

        def read() -> dict[str, int]:
            try:
                found = fs.find(path, maxdepth=1, detail=True, **({"prefix": prefix} if self._prefixes else {}))
            except FileNotFoundError:
                return {}
            names = {full.rpartition("/")[2]: int(about["size"]) for full, about in found.items()}
            return {name: size for name, size in names.items() if name.startswith(prefix)}

        return self._tried("list the objects", read)

    @property
    def _prefixes(self) -> bool:
        """Whether the server itself chooses by prefix."""
        return self.url.partition("://")[0] in MODULES

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are not there are no error."""
        fs, path = self._there
        for name in names:

            def one(name: str = name) -> None:
                try:
                    fs.rm_file(f"{path}/{name}")
                except FileNotFoundError:
                    return

            self._tried(f"delete {name}", one)

    def _tried(self, what: str, call: Callable[[], T]) -> T:
        for pause in _pauses(self.tries):
            try:
                return call()
            except FileNotFoundError as error:
                if what.startswith("write"):  # the bucket itself
                    raise Unreachable(
                        f"{self.url}: cannot {what}: {error}; make the bucket, or correct --stores"
                    ) from None
                raise
            except PermissionError as error:
                raise ReadOnly(
                    f"{self.url}: may not {what} ({error}); check the credentials of the object store"
                ) from None
            except Exception as error:  # clients raise types of their own for what ends by itself
                last = error
            time.sleep(pause)
        raise Unreachable(
            f"{self.url}: could not {what} in {self.tries} tries ({type(last).__name__}: {str(last)[:200]}); what is "
            f"written stays: type the same command again when the object store answers{self._longer(last)}"
        ) from last

    def _longer(self, error: BaseException) -> str:
        """What to type where the object store was silent for too long; else nothing."""
        if not isinstance(error, TimeoutError) and "timeout" not in type(error).__name__.lower():
            return ""
        return f", or let it be silent for longer than {self.seconds:g} s: export {TIMEOUT}={10 * self.seconds:g}"


def _seconds() -> float:
    """What the environment says of the time-out. Raises BadRecipe for what is no number of seconds."""
    text = os.environ.get(TIMEOUT, str(SECONDS))
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 86400:
        raise BadRecipe(f"{TIMEOUT}={text}; expected seconds above 0, up to 86400, such as 300")
    return found


def _pauses(tries: int) -> Iterator[float]:
    """Seconds between tries, each about twice as long as the one before; random, so that workers do not try at once."""
    for number in range(tries):
        yield min(FIRST * 2**number, LONGEST) * random.uniform(0.5, 1.0)
