"""Where the weights of an encoder are: a folder, an installed package, the hub's cache, the hub; in this order.

Offline or without an answer the hub is given up within seconds. Files of the hub are verified against the
SHA-256 that it publishes, or one that the encoder names; a damaged file is never loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensorium.errors import BadData, Corrupt, require

PATIENCE = 5.0  # seconds to wait for the hub's first sign of life
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Weights:
    """What an encoder wants of a model.

    encoder: its name, for messages. model: an id such as "facebook/wav2vec2-base", or a folder.
    revision: branch, tag or commit of an id; "" is the branch main. files: patterns of the files it reads.
    package: an installed module that carries the model, and the folder within it. sha256: of files that must
    be these and no others, by name. extra: of Sensorium that brings the hub's client. remedy: what to type
    where there is no model; repair: where it is damaged.
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


def folder(wanted: Weights) -> Path:
    """The folder of a model, downloaded into the hub's cache where it is nowhere else.

    Raises BadData when it is nowhere and the hub does not give it, Corrupt when a file has another checksum,
    MissingExtra without the hub's client.
    """
    found = _local(wanted) or _packaged(wanted) or _cached(wanted) or _downloaded(wanted)
    verify(found, wanted)
    return found


def commit(where: Path) -> str:
    """The commit of a snapshot in the hub's cache; "" for any other folder."""
    name = where.name if where.parent.name == "snapshots" else ""
    return name if len(name) == 40 and _HEX.issuperset(name) else ""


def verify(where: Path, wanted: Weights) -> None:
    """Raise Corrupt unless every file has the SHA-256 that the encoder names, or the hub's cache is named by.

    Takes about 0.2 s for 90 MB.
    """
    for name, expected in wanted.sha256.items():
        if not (where / name).is_file():
            raise Corrupt(f"{where / name} is missing; {wanted.repair}")
        _check(where / name, expected, wanted)
    if commit(where):
        for path in sorted(where.rglob("*")):
            blob = path.resolve().name  # the cache stores large files under their SHA-256
            if path.name not in wanted.sha256 and len(blob) == 64 and _HEX.issuperset(blob):
                _check(path, blob, wanted)


def _check(path: Path, expected: str, wanted: Weights) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise Corrupt(f"{path} has sha256 {found[:8]}…, that of {wanted.model} is {expected[:8]}…; {wanted.repair}")


def _local(wanted: Weights) -> Path | None:
    where = Path(wanted.model).expanduser()
    if (where / "config.json").is_file():
        return where
    if where.is_dir() or wanted.model.startswith((".", "/", "~")) or wanted.model.count("/") != 1:
        raise BadData(f"{wanted.encoder}.model={wanted.model}: no folder with a config.json, and no id such as "
                      "facebook/wav2vec2-base")  # fmt: skip
    return None


def _packaged(wanted: Weights) -> Path | None:
    package = importlib.util.find_spec(wanted.package) if wanted.package else None
    if package is None or not package.submodule_search_locations:
        return None
    return Path(package.submodule_search_locations[0]) / wanted.package_folder


def _cached(wanted: Weights) -> Path | None:
    hub, errors = require("huggingface_hub", wanted.extra), require("huggingface_hub.errors", wanted.extra)
    try:
        return Path(hub.snapshot_download(wanted.model, local_files_only=True, **_choice(wanted)))
    except errors.LocalEntryNotFoundError:
        return None


def _downloaded(wanted: Weights) -> Path:
    hub = require("huggingface_hub", wanted.extra)
    endpoint = hub.constants.ENDPOINT
    if not _answers(f"{endpoint}/api/models/{wanted.model}", hub.constants.HF_HUB_OFFLINE):
        why = "HF_HUB_OFFLINE is set" if hub.constants.HF_HUB_OFFLINE else f"{endpoint} gives no answer"
        raise BadData(f"{wanted.encoder}: its weights are not installed, {wanted.model} is not in the cache and {why}; "
                      f"{wanted.remedy}")  # fmt: skip
    if sys.stderr.isatty():
        hub.utils.enable_progress_bars()
    else:
        hub.utils.disable_progress_bars()
        print(f"downloading {wanted.model} from {endpoint}", file=sys.stderr, flush=True)
    try:
        return Path(hub.snapshot_download(wanted.model, etag_timeout=PATIENCE, **_choice(wanted)))
    except (OSError, ValueError) as error:  # refused, unknown or cut off: the hub's errors are kinds of these
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadData(f"{wanted.encoder}: {wanted.model} is not in the cache and the hub did not give it ({reason}); "
                      f"check the id and the connection, or {wanted.remedy}") from None  # fmt: skip


def _choice(wanted: Weights) -> dict[str, Any]:
    return {"revision": wanted.revision or None, "allow_patterns": list(wanted.files)}


def _answers(url: str, offline: bool) -> bool:
    """Whether the hub answers at all, within seconds.

    Its own client retries for minutes, and a name server that is gone cannot be timed out from outside; so
    one small question goes first, in a thread that is left behind when it takes too long.
    """
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(url, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            pass  # an answer all the same; the client will explain it
        except (OSError, ValueError):
            return
        answered.set()

    if not offline:
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(2 * PATIENCE)
    return answered.is_set()
