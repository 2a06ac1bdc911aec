"""Data sets of the Hugging Face Hub and saved ones, and files that cells hold themselves."""

import json
import os
import subprocess
import sys
import textwrap

import fake_datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensorium import parts
from sensorium.datasets import _hub_data
from sensorium.errors import BadData, BadRecipe, MissingExtra
from sensorium.modalities.image.files import png


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "cache" / "sensorium" / "files"


def load(**keys):
    return parts.make("datasets", {"name": "table", "left": "image", "right": "caption", **keys}, "data").load()


def pictures(n):
    return [{"bytes": png(np.full((4, 4), 20 * i + 1, np.uint8)), "path": f"{i}.png"} for i in range(n)]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("hf://owner/data", ("owner/data", None, None, None)),
        ("hf://owner/data@v1:small/train", ("owner/data", "v1", "small", "train")),
        ("hf://owner/data/train[:10%]", ("owner/data", None, None, "train[:10%]")),
        ("hf://mnist", ("mnist", None, None, None)),
    ],
)
def test_an_address_names_revision_configuration_and_split(address, said):
    assert tuple(_hub_data.parsed(address).values()) == said


def test_an_address_without_a_name_is_refused():
    with pytest.raises(BadRecipe, match=r"hf:// names no data set; expected hf://owner/name\[@revision\]"):
        _hub_data.parsed("hf://")


def test_without_the_package_the_line_that_installs_it_is_shown(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"'datasets' is not installed; type: pip install 'sensorium\[hub-data\]'"):
        load(file="hf://owner/data")


def test_remote_tables_and_columns_of_the_hub_without_a_file_are_refused():
    with pytest.raises(BadRecipe, match=r"https://x\.org/a\.csv is remote; tables are not fetched"):
        load(file="https://x.org/a.csv")
    with pytest.raises(BadRecipe, match=r"name a data set of the Hub by data\.file=hf://"):
        load(left="hf://owner/data:image")


def test_files_within_cells_are_written_once_and_read_as_files(tmp_path, cache):
    table = pa.table({"image": [*pictures(4), pictures(1)[0]], "caption": list("abcde")})
    pq.write_table(table, tmp_path / "t.parquet")
    data = load(file=str(tmp_path / "t.parquet"))
    assert data.left.kind == "image" and data.left.name == "image" and data.left.ids.tolist() == ["0.png", "1.png", "2.png",
                                                                                                "3.png"]  # fmt: skip
    assert len(data.pairs) == 5 and len(np.unique(data.pairs.group)) == 4
    written = sorted(cache.rglob("*.png"))
    assert len(written) == 4 and {str(path) for path in written} == set(data.left.values)
    before = [path.stat().st_mtime_ns for path in written]
    load(file=str(tmp_path / "t.parquet"))
    assert [path.stat().st_mtime_ns for path in written] == before


def test_cells_of_other_objects_are_refused(tmp_path):
    pq.write_table(pa.table({"image": [{"x": 1}, {"x": 2}], "caption": list("ab")}), tmp_path / "t.parquet")
    with pytest.raises(
        BadData, match=r"'image' of t\.parquet holds objects that are no files; expected bytes and path"
    ):
        load(file=str(tmp_path / "t.parquet"))


@pytest.fixture
def datasets():
    pytest.importorskip("datasets.load", reason="to run this, type: pip install 'sensorium[hub-data]'")
    import datasets

    return datasets


def test_saved_data_sets_with_splits_classes_and_pictures(tmp_path, datasets):
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string"),
                                  "label": datasets.ClassLabel(names=["cat", "dog"])})  # fmt: skip
    parts_ = {
        split: datasets.Dataset.from_dict(
            {"image": pictures(4)[at : at + 2], "caption": [f"{split} {i}" for i in range(2)], "label": [0, 1]},
            features=features,
        )
        for at, split in enumerate(("train", "validation", "test"))
    }
    parts_["train"].save_to_disk(tmp_path / "one")
    datasets.DatasetDict(parts_).save_to_disk(tmp_path / "all")
    one = _hub_data.read_saved(tmp_path / "one")
    assert one["label"].tolist() == ["cat", "dog"] and "split" not in one
    data = load(file=str(tmp_path / "all"), label="")
    assert sorted(data.pairs.split.tolist()) == ["test"] * 2 + ["train"] * 2 + ["validation"] * 2
    assert data.left.kind == "image" and data.right.meta["label"].tolist() == ["cat", "dog"] * 3


def test_a_data_set_that_is_nowhere_says_so(datasets, monkeypatch):
    monkeypatch.setattr(
        "datasets.load.load_dataset", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("no route"))
    )
    with pytest.raises(
        BadData, match=r"hf://owner/none cannot be loaded \(ConnectionError: no route\); correct the name"
    ):
        load(file="hf://owner/none")


def test_a_damaged_saved_data_set_says_so(tmp_path, datasets):
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(BadData, match=r"cannot be read as a saved data set \("):
        load(file=str(tmp_path))


def test_a_data_set_of_the_hub_with_its_splits_or_one_of_them(tmp_path, datasets):
    files = {"README.md": b"# pictures\n"}
    features = {"image": {"_type": "Image"}, "caption": {"dtype": "string", "_type": "Value"}}
    for at, split in enumerate(("train", "validation", "test")):
        table = pa.table({"image": pictures(6)[2 * at : 2 * at + 2], "caption": [f"{split} {i}" for i in range(2)]})
        about = {"huggingface": json.dumps({"info": {"features": features}})}
        pq.write_table(table.replace_schema_metadata(about), tmp_path / "t.parquet")
        files[f"data/{split}-00000-of-00001.parquet"] = (tmp_path / "t.parquet").read_bytes()
    code = textwrap.dedent("""
        from sensorium.datasets._hub_data import read
        from sensorium.datasets.table import Table
        from sensorium.errors import BadData
        data = Table("hf://owner/pictures", left="image", right="caption").load()
        print(*data.pairs.split, *data.left.ids)
        print(*read("hf://owner/pictures@main/test")["caption"])
        for name in ("pictures/tset", "nothing"):
            try:
                read(f"hf://owner/{name}")
            except BadData as error:
                print(error)
    """)
    with fake_datasets.hub("owner/pictures", files) as address:
        env = {**os.environ, "HF_ENDPOINT": address, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "train train validation validation test test 0.png 1.png 2.png 3.png 4.png 5.png"
    assert lines[1] == "test 0 test 1"
    assert 'Unknown split "tset"' in lines[2] and lines[3].startswith("hf://owner/nothing cannot be loaded (")
