"""Clotho v2.1: 5,929 sounds of 15 to 30 seconds with five captions each, in three splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium.contracts import Dataset
from sensorium.datasets import (
    _captions,
    _captions_added,
    _captions_cache,
    _captions_files,
    _captions_hub,
    _captions_source,
    _clip_splits,
    _clotho_download,
    _clotho_lists,
    _recordings,
    _windows,
)
from sensorium.datasets._captions import Corpus
from sensorium.errors import BadData, BadRecipe
from sensorium.types import Data, Items, TableColumns


class Clotho(Dataset):
    """Left: sounds, each once. Right: captions. Group: the sound. development trains, evaluation tests.

    root: folder of ``clotho_csv_files`` and ``clotho_audio_files/development`` …, or of the CSV files and
    ``development`` … themselves; a split whose captions are not there is left out. Ids are ``development/x.wav``, as
    four file names occur in two splits, and ``development/x.wav#1`` of captions.
    cache: vectors instead of sounds: a folder of ``audio_embeddings.pt``, ``text_embeddings.pt`` and ``metadata.json``,
    or of several such folders, one a split, called development, validation and evaluation. hub: such a cache of a data
    set of the Hub, ``USER/NAME``, ``USER/NAME@REVISION`` or ``USER/NAME/FOLDER``; fetched once, into ``embeddings``
    below ``root``, or into the cache folder. With ``root`` the captions' words are those of its CSV files.

    test, validation: share of the sounds, or their number, that are held out where the data have no such split.
    split_seed: of that draw. bad: what to do with sounds and captions that cannot be used, "stop" or "skip".
    window: seconds; sounds are indexed by windows of this length, items ``SOUND@BEGIN-END`` with columns recording,
    begin and end, and a caption is related to all of them. hop: seconds from one to the next, half a window by default.
    download: fetch what is missing of the public archives, 7 GB, into ``root``. mirror: address to fetch it from
    instead.
    """

    def __init__(self, root: str | None = None, cache: str | None = None, hub: str | None = None, test: float = 0.1,
                 validation: float = 0.1, split_seed: int = 0, bad: str = "stop", window: float | None = None,
                 hop: float | None = None, download: bool = False, mirror: str = "") -> None:  # fmt: skip
        _recordings.check_bad(bad)
        _windows.check(window, hop)
        self.window, self.hop = window, hop
        _clip_splits.check_shares(test, validation, split_seed)
        self.root = Path(root).expanduser() if root else None
        self.cache, self.bad, self.test, self.split_seed = cache, bad, test, split_seed
        self.download, self.mirror, self.hub = download, mirror, hub
        _captions_source.check_one({"cache": cache, "hub": hub})

    def obtain(self) -> list[Path]:
        """Fetch what is missing: of captions and sounds, or of the cache that ``hub`` names.

        Goes on where it stopped, verifies, and unpacks within limits.
        """
        if self.hub is not None:
            given = f" data.root={self.root}" if self.root else ""
            return [
                _captions_hub.obtained(self.hub, self.root, f"sensorium download clotho data.hub={self.hub}{given}")
            ]
        if self.root is None:
            raise BadRecipe("no data.root; type: sensorium download clotho data.root=FOLDER")
        return _clotho_download.obtain(self.root, self.mirror)

    def load(self) -> Data:
        """Read, check and pair; sounds are looked at, not embedded.

        Raises BadRecipe where there are no captions, BadData, with rows, for sounds, captions and vectors that cannot
        be used.
        """
        if self.download and self.cache is None and self.hub is None:
            self.obtain()
        data = _captions_source.with_test(self.corpus(), self.test, self.split_seed).data()
        return _windows.of(data, self.window, self.hop)

    def corpus(self) -> Corpus:
        """The sounds and captions of all splits."""
        if self.cache is None and self.hub is None:
            if self.root is None:
                raise BadRecipe("no data.root; type: data.root=FOLDER with Clotho, or data.cache=FOLDER of its vectors")
            return _captions.joined([self._split(one) for one in _clotho_lists.lists(self.root)])
        found = _captions_cache.read(self.cache or str(self.obtain()[0]), self.bad, prefix=True)
        return found if self.root is None else _captions_cache.with_texts(found, self.texts())

    def texts(self) -> dict[str, str]:
        """The captions of ``root`` by their ids; no sound is looked for. Empty without a list of captions."""
        try:
            lists = _clotho_lists.lists(self.root)
        except BadRecipe:
            return {}
        return {f"{one.split}/{name}": text for one in lists for name, text in _clotho_lists.captions(one)}

    def filled(self, side: str, items: Items) -> Items:
        """Sounds that are added, with their path and duration. Raises BadData for those that cannot be read."""
        return _captions_added.filled(side, items, self.window)

    def columns_of(self, names: Sequence[str]) -> TableColumns:
        """The columns of files and captions of another table."""
        return _captions_added.columns_of(names, {})

    def _split(self, one: _clotho_lists.List) -> Corpus:
        if not one.audio.is_dir():
            raise BadData(f"no folder {one.audio} with the sounds of {one.csv.name}; type: sensorium download clotho "
                          f"data.root={self.root}, or move the file away to leave this split out")  # fmt: skip
        word = _clotho_lists.SPLITS[one.split]
        found = _captions_files.corpus(_clotho_lists.listing(one), one.audio, "audio", self.bad, split=word)
        return found.with_ids(f"{one.split}/")
