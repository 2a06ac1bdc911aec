"""Captioned data that cannot be used: named with their rows, left out with bad=skip, and nothing else lost."""

import json

import made_captions as made
import numpy as np
import pytest
import sound_files
import soundfile

from sensorium import parts
from sensorium.errors import BadData


def load(bad="stop", **keys):
    return parts.make(
        "datasets", {"name": "captioned", "bad": bad, **{k: str(v) for k, v in keys.items()}}, "data"
    ).load()


@pytest.fixture
def corpus(tmp_path):
    """A folder of six sounds, and the rows of their table, to be changed."""
    return tmp_path, made.wide(made.sounds(tmp_path / "wav", 6), each=2)


def refused_then_skipped(folder, rows, said, left, ending="csv"):
    """The table is refused in these words; with bad=skip the captions of ``left`` remain. Returns the notes."""
    table = made.table(folder / f"t.{ending}", rows)
    before = table.read_bytes()
    with pytest.raises(BadData, match=said) as caught:
        load(root=folder / "wav", table=table)
    assert "data.bad=skip" in str(caught.value) and "\n" not in str(caught.value)
    data = load("skip", root=folder / "wav", table=table)
    assert data.right.ids.tolist() == left and table.read_bytes() == before
    assert set(data.pairs.left.tolist()) == set(range(len(data.left)))
    return data.notes


def all_but(rows, *lost):
    ids = [f"{row['file_name']}#{k}" for row in rows for k in (1, 2)]
    return [id for id in ids if id not in lost and id.partition("#")[0] not in lost]


def test_a_missing_file(corpus):
    folder, rows = corpus
    (folder / "wav" / "s2.wav").unlink()
    notes = refused_then_skipped(folder, rows, r"of 6 audio files in 'file_name' of t\.csv, 1 are not there, such as "
                                 r"'s2\.wav' in row 4", all_but(rows, "s2.wav"))  # fmt: skip
    assert notes["files_left_out"] == 1 and "'s2.wav' in row 4" in notes["files_left_out_such_as"]


def test_an_empty_caption_and_an_empty_row(corpus):
    folder, rows = corpus
    rows[1]["caption_2"], rows[3]["caption_1"], rows[3]["caption_2"] = " ", "", ""
    notes = refused_then_skipped(folder, rows, r"t\.csv: 3 of 12 captions are empty \(rows 3, 5\); fill them in",
                                 all_but(rows, "s1.wav#2", "s3.wav"))  # fmt: skip
    assert notes["captions_left_out"] == 3 and notes["captions_left_out_such_as"] == ["t.csv: 3 of 12 captions are empty (rows 3, 5)"]  # fmt: skip


def test_a_caption_that_stands_twice_for_one_sound(corpus):
    folder, rows = corpus
    rows[4]["caption_2"] = rows[4]["caption_1"] + " "
    refused_then_skipped(folder, rows, r"1 captions stand twice for one file, such as 'a shrill tone, number 4' for "
                         r"'s4\.wav' \(row 6\); drop the repetitions", all_but(rows, "s4.wav#2"))  # fmt: skip
    rows[4]["caption_2"], rows[5]["caption_2"] = "another", rows[0]["caption_1"]  # of another sound: no repetition
    assert len(load(root=folder / "wav", table=made.table(folder / "t.csv", rows)).right) == 12


def test_a_file_that_two_rows_name(corpus):
    folder, rows = corpus
    rows[5]["file_name"] = "./s1.wav"
    refused_then_skipped(folder, rows, r"1 rows name a file that an earlier row names, such as '\./s1\.wav' of row 3 again "
                         r"in row 7; every file has one row", all_but(rows[:5]))  # fmt: skip


def test_a_sound_in_two_splits_or_without_one(corpus):
    folder, rows = corpus
    listed = [{"file": row["file_name"], "caption": row[f"caption_{k}"], "split": split}
              for row, split in zip(rows, ["train", "train", "train", "dev", "test", "test"], strict=True) for k in (1, 2)]  # fmt: skip
    listed[1]["split"] = "test"
    refused_then_skipped(folder, listed, r"1 files are in several splits, such as 's0\.wav' in 'test' and 'train' "
                         r"\(rows 2, 3\); a file is in one split: correct the column 'split'", all_but(rows, "s0.wav"))  # fmt: skip
    listed[0]["split"] = listed[1]["split"] = ""
    refused_then_skipped(folder, listed, r"the split 'split' of 2 rows is missing \(rows 2, 3\); fill it in, or ignore the "
                         r'column: data\.split=""', all_but(rows, "s0.wav"))  # fmt: skip
    listed[0]["split"] = listed[1]["split"] = "trian"
    with pytest.raises(BadData, match=r"t\.csv: 'split': .*trian.*; or ignore the column: data\.split=\"\""):
        load(root=folder / "wav", table=made.table(folder / "t.csv", listed))


@pytest.mark.parametrize("content", [sound_files.wave(cut=9000), sound_files.written("FLAC")[:-2000], b"", b"no sound at all"],
                         ids=["wav of less than its header says", "flac cut short", "empty", "text"])  # fmt: skip
def test_a_sound_whose_header_says_more_than_there_is(corpus, content):
    folder, rows = corpus
    name = "s3.flac" if content[:4] == b"fLaC" else "s3.wav"
    (folder / "wav" / "s3.wav").unlink()
    (folder / "wav" / name).write_bytes(content)
    rows[3]["file_name"] = name
    refused_then_skipped(folder, rows, rf"1 (cannot be read|are empty \(0 bytes\)), such as '{name}'.* in row 5",
                         all_but(rows, name))  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [(sound_files.wave(riff=36 + 16_000, data=16_000), r"its header says 0\.5 s, but the file has 1 s"),
     (sound_files.wave()[:24] + (44_100).to_bytes(4, "little") + sound_files.wave()[28:],
      "its header says 44100 Hz, and 32000 bytes a second, which are 16000 Hz")],
    ids=["length", "rate"],
)  # fmt: skip
def test_a_sound_of_another_length_or_rate_than_its_own_header_says(corpus, content, said):
    folder, rows = corpus
    (folder / "wav" / "s3.wav").write_bytes(content)
    refused_then_skipped(folder, rows, rf"the sounds of 1 rows are not what their header says, such as 's3\.wav': {said} "
                         r"\(row 5\); restore them", all_but(rows, "s3.wav"))  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("duration", 10.0, r"'duration' of 1 rows is not that of the file, such as 's1\.wav': 10 s, but the file has 0\.25 s"),
     ("sample_rate", 44100, r"'sample_rate' of 1 rows is not that of the file, such as 's1\.wav': 44100 Hz, but the file "
                            "has 16000 Hz")],
)  # fmt: skip
def test_a_sound_of_another_length_or_rate_than_its_table_says(corpus, column, value, said):
    folder, rows = corpus
    for row in rows:
        row[column] = {"duration": 0.25, "sample_rate": made.RATE}[column]
    rows[1][column] = value
    refused_then_skipped(folder, rows, rf"{said} \(row 3\); correct the table", all_but(rows, "s1.wav"))
    rows[1][column] = None
    refused = load(root=folder / "wav", table=made.table(folder / "t.jsonl", rows))
    assert len(refused.left) == 6  # what is not said is not compared


def test_a_broken_line_of_jsonl(corpus):
    folder, rows = corpus
    table = made.table(folder / "t.jsonl", rows)
    lines = table.read_text().split("\n")
    lines[2] = lines[2][:-9]
    table.write_text("\n".join(lines))
    with pytest.raises(
        BadData, match=r"t\.jsonl, line 3 is not valid JSON .*; correct it, or leave it out with data\.bad=skip"
    ):
        load(root=folder / "wav", table=table)
    data = load("skip", root=folder / "wav", table=table)
    assert data.right.ids.tolist() == all_but(rows, "s2.wav")
    assert data.notes["lines_left_out"] == 1 and "line 3" in data.notes["lines_left_out_such_as"][0]


def test_pictures_and_sounds_in_one_table_and_captions_that_are_no_texts(corpus):
    folder, rows = corpus
    rows[0]["file_name"] = "p.png"
    with pytest.raises(
        BadData, match=r"mixes kinds of files: 5 audio \(rows 3, 4, 5, …\) and 1 image \(row 2\); give one kind"
    ):
        load(root=folder / "wav", table=made.table(folder / "t.csv", rows))
    listed = [{"file": "s0.wav", "caption": [1, 2]}, {"file": "s1.wav", "caption": [3, 4]}]
    with pytest.raises(BadData, match=r"column 'caption' of t\.jsonl has a list of int in row 1; expected texts"):
        load(root=folder / "wav", table=made.table(folder / "t.jsonl", listed))


def test_an_id_of_several_sounds(corpus):
    folder, rows = corpus
    for at, row in enumerate(rows):
        row["key"] = at // 2
    with pytest.raises(BadData, match=r"data\.id=key: t\.csv has the same id for several clips"):
        load(root=folder / "wav", table=made.table(folder / "t.csv", rows), id="key")


def test_nothing_is_left(corpus):
    folder, rows = corpus
    for row in rows:
        row["caption_1"] = row["caption_2"] = ""
    with pytest.raises(BadData, match="12 of 12 captions are empty") as caught:
        load("skip", root=folder / "wav", table=made.table(folder / "t.csv", rows))
    assert "data.bad=skip" not in str(caught.value)


def vectors(folder, **changed):
    rng = np.random.default_rng(0)
    arrays = {
        "audio": rng.standard_normal((5, 3)),
        "text": rng.standard_normal((5, 2, 4)),
        "id": np.array(list("abcde")),
    }
    np.savez(folder / "v.npz", **{k: v for k, v in (arrays | changed).items() if v is not None})
    return folder / "v.npz"


def test_vectors_of_nan_and_zeros(tmp_path):
    rng = np.random.default_rng(0)
    audio, text = rng.standard_normal((5, 3)), rng.standard_normal((5, 2, 4))
    audio[1, 0], text[3, 1] = np.nan, np.inf
    file = vectors(tmp_path, audio=audio)
    with pytest.raises(BadData, match=r"v\.npz:audio: 1 of 5 vectors hold NaN, infinity or only zeros, such as NaN or "
                                      r"infinity in row 2; embed these again"):  # fmt: skip
        load(file=file)
    assert load("skip", file=file).left.ids.tolist() == list("acde")
    file = vectors(tmp_path, text=text)
    with pytest.raises(BadData, match=r"v\.npz:text: 1 of 10 vectors hold NaN.*data\.bad=skip"):
        load(file=file)
    assert load("skip", file=file).right.ids.tolist() == [
        f"{c}#{k}" for c in "abcde" for k in (1, 2) if (c, k) != ("d", 2)
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"text": np.ones((4, 2, 4))}, r"5 vectors in 'audio' and captions of 4 items in 'text'; their numbers must be equal"),
        ({"text": np.ones((7, 4))}, r"5 vectors in 'audio' and 7 in 'text', and no column says which caption is of which"),
        ({"text": np.ones((2, 4)), "clip": np.array(["a", "x"])}, r"'clip' names 1 items that 'audio' does not have, such as 'x'"),
        ({"audio": np.ones((5, 2, 3))}, r"v\.npz:audio is .*; expected one vector an item, \[n, d\]"),
        ({"text": np.array(list("abcde"))}, "which array of v.npz holds the vectors of the captions"),
    ],
)  # fmt: skip
def test_vectors_that_do_not_go_together(tmp_path, changed, said):
    with pytest.raises(Exception, match=said) as caught:
        load(file=vectors(tmp_path, **changed))
    assert type(caught.value).__name__ in ("BadData", "BadRecipe")


def test_ids_of_vectors_that_stand_twice(tmp_path):
    file = vectors(tmp_path, id=None, key=np.array(list("abcac")))
    with pytest.raises(BadData, match=r"2 ids of 'key' stand in several rows, such as 'a' \(rows 1, 4\)"):
        load(file=file, id="key")


def change(folder, **tensors):
    import torch

    for name, change in tensors.items():
        path = folder / f"{name}_embeddings.pt"
        torch.save(change(torch.load(path, weights_only=True)), path)


def test_a_cache_whose_tensors_or_ids_differ_in_length(tmp_path):
    folder = made.cache(tmp_path / "development")
    change(folder, text=lambda x: x[:-3])
    with pytest.raises(BadData, match=r"development: 40 vectors in audio_embeddings\.pt, 37 in text_embeddings\.pt; both "
                                      "have a row for each caption: the cache was cut short, make it again"):  # fmt: skip
        load(cache=folder)
    made.cache(folder, ids=["a#1", "b#1"])
    with pytest.raises(BadData, match=r"metadata\.json has 2 ids for the 40 rows of audio_embeddings\.pt"):
        load(cache=folder)
    (folder / "metadata.json").write_text("{")
    with pytest.raises(BadData, match=r"metadata\.json is not valid JSON"):
        load(cache=folder)
    (folder / "metadata.json").write_text(json.dumps({"ids": [1.5] * 40}))
    with pytest.raises(BadData, match="'ids' is no list of texts"):
        load(cache=folder)


def test_a_cache_whose_clips_have_several_vectors_or_whose_ids_repeat(tmp_path):
    folder = made.cache(tmp_path / "development")

    def other(x):
        x[7] += 1
        return x

    change(folder, audio=other)
    with pytest.raises(
        BadData, match=r"the vectors of 1 clips differ from caption to caption, such as those of rows 6 and 8"
    ):
        load(cache=folder)
    made.cache(folder, ids=["x0.wav#1"] * 40)
    with pytest.raises(BadData, match="39 ids stand twice, such as 'x0.wav#1'"):
        load(cache=folder)


def test_a_cache_with_nan_is_refused_by_row_and_id_or_left_out(tmp_path):
    folder = made.cache(tmp_path / "development")

    def nan(x):
        x[11, 0] = np.nan
        return x

    change(folder, text=nan)
    with pytest.raises(
        BadData, match=r"text_embeddings\.pt: 1 of 40 vectors hold NaN, infinity or only zeros \(row 12 'x2\.wav#2'\)"
    ):
        load(cache=folder)
    data = load("skip", cache=folder)
    assert len(data.right) == 39 and "x2.wav#2" not in data.right.ids and data.notes["captions_left_out"] == 1


def test_a_cache_that_is_no_tensor_or_half_there(tmp_path):
    import torch

    folder = made.cache(tmp_path / "development")
    torch.save({"a": torch.ones(2, 2)}, folder / "audio_embeddings.pt")
    with pytest.raises(BadData, match="holds a dict; expected one tensor"):
        load(cache=folder)
    torch.save(torch.ones(40), folder / "audio_embeddings.pt")
    with pytest.raises(BadData, match=r"has shape \[40\] of float32; expected vectors \[p, d\]"):
        load(cache=folder)
    (folder / "text_embeddings.pt").unlink()
    with pytest.raises(Exception, match="no cache there; .* has only one of them"):
        load(cache=folder)
    made.cache(tmp_path / "all" / "mine")
    made.cache(tmp_path / "all" / "validation")
    with pytest.raises(BadData, match="of several caches each is a split, and 'mine' names none; rename the folder"):
        load(cache=tmp_path / "all")
    made.cache(tmp_path / "two" / "development")
    made.cache(tmp_path / "two" / "validation", dim=7)
    with pytest.raises(BadData, match="the vectors of the media are of 6 and 7 numbers; they must be of one encoder"):
        load(cache=tmp_path / "two")


def test_a_sound_of_two_channels_and_another_rate_is_no_fault(corpus):
    folder, rows = corpus
    soundfile.write(folder / "wav" / "s0.wav", np.zeros((2000, 2)) + 0.1, 8000)
    data = load(root=folder / "wav", table=made.table(folder / "t.csv", rows))
    assert data.left.meta["duration"][0] == 0.25 and len(data.left) == 6
