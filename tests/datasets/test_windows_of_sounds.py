"""data.window: long sounds as windows, and which of them a caption is related to."""

import made_captions
import made_moments
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import parts
from sensorium.datasets import _windows
from sensorium.errors import BadData, BadRecipe


def load(root, rows, **keys):
    made_captions.table(root / "t.csv", rows)
    return parts.make("datasets", {"name": "captioned", "root": str(root), **keys}, "data").load()


def related(data):
    return sorted((str(data.left.ids[a]), str(data.right.ids[b]))
                  for a, b in zip(data.pairs.left, data.pairs.right, strict=True))  # fmt: skip


def test_windows_stand_in_place_of_their_sounds(tmp_path):
    rows = made_moments.sounds(tmp_path, 3, seconds=1.0)
    data = load(tmp_path, rows, window=2.0, hop=1.0)
    assert data.left.ids.tolist()[:4] == ["long0.wav@0-2", "long0.wav@1-3", "long0.wav@2-4", "long0.wav@3-5"]
    assert len(data.left) == 12 and data.left.kind == "audio" and data.notes["windows"] == 12
    assert data.left.meta["recording"].tolist()[::4] == ["long0.wav", "long1.wav", "long2.wav"]
    assert data.left.meta["begin"].tolist()[:4] == [0, 1, 2, 3] and data.left.meta["end"].tolist()[:4] == [2, 3, 4, 5]
    assert data.left.values[1] == (str(tmp_path / "long0.wav"), 1.0, 3.0)
    assert len(np.unique(data.pairs.group)) == 3, "the windows of a recording are one group"
    plain = load(tmp_path, rows)
    assert data.right.ids.tolist() == plain.right.ids.tolist() and data.right.values == plain.right.values


def test_a_caption_with_times_belongs_to_the_windows_that_show_it(tmp_path):
    made_moments.sounds(tmp_path, 1, seconds=2.0)  # ten seconds
    rows = [{"file_name": "long0.wav", "caption": text, "begin": begin, "end": end} for text, begin, end in
            [("just a window", 2, 4), ("a short one", 5.2, 5.6), ("most of it", 0, 9), ("of all", "", ""),
             ("twice", 0, 2), ("twice", 8, 10)]]  # fmt: skip
    data = load(tmp_path, rows, window=2.0, hop=1.0)
    found = {}
    for window, caption in related(data):
        found.setdefault(caption.rpartition("#")[2], []).append(window.rpartition("@")[2])
    assert found["1"] == ["2-4"]  # its neighbours have an IoU of 1/3
    assert found["2"] == ["4-6", "5-7"]  # none has 0.5: those of the highest, which are two
    assert found["3"] == [f"{k}-{k + 2}" for k in range(8)]  # 2/9 each
    assert len(found["4"]) == 9
    assert (found["5"], found["6"]) == (["0-2"], ["8-10"])
    assert data.right.meta["begin"].tolist()[:3] == [2, 5.2, 0] and np.isnan(data.right.meta["begin"][3])
    assert data.notes["moments"] == 5


def test_times_of_a_row_with_several_captions_are_those_of_all(tmp_path):
    made_moments.sounds(tmp_path, 1, seconds=2.0)
    rows = [{"file_name": "long0.wav", "begin": 4, "end": 6, "caption_1": "a", "caption_2": "b"}]
    data = load(tmp_path, rows, window=2.0, hop=1.0)
    assert related(data) == [("long0.wav@4-6", "long0.wav#1"), ("long0.wav@4-6", "long0.wav#2")]


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 50), st.floats(0.1, 60), st.floats(0.2, 20), st.floats(0.1, 1))
def test_every_moment_has_a_window(begin, length, window, share):
    from sensorium.modalities.audio import excerpts
    from sensorium.numerics.intervals import iou

    spans = np.array(excerpts.grid(begin + length, window, share * window))
    moment = np.array([begin, begin + length])
    chosen = _windows.shown(spans, moment)
    overlap = iou(spans, moment[None])[:, 0]
    assert chosen.any() and overlap[chosen].min() >= min(0.5, overlap.max()) - 1e-6
    assert (~chosen | (overlap > 0)).all() and chosen[overlap >= 0.5].all()


def test_bad_windows_and_moments(tmp_path):
    rows = made_moments.sounds(tmp_path, 1, seconds=1.0)
    for keys, said in (({"window": 0.01}, r"data\.window=0\.01; expected seconds, 0\.05 to 3600"),
                       ({"window": 9e9}, r"data\.window=9000000000\.0; expected seconds, 0\.05 to 3600"),
                       ({"window": 2.0, "hop": 3.0}, r"data\.hop=3\.0; expected seconds, 0\.05 to data\.window \(2\)"),
                       ({"hop": 3.0}, r"data\.hop=3\.0 needs the length of the windows; type: data\.window=10")):  # fmt: skip
        with pytest.raises(BadRecipe, match=said):
            load(tmp_path, rows, **keys)
    said = (r"1 of 5 captions have no moment of their recording of 5 s, such as 'long0\.wav#1' from 3 to 8 s; expected "
            "0 ≤ begin < end within the recording, or both empty")  # fmt: skip
    with pytest.raises(BadData, match=said):
        load(tmp_path, [{**rows[0], "begin": 3, "end": 8}, *rows[1:]], window=2.0)
    with pytest.raises(BadData, match="from 3 to nan s; expected"):
        load(tmp_path, [{**rows[0], "begin": 3, "end": ""}, *rows[1:]], window=2.0)
    with pytest.raises(BadData, match="the column 'begin' of the captions holds 'soon'; expected seconds, or nothing"):
        load(tmp_path, [{**rows[0], "begin": "soon"}, *rows[1:]], window=2.0)
    vectors = tmp_path / "v.npz"
    np.savez(vectors, audio=np.eye(4, dtype=np.float32), text=np.ones((4, 2, 3), np.float32))
    with pytest.raises(BadData, match=r"data\.window=2 needs files of sound, but the items are vector"):
        parts.make("datasets", {"name": "captioned", "file": str(vectors), "window": 2.0}, "data").load()
