"""The verb that serves: run folders over HTTP, with a page."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli import generation
from sensorium.cli.options import Trust, trusted
from sensorium.cli.output import console
from sensorium.errors import MissingExtra


def serve(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.", show_default=False)],
    host: Annotated[
        str | None,
        typer.Option("--host", help="Address. Default: 127.0.0.1; any other needs a token.", show_default=False),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port. Default: 8000.", show_default=False)
    ] = None,
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
    public_url: Annotated[
        str | None,
        typer.Option(
            "--public-url",
            metavar="URL",
            show_default=False,
            help="Address at which a proxy in front serves this server, with its path: https://search.example/sensorium",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin", help="A page elsewhere whose sockets are taken; repeatable.", show_default=False
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", help="Certificate chain (PEM): serve https, with --tls-key.", show_default=False),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="Private key of --tls-cert (PEM).", show_default=False)
    ] = None,
    face_model: Annotated[
        Path | None,
        typer.Option(
            "--face-model",
            metavar="PLACE",
            show_default=False,
            help="Landmark model that browsers may run themselves, for the page Face: npm pack @mediapipe/face_mesh",
        ),
    ] = None,
    label: Annotated[
        bool, typer.Option("--label", help="Label hits on the page, choose the next queries, and refit the heads.")
    ] = False,
    generate: Annotated[
        str | None,
        typer.Option(
            "--generate",
            metavar="MODEL",
            help="Picture model that faces condition: a folder that diffusers saved, or an id of the hub.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        float,
        typer.Option("--wait", min=0, metavar="SECONDS", help="Time for a run that does not exist yet to be begun."),
    ] = 20.0,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, help="Processes that answer, each with the runs open. Default: 1.", show_default=False
        ),
    ] = None,
    log: Annotated[
        str | None, typer.Option("--log", help="debug, info, warning or off. Default: info.", show_default=False)
    ] = None,
    trust: Trust = False,
) -> None:
    """Serve runs over HTTP: a page to search and look with, and an API (see /openapi.json).

    [bold]sensorium serve runs/glyphs[/bold]

    [bold]sensorium serve runs/glyphs runs/mine --port 9000[/bold]

    [bold]sensorium serve runs/glyphs --workers 4[/bold]

    A run in the making is served, too: its training is shown, and it is searched once it is done. Where it is typed
    before, or at the same time as, its [bold]sensorium run[/bold], it waits for the folder for --wait seconds.

    [bold]sensorium serve runs/glyphs --public-url https://search.example/sensorium[/bold]

    [bold]sensorium serve runs/glyphs --host 0.0.0.0 --token-file token.txt --tls-cert cert.pem --tls-key key.pem[/bold]
    """
    trusted(trust, *runs)
    if generate is not None:
        generation.locate(generate)
    # Threads that spin while they wait would take the processor from the thread that answers.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from sensorium.serve import launch
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("sensorium", ""):
            raise
        raise MissingExtra(error.name or "fastapi", "serve") from None
    options = {"host": host, "port": port, "hosts": allow_host, "origins": allow_origin, "log": log}
    options |= {"tls_cert": tls_cert, "tls_key": tls_key, "browser_face_model": face_model, "generate": generate}
    options |= {"public_url": public_url, "label": label or None, "workers": workers}
    announce = _announce if sys.stderr.isatty() else None
    given = {key: value for key, value in options.items() if value is not None}
    launch.serve(runs, token_file, announce, wait, **given)


def _announce(line: str) -> None:
    """Print the address, or what is waited for, to a person; a log that is written to a file gets it as JSON."""
    from rich.text import Text

    console(stderr=True).print(Text.assemble((line, "bold"), "  Ctrl-C stops"))


VERBS = {"serve": serve}
