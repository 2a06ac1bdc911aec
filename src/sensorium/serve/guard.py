"""Checks of every request: host, origin, token, size, encoding; and the security headers of every answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import re
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect

from sensorium.serve.admission import Budget, Place, Places, client_of
from sensorium.serve.log import Log
from sensorium.serve.metering import PLACE
from sensorium.serve.mounting import own_path, publish
from sensorium.serve.problems import MEDIA_TYPE, Problem, document
from sensorium.serve.settings import Settings, is_loopback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: Paths that anyone may fetch without the token, besides the page's own files.
OPEN = ("/healthz",)
#: A socket's token travels as the subprotocol ``sensorium.token.<base64url of the token>``.
PROTOCOL = "sensorium"
TOKEN_PROTOCOL = "sensorium.token."
#: Content types of bodies that are streams of lines.
STREAMS = (b"application/x-ndjson", b"application/jsonl")
_ALLOWED = "sensorium.policy"  # where a scope holds a policy of its own
_BODY = "sensorium.body"  # where a scope holds the body of its request
_POLICY = (
    "default-src 'self'; script-src 'self'; worker-src 'self' blob:; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self' ws://{host} wss://{host}; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_FULL = "requests of {} bytes together are under way, as much as this server takes from one address or all; try again"
_LATER, _CLOSE = {"retry-after": "1"}, {"connection": "close"}
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(self), geolocation=()"),
]


class Refusal(Exception):
    """A request that goes no further: status and reason."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Guard:
    """ASGI around an application.

    is_open: whether a path may be fetched without the token. budget: bytes of the bodies under way.
    """

    def __init__(
        self, app: Any, settings: Settings, log: Log, is_open: Callable[[str], bool], budget: Budget, places: Places
    ) -> None:
        self.app, self.settings, self.log, self.is_open = app, settings, log, is_open
        self.budget, self.places = budget, places
        self._token = None if settings.token is None else settings.token.get_secret_value().encode()
        self._names = {"localhost", settings.host.strip("[]").lower(), *map(str.lower, settings.hosts)}
        self._origins = tuple(map(str.lower, settings.origins))
        self._own = () if settings.public_url is None else (f"{settings.public_scheme}://{settings.public_host}",)
        if settings.public_url is not None:
            self._names.add(_name(settings.public_host))
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
            path = scope["root_path"] + (own_path(scope).rstrip("/") or "/")
            return await self.app({**scope, "path": path, "raw_path": path.encode()}, receive, send)
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
                own = scope.get(_ALLOWED)
                policy = more if own is None else [*_HEADERS, (b"content-security-policy", own.encode("latin-1"))]
                message["headers"] = [*message.get("headers", ()), *policy]
            await send(message)

        body = scope[_BODY] = _Body(receive, self.settings, self.budget, self.places, scope)
        try:
            await self.app(scope, body, with_headers)
        except ClientDisconnect:  # no client is left to answer
            return
        except Exception as error:  # a bug of ours: its traceback is for the log, not for the client
            self.log.failure(error)
            if begun:
                raise
            await _refuse(scope, receive, send, Refusal(500, "the server failed at this request; its log says why"))
        finally:
            self.budget.give(body.size, body.client)

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
        if host and not _HOST.fullmatch(host):
            raise Refusal(400, "header host is malformed; send NAME, NAME:PORT, or an IPv6 address in brackets")
        if not self._allows_host(host):
            detail = f"this server does not answer to host '{host[:100]}'; allow it with --allow-host"
            raise Refusal(421, f"{detail}, in Python with Settings(hosts=[…]); behind a proxy, type --public-url")
        origin = found.get(b"origin", b"").decode("latin-1").lower()
        further = self._origins if scope["type"] == "websocket" else ()
        known = (f"http://{host}", f"https://{host}", *self._own, *further)
        if b"origin" in found and origin not in known:
            raise Refusal(403, "requests from pages of another origin are refused; allow its sockets: --allow-origin")
        length, most = found.get(b"content-length"), self.settings.body_limit(is_stream(scope))
        if length is not None and (not length.isdigit() or len(length) > 15 or int(length) > most):
            raise Refusal(413, f"body of {length[:20].decode('latin-1')} bytes; at most {most}")
        encoding = found.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"identity", b""):
            name = encoding[:20].decode("latin-1")
            raise Refusal(415, f"content-encoding {name}: compressed bodies are not read; send the body as it is")
        if self._token is not None and not (scope["type"] == "http" and self.is_open(own_path(scope))):
            self._check_token(scope, found)
        if length is not None and not is_stream(scope) and not self.budget.fits(int(length), client_of(scope)):
            self.places.evict()
            raise Refusal(503, _FULL.format(self.budget.used))
        if self.settings.public_url is None:
            return host
        publish(scope, self.settings)
        return self.settings.public_host

    def _allows_host(self, host: str) -> bool:
        name = _name(host)
        if name in self._names:
            return True
        if self.settings.public_url is not None and _PRIVATE.search(name):
            return True  # as which a proxy knows this server
        if self.settings.loopback and self.settings.public_url is None:
            return is_loopback(name)
        try:  # a foreign page can lead a browser here by a name of its own, never by a bare address
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _check_token(self, scope: Scope, found: dict[bytes, bytes]) -> None:
        scheme, _, sent = found.get(b"authorization", b"").partition(b" ")
        token = sent.strip() if scheme.lower() == b"bearer" else b""
        if scope["type"] == "websocket" and not token:
            token = _token_of(scope.get("subprotocols", ()))
        if not hmac.compare_digest(token, self._token or b""):
            raise Refusal(401, "no token, or a wrong one; send the header Authorization: Bearer TOKEN")


#: Names that no foreign page can have: of one word, and below the endings that are kept for private networks.
_PRIVATE = re.compile(r"^[^.:]+$|\.(internal|local|localhost|home\.arpa|test)$")
_READ = frozenset((b"host", b"origin", b"content-length", b"content-encoding", b"authorization"))
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?)(:[0-9]{1,5})?", re.ASCII)


def _name(host: str) -> str:
    """A host without its port."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


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


class _Body:
    """A receive that counts a body as it comes, and ends one that grows too large, comes too slowly, or must give way.

    Attributes: size, bytes of it that count in the budget of all bodies; client, whose they are. Of a stream, which
    is read piece by piece, only what :func:`release` was not told of counts, and its total time has another limit.
    """

    def __init__(self, receive: Receive, settings: Settings, budget: Budget, places: Places, scope: Scope) -> None:
        self.receive, self.settings, self.budget, self.places = receive, settings, budget, places
        self.client, self.place = client_of(scope), scope.get(PLACE) or Place("")
        self.size, self._received, self._whole = 0, 0, False
        self._most = settings.body_limit(is_stream(scope))
        self._seconds = settings.stream_seconds if is_stream(scope) else settings.body_total_seconds
        self._end = time.monotonic() + self._seconds

    async def __call__(self) -> MutableMapping[str, Any]:
        if self._whole:  # what may still come is that the client disconnects
            return await self.receive()
        message = await self._piece()
        self._whole = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self._received += size
        if self._received > self._most:
            raise Problem(413, f"the body is larger than {self._most} bytes", _CLOSE)
        if not self.budget.take(size, self.client):
            self.places.evict()
            raise Problem(503, _FULL.format(self.budget.used), {**_LATER, **_CLOSE})
        self.size += size
        return message

    def release(self, size: int) -> None:
        """Count so many bytes no longer: they were used, and take no memory any more."""
        size = min(size, self.size)
        self.size -= size
        self.budget.give(size, self.client)

    async def _piece(self) -> MutableMapping[str, Any]:
        """The next piece of the body. Raises a 408 problem when it does not come in time."""
        patience, left = self.settings.body_seconds, self._end - time.monotonic()
        try:
            async with asyncio.timeout(min(patience, left)) as self.place.waiting:
                return await self.receive()
        except TimeoutError:
            if self.place.evicted:
                detail = "the body came so slowly that its place went to another request; send it again"
            elif left < patience:
                detail = f"the body did not come within {self._seconds:g} s; send it faster"
            else:
                detail = f"nothing came of the body for {patience:g} s; send the request again"
            raise Problem(408, detail, _CLOSE) from None
        finally:
            self.place.waiting = None


def is_stream(scope: Scope) -> bool:
    """Whether the body of a request is read piece by piece and so may be larger than memory: JSON lines of items."""
    if scope["type"] != "http" or scope["method"] != "POST" or own_path(scope) != "/items":
        return False
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return kind.partition(b";")[0].strip().lower() in STREAMS


def release(scope: Scope, size: int) -> None:
    """Count so many bytes of a stream's body no longer as under way."""
    body = scope.get(_BODY)
    if body is not None:
        body.release(size)


def allow(scope: Scope, policy: str) -> None:
    """Send this content security policy with the answer to a request, instead of the one that all others get."""
    scope[_ALLOWED] = policy


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4000 + refusal.status, "reason": refusal.detail[:120]})
        return
    body = document(refusal.status, refusal.detail)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode()), *_HEADERS]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.status == 503:
        headers += [(name.encode(), value.encode()) for name, value in _LATER.items()]
    if refusal.status in (413, 415, 431, 503):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
