"""From pictures and videos to faces with prompts: found, left out where there is none, grouped, and listed."""

from __future__ import annotations

import csv
import io as memory
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium import io
from sensorium.contracts import Encoder
from sensorium.datasets import _perception_found, _perception_shots
from sensorium.datasets._perception import Faces
from sensorium.datasets._perception_media import Frame, Medium, Said
from sensorium.datasets._perception_prompts import Prompts
from sensorium.errors import BadData
from sensorium.fingerprint import digest
from sensorium.table import as_column
from sensorium.types import FoundFace, as_ids

MOST = 50  # faces of a picture, where each is an item
_NAMED = 5  # ids in a note
NO_FACE = "no face was found"


class How(NamedTuple):
    """What is done: every, one frame in so many of a video; each, every face of a picture is an item; group; bad and
    no_face, "stop" or "skip"; stores, folder of the embeddings; progress."""

    prompts: Prompts
    every: int
    each: bool
    group: str
    bad: str
    no_face: str
    stores: Path | None
    progress: bool


class _Item(NamedTuple):
    medium: Medium
    said: Said
    second: float | None
    number: int  # of the face within its picture, from 0
    landmarks: np.ndarray | None


def faces(media: Sequence[Medium], encoder: Encoder | None, how: How) -> Faces:
    """The faces of the media that have one, with their prompts.

    encoder: of the left side, which is asked for faces where it finds them itself; the items are then FoundFace.
    Files that cannot be read, and pictures without a face, are listed in ``perception-left-out-….csv`` beside the
    embeddings. Raises BadData, with counts, unless they may be left out, and where nothing is left.
    """
    looked = _perception_found.look(media, encoder, how.every, MOST if how.each else 1, how.stores, how.progress)
    items, left_out = _items(media, looked)
    notes = _notes(media, looked, left_out, how)
    if not items:
        raise BadData(f"no face is left of {len(media):,} pictures and videos: {_reasons(left_out)}")
    which, prompts, labels = _prompts(items, how.prompts)
    group, name = _groups(items, how.group)
    said = list(notes.pop("said", []))
    if name in ("video", "shots"):
        said.append("no person is named, so that one person may be in training and in test; name them by folders below "
                    "those of the labels, or by the column person of data.table")  # fmt: skip
    split = np.array([item.medium.split for item in items], np.str_)
    return Faces(
        as_ids([_id(item) for item in items]), _values(items), "face", which, group, split, prompts, None, labels,
        _columns(items), {}, {**notes, "group": name, **({"said": said} if said else {})},
    )  # fmt: skip


def _items(media: Sequence[Medium], looked: Sequence[list[Frame] | str]) -> tuple[list[_Item], list[tuple[str, ...]]]:
    """The faces, and what is left out: id, path, second and reason of each."""
    items, left_out = [], []
    for medium, found in zip(media, looked, strict=True):
        if isinstance(found, str):
            left_out.append((medium.id, medium.path or "", "", found))
            continue
        for frame in found:
            said = medium.at(frame.second)
            if said is None:
                continue
            if frame.faces is not None and not frame.faces:
                second = "" if frame.second is None else f"{frame.second:.3f}"
                left_out.append((_id(_Item(medium, said, frame.second, 0, None)), medium.path or "", second, NO_FACE))
            for number, landmarks in enumerate([None] if frame.faces is None else frame.faces):
                items.append(_Item(medium, said, frame.second, number, landmarks))
    return items, left_out


def _notes(
    media: Sequence[Medium], looked: Sequence[list[Frame] | str], left_out: list[tuple[str, ...]], how: How
) -> dict[str, Any]:
    """Counts, after the list of what is left out was written. Raises BadData where something may not be left out."""
    videos = sum(medium.is_video for medium in media)
    notes: dict[str, Any] = {"pictures": len(media) - videos, "videos": videos}
    if videos:
        notes["frames"] = sum(len(found) for medium, found in zip(media, looked, strict=True)
                              if medium.is_video and not isinstance(found, str))  # fmt: skip
    without = [row for row in left_out if row[3] == NO_FACE]
    broken = [row for row in left_out if row[3] != NO_FACE]
    notes |= {"no_face": len(without), "unreadable": len(broken)}
    if not left_out:
        return notes
    where = _written(left_out, media, how.stores)
    listed = f"; all are listed in {where}" if where else ""
    seen = len(media) - videos + notes.get("frames", 0)
    if broken and how.bad != "skip":
        raise BadData(f"{len(broken):,} of {len(media):,} files cannot be used, such as: {broken[0][3]}{listed}; "
                      "correct them, or leave them out with data.bad=skip")  # fmt: skip
    if without and how.no_face != "skip":
        raise BadData(f"{len(without):,} of {seen:,} pictures and frames show no face, such as {without[0][0]}{listed}"
                      "; leave them out with data.no_face=skip")  # fmt: skip
    notes["left_out_such_as"] = [row[0] for row in left_out[:_NAMED]]
    notes |= {"left_out_list": where} if where else {}
    said = []
    if without:
        said.append(f"{len(without):,} of {seen:,} pictures and frames show no face and are left out, such as "
                    f"{without[0][0]}{listed}")  # fmt: skip
    if broken:
        said.append(f"{len(broken):,} of {len(media):,} files cannot be used and are left out, such as: "
                    f"{broken[0][3]}{listed}")  # fmt: skip
    return {**notes, "said": said}


def _written(left_out: Sequence[tuple[str, ...]], media: Sequence[Medium], stores: Path | None) -> str:
    """Write the list of what is left out, one file for one set of media; its path, "" without a folder."""
    if stores is None:
        return ""
    out = memory.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("id", "path", "second", "reason"))
    table.writerows(left_out)
    path = Path(stores) / f"perception-left-out-{digest(sorted(medium.id for medium in media))[:8]}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write(path, out.getvalue())
    return str(path)


def _reasons(left_out: Sequence[tuple[str, ...]]) -> str:
    without = sum(row[3] == NO_FACE for row in left_out)
    other = next((row[3] for row in left_out if row[3] != NO_FACE), "")
    parts = [f"{without:,} pictures and frames show none"] * bool(without)
    parts += [f"{len(left_out) - without:,} files cannot be used, such as: {other}"] * bool(other)
    return "; ".join(parts) or "the labelled parts hold no frame; give a smaller data.every"


def _id(item: _Item) -> str:
    """``happy/a.jpg``; ``happy/a.mp4@1.200`` of a frame; ``…#2`` of a picture's second face."""
    at = "" if item.second is None else f"@{item.second:.3f}"
    return f"{item.medium.id}{at}{f'#{item.number + 1}' if item.number else ''}"


def _values(items: Sequence[_Item]) -> list[Any]:
    values = []
    for item in items:
        picture = item.medium.picture(item.second)
        numbers = item.landmarks is None or item.medium.is_numbers
        values.append(picture if numbers else FoundFace(picture, item.landmarks))
    return values


def _prompts(
    items: Sequence[_Item], prompts: Prompts
) -> tuple[tuple[np.ndarray, np.ndarray], list[str], list[str | None]]:
    """Pairs of faces and prompts, the distinct prompts in the order of their first faces, and the label of each."""
    made: dict[tuple[int, int], list[str]] = {}
    row_of: dict[str, int] = {}
    labels: list[set[str | None]] = []
    of, to = [], []
    for at, item in enumerate(items):
        key = (id(item.medium), item.said.row)
        if key not in made:
            known = {**item.medium.columns, "person": item.medium.person}
            made[key] = [item.said.prompt] if item.said.prompt else prompts.for_label(
                str(item.said.label), known, item.medium.id)  # fmt: skip
        for text in made[key]:
            if text not in row_of:
                row_of[text] = len(row_of)
                labels.append(set())
            labels[row_of[text]].add(item.said.label)
            of.append(at)
            to.append(row_of[text])
    known_labels = [next(iter(found)) if len(found) == 1 else None for found in labels]
    return (np.array(of, np.int64), np.array(to, np.int64)), list(row_of), known_labels


def _groups(items: Sequence[_Item], group: str) -> tuple[np.ndarray, str]:
    """The group (n,) of each face, and what it is: "person", "video", "folder", "shots", "row" or a column."""
    if group == "row":
        return as_ids([f"{item.medium.id}@{item.second}" for item in items]), "row"
    if group == "folder":
        if not any(item.medium.folder for item in items):
            raise BadData("data.group=folder: no file lies in a folder below that of its label; expected such as "
                          "happy/person1/a.jpg, or type data.group=auto")  # fmt: skip
        return as_ids([f"folder {item.medium.folder}" if item.medium.folder else item.medium.id for item in items]), (
            "folder"
        )
    if group == "video":
        return as_ids([item.medium.id for item in items]), "video"
    if group != "auto":
        return as_ids([item.medium.group or f"(no group, {item.medium.id})" for item in items]), group
    named = [item.medium.person for item in items]
    if any(named):
        return as_ids([f"person {one}" if one else f"(no person) {item.medium.id}"
                       for one, item in zip(named, items, strict=True)]), "person"  # fmt: skip
    if any(item.medium.folder for item in items):
        return _groups(items, "folder")
    names = np.array([item.medium.id for item in items], object)
    pictures = [at for at, item in enumerate(items) if item.second is None and item.landmarks is not None]
    if pictures:
        first = _perception_shots.groups(np.stack([items[at].landmarks for at in pictures]))
        names[pictures] = names[pictures][first]
    return as_ids(names.tolist()), "video" if any(item.second is not None for item in items) else "shots"


def _columns(items: Sequence[_Item]) -> dict[str, np.ndarray]:
    """Metadata of the faces: label, person, path, second and face where there are any, and the table's columns."""
    columns: Mapping[str, list[Any]] = {
        "label": [item.said.label for item in items], "person": [item.medium.person for item in items],
        "video": [item.medium.id if item.medium.is_video else None for item in items],
        "path": [item.medium.path for item in items], "second": [item.second for item in items],
        "face": [item.number + 1 for item in items],
    }  # fmt: skip
    if not any(item.number for item in items):
        del columns["face"]
    names = dict.fromkeys(name for item in items for name in item.medium.columns)
    more = {name: [item.medium.columns.get(name) for item in items] for name in names if name not in columns}
    found = {name: values for name, values in {**columns, **more}.items() if any(v is not None for v in values)}
    return {name: as_column(values, name) for name, values in found.items()}
