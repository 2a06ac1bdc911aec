"""What every request passes first: host, origin, token and size; and the headers every answer carries."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sensorium.serve.metering import Log
from sensorium.serve.problems import MEDIA_TYPE, Problem, document
from sensorium.serve.settings import Settings, is_loopback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: What anyone may fetch without the token: the page itself, and whether the server lives.
OPEN = ("/healthz",)
#: A socket's token travels as the subprotocol ``sensorium.token.<base64url of the token>``.
PROTOCOL = "sensorium"
TOKEN_PROTOCOL = "sensorium.token."
_POLICY = (
    "default-src 'self'; script-src 'self'; worker-src 'self' blob:; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self' ws://{host} wss://{host}; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(self), geolocation=()"),
]


class Refusal(Exception):
    """A request that goes no further: status and why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Guard:
    """ASGI around an application. is_open: whether a path may be fetched without the token."""

    def __init__(self, app: Any, settings: Settings, log: Log, is_open: Callable[[str], bool]) -> None:
        self.app, self.settings, self.log, self.is_open = app, settings, log, is_open
        self._token = None if settings.token is None else settings.token.get_secret_value().encode()
        self._names = {"localhost", settings.host.lower(), *map(str.lower, settings.hosts)}
        if not settings.loopback:
            self._names |= {socket.gethostname().lower()}
        self._policies: dict[str, list[tuple[bytes, bytes]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why not."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        headers = scope["headers"]
        try:
            host = self._check(scope, headers)
        except Refusal as refusal:
            return await _refuse(scope, receive, send, refusal)
        if scope["type"] == "websocket":
            return await self.app(scope, receive, send)
        more = self._policies.get(host)
        if more is None:
            if len(self._policies) > 100:
                self._policies.clear()
            policy = _POLICY.format(host=host).encode("latin-1")
            more = self._policies[host] = [*_HEADERS, (b"content-security-policy", policy)]

        begun = False

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        try:
            await self.app(scope, _Counted(receive, self.settings.max_body), with_headers)
        except Exception as error:  # a bug of ours: its traceback is for the log, not for the client
            self.log.failure(error)
            if begun:
                raise
            await _refuse(scope, receive, send, Refusal(500, "the server failed at this request; its log says why"))

    def _check(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> str:
        """The host a request is for. Raises Refusal."""
        size, found = 0, {}
        for name, value in headers:
            size += len(name) + len(value)
            if name in _READ:
                if name in found:
                    raise Refusal(400, f"header {name.decode()} is given twice; send it once")
                found[name] = value
        line = len(scope["path"]) + len(scope.get("query_string", b""))
        if line > self.settings.max_header:
            raise Refusal(414, f"an address of {line} characters; at most {self.settings.max_header} are read")
        if size > self.settings.max_header:
            raise Refusal(431, f"headers of {size} bytes; at most {self.settings.max_header} are read")
        host = found.get(b"host", b"").decode("latin-1").lower()
        if not self._knows(host):
            raise Refusal(421, f"this server does not answer to host '{host[:100]}'; allow it with --allow-host")
        origin = found.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower() not in (f"http://{host}", f"https://{host}"):
            raise Refusal(403, "requests from pages of another origin are refused")
        length = found.get(b"content-length")
        if length is not None and (not length.isdigit() or len(length) > 15 or int(length) > self.settings.max_body):
            raise Refusal(413, f"body of {length[:20].decode('latin-1')} bytes; at most {self.settings.max_body}")
        if self._token is not None and not (scope["type"] == "http" and self.is_open(scope["path"])):
            self._check_token(scope, found)
        return host

    def _knows(self, host: str) -> bool:
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if name in self._names:
            return True
        if self.settings.loopback:
            return is_loopback(name)
        try:  # a foreign page can lead a browser here by a name of its own, never by a bare address
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _check_token(self, scope: Scope, found: dict[bytes, bytes]) -> None:
        scheme, _, sent = found.get(b"authorization", b"").partition(b" ")
        given = sent.strip() if scheme.lower() == b"bearer" else b""
        if scope["type"] == "websocket" and not given:
            given = _token_of(scope.get("subprotocols", ()))
        if not hmac.compare_digest(given, self._token or b""):
            raise Refusal(401, "no token, or a wrong one; send the header Authorization: Bearer TOKEN")


_READ = frozenset((b"host", b"origin", b"content-length", b"authorization"))


def _token_of(protocols: Any) -> bytes:
    """The token among a socket's subprotocols; empty when there is none."""
    for protocol in protocols:
        if protocol.startswith(TOKEN_PROTOCOL):
            text = protocol.removeprefix(TOKEN_PROTOCOL)
            try:
                return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            except (ValueError, binascii.Error):
                return b""
    return b""


class _Counted:
    """A receive that raises once a body of unknown length has grown over the limit."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self.receive, self.left = receive, limit
        self.limit = limit

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self.receive()
        if message["type"] == "http.request":
            self.left -= len(message.get("body", b""))
            if self.left < 0:
                raise Problem(413, f"the body is larger than {self.limit} bytes", {"connection": "close"})
        return message


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4000 + refusal.status, "reason": refusal.detail[:120]})
        return
    body = document(refusal.status, refusal.detail)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode()), *_HEADERS]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.status in (413, 431):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
