"""Texts for a pretrained network: tokens by its own tokenizer, texts of one length together, with little padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.encoders import _batches, _torchvision
from sensorium.encoders._pretrained import Pretrained
from sensorium.errors import BadData, Corrupt

#: Fixed texts, on which precisions are compared.
EXAMPLES = (
    "A dog runs across the beach.", "Two men in dark suits talk in front of a red brick building.", "rain",
    "Quarterly revenue rose by 4.2 percent, less than analysts had expected.", "Ein Vogel singt im Wald.",
    "The committee will meet again on Thursday to decide whether the bridge can be repaired before winter.",
    "def add(a, b): return a + b", "What is the capital of Australia?",
)  # fmt: skip


def check(part: str, values: Sequence[Any]) -> list[str]:
    """The values as plain text. Raises BadData for one that is not text."""
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise BadData(f"{part}: value {i} is {type(value).__name__}; expected text")
    return list(map(str, values))


def tokenizer(folder: Path, extra: str) -> Any:
    """A model's tokenizer. Raises Corrupt when its files are missing or damaged, MissingExtra without transformers."""
    transformers = _torchvision.library("transformers", extra)
    try:
        return transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise Corrupt(f"{folder} has no tokenizer that can be read ({error}); restore or download it again") from None


def batches(
    encoder: Pretrained,
    texts: Sequence[str],
    tokenizer: Any,
    longest: int,
    forward: Callable[[Any], np.ndarray],
    padded: bool = False,
) -> Iterator[tuple[Sequence[int], np.ndarray]]:
    """Rows of each batch and the vectors of its texts. longest: tokens read of a text; the rest is cut off.

    padded: every text takes ``longest`` tokens, as the model was trained so. forward: the tokenizer's tensors to
    vectors. Raises BadData for a text without a token.
    """
    tokens = tokenizer(list(texts), truncation=True, max_length=longest)
    lengths = np.array([len(ids) for ids in tokens["input_ids"]])
    if not lengths.all():
        raise BadData(f"{encoder.part}: text {int(np.argmin(lengths))} is empty: it has no token")
    if padded:
        lengths[:] = longest

    def read(rows: Sequence[int]) -> Any:
        chosen = {name: [column[i] for i in rows] for name, column in tokens.items()}
        how = {"padding": "max_length", "max_length": longest} if padded else {"padding": True}
        return tokenizer.pad(chosen, return_tensors="pt", **how)

    size = encoder.size(footprint(encoder.config))
    units = lambda rows: int(lengths[rows[0]]) * len(rows)  # noqa: E731
    return _batches.compute(_batches.alike(lengths, size), read, forward, size, encoder.where, units)


def cut(texts: Sequence[str], tokenizer: Any, longest: int) -> str:
    """In words, how many of the texts have more than ``longest`` tokens and so lose their end; "" where none has.

    A token takes one byte of a text or more, so that only texts of many bytes are counted.
    """
    long = [text for text in texts if len(text.encode()) > longest - tokenizer.num_special_tokens_to_add()]
    tokens = tokenizer(long, truncation=False, verbose=False)["input_ids"] if long else []
    count = sum(len(ids) > longest for ids in tokens)
    if not count:
        return ""
    return f"{count:,} of {len(texts):,} texts are longer than {longest} tokens; what comes after is cut off"


def footprint(config: dict[str, Any]) -> int:
    """Bytes of activations that a token takes in a transformer: the MLP's are the largest of a layer."""
    about = config.get("text_config", config)
    width = about.get("hidden_size") or about.get("d_model") or about.get("dim") or 768
    return int(width) * 4 * 16
