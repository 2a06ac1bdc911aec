"""What a library of clips refuses, with rows and counts, and what it leaves out when asked; what it measures once."""

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_files import tone, written

from sensorium.datasets import _measured
from sensorium.datasets.clips import Clips
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.audio import files, measures


@pytest.fixture
def library(tmp_path) -> Path:
    """Eight clips of four speakers, with a table of them beside the folder."""
    root = tmp_path / "voices"
    lines = ["path,text,speaker,emotion"]
    for k in range(8):
        path = root / f"s{k % 4}" / f"{k}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(0.2, hz=200 + 30 * k), 16_000)
        lines.append(f"s{k % 4}/{k}.wav,line {k},s{k % 4},happy")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return root


def table(library: Path, text: str, encoding: str = "utf-8") -> str:
    path = library.parent / "other.csv"
    path.write_bytes(text.encode(encoding))
    return str(path)


def load(library: Path, **keys):
    return Clips(**{"root": str(library), "table": str(library.parent / "t.csv"), **keys}).load()


def empty_wave() -> bytes:
    """A WAV file whose sound has no sample."""
    return b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16) + (
        b"data" + struct.pack("<I", 0))  # fmt: skip


def hour() -> bytes:
    """A WAV file of an hour of silence, at 1,000 Hz."""
    return files.wav(np.zeros(3600 * 1000 + 1000, np.int16), 1000)


#: Name → the content of a file, and what is said of it.
BAD = {
    "empty": (lambda: b"", r"2.wav is empty \(0 bytes\).*or leave them out with data.bad=skip"),
    "no sample": (empty_wave, "2.wav"),
    "an hour": (hour, "2.wav is 3601 s long; at most 600 s are read: cut it into parts"),
    "no sound": (lambda: b"no sound at all", "2.wav"),
    "cut": (lambda: written("FLAC")[:2000], "2.wav"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("measured", [True, False])
def test_a_clip_that_cannot_be_used_is_named_by_its_row_or_left_out(library, kind, measured):
    content, message = BAD[kind]
    (library / "s2" / "2.wav").write_bytes(content())
    with pytest.raises(BadData, match=f"1 of 8 clips cannot be used, such as row 4: .*{message}"):
        load(library, measures=measured)
    data = load(library, measures=measured, bad="skip")
    assert len(data.right) == 7 and data.notes["left_out"] == 1
    assert data.notes["left_out_such_as"][0].startswith("row 4: ") and "s2/2.wav" not in data.right.ids.tolist()


def test_the_longest_clip_can_be_named(library):
    soundfile.write(library / "s2" / "2.wav", np.zeros(2000), 1000)
    with pytest.raises(BadData, match="is 2 s long; at most 1 s are read"):
        load(library, longest=1.0)
    assert load(library).right.meta["duration"].max() == 2.0
    for wrong in (0, 3601):
        with pytest.raises(BadRecipe, match=f"data.longest={wrong}; expected seconds, above 0 and up to 3600"):
            load(library, longest=wrong)


@pytest.mark.parametrize(("text", "keys", "error", "message"), [
    ("path,text\ns0/0.wav,a\ns9/9.wav,b\n", {}, BadData,
     r"the files of 1 of 2 rows are not there, such as 's9/9.wav' \(row 3\).*data.allow_missing=true"),
    ("path,text\ns9/8.wav,a\ns9/9.wav,b\n", {"allow_missing": True}, BadData, r"of 2 of 2 rows are not there.*rows 2, 3"),
    ("path,text\ns0/0.wav,a\n,b\n", {}, BadData, r"1 of 2 rows have no path \(row 3\)"),
    ("path,text\ns0/0.wav,a\ns0/../s0/0.wav,b\n", {}, BadData, r"1 clips stand in more than one row.*\(rows 2, 3\)"),
    ("path,text\ns0/0.wav,a\n0,b\n", {}, BadData, r"1 clips stand in more than one row, such as .*\(rows 2, 3\)"),
    ("where,text\ns0/0.wav,a\n", {}, BadRecipe, r"has no column of paths \(path, file.*type: data.path=COLUMN"),
    ("path,text\ns0/0.wav,a\n", {"speaker": "who"}, BadRecipe, "data.speaker=who: other.csv has no column 'who'"),
    ("path,speaker\ns0/0.wav,a\n", {}, BadData, "no clip has a transcript.*data.sentences=emotions"),
    ("path,text\ns0/0.wav,a\n", {"sentences": "emotions"}, BadData, "no clip has a column 'emotion'.*data.emotion=COL"),
    ("path,text,split\ns0/0.wav,a,trian\n", {}, BadData, "the split of other.csv: split value 'trian'; expected train"),
    ("path,text\ns0/0.wav,a\n", {"relevant": "mood"}, BadRecipe, "data.relevant=mood: the clips have no such column"),
    ("path,text\ns0/0.wav,a\n", {"group": "mood"}, BadRecipe, "data.group=mood: the clips have no such column"),
])  # fmt: skip
def test_tables_that_cannot_be_used(library, text, keys, error, message):
    with pytest.raises(error, match=message):
        load(library, table=table(library, text), **keys)


def test_rows_without_clip_and_clips_without_row_are_counted(library):
    text = "path,text\n" + "".join(f"s{k % 4}/{k}.wav,line {k}\n" for k in range(6)) + "s9/9.wav,b\n"
    data = load(library, table=table(library, text), allow_missing=True, group="clip")
    assert (data.notes["rows"], data.notes["rows_without_clip"], data.notes["clips_without_row"]) == (7, 1, 2)
    assert len(data.right) == 8 and len(data.left) == 6 and data.notes["clips_without_transcript"] == 2
    assert np.isnan(data.right.meta["speech_rate"]).tolist() == [at in (6, 7) for at in _numbers(data.right.ids)]


def _numbers(ids: np.ndarray) -> list[int]:
    return [int(Path(id).stem) for id in ids.tolist()]


def test_a_table_of_another_machine_finds_clips_by_their_file_names(library):
    text = "path|text\n" + "".join(f"D:\\data\\{k}.wav|line {k}\n" for k in range(8))
    data = load(library, table=table(library, text.replace("|", ",")), group="clip")
    assert data.notes["rows_found_by_file_name"] == 8
    assert [f"line {k}" for k in _numbers(data.right.ids)] == data.right.meta["transcript"].tolist()


def test_missing_cells_are_missing_values_and_lose_no_clip(library):
    text = "path,text,speaker,age\n" + "".join(
        f"s{k % 4}/{k}.wav,{'' if k == 3 else f'line {k}'},{'' if k == 5 else f's{k % 4}'},{'NaN' if k == 2 else k}\n"
        for k in range(8))  # fmt: skip
    data = load(library, table=table(library, text))
    by_number = dict(zip(_numbers(data.right.ids), range(8), strict=True))
    assert len(data.right) == 8 and len(data.left) == 7
    assert data.right.meta["speaker"][by_number[5]] is None and data.right.meta["transcript"][by_number[3]] is None
    assert data.right.meta["age"].tolist()[by_number[2]] is None and data.right.meta["age"].tolist()[by_number[7]] == 7


@pytest.mark.parametrize(("name", "text", "message"), [
    ("t.csv", "path,text\ns0/0.wav,caf\xe9\n", "is not UTF-8 .line 2, byte 0xe9.*iconv"),
    ("t.list", "s0/0.wav|anna|EN|caf\xe9\n", "is not UTF-8 .line 1, byte 0xe9"),
    ("t.list", "s0/0.wav|anna|EN|one\n\ns1/1.wav|anna|two\n", r"1 of 2 lines do not have the form .*\(line 3\)"),
    ("t.list", "\n \n", "is empty; expected lines such as clip.wav"),
])  # fmt: skip
def test_files_of_text_that_cannot_be_read(library, name, text, message):
    path = library.parent / "more" / name
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadData, match=message):
        load(library, table=str(path))


def test_a_list_of_gpt_sovits_keeps_bars_and_leaves_out_empty_lines(library):
    path = library.parent / "t.list"
    path.write_text("s0/0.wav|anna|EN|either | or\r\n\r\ns1/1.wav|ben|JP|two\r\n", newline="")
    data = load(library, table=str(path), group="clip", allow_missing=True)
    at = _numbers(data.right.ids)
    said = {k: data.right.meta["transcript"][at.index(k)] for k in (0, 1, 2)}
    assert said == {0: "either | or", 1: "two", 2: None}
    assert {k: data.right.meta["language"][at.index(k)] for k in (0, 1)} == {0: "en", 1: "ja"}


@pytest.mark.parametrize(("text", "message"), [
    ("text,emotion\nHello,happy\n,sad\n", r"the text of 1 of 2 sentences is empty \(row 3\)"),
    ("text,emotion\nHello,happy\nBye,\n", r"the emotion of 1 of 2 sentences is empty \(row 3\)"),
    ("text,emotion,split\nHello,happy,train\nhello ,happy,test\n", r"1 sentences stand in two splits.*\(rows 2, 3\)"),
    ("text,mood\nHello,happy\n", "no column 'emotion'; expected text and emotion"),
    ("text,emotion,split\nHello,sad,train\nBye,sad,test\n", "no clip has the emotion of a sentence of its split: clips"),
])  # fmt: skip
def test_sentences_that_cannot_be_used(library, text, message):
    path = library.parent / "s.csv"
    path.write_text(text)
    with pytest.raises((BadData, BadRecipe), match=message):
        load(library, sentences=str(path))


def test_unknown_sentences_are_refused_by_name(library):
    with pytest.raises(BadRecipe, match="data.sentences=emotion: no such file, and no built-in sentences.*'emotions'"):
        load(library, sentences="emotion")


def test_sentences_without_a_split_are_divided_within_each_emotion(library):
    path = library.parent / "s.csv"
    path.write_text("text,emotion\n" + "".join(f"{e} line {k},{e}\n" for e in ("joy", "anger") for k in range(10)))
    data = load(library, sentences=str(path), test=1.0 / 4, validation=1.0 / 4)
    assert data.notes["sentences_split"] == "drawn" and data.notes["relevant"] == "emotion"
    counts = {s: len(np.unique(data.pairs.left[data.pairs.split == s])) for s in ("train", "validation", "test")}
    assert counts == {"train": 7, "validation": 1, "test": 2}
    assert set(data.left.meta["emotion"].tolist()) == {"happy", "angry"}


@pytest.mark.parametrize("speakers", [1, 2])
def test_too_few_speakers_are_refused_unless_clips_are_groups(library, speakers):
    text = "path,text,speaker\n" + "".join(f"s{k % 4}/{k}.wav,line {k},p{k % speakers}\n" for k in range(8))
    with pytest.raises(
        BadData, match=f"{speakers} speakers? cannot be divided among training, validation and test; to"
    ):
        load(library, table=table(library, text))
    data = load(library, table=table(library, text), group="clip", test=2, validation=2)
    assert "clips of one speaker are in training and test" in data.notes["said"][0]
    assert {s: int((data.pairs.split == s).sum()) for s in ("train", "test")} == {"train": 4, "test": 2}


def test_lists_of_speakers_and_given_splits(library):
    data = load(library, test_actors=["s1"], validation_actors=["s2"])
    split = dict(zip(data.right.meta["speaker"][data.pairs.right].tolist(), data.pairs.split.tolist(), strict=True))
    assert split == {"s0": "train", "s1": "test", "s2": "validation", "s3": "train"}
    with pytest.raises(BadRecipe, match="data.test_actors: 'nobody' has no recording"):
        load(library, test_actors=["nobody"])
    with pytest.raises(BadRecipe, match="train_actors or validation_actors without test_actors"):
        load(library, train_actors=["s1"])
    text = "path,text,split\n" + "".join(
        f"s{k % 4}/{k}.wav,line {k},{('train', 'dev', 'test')[k % 3]}\n" for k in range(8)
    )
    data = load(library, table=table(library, text))
    found = dict(zip(_numbers(data.right.ids[data.pairs.right]), data.pairs.split.tolist(), strict=True))
    assert data.notes["split"] == "given"
    assert [found[k] for k in range(4)] == ["train", "validation", "test", "train"]


def test_no_speaker_at_all_is_said(library):
    text = "path,text\n" + "".join(f"s{k % 4}/{k}.wav,line {k}\n" for k in range(8))
    assert "no speakers are known" in load(library, table=table(library, text)).notes["said"][0]


def test_folders_that_are_asked_for_must_be_there(library):
    with pytest.raises(BadData, match="data.speaker=folder: the clips lie in .* itself; expected folders below it"):
        Clips(root=str(library / "s0"), speaker="folder").load()
    with pytest.raises(BadData, match="one level of folders, which are the emotions"):
        Clips(root=str(library), speaker="folder", emotion="folder").load()
    with pytest.raises(BadData, match="no folder .*; type: data.root=FOLDER with the clips"):
        Clips(root=str(library / "none")).load()
    (library / "empty").mkdir()
    with pytest.raises(BadData, match="no sound file below .*empty; expected files that end in"):
        Clips(root=str(library / "empty")).load()


class _Bomb:
    def __reduce__(self):
        return os.mkdir, ("pickle-was-executed",)


def test_an_npz_with_pickled_objects_is_refused_and_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "A.npz", emo_emb=np.ones((2, 3), np.float32), filename=np.array(["a", "b"]))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    with zipfile.ZipFile(tmp_path / "T.npz", "w") as archive:
        vectors = io.BytesIO()
        np.save(vectors, np.ones((2, 3), np.float32))
        archive.writestr("text_emb.npy", vectors.getvalue())
        archive.writestr("filename.npy", header.getvalue() + pickle.dumps(np.array([_Bomb(), "b"], object)))
    with pytest.raises(BadData, match="T.npz:filename"):
        Clips(text="T.npz", audio="A.npz").load()
    assert not (tmp_path / "pickle-was-executed").exists()


def test_vectors_with_nan_are_refused_with_their_names(tmp_path):
    x = np.ones((3, 4), np.float32)
    np.savez(tmp_path / "T.npz", text_emb=x, filename=np.array(["a", "b", "c"]))
    x[1, 2] = np.nan
    np.savez(tmp_path / "A.npz", emo_emb=x, filename=np.array(["a", "b", "c"]))
    with pytest.raises(BadData, match=r"A.npz:emo_emb.*'?b"):
        Clips(text=str(tmp_path / "T.npz"), audio=str(tmp_path / "A.npz")).load()


def test_clips_are_measured_once_whatever_they_are_called(library, tmp_path, monkeypatch):
    data = Clips(root=str(library), table=str(library.parent / "t.csv"))
    data.stores = tmp_path / "embeddings"
    first = data.load()
    assert first.notes["measured"] == 8
    monkeypatch.setattr(measures, "measure", lambda *_: pytest.fail("measured again"))
    (library / "s0" / "0.wav").rename(library / "s0" / "other.wav")
    second = Clips(root=str(library), speaker="folder", sentences=None, table=None, transcript="")
    second.stores = data.stores
    again = second.library()
    assert again.notes["measured"] == 0
    assert sorted(again.columns["duration"].tolist()) == sorted(first.right.meta["duration"].tolist())


def test_measures_survive_damage_and_many_runs(library, tmp_path, monkeypatch):
    paths = sorted(map(str, library.rglob("*.wav")))
    monkeypatch.setattr(_measured, "_MOST_PARTS", 3)
    whole = _measured.measured(paths, tmp_path, 600.0)
    folder = tmp_path / _measured.FOLDER / _measured.digest()
    for path in folder.glob("part-*"):
        path.unlink()
    for at in range(8):
        assert _measured.measured(paths[: at + 1], tmp_path, 600.0).new == 1
    assert len(list(folder.glob("part-*"))) <= 4
    for path in folder.glob("part-*"):
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    again = _measured.measured(paths, tmp_path, 600.0)
    assert again.new == 8
    for name, column in whole.columns.items():
        np.testing.assert_array_equal(again.columns[name], column)


def test_an_interruption_keeps_what_was_measured(library, tmp_path, monkeypatch):
    paths, real, seen = sorted(map(str, library.rglob("*.wav"))), measures.measure_file, []

    def interrupted(path, longest):
        seen.append(path)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return real(path, longest)

    monkeypatch.setattr(measures, "measure_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _measured.measured(paths, tmp_path, 600.0)
    monkeypatch.setattr(measures, "measure_file", real)
    assert _measured.measured(paths, tmp_path, 600.0).new < 8
