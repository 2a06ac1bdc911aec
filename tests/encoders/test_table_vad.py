"""Clips' ratings from a table: names and scales, and every way in which a table does not fit."""

import numpy as np
import pytest

from sensorium import parts
from sensorium.errors import BadData, BadRecipe

CSV = "FileName,EmoAct,EmoDom,EmoVal\nMSP_1.wav,7,4,1\nMSP_2.wav,1,1,4\nb/MSP_3.wav,4,4,4\n"


def made(tmp_path, text=CSV, **keys):
    (tmp_path / "vad.csv").write_text(text)
    return parts.make("encoders", {"name": "table_vad", "file": str(tmp_path / "vad.csv"), **keys})


def test_clips_get_their_ratings_with_valence_first(tmp_path):
    encoder = made(tmp_path)
    paths = ["/data/a/MSP_2.wav", "/data/MSP_1.flac", "/data/b/MSP_3.wav"]
    encoder.check(paths)
    np.testing.assert_allclose(encoder.encode(paths), [[0, -1, -1], [-1, 1, 0], [0, 0, 0]], atol=1e-5)
    assert encoder.encode(paths).any(axis=1).all(), "the middle of the scale is no vector of zeros"
    assert encoder.settle() == {"file": str((tmp_path / "vad.csv").resolve())}


def test_equal_ratings_on_other_scales_are_equal(tmp_path):
    sevens = made(tmp_path).encode(["MSP_1.wav", "MSP_2.wav"])
    ones = made(tmp_path, "name,valence,arousal,dominance\nMSP_1,0,1,0.5\nMSP_2,0.5,0,0\n", scale="0..1")
    np.testing.assert_allclose(ones.encode(["MSP_1.wav", "MSP_2.wav"]), sevens, atol=1e-5)
    assert ones.fingerprint != made(tmp_path).fingerprint


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [("FileName,EmoAct,EmoDom,EmoVal\nMSP_1.wav,7,nan,1\n", {}, r"1 of 1 rows have no number in EmoVal, EmoAct, EmoDom, "
      r"such as row 2"),
     ("FileName,EmoAct,EmoDom,EmoVal\nMSP_1.wav,7,,1\n", {}, "rows have no number"),
     ("FileName,EmoAct,EmoDom,EmoVal\nMSP_1.wav,7,high,1\n", {}, "cells of EmoDom are no numbers, such as 'high' in row 2"),
     (CSV, {"scale": "0..1"}, r"vad.csv: 3 of 3 rows are outside 0\.\.1 in valence, such as 1|outside 0\.\.1"),
     ("FileName,EmoAct,EmoDom,EmoVal\n,7,4,1\n", {}, "1 rows have no FileName, such as row 2"),
     ("FileName,EmoAct,EmoDom,EmoVal\nMSP_1.wav,7,4,1\nMSP_1.wav,7,4,1\n", {}, "1 names stand in several rows"),
     ("FileName,EmoAct,EmoDom,EmoVal\nother.wav,7,4,1\n", {}, r"1 of 1 clips are not in the table \('/x/MSP_1.wav'\), "
      r"which has 1 names such as 'other.wav'")],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_refused_before_anything_is_embedded(tmp_path, text, keys, message):
    with pytest.raises(BadData, match=message):
        made(tmp_path, text, **keys).check(["/x/MSP_1.wav"])


def test_one_name_for_clips_of_two_folders_is_refused(tmp_path):
    with pytest.raises(
        BadData, match=r"'MSP_1.wav' of the table fits '/x/MSP_1.wav' and '/y/MSP_1.wav'; keep the folders"
    ):
        made(tmp_path).check(["/x/MSP_1.wav", "/y/MSP_1.wav"])


def test_what_is_no_table_of_ratings_is_refused(tmp_path):
    with pytest.raises(BadRecipe, match="vad.csv has no columns of clips' ratings; expected FileName, EmoVal"):
        made(tmp_path, "FileName,Mood\na,b\n").check(["a"])
    with pytest.raises(BadRecipe, match=r"table_vad: no file .*nowhere.csv"):
        parts.make("encoders", {"name": "table_vad", "file": str(tmp_path / "nowhere.csv")}).check(["a"])
    with pytest.raises(BadRecipe, match="table_vad needs a table"):
        parts.make("encoders", {"name": "table_vad", "file": ""})
    with pytest.raises(BadRecipe, match=r"table_vad.scale='0..10'"):
        parts.make("encoders", {"name": "table_vad", "file": "x.csv", "scale": "0..10"})
    with pytest.raises(BadData, match="value 0 is sound without a name"):
        made(tmp_path).encode([(np.zeros(100, np.float32), 16000)])
