"""A small S3 server in this process, with faults: objects in memory, any bucket, any credentials.

    with serving() as server:
        server.fault = lambda verb, key: "503" if ... else None

Faults: "503" (refused before anything is done), "half" (a read that ends in the middle), "landed" (a write that is done
and then answered by an error), "slow" (answered ``delay`` seconds later, after it was done).
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
import xml.sax.saxutils as xml
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

DATE = "2026-01-01T00:00:00.000Z"


class Server(ThreadingHTTPServer):
    """objects: content by "bucket/key". calls: (verb, key) of every request. fault: what goes wrong with a request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.calls: list[tuple[str, str]] = []
        self.fault: Callable[[str, str], str | None] = lambda verb, key: None
        self.delay = 0.5
        self.guard = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """GET, PUT, HEAD and DELETE of objects, and lists of a bucket by prefix."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        return

    def do_PUT(self) -> None:
        key, body = self._key(), self._body()
        if self._faulty("PUT", key, ("503",)):
            return
        with self.server.guard:
            self.server.objects[key] = body
        if self._faulty("PUT", key, ("landed",)):
            return
        self._answer(200, b"", {"ETag": _tag(body)})

    def do_GET(self) -> None:
        key, query = self._key(), parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if self._faulty("GET", key, ("503",)):
            return
        if "/" not in key or "list-type" in query:
            self._list(key, query)
            return
        with self.server.guard:
            body = self.server.objects.get(key)
        if body is None:
            self._error(404, "NoSuchKey")
            return
        status, headers = 200, {"ETag": _tag(body), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            whole, status = len(body), 206
            body = body[int(first) : int(last) + 1 if last else None]
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(body) - 1}/{whole}"
        if self._now("GET", key) == "half":
            self._answer(status, body[: len(body) // 2], headers)  # as from a proxy that lost the rest
            return
        self._answer(status, body, headers)

    def do_HEAD(self) -> None:
        key = self._key()
        if self._faulty("HEAD", key, ("503",)):
            return
        with self.server.guard:
            body = self.server.objects.get(key)
        if body is None and "/" in key:
            self._error(404, "NoSuchKey")
            return
        self._answer(200, body or b"", {"ETag": _tag(body or b""), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"})

    def do_DELETE(self) -> None:
        key = self._key()
        if self._faulty("DELETE", key, ("503",)):
            return
        with self.server.guard:
            self.server.objects.pop(key, None)
        self._answer(204, b"", {})

    def _list(self, key: str, query: dict[str, list[str]]) -> None:
        bucket, prefix = key.partition("/")[0], query.get("prefix", [""])[0]
        with self.server.guard:
            found = {
                k.partition("/")[2]: v for k, v in self.server.objects.items() if k.startswith(f"{bucket}/{prefix}")
            }
        rows = "".join(
            f"<Contents><Key>{xml.escape(k)}</Key><LastModified>{DATE}</LastModified><ETag>{_tag(v)}</ETag>"
            f"<Size>{len(v)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for k, v in sorted(found.items())
        )
        body = (f'<?xml version="1.0"?><ListBucketResult><Name>{bucket}</Name><Prefix>{xml.escape(prefix)}</Prefix>'
                f"<KeyCount>{len(found)}</KeyCount><MaxKeys>100000</MaxKeys><IsTruncated>false</IsTruncated>{rows}"
                "</ListBucketResult>")  # fmt: skip
        self._answer(200, body.encode(), {"Content-Type": "application/xml"})

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).strip("/")

    def _body(self) -> bytes:
        """The body, without the chunks and checksums of aws-chunked."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            raw = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return raw
        body, at = b"", 0
        while True:
            end = raw.index(b"\r\n", at)
            size = int(raw[at:end].split(b";")[0], 16)
            if not size:
                return body
            body += raw[end + 2 : end + 2 + size]
            at = end + 2 + size + 2

    def _now(self, verb: str, key: str) -> str | None:
        return self.server.fault(verb, key)

    def _faulty(self, verb: str, key: str, faults: tuple[str, ...]) -> bool:
        """Whether the request was answered by an error."""
        if "503" in faults:
            with self.server.guard:
                self.server.calls.append((verb, key))
        found = self._now(verb, key)
        if found == "slow" and (self.command != "PUT" or "landed" in faults):
            time.sleep(self.server.delay)
        if found in faults:
            self._error(503, "SlowDown")
            return True
        return False

    def _error(self, status: int, code: str) -> None:
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'.encode()
        self._answer(status, body, {"Content-Type": "application/xml"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _tag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that runs within the block."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
