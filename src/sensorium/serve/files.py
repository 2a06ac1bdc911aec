"""Files of a run folder: read only where they lie inside it, links resolved."""

from __future__ import annotations

from pathlib import Path


def inside(folder: Path, path: Path) -> Path | None:
    """The real place of a regular file inside a folder; None for none, and for a link that leads outside."""
    try:
        real = path.resolve(strict=True)
        return real if real.is_relative_to(folder.resolve()) and real.is_file() else None
    except (OSError, RuntimeError):  # gone, or a loop of links
        return None


def text(folder: Path, name: str) -> str:
    """The text of a file inside a folder; empty for none."""
    path = inside(folder, folder / name)
    try:
        return "" if path is None else path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
