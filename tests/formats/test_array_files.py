"""Other people's files: every shape that the field's tools write, and nothing is ever executed."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from sensorium import formats
from sensorium.errors import BadData, BadRecipe

rng = np.random.default_rng(0)
MATRIX = rng.normal(size=(5, 3)).astype(np.float32)
NAMES = np.array(["a", "bé", "ccc", "d", "e"])


class Evil:
    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_by_key(tmp_path, save):
    save(tmp_path / "a.npz", x=MATRIX, fortran=np.asfortranarray(MATRIX), names=NAMES, one=np.float64(3),
         empty=np.zeros((0, 3), np.float32), half=MATRIX.astype(np.float16))  # fmt: skip
    found = formats.read(tmp_path / "a.npz")
    assert set(found) == {"x", "fortran", "names", "one", "empty", "half"} and len(found) == 6
    for name in ("x", "fortran"):
        assert np.array_equal(found[name], MATRIX) and found[name].dtype == np.float32
    assert found["names"].tolist() == NAMES.tolist() and found["one"].shape == () and found["empty"].shape == (0, 3)
    assert isinstance(found["x"], np.memmap) == (save is np.savez)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "é" * 400, "", "a"], ["a", "é" * 400, "", "a"]),
        ([None, 3, 2.5, np.str_("s"), b"bytes"], [None, "3", "2.5", "s", "bytes"]),
        ([["a", "b"], ["c", "d"]], [["a", "b"], ["c", "d"]]),
        ([], []),
        ([f"clip{i}.wav" for i in range(3000)], [f"clip{i}.wav" for i in range(3000)]),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_text_in_object_arrays(tmp_path, values, expected, order):
    np.savez(tmp_path / "a.npz", names=np.array(values, dtype=object, order=order))
    assert formats.read(tmp_path / "a.npz")["names"].tolist() == expected
    np.save(tmp_path / "b.npy", np.array(values, dtype=object))
    assert formats.read(tmp_path / "b.npy")["vectors"].tolist() == expected


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_of_pickle_is_read_as_text(tmp_path, protocol):
    array = np.array(["x", "yé", None], object)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": (3,)})
    content = head.getvalue() + pickle.dumps(array, protocol=protocol)
    (tmp_path / "a.npy").write_bytes(content)
    try:
        assert formats.read(tmp_path / "a.npy")["vectors"].tolist() == ["x", "yé", None]
    except BadData:
        assert protocol < 2  # older than anything NumPy has written for arrays


@pytest.mark.parametrize("place", ["element", "whole", "nested"])
def test_a_malicious_pickle_is_inert(tmp_path, place):
    flag = tmp_path / "executed"
    evil = {"element": ["a", Evil(flag)], "whole": None, "nested": [["x"], {"a": Evil(flag)}]}[place]
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    array = np.empty(2, object)
    array[:] = evil if evil else ["x", "y"]
    content = head.getvalue() + pickle.dumps(Evil(flag) if place == "whole" else array)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("names.npy", content)
    with pytest.raises(
        BadData, match=r"a\.npz:names is a pickle of something else .*refused, since reading it would run"
    ):
        formats.read(tmp_path / "a.npz")["names"]
    assert not flag.exists()
    np.load(tmp_path / "a.npz", allow_pickle=True)["names"]  # the same bytes do harm where pickles are run
    assert flag.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b".", b"cos\nsystem\n(S'x'\ntR.", b"\x80\x04]\x94.", b"\x80\x04Ngarbage", b"(lp0\n" * 50, b"0.", b"I1\nb."],
)
def test_garbage_pickles_are_refused(tmp_path, content):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    (tmp_path / "a.npy").write_bytes(head.getvalue() + content)
    with pytest.raises(BadData, match=r"a\.npy is a pickle of"):
        formats.read(tmp_path / "a.npy")


def test_objects_that_are_not_text_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([["a"], ["b", "c"]], dtype=object), y=np.array([{}, {}], dtype=object))
    for name in "xy":
        with pytest.raises(BadData, match=f"a.npz:{name} (holds list objects|is a pickle of)"):
            formats.read(tmp_path / "a.npz")[name]


def test_npy_with_ids_and_columns_beside(tmp_path):
    np.save(tmp_path / "embeddings.npy", MATRIX)
    (tmp_path / "ids.json").write_text(json.dumps(list(range(5))))
    (tmp_path / "metadata.csv").write_text("id,path,category\n1,x.jpg,shoe\n0,y.jpg,hat\n")
    for path in (tmp_path, tmp_path / "embeddings.npy"):
        found = formats.read(path)
        assert np.array_equal(found["vectors"], MATRIX) and isinstance(found["vectors"], np.memmap)
        assert found["ids"].tolist() == list("01234")
        assert found["category"].tolist() == ["hat", "shoe", None, None, None]
    (tmp_path / "ids.json").write_text("[1]")
    with pytest.raises(BadData, match=r"ids\.json has 1 ids for the 5 rows of embeddings\.npy"):
        formats.read(tmp_path)
    (tmp_path / "ids.json").write_text("[")
    with pytest.raises(BadData, match=r"ids\.json is not valid JSON"):
        formats.read(tmp_path)


def test_torch_files(tmp_path):
    torch = pytest.importorskip("torch")
    for side in ("audio", "text"):
        torch.save(torch.from_numpy(MATRIX), tmp_path / f"{side}_embeddings.pt")
    ids = [f"x.wav#{k}" for k in range(1, 6)]
    (tmp_path / "metadata.json").write_text(json.dumps({"ids": ids, "shapes": {}, "sample_rate": 32000}))
    found = formats.read(tmp_path / "audio_embeddings.pt")
    assert np.array_equal(found["vectors"], MATRIX) and found["ids"].tolist() == ids
    both = formats.read(tmp_path)
    assert set(both) == {"audio_embeddings", "text_embeddings", "ids"}
    torch.save({"x": torch.from_numpy(MATRIX).bfloat16(), "names": ["a"] * 5, "n": 3}, tmp_path / "b.pt")
    found = formats.read(tmp_path / "b.pt")
    assert found["x"].dtype == np.float32 and found["names"].tolist() == ["a"] * 5 and "n" not in found
    torch.save([torch.ones(3)] * 5, tmp_path / "c.pt")
    assert formats.read(tmp_path / "c.pt")["vectors"].shape == (5, 3)
    flag = tmp_path / "executed"
    torch.save({"x": Evil(flag)}, tmp_path / "evil.pt")
    with pytest.raises(BadData, match=r"evil\.pt cannot be read as tensors and plain values"):
        formats.read(tmp_path / "evil.pt")
    assert not flag.exists()
    torch.save("text", tmp_path / "d.pt")
    with pytest.raises(BadData, match=r"d\.pt holds a str; expected a tensor or a dict of tensors"):
        formats.read(tmp_path / "d.pt")


def test_safetensors(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": MATRIX}, tmp_path / "a.safetensors", metadata={"ids": json.dumps(NAMES.tolist())})
    found = formats.read(tmp_path / "a.safetensors")
    assert np.array_equal(found["x"], MATRIX) and found["ids"].tolist() == NAMES.tolist()
    (tmp_path / "b.safetensors").write_bytes(b"x" * 30)
    with pytest.raises(BadData, match=r"b\.safetensors is not a readable \.safetensors file"):
        formats.read(tmp_path / "b.safetensors")


def test_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"id": NAMES.tolist(), "v": [row.tolist() for row in MATRIX], "n": [1, 2, 3, 4, 5],
                      "ragged": [[1.0], [1.0, 2.0], [1.0], [], [1.0]], "t": ["x", None, "y", "z", "w"]})  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    found = formats.read(tmp_path / "a.parquet")
    np.testing.assert_allclose(found["v"], MATRIX)
    assert found["id"].tolist() == NAMES.tolist() and found["n"].sum() == 15 and found["t"][1] is None
    assert found["ragged"].tolist() == [[1.0], [1.0, 2.0], [1.0], [], [1.0]]
    (tmp_path / "b.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(BadData, match=r"b\.parquet is not a readable Parquet file"):
        formats.read(tmp_path / "b.parquet")


def test_clip_retrieval_folders(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for part in (0, 1, 10):
        (tmp_path / "img_emb").mkdir(exist_ok=True)
        (tmp_path / "metadata").mkdir(exist_ok=True)
        np.save(tmp_path / "img_emb" / f"img_emb_{part}.npy", MATRIX.astype(np.float16) + part)
        pq.write_table(
            pa.table({"image_path": [f"{part}/{n}" for n in NAMES]}), tmp_path / f"metadata/metadata_{part}.parquet"
        )
    found = formats.read(tmp_path)
    assert found["img_emb"].shape == (15, 3) and found["image_path"][10] == "10/a"
    assert np.array_equal(found["img_emb"][5:10], MATRIX.astype(np.float16) + 1)
    (tmp_path / "metadata" / "metadata_1.parquet").unlink()
    with pytest.raises(BadData, match=r"parts \[0, 1, 10\] of vectors, but \[0, 10\] of metadata"):
        formats.read(tmp_path)


def test_damage_and_unknown_things_are_named(tmp_path):
    with pytest.raises(BadRecipe, match=r"no file .*no\.npz; give the path of an .*\.npz"):
        formats.read(tmp_path / "no.npz")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(BadRecipe, match=r"cannot read '\.txt' files; "):
        formats.read(tmp_path / "a.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadRecipe, match=r"empty is no store and no folder of embeddings"):
        formats.read(tmp_path / "empty")
    np.savez(tmp_path / "a.npz", x=MATRIX)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(content[:100])
    with pytest.raises(BadData, match=r"b\.npz is not a readable \.npz file .*save or download it again"):
        formats.read(tmp_path / "b.npz")
    np.savez_compressed(tmp_path / "c.npz", x=rng.normal(size=(50, 50)))
    content = bytearray((tmp_path / "c.npz").read_bytes())
    content[2000:2100] = b"\0" * 100
    (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(BadData, match=r"c\.npz:x is (damaged|cut short)"):
        formats.read(tmp_path / "c.npz")["x"]
    np.save(tmp_path / "d.npy", MATRIX)
    os.truncate(tmp_path / "d.npy", 150)
    with pytest.raises(BadData, match=r"d\.npy is cut short: float32 \(5, 3\) needs 188 bytes"):
        formats.read(tmp_path / "d.npy")
    (tmp_path / "e.npy").write_bytes(b"not an array at all")
    with pytest.raises(BadData, match=r"e\.npy is not an \.npy array"):
        formats.read(tmp_path / "e.npy")
    (tmp_path / "f.npy").write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': 'zz9'}")
    with pytest.raises(BadData, match=r"f\.npy has a damaged header"):
        formats.read(tmp_path / "f.npy")


def test_split(tmp_path):
    assert formats.split("a.npz:key")[1] == "key" and formats.split("a.npz")[1] == ""
    (tmp_path / "a:b.npz").write_text("")
    assert formats.split(str(tmp_path / "a:b.npz")) == (tmp_path / "a:b.npz", "")


def test_the_real_files_are_read_without_pickles(shared_data):
    found = formats.read(shared_data / "flickr8k-pairs-4000.npz")
    assert found["image"].shape == (4000, 1280) and found["captions"].shape == (4000, 5)
