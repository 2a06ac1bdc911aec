"""GPT-SoVITS's list of reference audio: a line ``path|speaker|language|text`` for each clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.errors import BadRecipe
from sensorium.systems.emorag.exports import Context, Export
from sensorium.systems.emorag.exports._context import check_one_line, clips, column, language

#: Those that its ``prepare_datasets/1-get-text.py`` knows; it passes over the lines of others.
LANGUAGES = ("zh", "ja", "en", "ko", "yue")


def render(records: Sequence[Mapping[str, Any]], context: Context) -> str:
    """A line for each clip, in the order they come. Its reader splits a line at every ``|`` and expects four parts.

    A ``|`` in a transcript or speaker, which is not spoken, becomes a space. Its preparation of training data drops the
    folders of paths; copies (``--copy-to``) have file names that differ. Raises BadRecipe for a path with ``|`` or of
    two lines, and for another language.
    """
    lines = []
    for hit in clips(records):
        path = check_one_line(context.audio.path(hit), "path", "|")
        code = language(hit)
        if code not in LANGUAGES:
            raise BadRecipe(
                f"clip '{hit['id']}' is in '{code}'; GPT-SoVITS knows {', '.join(LANGUAGES)}: leave it out with "
                f"--where language!={code}"
            )
        speaker, text = (" ".join(column(hit, name).replace("|", " ").split()) for name in ("speaker", "transcript"))
        lines.append(f"{path}|{speaker or 'speaker'}|{code}|{text}\n")
    return "".join(lines)


EXPORT = Export("GPT-SoVITS's list: path|speaker|language|text of each clip.", ".list", "text/plain", render)
