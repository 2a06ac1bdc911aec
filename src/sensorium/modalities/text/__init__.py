"""Text: words as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.errors import BadData
from sensorium.modalities import Decoded, Limits


class Text:
    """A text (str), which is its own query."""

    name, query, is_file = "text", "words to search by", False
    media_types: Mapping[str, str] = {}
    shown_as, packed_as = "text", ""

    def read(self, value: Any) -> str:
        """The text itself. Raises BadData for what is no text."""
        if not isinstance(value, str):
            raise BadData(f"{type(value).__name__}; expected text")
        return value

    def decode(self, content: bytes, limits: Limits) -> Decoded:
        """UTF-8 bytes as text."""
        if len(content) > limits.bytes:
            raise BadData(f"text of {len(content)} bytes; at most {limits.bytes}")
        try:
            return Decoded(content.decode("utf-8-sig"), "text/plain")
        except UnicodeDecodeError as error:
            raise BadData(f"it is not text in UTF-8 ({error})") from None

    def pack(self, value: Any) -> None:
        """None: a text is a column of its table."""

    def bad_items(self, error: BadData, values: Sequence[Any]) -> BadData:
        """The error as it is."""
        return error


modality = Text()
