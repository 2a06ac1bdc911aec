"""A run as one file to take elsewhere: its media as small copies, no path of this machine, a checksum of every file."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sensorium import consent, integrity, io, modalities
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.recipe import Recipe
from sensorium.search import copies, journal, located, media, migration, scrubbing
from sensorium.search.run import Run
from sensorium.search.run import open as open_run
from sensorium.types import as_ids

FORMAT = 1
MANIFEST = "pack.json"
CODE = "code"  # folder of parts from outside
_LEFT_OUT = (".*", "checkpoint", migration.BEFORE, located.FILE, MANIFEST)
_SMALL = (".json", ".jsonl", ".toml", ".md")  # deflated; the others are compressed already, or hardly compress
_TIME = (1980, 1, 1, 0, 0, 0)  # of every file, so that equal runs make equal packs


def pack(
    run: Path | str, out: Path | str | None = None, *, with_code: bool = False, progress: bool = False
) -> dict[str, Any]:
    """Write a run as a .zip file, by default ``RUN.zip``; returns ``{"run", "out", "bytes", "files", "media", …}``.

    Pictures and sounds become small copies, as with ``media=pack``; what is not there any more is counted. Texts say
    no folder of this machine; ``named`` lists files that still do, such as ids that are absolute paths. with_code:
    parts from outside are copied too; without it their names and SHA-256 stand in the pack.
    Raises BadRecipe where ``out`` is no .zip file, and what opening a run raises.
    """
    folder = Path(run)
    out = Path(out).expanduser() if out is not None else folder.with_name(folder.resolve().name + ".zip")
    if out.suffix != ".zip" or out.is_dir():
        raise BadRecipe(f"--out {out}; expected a file that ends in .zip")
    with tempfile.TemporaryDirectory(prefix=".tmp-pack-", dir=_there(out.parent)) as place:
        building = Path(place) / "run"
        record = prepare(run, building, with_code=with_code, progress=progress)
        io.write(out, lambda file: _zip(building, file))
    return {"run": str(run), "out": str(out), "bytes": out.stat().st_size, **record}


def prepare(
    run: Path | str,
    building: Path,
    *,
    with_code: bool = False,
    with_media: bool = True,
    progress: bool = False,
    card: Callable[[Path], str] | None = None,
) -> dict[str, Any]:
    """Copy a run into the new folder ``building``, fit to travel, with the list of its files: see :func:`pack`.

    with_media: its pictures and sounds go along, as small copies. card: gives the README.md of the copy.
    """
    opened = open_run(run)
    opened.migrations.refuse("packed")
    folder = Path(opened.folder)
    building.mkdir()
    left_out = _LEFT_OUT if with_media else (*_LEFT_OUT, "media")
    with journal.locked(folder):
        io.copy_folder(folder, building, shutil.ignore_patterns(*left_out))
    record = _prepare(opened, folder, building, with_code, with_media, progress)
    if card is not None:
        io.write(building / "README.md", card(building))
        integrity.write(building)
    files = {name: digest(building / name) for name in _names(building)}
    manifest = {"format": FORMAT, "name": opened.metrics.get("name", ""), "files": files, "code": record["code"]}
    (building / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return {"files": len(files), **record}


def _prepare(
    opened: Run, folder: Path, building: Path, with_code: bool, with_media: bool, progress: bool
) -> dict[str, Any]:
    """Make a copy of a run fit to travel; returns what became of media and code."""
    shown, lost = _small_media(folder, building, progress) if with_media else (0, 0)
    codes = consent.named([scrubbing.read(folder / name) for name in consent.NAMING if (folder / name).is_file()])
    code = [_code(one, building, with_code) for one in codes]
    if _names_files(building):
        shutil.rmtree(building / "data")  # values that were paths: of no use elsewhere
    renamed = {one.name: str(entry["name"]) for one, entry in zip(codes, code, strict=True)}
    scrubber = scrubbing.Scrubber(_folders(folder), {old: new for old, new in renamed.items() if old != new})
    _scrub(opened, building, scrubber)
    record: dict[str, Any] = {"media": shown, "code": code}
    if lost:
        record["media_lost"] = lost
    if named := scrubber.left_in(building):
        record["named"] = named
    return record


def _scrub(opened: Run, building: Path, scrubber: scrubbing.Scrubber) -> None:
    """Take the folders out of every text, and bring hashes and checksums up to date."""
    before = opened.recipe
    recipe = Recipe(before.name, scrubber.value(before.values))
    scrubber.folder(building)
    migration.renew_checksums(building)
    io.write(building / "recipe.toml", recipe.toml())
    metrics = io.read_json(building / "metrics.json")
    if metrics.get("recipe") == before.hash:
        metrics["recipe"] = recipe.hash
    io.write_json(building / "metrics.json", metrics)
    for side in ("left", "right"):
        if (building / f"{side}.safetensors").is_file():
            _scrub_head(building, side, scrubber)
    integrity.write(building)


def _scrub_head(building: Path, side: str, scrubber: scrubbing.Scrubber) -> None:
    """Scrub what a head's weights say of themselves; the checksums of them follow."""
    from safetensors import safe_open
    from safetensors.numpy import load, save

    path = building / f"{side}.safetensors"
    with safe_open(path, "np") as file:
        told = file.metadata() or {}
    clean = {key: json.dumps(scrubber.value(json.loads(text))) if key == "sensorium" else scrubber(text)
             for key, text in told.items()}  # fmt: skip
    if all(json.loads(clean["sensorium"]) == json.loads(told["sensorium"]) if key == "sensorium" else clean[key] == text
           for key, text in told.items()):  # fmt: skip
        return
    io.write(path, save(load(path.read_bytes()), metadata=clean))
    for name, key in ((f"{side}.json", "checksum"), (f"index/{side}.json", "head")):
        if (building / name).is_file():
            io.write_json(building / name, {**io.read_json(building / name), key: io.checksum(path)})


def _small_media(folder: Path, building: Path, progress: bool) -> tuple[int, int]:
    """Media that are paths become small copies; returns how many items are shown, and how many no longer can be."""
    shown = lost = 0
    for side in ("left", "right"):
        stored = media.open(folder, side)
        if stored is None:
            continue
        before = sum(id in stored for id in stored.ids)
        if stored.record["root"] is None:
            shown += before
            continue
        first = next((one for id in stored.ids if id in stored and (one := stored.get(id))), ("", b""))
        kind = first[0].partition("/")[0]
        modality = next((one for one in modalities.found().values() if one.shown_as == kind), None)
        contents: Iterator[bytes | None] = iter([None] * len(stored.ids))
        if modality is not None:
            contents = copies.each(modality, stored.ids, progress, partial(_value, modality, stored))
        there = media.write(building, side, as_ids(stored.ids), contents, copies.TYPES.get(kind, ""))
        shown, lost = shown + there, lost + before - there
    return shown, lost


def _value(modality: modalities.Modality, stored: media.Media, id: str) -> Any:
    """What an item is shown by: the path of its file, or what was packed before, decoded. Raises BadData."""
    found = stored.get(id) if id in stored else None
    if found is None:
        raise BadData(f"the file of '{id}' is not there any more")
    content = found[1]
    return str(content) if isinstance(content, Path) else modality.decode(content, modalities.Limits()).value


def _code(code: consent.Code, building: Path, copied: bool) -> dict[str, Any]:
    """The record of a part from outside, named without its folder; its file is copied where it is one file."""
    where, _, attribute = code.name.rpartition(":")
    alone = where.endswith(".py") or len(code.files) == 1
    name = f"{code.files[-1].name}:{attribute}" if where.endswith(".py") or (copied and alone) else code.name
    file = None
    if copied and alone:
        file = f"{CODE}/{code.files[-1].name}"
        if (building / file).exists():
            raise BadRecipe(f"two parts of the run lie in files called {code.files[-1].name}; rename one of them")
        io.write(building / file, code.files[-1].read_bytes())
    return {"name": name, "sha256": code.sha256, "file": file}


def _names_files(building: Path) -> bool:
    """Whether the run keeps values that it was fitted on, and these are paths of files."""
    about = building / "data" / "data.json"
    if not about.is_file():
        return False
    kinds = {side.get("kind"): side.get("form") for side in io.read_json(about).get("sides", {}).values()}
    return any(kind not in ("text", "vector") and form != "vectors" for kind, form in kinds.items())


def _folders(folder: Path) -> list[str]:
    """The folders of this machine that the files of a run may name."""
    media_files = [folder / "media" / f"{side}.json" for side in ("left", "right")]
    records = [record for path in media_files if path.is_file() and (record := scrubbing.read(path)).get("root")]
    typed = [scrubbing.read(path) for path in (folder / "recipe.toml", folder / located.FILE) if path.is_file()]
    known = [Path.home(), Path.cwd(), folder.absolute().parent, folder.resolve().parent, Path(tempfile.gettempdir())]
    found = [*scrubbing.folders_in(typed, True), *scrubbing.folders_in(scrubbing.read(folder / "metrics.json"), False)]
    return [str(one) for one in (*known, *found, *(r["root"] for r in records)) if len(Path(one).parts) > 1]


def _names(building: Path) -> list[str]:
    return [path.relative_to(building).as_posix() for path in sorted(building.rglob("*"))
            if path.is_file() and not path.is_symlink()]  # fmt: skip


def digest(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file, as the list of a pack has them."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _zip(building: Path, file: Any) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name in [MANIFEST, *(name for name in _names(building) if name != MANIFEST)]:
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED if name.endswith(_SMALL) else zipfile.ZIP_STORED
            with open(building / name, "rb") as content, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(content, target, 1 << 20)


def _there(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def read_manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """What a pack says of its files. Raises Corrupt for another zip file."""
    try:
        with archive.open(MANIFEST) as file:
            manifest = json.loads(file.read(64 << 20))
    except (KeyError, ValueError, OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise Corrupt(f"{path} is no packed run ({error}); make one with: sensorium pack RUN") from None
    if not is_manifest(manifest):
        raise Corrupt(f"{path} is no packed run of format {FORMAT}; make one with: sensorium pack RUN")
    return manifest


def is_manifest(manifest: Any) -> bool:
    """Whether a value is the list of a packed run's files."""
    right = isinstance(manifest, dict) and manifest.get("format") == FORMAT
    return right and isinstance(manifest.get("files"), dict) and isinstance(manifest.get("code"), list)
