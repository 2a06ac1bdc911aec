"""Files of the page as they are sent: minified, compressed where the client takes it, revalidated at every visit.

So no browser mixes modules of two versions: an unchanged file is answered 304 by its entity tag.
"""

from __future__ import annotations

import functools
import gzip
from collections.abc import Mapping
from pathlib import Path

import xxhash
from starlette.responses import Response

from sensorium.serve import minify

TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
         ".html": "text/html; charset=utf-8"}  # fmt: skip
_SMALLER = {".js": minify.javascript, ".css": minify.css}


@functools.lru_cache(maxsize=512)
def _packed(text: str, suffix: str) -> tuple[bytes, bytes, str]:
    """The content, the same compressed, and its entity tag."""
    body = _SMALLER.get(suffix, str)(text).encode()
    return body, gzip.compress(body, 9, mtime=0), xxhash.xxh3_64_hexdigest(body)


def response(text: str, suffix: str, headers: Mapping[str, str]) -> Response:
    """The answer to a request with some headers: a text of the page as a file of a kind, whole, compressed or 304."""
    body, small, tag = _packed(text, suffix)
    zipped = _takes_gzip(headers.get("accept-encoding", ""))
    tag = f'"{tag}{"-gzip" if zipped else ""}"'
    sent = {"cache-control": "no-cache", "etag": tag, "vary": "accept-encoding"}
    if tag in (one.strip().removeprefix("W/") for one in headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=sent)
    if zipped:
        sent["content-encoding"] = "gzip"
    return Response(small if zipped else body, headers=sent, media_type=TYPES[suffix])


def file_response(file: Path, headers: Mapping[str, str]) -> Response:
    """The answer for a file whose ending is one of TYPES."""
    return response(file.read_text("utf-8"), file.suffix, headers)


def _takes_gzip(accepted: str) -> bool:
    for one in accepted.lower().split(","):
        name, _, quality = one.partition(";")
        if name.strip() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
