"""Corpora by their file names, and splits that keep whole speakers apart."""

from pathlib import Path

import numpy as np
import pytest

from sensorium import parts
from sensorium.datasets import cremad, emodb, ravdess, savee, tess
from sensorium.datasets._recordings import EMOTIONS
from sensorium.encoders.onehot import Onehot
from sensorium.errors import BadData, BadRecipe, SensoriumError
from sensorium.pairs import Pairs


def touch(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"sound is read later")
    return folder


def actors(folder: Path, numbers: range, suffix: str = "wav") -> Path:
    return touch(folder, [f"Actor_{a:02d}/03-01-{e:02d}-01-01-{r:02d}-{a:02d}.{suffix}"
                          for a in numbers for e in range(1, 9) for r in (1, 2)])  # fmt: skip


def load(name: str, **arguments: object) -> object:
    return parts.make("datasets", {"name": name, **arguments}).load()


@pytest.mark.parametrize(
    "parse,name,emotion,speaker,column",
    [
        (ravdess.parse, "Actor_12/03-01-06-02-01-02-12.flac", "fearful", "12", ("sex", "female")),
        (ravdess.parse, "03-02-02-01-02-01-01.wav", "calm", "1", ("channel", "song")),
        (emodb.parse, "03a01Wa.wav", "angry", "03", ("sex", "male")),
        (emodb.parse, "16b10Lb.wav", "bored", "16", ("statement", "b10")),
        (cremad.parse, "1001_DFA_ANG_XX.wav", "angry", "1001", ("intensity", "unspecified")),
        (tess.parse, "OAF_back_ps.wav", "surprised", "OAF", ("statement", "back")),
        (tess.parse, "OA_bite_neutral.wav", "neutral", "OAF", ("sex", "female")),
        (savee.parse, "JK_sa01.wav", "sad", "JK", ("statement", "01")),
        (savee.parse, "KL/su15.wav", "surprised", "KL", ("sex", "male")),
    ],
)
def test_what_names_say(parse, name: str, emotion: str, speaker: str, column: tuple[str, str]) -> None:
    found = parse(Path(name))
    assert (found.emotion, found.speaker, found.columns[column[0]]) == (emotion, speaker, column[1])


@pytest.mark.parametrize("parse", [ravdess.parse, emodb.parse, cremad.parse, tess.parse, savee.parse])
def test_other_names_say_nothing(parse) -> None:
    for name in ("", "a.wav", "03-01-06.wav", "1001_DFA_ANG.wav", "ZZ_a01.wav", "OAF_back.wav", "03a01Xa.wav"):
        assert parse(Path(name)) is None


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(BadData, match="emotion 09; RAVDESS has 01 to 08"):
        ravdess.parse(Path("03-01-09-01-01-01-01.wav"))
    with pytest.raises(BadData, match="actor 25"):
        ravdess.parse(Path("03-01-01-01-01-01-25.wav"))


def test_ravdess_by_protocol(tmp_path: Path) -> None:
    actors(tmp_path, range(1, 25), "flac")
    tested = []
    for protocol, folds in (("emobox", 6), ("five-fold", 5)):
        for fold in range(1, folds + 1):
            data = load("ravdess", root=str(tmp_path), protocol=protocol, fold=fold)
            speakers = {s: set(data.left.meta["speaker"][data.pairs.left[data.pairs.split == s]]) for s in
                        ("train", "validation", "test")}  # fmt: skip
            assert len(set.union(*speakers.values())) == sum(map(len, speakers.values())) == 24
            tested += speakers["test"]
    assert sorted(tested, key=int) == sorted([str(a) for a in range(1, 25)] * 2, key=int)  # each actor once a protocol
    assert data.right.ids.tolist() == list(EMOTIONS)
    emotion = data.left.meta["emotion"][data.pairs.left]
    assert (data.right.ids[data.pairs.right] == emotion).all()
    assert data.pairs.group_names[data.pairs.group].tolist() == data.left.meta["speaker"][data.pairs.left].tolist()


def test_ravdess_by_actors(tmp_path: Path) -> None:
    actors(tmp_path, range(1, 13))
    data = load("ravdess", root=str(tmp_path), test_actors=[11, "12"], validation_actors=[10])
    split = {a: set(data.pairs.split[data.left.meta["speaker"] == a]) for a in ("1", "10", "11", "12")}
    assert split == {"1": {"train"}, "10": {"validation"}, "11": {"test"}, "12": {"test"}}
    # validation defaults to whole training actors; actors in no list are left out
    data = load("ravdess", root=str(tmp_path), test_actors=[12], train_actors=[1, 2, 3, 4])
    assert len(data.left) == 5 * 16 and set(data.left.meta["speaker"][data.pairs.split == "validation"]) == {"4"}


def test_actors_go_by_their_numbers(tmp_path: Path) -> None:
    actors(tmp_path, range(1, 13))
    for written in ([6], ["6"], ["06"], 6, "06"):
        data = load("ravdess", root=str(tmp_path), test_actors=written)
        assert set(data.left.meta["speaker"][data.pairs.split == "test"]) == {"6"}
    touch(tmp_path / "emodb", ["03a01Fa.wav", "08a01Wa.wav", "10a02Na.wav", "11a02Na.wav"])
    data = load("emodb", root=str(tmp_path / "emodb"), test_actors=[3])
    assert data.left.meta["speaker"][data.pairs.split == "test"].tolist() == ["03"]
    with pytest.raises(BadRecipe, match=r"data.test_actors: '4' has no recording.*type data.test_actors='\["):
        load("emodb", root=str(tmp_path / "emodb"), test_actors=[4])


def test_a_clip_that_lies_there_twice_is_taken_once(tmp_path: Path) -> None:
    """As in the copy of RAVDESS that holds itself once more, and where some clips are both wav and FLAC."""
    actors(tmp_path, range(1, 5))
    actors(tmp_path / "audio_speech_actors_01-24", range(1, 5))
    actors(tmp_path / "more", range(1, 2), "flac")
    data = load("ravdess", root=str(tmp_path), test_actors=[4])
    assert len(data.left) == 4 * 16 and data.notes["repeated"] == 4 * 16 + 16
    assert {Path(value).parts[-3] for value in data.left.values} == {tmp_path.name}
    touch(tmp_path / "video", ["01-01-01-01-01-01-01.mp4", "01-01-01-01-01-01-02.mp4", "02-01-03-01-01-01-02.mp4"])
    (tmp_path / "Actor_02/03-01-01-01-01-01-02.wav").unlink()
    (tmp_path / "audio_speech_actors_01-24/Actor_02/03-01-01-01-01-01-02.wav").unlink()
    data = load("ravdess", root=str(tmp_path), test_actors=[4])
    assert len(data.left) == 4 * 16 and data.left.meta["modality"].tolist().count("full-av") == 1


def test_folders_behind_links_are_read_once(tmp_path: Path) -> None:
    actors(tmp_path / "elsewhere", range(1, 5))
    root = tmp_path / "root"
    root.mkdir()
    for actor in range(1, 5):
        (root / f"Actor_{actor:02d}").symlink_to(tmp_path / "elsewhere" / f"Actor_{actor:02d}")
    (root / "Actor_01" / "back").symlink_to(root)
    assert len(load("ravdess", root=str(root), test_actors=[4]).left) == 4 * 16
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match="no sound file below .*expected names such as 03-01-06-02-01-01-12.wav"):
        load("ravdess", root=str(tmp_path / "empty"))


def test_one_actor_left_to_train_on_validates_with_some_clips(tmp_path: Path) -> None:
    touch(
        tmp_path,
        [f"{who}_{word}_{e}.wav" for who in ("OAF", "YAF") for word in ("back", "bar") for e in ("sad", "ps", "fear")],
    )
    data = load("tess", root=str(tmp_path), test_actors=["OAF"])
    assert [data.pairs.split.tolist().count(s) for s in ("train", "validation", "test")] == [5, 1, 6]
    assert "YAF, validates too" in data.notes["warning"]


def test_some_classes_of_some_channel(tmp_path: Path) -> None:
    actors(tmp_path, range(1, 5))
    data = load("ravdess", root=str(tmp_path), test_actors=[4], classes=["sad", "angry"])
    assert data.right.ids.tolist() == ["sad", "angry"] and set(data.left.meta["emotion"]) == {"sad", "angry"}


def test_every_split_gets_a_speaker_of_a_few() -> None:
    pairs = Pairs.of(np.arange(8), np.arange(8), group=["DC", "JE", "JK", "KL"] * 2)
    split = pairs.split_by_group({"test": 0.1, "validation": 0.1}).split
    assert [split.tolist().count(s) for s in ("train", "validation", "test")] == [4, 2, 2]
    assert "validation" not in pairs.split_by_group({"test": 0.1, "validation": 0}).split


def test_a_leaky_split_says_so(tmp_path: Path) -> None:
    actors(tmp_path, range(1, 5))
    data = load("ravdess", root=str(tmp_path), protocol="leaky-random")
    test = set(data.left.meta["speaker"][data.pairs.split == "test"])
    assert test & set(data.left.meta["speaker"][data.pairs.split == "train"])
    assert "flatter" in data.notes["warning"] and data.notes["protocol"] == "leaky-random"


@pytest.mark.parametrize(
    "arguments,said",
    [
        ({"channel": "talk"}, "speech, song or both"),
        ({"protocol": "random"}, "emobox, five-fold, leaky-random"),
        ({"fold": 7}, "folds 1 to 6"),
        ({"validation_actors": [1]}, "without test_actors"),
        ({"test_actors": [30]}, "'30' has no recording; there are 1, 2, 3"),
        ({"test_actors": [1], "validation_actors": [1]}, "both in validation_actors and test_actors"),
        ({"test_actors": list(range(1, 25))}, "no actor is left to train on"),
        ({"test_actors": [1], "train_actors": [1, 2]}, "both in train_actors and test_actors"),
        ({"fold": 2.0}, "fold=2.0; expected a whole number"),
        ({"classes": ["anger"]}, "did you mean 'angry'"),
        ({"channel": "song"}, "none of"),
        ({"copies": -1}, "0 to 1000 copies"),
        ({"augment": 0}, "for none type: data.copies=0"),
        ({"augment_kinds": ["sped"]}, "did you mean 'speed'"),
    ],
)
def test_what_ravdess_refuses(tmp_path: Path, arguments: dict, said: str) -> None:
    actors(tmp_path, range(1, 25))
    with pytest.raises(SensoriumError, match=said):
        load("ravdess", root=str(tmp_path), **arguments)


def test_wrong_names_and_folders(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no folder .*data.root=FOLDER"):
        load("ravdess", root=str(tmp_path / "nowhere"))
    touch(tmp_path, ["notes.wav"])
    with pytest.raises(BadData, match="none of 1 sound files is named as in RAVDESS"):
        load("ravdess", root=str(tmp_path))
    actors(tmp_path, range(1, 25))
    with pytest.raises(BadData, match="1 of 385 sound files are not named as in RAVDESS, such as notes.wav"):
        load("ravdess", root=str(tmp_path))
    assert load("ravdess", root=str(tmp_path), allow_other=True).notes["named_otherwise"] == 1
    with pytest.raises(BadData, match="actors of 2 of 6 folds are present"):
        load("ravdess", root=str(actors(tmp_path / "few", range(1, 3))))


@pytest.mark.parametrize(
    "name,files",
    [
        ("emodb", ["03a01Fa.wav", "08a01Wa.wav", "09a02Na.wav"]),
        ("cremad", ["1001_DFA_ANG_XX.wav", "1002_DFA_HAP_HI.wav", "1003_IEO_NEU_XX.wav"]),
        ("tess", ["OAF_back_angry.wav", "YAF_back_ps.wav"]),
        ("savee", ["DC_a01.wav", "JE/h02.wav", "KL_n03.wav"]),
    ],
)
def test_other_corpora(tmp_path: Path, name: str, files: list[str]) -> None:
    data = load(name, root=str(touch(tmp_path, files)))
    assert len(data.left) == len(files) and (data.pairs.split == "").all()
    assert (data.right.ids[data.pairs.right] == data.left.meta["emotion"]).all()
    first = data.left.meta["emotion"][0]
    assert load(name, root=str(tmp_path), classes=[first]).right.ids.tolist() == [first]
    with pytest.raises(BadRecipe, match="no recording is 'joy'"):
        load(name, root=str(tmp_path), classes=["joy"])


def test_own_recordings_in_folders(tmp_path: Path) -> None:
    touch(tmp_path, ["happy/ann/1.wav", "happy/bob/2.ogg", "sad/ann/3.flac", "sad/bob/.hidden.wav", "readme.txt"])
    data = load("speech_folder", root=str(tmp_path))
    assert data.left.ids.tolist() == ["happy/ann/1.wav", "happy/bob/2.ogg", "sad/ann/3.flac"]
    assert data.left.meta["speaker"].tolist() == ["ann", "bob", "ann"]
    assert "warning" not in data.notes
    assert (
        "no speakers"
        in load("speech_folder", root=str(touch(tmp_path / "b", ["joy/1.wav", "joy/2.wav"]))).notes["warning"]
    )


def test_own_recordings_in_a_table(tmp_path: Path) -> None:
    touch(tmp_path / "clips", ["1.wav", "2.wav", "3.wav"])
    table = tmp_path / "table.csv"
    table.write_text(
        "path,emotion,speaker,split,room\n1.wav,glad,ann,train,a\n2.wav,glad,bob,dev,b\n3.wav,sad,cid,test,c\n"
    )
    data = load("speech_folder", csv=str(table), root=str(tmp_path / "clips"))
    assert data.pairs.split.tolist() == ["train", "validation", "test"]
    assert data.left.meta["room"].tolist() == ["a", "b", "c"]
    assert (
        load("speech_folder", csv=str(table), root=str(tmp_path / "clips"), test_actors=["ann"]).pairs.split.tolist()[0]
        == "test"
    )
    for text, said in (
        ("file,emotion\n", "no column 'path'"),
        ("path,emotion\n9.wav,glad\n", "1 of 1 recordings are not there, such as '9.wav'"),
        ("path,emotion\n1.wav,\n", "1 rows name no emotion, such as line 2"),
    ):
        table.write_text(text)
        with pytest.raises(BadData, match=said):
            load("speech_folder", csv=str(table), root=str(tmp_path / "clips"))
    with pytest.raises(BadRecipe, match="data.root=FOLDER or data.csv=TABLE"):
        load("speech_folder")


def test_tables_as_other_programs_write_them(tmp_path: Path) -> None:
    touch(tmp_path, ["1.wav", "2.wav", "Zoë.wav"])
    table, rows = tmp_path / "table.csv", ["1.wav,glad,ann", "2.wav, sad,bob", "Zoë.wav,glad,Zoë"]
    plain = "\n".join(["path,emotion,speaker", *rows, ""])
    for text, encoding in (
        (plain, "utf-8"),
        (plain, "utf-8-sig"),
        (plain, "utf-16"),
        (plain.replace(",", ";"), "utf-8"),
        (plain.replace(",", "\t").replace("\n", "\r\n"), "utf-8"),
        (plain.replace("path,emotion,speaker", "Path, Emotion ,SPEAKER"), "utf-8"),
    ):
        table.write_bytes(text.encode(encoding))
        data = load("speech_folder", csv=str(table))
        assert data.left.meta["emotion"].tolist() == ["glad", "sad", "glad"]
        assert data.left.meta["speaker"].tolist() == ["ann", "bob", "Zoë"]
    for content, said in (
        (plain.encode("latin-1"), "is not UTF-8 .line 4"),
        (b"", "no column 'path' .no rows."),
        (b"path,emotion\n", "a header and no rows"),
        (b"path,emotion\n1.wav,glad,ann\n", "row 2 has 3 cells, the header 2"),
    ):
        table.write_bytes(content)
        with pytest.raises(BadData, match=said):
            load("speech_folder", csv=str(table))
    table.write_text("path,emotion,split\n1.wav,glad,train\n2.wav,sad,\nZoë.wav,sad,test\n", encoding="utf-8")
    data = load("speech_folder", csv=str(table))
    assert data.pairs.split.tolist() == ["train", "test"] and data.notes["in_no_split"] == 1


def test_onehot() -> None:
    encoder = Onehot(["a", "b", "c"])
    np.testing.assert_array_equal(encoder.encode(["c", "a"]), [[0, 0, 1], [1, 0, 0]])
    assert encoder.dim == 3 and encoder.fingerprint != Onehot(["b", "a", "c"]).fingerprint
    with pytest.raises(BadData, match="'d' is none of the 3 classes"):
        encoder.encode(["d"])
    with pytest.raises(BadRecipe, match="2 or more"):
        Onehot(["a"])
    with pytest.raises(BadData, match="duplicate"):
        Onehot(["a", "a"])
