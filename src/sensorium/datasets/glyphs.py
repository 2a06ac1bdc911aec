"""Unicode symbols drawn by the fonts that come with matplotlib, and their official names: real data everywhere."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.contracts import Dataset
from sensorium.errors import BadRecipe, MissingExtra, nearest, require
from sensorium.numerics import unit
from sensorium.pairs import Pairs
from sensorium.types import Data, Items, blocks

# Every symbol of the bundled fonts is in one of the DejaVu or STIX families; the cm… fonts are left
# out because they put shapes where TeX, not Unicode, expects them, and LastResort draws placeholders.
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")

NEAR = 0.99  # cosine of two coarse bitmaps from which two are near-duplicates
_WIDEST = 1024  # pixels of a picture's side
_CELLS = 16  # of the coarse bitmap, along a side


class Glyphs(Dataset):
    """Left: pictures (64, 64) uint8, dark on white. Right: names such as "GREEK SMALL LETTER ALPHA".

    fonts: names of .ttf files of matplotlib, or "all"; a symbol has one picture for each font that
    draws it, and all of them are paired with its one name. test, validation: symbols, not
    pictures, held out at random. seed: of their choice. A symbol's group is its code point, so no font of a
    test symbol is seen in training. size: side of a picture in pixels.
    """

    def __init__(
        self,
        fonts: Sequence[str] | str = FONTS,
        test: int = 1000,
        validation: int = 500,
        seed: int = 0,
        size: int = 64,
    ) -> None:
        if min(test, validation, seed) < 0 or not 8 <= size <= _WIDEST:
            raise BadRecipe(
                f"glyphs: test={test}, validation={validation}, seed={seed}, size={size}; expected numbers of "
                f"0 or above, and 8 to {_WIDEST} pixels"
            )
        self.fonts, self.test, self.validation, self.seed, self.size = fonts, test, validation, seed, size

    def load(self) -> Data:
        """Draw everything (a few seconds) and name it.

        Raises BadRecipe for an unknown font or more held-out symbols than there are; MissingExtra
        without matplotlib.
        """
        drawn = [draw(path, self.size) for path in self._paths()]
        codepoints = np.concatenate([points for points, _ in drawn])
        font = np.repeat([path.stem for path in self._paths()], [len(points) for points, _ in drawn])
        symbols, right_row = np.unique(codepoints, return_inverse=True)
        if self.test + self.validation >= len(symbols):
            raise BadRecipe(
                f"glyphs: {self.test} test and {self.validation} validation symbols of {len(symbols)}; "
                "type smaller data.test and data.validation"
            )
        order = np.random.default_rng(self.seed).permutation(len(symbols))
        split = np.full(len(symbols), "train", "<U10")
        split[order[: self.test]] = "test"
        split[order[self.test : self.test + self.validation]] = "validation"
        columns = describe(symbols)
        left = Items(
            np.char.add(np.char.add(columns["codepoint"], "/")[right_row], font),
            np.concatenate([pictures for _, pictures in drawn]),
            "image",
            {name: column[right_row] for name, column in columns.items()} | {"font": font},
        )
        right = Items(columns["codepoint"], columns["name"], "text", columns)
        pairs = Pairs.of(np.arange(len(left)), right_row, group=columns["codepoint"][right_row], split=split[right_row])
        notes = {"pictures": len(left), "symbols": len(symbols), "fonts": [path.stem for path in self._paths()]}
        return Data(left, right, pairs, notes | near_duplicates(left.values, pairs.split))

    def _paths(self) -> list[Path]:
        folder = font_folder()
        known = sorted(p.stem for p in folder.glob("*.ttf") if p.stem.startswith(("DejaVu", "STIX")))
        names = known if self.fonts == "all" else [self.fonts] if isinstance(self.fonts, str) else list(self.fonts)
        for name in names:
            if name not in known:
                raise BadRecipe(f"glyphs: no font '{name}'; {nearest(name, ['all', *known])}")
        return [folder / f"{name}.ttf" for name in names]


def font_folder() -> Path:
    """Folder of matplotlib's fonts; matplotlib itself is not imported."""
    import importlib.util

    found = importlib.util.find_spec("matplotlib")
    if found is None:
        raise MissingExtra("matplotlib", "train")
    return Path(found.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"


def named(codepoint: int) -> bool:
    """Whether a code point is a symbol of this data set: named, and no control, separator or CJK character."""
    char = chr(codepoint)
    return unicodedata.category(char)[0] not in "CZ" and not unicodedata.name(char, "CJK").startswith("CJK")


def describe(codepoints: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of n symbols: codepoint ("U+0041"), name, char, category ("Lu") and script (first word of the name)."""
    chars = [chr(c) for c in codepoints]
    names = [unicodedata.name(c) for c in chars]
    return {
        "codepoint": np.array([f"U+{c:04X}" for c in codepoints]),
        "name": np.array(names),
        "char": np.array(chars),
        "category": np.array([unicodedata.category(c) for c in chars]),
        "script": np.array([n.split(" ", 1)[0] for n in names]),
    }


def near_duplicates(pictures: np.ndarray, split: np.ndarray) -> dict[str, int | float]:
    """How many test pictures have a near-duplicate, of another symbol by construction, among the training pictures.

    Latin A and Greek Alpha are drawn alike; no picture can tell them apart. Near-duplicates are pictures
    (n, size, size) whose ink, averaged over 16 × 16 cells, has a cosine of at least ``NEAR``.
    """
    from sensorium import scores

    n, size, _ = pictures.shape
    edges = np.linspace(0, size, _CELLS, endpoint=False).astype(np.int64)
    ink = np.empty((n, _CELLS * _CELLS), np.float32)
    for rows in blocks(n, 1024):
        dark = (255 - pictures[rows]).astype(np.float32)
        ink[rows] = np.add.reduceat(np.add.reduceat(dark, edges, 1), edges, 2).reshape(len(dark), -1)
    ink = unit(ink)
    test, train = ink[split == "test"], ink[split == "train"]
    if not len(test) or not len(train):
        return {}
    _, cosine = scores.topk(test, train, 1)
    return {
        "test_pictures": len(test),
        "test_pictures_with_near_twin_in_training": int(np.count_nonzero(cosine[:, 0] >= NEAR)),
        "near_twin_cosine": NEAR,
    }


def draw(path: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Every named symbol a font draws: code points (n,) and pictures (n, size, size) uint8, dark on white.

    Symbols are drawn at one scale (capitals take two thirds of the picture) and centred; one that
    would not fit is drawn smaller. Blank drawings are skipped.
    """
    font = require("matplotlib.ft2font", "train").FT2Font(str(path))
    codepoints = [c for c in sorted(font.get_charmap()) if named(c)]
    pictures = np.zeros((len(codepoints), size, size), np.uint8)
    for picture, codepoint in zip(pictures, codepoints, strict=True):
        _draw_one(font, codepoint, picture)
    drawn = pictures.any((1, 2))
    return np.array(codepoints)[drawn], 255 - pictures[drawn]


def _draw_one(font: Any, codepoint: int, picture: np.ndarray) -> None:
    """Draw one symbol, light on black, into the middle of a black picture (size, size)."""
    from matplotlib.ft2font import LoadFlags

    size = len(picture)
    em = 0.9 * size  # pixels
    for _ in range(2):
        font.set_size(em, 72)
        # Unhinted: hinting moves strokes by up to a pixel, and the bytecode of some fonts is not safe to run.
        glyph = font.load_char(codepoint, flags=LoadFlags.NO_HINTING)
        left, bottom, right, top = (edge / 64 for edge in glyph.bbox)
        width, height = math.ceil(right) - math.floor(left), math.ceil(top) - math.floor(bottom)
        if max(width, height) <= size - 4:
            break
        em *= (size - 6) / max(width, height)
    if not width or not height:
        return
    bitmap = np.zeros((height, width), np.uint8)
    font.draw_glyph_to_bitmap(bitmap, -math.floor(left), 0, glyph)  # the call adds the bearing to x
    rows, columns = np.flatnonzero(bitmap.any(1)), np.flatnonzero(bitmap.any(0))
    if len(rows):
        ink = bitmap[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        top, left = (size - ink.shape[0]) // 2, (size - ink.shape[1]) // 2
        picture[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
