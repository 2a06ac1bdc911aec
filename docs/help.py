"""Write docs/help.md from the command line's own help: python docs/help.py [--check]."""

import os
import sys
from pathlib import Path

os.environ |= {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}  # the same page on every terminal

from typer.main import get_command
from typer.testing import CliRunner

from sensorium.cli import app

PAGE = Path(__file__).with_name("help.md")


def page() -> str:
    """The help of every verb, one section each."""
    runner = CliRunner()
    sections = ["# Every command's help\n\nWritten by `python docs/help.py`; the tests check that it is current.\n"]
    for words in ([], *([verb] for verb in get_command(app).commands)):
        told = runner.invoke(app, [*words, "--help"], prog_name="sensorium").output
        text = "\n".join(line.rstrip() for line in told.strip("\n").splitlines())
        sections.append(f"## {' '.join(['sensorium', *words])}\n\n```text\n{text}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text("utf-8") == page() else "docs/help.md is stale; type: python docs/help.py")
    PAGE.write_text(page(), "utf-8")
