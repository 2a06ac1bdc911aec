"""A library of clips as data: texts on the left, clips on the right, pairs that stay within one split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sensorium.datasets import _clip_sentences, _clip_splits
from sensorium.datasets._clip_library import Library
from sensorium.datasets._clip_splits import Splitting
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.pairs import Pairs
from sensorium.pairs.classes import Classes
from sensorium.table import as_column
from sensorium.types import Data, Items

TEXT, CLIPS = "text", "clip"  # names of the two sides
_OF_THE_CLIP = ("path", "transcript", "split")  # columns that are no metadata of a text


def of_transcripts(library: Library, splitting: Splitting, relevant: str | None) -> Data:
    """Left: the transcript of each clip. Pairs: a transcript and its clip, or of equal values of ``relevant``.

    Clips without a transcript can be found and are in no pair. Raises BadData where no clip has one.
    """
    texts = library.texts("transcript")
    there = np.array([at for at, text in enumerate(texts) if text is not None], np.int64)
    if not len(there):
        raise BadData(
            "no clip has a transcript, so there is no text to find it by; name a table with the columns path and text: "
            "data.table=TABLE, or find clips by written sentences: data.sentences=emotions"
        )
    split, group, notes = splitting.of(library)
    i = np.flatnonzero(split[there] != "")
    j = there[i]
    pairs = Pairs.of(i, j, group=group[j], split=split[j])
    if relevant is not None:
        if relevant not in library.columns:
            raise BadRecipe(f"data.relevant={relevant}: the clips have no such column; "
                            f"{nearest(relevant, library.columns)}")  # fmt: skip
        labels = library.texts(relevant)
        classes = Classes.of([labels[at] for at in j.tolist()], i, j, len(there), len(library))
        pairs = replace(pairs, classes=classes)
    meta = {name: column[there] for name, column in library.columns.items() if name not in _OF_THE_CLIP}
    left = Items(library.ids[there], [texts[at] for at in there.tolist()], "text", meta, name=TEXT)
    notes |= {"clips_without_transcript": len(library) - len(there), "relevant": relevant or "by row"}
    return _data(left, library, pairs, notes)


def of_sentences(library: Library, splitting: Splitting, where: str, relevant: str) -> Data:
    """Left: written sentences with splits of their own. Pairs: a sentence and each clip of its label and split."""
    if relevant not in library.columns:
        known = " or ".join(f"data.{relevant}={one}" for one in ("COLUMN", "folder"))
        raise BadData(f"no clip has a column '{relevant}', by which sentences find clips; type: {known}")
    sentences = _clip_sentences.read(where, relevant, splitting.seed)
    split, group, notes = splitting.of(library)
    labels = library.texts(relevant)
    pairs = _clip_splits.related(sentences.labels, sentences.split, labels, split, group)
    known = set(sentences.labels)
    strange = sorted({label for label in labels if label is not None and label not in known})
    if not len(pairs):
        raise BadData(f"no clip has the {relevant} of a sentence of its split: clips have "
                      f"{', '.join(sorted({v for v in labels if v is not None})) or 'none'}, sentences "
                      f"{', '.join(sorted(known))}")  # fmt: skip
    notes |= {"sentences": len(sentences.texts), "sentences_split": "drawn" if sentences.drawn else "given",
              "relevant": relevant}  # fmt: skip
    if without := sum(label is None or label not in known for label in labels):
        notes |= {"clips_without_sentence": without, f"{relevant}_without_sentence": strange}
    meta = {relevant: as_column(sentences.labels, relevant), **sentences.columns}
    left = Items(sentences.ids, sentences.texts, "text", meta, name=TEXT)
    return _data(left, library, pairs, notes)


def _data(left: Items, library: Library, pairs: Pairs, notes: Mapping[str, Any]) -> Data:
    meta = {name: column for name, column in library.columns.items() if name != "split"}
    right = Items(library.ids, library.paths, "audio", meta, name=CLIPS)
    return Data(left, right, pairs, {**library.notes, **notes})
