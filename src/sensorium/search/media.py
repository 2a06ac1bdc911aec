"""Media table of a run: pictures and sounds of its items, packed into one file, or paths inside the data's folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from sensorium import integrity, io, modalities
from sensorium.errors import BadData, Corrupt
from sensorium.search import copies, named_files
from sensorium.table import Table
from sensorium.types import Excerpt, Items, shown_part

FORMAT = 1
FOLDER = "media"
REMEDY = "make it anew: sensorium index RUN"


def build(
    items: Items, rows: np.ndarray, folder: Path, side: str, small: bool = False, base: Path | None = None
) -> int:
    """Store the media of ``rows`` of the items under ``folder``/media; returns how many can be shown.

    Values in memory are packed by their modality (pictures as PNG, samples as WAV) into one file; paths stay
    paths, links followed, below the deepest folder that holds all of them; the media type is that of the ending
    before links are followed, as a cache may have files without endings. Text needs nothing here; of vectors a
    column may name the files, see :mod:`sensorium.search.named_files`, whose relative paths begin at ``base``.
    small: everything is packed, as small copies, and no path is kept: see :mod:`sensorium.search.copies`.
    """
    modality = modalities.found().get(items.kind)
    if items.kind == "vector":
        named = named_files.of(items, base)
        if named is None:
            return 0
        modality, files_of = named
        values: list[Any] = [files_of[int(row)] for row in rows]
    elif modality is None or not modality.is_file:
        return 0
    else:
        values = [shown_part(items.values[int(row)]) for row in rows]
    if small:
        return write(
            folder, side, items.ids[rows], copies.each(modality, values), copies.TYPES.get(modality.shown_as, "")
        )
    parts = np.array([(v.begin, v.end) if isinstance(v, Excerpt) else (np.nan, np.nan) for v in values]).reshape(-1, 2)
    values = [v.path if isinstance(v, Excerpt) else v for v in values]
    files = [Path(v).expanduser() if isinstance(v, (str, os.PathLike)) else None for v in values]
    paths = [None if path is None else Path(os.path.realpath(path)) for path in files]
    endings = np.array(["" if path is None else path.suffix.lower() for path in files], np.str_)
    named = [path for path in paths if path is not None]
    root = Path(os.path.commonpath([path.parent for path in named])) if named else None
    names = np.array([_written(path.relative_to(root)) if path and root else "" for path in paths], np.str_)
    contents = (
        None if path or value is None else modality.pack(value) for path, value in zip(paths, values, strict=True)
    )
    return write(folder, side, items.ids[rows], contents, modality.packed_as, names, endings, root, parts)


def write(
    folder: Path, side: str, ids: np.ndarray, contents: Iterable[bytes | None], media_type: str,
    names: np.ndarray | None = None, endings: np.ndarray | None = None, root: Path | None = None,
    parts: np.ndarray | None = None,
) -> int:  # fmt: skip
    """Write one side's media; returns how many can be shown.

    contents: what is packed of each item, of one ``media_type``; None for the others. names: paths below ``root`` of
    those, "" for none; endings: of their names. parts (n, 2): begin and end in seconds of those that are excerpts of
    a sound, NaN for whole files.
    """
    n = len(ids)
    names = np.zeros(n, np.str_) if names is None else names
    endings = np.zeros(n, np.str_) if endings is None else endings
    start, size = np.zeros(n, np.int64), np.full(n, -1, np.int64)
    checksum = np.zeros(n, np.uint64)

    def packed() -> Iterator[bytes]:
        at = 0
        for i, content in enumerate(contents):
            if content is not None:
                start[i], size[i], checksum[i] = at, len(content), xxhash.xxh3_64_intdigest(content)
                at += len(content)
                yield content

    where = folder / FOLDER
    io.write(where / f"{side}.bin", packed())
    columns = {"start": start, "size": size, "path": names, "xxh3": checksum, "ending": endings}
    if parts is not None and not np.isnan(parts).all():
        columns |= {"begin": parts[:, 0], "end": parts[:, 1]}
    Table(ids, columns).save(where / f"{side}.parquet")
    record = {"format": FORMAT, "type": media_type, "root": str(root) if root else None,
            "bytes": (where / f"{side}.bin").stat().st_size}  # fmt: skip
    io.write_json(where / f"{side}.json", record)
    known = np.array([modalities.media_type(ending) is not None for ending in endings.tolist()], bool)
    return int(np.count_nonzero((size >= 0) | (names != "") & known))


def _written(path: Path) -> str:
    """A path as text of the table; "", nothing to show, for a name that is not UTF-8."""
    name = path.as_posix()
    return name if name.isascii() or name.encode("utf-8", "replace").decode() == name else ""


class Media:
    """The packed file and paths of one side, opened; it stays readable when the run folder is exchanged."""

    def __init__(self, folder: Path, side: str) -> None:
        self._file = -1
        where = Path(folder) / FOLDER
        self.record = _checked(where / f"{side}.json")
        integrity.check_file(Path(folder), f"{FOLDER}/{side}.parquet")
        table = Table.load(where / f"{side}.parquet")
        for name, kind in (("start", "i"), ("size", "i"), ("path", "U")):
            if name not in table.columns or table.columns[name].dtype.kind != kind:
                raise Corrupt(f"{where / f'{side}.parquet'} has no column '{name}' of its type; {REMEDY}")
        self._rows = {id: row for row, id in enumerate(table.ids.tolist())}
        self._start, self._size, self._path = (table.columns[name] for name in ("start", "size", "path"))
        self._xxh3 = table.columns.get("xxh3")  # absent in runs made before there was one
        self._begin, self._end = table.columns.get("begin"), table.columns.get("end")  # where there are excerpts
        endings = table.columns.get("ending")  # absent in older runs: those of the paths themselves
        self._ending = [Path(path).suffix for path in self._path.tolist()] if endings is None else endings.tolist()
        self._real = endings is not None  # paths were stored with links followed: no link is followed again
        self._packed = where / f"{side}.bin"
        self._root = Path(self.record["root"]).resolve() if self.record["root"] else None
        if self._root is None and (self._path != "").any():
            raise Corrupt(f"{where / f'{side}.json'} has no root for the paths of {side}.parquet; {REMEDY}")
        try:
            self._file = os.open(self._packed, os.O_RDONLY)
        except FileNotFoundError:
            raise Corrupt(f"{self._packed} is missing; {REMEDY}") from None
        if os.fstat(self._file).st_size != self.record["bytes"]:
            raise Corrupt(f"{where / f'{side}.bin'} is not {self.record['bytes']} bytes long; {REMEDY}")

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    @property
    def shown_as(self) -> str:
        """What the items are shown as, image or audio; none where nothing can be shown."""
        kinds = [self.record["type"], *(modalities.media_type(str(one)) for one in self._ending if one)]
        kind = next((one for one in kinds if one), None)
        found = (one.shown_as for one in modalities.found().values() if kind in one.media_types.values())
        return next(found, "none")

    def __contains__(self, id: str) -> bool:
        row = self._rows.get(id)
        if row is None:
            return False
        return bool(self._size[row] >= 0 or (self._path[row] and modalities.media_type(str(self._ending[row]))))

    @property
    def ids(self) -> list[str]:
        """The items, in the order of the table."""
        return list(self._rows)

    def get(self, id: str) -> tuple[str, bytes | Path] | None:
        """Media type, and bytes or an existing file below the recorded root; None when there is nothing to show.

        Of an excerpt of a sound the bytes are that part alone, cut from its file when it is asked for.

        A path that leads elsewhere by a link made since the run is not shown. Raises Corrupt.
        """
        if id not in self:
            return None
        row = self._rows[id]
        if self._size[row] >= 0:
            content = os.pread(self._file, int(self._size[row]), int(self._start[row]))
            if self._xxh3 is not None and xxhash.xxh3_64_intdigest(content) != int(self._xxh3[row]):
                raise Corrupt(f"{self._packed} is damaged: the bytes of '{id}' do not have their checksum; {REMEDY}")
            return self.record["type"], content
        assert self._root is not None
        try:
            stored = self._root / str(self._path[row])
            path = stored.resolve(strict=True)
        except (OSError, RuntimeError):  # gone, or a loop of links
            return None
        kind = modalities.media_type(str(self._ending[row]))
        if kind is None or not path.is_file() or not path.is_relative_to(self._root) or (self._real and path != stored):
            return None
        if self._begin is not None and self._end is not None and not np.isnan(self._begin[row]):
            return _excerpt(kind, Excerpt(str(path), float(self._begin[row]), float(self._end[row])))
        return kind, path


def _excerpt(kind: str, part: Excerpt) -> tuple[str, bytes] | None:
    """An excerpt of a sound as a file of its own; None where it can no longer be read."""
    modality = next((one for one in modalities.found().values() if kind in one.media_types.values()), None)
    try:
        content = None if modality is None else modality.pack(part)
    except BadData:
        return None
    return None if content is None or modality is None else (modality.packed_as, content)


def _checked(path: Path) -> dict[str, Any]:
    """The record of one side's media. Raises Corrupt for one that was not written by :func:`build`.

    A type that no modality serves is refused: a browser would execute text/html of a run from elsewhere.
    """
    record = io.read_json(path, REMEDY)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise Corrupt(f"{path} is not of format {FORMAT}; {REMEDY}")
    kind, root, size = (record.get(key) for key in ("type", "root", "bytes"))
    fits = isinstance(root, str | None) and isinstance(size, int) and isinstance(kind, str)
    if not fits or "root" not in record:
        raise Corrupt(f"{path} has no root, bytes or type; {REMEDY}")
    if kind and kind not in modalities.served_types():
        raise Corrupt(f"{path}: media type '{kind[:60]}' is of no modality; {REMEDY}")
    return record


def open(folder: Path, side: str) -> Media | None:
    """Media table of a side; None for a run without one."""
    return Media(folder, side) if (Path(folder) / FOLDER / f"{side}.json").is_file() else None
