"""What is written is read back equal: every format, any text, numbers as numbers; names and formulas do no harm."""

import csv
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import formats, store
from sensorium.errors import BadData, BadRecipe
from sensorium.store import exporting, importing

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.sampled_from(
    [
        "\r",
        "a\r\nb",
        "\n",
        '"',
        ',"x"',
        "'=1",
        "=SUM(A1)",
        "''@x",
        "-",
        "\t",
        "007",
        "nan",
        "None",
        "true",
        " ",
        "é" * 300,
    ]
)
COLUMNS = {
    "text": TEXT,
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=True, allow_infinity=True),
    "boolean": st.booleans(),
}
ALL = [name for name, one in formats.known().items() if one.write is not None and one.holds == "embeddings"]
#: Those of one system, of float32 vectors alone: tests/systems/test_outfit_formats.py and test_emorag_formats.py.
OF_SYSTEMS = ["emorag-clips", "emorag-texts", "fashion-index"]
WRITTEN = [name for name in ALL if name not in OF_SYSTEMS]  # which keep type and columns


def test_every_format_that_is_written_is_here():
    assert sorted(ALL) == sorted([*OF_SYSTEMS, "clip-retrieval", "npy", "npz", "parquet", "pt"])


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(["float16", "float32", "float64"]))
@pytest.mark.parametrize("kind", [*WRITTEN, "one.npy"])
def test_a_store_comes_back_equal(tmp_path_factory, kind, data, dtype):
    folder = tmp_path_factory.mktemp("r")
    n = data.draw(st.integers(1, 5))
    ids = data.draw(st.lists(TEXT.filter(lambda t: t and t == t.strip("\0")), min_size=n, max_size=n, unique=True))
    names = data.draw(
        st.lists(st.sampled_from(["who", "year", "=x", "a b", "é", "ids.x", "path"]), unique=True, max_size=3)
    )
    meta = {name: np.array(data.draw(st.lists(COLUMNS[what], min_size=n, max_size=n)))
            for name in names for what in [data.draw(st.sampled_from(sorted(COLUMNS)))]}  # fmt: skip
    vectors = np.random.default_rng(n).normal(size=(n, 3)).astype(dtype)
    store.append(folder / "s", ids, vectors, {"name": "toy"}, meta)
    before = store.open(folder / "s")
    verb, out = (kind, folder / "out") if kind in WRITTEN else ("npy", folder / "one.npy")
    files = exporting.export(verb, folder / "s", out)["files"]
    importing.import_(verb, out if out.exists() else files[0], folder / "t")
    after = store.open(folder / "t")
    assert after.ids.tolist() == before.ids.tolist()
    assert after.vectors.dtype == before.vectors.dtype and np.array_equal(after.vectors[:], before.vectors[:])
    assert list(after.meta) == list(before.meta)
    for name in before.meta:
        assert after.meta[name].dtype.kind == before.meta[name].dtype.kind, name
        np.testing.assert_array_equal(after.meta[name], before.meta[name], err_msg=name)
    shutil.rmtree(folder)


@pytest.fixture
def toy(tmp_path):
    meta = {"id": ["x", "y"], "image_path": [1, 2], "offsets": [0, 1]}
    store.append(tmp_path / "s", ["a", "b"], np.eye(2, dtype=np.float32), {"name": "toy"}, meta)
    return tmp_path / "s"


@pytest.mark.parametrize(
    ("kind", "options"),
    [("npz", {}), ("parquet", {"ids": "names"}), ("clip-retrieval", {"ids": "names"}), ("pt", {})],
)
def test_metadata_with_the_names_of_ids_stays_metadata(tmp_path, toy, kind, options):
    if kind == "npz":
        options = {"ids": "names", "key": "x"}
    made = exporting.export(kind, toy, tmp_path / "out", **options)
    path = tmp_path / "out" if (tmp_path / "out").exists() else made["files"][0]
    more = {"ids": "names"} if kind == "clip-retrieval" else {}
    importing.import_(kind, path, tmp_path / "t", **more)
    found = store.open(tmp_path / "t")
    assert found.ids.tolist() == ["a", "b"]
    assert {n: found.meta[n].tolist() for n in found.meta} == {
        "id": ["x", "y"],
        "image_path": [1, 2],
        "offsets": [0, 1],
    }


def test_names_that_clash_are_refused(tmp_path, toy):
    for kind, message in (
        ("npy", "a metadata column is called 'id', as the ids in metadata.csv are"),
        ("parquet", "'vector' or 'id' is also a metadata column; choose other names"),
        ("clip-retrieval", "'image_path' is also a metadata column; choose another name for the ids: ids=NAME"),
    ):
        with pytest.raises((BadData, BadRecipe), match=message):
            exporting.export(kind, toy, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("name", ["../up", "/root", "a\\b", "..", "c:x"])
def test_no_member_of_an_archive_leads_outside(tmp_path, name):
    store.append(tmp_path / "s", ["a"], np.ones((1, 2), np.float32), {"name": "toy"}, {name: ["x"]})
    for options in ({}, {"key": name, "ids": "i"}):
        with pytest.raises(BadRecipe, match="cannot be the name of a file in an archive|is also a metadata column"):
            exporting.export("npz", tmp_path / "s", tmp_path / "a.npz", **options)
    store.append(tmp_path / "t", ["a"], np.ones((1, 2), np.float32), {"name": "toy"})
    with pytest.raises(BadRecipe, match="cannot be the name of a file in an archive"):
        exporting.export("npz", tmp_path / "t", tmp_path / "a.npz", key=name)
    assert not (tmp_path / "a.npz").exists()


def test_spreadsheets_run_nothing_of_an_export(tmp_path):
    hostile = ["=HYPERLINK(1)", "+1", "-1+2", "@x", "\tx", "\rx", "'=1", "'plain", "plain"]
    ids = [f"={i}" for i in range(len(hostile))]
    store.append(tmp_path / "s", ids, np.eye(9, dtype=np.float32), {"name": "toy"}, {"=t": hostile, "n": range(-9, 0)})
    exporting.export("npy", tmp_path / "s", tmp_path / "out")
    with open(tmp_path / "out/metadata.csv", newline="") as file:
        cells = list(csv.reader(file))
    texts = [cell for row in cells for cell in (row[0], row[1])]
    assert not [text for text in texts if text[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert [row[2] for row in cells[1:]] == [str(n) for n in range(-9, 0)]  # numbers stay numbers
    importing.import_("npy", tmp_path / "out", tmp_path / "t")
    back = store.open(tmp_path / "t")
    assert back.ids.tolist() == ids and back.meta["=t"].tolist() == hostile and back.meta["n"].dtype.kind == "i"


def test_other_tools_read_our_files(tmp_path):
    long = ["x" * 60_000, *["short"] * 1999]
    store.append(tmp_path / "s", range(2000), np.ones((2000, 2), np.float32), {"name": "toy"}, {"caption": long})
    exporting.export("npz", tmp_path / "s", tmp_path / "a.npz")
    assert (tmp_path / "a.npz").stat().st_size < 4_000_000  # and not 2,000 times the longest
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file["caption"][0] == long[0] and file["ids"][7] == "7"
