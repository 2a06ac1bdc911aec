"""A model published as one file at an address: from the folder where torch keeps such files, else downloaded there.

The folder, ``torch.hub.get_dir()/checkpoints``, is shared with other packages, which so have downloaded it already.
A file appears there whole or not at all.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from sensorium import downloads, progress
from sensorium.errors import BadData, DiskFull, require

_BLOCK = 1 << 20


def file(encoder: str, url: str, remedy: str) -> Path:
    """The file of an address. encoder: its name, for messages. remedy: what to type where it cannot be had.

    Raises BadData where it is not there and the address does not give it, DiskFull, MissingExtra without torch.
    """
    folder = Path(require("torch.hub", "train").get_dir()) / "checkpoints"
    path = folder / url.rpartition("/")[2]
    if path.is_file():
        return path
    if downloads.is_offline() or os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        raise BadData(f"{encoder}: {path.name} is not in {folder} and may not be downloaded (offline); {remedy}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(url, path)
    except urllib.error.HTTPError as error:
        raise BadData(f"{encoder}: {url} answers {error.code}; {remedy}") from None
    except (urllib.error.URLError, TimeoutError, http.client.HTTPException, ConnectionError) as error:
        raise BadData(f"{encoder}: {path.name} is not in {folder} and {url} gives no answer, or broke off "
                      f"({error}); try again, or {remedy}") from None  # fmt: skip
    except OSError as error:
        raise DiskFull(f"{encoder}: {path} cannot be written ({error.strerror or error}); free some space") from None
    return path


def _download(url: str, path: Path) -> None:
    """The content of an address at a path. Raises ConnectionError where it ends before the length it stated."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out, urllib.request.urlopen(url, timeout=downloads.PATIENCE) as answer:
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            if not sys.stderr.isatty():
                print(f"downloading {url}", file=sys.stderr, flush=True)
            with progress.bar(f"downloading {path.name}", total) as advance:
                while block := answer.read(_BLOCK):
                    out.write(block)
                    done += len(block)
                    advance(len(block))
        if total and done != total:
            raise ConnectionError(f"{done:,} of {total:,} bytes came")
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
