"""data=clotho and data=audiocaps: the folders people have, the doubled file names, splits, and the download."""

import hashlib
import io
import json
from collections import Counter

import made_captions as made
import numpy as np
import pytest
from file_server import Server
from typer.testing import CliRunner

from sensorium import parts
from sensorium.cli import app
from sensorium.datasets import _clotho_download, _clotho_lists
from sensorium.errors import BadData, BadRecipe, Corrupt

COUNTS = {"development": 3839, "validation": 1045, "evaluation": 1045}
DOUBLED = {"City Ambience w_ Car Passing_1-2.wav", "FREEZER_DOOR_OPEN_CLOSE.wav",
           "01 A pug struggles to breathe 1_14_2008.wav", "Bus(Drive_Reverse)_1-2.wav"}  # fmt: skip


def load(name="clotho", **keys):
    return parts.make(
        "datasets", {"name": name, **{k: str(v) if k in ("root", "cache") else v for k, v in keys.items()}}, "data"
    ).load()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.mark.parametrize("flat", [False, True], ids=["its own folders", "flat, a caption a row"])
@pytest.mark.parametrize("inner", ["", "CLOTHO_v2.1"])
def test_both_layouts_give_split_and_name_as_ids_and_the_official_splits(tmp_path, flat, inner):
    made.clotho(tmp_path / inner, flat)
    data = load(root=tmp_path)
    ids = data.left.ids.tolist()
    assert len(ids) == 19 and ids[0] == "development/s0.wav"
    assert {id for id in ids if id.endswith("twice.wav")} == {f"{split}/twice.wav" for split in made.CLOTHO}
    assert len(set(data.left.values)) == 19 and (data.left.name, data.right.name) == ("sound", "caption")
    assert data.right.ids[:2].tolist() == ["development/s0.wav#1", "development/s0.wav#2"]
    splits = [
        dict.fromkeys(ids[i].partition("/")[0] for i in data.pairs.where(s).left)
        for s in ("train", "validation", "test")
    ]
    assert [list(one) for one in splits] == [["development"], ["validation"], ["evaluation"]]
    expected = [text.capitalize() if flat else text for at in range(19) for text in made.captions(at)]
    assert list(data.right.values) == expected and np.bincount(data.pairs.left).tolist() == [5] * 19


def test_the_file_names_of_one_layout_find_the_files_of_the_other(tmp_path):
    """The flat lists have lost the space with which some names begin."""
    made.clotho(tmp_path, flat=True)
    (tmp_path / "development" / "s0.wav").rename(tmp_path / "development" / " s0.wav")
    data = load(root=tmp_path)
    assert data.left.ids[0] == "development/s0.wav" and data.left.values[0].endswith("development/ s0.wav")


def test_a_split_without_sounds_says_what_to_type_and_a_missing_list_leaves_it_out(tmp_path):
    made.clotho(tmp_path)
    (tmp_path / "clotho_audio_files" / "validation").rename(tmp_path / "elsewhere")
    with pytest.raises(BadData, match=r"no folder .*validation with the sounds of clotho_captions_validation\.csv; type: "
                                      "sensorium download clotho data.root="):  # fmt: skip
        load(root=tmp_path)
    (tmp_path / "clotho_csv_files" / "clotho_captions_validation.csv").unlink()
    data = load(root=tmp_path)
    assert len(data.left) == 15 and set(data.pairs.split.tolist()) == {"train", "test"}
    (tmp_path / "clotho_csv_files" / "clotho_captions_evaluation.csv").unlink()
    assert set(load(root=tmp_path).pairs.split.tolist()) == {""}  # one split is no division: all are drawn
    with pytest.raises(BadRecipe, match="holds no captions of Clotho .* type: sensorium download clotho data.root="):
        load(root=tmp_path / "elsewhere")
    with pytest.raises(BadRecipe, match=r"no data\.root; type: data\.root=FOLDER with Clotho, or data\.cache=FOLDER"):
        load()


def test_development_and_validation_alone_draw_the_test_from_the_training_sounds(tmp_path):
    made.clotho(tmp_path)
    (tmp_path / "clotho_csv_files" / "clotho_captions_evaluation.csv").unlink()
    data = load(root=tmp_path, test=3)
    of = dict(zip(data.pairs.left.tolist(), data.pairs.split.tolist(), strict=True))
    assert sorted(of.values()).count("test") == 3 and sorted(of.values()).count("validation") == 4
    assert len(np.unique(np.stack([data.pairs.left.astype(str), data.pairs.split], 1), axis=0)) == len(of)


def archives(server, monkeypatch, tmp_path):
    """Archives as those of the record, of a made corpus, on the server; their checksums are made the published ones."""
    py7zr = pytest.importorskip("py7zr", reason="to run this, type: pip install 'sensorium[clotho]'")
    root = made.clotho(tmp_path / "publisher")
    for split in made.CLOTHO:
        csv, sounds = _clotho_download.CAPTIONS[split], _clotho_download.SOUNDS[split]
        packed = io.BytesIO()
        with py7zr.SevenZipFile(packed, "w") as archive:
            archive.writeall(root / "clotho_audio_files" / split, split)
        server.files[sounds.name] = packed.getvalue()
        server.files[csv.name] = (root / "clotho_csv_files" / csv.name).read_bytes()
        for table, one in ((_clotho_download.CAPTIONS, csv), (_clotho_download.SOUNDS, sounds)):
            digest = "md5:" + hashlib.md5(server.files[one.name]).hexdigest()
            monkeypatch.setitem(table, split, one._replace(checksum=digest))


def test_the_verb_download_fetches_goes_on_verifies_and_unpacks(server, tmp_path, monkeypatch):
    archives(server, monkeypatch, tmp_path)
    server.breaks, server.break_after = 2, 3000
    words = ["download", "clotho", f"data.root={tmp_path / 'to'}", f"data.mirror={server.url}", "--json"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    folders = [json.loads(line)["folder"] for line in done.stdout.splitlines()]
    assert folders == [str(tmp_path / "to" / "clotho_audio_files" / split) for split in made.CLOTHO]
    data, asked = load(root=tmp_path / "to"), len(server.asked)
    assert len(data.left) == 19 and len(data.right) == 95
    assert not list((tmp_path / "to").rglob("*.7z")) and not list((tmp_path / "to").rglob("*.part"))
    assert len(load(root=tmp_path / "to", download=True, mirror=server.url).left) == 19
    assert len(server.asked) == asked  # what is there is left alone


def test_a_download_that_is_cut_short_or_tampered_with_leaves_nothing_half(server, tmp_path, monkeypatch):
    archives(server, monkeypatch, tmp_path)
    sounds = _clotho_download.SOUNDS["development"].name
    whole = server.files[sounds]
    server.files[sounds] = whole[:-1] + bytes([whole[-1] ^ 1])
    with pytest.raises(Corrupt, match="checksum md5:.*expected md5:.*data.mirror=URL"):
        _clotho_download.obtain(tmp_path / "to", server.url, wait=0.001)
    assert not (tmp_path / "to" / "clotho_audio_files").exists()
    server.files[sounds], server.breaks, server.break_after = whole, 99, 0
    with pytest.raises(BadData, match="run again: it goes on where it stopped"):
        _clotho_download.obtain(tmp_path / "to", server.url, wait=0.001)
    server.breaks = 0
    assert len(_clotho_download.obtain(tmp_path / "to", server.url, wait=0.001)) == 3
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadData, match="is a file; type: data.root=FOLDER to fetch into"):
        _clotho_download.obtain(tmp_path / "file", server.url)
    with pytest.raises(BadRecipe, match="type: sensorium download clotho data.root=FOLDER"):
        CliRunner().invoke(app, ["download", "clotho"], catch_exceptions=False)


def test_the_real_lists_of_both_layouts_have_every_clip_with_five_captions(shared_data, tmp_path):
    import tarfile

    with tarfile.open(shared_data / "clotho-captions.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / "clotho"
    seen: dict[str, set[str]] = {}
    for layout in ("clotho_captions_{}.csv", "{}_captions.csv"):
        for split, n in COUNTS.items():
            one = _clotho_lists.List(split, folder / layout.format(split), folder / split)
            captions = _clotho_lists.captions(one)
            names = {id.rpartition("#")[0] for id, _ in captions}
            assert len(captions) == len(dict(captions)) == 5 * n and len(names) == n
            assert all(text for _, text in captions)
            assert {id.rpartition("#")[2] for id, _ in captions} == set("12345")
            seen.setdefault(layout, set())
            assert not seen[layout] & {f"{split}/{name}" for name in names}
            seen[layout] |= {f"{split}/{name}" for name in names}
    in_splits = Counter(id.partition("/")[2] for id in seen["clotho_captions_{}.csv"])
    assert {name for name, count in in_splits.items() if count > 1} == DOUBLED
    texts = parts.make("datasets", {"name": "clotho", "root": str(folder)}, "data").texts()
    assert len(texts) == 29_645 and "validation/Bus(Drive_Reverse)_1-2.wav#5" in texts
    assert "evaluation/Bus(Drive_Reverse)_1-2.wav#5" in texts


AUDIOCAPS = [("91139", "r1nicOVtvkQ", 130), ("58146", "-UDGBjjwyaqE", 20), ("7", "abc", 30), ("8", "abd", 0)]


@pytest.mark.parametrize("named", ["{1}.wav", "Y{1}.wav", "{1}_{2}.wav", "{0}.wav", "Y{1}_{2}_{3}.wav"])
def test_audiocaps_finds_the_sounds_by_every_name_that_people_give_them(tmp_path, named):
    rows = {"train": AUDIOCAPS[:2], "val": AUDIOCAPS[2:3], "test": AUDIOCAPS[3:]}
    at = 0
    for split, listed in rows.items():
        lines = []
        for number, id, start in listed:
            for k in range(1 if split == "train" else 5):
                lines.append(
                    {
                        "audiocap_id": int(number) + 1000 * k,
                        "youtube_id": id,
                        "start_time": start,
                        "caption": made.captions(at)[k],
                    }
                )
            made.sounds(tmp_path / split, 1, at)
            (tmp_path / split / f"s{at}.wav").rename(tmp_path / split / named.format(number, id, start, start + 10))
            at += 1
        made.table(tmp_path / "dataset" / f"{split}.csv", lines)
    data = load("audiocaps", root=tmp_path)
    assert data.left.ids.tolist() == [id for _, id, _ in AUDIOCAPS] and len(data.right) == 12
    assert data.right.ids[-1] == "abd#5" and data.right.meta["audiocap_id"].tolist()[2:4] == [7, 1007]
    assert data.pairs.split.tolist() == ["train"] * 2 + ["validation"] * 5 + ["test"] * 5
    (tmp_path / "train" / named.format(*AUDIOCAPS[0], 140)).unlink()
    with pytest.raises(BadData, match=r"1 are not there, such as 'r1nicOVtvkQ\.wav' in row 2; .*data\.bad=skip"):
        load("audiocaps", root=tmp_path)
    assert load("audiocaps", root=tmp_path, bad="skip").left.ids.tolist() == [id for _, id, _ in AUDIOCAPS[1:]]


def test_audiocaps_without_lists_or_with_other_ones_says_so(tmp_path):
    with pytest.raises(BadRecipe, match="holds no list of AudioCaps; expected train.csv"):
        load("audiocaps", root=tmp_path)
    made.table(tmp_path / "test.csv", [{"id": 1, "caption": "a"}])
    with pytest.raises(BadRecipe, match="no column 'youtube_id'"):
        load("audiocaps", root=tmp_path)
    with pytest.raises(BadRecipe, match="no data.root; type: data.root=FOLDER with train.csv"):
        load("audiocaps")
