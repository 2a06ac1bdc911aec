"""The verb that serves a run to agents: mcp."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import RunFolder, Trust, trusted
from sensorium.cli.output import console


def mcp(
    run: RunFolder,
    http: Annotated[
        bool, typer.Option("--http", help="Streamable HTTP at /mcp instead of standard input and output.")
    ] = False,
    host: Annotated[
        str, typer.Option("--host", help="Address; any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", help="File whose first line clients must send as their token.", show_default=False
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A further name the server answers to; repeatable.", show_default=False),
    ] = None,
    trust: Trust = False,
) -> None:
    """Serve a run to agents (Model Context Protocol): the tools search, get_item and explain.

    [bold]sensorium mcp runs/glyphs[/bold]

    [bold]sensorium mcp runs/glyphs --http --port 8765[/bold]

    [bold]claude mcp add glyphs -- sensorium mcp runs/glyphs[/bold]
    """
    from sensorium.errors import BadRecipe
    from sensorium.serve import mcp as server

    trusted(trust, run)
    if not http:
        if token_file is not None or allow_host:
            raise BadRecipe("--token-file and --allow-host are of the server over HTTP; add --http")
        return server.over_stdio(run)
    token = None
    if token_file is not None:
        from sensorium.serve.settings import read_token

        token = read_token(token_file).get_secret_value()
    server.over_http(run, host, port, token, tuple(allow_host or ()), _announce)


def _announce(url: str) -> None:
    console(stderr=True).print(f"{url}  Ctrl-C stops" if sys.stderr.isatty() else url, markup=False, soft_wrap=True)


VERBS = {"mcp": mcp}
