"""training_data.npz of the perception document: vectors of faces beside those of their prompts, one row a face."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensorium.datasets import _perception_layout, _perception_shots
from sensorium.datasets._perception import Faces
from sensorium.datasets._perception_layout import Layout
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.formats import IDS_NAMES, SPLIT_NAMES, Columns, described
from sensorium.pairs import Pairs
from sensorium.table import as_column
from sensorium.types import as_ids, is_missing

FACES = ("perception_embeddings", "perception", "perceptions", "face_embeddings", "faces", "left")
PROMPTS = ("clip_embeddings", "text_embeddings", "prompt_embeddings", "clip", "right")
#: Names of arrays (n,) that say more of each row, in the order in which they are looked for.
TEXTS = ("prompts", "prompt", "texts", "text", "captions", "caption", "descriptions", "description")
LABELS = ("labels", "label", "emotions", "emotion", "classes", "class")
PERSONS = ("persons", "person", "actors", "actor", "subjects", "subject", "speakers", "speaker", "people")
VIDEOS = ("groups", "group", "videos", "video", "clips")
FILES = ("files", "file", "paths", "path", "filenames", "filename", "image_paths", "images")
SHOTS = "shots, by how little the landmarks move from row to row"
ROW = "row"  # data.group: each row is a group of its own
_ALIKE = 1e-5  # distance of two vectors of one prompt, over their length


def read(path: str, layout: Layout, group: str, bad: str) -> Faces:
    """The faces and prompts of a file with two arrays (n, d) and (n, w), such as training_data.npz.

    Equal rows of the second are one prompt. group: the array of groups, "row" for none, "auto" for that of persons,
    else of videos, else shots found by how little the landmarks move: see :mod:`_perception_shots`.
    Raises BadRecipe for a file or array that is not there, BadData, with rows, for other widths and numbers of rows,
    and for rows that cannot be used; ``bad="skip"`` leaves such rows out.
    """
    source = Source.open(path, None)
    columns = source.columns
    names = _array(columns, FACES, source.where), _array(columns, PROMPTS, source.where)
    x, y = (_vectors(columns, name, source.where) for name in names)
    if len(x) != len(y):
        raise BadData(f"{source.where}: {len(x):,} rows in '{names[0]}' and {len(y):,} in '{names[1]}'; row i of both "
                      "is one face, so their numbers must be equal")  # fmt: skip
    layout.check_width(x.shape[1], f"{source.where}:{names[0]}")
    where = [f"{source.where}:{name}" for name in names]
    faults = {**_perception_layout.without_numbers(y, where[1]), **layout.faults(x, where[0])}
    good = np.ones(len(x), bool)
    good[list(faults)] = False
    if faults and (bad != "skip" or not good.any()):
        row = min(faults)
        raise BadData(f"{len(faults):,} of {len(x):,} rows cannot be used, such as {source.rows([row])}: {faults[row]}"
                      "; make them anew, or leave them out with data.bad=skip")  # fmt: skip
    kept = np.flatnonzero(good)
    notes: dict[str, Any] = {} if good.all() else {"rows_left_out": int((~good).sum())}
    said = layout.remarks(x[kept])
    told = {what: _column(columns, usual, len(x)) for what, usual in
            (("text", TEXTS), ("label", LABELS), ("person", PERSONS), ("video", VIDEOS), ("path", FILES))}  # fmt: skip
    told = {what: None if column is None else column[kept] for what, column in told.items()}
    groups, how = _groups(columns, group, told, x[kept], layout, kept, source.where)
    code, vectors, texts = _prompts(y[kept], told["text"], where[1])
    meta = {what: as_column(column, what) for what, column in told.items() if column is not None and what != "text"}
    if said:
        notes["said"] = said
    return Faces(
        _ids(columns, len(x))[kept], x[kept], "vector", (np.arange(len(kept)), code), groups,
        _split(columns, len(x), source.where)[kept], texts, vectors, _labels(code, told["label"], len(vectors)), meta,
        {"left": {"name": "vectors", "key": names[0]}, "right": {"name": "vectors", "key": names[1]}},
        {**notes, "group": how},
    )  # fmt: skip


def _array(columns: Columns, usual: tuple[str, ...], where: str) -> str:
    """The first array of vectors that has one of the usual names."""
    found = next((name for name in usual if name in columns and len(columns.shape(name)) == 2), None)
    if found is None:
        there = ", ".join(f"{name} {list(columns.shape(name))}" for name in columns) or "nothing"
        raise BadRecipe(f"{where} has no '{usual[0]}' [n, d]; it holds {there}. Expected perception_embeddings "
                        "[n, 1441] and clip_embeddings [n, 768]; for arrays of other names type: sensorium run arrays "
                        f"data.file={where} data.left=ARRAY data.right=ARRAY")  # fmt: skip
    return found


def _vectors(columns: Columns, name: str, where: str) -> np.ndarray:
    array = np.asarray(columns[name])
    if array.dtype.kind not in "fiu" or 0 in array.shape:
        raise BadData(f"{where}:{name} is {described(array)}; expected numbers [n, d]")
    return array.astype(np.float32, copy=False)


def _column(columns: Columns, usual: tuple[str, ...], n: int) -> np.ndarray | None:
    """The first array (n,) of these names, as texts; None where there is none."""
    name = next((name for name in usual if name in columns and columns.shape(name) == (n,)), None)
    return None if name is None else columns.texts(name)


def _groups(
    columns: Columns,
    group: str,
    told: dict[str, np.ndarray | None],
    x: np.ndarray,
    layout: Layout,
    kept: np.ndarray,
    where: str,
) -> tuple[np.ndarray, str]:
    """The group (n,) of each row that is kept, and in words where it is from."""
    if group == ROW:
        return as_ids(kept), "each row"
    if group not in ("", "auto"):
        if group in told and told[group] is not None:
            return _named(told[group]), group
        if group not in columns or len(columns.shape(group)) != 1 or columns.shape(group)[0] <= kept[-1]:
            raise BadRecipe(
                f"data.group={group}: {where} has no such array of one value a row; {nearest(group, columns)}"
            )
        return _named(columns.texts(group)[kept]), group
    for what in ("person", "video"):
        if told[what] is not None:
            return _named(told[what]), what
    first = _perception_shots.groups(layout.landmarks(x)).tolist()
    return as_ids([f"shot from row {kept[row] + 1}" for row in first]), SHOTS


def _named(group: np.ndarray) -> np.ndarray:
    """Groups (n,) as texts; a row without one is a group of its own."""
    return as_ids([f"(no group, row {row + 1})" if is_missing(one) or one == "" else str(one)
                   for row, one in enumerate(group.tolist())])  # fmt: skip


def _prompts(y: np.ndarray, texts: np.ndarray | None, where: str) -> tuple[np.ndarray, np.ndarray, list[str] | None]:
    """The prompt (n,) of each row, the m distinct prompts' vectors (m, w), and their texts where these are known.

    With texts equal ones are one prompt, and must have one vector. Prompts are in the order of their first rows.
    """
    length = np.linalg.norm(y, axis=1)
    if texts is None:
        code = _same(y / length[:, None])
    else:
        written = [None if is_missing(text) else str(text).strip() for text in texts.tolist()]
        if absent := sum(not text for text in written):
            raise BadData(
                f"{where}: {absent} of {len(y)} prompts are missing; fill them in, or save the file without them"
            )
        code = np.unique(np.array(written, object).astype(np.str_), return_inverse=True)[1].ravel()
    _, first, code = np.unique(code, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    code, first = rank[code.ravel()], np.sort(first)
    if texts is None:
        return code, y[first], None
    apart = np.linalg.norm(y - y[first][code], axis=1) > 1e-2 * length
    if apart.any():
        row = int(np.flatnonzero(apart)[0])
        raise BadData(f"{where}: {int(apart.sum())} rows differ from other rows of the same prompt, such as row "
                      f"{row + 1} ({written[row]!r}); the vectors of one text must be equal: embed it "
                      "again")  # fmt: skip
    return code, y[first], [written[row] for row in first.tolist()]


def _same(y: np.ndarray) -> np.ndarray:
    """The code (n,) of each row's prompt: rows of unit length that differ by less than _ALIKE are one."""
    distinct, code = np.unique(y, axis=0, return_inverse=True)
    return _perception_shots.near(distinct, _ALIKE)[code.ravel()]


def _labels(code: np.ndarray, labels: np.ndarray | None, m: int) -> list[str | None] | None:
    """The label (m,) that the faces of each prompt have; None where they have several or none."""
    if labels is None:
        return None
    of: list[set[str | None]] = [set() for _ in range(m)]
    for prompt, label in zip(code.tolist(), labels.tolist(), strict=True):
        of[prompt].add(None if is_missing(label) else str(label))
    return [next(iter(found)) if len(found) == 1 else None for found in of]


def _ids(columns: Columns, n: int) -> np.ndarray:
    """Ids (n,): of the usual names, else of the files, where each row has its own; else row numbers."""
    for name in dict.fromkeys((*IDS_NAMES, *FILES)):
        if name in columns and columns.shape(name) == (n,):
            found = columns.texts(name).tolist()
            if all(found) and len(set(found)) == n:
                return as_ids(found)
    return as_ids(np.arange(n))


def _split(columns: Columns, n: int, where: str) -> np.ndarray:
    words = _column(columns, SPLIT_NAMES, n)
    at = np.arange(n)
    try:
        texts = ["" if is_missing(word) else str(word).strip() for word in ([""] * n if words is None else words)]
        return Pairs.of(at, at, group=at, split=np.array(texts, np.str_)).split
    except BadData as error:
        raise BadData(f"{where}: {error}; correct it, or save the file without it") from None
