"""A local server of files for downloads: connections that end early, ranges, and statuses."""

from __future__ import annotations

import http.server
import threading


class Server:
    """Files by name; ``break_after`` bytes the first answers end early; ``ranges`` off ignores Range."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks, self.break_after, self.ranges, self.status = 0, 1000, True, 200
        self.asked: list[str | None] = []
        outer = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        content, wanted = self.files.get(request.path[1:]), request.headers.get("Range")
        self.asked.append(wanted)
        if content is None or self.status != 200:
            request.send_error(404 if content is None else self.status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if start >= len(content):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        stop = None
        if self.breaks:
            self.breaks, stop = self.breaks - 1, start + self.break_after
        request.wfile.write(content[start:stop])
