"""Import and export: every kind comes back as it went, in the shape its own tool reads."""

import json

import numpy as np
import pytest

from sensorium import store
from sensorium.errors import BadData, BadRecipe
from sensorium.store import exporting, importing

IDS = np.array(["é1", "b", "c#2"])
VECTORS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.fixture
def kept(tmp_path):
    store.append(tmp_path / "s", IDS, VECTORS, {"name": "toy"}, {"year": [1, 2, 3], "who": ["x", "", "z,\n"]})
    return tmp_path / "s"


@pytest.mark.parametrize(
    ("kind", "out", "options"),
    [
        ("npy", "folder", {}),
        ("npy", "one.npy", {}),
        ("npz", "a.npz", {}),
        ("npz", "named", {"key": "text_emb", "ids": "filename"}),
        ("pt", "audio_embeddings.pt", {}),
        ("parquet", "a.parquet", {}),
        ("clip-retrieval", "clips", {}),
        ("clip-retrieval", "texts", {"side": "text"}),
    ],
)
def test_round_trip(tmp_path, kept, kind, out, options):
    about = exporting.export(kind, kept, tmp_path / out, **options)
    assert about["items"] == 3 and about["width"] == 4
    path = tmp_path / out if (tmp_path / out).exists() else about["files"][0]
    record = importing.import_(kind, path, tmp_path / "back")
    assert (record["items"], record["added"], record["present"]) == (3, 3, 0)
    back = store.open(tmp_path / "back")
    assert back.ids.tolist() == IDS.tolist() and np.array_equal(back.vectors[:], VECTORS)
    if out != "one.npy":
        assert back.meta["who"].tolist() == ["x", "", "z,\n"]
        assert back.meta["year"].astype(int).tolist() == [1, 2, 3]
    assert importing.import_(kind, path, tmp_path / "back")["present"] == 3
    assert len(store.open(tmp_path / "back")) == 3


def test_exports_have_the_shape_of_the_original_tools(tmp_path, kept):
    exporting.export("npy", kept, tmp_path / "outfits")
    assert np.array_equal(np.load(tmp_path / "outfits/embeddings.npy", allow_pickle=False), VECTORS)
    assert json.loads((tmp_path / "outfits/ids.json").read_text()) == IDS.tolist()
    exporting.export("npz", kept, tmp_path / "emorag.npz", key="text_emb", ids="filename")
    with np.load(tmp_path / "emorag.npz", allow_pickle=False) as file:
        assert np.array_equal(file["text_emb"], VECTORS) and file["filename"].tolist() == IDS.tolist()
    torch = pytest.importorskip("torch")
    for side in ("audio", "text"):
        exporting.export("pt", kept, tmp_path / "cache" / f"{side}_embeddings.pt")
        assert torch.equal(torch.load(tmp_path / "cache" / f"{side}_embeddings.pt"), torch.from_numpy(VECTORS))
    about = json.loads((tmp_path / "cache/metadata.json").read_text())
    assert about["ids"] == IDS.tolist()
    assert about["shapes"] == {"audio_embeddings": [3, 4], "text_embeddings": [3, 4]}
    exporting.export("clip-retrieval", kept, tmp_path / "clip")
    assert np.load(tmp_path / "clip/img_emb/img_emb_0.npy").shape == (3, 4)
    store.append(tmp_path / "other", ["q"], VECTORS[:1], {"name": "toy"})
    with pytest.raises(BadData, match=r"metadata\.json belongs to other ids than those of this store"):
        exporting.export("pt", tmp_path / "other", tmp_path / "cache" / "more_embeddings.pt")


def test_frames_round_trip_through_npz_only(tmp_path):
    frames = [np.ones((2, 3), np.float32), 2 * np.ones((4, 3), np.float32)]
    store.append(tmp_path / "f", ["a", "b"], frames, {"name": "toy"})
    with pytest.raises(BadData, match="holds frames, which 'parquet' has no room for; type: sensorium export npz"):
        exporting.export("parquet", tmp_path / "f", tmp_path / "x")
    exporting.export("npz", tmp_path / "f", tmp_path / "f.npz")
    importing.import_("npz", tmp_path / "f.npz", tmp_path / "g", key="embeddings")
    found = store.open(tmp_path / "g")
    assert found.offsets.tolist() == [0, 2, 6] and found.vectors[5].tolist() == [2, 2, 2]


def test_the_documents_files(tmp_path):
    np.savez(tmp_path / "audio.npz", emo_emb=VECTORS, filename=np.array(IDS, dtype=object))
    record = importing.import_("npz", tmp_path / "audio.npz", tmp_path / "a", name="emotion2vec_plus_base")
    assert (record["key"], record["ids"]) == ("emo_emb", "filename")
    assert store.open(tmp_path / "a").fingerprint["name"] == "emotion2vec_plus_base"
    np.savez(tmp_path / "p.npz", perception_embeddings=VECTORS, clip_embeddings=VECTORS)
    with pytest.raises(BadRecipe, match=r"which array of .*p\.npz\? type: key=perception_embeddings \(it holds percep"):
        importing.import_("npz", tmp_path / "p.npz", tmp_path / "p")
    with pytest.raises(BadRecipe, match=r"p\.npz has no ids .*type: ids=COLUMN, or ids=rows to number the rows"):
        importing.import_("npz", tmp_path / "p.npz", tmp_path / "p", key="clip_embeddings")
    record = importing.import_("npz", tmp_path / "p.npz", tmp_path / "p", key="clip_embeddings", ids="rows")
    assert record["added"] == 3 and store.open(tmp_path / "p").ids.tolist() == ["0", "1", "2"]


def test_several_partners_a_row(tmp_path):
    captions = np.stack([VECTORS, VECTORS + 1], 1)
    np.savez(tmp_path / "a.npz", text=captions, ids=IDS, year=np.array([1, 2, 3]))
    importing.import_("npz", tmp_path / "a.npz", tmp_path / "s")
    found = store.open(tmp_path / "s")
    assert found.ids.tolist()[:3] == ["é1#1", "é1#2", "b#1"] and found.meta["year"].tolist() == [1, 1, 2, 2, 3, 3]
    assert np.array_equal(found.vectors[1], VECTORS[0] + 1)


def test_what_is_refused_leaves_nothing_behind(tmp_path, kept):
    def refused(error, message, *arguments, **options):
        with pytest.raises(error, match=message):
            importing.import_(*arguments, tmp_path / "out", **options)
        assert not store.exists(tmp_path / "out")

    np.savez(tmp_path / "a.npz", x=VECTORS, flat=np.ones(3), ids=IDS, dup=np.array(["a", "a", "b"]))
    refused(BadRecipe, "cannot import 'npzz'; did you mean 'npz'", "npzz", tmp_path / "a.npz")
    refused(BadRecipe, "import npz takes no 'keyy'; did you mean 'key'", "npz", tmp_path / "a.npz", keyy="x")
    refused(BadRecipe, r"a\.npz is no 'npy' file; 'npy' is: An array with ids\.json", "npy", tmp_path / "a.npz")
    refused(BadRecipe, "no file .*b.npz", "npz", tmp_path / "b.npz")
    refused(BadRecipe, r"a\.npz has no 'y'; known:", "npz", tmp_path / "a.npz", key="y")
    refused(BadData, r"a\.npz:flat is float64 \(3,\); expected numbers", "npz", tmp_path / "a.npz", key="flat")
    refused(BadRecipe, r"a\.npz has no column 'idz' of 3 ids; did you mean 'ids'", "npz", tmp_path / "a.npz", ids="idz")
    refused(BadData, "duplicate ids, such as 'a'", "npz", tmp_path / "a.npz", ids="dup")
    np.savez(tmp_path / "c.npz", names=IDS)
    refused(BadData, r"c\.npz holds no array of vectors \[n, d\]; it holds names", "npz", tmp_path / "c.npz")
    for kind, message, options in [
        (
            "x",
            "cannot export 'x'; known: clip-retrieval, embed2image, emorag, emorag-clips, emorag-index, emorag-texts, fashion, fashion-index, model.pth, npy, npz, onnx, parquet, perception, pt",
            {},
        ),
        ("npz", "export npz takes no 'colour'; known: ids, key", {"colour": 1}),
        ("npz", "'year' or 'ids' is also a metadata column .*choose other names", {"key": "year"}),
        ("clip-retrieval", "side is 'audio'; expected img or text", {"side": "audio"}),
    ]:
        with pytest.raises(BadRecipe, match=message):
            exporting.export(kind, kept, tmp_path / "exported", **options)
    assert not list(tmp_path.glob("exported*"))
