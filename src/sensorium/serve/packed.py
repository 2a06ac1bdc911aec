"""Texts of the page as they are sent: compressed where the client takes it, and 304 where the client has them."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import xxhash
from starlette.responses import Response

TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
         ".html": "text/html; charset=utf-8"}  # fmt: skip
ASKED = "no-cache"  # a file whose name says nothing of its content is asked for again at every visit
KEPT = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Packed:
    """A text: whole, compressed, with its entity tag and media type."""

    body: bytes
    small: bytes
    tag: str
    media_type: str


def pack(text: str, suffix: str, kept: bool = False) -> Packed:
    """A text as a file with an ending of TYPES. kept: it is sent often, so that a longer search for less pays."""
    body = text.encode()
    small = gzip.compress(body, 9, mtime=0)
    if kept:
        import zopfli.gzip

        small = min(small, zopfli.gzip.compress(body), key=len)
    return Packed(body, small, xxhash.xxh3_64_hexdigest(body), TYPES[suffix])


def response(one: Packed, headers: Mapping[str, str], cache: str = ASKED) -> Response:
    """The answer to a request with some headers: whole, compressed, or 304."""
    zipped = _takes_gzip(headers.get("accept-encoding", ""))
    tag = f'"{one.tag}{"-gzip" if zipped else ""}"'
    sent = {"cache-control": cache, "etag": tag, "vary": "accept-encoding"}
    if tag in (known.strip().removeprefix("W/") for known in headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=sent)
    if zipped:
        sent["content-encoding"] = "gzip"
    return Response(one.small if zipped else one.body, headers=sent, media_type=one.media_type)


def file_response(file: Path, headers: Mapping[str, str]) -> Response:
    """The answer for a source file, as it is on the disk now."""
    return response(pack(file.read_text("utf-8"), file.suffix), headers)


def _takes_gzip(accepted: str) -> bool:
    for one in accepted.lower().split(","):
        name, _, quality = one.partition(";")
        if name.strip() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
