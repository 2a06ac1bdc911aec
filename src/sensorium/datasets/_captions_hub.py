"""Cached embeddings of a data set of the Hub: the files of caches alone, fetched once, verified, read from the disk."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from sensorium import io
from sensorium.datasets._captions_cache import FILES
from sensorium.errors import BadData, BadRecipe

FOLDER = "embeddings"  # below data.root, as the Embed2Image document has it
ABOUT = "hub.json"  # what was fetched, written last
_ADDRESS = re.compile(
    r"(?:hf://)?(?:datasets/)?(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.\-]+))?(?:/(?P<folder>.+))?"
)


def obtained(address: str, root: Path | None, again: str) -> Path:
    """The folder of the caches of ``USER/NAME[@REVISION][/FOLDER]``; fetched where it is not there yet.

    root: the folder that they are kept in, below ``embeddings``; without one, in the cache folder: XDG_CACHE_HOME, or
    ~/.cache, and sensorium/hub. again: the command that goes on after an interruption.
    Raises BadRecipe for another address, BadData where the repository holds no cache, HubError where the Hub does not
    give it, Corrupt for a file that is not what the Hub says, MissingExtra.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise BadRecipe(f"data.hub={address}; expected USER/NAME, USER/NAME@REVISION or USER/NAME/FOLDER")
    name, revision, inner = found["name"], found["revision"], (found["folder"] or "").strip("/")
    folder = _place(name, revision, root)
    known = io.read_json(folder / ABOUT) if (folder / ABOUT).is_file() else None
    if not isinstance(known, dict) or known.get("address") != [name, revision, inner]:
        commit = _fetch(name, revision, inner, folder, again)
        io.write_json(folder / ABOUT, {"address": [name, revision, inner], "commit": commit})
    return folder / inner


def _place(name: str, revision: str | None, root: Path | None) -> Path:
    if root is not None:
        return root / FOLDER
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sensorium" / "hub"
    return cache / f"{name.replace('/', '--')}@{revision or 'main'}"


def _fetch(name: str, revision: str | None, inner: str, folder: Path, again: str) -> str:
    """Fetch the caches' files; returns the commit that they are of."""
    from sensorium.store import hub, hub_files

    listed = hub_files.listing(hub.Place(hub.name(name), "dataset"), again, revision)
    base = PurePosixPath(inner)
    caches = {PurePosixPath(path).parent for path in listed.files if PurePosixPath(path).name == FILES[0]}
    chosen = {one for one in caches if base in (one, one.parent)}
    if not chosen:
        there = f"; type: data.hub={name}/{min(caches)}" if caches else ""
        raise BadData(f"{listed.place} holds no {FILES[0]} in '{base}' or directly below it{there}; expected "
                      f"{', '.join(FILES)}, or one such folder a split")  # fmt: skip
    paths = [
        path for path in listed.files if PurePosixPath(path).name in FILES and PurePosixPath(path).parent in chosen
    ]
    hub_files.fetch(listed, paths, folder, again)
    return listed.commit
