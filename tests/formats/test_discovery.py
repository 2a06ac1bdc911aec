"""A format is found by its file: listed, imported and exported with, no edit elsewhere."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import sensorium.formats
from sensorium import formats, store
from sensorium.cli import app
from sensorium.errors import BadRecipe

TOY = '''
"""Vectors as JSON lines, one item a line."""

import json

import numpy as np

from sensorium import io
from sensorium.formats import Column, Columns, Format


def read(path, scale="1"):
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    vectors = np.array([row["vector"] for row in rows], np.float32) * float(scale)
    ids = np.array([row["id"] for row in rows])
    return Columns({"vectors": Column(vectors.shape, lambda: vectors), "id": Column(ids.shape, lambda: ids)}, path)


def write(store, out, digits="6"):
    rows = zip(store.ids.tolist(), np.asarray(store.vectors[:]).tolist())
    io.write(out, "".join(json.dumps({"id": i, "vector": [round(x, int(digits)) for x in v]}) + "\\n" for i, v in rows))
    return [out]


FORMAT = Format(endings=(".toyl",), read=read, write=write,
                read_options={"scale": "factor"}, write_options={"digits": "after the point"})
'''


def call(*words):
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


@pytest.fixture
def outside(tmp_path, monkeypatch):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "toy_lines.py").write_text(TOY)
    monkeypatch.setattr(sensorium.formats, "__path__", [*sensorium.formats.__path__, str(folder)])
    yield tmp_path
    monkeypatch.delitem(__import__("sys").modules, "sensorium.formats.toy_lines", raising=False)
    vars(sensorium.formats).pop("toy_lines", None)


def test_a_format_from_outside_is_listed_imported_and_exported(outside):
    np.savez(outside / "a.npz", x=np.eye(3, dtype=np.float32), ids=np.array(["a", "b", "c"]))
    call("import", "npz", outside / "a.npz", "--out", outside / "first")
    (listed,) = [row for row in call("ls", "formats", "--json") if row["name"] == "toy-lines"]
    assert listed["about"].startswith("Vectors as JSON lines, one item a line (embeddings; import and export; .toyl")
    (made,) = call("export", "toy-lines", outside / "first", "--out", outside / "a.toyl", "digits=3")
    assert made["items"] == 3
    (back,) = call("import", "toy-lines", outside / "a.toyl", "--out", outside / "second", "scale=2")
    assert (back["added"], back["key"], back["ids"]) == (3, "vectors", "id")
    assert np.array_equal(store.open(outside / "second").vectors[:], 2 * np.eye(3))
    for words, message in (
        (("export", "toy-lines", outside / "first", "--out", outside / "b.toyl", "digitz=3"),
         "export toy-lines takes no 'digitz'; did you mean 'digits'"),
        (("import", "toy-lines", outside / "a.toyl", "--out", outside / "third", "scala=2"),
         "import toy-lines takes no 'scala'; did you mean 'scale'"),
        (("import", "toylines", outside / "a.toyl", "--out", outside / "third"), "did you mean 'toy-lines'"),
    ):  # fmt: skip
        with pytest.raises(BadRecipe, match=message):
            call(*words)
    assert list(formats.read(outside / "a.toyl")) == ["vectors", "id"]  # data.file= reads it too


def test_entry_points_are_formats(tmp_path, monkeypatch):
    (tmp_path / "their_lines.py").write_text(TOY.lstrip())
    about = tmp_path / "theirs-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    points = "one = their_lines:FORMAT\ntwo = their_lines\nthree = their_absent_module\n"
    (about / "entry_points.txt").write_text(f"[sensorium.formats]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match="format 'three' .* cannot be imported: No module named"):
        found = formats.known()
    assert found["one"].read is found["their-lines"].read and "three" not in found
    assert found["their-lines"].about == "Vectors as JSON lines, one item a line."


def test_what_is_there_states_itself():
    for name, one in formats.known().items():
        assert one.about and (one.read or one.write) and one.endings, name
    assert {n for n, f in formats.known().items() if f.holds == "run"} == {
        "embed2image",
        "emorag",
        "emorag-index",
        "fashion",
        "model.pth",
        "onnx",
        "perception",
    }
    with pytest.raises(BadRecipe, match=r"cannot import 'onnx' \('onnx' can only be written\)"):
        formats.find("onnx", "import")
    with pytest.raises(BadRecipe, match=r"cannot export 'safetensors' \('safetensors' can only be read\)"):
        formats.find("safetensors", "export")
