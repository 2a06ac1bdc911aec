"""Finds the weights of a model: in a local folder, an installed package, the hub's cache or the hub, in this order.

Offline, or when the hub does not answer, the search ends within seconds. Files of the hub are verified against the
SHA-256 that it publishes, or one that the part names; a damaged file is never loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensorium.errors import BadData, Corrupt, require

PATIENCE = 5.0  # seconds to wait for the hub's first sign of life
_offline: ContextVar[bool] = ContextVar("offline", default=False)
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Weights:
    """The model files that an encoder or a classifier needs.

    encoder: the name of the part, for messages. model: an id such as "facebook/wav2vec2-base", or a folder.
    revision: branch, tag or commit of an id; "" is the branch main. files: patterns of the files it reads.
    package: an installed module that carries the model, and the folder within it. sha256: of files that must
    be identical, by name. extra: the extra of Sensorium that installs the hub's client. remedy: what to type where
    there is no model; repair: where it is damaged. hint: the end of the message that there is no model. marks: files
    of which a model's folder has one. example: an id, for messages.
    """

    encoder: str
    model: str
    files: Sequence[str]
    extra: str
    remedy: str
    repair: str
    revision: str = ""
    package: str = ""
    package_folder: str = "model"
    sha256: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""
    marks: Sequence[str] = ("config.json", "modules.json")
    example: str = "facebook/wav2vec2-base"


def folder(weights: Weights) -> Path:
    """The folder of a model, downloaded into the hub's cache where it is nowhere else.

    Raises BadData when it is nowhere and the hub does not give it, Corrupt when a file has another checksum,
    MissingExtra without the hub's client.
    """
    found = _local(weights) or _packaged(weights) or _cached(weights) or _downloaded(weights)
    verify(found, weights)
    return found


def packaged(weights: Weights) -> Path:
    """The folder of a model that only an installed package carries, its files verified; nothing is downloaded.

    Raises BadData when the package is not installed, Corrupt when a file has another checksum.
    """
    found = _packaged(weights)
    if found is None:
        raise BadData(f"{weights.encoder}: the package with its weights is not installed; {weights.remedy}")
    verify(found, weights)
    return found


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Nothing is downloaded within the block: what is not here already counts as absent, at once."""
    before = _offline.set(True)
    try:
        yield
    finally:
        _offline.reset(before)


def is_offline() -> bool:
    """Whether this is within an :func:`offline` block, where no network may be asked."""
    return _offline.get()


def commit(where: Path) -> str:
    """The commit of a snapshot in the hub's cache; "" for any other folder."""
    name = where.name if where.parent.name == "snapshots" else ""
    return name if len(name) == 40 and _HEX.issuperset(name) else ""


def verify(where: Path, weights: Weights) -> None:
    """Raise Corrupt unless every file has the SHA-256 that the encoder names, or the hub's cache is named by.

    Takes about 0.2 s for 90 MB.
    """
    for name, expected in weights.sha256.items():
        if not (where / name).is_file():
            raise Corrupt(f"{where / name} is missing; {weights.repair}")
        _check(where / name, expected, weights)
    if commit(where):
        for path in sorted(where.rglob("*")):
            blob = path.resolve().name  # the cache stores large files under their SHA-256
            if path.name not in weights.sha256 and len(blob) == 64 and _HEX.issuperset(blob):
                _check(path, blob, weights)


def _check(path: Path, expected: str, weights: Weights) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise Corrupt(f"{path} has sha256 {found[:8]}…, that of {weights.model} is {expected[:8]}…; {weights.repair}")


def _local(weights: Weights) -> Path | None:
    where = Path(weights.model).expanduser()
    if any((where / name).is_file() for name in weights.marks):
        return where
    if where.is_dir() or weights.model.startswith((".", "/", "~")) or weights.model.count("/") != 1:
        raise BadData(f"{weights.encoder}.model={weights.model}: no folder with a {weights.marks[0]}, and no id "
                      f"such as {weights.example}{weights.hint}")  # fmt: skip
    return None


def _packaged(weights: Weights) -> Path | None:
    package = importlib.util.find_spec(weights.package) if weights.package else None
    if package is None or not package.submodule_search_locations:
        return None
    return Path(package.submodule_search_locations[0]) / weights.package_folder


def _cached(weights: Weights) -> Path | None:
    hub, errors = require("huggingface_hub", weights.extra), require("huggingface_hub.errors", weights.extra)
    try:
        found = Path(hub.snapshot_download(weights.model, local_files_only=True, **_choice(weights)))
    except errors.LocalEntryNotFoundError:
        return None
    # Another program may have left the settings alone there; they are no model.
    holds = [pattern for pattern in weights.files if pattern.endswith((".safetensors", ".bin"))]
    return found if not holds or any(any(found.glob(pattern)) for pattern in holds) else None


def _downloaded(weights: Weights) -> Path:
    hub = require("huggingface_hub", weights.extra)
    endpoint, unasked = hub.constants.ENDPOINT, hub.constants.HF_HUB_OFFLINE or _offline.get()
    if not _answers(f"{endpoint}/api/models/{weights.model}", unasked):
        why = "HF_HUB_OFFLINE is set" if hub.constants.HF_HUB_OFFLINE else f"{endpoint} gives no answer"
        raise BadData(f"{weights.encoder}: its weights are not installed, {weights.model} is not in the cache and "
                      f"{why}; {weights.remedy}{weights.hint}")  # fmt: skip
    if sys.stderr.isatty():
        hub.utils.enable_progress_bars()
    else:
        hub.utils.disable_progress_bars()
        print(f"downloading {weights.model} from {endpoint}", file=sys.stderr, flush=True)
    try:
        return Path(hub.snapshot_download(weights.model, etag_timeout=PATIENCE, **_choice(weights)))
    except (OSError, ValueError) as error:  # refused, unknown or cut off: the hub's errors are kinds of these
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadData(f"{weights.encoder}: {weights.model} is not in the cache and the hub did not deliver it "
                      f"({reason}); check the id and the connection, or {weights.remedy}{weights.hint}"
                      ) from None  # fmt: skip


def _choice(weights: Weights) -> dict[str, Any]:
    return {"revision": weights.revision or None, "allow_patterns": list(weights.files)}


def _answers(url: str, offline: bool) -> bool:
    """Whether the hub answers at all, within seconds.

    Its own client retries for minutes, and a name server that is gone cannot be timed out from outside; so
    one small request goes first, in a daemon thread that is abandoned when it takes too long.
    """
    answered = threading.Event()

    def request() -> None:
        try:
            urllib.request.urlopen(url, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            pass  # an answer all the same; the client will explain it
        except (OSError, ValueError):
            return
        answered.set()

    if not offline:
        thread = threading.Thread(target=request, daemon=True)
        thread.start()
        thread.join(2 * PATIENCE)
    return answered.is_set()
