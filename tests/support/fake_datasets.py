"""A hub of one data set on this machine, as far as ``datasets.load_dataset`` asks of it."""

import contextlib
import hashlib
import http.server
import json
import threading
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40


@contextlib.contextmanager
def hub(repository, files):
    """Serve a data set of these files {path: bytes}; yields the hub's address."""

    def told(path):
        content = files[path]
        return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.respond(False)

        def do_GET(self):
            self.respond(True)

        def respond(self, body):
            path = unquote(urlsplit(self.path).path)
            api, resolve = f"/api/datasets/{repository}", f"/datasets/{repository}/resolve/"
            if path == api or path.startswith(f"{api}/revision/"):
                return self.send(
                    200, {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": f} for f in files]}, body
                )
            if path.startswith(f"{api}/tree/"):
                folder = path.removeprefix(f"{api}/tree/").partition("/")[2]
                below = {f.rpartition("/")[0] for f in files} - {"", folder}
                folders = [{"type": "directory", "path": f, "oid": COMMIT, "size": 0} for f in below if not folder]
                return self.send(200, [*(told(f) for f in files if f.rpartition("/")[0] == folder), *folders], body)
            name = path.removeprefix(resolve).partition("/")[2]
            if path.startswith(resolve) and name in files:
                return self.send(200, files[name], body)
            self.send(404, b"", body, {"X-Error-Code": "EntryNotFound" if path.startswith(resolve) else "RepoNotFound"})

        def send(self, code, content, body, headers=None):
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            about = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT, **(headers or {})}
            for key, value in {
                **about,
                "Content-Type": "application/json",
                "Content-Length": str(len(content)),
            }.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
