"""Text models of transformers that are run here: texts to batches of tokens, and tokens to one vector a text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sensorium.encoders import _texts, _trainable
from sensorium.encoders._pretrained import Pretrained
from sensorium.encoders._trainable import Trainable


class TextModel(Pretrained, Trainable):
    """What they share; a subclass has the tokenizer, the longest text, ``load`` and ``features``."""

    tokenizer: Any

    @property
    @abstractmethod
    def longest(self) -> int:
        """Tokens read of a text, with those at both ends."""

    def cost(self, values: Sequence[Any]) -> str:
        """How many of the texts are cut off; "" where none is."""
        return _texts.cut(_texts.check(self.part, values), self.tokenizer, self.longest)

    def batches(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Rows of each batch and their vectors. Raises BadData for a value that is not text."""
        texts = _texts.check(self.part, values)
        forward = lambda tokens: self.run(lambda **x: self.features(self.network, x), **tokens)  # noqa: E731
        return _texts.batches(self, texts, self.tokenizer, self.longest, forward)

    def prepare(self, value: Any) -> Any:
        """A text's tokens. Raises BadData for a value that is not text."""
        return _trainable.tokens(self.tokenizer, _texts.check(self.part, [value])[0], self.longest)

    def collate(self, network: Any, prepared: Sequence[Any]) -> Any:
        """Tokens of some texts, (b, t) each."""
        return _trainable.padded(self.tokenizer, prepared)

    def examples(self) -> list[Any]:
        """Fixed texts."""
        return list(_texts.EXAMPLES)
