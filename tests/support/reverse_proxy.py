"""A small reverse proxy: another Host, a path prefix that is stripped or not, sockets and streams passed through."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Forwards to ``port`` of this machine what comes below ``prefix``.

    strip: take the prefix away, as ``location /x/ { proxy_pass http://127.0.0.1:8000/; }`` of nginx does. host: the
    Host header that is sent on; None keeps the client's. Attributes: url, paths (of the requests that came).
    """

    def __init__(self, port: int, prefix: str = "", strip: bool = False, host: str | None = "upstream.internal"):
        self.port, self.prefix, self.strip, self.host, self.paths = port, prefix, strip, host, []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}{prefix}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, address = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, address[0]), daemon=True).start()

    def _serve(self, client: socket.socket, address: str) -> None:
        """One request of a connection; an upgraded one goes on as bytes."""
        with client, contextlib.suppress(OSError):
            head, _, rest = _until(client, b"\r\n\r\n").partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            if not first:
                return
            method, path, version = first.split(" ")
            self.paths.append(path)
            if not path.startswith(self.prefix):
                client.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                return
            if self.strip:
                path = path[len(self.prefix) :] or "/"
            headers = [line.partition(":") for line in lines]
            upgraded = any(name.lower() == "upgrade" for name, _, _ in headers)
            own = {"host"} if self.host is not None else set()
            own |= set() if upgraded else {"connection"}
            sent = [f"{name}:{value}" for name, _, value in headers if name.lower() not in own]
            sent += [f"host: {self.host}"] if self.host is not None else []
            sent += [f"x-forwarded-for: {address}"] + ([] if upgraded else ["connection: close"])
            with socket.create_connection(("127.0.0.1", self.port)) as server:
                server.sendall("\r\n".join([f"{method} {path} {version}", *sent, "", ""]).encode("latin-1") + rest)
                threading.Thread(target=_copy, args=(client, server), daemon=True).start()
                _copy(server, client)


def _until(source: socket.socket, end: bytes) -> bytes:
    found = b""
    while end not in found and (piece := source.recv(65536)):
        found += piece
    return found


def _copy(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            to.sendall(piece)
        to.shutdown(socket.SHUT_WR)
