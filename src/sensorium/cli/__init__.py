"""The command line: verbs that make, use and look; each opens its help with something to paste."""

from __future__ import annotations

import errno
import json
import sys
from typing import Annotated

import typer

from sensorium.cli import look, make, serve, stream, use
from sensorium.cli.output import console
from sensorium.errors import SensoriumError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
for panel, group in (("Make", make), ("Use", use), ("Use", serve), ("Use", stream), ("Look", look)):
    for verb, function in group.VERBS.items():
        app.command(verb, rich_help_panel=panel)(function)
#: What the system says of a path that the caller can mend; any other failure of it is a bug with a traceback.
_MENDABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Small heads on frozen encoders: embed once, fit in seconds, know whether to believe it, search.

    [bold]sensorium run glyphs[/bold]

    [bold]sensorium search runs/glyphs --text "arrow turning left"[/bold]
    """
    if version:
        from sensorium import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


def main() -> None:
    """Entry point: errors a caller can mend are one line and exit status 2; bugs keep their traceback."""
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except (SensoriumError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _MENDABLE:
            raise
        if "--json" in sys.argv:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}), file=sys.stderr)
        else:
            console(stderr=True).print(f"[red]error:[/red] {_escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console(stderr=True).print("\nstopped; the same command goes on from the last checkpoint", soft_wrap=True)
        sys.exit(130)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text).replace("\n", " ")
