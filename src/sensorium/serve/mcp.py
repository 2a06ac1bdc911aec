"""A run as a server of the Model Context Protocol: the tools of an :class:`Agent`, over stdio or streamable HTTP."""

from __future__ import annotations

import contextlib
import hmac
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sensorium import __version__
from sensorium.errors import BadRecipe, SensoriumError, require
from sensorium.serve.agent import MOST, Agent

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

PATH = "/mcp"
_LEAST = 16  # characters of a token
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def build(agent: Agent) -> MCPServer:
    """The server with its three tools. Raises MissingExtra without the SDK.

    What a caller can correct (SensoriumError) reaches the agent as the tool's error, in the same words as elsewhere;
    anything else is a bug, of which only the log tells.
    """
    server_module = require("mcp.server.mcpserver", "mcp")
    exceptions = require("mcp.server.mcpserver.exceptions", "mcp")
    types = require("mcp.types", "mcp")
    from pydantic import Field

    def typed(function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the protocol
                return function()
        except SensoriumError as error:
            raise exceptions.ToolError(f"{type(error).__name__}: {error}") from None

    server = server_module.MCPServer(
        "sensorium",
        title=f"Sensorium: {agent.name}",
        instructions=agent.about(),
        version=__version__,
        log_level="WARNING",
    )
    reading = types.ToolAnnotations(read_only_hint=True, open_world_hint=False)
    words = Annotated[str, Field(description="What to search for, in plain words.")]
    like = Annotated[
        str, Field(description="The id of an item, to find what is like it. Give this or words, not both.")
    ]
    side = Annotated[str | None, Field(description="The side of the run to search or look in, by its name.")]
    id = Annotated[str, Field(description="The id of an item, as search gives it.")]
    k = Annotated[int, Field(ge=1, le=MOST, description="How many items.")]
    filter = Annotated[
        dict[str, Any] | None,
        Field(description='Values of columns: {"font": "A", "year": {">=": 2000}, "kind": ["a", "b"]}.'),
    ]

    def search(words: str = "", like: str = "", k: int = 10, filter: Any = None, side: str | None = None) -> Any:
        return typed(lambda: agent.search(words, like, k, filter, side))

    def get_item(id: str, side: str | None = None) -> Any:
        return typed(lambda: agent.get_item(id, side))

    def explain(id: str, words: str = "", like: str = "", side: str | None = None) -> Any:
        return typed(lambda: agent.explain(id, words, like, side))

    whole = {"words": words, "like": like, "k": k, "filter": filter, "side": side, "id": id}
    for function, text in (
        (search, "Find the items nearest to words, or to an item. Each hit has a rank, a score, a calibrated "
                 "probability where the run has one, the same in words (match), and the item's columns."),
        (get_item, "One item: its columns, and the ids that the data say belong to it."),
        (explain, "Why an item ranks where it does for a query, and how far to believe it: rank, scores, probability "
                  "in words, the run's measured quality with intervals, and the baselines beside it."),
    ):  # fmt: skip
        function.__annotations__ = {
            **{name: whole[name] for name in function.__annotations__ if name != "return"}, "return": dict[str, Any]
        }  # fmt: skip
        server.add_tool(function, description=text, annotations=reading, structured_output=True)
    return server


def over_stdio(folder: str | Path) -> None:
    """Serve one client over standard input and output, until it closes them."""
    server = build(Agent(folder))
    with contextlib.suppress(KeyboardInterrupt):
        server.run("stdio")


def over_http(
    folder: str | Path,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve clients over streamable HTTP at ``/mcp``. token: what they send as ``Authorization: Bearer …``.

    hosts: further names that are answered. Raises BadRecipe for an address in use, or one that others can reach
    without a token.
    """
    if token is not None and len(token) < _LEAST:
        raise BadRecipe(f"the token is shorter than {_LEAST} characters; make one with: openssl rand -hex 24")
    if host not in _LOOPBACK and token is None:
        raise BadRecipe(
            f"--host {host} is reachable from other machines and no token is set; write one into a file and type: "
            "sensorium mcp RUN --http --host HOST --token-file FILE"
        )
    app = http_app(build(Agent(folder)), token, (host, *hosts))
    uvicorn = require("uvicorn", "mcp")
    from sensorium.serve import launch

    config = uvicorn.Config(app, log_level="warning", server_header=False)
    listener = launch.listen(host, port)  # from here on connections wait, so that the address may be announced
    if announce is not None:
        announce(f"http://{launch.in_url(host)}:{listener.getsockname()[1]}{PATH}")
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def http_app(server: MCPServer, token: str | None = None, hosts: tuple[str, ...] = ()) -> Any:
    """The server as an ASGI application, with its checks of Host, Origin and token."""
    security = require("mcp.server.transport_security", "mcp")
    names = [name for host in {*_LOOPBACK, *hosts} for name in (host if ":" not in host else f"[{host}]",)]
    allowed = security.TransportSecuritySettings(
        allowed_hosts=[*names, *(f"{name}:*" for name in names)],
        allowed_origins=[
            f"{scheme}://{name}{port}" for scheme in ("http", "https") for name in names for port in ("", ":*")
        ],
    )
    app = server.streamable_http_app(
        streamable_http_path=PATH, stateless_http=True, json_response=True, transport_security=allowed
    )
    return app if token is None else _Token(app, token)


class _Token:
    """ASGI that lets nobody in without the token."""

    def __init__(self, app: Any, token: str) -> None:
        self.app, self.expected = app, b"Bearer " + token.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or answer 401."""
        sent = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] != "http" or hmac.compare_digest(sent, self.expected):
            return await self.app(scope, receive, send)
        headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"send the header Authorization: Bearer TOKEN"})
