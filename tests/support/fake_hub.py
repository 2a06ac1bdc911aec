"""A model hub on this machine, as far as its client asks of it: repositories, uploads, downloads, and faults on demand.

    with FakeHub() as fake:                       # fake.endpoint is what HF_ENDPOINT has to be
        fake.fault(500, "POST", "/commit/")       # the next request that matches is answered so
        fake.files("me/run")                      # {path: bytes} of its branch main

It speaks Git LFS ("basic" transfers), so the client must run with HF_HUB_DISABLE_XET=1.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import socket
import threading
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

import fake_cards
from fake_repository import LARGE, Repository, blob, entry

TOKEN = "hf_TheSecretOfTheTests0123456789abcdef"  # the one token that may write
READER = "hf_AnotherSecretThatMayOnlyRead987654"  # logs in as the same user, but may not write
USER = "me"
TYPES = {"": "model", "datasets": "dataset", "spaces": "space"}
PAGE = 1000  # entries of one page of a file list
_REPO = re.compile(r"/api/(model|dataset|space)s/([^/]+/[^/]+)(?:/(.*))?")
_FILE = re.compile(r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_LFS = re.compile(r"/(?:(datasets|spaces)/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")


@dataclass
class Fault:
    """What happens to the next requests that match: see :meth:`FakeHub.fault`."""

    kind: object
    method: str
    pattern: str
    skip: int
    times: int
    retry_after: float | None


class FakeHub:
    """A server of repositories.

    Attributes: endpoint. requests: (method, path, whether a token was sent) of each, asked: their paths. received: the
    SHA-256 of each LFS object that came whole, in order; cut: (path, bytes) of those that did not. cards: what
    was to be validated. after: called with the number of objects when one has come.
    lie: a file whose content is not what its checksum says.
    """

    def __init__(self, lie=None):
        self.repositories, self.objects, self.cards = {}, {}, []
        self.requests, self.asked, self.received, self.cut, self.faults, self.waits = [], [], [], [], [], []
        self.lie, self.guard, self.after = lie, threading.RLock(), None

    def __enter__(self):
        outer = self

        class Answer(_Answer):
            hub = outer

        self.server = _Server(("127.0.0.1", 0), Answer)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def repository(self, name, type="model"):
        """The repository of this name, made when it is not there."""
        return self.repositories.setdefault((type, name), Repository())

    def files(self, name, type="model", revision="main"):
        """{path: bytes} of a revision; empty where there is none."""
        found = self.repositories.get((type, name))
        return dict(found.commits.get(found.of(revision), {})) if found else {}

    def put(self, name, files, type="model", title="made"):
        """Commit these {path: bytes} directly."""
        return self.repository(name, type).commit(dict(files), title=title)

    def fault(self, kind, method="", pattern="", skip=0, times=1, retry_after=None):
        """Let the next ``times`` requests that match go wrong, after ``skip`` that do not.

        kind: a status such as 429 (with Retry-After in seconds), "cut" (the connection ends in the middle of what is
        being sent), "lost" (the request is carried out, and the connection ends instead of an answer), "hang" (no
        answer for 60 s). method and pattern: of the requests meant, as "PUT" and a regular expression of the path.
        """
        self.faults.append(Fault(kind, method, pattern, skip, times, retry_after))

    def due(self, method, path):
        """The fault that this request meets, if any."""
        with self.guard:
            for fault in self.faults:
                meant = fault.method in ("", method) and re.search(fault.pattern, path)
                if not meant or not fault.times:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return None


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a client that went away


class _Answer(http.server.BaseHTTPRequestHandler):
    """One request; what it may do follows the Hub's own API."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 20  # headers and body in one packet: two would wait for each other
    hub = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._serve("GET")

    def do_HEAD(self):
        self._serve("HEAD")

    def do_POST(self):
        self._serve("POST")

    def do_PUT(self):
        self._serve("PUT")

    def _serve(self, method):
        hub, split = self.hub, urlsplit(self.path)
        path, self.query = unquote(split.path), parse_qs(split.query)
        self.token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        with hub.guard:
            hub.requests.append((method, path, bool(self.token)))
            hub.asked.append(path)
        fault, length = hub.due(method, path), int(self.headers.get("Content-Length") or 0)
        if fault and fault.kind == "cut":
            got = len(self.rfile.read(length // 2))
            with hub.guard:
                hub.cut.append((path, got))
            return self._hang_up()
        body = self._read(length)
        if fault and isinstance(fault.kind, int):
            more = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            more |= {"X-Error-Message": "Invalid credentials in Authorization header"} if fault.kind == 401 else {}
            return self._json({"error": f"made to fail with {fault.kind}"}, fault.kind, more)
        if fault and fault.kind == "hang":
            return threading.Event().wait(60)
        self.silent = bool(fault and fault.kind == "lost")
        self._route(method, path, body)
        return self._hang_up() if self.silent else None

    def _read(self, length):
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(length)
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _route(self, method, path, body):
        if path == "/api/whoami-v2":
            return self._json({"name": USER, "type": "user", "orgs": []}) if self._known() else self._refused()
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body))
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.startswith("/objects/") and method == "PUT":
            return self._object(path.rsplit("/", 1)[1], body)
        if found := _LFS.fullmatch(path):
            return self._batch(json.loads(body)) if self._may_write(found[2]) else None
        if found := _REPO.fullmatch(path):
            return self._repository(method, found[1], found[2], found[3] or "", body)
        if found := _FILE.fullmatch(path):
            return self._file(method, TYPES[found[1] or ""], found[2], found[3], found[4])
        return self._json({"error": "no such page"}, 404)

    # who asks

    def _known(self):
        return self.token in (TOKEN, READER)

    def _refused(self):
        return self._json({"error": "Invalid username or password."}, 401)

    def _may_write(self, name):
        """Whether the token may write there; if not, the answer has been given."""
        if not self._known():
            self._refused()
        elif self.token != TOKEN or name.split("/")[0] != USER:
            self._json({"error": f"You have no right to write to {name}"}, 403,
                       {"X-Error-Message": "you have no right to write here"})  # fmt: skip
        else:
            return True
        return False

    # what may be asked

    def _create(self, wanted):
        owner = wanted.get("organization") or USER
        name, type = f"{owner}/{wanted['name']}", wanted.get("type") or "model"
        if not self._may_write(name):
            return None
        address = f"{self.hub.endpoint}/{'' if type == 'model' else type + 's/'}{name}"
        with self.hub.guard:
            if (type, name) in self.hub.repositories:
                return self._json({"url": address, "error": "You already created this repo"}, 409)
            made = self.hub.repositories[type, name] = Repository(
                wanted.get("visibility") == "private" or bool(wanted.get("private"))
            )
            made.commit({".gitattributes": b"*.npy filter=lfs diff=lfs merge=lfs -text\n"}, title="initial commit")
        return self._json({"url": address, "name": name, "id": name})

    def _repository(self, method, type, name, rest, body):
        found = self.hub.repositories.get((type, name))
        if found is None or (found.private and not self._known()):
            return self._missing()
        verb, _, rest = rest.partition("/")
        if verb in ("preupload", "commit") and method == "POST":
            if self._may_write(name):
                if verb == "preupload":
                    return self._preupload(found, rest, json.loads(body))
                where = f"{'' if type == 'model' else type + 's/'}{name}"
                return self._commit(found, rest, body, f"{self.hub.endpoint}/{where}/commit")
            return None
        revision, _, under = rest.partition("/") if verb in ("revision", "tree", "paths-info") else ("main", "", "")
        commit = found.of(revision)
        if commit is None:
            return self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        files = found.commits[commit]
        if verb == "tree":
            return self._tree({path: content for path, content in files.items() if path.startswith(under)})
        if verb == "paths-info":
            asked = json.loads(body)["paths"]
            return self._json([entry(path, files[path]) for path in asked if path in files])
        return self._json({"id": name, "sha": commit, "private": found.private,
                           "siblings": [{"rfilename": path} for path in files]})  # fmt: skip

    def _tree(self, files):
        start, names = int(self.query.get("cursor", ["0"])[0]), sorted(files)
        more = {}
        if start + PAGE < len(names):
            address = f"{self.hub.endpoint}{urlsplit(self.path).path}?recursive=True&cursor={start + PAGE}"
            more["Link"] = f'<{address}>; rel="next"'
        return self._json([entry(path, files[path]) for path in names[start : start + PAGE]], 200, more)

    def _preupload(self, found, revision, wanted):
        files = found.commits.get(found.of(revision), {})
        answers = []
        for file in wanted["files"]:
            path, there = file["path"], files.get(file["path"])
            large = path.endswith(LARGE) or file["size"] > 10 << 20
            known = None if there is None else hashlib.sha256(there).hexdigest() if large else blob(there)
            answers.append({"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False,
                            **({"oid": known} if known else {})})  # fmt: skip
        return self._json({"files": answers})

    def _batch(self, wanted):
        answers = []
        for one in wanted["objects"]:
            action = {"upload": {"href": f"{self.hub.endpoint}/objects/{one['oid']}"}}
            there = one["oid"] in self.hub.objects
            answers.append({"oid": one["oid"], "size": one["size"], **({} if there else {"actions": action})})
        return self._json({"transfer": "basic", "objects": answers})

    def _object(self, name, content):
        if hashlib.sha256(content).hexdigest() != name:
            return self._json({"error": "not the announced content"}, 400)
        with self.hub.guard:
            self.hub.objects[name] = content
            self.hub.received.append(name)
        if self.hub.after is not None:
            self.hub.after(len(self.hub.received))
        return self._json({})

    def _commit(self, found, revision, body, address):
        lines = [json.loads(line) for line in body.splitlines()]
        added, deleted, title = {}, [], ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                title = value["summary"]
            elif line["key"] == "file":
                added[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    return self._json({"error": f"{value['path']}: its object was never sent"}, 400)
                added[value["path"]] = self.hub.objects[value["oid"]]
            else:
                deleted.append(value["path"])
        with self.hub.guard:
            name = found.commit(added, deleted, title, revision)
        return self._json({"commitUrl": f"{address}/{name}", "commitOid": name, "success": True})

    def _validate(self, wanted):
        self.hub.cards.append(wanted)
        errors = fake_cards.errors(wanted["content"])
        return self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _file(self, method, type, name, revision, path):
        found = self.hub.repositories.get((type, name))
        if found is None or (found.private and not self._known()):
            return self._missing()
        commit = found.of(revision)
        if commit is None:
            return self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        content = found.commits[commit].get(path)
        if content is None:
            return self._json(
                {"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            )
        large = path.endswith(LARGE)
        etag = hashlib.sha256(content).hexdigest() if large else blob(content)
        if path == self.hub.lie:
            content = content[:-1] + bytes([content[-1] ^ 1])
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        code, given = 200, self.headers.get("Range")
        if given and (span := re.fullmatch(r"bytes=(\d+)-(\d*)", given)):
            first, last = int(span[1]), int(span[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            code, content = 206, content[first : last + 1]
        return self._send(code, content, headers)

    def _missing(self):
        code = 404 if self._known() else 401
        return self._json({"error": "Repository not found"}, code, {"X-Error-Code": "RepoNotFound"})

    def _json(self, value, code=200, headers=None):
        return self._send(code, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, code, content, headers):
        if self.__dict__.get("silent"):
            return
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextlib.contextmanager
def hub(repository, revisions, lie=None):
    """Serve one model that is only read; yields the server's address and the paths that were asked for.

    revisions: {branch or commit: {file name: bytes}}; names of 40 characters are commits, the others point to
    the commit that holds the same files. lie: a file whose content is not what its checksum says.
    """
    with FakeHub(lie) as fake:
        found = fake.repository(repository)
        found.commits = {name: files for name, files in revisions.items() if len(name) == 40}
        found.refs = {name: next(c for c, files in found.commits.items() if files is held)
                      for name, held in revisions.items() if len(name) != 40}  # fmt: skip
        yield fake.endpoint, fake.asked
