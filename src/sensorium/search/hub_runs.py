"""A run as a model of the Hub: pushed as it is packed, pulled file by file after every check, opened from the cache."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shlex
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Any

from sensorium import consent, integrity, io
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.evaluate import hub_card
from sensorium.progress import say
from sensorium.search import packing, unpacking
from sensorium.search.packing import MANIFEST
from sensorium.search.run import Run
from sensorium.search.run import open as open_run
from sensorium.store import hub, hub_errors, hub_files, mirror
from sensorium.store import hub_card as store_card
from sensorium.store.hub import Place
from sensorium.store.hub_files import Listing

_LINKED = 1 << 20  # bytes from which a file of the cache is linked, not copied
_CHANGING = "live"  # folder of a run whose files are appended to: always copied


def push(
    run: Path | str,
    name: str,
    *,
    private: bool = False,
    licence: str = "",
    with_code: bool = False,
    with_media: bool = True,
    progress: bool = True,
    again: str = "",
) -> dict[str, Any]:
    """Publish a run as the model ``USER/NAME`` of the Hub; returns ``{"repo", "url", "files", "bytes", "media", …}``.

    What is sent is what :func:`sensorium.search.packing.pack` packs, with a model card: no folder of this machine, no
    checkpoint. A model that holds an earlier run becomes this one; the Hub keeps its history. A call that was cut off
    goes on. licence: of the Hub's list, for the card. Other arguments: see ``packing.prepare`` and ``mirror.push``.

    Raises HubError, MissingExtra, BadRecipe where the model holds what is no run, and what opening a run raises.
    """
    place = Place(hub.name(name), "model")
    again = again or f"sensorium push {shlex.quote(str(run))} {name}"
    open_run(run)  # before anything is asked of the Hub
    hub.create(place, private, again)
    listed = hub_files.listing(place, again)
    if MANIFEST not in listed.files and listed.foreign:
        raise BadRecipe(f"{place} holds other files, such as {listed.foreign[0]}, and no run; choose another name")
    parent = Path(run).resolve().parent
    with tempfile.TemporaryDirectory(prefix=".tmp-push-", dir=parent if os.access(parent, os.W_OK) else None) as aside:
        building, before = Path(aside) / "run", Path(aside) / "before"
        old = _manifest(listed, before, again)["files"] if MANIFEST in listed.files else {}

        def card(folder: Path) -> str:
            text = hub_files.card_of(listed, before, again)
            if not store_card.is_ours(text):
                return text
            metrics, recipe = io.read_json(folder / "metrics.json"), (folder / "recipe.toml").read_text("utf-8")
            page = hub_card.page(place, metrics, recipe, folder, licence or store_card.licence_in(text))
            if page != text:
                hub.validate(page, place, again)
            return page

        record = packing.prepare(
            run, building, with_code=with_code, with_media=with_media, progress=progress, card=card
        )
        new = [path for path in building.rglob("*") if path.is_file() and not _is_there(path, building, listed)]
        size = sum(path.stat().st_size for path in new)
        gone = [path for path in old if path in listed.files and not (building / path).is_file()]
        if new or gone:
            say("push", f"{len(new)} new files, {size / 1e6:,.1f} MB → {place}") if progress else None
            with hub.progress_bars(progress):
                hub.upload(building, place, _title(run, building), again, delete=gone)
    record |= {"repo": str(place), "url": place.url, "files": len(new), "bytes": size}
    return record


def pull(
    name: str, out: Path | str, *, revision: str | None = None, progress: bool = True, again: str = ""
) -> dict[str, Any]:
    """Fetch a model of the Hub that is a run into the folder ``out``; returns ``{"run", "files", "code", "commit"}``.

    Each file is verified by the Hub's checksum and by the run's own list; others are not fetched. No code is executed.
    An interrupted call goes on. Raises BadData where it is no run, BadRecipe where ``out`` is there, HubError, Corrupt.
    """
    place, out = Place(hub.name(name), "model"), Path(out).expanduser()
    again = again or f"sensorium pull {place} --out {shlex.quote(str(out))}"
    return pull_listed(hub_files.listing(place, again, revision), out, progress, again)


def pull_listed(listed: Listing, out: Path, progress: bool, again: str) -> dict[str, Any]:
    """As :func:`pull`, of a listing."""
    with mirror.partial(out) as building:
        manifest = _manifest(listed, building, again)
        hub_files.fetch(listed, manifest["files"], building, again, show=progress)
        _verify(building, manifest, str(listed.place))
        with io.publish(out) as final:
            for name in manifest["files"]:
                (final / name).parent.mkdir(parents=True, exist_ok=True)
                os.rename(building / name, final / name)
            unpacking.place_code(manifest, final, out.absolute())
            integrity.write(final)  # README.md may be another one by now
    open_run(out)
    return {"run": str(out), "files": len(manifest["files"]), "code": manifest["code"], "commit": listed.commit}


def found(name: str, again: str, revision: str | None = None) -> Listing:
    """The model of this name that is a run, or else the data set of this name that is a store, by their manifests.

    name: ``USER/NAME``, or ``models/USER/NAME`` or ``datasets/USER/NAME`` to say which. Raises BadRecipe where both
    are there, BadData where neither is what was pushed by sensorium, HubError.
    """
    prefix, _, rest = name.partition("/")
    types = {"models": ["model"], "datasets": ["dataset"]}.get(prefix if "/" in rest else "", ["model", "dataset"])
    places = [Place(hub.name(rest if len(types) == 1 else name), type) for type in types]
    listings, missing = [], []
    for place in places:
        try:
            listings.append(hub_files.listing(place, again, revision))
        except hub_errors.Missing as error:
            missing.append(error)
    ours = [one for one in listings if (MANIFEST in one.files if one.place.type == "model" else mirror.is_store(one))]
    if len(ours) == 1:
        return ours[0]
    if ours:
        raise BadRecipe(f"{name} is a run and a store; type: sensorium pull models/{name}, or datasets/{name}")
    if not listings:
        raise missing[0]
    first = listings[0]
    expected = MANIFEST if first.place.type == "model" else "manifest.json"
    held = ", ".join(first.foreign[:3]) or "no files"
    raise BadData(
        f"{first.place} is not ours: it holds {held}, and no {expected}; expected what was pushed by sensorium"
    )


def from_pretrained(name: str, *, revision: str | None = None, trust: bool = False, progress: bool = True) -> Run:
    """Open a run of the Hub: downloaded into the cache of ``huggingface_hub`` once, and verified each time.

    name: ``USER/NAME``, or a run's folder. revision: branch, tag or commit. The login is that of ``hf auth login`` or
    HF_TOKEN. Without a connection, what is in the cache is opened. The run is a copy that lasts as long as the
    process: ``run.save(folder)`` keeps changes. trust: as of :func:`sensorium.open`; without it no code is executed.

    Raises BadData where the model is no run, HubError, Corrupt, MissingExtra.

    >>> run = sensorium.from_pretrained("me/captions")            # doctest: +SKIP
    >>> run.search("rain on a roof", k=5)                         # doctest: +SKIP
    """
    if Path(name).is_dir():
        return open_run(name)
    place = Place(hub.name(name), "model")
    again = f'sensorium.from_pretrained("{name}")'
    cached = _cached(place, revision, [MANIFEST], again, progress)
    if not (cached / MANIFEST).is_file():
        raise BadData(_no_run(place, list(hub_files.listing(place, again, revision).foreign)))
    manifest = io.read_json(cached / MANIFEST, again)
    _check(manifest, place)
    cached = _cached(place, cached.name, [MANIFEST, *manifest["files"]], again, progress)
    _verify(cached, manifest, str(place))
    return _opened(cached, manifest, trust)


def _cached(place: Place, revision: str | None, paths: list[str], again: str, progress: bool) -> Path:
    """The folder of a snapshot in the hub's cache that has these files, where the repository has them."""

    def get() -> str:
        return str(hub_errors.module().snapshot_download(place.name, revision=revision, library_name="sensorium",
                                                  allow_patterns=[escape(path) for path in paths]))  # fmt: skip

    with hub_errors.asking(str(place) + (f" at {revision}" if revision else ""), again), hub.progress_bars(progress):
        return Path(hub_errors.repeated(get, str(place)))


def _opened(cached: Path, manifest: Mapping[str, Any], trust: bool) -> Run:
    """A run over the files of the cache, which it cannot change: large ones are linked, the others copied."""
    around = Path(hub_errors.module().constants.HF_HOME) / "sensorium"
    around.mkdir(parents=True, exist_ok=True)
    io.sweep(around)  # of processes that were killed
    home = around / f".tmp-{secrets.token_hex(6)}-opened"
    folder = home / "run"
    folder.mkdir(parents=True)
    handle = os.open(home, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)  # so that no other process takes it for a dead one's
    try:
        for name in manifest["files"]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            _placed((cached / name).resolve(), folder / name, name)
        unpacking.place_code(dict(manifest), folder, folder)
        integrity.write(folder)
        if trust:
            consent.trust(folder)
        run = open_run(folder)
    except BaseException:
        _forget(home, handle)
        raise
    weakref.finalize(run, _forget, home, handle)
    return run


def _placed(source: Path, target: Path, name: str) -> None:
    if source.stat().st_size >= _LINKED and not name.startswith(f"{_CHANGING}/"):
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def _forget(home: Path, handle: int) -> None:
    shutil.rmtree(home, ignore_errors=True)
    os.close(handle)


def _manifest(listed: Listing, place: Path, again: str) -> dict[str, Any]:
    """The list of a run's files, checked against the repository's. Raises BadData where there is none, Corrupt."""
    if MANIFEST not in listed.files:
        raise BadData(_no_run(listed.place, listed.foreign))
    manifest = hub_files.read_json(listed, MANIFEST, place, again)
    _check(manifest, listed.place)
    for name, file in manifest["files"].items():
        there = listed.files.get(name)
        if there is None or (there.bytes != file["bytes"] and name not in hub_files.PROSE):
            raise Corrupt(f"{listed.place} is not whole: {name} of its list is missing or of another size; a push may "
                          f"be going on: type again later: {again}")  # fmt: skip
    return dict(manifest)


def _check(manifest: Any, place: Place) -> None:
    """Raise BadData for a file that lists no run, Corrupt for names that lead out of it."""
    if not packing.is_manifest(manifest):
        raise BadData(f"{place} holds a {MANIFEST} that lists no run of sensorium of format {packing.FORMAT}; expected "
                      "what was pushed by sensorium")  # fmt: skip
    for name in manifest["files"]:
        if not unpacking.is_inside(name):
            raise Corrupt(f"{place} lists '{name[:100]}', which is no file inside of a run; do not use it")
    unpacking.check_sizes(manifest, str(place), "do not use it")


def _verify(folder: Path, manifest: Mapping[str, Any], what: str) -> None:
    """Raise Corrupt unless every file but the card is what the run's list says."""
    for name, file in manifest["files"].items():
        if name not in hub_files.PROSE and packing.digest(folder / name) != {k: file[k] for k in ("bytes", "sha256")}:
            raise Corrupt(f"{what}: {name} is not what its list says; it was changed there: push the run again")


def _is_there(path: Path, building: Path, listed: Listing) -> bool:
    known = listed.files.get(path.relative_to(building).as_posix())
    return known is not None and known.bytes == path.stat().st_size and hub_files.is_whole(path, known)


def _no_run(place: Place, names: list[str]) -> str:
    held = ", ".join(names[:3]) or "no files"
    return f"{place} is no run of sensorium: it holds {held}, and no {MANIFEST}; expected what was pushed by sensorium"


def _title(run: Path | str, building: Path) -> str:
    metrics = io.read_json(building / "metrics.json")
    return f"Run {metrics.get('name') or Path(run).name}, recipe {metrics.get('recipe', 'unknown')}"
