"""Where clients reach an application: below the path of a mount, or at the public address of a proxy in front of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from sensorium.serve.settings import Settings

Scope = MutableMapping[str, Any]


@dataclass
class Mount:
    """prefix: the path that clients put before the application's own paths, such as ``/sensorium``; empty for none."""

    prefix: str = ""


def own_path(scope: Scope) -> str:
    """The application's own path of a request, without the prefix that it is mounted at."""
    return below(scope["path"], scope.get("root_path", "").rstrip("/"))


def below(path: str, prefix: str) -> str:
    """A path without a prefix, if it has it; the prefix itself is ``/``."""
    if prefix and (path == prefix or path.startswith(f"{prefix}/")):
        return path[len(prefix) :] or "/"
    return path


class Mounted:
    """ASGI that writes into each request where the client reached the application: ``root_path``, and the client.

    With ``public_url`` a proxy is in front, which may send its path prefix along or strip it. Both arrive as the same
    request here. Without it the prefix is that of the mount, if the application is mounted in another one.
    """

    def __init__(self, app: Any, settings: Settings, mount: Mount) -> None:
        self.app, self.settings, self.mount = app, settings, mount

    async def __call__(
        self, scope: Scope, receive: Any, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]
    ) -> None:
        """Pass a request on."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        path, prefix = own_path(scope), scope.get("root_path", "").rstrip("/")
        scope = {**scope}
        scope.pop("router", None)  # of an outer application, whose names are not ours
        if self.settings.public_url is not None:
            prefix = self.settings.prefix
            path = below(path, prefix)
            scope["client"] = _client(scope)
        scope["root_path"] = scope["app_root_path"] = prefix
        scope["path"] = prefix + path
        self.mount.prefix = prefix
        await self.app(scope, receive, send)


def publish(scope: Scope, settings: Settings) -> None:
    """Write the scheme and host of the public address into a request whose own host has been checked.

    Redirects then lead to that address, whatever Host header the proxy sends.
    """
    secure, socket = settings.public_scheme == "https", scope["type"] == "websocket"
    scope["scheme"] = {(True, True): "wss", (False, True): "ws", (True, False): "https"}.get((secure, socket), "http")
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    scope["headers"] = [*headers, (b"host", settings.public_host.encode())]


def _client(scope: Scope) -> Any:
    """The client of a request: the last address of X-Forwarded-For, where the sender is on a private network."""
    client = scope.get("client")
    try:
        trusted = client is not None and ipaddress.ip_address(client[0]).is_private
    except ValueError:
        return client
    sent = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    if not trusted or not sent:
        return client
    try:
        return str(ipaddress.ip_address(sent[-1].decode("latin-1").rpartition(",")[2].strip().strip("[]"))), 0
    except ValueError:
        return client
