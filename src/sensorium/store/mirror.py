"""A store as a data set of the Hub: only new shards are sent; what is fetched is verified, twice.

A shard's files never change and their names are random, so a file that is listed there with its size is there. Small
shards that were never sent are merged first, and the client's own ``upload_folder`` then needs few commits. The
manifest is sent with the last of them: a reader finds the store as it was before, or whole.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from sensorium import fingerprint as fingerprints
from sensorium import io
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.progress import say
from sensorium.store import compacting, hub, hub_card, hub_files, manifest
from sensorium.store.hub import Place
from sensorium.store.hub_files import CARD, Listing
from sensorium.store.manifest import Manifest
from sensorium.store.writing import OURS, Writer

ONE_COMMIT = 200  # files up to which shards and manifest go together: the client begins a second commit at 250


def push(
    folder: Path | str,
    name: str,
    *,
    private: bool = False,
    licence: str = "",
    under: str | None = None,
    merge: bool = True,
    progress: bool = True,
    again: str = "",
) -> dict[str, Any]:
    """Mirror a store to the data set ``USER/NAME`` of the Hub; returns ``{"repo", "url", "files", "bytes", "items"}``.

    files and bytes: what was sent now; 0 where nothing was new. private: make the data set so. licence: for the card,
    by the Hub's own word for it. under: the folder in the data set; by default its root, or the store's name where the
    data set holds several. merge: small shards that were never sent become few. again: the command that goes on.

    Raises HubError, MissingExtra, Corrupt for a damaged shard, Mismatch where the data set holds another encoder's
    vectors, BadRecipe where it holds what is no store; nothing is lost then.
    """
    folder, place = Path(folder), Place(hub.name(name), "dataset")
    again = again or f"sensorium push {shlex.quote(str(folder))} {name}"
    manifest.read(folder)
    hub.create(place, private, again)
    done = send(folder, place, under=under, licence=licence, merge=merge, progress=progress, again=again)
    return {"repo": str(place), "url": place.url, **done}


def send(
    folder: Path, place: Place, *, under: str | None, licence: str, merge: bool, progress: bool, again: str
) -> dict[str, int]:
    """As :func:`push`, to a data set that is there; returns ``{"items", "files", "bytes"}``."""
    with _aside(folder) as building:
        listed = hub_files.listing(place, again)
        there = _stores(listed, building / "there", again)
        under = _where(listed, there, folder, under)
        if under in there:
            own = manifest.read(folder).fingerprint
            fingerprints.check(there[under].fingerprint, own, f"{place} holds vectors", "choose another name")
        sent = [shard.name for shard in there[under].shards] if under in there else []
        if merge:
            compacting.merge_new(Writer(folder, manifest.read(folder).fingerprint), sent)
        known, new = _linked(folder, building / "new", listed, under)
        card = _card(listed, {**there, under: known}, licence, building / "there", again)
        return {"items": known.items, **_send(building, place, listed, under, known, new, card, again, progress)}


def _send(
    building: Path, place: Place, listed: Listing, under: str, known: Manifest, new: Sequence[Path], card: str,
    again: str, progress: bool,
) -> dict[str, int]:  # fmt: skip
    """Send the linked shards, then manifest and card, and delete what the manifest no longer names."""
    last, named = building / "last", {_join(under, file.name) for file in known.files()}
    old = [path for path in listed.files if _under(path) == under and _is_shard(path) and path not in named]
    many = len(new) > ONE_COMMIT
    place_of = last if many else building / "new"
    text = _text(known, building)
    for path, content in {_join(under, manifest.NAME): text, **({CARD: card.encode()} if card else {})}.items():
        if path not in listed.files or not listed.files[path].is_of(content):
            io.write(place_of / path, content)
    rest = [path for path in place_of.rglob("*") if path.is_file() and path not in new]
    size = sum(path.stat().st_size for path in new)
    if not new and not rest and not old:
        return {"files": 0, "bytes": 0}
    title = f"{known.items:,} items" + (f" of {under}" if under else "")
    if progress:
        say("push", f"{len(new):,} new files, {size / 1e6:,.1f} MB → {place}")
    with hub.progress_bars(progress):
        if many:
            hub.upload(building / "new", place, f"Shards: {title}", again)
        if rest or old or not many:
            hub.upload(place_of, place, title, again, delete=old)
    return {"files": len(new), "bytes": size}


def pull(
    name: str, out: Path | str, *, revision: str | None = None, progress: bool = True, again: str = ""
) -> dict[str, Any]:
    """Fetch the stores of a data set of the Hub; returns ``{"stores": {folder: items}, "files", "commit"}``.

    One store becomes the folder ``out``; several become folders in it, by their names. Every file is verified by the
    Hub's checksum and by the manifest's before it is a store. An interrupted call goes on. Raises BadData where the
    data set holds no store, BadRecipe where ``out`` is there, HubError, Corrupt, DiskFull.
    """
    place, out = Place(hub.name(name), "dataset"), Path(out).expanduser()
    again = again or f"sensorium pull {place} --out {shlex.quote(str(out))}"
    return pull_listed(hub_files.listing(place, again, revision), out, progress, again)


def pull_listed(listed: Listing, out: Path, progress: bool, again: str) -> dict[str, Any]:
    """As :func:`pull`, of a listing."""
    place = listed.place
    with partial(out) as building:
        there = _stores(listed, building, again)
        if not there:
            some = ", ".join(listed.foreign[:3]) or "no files"
            raise BadData(f"{place} is no store of sensorium: it holds {some}, and no {manifest.NAME}; expected what "
                          "was pushed by sensorium")  # fmt: skip
        needed = {_join(under, file.name): file for under, known in there.items() for file in known.files()}
        for path, file in needed.items():
            if path not in listed.files or listed.files[path].bytes != file.bytes:
                raise Corrupt(f"{place} is not whole: {path} of its manifest is missing or of another size; a push may "
                              f"be going on: type again later: {again}")  # fmt: skip
        hub_files.fetch(listed, needed, building, again, show=progress)
        for path, file in needed.items():
            io.verify(building / path, file.xxh3, f"{place} itself is damaged: push the store again")
        with io.publish(out) as final:
            for path in [*needed, *(_join(under, manifest.NAME) for under in there)]:
                target = final / (PurePosixPath(path).name if len(there) == 1 else path)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(building / path, target)
    stores = {str(out / under if len(there) > 1 else out): known.items for under, known in there.items()}
    return {"stores": stores, "files": len(needed), "commit": listed.commit}


@contextlib.contextmanager
def partial(out: Path) -> Iterator[Path]:
    """The hidden folder beside ``out`` that a pull fetches into; kept after an interruption, deleted when it is whole.

    Raises BadRecipe where ``out`` is there already, Busy where another pull into it is going on.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadRecipe(f"{out} is there already; choose another folder with --out")
    building = out.absolute().parent / f".{out.name}.pulling"
    with io.lock(building, wait=False):
        try:
            yield building
        except BaseException as error:
            hopeless = isinstance(error, (BadData, BadRecipe))
            if hopeless or not any(path.is_file() and path.name != ".lock" for path in building.rglob("*")):
                shutil.rmtree(building, ignore_errors=True)
            raise
        shutil.rmtree(building, ignore_errors=True)


def is_store(listed: Listing) -> bool:
    """Whether a repository holds a manifest where one of a store may lie."""
    return any(_is_manifest(path) for path in listed.files)


def _stores(listed: Listing, place: Path, again: str) -> dict[str, Manifest]:
    """The manifests of a repository, by folder. Raises BadRecipe for one that is not of a store, Corrupt."""
    found = {}
    for path in sorted(filter(_is_manifest, listed.files)):
        body = hub_files.read_json(listed, path, place, again)
        if not isinstance(body, dict) or body.get("format") != manifest.FORMAT:
            raise BadData(f"{listed.place} holds a {path} that is not of a store of sensorium; expected what was "
                          "pushed by sensorium: choose another name")  # fmt: skip
        try:
            found[_under(path)] = manifest.read((place / path).parent)
        except (KeyError, TypeError, AttributeError) as error:
            raise Corrupt(f"{listed.place}: {path} is no manifest of a store ({error!r}); do not use it") from None
        for file in found[_under(path)].files():
            if not _is_shard(file.name) or not hub_files.inside(file.name) or "/" in file.name:
                raise Corrupt(
                    f"{listed.place}: {path} names '{file.name[:100]}', which is no file of a store; do not use it"
                )
    return found


def _where(listed: Listing, there: Collection[str], folder: Path, under: str | None) -> str:
    """The folder in the repository that a store belongs to. Raises BadRecipe where there is no place for it."""
    if not there:
        foreign = [path for path in listed.foreign if not _is_shard(path)]
        if foreign:
            raise BadRecipe(
                f"{listed.place} holds other files, such as {foreign[0]}, and no store; choose another name"
            )
        return under or ""
    if "" in there:
        return ""
    return under or folder.resolve().name


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A folder beside the store, so that files can be linked into it; or elsewhere, where none may be made there."""
    parent = folder.resolve().parent
    with tempfile.TemporaryDirectory(prefix=".tmp-push-", dir=parent if os.access(parent, os.W_OK) else None) as place:
        yield Path(place)


def _linked(folder: Path, building: Path, listed: Listing, under: str) -> tuple[Manifest, list[Path]]:
    """The store's manifest and links to its files that are not there yet: what is replaced meanwhile stays readable.

    Raises Corrupt for a damaged file.
    """
    new = []
    building.mkdir()
    with _reading(folder):
        known = manifest.read(folder)
        for file in known.files():
            path = _join(under, file.name)
            if path in listed.files and listed.files[path].bytes == file.bytes:
                continue
            target = building / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(folder / file.name, target)
            new.append((target, file))
    for target, file in new:
        io.verify(target, file.xxh3, compacting.shard.REMEDY.format(folder=folder))
    return known, [target for target, _ in new]


def _reading(folder: Path) -> contextlib.AbstractContextManager[None]:
    """The store's lock, so that no file goes away; nothing where it may not be written."""
    return io.lock(folder) if os.access(folder, os.W_OK) else contextlib.nullcontext()


def _link(source: Path, target: Path) -> None:
    """A second name for a file; a symbolic link where the file system gives none. Raises Corrupt when it is missing."""
    if not source.is_file():
        raise Corrupt(f"{source} is missing; {compacting.shard.REMEDY.format(folder=source.parent)}")
    try:
        os.link(source, target)
    except OSError:
        os.symlink(source.resolve(), target)


def _text(known: Manifest, building: Path) -> bytes:
    known.write(building)
    return (building / manifest.NAME).read_bytes()


def _card(listed: Listing, stores: Mapping[str, Manifest], licence: str, building: Path, again: str) -> str:
    """The new card; "" where the one that is there is its owner's. Raises BadRecipe for an unknown licence."""
    before = hub_files.card_of(listed, building, again)
    if not hub_card.is_ours(before):
        return ""
    card = hub_card.card(listed.place, stores, licence or hub_card.licence_in(before))
    if card != before:
        hub.validate(card, listed.place, again)
    return card


def _is_manifest(path: str) -> bool:
    pure = PurePosixPath(path)
    return pure.name == manifest.NAME and len(pure.parts) <= 2


def _is_shard(path: str) -> bool:
    return any(fnmatch(PurePosixPath(path).name, pattern) for pattern in OURS)


def _under(path: str) -> str:
    parent = PurePosixPath(path).parent.as_posix()
    return "" if parent == "." else parent


def _join(under: str, name: str) -> str:
    return f"{under}/{name}" if under else name
