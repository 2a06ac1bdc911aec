"""The JSON of the original EmoRAG ``retrieve.py``: a list of queries, each with its hits."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.systems.emorag.exports import Context, Export


def render(records: Sequence[Mapping[str, Any]], context: Context) -> str:
    """``[{query, text, hits: [{rank, filename, path, score}]}]``.

    ``query`` is the line's name where the script has names, else "q0", "q1", …; ``text`` is None for vectors. Empty
    lines are left out. ``path`` is the clip's file, or its name where the run knows none.
    """
    answers = []
    for record in records:
        text = record["text"]
        if text is not None and not text.strip():
            continue
        own = record["query"] not in (text, str(record["line"]))
        answers.append(
            {
                "query": record["query"] if own else f"q{len(answers)}",
                "text": text if text is None else text.strip(),
                "hits": [_hit(hit, context) for hit in record["hits"]],
            }
        )
    return json.dumps(answers, ensure_ascii=False, indent=2) + "\n"


def _hit(hit: Mapping[str, Any], context: Context) -> dict[str, Any]:
    path = context.audio.known_path(hit)
    return {
        "rank": hit["rank"],
        "filename": hit["id"] if path is None else os.path.basename(path),
        "path": path or hit["id"],
        "score": float(hit["score"]),
    }


EXPORT = Export("The JSON of the original EmoRAG: queries, each with ranked hits.", ".json", "application/json", render)
