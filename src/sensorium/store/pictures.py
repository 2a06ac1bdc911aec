"""Pictures of a store's vectors beside it in a data set of the Hub, in the folder ``pseudo_images``."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sensorium.store import hub, manifest, mirror
from sensorium.store.hub import Place

FOLDER = "pseudo_images"  # in the data set, as Embed2Image has it


def check(name: str) -> None:
    """Raise BadRecipe for what is no repository's name, HubError where this machine is not logged in."""
    hub.name(name)
    hub.login()


def send(
    what: Path, out: Path, files: Sequence[Path], name: str, *, private: bool = False, progress: bool = True
) -> str:
    """Send these files of the folder ``out`` to the data set ``USER/NAME``; returns its page.

    what: the store that they are of, which is mirrored first; of a run or a recipe the pictures alone are sent. What is
    there already with the same content is not sent again. Raises what :func:`sensorium.store.mirror.push` does.
    """
    place = Place(hub.name(name), "dataset")
    again = f"sensorium images {shlex.quote(str(what))} --out {shlex.quote(str(out))} --push-to {name}"
    again += " --private" * private
    if manifest.exists(what):
        mirror.push(what, name, private=private, progress=progress, again=again)
    else:
        hub.create(place, private, again)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=out) as aside, hub.progress_bars(progress):
        for file in files:  # these alone: the folder may hold anything else
            target = Path(aside) / file.relative_to(out)
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(file, target)
        hub.upload(Path(aside), place, f"Pictures of {len(files):,} vectors", again, under=FOLDER)
    return place.url


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # of a file system without links
        shutil.copyfile(file, target)
