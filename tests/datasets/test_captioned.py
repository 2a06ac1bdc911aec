"""data=captioned: tables of captioned files of every shape, and vectors; each clip once, splits by clip."""

import json

import made_captions as made
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import parts
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.image.files import png
from sensorium.types import side_names


def load(name="captioned", **keys):
    return parts.make("datasets", {"name": name, **{k: str(v) if hasattr(v, "parts") else v for k, v in keys.items()}}, "data").load()  # fmt: skip


def described(data):
    """Clip id → its captions, in order."""
    found = {}
    for clip, caption in zip(data.pairs.left.tolist(), data.pairs.right.tolist(), strict=True):
        found.setdefault(str(data.left.ids[clip]), []).append(data.right.values[caption])
    return found


@pytest.fixture
def names(tmp_path):
    return made.sounds(tmp_path / "wav", 6)


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "parquet"])
@pytest.mark.parametrize("shape", ["wide", "long", "list"])
def test_every_table_gives_each_clip_once_with_all_its_captions(tmp_path, names, ending, shape):
    rows = made.long(names) if shape == "long" else made.wide(names)
    if shape == "list":
        if ending in ("csv", "tsv"):
            rows = [{"file_name": row["file_name"], "captions": json.dumps(list(row.values())[1:])} for row in rows]
        else:
            rows = [{"file_name": row["file_name"], "captions": list(row.values())[1:]} for row in rows]
    table = made.table(tmp_path / f"t.{ending}", rows)
    data = load(root=tmp_path / "wav", table=table)
    assert side_names(data.left, data.right) == {"left": "sound", "right": "caption"}
    assert (data.left.kind, data.right.kind) == ("audio", "text")
    assert data.left.ids.tolist() == names and len(data.right) == len(data.pairs) == 30
    expected = {name: made.captions(at) for at, name in enumerate(names)}
    if shape == "long":
        expected = {name: [text.capitalize() for text in texts] for name, texts in expected.items()}
    assert described(data) == expected
    assert data.right.ids[:6].tolist() == ["s0.wav#1", "s0.wav#2", "s0.wav#3", "s0.wav#4", "s0.wav#5", "s1.wav#1"]
    assert data.right.meta["clip"].tolist() == [name for name in names for _ in range(5)]
    assert data.right.meta["number"].tolist() == [1, 2, 3, 4, 5] * 6
    assert data.right.meta["caption"].tolist() == data.right.values
    assert data.left.meta["path"].tolist() == [str(tmp_path / "wav" / name) for name in names]
    assert data.left.meta["duration"] == pytest.approx(0.25)
    assert len(np.unique(data.pairs.group)) == 6 and not (data.pairs.split != "").any()


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 4), min_size=4, max_size=12), seed=st.integers(0, 99), share=st.floats(0.1, 0.35))
def test_no_clip_has_captions_in_two_drawn_splits(tmp_path_factory, counts, seed, share):
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(seed)
    n, m = len(counts), sum(counts)
    of = rng.permutation(np.repeat(np.arange(n), counts))
    np.savez(folder / "v.npz", audio=rng.standard_normal((n, 3)), text=rng.standard_normal((m, 4)),
             id=np.array([f"c{i}" for i in range(n)]), clip=np.array([f"c{i}" for i in of]))  # fmt: skip
    data = load(file=folder / "v.npz")
    drawn = data.pairs.split_by_group({"test": share, "validation": share}, seed)
    assert len(np.unique(np.stack([drawn.left.astype(str), drawn.split], 1), axis=0)) == n
    assert sorted(np.bincount(drawn.left).tolist()) == sorted(counts)
    assert [data.left.ids[i] for i in data.pairs.left] == [f"c{i}" for i in of]
    assert all(
        id.startswith(f"{data.left.ids[i]}#") for id, i in zip(data.right.ids.tolist(), data.pairs.left, strict=True)
    )


def test_pictures_their_table_found_in_the_folder_and_its_own_split(tmp_path):
    rows = []
    for at in range(4):
        (tmp_path / f"p{at}.png").write_bytes(png(np.full((4, 4), 20 * at + 1, np.uint8)))
        rows.append({"image": f"p{at}.png", "caption_1": f"a {at}", "caption_2": f"b {at}", "price": at,
                     "split": ("train", "train", "dev", "test")[at]})  # fmt: skip
    made.table(tmp_path / "captions.csv", rows)
    data = load(root=tmp_path)
    assert side_names(data.left, data.right) == {"left": "picture", "right": "caption"} and data.left.kind == "image"
    assert data.pairs.split.tolist() == ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    assert data.left.meta["price"].tolist() == [0, 1, 2, 3] and "duration" not in data.left.meta
    assert not (load(root=tmp_path, split="").pairs.split != "").any()


def test_the_document_s_own_json_of_ids_audio_and_text(tmp_path, names):
    rows = [{"id": f"{name}#{k + 1}", "audio": str(tmp_path / "wav" / name), "text": text, "sample_rate": made.RATE}
            for at, name in enumerate(names) for k, text in enumerate(made.captions(at, 2))]  # fmt: skip
    data = load(table=made.table(tmp_path / "m.jsonl", rows))
    assert data.left.ids.tolist() == names and data.right.ids.tolist() == [row["id"] for row in rows]
    assert len(np.unique(data.pairs.group)) == len(names)


def test_a_column_of_ids_groups_and_columns_of_captions_that_differ(tmp_path, names):
    rows = [{"sound": name, "id": f"clip{at}", "text": text, "rater": k, "place": f"p{at // 2}"}
            for at, name in enumerate(names) for k, text in enumerate(made.captions(at, 2))]  # fmt: skip
    data = load(root=tmp_path / "wav", table=made.table(tmp_path / "t.csv", rows), group="place")
    assert data.left.ids.tolist() == [f"clip{at}" for at in range(6)] and data.right.ids[1] == "clip0#2"
    assert len(np.unique(data.pairs.group)) == 3 and data.left.meta["place"].tolist() == [
        "p0",
        "p0",
        "p1",
        "p1",
        "p2",
        "p2",
    ]
    assert data.right.meta["rater"].tolist() == [0, 1] * 6 and data.left.meta["rater"].tolist() == [[0, 1]] * 6


def test_files_that_moved_are_found_by_their_name_and_equal_contents_are_one_group(tmp_path, names):
    (tmp_path / "wav" / "deep").mkdir()
    (tmp_path / "wav" / names[0]).rename(tmp_path / "wav" / "deep" / names[0])
    (tmp_path / "wav" / names[1]).write_bytes((tmp_path / "wav" / names[2]).read_bytes())
    rows = made.wide(names)
    rows[0]["file_name"] = f"/old/machine/{names[0]}"
    data = load(root=tmp_path / "wav", table=made.table(tmp_path / "t.csv", rows))
    assert data.left.values[0] == str(tmp_path / "wav" / "deep" / names[0])
    group = dict(zip(data.pairs.left.tolist(), data.pairs.group.tolist(), strict=True))
    assert group[1] == group[2] and len(set(group.values())) == 5
    assert data.notes["files_of_equal_content"] == 1


def test_vectors_of_n_c_d_keep_their_captions_ids_and_split(tmp_path):
    rng = np.random.default_rng(0)
    text = rng.standard_normal((4, 3, 5))
    text[1, 2] = 0
    captions = np.array([[f"{i} {k}" for k in range(3)] for i in range(4)])
    np.savez(tmp_path / "v.npz", image=rng.standard_normal((4, 6)), text=text, names=np.array(list("abcd")),
             captions=captions, split=np.array(["train", "train", "dev", "test"]))  # fmt: skip
    data = load(file=tmp_path / "v.npz")
    assert side_names(data.left, data.right) == {"left": "picture", "right": "caption"}
    assert data.left.ids.tolist() == list("abcd") and len(data.right) == 11 and "b#3" not in data.right.ids
    assert data.right.meta["caption"].tolist() == [c for c in captions.ravel() if c != "1 2"]
    assert np.array_equal(data.right.values, text.reshape(12, 5)[[i for i in range(12) if i != 5]].astype(np.float32))
    assert data.pairs.split.tolist() == ["train"] * 5 + ["validation"] * 3 + ["test"] * 3


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "no data.root; type: data.root=FOLDER data.table=TABLE"),
        ({"root": "wav"}, "holds no table; type: data.table=TABLE"),
        ({"root": "wav", "table": "t.csv", "caption": "words"}, "data.caption=words: .*no column 'words'"),
        ({"root": "wav", "table": "t.csv", "path": "fil"}, "data.path=fil: t.csv has no column .fil.; known: caption_1"),
        ({"table": "t.csv", "file": "v.npz"}, "data.table and data.file are given"),
        ({"table": "t.csv", "kind": "video"}, "data.kind='video'; expected auto, audio, image"),
        ({"table": "t.csv", "bad": "error"}, "data.bad='error'; expected stop or skip"),
        ({"cache": "wav"}, "no cache there; expected a folder with audio_embeddings.pt and text_embeddings.pt"),
    ],
)  # fmt: skip
def test_keys_that_name_nothing_say_what_to_type(tmp_path, names, monkeypatch, keys, said):
    monkeypatch.chdir(tmp_path)
    made.table(tmp_path / "t.csv", made.wide(names))
    with pytest.raises(BadRecipe, match=said):
        load(**keys)


def test_several_tables_and_columns_without_usual_names_say_what_to_type(tmp_path):
    made.table(tmp_path / "a.csv", [{"x": "s.wav", "y": "a sound"}])
    with pytest.raises(
        BadRecipe, match=r"no column of files that is known by its name; type: data\.path=COLUMN \(x, y\)"
    ):
        load(root=tmp_path)
    made.table(tmp_path / "b.csv", [{"x": "s.wav"}])
    with pytest.raises(BadRecipe, match=r"holds several tables \(a\.csv, b\.csv\); type: data\.table=TABLE"):
        load(root=tmp_path)
    with pytest.raises(BadData, match="names no sounds and no pictures by their endings, such as 'a'"):
        load(root=tmp_path, table=made.table(tmp_path / "c.csv", [{"file": "a", "caption": "b"}]))
