"""The data set ``clips``: a folder, tables of every form, vectors in two files; what goes with what, and in which split."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_files import tone

from sensorium.datasets._clip_splits import related
from sensorium.datasets.clips import Clips
from sensorium.errors import BadData, BadRecipe

EMOTIONS = ("neutral", "happy", "sad")


def clip(path: Path, hz: float = 200.0, seconds: float = 0.3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, hz=hz), 16_000)
    return path


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """Six speakers with a clip of each of three emotions: ``SPEAKER/EMOTION/take.wav``; every file name is the same."""
    root = tmp_path_factory.mktemp("library") / "voices"
    for s in range(6):
        for e, emotion in enumerate(EMOTIONS):
            clip(root / f"s{s}" / emotion / "take.wav", 150 + 20 * s + 70 * e)
    return root


def rows(library: Path) -> list[dict]:
    return [{"path": str(path.relative_to(library)), "text": f"line {at}", "speaker": path.parts[-3], "language": "en",
             "emotion": path.parts[-2], "mood": at} for at, path in enumerate(sorted(library.rglob("*.wav")))]  # fmt: skip


def write(path: Path, table: list[dict], sep: str = ",", encoding: str = "utf-8") -> Path:
    lines = [sep.join(map(str, one)) for one in (table[0].keys(), *(row.values() for row in table))]
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def written(kind: str, library: Path, folder: Path) -> Path:
    table = rows(library)
    if kind == "jsonl":
        path = folder / "t.jsonl"
        path.write_text("\n".join(map(json.dumps, table)))
        return path
    if kind == "list":
        path = folder / "t.list"
        path.write_text("".join(f"{r['path']}|{r['speaker']}|EN|{r['text']}\n" for r in table))
        return path
    return write(folder / f"t.{kind[:3]}", table, "\t" if kind == "tsv" else ",",
                 "utf-8-sig" if kind == "csv with mark" else "utf-8")  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "csv with mark", "tsv", "jsonl", "list"])
def test_tables_of_every_form_say_the_same(library, tmp_path, kind):
    data = Clips(root=str(library), table=str(written(kind, library, tmp_path))).load()
    assert data.right.ids.tolist() == [r["path"] for r in rows(library)]
    assert data.left.values == [f"line {at}" for at in range(18)]
    assert data.right.meta["speaker"].tolist() == [r["speaker"] for r in rows(library)]
    assert data.right.meta["language"].tolist() == ["en"] * 18
    assert (data.left.kind, data.right.kind, data.left.name, data.right.name) == ("text", "audio", "text", "clip")
    assert np.array_equal(data.pairs.left, data.pairs.right)
    if kind != "list":
        assert data.right.meta["mood"].tolist() == list(range(18))
        assert data.right.meta["emotion"].tolist() == [r["emotion"] for r in rows(library)]


def test_no_speaker_stands_in_two_splits(library, tmp_path):
    data = Clips(root=str(library), table=str(written("csv", library, tmp_path)), test=2, validation=0.17).load()
    of = {split: set(data.right.meta["speaker"][data.pairs.right[data.pairs.split == split]].tolist())
          for split in ("train", "validation", "test")}  # fmt: skip
    assert [len(of[split]) for split in ("train", "validation", "test")] == [3, 1, 2]
    assert not (of["train"] & of["test"]) and not (of["validation"] & (of["train"] | of["test"]))


def test_folders_say_speaker_and_emotion(library):
    data = Clips(root=str(library), speaker="folder", emotion="folder", sentences="emotions").load()
    assert data.right.meta["speaker"].tolist() == [r["speaker"] for r in rows(library)]
    assert data.right.meta["emotion"].tolist() == [r["emotion"] for r in rows(library)]
    for i, j, split in zip(data.pairs.left, data.pairs.right, data.pairs.split, strict=True):
        assert data.left.meta["emotion"][i] == data.right.meta["emotion"][j] and split
    texts = [{data.left.values[i] for i in data.pairs.left[data.pairs.split == s]} for s in ("train", "test")]
    assert texts[0] and texts[1] and not texts[0] & texts[1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(["train", "test", ""])), max_size=9),
       st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from(["train", "test", ""])), max_size=9))  # fmt: skip
def test_relations_by_label_are_all_those_within_a_split(left, right):
    pairs = related([a for a, _ in left], np.array([s for _, s in left], "<U10"), [a for a, _ in right],
                    np.array([s for _, s in right], "<U10"), np.arange(len(right)))  # fmt: skip
    for split in ("train", "test"):
        expected = {(a, b) for a in range(len(left)) for b in range(len(right))
                    if left[a][0] == right[b][0] is not None and left[a][1] == right[b][1] == split}  # fmt: skip
        found = pairs.relevance("left->right", split)
        counts = np.repeat(found.queries, found.counts())
        assert set(zip(counts.tolist(), found.candidates[found.relevant].tolist(), strict=True)) == expected
        listed = pairs.where(split)
        assert set(zip(listed.left.tolist(), listed.right.tolist(), strict=True)) <= expected
        assert set(listed.left.tolist()) == {a for a, _ in expected}
        assert set(listed.right.tolist()) == {b for _, b in expected}
    assert len(np.unique(np.stack([pairs.left, pairs.right], 1), axis=0)) == len(pairs)


@pytest.mark.parametrize("way", ["root", "text"])
def test_rows_of_one_label_are_related_within_a_split(library, tmp_path, way):
    if way == "root":
        data = Clips(root=str(library), table=str(written("csv", library, tmp_path)), relevant="emotion").load()
    else:
        names = [f"{k}.wav" for k in range(18)]
        more = {"emotion": np.array(EMOTIONS * 6), "split": np.array(["train"] * 9 + ["dev"] * 3 + ["test"] * 6)}
        text, audio = vectors(tmp_path, names, names, **more)
        data = Clips(text=text, audio=audio, relevant="emotion").load()
    found = data.pairs.relevance("left->right", "train")
    emotion, split = data.right.meta["emotion"], dict(zip(data.pairs.right, data.pairs.split, strict=True))
    for query, a, b in zip(found.queries, found.offsets[:-1], found.offsets[1:], strict=True):
        rows = found.candidates[found.relevant[a:b]]
        assert rows.tolist() == [
            r for r in range(18) if emotion[r] == data.left.meta["emotion"][query] and split[r] == "train"
        ]


def vectors(folder: Path, names: list[str], other: list[str], **more) -> tuple[str, str]:
    rng = np.random.default_rng(0)
    text, audio = (rng.standard_normal((len(n), 5)).astype(np.float32) for n in (names, other))
    np.savez(folder / "T.npz", text_emb=text, filename=np.array(names), **more)
    np.savez(folder / "A.npz", emo_emb=audio, fname=np.array(other, object))
    return str(folder / "T.npz"), str(folder / "A.npz")


def test_two_files_are_joined_by_name_without_their_endings(tmp_path):
    names = [f"a/{k}.txt" for k in range(6)]
    text, audio = vectors(tmp_path, names, [f"a/{k}.wav" for k in (3, 1, 0, 5, 4, 2)], transcript=np.array(list("uvwxyz")),
                          split_set=np.array(["train"] * 4 + ["dev", "test"]))  # fmt: skip
    data = Clips(text=text, audio=audio).load()
    assert data.right.ids.tolist() == [f"a/{k}.wav" for k in range(6)]
    assert np.array_equal(
        data.right.values, np.load(tmp_path / "A.npz", allow_pickle=False)["emo_emb"][[2, 1, 5, 0, 4, 3]]
    )
    assert data.notes["names_compared"] == "without their endings"
    assert data.right.meta["transcript"].tolist() == list("uvwxyz")
    assert data.pairs.split.tolist() == ["train"] * 4 + ["validation", "test"]


def test_rows_are_joined_by_position_when_asked_and_it_is_said(tmp_path):
    text, audio = vectors(tmp_path, ["a", "b", "c"], ["a", "x", "y"])
    data = Clips(text=text, audio=audio, join="position").load()
    assert len(data.pairs) == 3 and data.notes["join"] == "position"
    assert data.notes["said"] == [
        "row i of T.npz is taken for row i of A.npz: data.join=position; both have names, of which 2 of 3 differ"
    ]


@pytest.mark.parametrize(("names", "other", "keys", "error", "message"), [
    (["a", "b", "c"], ["a", "b", "d"], {}, BadData, r"1 of 3 names are only in T.npz \(such as 'c'\) and 1 of 3.*'d'"),
    (["a", "b"], ["x", "y"], {}, BadData, "2 of 2 names are only in T.npz.*data.join=position"),
    (["a", "a", "b"], ["a", "b", "c"], {}, BadData, r"1 names stand in more than one row, such as 'a' \(rows 1, 2\)"),
    (["a/x.wav", "b/x.wav"], ["a/x.flac", "a/x.mp3"], {}, BadData, "A.npz: 1 names stand in more.*without their"),
    (["a", "b"], ["a"], {"join": "position"}, BadData, "T.npz has 2 rows, A.npz 1; by position"),
    (["a", "b"], ["a", "b"], {"ids": "nmae"}, BadRecipe, "has no column 'nmae' to join its rows by.*data.join=position"),
])  # fmt: skip
def test_names_that_do_not_match(tmp_path, names, other, keys, error, message):
    text, audio = vectors(tmp_path, names, other)
    with pytest.raises(error, match=message):
        Clips(text=text, audio=audio, **keys).load()


def test_names_of_one_side_are_dropped_and_counted_when_asked(tmp_path):
    text, audio = vectors(tmp_path, ["a", "b", "c"], ["c", "d", "a"])
    data = Clips(text=text, audio=audio, allow_missing=True).load()
    assert data.right.ids.tolist() == ["a", "c"]
    assert (data.notes["only_in_text"], data.notes["only_in_audio"]) == (1, 1)


def test_files_without_names_are_joined_by_position_alone(tmp_path):
    text, audio = vectors(tmp_path, ["a"], ["a"])
    np.savez(text, text_emb=np.ones((2, 3), np.float32))
    with pytest.raises(BadRecipe, match=r"T.npz has no names \(filename.*data.join=position"):
        Clips(text=text, audio=audio).load()


@pytest.mark.parametrize(("keys", "message"), [
    ({}, "clips: no clips are named; type: data.root=FOLDER"),
    ({"root": "a", "file": "b.npz"}, "data.file and data.root are given"),
    ({"text": "T.npz"}, "data.text is a file of vectors, which needs the other side; type: data.audio=FILE"),
    ({"root": "a", "join": "row"}, "data.join='row'; expected name or position"),
    ({"root": "a", "test": -1}, "data.test=-1; expected a share"),
    ({"root": "a", "split_seed": -1}, "data.split_seed=-1; expected a whole number"),
])  # fmt: skip
def test_keys_that_name_no_clips(keys, message):
    with pytest.raises(BadRecipe, match=message):
        Clips(**keys).load()
