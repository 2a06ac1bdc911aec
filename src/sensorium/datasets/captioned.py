"""Captioned sounds or pictures of your own: a table of files and captions, or vectors of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium.contracts import Dataset
from sensorium.datasets import (
    _captions_added,
    _captions_cache,
    _captions_files,
    _captions_hub,
    _captions_source,
    _captions_vectors,
    _clip_splits,
    _recordings,
    _windows,
)
from sensorium.datasets._captions import Corpus
from sensorium.errors import BadRecipe, nearest
from sensorium.types import Data, Items, TableColumns


class Captioned(Dataset):
    """Left: sounds or pictures, each once however many captions it has. Right: captions. Group: the clip.

    root: folder of the files. table: CSV, TSV, JSON, JSONL or Parquet, with ``file_name,caption_1,caption_2,…``, a
    list of captions a row, or one caption a row, where the rows of one file are joined; by default the table in
    ``root``. Paths in it are absolute, or below ``root``, by default the table's own folder.
    path, caption, id, split, group: its columns, found by their usual names when left out. caption may name several,
    ``caption_1..5``. Ids of clips are those of ``id``, else the paths; of captions ``CLIP#1``, ``CLIP#2``, …. split
    holds train, dev or validation, and test; ``split=""`` ignores it. Clips of one group, or of equal content, never
    stand in two splits that are drawn. Further columns become metadata.
    kind: "audio", "image", or "auto" for what the endings of the files say.

    file: vectors instead of files, in an npz or Parquet: of the media [n, d], and of their captions [n, c, d], or
    [m, d] beside a column ``clip`` of the media's ids. left, right: names of these arrays.
    cache: vectors instead of files: a folder of ``audio_embeddings.pt``, ``text_embeddings.pt`` and ``metadata.json``,
    one row a caption, or of several such folders, one a split, called development, validation and evaluation.
    hub: such a cache of a data set of the Hub, ``USER/NAME``, ``USER/NAME@REVISION`` or ``USER/NAME/FOLDER``; fetched
    once, into ``embeddings`` below ``root``, or into the cache folder.

    test, validation: share of the groups, or their number, that are held out. split_seed: of that draw.
    bad: what to do with files that cannot be used, empty captions and repeated ones, "stop" or "skip".

    window: seconds; sounds are indexed by windows of this length, items ``CLIP@BEGIN-END`` with columns recording,
    begin and end. hop: seconds from one to the next, half a window by default. A caption with columns ``begin`` and
    ``end``, in seconds, is related to the windows of an IoU of 0.5 or more with its moment, else to the nearest; one
    without to all windows of its recording.
    """

    def __init__(self, root: str | None = None, table: str | None = None, path: str | None = None,
                 caption: str | Sequence[str] | None = None, id: str | None = None, split: str | None = None,
                 group: str | None = None, kind: str = "auto", file: str | None = None, left: str | None = None,
                 right: str | None = None, cache: str | None = None, hub: str | None = None, test: float = 0.1,
                 validation: float = 0.1, split_seed: int = 0, bad: str = "stop", window: float | None = None,
                 hop: float | None = None) -> None:  # fmt: skip
        _recordings.check_bad(bad)
        _windows.check(window, hop)
        self.window, self.hop = window, hop
        _clip_splits.check_shares(test, validation, split_seed)
        if kind not in _captions_files.KINDS:
            raise BadRecipe(f"data.kind='{kind}'; expected {', '.join(_captions_files.KINDS)}; "
                            f"{nearest(kind, _captions_files.KINDS)}")  # fmt: skip
        self.root = Path(root).expanduser() if root else None
        self.table, self.kind, self.bad = table, kind, bad
        self.given = {"path": path, "caption": caption, "id": id, "split": split, "group": group}
        self.file, self.left, self.right, self.cache, self.hub = file, left, right, cache, hub
        self.test, self.split_seed = test, split_seed
        _captions_source.check_one({"table": table, "file": file, "cache": cache, "hub": hub})

    def obtain(self) -> list[Path]:
        """Fetch the cache that ``hub`` names. Raises BadRecipe without one."""
        if self.hub is None:
            raise BadRecipe("captions have nothing to fetch without a data set of the Hub; type: data.hub=USER/NAME")
        return [_captions_hub.obtained(self.hub, self.root, f"sensorium download captions data.hub={self.hub}")]

    def load(self) -> Data:
        """Read, check and pair; files are looked at, not embedded.

        Raises BadRecipe where the keys name no captions, or a column that is not there (naming the nearest), BadData,
        with rows, for files, captions, splits and vectors that cannot be used.
        """
        data = _captions_source.with_test(self.corpus(), self.test, self.split_seed).data()
        return _windows.of(data, self.window, self.hop)

    def corpus(self) -> Corpus:
        """The clips and captions, before splits are drawn."""
        if self.file:
            return _captions_vectors.read(self.file, self.left, self.right, self.given, self.bad, self.kind)
        if self.cache or self.hub:
            return _captions_cache.read(self.cache or str(self.obtain()[0]), self.bad)
        return _captions_source.of_table(self.root, self.table, self.given, self.kind, self.bad)

    def filled(self, side: str, items: Items) -> Items:
        """Clips that are added, with their path and, of sounds, their duration. Raises BadData for unreadable ones."""
        return _captions_added.filled(side, items, self.window)

    def columns_of(self, names: Sequence[str]) -> TableColumns:
        """The columns of files and captions of another table."""
        return _captions_added.columns_of(names, self.given)
