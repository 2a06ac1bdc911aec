"""The data set glyphs: what is drawn, what it is called, and that no test symbol is seen in training."""

import unicodedata

import numpy as np
import pytest

from sensorium.datasets import glyphs
from sensorium.datasets.glyphs import Glyphs
from sensorium.errors import BadRecipe, MissingExtra

FONTS = ["DejaVuSansMono", "STIXGeneral"]


@pytest.fixture(scope="module")
def data():
    return Glyphs(fonts=FONTS, test=300, validation=200).load()


def test_every_picture_is_paired_with_the_name_of_its_symbol(data):
    for left, right in zip(data.pairs.left[::97], data.pairs.right[::97], strict=True):
        codepoint, font = data.left.ids[left].split("/")
        assert font in FONTS
        assert data.right.ids[right] == codepoint
        assert data.right.values[right] == unicodedata.name(chr(int(codepoint[2:], 16)))
    np.testing.assert_array_equal(data.pairs.left, np.arange(len(data.left)))
    assert (data.pairs.label == 1).all()


def test_splits_are_by_symbol(data):
    symbols = {s: set(data.pairs.right[data.pairs.split == s]) for s in ("train", "validation", "test")}
    assert len(symbols["test"]) == 300
    assert len(symbols["validation"]) == 200
    assert not symbols["test"] & symbols["train"]
    assert not symbols["validation"] & (symbols["train"] | symbols["test"])
    assert sum(map(len, symbols.values())) == len(data.right)
    both = data.pairs.right[np.isin(data.left.meta["font"], FONTS[0])]
    assert np.isin(data.pairs.right[data.left.meta["font"] == FONTS[1]], both).sum() > 1000  # many have two pictures


def test_the_seed_chooses_the_test_symbols(data):
    assert np.array_equal(Glyphs(fonts=FONTS, test=300, validation=200).load().pairs.split, data.pairs.split)
    assert not np.array_equal(
        Glyphs(fonts=FONTS, test=300, validation=200, seed=1).load().pairs.split, data.pairs.split
    )


def test_pictures_are_ink_centred_on_white(data):
    pictures = data.left.values
    assert pictures.dtype == np.uint8
    assert pictures.shape == (len(data.left), 64, 64)
    ink = pictures < 255
    assert ink.any((1, 2)).all()
    for axis in (1, 2):
        line = ink.any(axis)
        first, last = line.argmax(1), 63 - line[:, ::-1].argmax(1)
        assert np.abs(first + last - 63).max() <= 1


def test_letters_keep_their_relative_size(data):
    height = {i: int((p < 128).any(1).sum()) for i, p in zip(data.left.ids.tolist(), data.left.values, strict=True)}
    assert (
        height["U+0041/DejaVuSansMono"] > 1.2 * height["U+0061/DejaVuSansMono"] > 1.2 * height["U+002E/DejaVuSansMono"]
    )


def test_metadata_tells_what_a_symbol_is(data):
    row = data.right.ids.tolist().index("U+03B1")
    assert {name: column[row].item() for name, column in data.right.meta.items()} == {
        "codepoint": "U+03B1", "name": "GREEK SMALL LETTER ALPHA", "char": "α", "category": "Ll", "script": "GREEK",
    }  # fmt: skip
    assert set(data.left.meta) == {*data.right.meta, "font"}


@pytest.mark.parametrize(
    ("codepoint", "kept"), [(0x41, True), (0x2190, True), (0x20, False), (0x2003, False), (0x9, False), (0x4E00, False),
                            (0xE000, False), (0x3400, False), (0x2E80, False), (0xAD, False)],
)  # fmt: skip
def test_controls_separators_private_and_cjk_characters_are_left_out(codepoint, kept):
    assert glyphs.named(codepoint) is kept


def test_the_default_fonts_draw_the_promised_symbols():
    drawn = set()
    for font in glyphs.FONTS:
        codepoints, _ = glyphs.draw(glyphs.font_folder() / f"{font}.ttf", 16)
        drawn |= set(codepoints.tolist())
    assert 7_200 < len(drawn) < 7_600


def test_near_twins_are_counted():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, 32, 32), dtype=np.uint8)
    pictures[4] = pictures[0]
    pictures[5] = np.minimum(pictures[1], 250)
    split = np.array(["train", "train", "validation", "test", "test", "test"])
    found = glyphs.near_duplicates(pictures, split)
    assert found == {"test_pictures": 3, "test_pictures_with_near_twin_in_training": 2, "near_twin_cosine": glyphs.NEAR}
    assert glyphs.near_duplicates(pictures, np.array(["test"] * 6)) == {}


def test_the_report_is_open_about_near_twins(data):
    notes = data.notes
    assert notes["fonts"] == FONTS
    assert notes["pictures"] == len(data.left)
    assert notes["symbols"] == len(data.right)
    twin = notes["test_pictures_with_near_twin_in_training"]
    assert 0 < twin < notes["test_pictures"] / 2
    alike = {data.left.ids[i]: p for i, p in enumerate(data.left.values)}
    np.testing.assert_array_equal(alike["U+0041/DejaVuSansMono"], alike["U+0391/DejaVuSansMono"])  # A and Alpha


def test_mistakes_are_named():
    with pytest.raises(BadRecipe, match=r"no font 'DejaVuSanz'; did you mean 'DejaVuSans'\?"):
        Glyphs(fonts=["DejaVuSanz"]).load()
    with pytest.raises(BadRecipe, match=r"9000 test and 0 validation symbols of \d+; type smaller data\.test"):
        Glyphs(fonts="DejaVuSansMono", test=9000, validation=0).load()


def test_what_to_install_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"'matplotlib' is not installed; type: pip install 'sensorium\[train\]'"):
        Glyphs().load()
