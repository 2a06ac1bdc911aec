"""run.json: size and checksum of the files of a run folder, so that damage and files of another run are detected.

Written last when a run is made, evaluated or indexed anew. Opening a run checks every size and the checksums
of files up to 1 MB; a larger file is checked in full before it is read, and all of them by ``sensorium doctor RUN``.
A run without run.json was made before there was one, and is opened without these checks.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from sensorium import fingerprint, io
from sensorium.errors import Corrupt

NAME, FORMAT = "run.json", 1
EVALUATIONS = "evaluations.jsonl"  # the log of evaluations, which grows in a finished run
SMALL = 1 << 20  # bytes of a file up to which opening checks its checksum
#: Not listed: live changes and indexes change while a run is served and have checksums of their own; the rest is
#: written into a finished run or is of no run's making.
EXEMPT = (NAME, ".*", "*/.*", "live/*", "index/*/*", "checkpoint/*", "cross-*.json", "migration/*", "before/*",
          EVALUATIONS)  # fmt: skip
#: Listed, but for people to edit: only the doctor mentions a change.
PROSE = ("README.md",)
#: The files that a late stage makes anew.
STAGES: Mapping[str, Sequence[str]] = {
    "evaluate": ("trust.json", "correction.json", "correction.safetensors", "per_query.npz", "plots/*"),
    "index": ("index/*", "media/*", "partners.parquet"),
}


class Problem(NamedTuple):
    """A file of a run that is not what run.json says, and what is wrong with it."""

    name: str
    message: str


def write(folder: Path) -> None:
    """Write run.json over the files that are in the folder now; call it last."""
    files = {name: {"bytes": path.stat().st_size, "xxh3": io.checksum(path)} for name, path in _listed(Path(folder))}
    body = {"format": FORMAT, "files": files}
    io.write_json(Path(folder) / NAME, {**body, "checksum": fingerprint.checksum(body)})


def check(folder: Path, remaking: str | None = None) -> None:
    """Raise Corrupt, naming the file and what to type, when a size or the checksum of a small file is not as written.

    remaking: a stage ("evaluate", "index") whose files are about to be made anew and are not checked.
    """
    skipped = (*PROSE, *STAGES.get(remaking or "", ()))
    _raise_first(Path(folder), lambda name: not _matches(name, skipped), full=False)


def check_file(folder: Path, name: str) -> None:
    """As :func:`check`, in full, for one file before it is read; ``name`` is relative to the folder."""
    _raise_first(Path(folder), lambda listed: listed == name, full=True)


def problems(folder: Path) -> list[Problem]:
    """Every file that is not what run.json says, all checksums computed. Raises Corrupt for a damaged run.json."""
    return list(_problems(Path(folder), read(folder) or {}, lambda name: True, full=True))


def not_remade(stage: str) -> Callable[[str, list[str]], set[str]]:
    """For ``io.copy_folder(ignore=)``: all of a run but its lock, recipe, log, run.json and what a stage makes anew.

    What folders in the run keep of the same names, as ``before-refit`` does, stays.
    """
    ignored = shutil.ignore_patterns(
        ".lock", "recipe.toml", NAME, EVALUATIONS, *(p for p in STAGES[stage] if "/" not in p)
    )
    root: list[str] = []

    def ignore(directory: str, names: list[str]) -> set[str]:
        root.append(str(directory))  # the run itself comes first
        return ignored(directory, names) if str(directory) == root[0] else set()

    return ignore


def read(folder: Path) -> dict[str, tuple[int, str]] | None:
    """Size in bytes and xxh3-128 by name; None for a run without run.json. Raises Corrupt."""
    path = Path(folder) / NAME
    if not path.is_file():
        return None
    remedy = f"restore it, or open the run without these checks: rm {shlex.quote(str(path))}"
    body = io.read_json(path, remedy)
    if not isinstance(body, dict) or body.pop("checksum", None) != fingerprint.checksum(body):
        raise Corrupt(f"{path} is damaged: its own checksum does not match; {remedy}")
    if body.get("format") != FORMAT:
        raise Corrupt(f"{path} has format {body.get('format')}, this sensorium reads format {FORMAT}; {remedy}")
    return {name: (file["bytes"], file["xxh3"]) for name, file in body["files"].items()}


def _raise_first(folder: Path, chosen: Any, full: bool) -> None:
    for _ in range(5):
        known = read(folder)
        found = next(_problems(folder, known or {}, chosen, full), None)
        if found is None:
            return
        if read(folder) == known:  # else the folder was exchanged for another meanwhile
            raise Corrupt(f"{folder / found.name} {found.message}; {_remedy(folder, found.name)}")


def _problems(folder: Path, known: Mapping[str, tuple[int, str]], chosen: Any, full: bool) -> Iterator[Problem]:
    for name, (size, checksum) in known.items():
        if not chosen(name):
            continue
        path = folder / name
        try:
            actual = path.stat().st_size
            if actual != size:
                yield Problem(name, f"is damaged or of another run: {actual} bytes, {size} expected")
            elif (full or size <= SMALL) and io.checksum(path) != checksum:
                yield Problem(name, "is damaged or of another run: its checksum is not the one in run.json")
        except (FileNotFoundError, NotADirectoryError):
            yield Problem(name, "is missing")
        except OSError as error:
            yield Problem(name, f"cannot be read ({error.strerror})")


def _listed(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink() and not _matches(name, EXEMPT):
            yield name, path


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _remedy(folder: Path, name: str) -> str:
    run = shlex.quote(str(folder))
    stage = next((stage for stage, made in STAGES.items() if _matches(name, made)), None)
    if stage is not None:
        again = f"sensorium {stage} {run}"
    else:
        recipe = "RECIPE" if name == "recipe.toml" else shlex.quote(str(folder / "recipe.toml"))
        again = f"sensorium run {recipe} --out {run}"
    record = shlex.quote(str(folder / NAME))
    return f"restore it, or make it anew: {again} (if the change is yours, accept the files as they are: rm {record})"
