"""A contact sheet: many small pictures on one page, each with its name below it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.errors import require

_CELL, _GAP, _TEXT = 128, 8, 16  # pixels: of a picture at most, around it, and of the line below it
_COLUMNS = 8


def draw(pictures: Sequence[np.ndarray], names: Sequence[str], title: str = "") -> np.ndarray:
    """Pictures (h, w, 3) uint8 of one size and their names as one picture (H, W, 3) uint8, eight a row.

    Larger ones are shown at 128 pixels, smaller ones enlarged by a whole number. A name that is too long is cut.
    Raises MissingExtra without Pillow.
    """
    image, drawing, fonts = (require(f"PIL.{name}", "image") for name in ("Image", "ImageDraw", "ImageFont"))
    columns = max(1, min(_COLUMNS, len(pictures)))
    rows = -(-len(pictures) // columns)
    wide, high, top = _CELL + _GAP, _CELL + _TEXT + _GAP, _TEXT + _GAP if title else 0
    sheet = image.new("RGB", (columns * wide + _GAP, top + rows * high + _GAP), "white")
    pen, font = drawing.Draw(sheet), fonts.load_default(11)
    if title:
        pen.text((_GAP, _GAP // 2), _fitting(title, sheet.width - 2 * _GAP, pen, font), "black", font)
    for i, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        x, y = _GAP + i % columns * wide, top + _GAP + i // columns * high
        small = image.fromarray(picture)
        scale = _CELL // small.width or _CELL / small.width
        size = (round(small.width * scale), round(small.height * scale))
        sheet.paste(small.resize(size, image.Resampling.NEAREST if scale >= 1 else image.Resampling.BOX), (x, y))
        pen.text((x, y + _CELL + 1), _fitting(name, _CELL, pen, font), "black", font)
    return np.asarray(sheet)


def _fitting(text: str, width: int, pen: object, font: object) -> str:
    """As much of a line as fits into so many pixels, the end of a long one kept, which tells names apart."""
    text = " ".join(text.split())
    if pen.textlength(text, font) <= width:
        return text
    for keep in range(len(text) - 1, 0, -1):
        shown = f"{text[: keep // 2]}…{text[len(text) - (keep - keep // 2) :]}"
        if pen.textlength(shown, font) <= width:
            return shown
    return "…"
