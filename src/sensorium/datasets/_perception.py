"""Faces and their prompts: n faces of which each has one of m prompts, as the items and pairs of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.pairs import Pairs
from sensorium.table import as_column
from sensorium.types import Data, Items, as_ids

_SPLITS = 3
LONGEST = 200  # characters of a prompt that is its own id


@dataclass(frozen=True, eq=False)
class Faces:
    """n faces. ids (n,); values: n pictures or frames, or vectors (n, d); columns: name → (n,) values.

    which: a face and one of its prompts, two arrays (p,) of rows; most faces have one prompt. group (n,): faces of one
    group never stand in two splits; split (n,): words, "" where the data say none.
    prompts: m texts, None where the words are not known; vectors (m, d): of the prompts, None where they are texts;
    labels (m,): what each prompt describes, such as "happy", None where that is not known.
    source: by side, what made vectors.
    """

    ids: np.ndarray
    values: Any
    kind: str
    which: tuple[np.ndarray, np.ndarray]
    group: np.ndarray
    split: np.ndarray
    prompts: Sequence[str] | None
    vectors: np.ndarray | None = None
    labels: Sequence[str | None] | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    source: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def data(self) -> Data:
        """Left the faces, right the distinct prompts, a pair for each face and prompt.

        Raises BadData where all faces have one prompt.
        """
        of, prompt = self.which
        m = len(self.vectors) if self.vectors is not None else len(self.prompts)
        if m < 2:
            raise BadData(f"all {len(self):,} faces have one prompt; nothing can be told apart: give faces of two "
                          "prompts or more")  # fmt: skip
        left = Items(self.ids, self.values, self.kind, dict(self.columns), self.source.get("left", {}), name="face")
        meta: dict[str, np.ndarray] = {}
        if self.prompts is not None:
            meta["text"] = as_column(list(self.prompts), "text")
        if self.labels is not None:
            meta["label"] = as_column(list(self.labels), "label")
        meta["faces"] = np.bincount(prompt, minlength=m)
        kind, values = ("text", list(self.prompts)) if self.vectors is None else ("vector", self.vectors)
        right = Items(self._ids_of_prompts(m), values, kind, meta, self.source.get("right", {}), name="prompt")
        given = (self.split != "").any()
        pairs = Pairs.of(of, prompt, group=self.group[of], split=self.split[of] if given else None)
        groups = len(np.unique(pairs.group))
        notes = dict(self.notes)
        if groups < _SPLITS and not given:
            notes["said"] = [*notes.get("said", ()), f"the faces are in {groups} group{'s' if groups > 1 else ''} "
                             f"({notes.get('group')}), and training, validation and test need one each; to divide all "
                             "faces freely type: data.group=row"]  # fmt: skip
        counts = {"faces": len(self), "prompts": m, "groups": groups,
                  "split": "given" if given else "drawn"}  # fmt: skip
        return Data(left, right, pairs, {**counts, **notes})

    def _ids_of_prompts(self, m: int) -> np.ndarray:
        """Ids (m,): the prompts themselves, where these are short; else prompt-001, ….

        >>> Faces._ids_of_prompts(Faces(*[None] * 6, prompts=["calm", "sad"]), 2).tolist()
        ['calm', 'sad']
        """
        if self.prompts is not None and all(text and len(text) <= LONGEST for text in self.prompts):
            return as_ids(list(self.prompts))
        return as_ids([f"prompt-{row + 1:0{max(3, len(str(m)))}d}" for row in range(m)])
