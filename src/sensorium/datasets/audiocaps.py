"""AudioCaps: ten-second sounds of AudioSet, with one caption each to train on and five to test on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium.contracts import Dataset
from sensorium.datasets import (
    _audiocaps_lists,
    _captions,
    _captions_added,
    _captions_files,
    _captions_source,
    _clip_splits,
    _recordings,
)
from sensorium.datasets._captions import Corpus
from sensorium.errors import BadRecipe
from sensorium.types import Data, Items, TableColumns


class AudioCaps(Dataset):
    """Left: sounds, each once. Right: captions. Group: the sound. Splits: train, val and test, of the lists.

    root: folder of ``train.csv``, ``val.csv``, ``test.csv`` (audiocap_id,youtube_id,start_time,caption), or of a folder
    ``dataset`` with them; and of the sounds, in ``train``, ``val``, ``test``, below ``audio``, or anywhere below. A
    sound is called ``YOUTUBEID``, ``YYOUTUBEID``, ``YOUTUBEID_START`` or ``AUDIOCAPID``, with any ending. Ids are those
    of YouTube. Many sounds are not on YouTube any more: leave those out by ``bad="skip"``.

    test, validation: share of the sounds, or their number, that are held out where the data have no such split.
    split_seed: of that draw. bad: what to do with sounds and captions that cannot be used, "stop" or "skip".
    """

    def __init__(self, root: str | None = None, test: float = 0.1, validation: float = 0.1, split_seed: int = 0,
                 bad: str = "stop") -> None:  # fmt: skip
        _recordings.check_bad(bad)
        _clip_splits.check_shares(test, validation, split_seed)
        self.root = Path(root).expanduser() if root else None
        self.bad, self.test, self.split_seed = bad, test, split_seed

    def load(self) -> Data:
        """Read, check and pair; sounds are looked at, not embedded.

        Raises BadRecipe where there are no lists, BadData, with rows, for sounds and captions that cannot be used.
        """
        return _captions_source.with_test(self.corpus(), self.test, self.split_seed).data()

    def corpus(self) -> Corpus:
        """The sounds and captions of all splits."""
        if self.root is None:
            raise BadRecipe("no data.root; type: data.root=FOLDER with train.csv, val.csv, test.csv and the sounds")
        return _captions.joined([self._split(one) for one in _audiocaps_lists.lists(self.root)])

    def filled(self, side: str, items: Items) -> Items:
        """Sounds that are added, with their path and duration. Raises BadData for those that cannot be read."""
        return _captions_added.filled(side, items)

    def columns_of(self, names: Sequence[str]) -> TableColumns:
        """The columns of files and captions of another table."""
        return _captions_added.columns_of(names, {})

    def _split(self, one: _audiocaps_lists.List) -> Corpus:
        found = _audiocaps_lists.listing(one)
        return _captions_files.corpus(found, one.audio, "audio", self.bad, ids="clip", split=one.word)
