"""Ids and columns in files beside an array: read as people's tools write them, or refused with file, row and remedy."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensorium import formats, store
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.store import importing

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
IDS = ["a", "b", "ç"]


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "embeddings.npy", X)
    (tmp_path / "ids.json").write_text(json.dumps(IDS))
    return tmp_path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_csv_of_every_unicode_encoding(folder, encoding):
    text = 'filename,caption\r\nç,"x, ""y""\r\nz"\r\na,é\r\n'
    (folder / "metadata.csv").write_bytes(text.encode(encoding))
    found = formats.read(folder)
    assert found["caption"].tolist() == ["é", None, 'x, "y"\r\nz']


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "id,caption\na,café".encode("cp1252"),
            r"metadata.csv is not UTF-8 \(line 2, byte 0xe9\); save it as 'CSV UTF-8'",
        ),
        (b"", r"metadata.csv is empty; correct it, or move it away"),
        (b"name,caption\na,b", r"metadata.csv has no column 'id' to join it by \(it has name, caption\); rename one"),
        (b"id,caption\na,b\na,c", r"metadata.csv has two lines for the id 'a'"),
        (b"id,caption,caption\na,b,c", r"metadata.csv has two columns called 'caption'; rename one"),
        (b"id,caption\na,b,c", r"metadata.csv: row 2 has 3 cells, the header 2; quote cells that hold commas"),
        (b"id,ids\na,b", r"embeddings.npy and the files beside it have two columns called 'ids'; rename one"),
        (b'id,caption\na,"b', r"metadata.csv cannot be read \(unexpected end of data\)"),
    ],
)
def test_csv_that_cannot_be_used(folder, content, message):
    (folder / "metadata.csv").write_bytes(content)
    with pytest.raises(BadData, match=message):
        formats.read(folder)


def test_a_field_may_be_longer_than_the_csv_module_allows(folder):
    import csv

    (folder / "metadata.csv").write_text("id,caption\na," + "x" * 200_000)
    before = csv.field_size_limit()
    assert len(formats.read(folder)["caption"][0]) == 200_000 and csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["a", "b"]', r"ids.json has 2 ids for the 3 rows of embeddings.npy"),
        ('["a", null, 1.5]', r"ids.json: 2 of 3 ids are neither text nor whole numbers, such as null in row 1"),
        ('[{"id": "a"}, "b", "c"]', r"ids.json: 2 of 3 rows are no objects with an 'id', such as row 1"),
        ('{"a": 0}', r"ids.json holds no list of ids"),
        ("[" * 5000, r"ids.json is not valid JSON"),
        ('["\\ud835", "b", "c"]', r"ids.json:ids: row 0 holds half a surrogate pair"),
        ('{"ids": ["a", "b", "c"], "columns": []}', r"ids.json: columns and types are no objects"),
        ('{"ids": ["a", "b", "c"], "columns": {"y": [1]}}', r"ids.json: column 'y' has 1 values for 3 ids"),
        ('{"ids": ["a", "b", "c"], "columns": {"y": [1, 2, "x"]}, "types": {"y": "int64"}}',
         r"ids.json:y does not hold int64 values"),
    ],
)  # fmt: skip
def test_json_that_cannot_be_used(folder, content, message):
    (folder / "ids.json").write_text(content)
    with pytest.raises(BadData, match=message):
        found = formats.read(folder)
        [found[name] for name in found]


def test_records_are_ids_and_columns(folder):
    rows = [{"id": 7, "caption": "x", "year": 1}, {"id": "b", "year": None}, {"id": "c", "year": 3, "tags": ["t"]}]
    (folder / "ids.json").write_text(json.dumps(rows))
    found = formats.read(folder)
    assert found["ids"].tolist() == ["7", "b", "c"] and found["caption"].tolist() == ["x", None, None]
    assert found["tags"].tolist() == [None, None, ["t"]]
    np.testing.assert_array_equal(found["year"], [1, np.nan, 3])


def test_damaged_types_are_named(folder):
    (folder / "metadata.csv").write_text("id,year\na,x\n")
    for content, message in (
        ("[", "metadata.types.json is not valid JSON"),
        ('{"types": 3}', "metadata.types.json holds no types of columns"),
        ('{"types": {"year": "int64"}}', "metadata.csv:year does not hold int64 values"),
        ('{"types": {"year": "bool"}}', "metadata.csv:year does not hold bool values"),
        ('{"types": {"year": "int65"}}', "metadata.csv:year does not hold int65 values"),
    ):
        (folder / "metadata.types.json").write_text(content)
        with pytest.raises((BadData, Corrupt), match=message):
            formats.read(folder)["year"]


def clips(folder, arrays, tables):
    for name, array in arrays.items():
        path = folder / name.rpartition("_")[0] / f"{name}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, array)
    for number, table in tables.items():
        pq.write_table(pa.table(table), folder / f"metadata_{number}.parquet")


P = {"image_path": IDS}


@pytest.mark.parametrize(
    ("arrays", "tables", "message"),
    [
        ({"img_emb_0": X, "img_emb_1": X}, {0: {**P, "caption": IDS}, 1: P},
         r"metadata_0.parquet has 'caption', metadata_1.parquet lacks it; add it, or remove it from all"),
        ({"img_emb_0": X, "img_emb_1": X[:, :2]}, {0: P, 1: P},
         r"img_emb_1.npy is float32 \(3, 2\), img_emb_0.npy float32 \(3, 4\); expected \[n, d\] of one width"),
        ({"img_emb_0": X, "img_emb_1": X}, {0: P}, r"parts \[0, 1\] of vectors, but \[0\] of metadata; restore"),
        ({"img_emb_0": X, "text_emb_1": X}, {}, r"parts \[0\] of img_emb, but \[1\] of text_emb; restore the missing"),
        ({"img_emb_0": X, "img_emb_1": X}, {0: {"image_path": IDS * 2}, 1: {"image_path": []}},
         r"part 0 has 3 rows of img_emb, 6 of metadata; restore the right files"),
        ({"img_emb_0": X, "img_emb_1": X}, {0: {**P, "y": [1, 2, 3]}, 1: {**P, "y": IDS}},
         r"column 'y' holds int64, object in different parts of the metadata; save them alike"),
        ({"img_emb_0": X}, {0: {**P, "img_emb": IDS}}, r"the metadata has a column 'img_emb', as the vectors are called"),
    ],
)  # fmt: skip
def test_clip_retrieval_parts_must_go_together(tmp_path, arrays, tables, message):
    clips(tmp_path, arrays, tables)
    with pytest.raises(BadData, match=message):
        importing.import_("clip-retrieval", tmp_path, tmp_path / "out", key="img_emb")
    assert not (tmp_path / "out").exists()


def test_clip_retrieval_of_sounds_alone(tmp_path):
    clips(tmp_path, {"audio_emb_0": X}, {0: P})
    assert importing.import_("clip-retrieval", tmp_path, tmp_path / "out")["key"] == "audio_emb"
    assert store.open(tmp_path / "out").ids.tolist() == IDS


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_ids_must_be_one_for_each_row(tmp_path, kind):
    ids = [f"i{k}" for k in range(39)]
    x = np.ones((40, 2), np.float32)
    if kind == "npz":
        np.savez(tmp_path / "a.npz", x=x, ids=np.array(ids))
        message = r"a.npz:ids has shape \[39\], not one id for each of the 40 rows; type: ids=COLUMN, or ids=rows"
    else:
        pq.write_table(pa.table({"id": [*ids, None], "x": x.tolist()}), tmp_path / "a.parquet")
        message = "a.parquet:id: 1 of 40 ids are missing"
    with pytest.raises(BadData, match=message):
        importing.import_(kind, tmp_path / f"a.{kind}", tmp_path / "s")
    assert importing.import_(kind, tmp_path / f"a.{kind}", tmp_path / "s", ids="rows", columns="none")["items"] == 40


def test_duplicate_and_encrypted_members_are_refused(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, pytest.warns(UserWarning):
        for _ in range(2):
            with archive.open("x.npy", "w") as file:
                np.save(file, X)
    with pytest.raises(BadData, match="a.npz has two arrays called 'x'; save it again"):
        formats.read(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=X)
    content = bytearray((tmp_path / "b.npz").read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(magic) + at] |= 1
    (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(BadData, match="b.npz:x is encrypted; save it again without a password"):
        formats.read(tmp_path / "b.npz")


def test_columns_can_be_chosen(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        x=X,
        ids=np.array(IDS),
        year=np.arange(3),
        odd=np.ones(3, np.complex64),
        two=np.ones((3, 2), int),
    )
    with pytest.raises(BadData, match="odd' holds complex64"):
        importing.import_("npz", tmp_path / "a.npz", tmp_path / "s", key="x")
    record = importing.import_("npz", tmp_path / "a.npz", tmp_path / "s", key="x", columns="year,two")
    assert list(store.open(tmp_path / "s").meta) == ["year"] and record["left_out"] == ["two"]
    with pytest.raises(BadRecipe, match="columns=yeer: no such column; did you mean 'year'"):
        importing.import_("npz", tmp_path / "a.npz", tmp_path / "s", key="x", columns="yeer")
