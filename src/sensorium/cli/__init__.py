"""The command line: verbs that make, use and look; each opens its help with something to paste."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from sensorium.cli import (
    agents,
    change,
    elsewhere,
    generation,
    hub,
    images,
    labels,
    look,
    make,
    migrate,
    serve,
    stream,
    use,
)
from sensorium.cli.output import console, json_line, lenient_streams, printable
from sensorium.errors import PeerLost, SensoriumError


class _Ended(BaseException):
    """Ctrl-C, or output that nobody reads any more; typer would exit without a line of ours. cause: which."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)
        self.cause = cause


class _Verbs(TyperGroup):
    """The verbs, whose interruptions :func:`main` handles."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        with _interruptions():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        with _interruptions():
            if "WORLD_SIZE" in os.environ:
                from sensorium.fitting import ranks

                ranks.prepare(sys.argv[1] if len(sys.argv) > 1 else "")
            result = super().invoke(ctx)
            sys.stdout.flush()  # here, where a reader that has left is handled, not at the interpreter's end
            return result


@contextlib.contextmanager
def _interruptions() -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, BrokenPipeError) as cause:
        raise _Ended(cause) from None


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
for panel, groups in (
    ("Make", [make, images, migrate]),
    ("Use", [use, change, elsewhere, hub, serve, agents, stream, generation]),
    ("Look", [look, labels]),
):
    for verb, function in (one for group in groups for one in group.VERBS.items()):
        app.command(verb, rich_help_panel=panel)(function)
#: Verbs that an interrupted one continues.
_RESUMED = frozenset(
    ("run", "finetune", "fit", "sweep", "embed", "download", "demo", "images", "push", "pull", "migrate")
)
_PIPE_CLOSED = 1  # of the help that typer prints, when its reader has left; no verb ends with it
#: What the system says of a path that the caller can correct; any other failure of it is a bug with a traceback.
_MENDABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Small heads on frozen encoders: embed once, fit in seconds, evaluate with intervals and baselines, search.

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
    """Entry point: errors that a caller can correct are one line and exit status 2; bugs keep their traceback.

    Ctrl-C ends with a line and status 130. A reader that leaves a pipe, as ``| head`` does, ends any verb quietly
    with status 0.
    """
    lenient_streams()
    try:
        app()
    except _Ended as ended:
        if isinstance(ended.cause, BrokenPipeError):
            _leave_quietly()
        if os.environ.get("RANK", "0") != "0":  # of several processes, the first one says so
            sys.exit(130)
        resumed = "; the same command goes on from the last checkpoint" if set(sys.argv[1:2]) & _RESUMED else ""
        console(stderr=True).print(f"\nstopped{resumed}", soft_wrap=True, highlight=False)
        sys.exit(130)
    except (SensoriumError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _MENDABLE:
            raise
        if isinstance(error, PeerLost) and error.said:
            sys.exit(2)
        if "--json" in sys.argv:
            print(json_line({"error": type(error).__name__, "message": str(error)}), file=sys.stderr)
        else:
            console(stderr=True).print(f"[red]error:[/red] {_escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except SystemExit as end:
        if end.code == _PIPE_CLOSED:
            _leave_quietly()
        raise


def _leave_quietly() -> NoReturn:
    """Exit 0 where the reader of a pipe went away, such as ``| head -1``: it has what it needs."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())  # Python flushes once more in the end
    sys.exit(0)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(printable(text)).replace("\n", " ")
