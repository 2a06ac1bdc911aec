"""A model hub of one repository on this machine, as far as downloading a snapshot asks of it."""

import contextlib
import hashlib
import http.server
import json
import threading
from urllib.parse import unquote, urlsplit


@contextlib.contextmanager
def hub(repository, revisions, lie=None):
    """Serve a repository; yields its address and the paths that were asked for.

    revisions: {branch or commit: {file name: bytes}}; names of 40 characters are commits, the others point to
    the commit that holds the same files. lie: a file whose content is not what its checksum says.
    """
    commits = {name: files for name, files in revisions.items() if len(name) == 40}
    asked = []

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
            asked.append(path)
            api = f"/api/models/{repository}"
            rest = path.removeprefix(api).removeprefix(f"/{repository}/resolve").strip("/").split("/", 1)
            if path == api or path.startswith(f"{api}/revision/") or path.startswith(f"{api}/tree/"):
                name = path.rsplit("/", 1)[-1] if path != api else "main"
                commit = next((c for c, files in commits.items() if c == name or files is revisions.get(name)), None)
                if commit is None:
                    return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
                files = commits[commit]
                if "/tree/" in path:
                    told = [{"type": "file", "path": f, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                            for f, c in files.items()]  # fmt: skip
                else:
                    told = {"id": repository, "sha": commit, "siblings": [{"rfilename": f} for f in files]}
                return self.send(200, json.dumps(told).encode(), {"Content-Type": "application/json"}, body)
            commit, name = rest[0], rest[1] if len(rest) > 1 else ""
            if not path.startswith(f"/{repository}/") or name not in commits.get(commit, {}):
                return self.send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
            content = commits[commit][name]
            digest = hashlib.sha256(content).hexdigest()
            if name == lie:
                content = content[:-1] + bytes([content[-1] ^ 1])
            self.send(200, content, {"ETag": f'"{digest}"', "X-Repo-Commit": commit}, body)

        def send(self, code, content, headers, body):
            self.send_response(code)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
