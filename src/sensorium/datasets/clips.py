"""A library of voice clips, found by the text to speak: a folder, a table of transcripts, or vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sensorium import parts
from sensorium.contracts import Dataset
from sensorium.datasets import (
    _clip_library,
    _clip_manifest,
    _clip_sides,
    _clip_splits,
    _clip_vectors,
    _measured,
    _recordings,
)
from sensorium.datasets._clip_manifest import Manifest
from sensorium.datasets._source import Sources
from sensorium.datasets._speakers import Speakers
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities import walk
from sensorium.modalities.audio import files
from sensorium.numerics import affect, affect_scales
from sensorium.table import as_column
from sensorium.types import Data, Items, TableColumns, is_missing


class Clips(Dataset):
    """Left: texts. Right: clips. Clips of one speaker never stand in two splits.

    root: folder of clips, at any depth; ids are paths below it. table: CSV, TSV, JSONL, Parquet or a list of
    GPT-SoVITS (``path|speaker|language|text``), whose paths are absolute, or relative to the table or to ``root``.
    path, transcript, speaker, language, emotion: its columns, found under usual names when left out; every other
    column becomes metadata. speaker, language and emotion may be "folder": the name of a folder that the clip lies
    in. Without a table, names of RAVDESS's files say emotion, speaker and sentence.

    sentences: in place of the transcripts, a table of texts and emotions, or the name of built-in ones, "emotions".
    relevant: texts and clips that share this column's value are related, within a split; by default a transcript and
    its clip, and with sentences those of one emotion.
    text, audio: files of vectors, ``PATH`` or ``PATH:KEY``; a table of clips' valence, arousal and dominance
    (FileName, EmoVal, EmoAct, EmoDom) will do for vectors. join: their rows by "name", or by "position".
    scale: of such a table, "1..7", "0..1", "-1..1", "1..5" or "1..9"; it is mapped to -1..1.
    file: one file with both, ``left`` and ``right`` naming its arrays, as in the data set arrays.
    left: array of the texts' vectors in ``file``. right: array of the clips' vectors in ``file``.
    ids: column of names, in files of vectors.

    group: what stands in one split: a column, by default the speaker, or "clip" for each clip on its own. split: the
    column of train, dev or validation, and test; "" ignores it. test, validation: share of the groups, or their
    number, that are held out. split_seed: of that draw.
    test_actors, validation_actors, train_actors: whole speakers of a split, by name.
    measures: measure each clip once, as metadata: duration (s), loudness (LUFS), rms and peak (0 to 1), clipping (share
    of the samples), snr (dB), silence_start and silence_end (s), sample_rate (Hz), and with a transcript speech_rate
    (characters a second). longest: seconds; a longer clip cannot be used.
    bad: what to do with clips that cannot be used, "stop" or "skip". allow_missing: leave out rows whose file, or
    name on the other side, is not there.
    """

    def __init__(self, root: str | None = None, table: str | None = None, path: str | None = None,
                 transcript: str | None = None, speaker: str | None = None, language: str | None = None,
                 emotion: str | None = None, sentences: str | None = None, relevant: str | None = None,
                 text: str | None = None, audio: str | None = None, join: str = "name", file: str | None = None,
                 left: str | None = None, right: str | None = None, ids: str | None = None,
                 group: str | None = None, split: str | None = None, test: float = 0.1, validation: float = 0.1,
                 split_seed: int = 0, test_actors: Speakers = (), validation_actors: Speakers = (),
                 train_actors: Speakers = (), measures: bool = True, longest: float = 600.0, bad: str = "stop",
                 allow_missing: bool = False, scale: str = "1..7") -> None:  # fmt: skip
        self.scale = affect_scales.check(scale, "data.scale")
        _recordings.check_bad(bad)
        _clip_splits.check_shares(test, validation, split_seed)
        if join not in _clip_vectors.JOINS:
            raise BadRecipe(f"data.join='{join}'; expected {' or '.join(_clip_vectors.JOINS)}")
        if not 0 < longest <= files.MAX_SECONDS:
            raise BadRecipe(f"data.longest={longest}; expected seconds, above 0 and up to {files.MAX_SECONDS:.0f}")
        self.measures, self.longest = measures, longest
        self.root = Path(root).expanduser() if root else None
        self.table, self.sentences, self.relevant = table, sentences, relevant
        self.given = {"path": path, "transcript": transcript, "speaker": speaker, "language": language,
                      "emotion": emotion, "split": split}  # fmt: skip
        self.text, self.audio, self.join = text, audio, join
        self.file, self.left, self.right, self.ids = file, left, right, ids
        self.group, self.split, self.bad, self.allow_missing = group, split, bad, allow_missing
        lists = {"train": train_actors, "validation": validation_actors, "test": test_actors}
        self.splitting = _clip_splits.Splitting({"test": test, "validation": validation}, split_seed, lists,
                                                split != "", group)  # fmt: skip

    def load(self) -> Data:
        """Read, check and join.

        Raises BadRecipe where the keys name no clips, or a column that is not there (naming the nearest), BadData,
        with counts and rows, for clips, names and cells that cannot be used.
        """
        ways = {"file": self.file, "text": self.text or self.audio, "root": self.root or self.table}
        found = [key for key, value in ways.items() if value]
        if len(found) != 1:
            what = "no clips are named" if not found else f"data.{found[0]} and data.{found[1]} are given"
            raise BadRecipe(f"clips: {what}; type: data.root=FOLDER [data.table=TABLE], or data.text=T.npz "
                            "data.audio=A.npz, or data.file=F.npz data.left=ARRAY data.right=ARRAY")  # fmt: skip
        if self.file:
            return self._of_file()
        if found == ["text"]:
            return self._of_vectors()
        library = self.library()
        if self.sentences:
            return _clip_sides.of_sentences(library, self.splitting, self.sentences, self.relevant or "emotion")
        return _clip_sides.of_transcripts(library, self.splitting, self.relevant)

    def library(self) -> _clip_library.Library:
        """The clips of ``root`` and ``table``, with what is known of each."""
        manifest = Manifest.of(Sources(None).open(self.table), self.given) if self.table else None
        library = _clip_library.collect(self.root, manifest, self.given, bad=self.bad,
                                        allow_missing=self.allow_missing)  # fmt: skip
        if self.measures:
            found = _measured.measured(library.paths, self.stores, self.longest, self.progress)
            columns = _measured.with_rate(found.columns, library.texts("transcript"))
            return library.having(columns, measured=found.new).without(found.faults, self.bad)
        return library.without(_clip_library.faults(library.paths, self.longest), self.bad)

    def filled(self, side: str, items: Items) -> Items:
        """Clips that are added, with their measures. Raises BadData for those that cannot be measured."""
        if side != "right" or items.kind != "audio":
            return items
        meta = dict(items.meta)
        if "emotion" in meta:
            words = [None if is_missing(word) else affect.canonical(word) for word in meta["emotion"].tolist()]
            meta["emotion"] = as_column(words, "emotion")
        if all(isinstance(value, (str, Path)) for value in items.values):
            meta["path"] = as_column([walk.text(Path(value).absolute()) for value in items.values], "path")
        if self.measures:
            found = _measured.measured(items.values, None, self.longest)
            if found.faults:
                at = min(found.faults)
                raise BadData(f"{len(found.faults)} of {len(items)} clips cannot be used, such as "
                              f"'{items.ids[at]}': {found.faults[at]}")  # fmt: skip
            texts = meta["transcript"].tolist() if "transcript" in meta else [None] * len(items)
            meta |= _measured.with_rate(found.columns, [None if is_missing(text) else text for text in texts])
        return replace(items, meta=meta)

    def columns_of(self, names: Sequence[str]) -> TableColumns:
        """The columns of paths, transcripts, speakers, languages and emotions of another table of clips."""
        found = _clip_manifest.columns_of(names, self.given)
        there = {key: name for key, name in found.items() if name in names}
        renamed = {key: name for key, name in there.items() if key in _clip_library.KNOWN and key not in ("path", name)}
        return TableColumns({"right": there["path"]} if "path" in there else {}, renamed=renamed)

    def _of_file(self) -> Data:
        """Two arrays of one file, by the data set arrays."""
        spec: dict[str, Any] = {
            "name": "arrays", "file": self.file, "left": self.left, "right": self.right, "ids": self.ids,
            "split": self.split, "group": self.group, "relevant": self.relevant,
            "allow_missing": self.allow_missing,
        }  # fmt: skip
        data = parts.make("datasets", {key: value for key, value in spec.items() if value is not None}, "data").load()
        return replace(data, left=self._named(data.left, _clip_sides.TEXT),
                       right=self._named(data.right, _clip_sides.CLIPS))  # fmt: skip

    def _named(self, items: Items, name: str) -> Items:
        """Items under the names that protocols and filters know: emotion is the relation, speaker the group."""
        meta = dict(items.meta)
        for known, given in (("emotion", self.relevant), ("speaker", self.group)):
            if given in meta:
                meta.setdefault(known, meta[given])
        return replace(items, meta=meta, name=name)

    def _of_vectors(self) -> Data:
        if not (self.text and self.audio):
            given, other = ("text", "audio") if self.text else ("audio", "text")
            raise BadRecipe(f"data.{given} is a file of vectors, which needs the other side; type: data.{other}=FILE "
                            "(a column of transcripts is data.transcript=COLUMN)")  # fmt: skip
        tables = [
            _clip_vectors.Table.open(side, spec, self.scale, self.bad == "skip")
            for side, spec in (("text", self.text), ("audio", self.audio))
        ]
        return _clip_vectors.load(*tables, join=self.join, ids=self.ids, split=self.split, group=self.group,
                                  relevant=self.relevant, allow_missing=self.allow_missing)  # fmt: skip
