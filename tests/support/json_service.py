"""A server on this machine that answers POSTs of JSON, after failures of every kind."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def service(respond, *failures):
    """A server whose answers are respond(body); the first requests meet these failures, functions of the
    handler, or None for an answer.

    Gives its address, and the list of what was asked: (headers, body, time).
    """
    waiting, asked = list(failures), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((dict(self.headers), body, time.monotonic()))
            failure = waiting.pop(0) if waiting else None
            if failure is not None:
                failure(self)
                return
            answer(self, 200, respond(body))

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(handler, code, body, **headers):
    content = json.dumps(body).encode() if not isinstance(body, bytes) else body
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def failing(code, message="no", kind="", **headers):
    return lambda handler: answer(handler, code, {"error": {"message": message, "code": kind}}, **headers)


def cut(handler):
    """The connection ends in the middle of the answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"data": [')
    handler.wfile.flush()
    handler.connection.close()


def shut(handler):
    handler.connection.close()
