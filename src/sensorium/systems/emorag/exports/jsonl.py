"""JSON lines: an object for each line of the script, with every number of its prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.search.line_file import json_line
from sensorium.systems.emorag.exports import Context, Export


def render(records: Sequence[Mapping[str, Any]], context: Context) -> str:
    """The records as they are: see :meth:`sensorium.systems.emorag.picker.Picker.record`."""
    return "".join(f"{json_line(record)}\n" for record in records)


EXPORT = Export("JSON lines: each line with its prompts, their columns and gates.", ".jsonl",
                "application/x-ndjson", render)  # fmt: skip
