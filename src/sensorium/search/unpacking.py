"""A packed run as a folder again: every name, size and checksum is verified before anything of it is a run."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import tempfile
import weakref
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from sensorium import consent, integrity, io, recipe
from sensorium.errors import BadRecipe, Corrupt, DiskFull
from sensorium.search import scrubbing
from sensorium.search.folder import quote
from sensorium.search.packing import CODE, MANIFEST, read_manifest
from sensorium.search.run import Run
from sensorium.search.run import open as open_run

_REMEDY = "copy it again, or make it anew: sensorium pack RUN"


def unpack(path: Path | str, out: Path | str | None = None) -> dict[str, Any]:
    """Make a run folder of what :func:`sensorium.search.packing.pack` wrote; returns ``{"run", "files", "code"}``.

    out: by default the file's name without .zip; it may be absent or empty. Code in the pack is written beside the
    run's files, and executed by nobody before the user allows it.
    Raises BadRecipe where ``out`` is there, Corrupt for a file that is not what the pack's own list says, for names
    that lead out of the folder, links, and files that the list does not have, DiskFull.
    """
    path = Path(path).expanduser()
    out = Path(out).expanduser() if out is not None else path.with_suffix("")
    if not path.is_file():
        raise BadRecipe(f"no file {path}; expected what sensorium pack wrote")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadRecipe(f"{out} is there already; choose another folder with --out")
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = read_manifest(archive, path)
            _check_names(archive, manifest, path)
            total = sum(one["bytes"] for one in manifest["files"].values())
            out.parent.mkdir(parents=True, exist_ok=True)
            if total > shutil.disk_usage(out.parent).free:
                raise DiskFull(f"{out}: {total:,} bytes do not fit on the disk; nothing was written")
            with io.publish(out) as building:
                for name, file in manifest["files"].items():
                    _extract(archive, name, file, building / name, path)
                place_code(manifest, building, out.absolute())
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise Corrupt(f"{path} is damaged, or no zip file ({error}); {_REMEDY}") from None
    integrity.check(out)
    return {"run": str(out), "files": len(manifest["files"]), "code": manifest["code"]}


def opened(path: Path | str, trust: bool = False) -> Run:
    """A packed run, opened from a temporary folder that lasts as long as the run does; changes to it are lost then.

    trust: as of :func:`sensorium.open`.
    """
    place = tempfile.mkdtemp(prefix="sensorium-")
    try:
        unpack(path, Path(place) / "run")
        if trust:
            consent.trust(Path(place) / "run")
        run = open_run(Path(place) / "run")
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    weakref.finalize(run, shutil.rmtree, place, ignore_errors=True)
    return run


def _check_names(archive: zipfile.ZipFile, manifest: dict[str, Any], path: Path) -> None:
    """Raise Corrupt for entries that are not exactly the files of the list, or that would lie outside of the folder."""
    names = [entry.filename for entry in archive.infolist()]
    for entry in archive.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if not is_inside(entry.filename) or kind not in (0, stat.S_IFREG) or entry.is_dir():
            raise Corrupt(f"{path} holds '{entry.filename[:100]}', which is no file inside of a run; do not use it")
    listed = {*manifest["files"], MANIFEST}
    if set(names) != listed or len({name.lower() for name in names}) < len(names):
        odd = next(iter(sorted(set(names) ^ listed)), names[0])
        raise Corrupt(f"{path} does not hold the files of its own list, such as '{odd[:100]}'; {_REMEDY}")
    check_sizes(manifest, path, _REMEDY)


def check_sizes(manifest: dict[str, Any], path: Path | str, remedy: str) -> None:
    """Raise Corrupt unless the list of a packed run gives size and checksum of each file."""
    for name, file in manifest["files"].items():
        right = isinstance(file, dict) and isinstance(file.get("bytes"), int) and isinstance(file.get("sha256"), str)
        if not right or file["bytes"] < 0:
            raise Corrupt(f"{path}: its list gives no size and checksum of '{name[:100]}'; {remedy}")


def is_inside(name: str) -> bool:
    """Whether the name of a file leads to a place within a run's folder, and to no hidden one."""
    pure = PurePosixPath(name)
    usual = name == pure.as_posix() and not pure.is_absolute() and ".." not in pure.parts and name not in ("", ".")
    return usual and not any(c in name for c in "\\:\0") and not any(part.startswith(".") for part in pure.parts)


def _extract(archive: zipfile.ZipFile, name: str, file: dict[str, Any], target: Path, path: Path) -> None:
    """One file, not a byte longer than its list says. Raises Corrupt."""
    digest, size = hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(name) as source, open(target, "xb") as out:
        while chunk := source.read(1 << 20):
            size += len(chunk)
            if size > file["bytes"]:
                break
            digest.update(chunk)
            out.write(chunk)
    if size != file["bytes"] or digest.hexdigest() != file["sha256"]:
        raise Corrupt(f"{path}: '{name}' is damaged: not the {file['bytes']:,} bytes of its checksum; {_REMEDY}")


def place_code(manifest: dict[str, Any], building: Path, out: Path) -> None:
    """Let the run name the code that came with it by where it lies now, in ``out``."""
    names = {}
    for code in manifest["code"]:
        file, name = (code.get(key) if isinstance(code, dict) else None for key in ("file", "name"))
        if isinstance(file, str) and isinstance(name, str):
            if file not in manifest["files"] or PurePosixPath(file).parts[0] != CODE:
                raise Corrupt(f"pack.json names code '{file[:100]}', which is none of its files; {_REMEDY}")
            names[name] = f"{out / file}:{name.rpartition(':')[2]}"
    if not names:
        return

    def placed(value: Any) -> Any:
        if isinstance(value, str):
            return names.get(value, value)
        if isinstance(value, dict):
            return {key: placed(one) for key, one in value.items()}
        return [placed(one) for one in value] if isinstance(value, list) else value

    for name in consent.NAMING:
        at = building / name
        if not at.is_file():
            continue
        values = placed(scrubbing.read(at))
        if at.suffix == ".toml":
            title = values.pop("name", "recipe")
            made = recipe.Recipe(title, values)
            io.write(at, made.toml())
            metrics = io.read_json(building / "metrics.json")
            io.write(building / "metrics.json", json.dumps({**metrics, "recipe": made.hash}, indent=2) + "\n")
        else:
            io.write_json(at, values)
    integrity.write(building)


def needs(code: list[dict[str, Any]], run: Path | str) -> list[str]:
    """What a user must know of the code that an unpacked run names."""
    lines = []
    for one in code:
        where = "it is not in the pack; ask its author for the file"
        if one.get("file"):
            where = f"read {Path(run) / one['file']}, then type: sensorium show {quote(run)} --trust"
        lines.append(f"the run names code: {one['name']} (sha256 {one['sha256']}); {where}")
    return lines
