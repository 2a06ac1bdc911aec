"""Exports over HTTP: a file of text, or an archive of several files and, where they are asked for, the clips' audio."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from fastapi import Response

from sensorium.serve.problems import Problem
from sensorium.systems.emorag import exports
from sensorium.systems.emorag.serving import Answer

CLIPS = "clips"  # folder of an archive that holds the audio


def response(format: str, answer: Answer, copies: bool = False) -> Response:
    """The records of an answer in a format, as a file to save. In a thread of its own: audio is read and written.

    copies: the clips lie in the archive's folder ``clips``, by which its files name them. Raises what the format
    raises, and a 409 problem where clips were removed meanwhile.
    """
    assert answer.picker is not None
    about = exports.find(format)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, CLIPS).resolve() if copies else None
            rendered = about.render(answer.lines, exports.context(answer.picker, folder))
            files = dict(rendered) if isinstance(rendered, Mapping) else {f"prompts{about.ending}": rendered}
            if folder is None and isinstance(rendered, str):
                return _saved(rendered.encode(), name(format, about.ending), about.media_type)
            content = _archive(files, folder)
    except (KeyError, FileNotFoundError):
        raise Problem(409, "clips were removed during the export; ask for it again") from None
    return _saved(content, name(format, ".zip"), "application/zip")


def name(format: str, ending: str) -> str:
    """What the file of an export is called."""
    return f"prompts-{format}{ending}"


def _archive(files: Mapping[str, str | bytes], folder: Path | None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            if folder is not None and isinstance(content, str):
                content = content.replace(str(folder), CLIPS)
            archive.writestr(path, content)
        for clip in sorted(folder.iterdir()) if folder is not None else ():
            archive.write(clip, f"{CLIPS}/{clip.name}")
    return file.getvalue()


def _saved(content: bytes, file: str, media_type: str) -> Response:
    return Response(content, headers={"content-disposition": f'attachment; filename="{file}"'}, media_type=media_type)
