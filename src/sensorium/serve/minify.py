"""Scripts and style sheets made small for the wire: by ``minify-go``, the package of tdewolff/minify, where it is."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping

_KINDS = {".js": "text/javascript", ".css": "text/css"}
_SECONDS = 60.0
#: Its library starts the Go runtime, with threads and signal handlers, so it gets a process of its own.
_PROGRAM = """
import json, sys
import minify
texts = json.load(sys.stdin)
json.dump({name: minify.string(kind, text) for name, (kind, text) in texts.items()}, sys.stdout)
"""


def installed() -> bool:
    """Whether texts are made small here at all."""
    return importlib.util.find_spec("minify") is not None


def smaller(texts: Mapping[str, str]) -> dict[str, str]:
    """Texts of the same meaning, by file name, whose ending says what they are: comments, spaces, long local names go.

    Without the package they stay as they are. Raises ValueError where one of them is no script or style sheet.
    """
    if not installed():
        return dict(texts)
    asked = json.dumps({name: (_KINDS[name[name.rindex(".") :]], text) for name, text in texts.items()})
    command = [sys.executable, "-P", "-c", _PROGRAM]
    try:
        done = subprocess.run(command, input=asked, capture_output=True, text=True, encoding="utf-8", timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return dict(texts)
    if done.returncode:
        raise ValueError(done.stderr.rpartition("Error: ")[2].strip() or f"the minifier ended with {done.returncode}")
    return json.loads(done.stdout)
