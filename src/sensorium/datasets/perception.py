"""Faces and the prompts that describe them: pictures or videos in folders or a table, or vectors of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium.contracts import Dataset
from sensorium.datasets import (
    _perception_built,
    _perception_file,
    _perception_folder,
    _perception_prompts,
    _perception_table,
    _recordings,
)
from sensorium.datasets._perception_layout import Layout
from sensorium.errors import BadRecipe, nearest
from sensorium.types import Data, TableColumns

_WAYS = ("file", "root", "table")
_FACES, _GROUPS = ("largest", "each"), ("auto", "row", "video", "folder")


class Perception(Dataset):
    """Left: faces. Right: the distinct prompts, each once however many faces it describes.

    root: folder of pictures and videos, one sub-folder a label (``happy/…/a.jpg``, ``04_happy``), below folders called
    train, validation and test or not; or RAVDESS's videos, whose names say emotion and actor. Files .npy of landmarks
    (478, 3) count as pictures.
    table: CSV, TSV, JSON, JSONL or Parquet of a path and a label or prompt a row, and perhaps person, split, id; with
    begin and end, in seconds, of parts of a video. Or FER2013's list of emotion, pixels and Usage; or AffectNet's.
    Paths in it are absolute, or below ``root``, by default the table's own folder.
    prompts: of a label: a template such as "a person looking {label}", where further columns may stand in braces;
    "descriptions", four of the face an emotion, which ship with the package; or a table of label and prompt, several a
    label. Labels are called as the seven emotions of the document where they are among them.
    every: one frame in so many of a video.
    faces: "largest" of a picture, or "each" as an item of its own.
    no_face: what to do with pictures and frames without a face, "skip" or "stop". Those left out are listed, with the
    reason, in a file beside the embeddings.

    file: vectors of faces and prompts, ``training_data.npz`` with ``perception_embeddings`` [n, 1441] and
    ``clip_embeddings`` [n, any]; row i of both is one face. Equal rows of the second are one prompt. Further arrays [n]
    are read where they are there: ``prompts`` (texts), ``labels``, ``persons``, ``groups`` or ``videos``, ``files``,
    ``ids`` and ``split``.
    points: landmarks of a vector, 478; 468 without irises, 68 of other models (two or three numbers each).
    emotions: whether the last seven numbers are emotion probabilities.

    group: faces of one group never stand in two splits. "auto": the person, where any is named; else the folder below
    that of the label; else the video, and of pictures and of a file's rows their shots: a face whose landmarks,
    centred, scaled and turned, lie within 0.08 of one of the three before it is of the same shot, one within 0.02 of
    any a copy. "folder", "video", "row", or the name of a column.
    bad: what to do with files and rows that cannot be used, "stop" or "skip".
    """

    asks_encoder = True

    def __init__(self, file: str | None = None, root: str | None = None, table: str | None = None,
                 prompts: str = _perception_prompts.USUAL, every: int = 10, faces: str = "largest",
                 no_face: str = "skip", points: int = 478, emotions: bool = True, group: str = "auto",
                 bad: str = "stop") -> None:  # fmt: skip
        _recordings.check_bad(bad)
        if no_face not in ("skip", "stop"):
            raise BadRecipe(f"data.no_face='{no_face}'; expected skip or stop")
        if faces not in _FACES:
            raise BadRecipe(f"data.faces='{faces}'; {nearest(faces, _FACES)}")
        if not 1 <= every <= 1_000_000:
            raise BadRecipe(f"data.every={every}; expected 1 or more: one frame in so many of a video")
        if file is not None and (root is not None or table is not None):
            raise BadRecipe(f"data.file and data.{'root' if root is not None else 'table'} are given; the faces come "
                            "from one of them")  # fmt: skip
        self.root = None if root is None else Path(root).expanduser()
        self.table, self.every, self.each, self.no_face = table, every, faces == "each", no_face
        self.prompts = _perception_prompts.Prompts.read(prompts)
        self.file, self.group, self.bad = file, group or "auto", bad
        self.layout = Layout(points, emotions)

    def load(self) -> Data:
        """Read, check and pair. Pictures and videos are searched for faces, once; what is found is kept.

        Raises BadRecipe where the keys name no faces, or an array or column that is not there, BadData, with rows or
        counts, for files, labels and vectors that cannot be used.
        """
        if self.file is not None:
            return _perception_file.read(self.file, self.layout, self.group, self.bad).data()
        if self.table is not None:
            column, by_folder = "" if self.group in _GROUPS else self.group, self.group == "folder"
            media, notes = _perception_table.listing(self._table(), self.root, column, by_folder)
        elif self.root is not None:
            media, notes = _perception_folder.listing(self.root, self.bad)
            if self.group not in _GROUPS:
                raise BadRecipe(f"data.group={self.group}: folders have no columns; expected {', '.join(_GROUPS)}")
        else:
            raise BadRecipe("no faces are named; type: data.root=FOLDER with a folder of pictures or videos for each "
                            "label, data.table=TABLE of path and label, or data.file=training_data.npz")  # fmt: skip
        how = _perception_built.How(self.prompts, self.every, self.each, self.group, self.bad, self.no_face,
                                    self.stores, self.progress)  # fmt: skip
        found = _perception_built.faces(media, self.encoder, how).data()
        return Data(found.left, found.right, found.pairs, {**notes, **found.notes})

    def columns_of(self, names: Sequence[str]) -> TableColumns:
        """The columns of paths, prompts and ids of another table."""
        found = {key: next((one for one in _perception_table.USUAL[key] if one in names), None)
                 for key in ("path", "prompt", "id")}  # fmt: skip
        sides = {"left": found["path"], "right": found["prompt"]}
        return TableColumns({side: name for side, name in sides.items() if name}, found["id"])

    def _table(self) -> str:
        """The table's path; below ``root`` where it is there alone."""
        below = None if self.root is None else self.root / Path(str(self.table)).expanduser()
        if below is not None and not Path(str(self.table)).expanduser().exists() and below.exists():
            return str(below)
        return str(self.table)
