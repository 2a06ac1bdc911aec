"""Your own vectors: read by key, joined by id, refused by name."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.datasets.arrays import Arrays, _match
from sensorium.errors import BadData, BadRecipe

N = 6


def vectors(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def file(tmp_path):
    """Six pictures with three captions each, and the columns people have."""
    path = tmp_path / "pairs.npz"
    np.savez(
        path,
        image=vectors(N, 4).astype(np.float16),
        text=vectors(N, 3, 5, seed=1),
        names=np.array([f"p{i}.jpg" for i in range(N)]),
        captions=np.array([[f"caption {i}.{j}" for j in range(3)] for i in range(N)]),
        split=np.array(["train", "train", "dev", "val", "validation", "test"]),
        photographer=np.array([1, 1, 2, 2, 3, 4]),
    )
    return path


def test_one_file_goes_together_by_row(file):
    data = Arrays(file=str(file), left="image", right="text", split="split").load()
    assert data.left.kind == data.right.kind == "vector"
    assert data.left.ids.tolist() == [f"p{i}.jpg" for i in range(N)]
    assert data.right.ids[:4].tolist() == ["p0.jpg#1", "p0.jpg#2", "p0.jpg#3", "p1.jpg#1"]
    assert data.left.values.dtype == data.right.values.dtype == np.float32
    np.testing.assert_array_equal(data.left.values, vectors(N, 4).astype(np.float16))
    np.testing.assert_array_equal(data.right.values, vectors(N, 3, 5, seed=1).reshape(18, 5))
    np.testing.assert_array_equal(data.pairs.left, np.repeat(np.arange(N), 3))
    np.testing.assert_array_equal(data.pairs.right, np.arange(18))
    np.testing.assert_array_equal(data.pairs.group, np.repeat(np.arange(N), 3))
    words = ["train", "train", "validation", "validation", "validation", "test"]
    assert data.pairs.split.tolist() == list(np.repeat(words, 3))


def test_other_columns_become_metadata(file):
    data = Arrays(file=str(file)).load()  # image and text are found under their usual names
    assert data.right.meta["captions"][:4].tolist() == ["caption 0.0", "caption 0.1", "caption 0.2", "caption 1.0"]
    assert data.right.meta["names"][3] == "p1.jpg"
    assert data.left.meta["photographer"].tolist() == [1, 1, 2, 2, 3, 4]
    assert "captions" not in data.left.meta  # three a row fit no single picture


def test_the_usual_split_is_found_and_can_be_ignored(file):
    assert Arrays(file=str(file)).load().notes["split"] == "given"
    ignoring = Arrays(file=str(file), split="").load()
    assert ignoring.notes["split"] == "drawn"
    assert set(ignoring.pairs.split) == {""}


def test_a_group_column_holds_rows_together(file):
    pairs = Arrays(file=str(file), split="", group="photographer").load().pairs
    assert pairs.group.tolist() == list(np.repeat([0, 0, 1, 1, 2, 3], 3))


def test_partners_on_both_sides_pair_all_with_all(tmp_path):
    np.savez(tmp_path / "x.npz", left=vectors(2, 2, 3), right=vectors(2, 3, 3))
    pairs = Arrays(file=str(tmp_path / "x.npz")).load().pairs
    expected = [(2 * i + a, 3 * i + b) for i in range(2) for a in range(2) for b in range(3)]
    assert list(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)) == expected
    assert len(np.unique(pairs.group)) == 2


def test_a_partner_of_zeros_is_no_partner(tmp_path):
    text = vectors(3, 2, 4)
    text[1, 1] = 0  # this row has one caption
    np.savez(tmp_path / "x.npz", image=vectors(3, 4), text=text, captions=np.array([["a", "b"], ["c", ""], ["d", "e"]]))
    data = Arrays(file=str(tmp_path / "x.npz")).load()
    assert data.right.meta["captions"].tolist() == ["a", "b", "c", "d", "e"]
    assert data.right.ids.tolist() == ["0#1", "0#2", "1#1", "2#1", "2#2"]
    assert list(zip(data.pairs.left.tolist(), data.pairs.right.tolist(), strict=True)) == [
        (0, 0), (0, 1), (1, 2), (2, 3), (2, 4)
    ]  # fmt: skip
    assert data.notes["blank_partners_dropped"] == 1
    text[1] = 0
    np.savez(tmp_path / "x.npz", image=vectors(3, 4), text=text)
    with pytest.raises(BadData, match=r"x\.npz:text: 2 of 6 rows hold only zeros, such as row 2 \(id '1#1'\)"):
        Arrays(file=str(tmp_path / "x.npz")).load()


@pytest.fixture
def two(tmp_path):
    """Texts and voices of the same clips, in another order and under the names of their tools."""
    order = np.array([3, 0, 5, 1, 4, 2])
    names = np.array([f"c{i}.wav" for i in range(N)])
    np.savez(
        tmp_path / "text.npz",
        text_emb=vectors(N, 4),
        filename=names,
        split_set=np.array(["train"] * 4 + ["dev", "test"]),
    )
    np.savez(tmp_path / "voice.npz", emo_emb=vectors(N, 3)[order], fname=names[order])
    return tmp_path / "text.npz", tmp_path / "voice.npz"


def test_two_files_are_joined_by_id_never_by_position(two):
    for left, right in ((f"{two[0]}:text_emb", f"{two[1]}:emo_emb"), map(str, two)):
        data = Arrays(left=left, right=right).load()
        joined = zip(data.left.ids[data.pairs.left], data.right.ids[data.pairs.right], strict=True)
        assert [a == b for a, b in joined] == [True] * N
        assert data.pairs.split.tolist() == ["train"] * 4 + ["validation", "test"]


def test_two_files_without_ids_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", vectors(3, 4))
    np.save(tmp_path / "b.npy", vectors(3, 4))
    with pytest.raises(
        BadRecipe, match=r"a\.npy:vectors has no ids to join it by, and rows are never joined by position"
    ):
        Arrays(left=str(tmp_path / "a.npy"), right=str(tmp_path / "b.npy")).load()


def test_unmatched_ids_are_counted(two):
    np.savez(two[1], emo_emb=vectors(4, 3), fname=np.array(["c0.wav", "c1.wav", "x.wav", "c2.wav"]))
    left, right = map(str, two)
    with pytest.raises(
        BadData,
        match=r"3 ids are only in text\.npz:text_emb \(such as 'c3\.wav'\) and 1 only in voice\.npz:emo_emb "
        r"\(such as 'x\.wav'\); correct the ids, or drop these: data\.allow_missing=true",
    ):
        Arrays(left=left, right=right).load()
    data = Arrays(left=left, right=right, allow_missing=True).load()
    assert len(data.pairs) == 3
    assert (data.notes["only_left"], data.notes["only_right"]) == (3, 1)
    np.savez(two[1], emo_emb=vectors(1, 3), fname=np.array(["x.wav"]))
    with pytest.raises(BadData, match="have no id in common"):
        Arrays(left=left, right=right, allow_missing=True).load()


def test_repeated_ids_are_refused_or_are_partners(tmp_path):
    np.savez(tmp_path / "a.npz", x=vectors(2, 4), ids=np.array(["a", "b"]))
    np.savez(tmp_path / "b.npz", y=vectors(3, 4), ids=np.array(["b", "a", "b"]))
    left, right = f"{tmp_path}/a.npz:x", f"{tmp_path}/b.npz:y"
    with pytest.raises(BadData, match=r"ids of b\.npz:y: 1 duplicate ids, such as 'b'.*type data\.repeat=true"):
        Arrays(left=left, right=right).load()
    data = Arrays(left=left, right=right, repeat=True).load()
    assert data.right.ids.tolist() == ["b#1", "a#1", "b#2"]
    assert sorted(zip(data.pairs.left.tolist(), data.pairs.right.tolist(), strict=True)) == [(0, 1), (1, 0), (1, 2)]


def test_numbered_captions_of_one_clip_stay_together(tmp_path):
    ids = np.array([f"{clip}.wav#{k}" for clip in "ab" for k in (1, 2, 3)])
    np.savez(tmp_path / "a.npz", x=vectors(6, 4), ids=ids)
    np.savez(tmp_path / "b.npz", y=vectors(6, 4), ids=ids)
    pairs = Arrays(left=f"{tmp_path}/a.npz:x", right=f"{tmp_path}/b.npz:y").load().pairs
    assert pairs.group.tolist() == [0, 0, 0, 1, 1, 1]


def test_rows_of_one_name_stay_together(tmp_path):
    names = np.array(["a.wav", "b.wav", "a.wav", "c.wav"])
    np.savez(tmp_path / "x.npz", audio=vectors(4, 3), text=vectors(4, 3), filename=names)
    data = Arrays(file=str(tmp_path / "x.npz")).load()
    assert data.left.ids.tolist() == ["0", "1", "2", "3"]  # such names are no ids, but they tell the clip
    assert data.pairs.group.tolist() == [0, 1, 0, 2]


def test_pickled_columns_are_never_run_and_can_be_left_out(tmp_path):
    np.savez(tmp_path / "x.npz", image=vectors(2, 3), text=vectors(2, 3), extra=np.array([{"a": 1}, print]))
    with pytest.raises(BadData, match=r"x.npz:extra is a pickle .*or keep only other columns: data.columns="):
        Arrays(file=str(tmp_path / "x.npz")).load()
    assert "extra" not in Arrays(file=str(tmp_path / "x.npz"), columns=[]).load().left.meta
    with pytest.raises(BadData, match="extra"):
        Arrays(file=str(tmp_path / "x.npz"), left="image", right="extra").load()


def test_files_that_disagree_on_the_split_are_refused(two):
    names = np.array([f"c{i}.wav" for i in range(N)])
    np.savez(two[1], emo_emb=vectors(N, 3), fname=names, split=np.array(["train"] * 5 + ["dev"]))
    with pytest.raises(BadData, match="disagree on the split of 2 pairs, such as 'dev' against 'train'"):
        Arrays(left=str(two[0]), right=str(two[1])).load()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"no data\.left; type: data\.file=pairs\.npz data\.left=KEY data\.right=KEY"),
        ({"left": "a.npz:x"}, r"no data\.right"),
        (
            {"file": "pairs.npz", "left": "image"},
            r"name data\.left and data\.right; pairs\.npz holds image \[6, 4\], text",
        ),
        (
            {"file": "pairs.npz", "left": "imag", "right": "text"},
            r"pairs\.npz has no 'imag' \(did you mean 'image'\?\); it holds",
        ),
        ({"file": "pairs.npz", "ids": "nam"}, r"data\.ids=nam: pairs\.npz has no 'nam'"),
        (
            {"file": "pairs.npz", "split": "splt"},
            r"data\.split=splt: pairs\.npz has no 'splt' \(did you mean 'split'\?\)",
        ),
        ({"file": "pairs.npz", "group": "speaker"}, r"data\.group=speaker: pairs\.npz has no 'speaker'"),
        (
            {"left": "odd.npz", "right": "pairs.npz:text"},
            r"which array of odd\.npz\? type: .*odd\.npz:KEY; it holds a \[2, 3\]",
        ),
    ],
)
def test_a_wrong_key_names_the_nearest(file, monkeypatch, arguments, message):
    monkeypatch.chdir(file.parent)
    np.savez("odd.npz", a=vectors(2, 3), b=vectors(2, 3))
    with pytest.raises(BadRecipe, match=message):
        Arrays(**arguments).load()


def nan_at_two() -> np.ndarray:
    x = vectors(N, 4)
    x[2, 1] = np.nan
    return x


def zero_at_four() -> np.ndarray:
    x = vectors(N, 4)
    x[4] = 0
    return x


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"image": vectors(5, 4)},
            r"x\.npz:image has shape \(5, 4\), x\.npz:text \(6, 3\); rows of one file go together",
        ),
        ({"image": nan_at_two()}, r"x\.npz:image: 1 of 6 rows hold NaN or infinity, such as row 2 \(id 'p2'\)"),
        ({"image": zero_at_four()}, r"x\.npz:image: 1 of 6 rows hold only zeros, such as row 4 \(id 'p4'\)"),
        ({"image": vectors(N)}, r"x\.npz:image is float32 \(6,\); expected numbers \[n, d\], or \[n, c, d\]"),
        ({"image": np.array([["a"]] * N)}, r"x\.npz:image is text \(6, 1\); expected numbers"),
        ({"image": vectors(0, 4)}, r"x\.npz:image is float32 \(0, 4\); expected numbers"),
        ({"split": np.array(["train"] * 5)}, r"x\.npz:split, the split, has shape \(5,\); expected \(6,\)"),
        ({"split": np.array(["train"] * 5 + ["tset"])}, r"split value 'tset'; expected train, dev\|validation or test"),
        ({"ids": np.array(["a"] * N)}, r"ids of x\.npz:image: 5 duplicate ids, such as 'a'"),
        ({"ids": vectors(N)}, r"ids are floating-point numbers"),
    ],
)
def test_bad_columns_are_refused_by_name(tmp_path, columns, message):
    whole = {
        "image": vectors(N, 4), "text": vectors(N, 3), "split": np.array(["train"] * 4 + ["dev", "test"]),
        "ids": np.array([f"p{i}" for i in range(N)]),
    }  # fmt: skip
    np.savez(tmp_path / "x.npz", **(whole | columns))
    with pytest.raises(BadData, match=message):
        Arrays(file=str(tmp_path / "x.npz"), ids="ids", split="split").load()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcde"), max_size=8), st.lists(st.sampled_from("abcde"), max_size=8))
def test_matching_equals_brute_force(left, right):
    i, j, notes = _match(np.array(left, "<U1"), np.array(right, "<U1"))
    brute = [(a, b) for a, x in enumerate(left) for b, y in enumerate(right) if x == y]
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == brute
    assert notes["only_left"] == sum(x not in right for x in left)
    assert notes["only_right"] == sum(y not in left for y in right)


def test_real_files_are_read_by_their_keys(shared_data: Path):
    flickr = Arrays(file=str(shared_data / "flickr8k-pairs-4000.npz"), split="split").load()
    assert len(flickr.left) == 4000
    assert flickr.left.values.shape[1] == 1280
    assert flickr.right.values.shape[1] == 300
    assert len(flickr.right) + flickr.notes["blank_partners_dropped"] == 20_000
    counts = {s: len(np.unique(flickr.pairs.left[flickr.pairs.split == s])) for s in ("train", "validation", "test")}
    assert counts == {"train": 3000, "validation": 500, "test": 500}
    digits = Arrays(file=str(shared_data / "uci-mfeat-two-views-2000.npz"), left="I_tr", right="T_tr").load()
    assert len(digits.pairs) == 1500
    assert digits.left.meta["L_tr"].shape == (1500,)


def test_a_column_of_labels_relates_all_its_rows_within_a_split(file, tmp_path):
    path = tmp_path / "moods.npz"
    with np.load(file) as columns:
        np.savez(path, **columns, mood=np.array(["calm", "sad", "calm", "calm", "sad", "sad"]))
    data = Arrays(file=str(path), relevant="mood").load()
    assert len(data.pairs) == 18 and data.notes["relevant"] == "mood"
    found = data.pairs.relevance("right->left", "validation")  # rows 2, 3 and 4: calm, calm, sad
    assert found.candidates.tolist() == [2, 3, 4]
    assert [found.relevant[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:], strict=False)] == (
        [[0, 1]] * 6 + [[2]] * 3)  # fmt: skip
    assert data.pairs.relevance("left->right", "validation").counts().tolist() == [6, 6, 3]


def test_a_column_of_labels_that_is_not_there_names_the_nearest(file):
    with pytest.raises(BadRecipe, match="data.relevant=photograph: pairs.npz has no 'photograph'.*photographer"):
        Arrays(file=str(file), relevant="photograph").load()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["calm"] * 9, "data.relevant=mood: all 9 labels are 'calm', so that every item would be right; expected two"),
        ([""] * 9, "data.relevant=mood: none of 9 rows has a label; expected two different labels or more"),
    ],
)
def test_one_label_relates_nothing_useful(tmp_path, labels, message):
    x = np.random.default_rng(0).standard_normal((9, 3))
    np.savez(tmp_path / "pairs.npz", left=x, right=x, mood=labels)
    with pytest.raises(BadData, match=message):
        Arrays(file=str(tmp_path / "pairs.npz"), relevant="mood").load()


def test_missing_labels_are_counted_and_said(tmp_path):
    x = np.random.default_rng(0).standard_normal((9, 3))
    np.savez(tmp_path / "pairs.npz", left=x, right=x, mood=["calm", "sad", ""] * 3, own=[f"o{i}" for i in range(9)])
    said = Arrays(file=str(tmp_path / "pairs.npz"), relevant="mood").load().notes["said"]
    assert said == ["3 of 9 rows have no 'mood': each is related to its own row alone"]
    said = Arrays(file=str(tmp_path / "pairs.npz"), relevant="own").load().notes["said"]
    assert said == ["each 'own' stands in one row, so that rows are related as without data.relevant"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.array([f"word {i}" for i in range(N)]),
            "left is text.*sensorium run pairs data.file=a.npz with an encoder",
        ),
        (np.zeros((N, 3), complex), "complex128.*real and imaginary parts"),
        (np.zeros(N, np.float32), r"one number a row is 'left'\[:, None\]"),
        (np.zeros((0, 3), np.float32), "of which there is one at least"),
        (
            vectors(N, 3).astype(np.float64) * 1e60,
            r"a.npz:left: row 0 has numbers of \d+e\+\d+, which float32 does not",
        ),
        (
            vectors(N, 3).astype(np.float64) * 1e-60,
            "which float32 does not hold; divide the whole array by their typical",
        ),
    ],
)
def test_what_is_no_vectors_says_what_to_do(tmp_path, array, message, recwarn):
    np.savez(tmp_path / "a.npz", left=array, right=vectors(len(array), 3))
    with pytest.raises(BadData, match=message):
        Arrays(file=str(tmp_path / "a.npz"), left="left", right="right").load()
    assert not recwarn.list


def test_scales_at_which_products_overflow_are_said_and_others_are_not(tmp_path):
    for scale, said in ((1e20, True), (1e-20, True), (1e6, False), (1e-6, False)):
        right = vectors(N, 3) > 0.1
        right[:, 0] = True
        np.savez(tmp_path / "a.npz", left=vectors(N, 3) * np.float32(scale), right=right)
        data = Arrays(file=str(tmp_path / "a.npz"), left="left", right="right").load()
        assert data.right.values.dtype == np.float32 and set(np.unique(data.right.values)) == {0, 1}
        assert any("float32 does not hold exactly" in note for note in data.notes.get("said", [])) == said
