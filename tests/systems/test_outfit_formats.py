"""Files of the original fashion project in and out: checkpoints, vectors, the FAISS file and config.yaml."""

import json

import numpy as np
import original_fashion
import pytest
import torch
from served import client_of
from shell import call, refused

import sensorium
from sensorium.errors import BadData, BadRecipe
from sensorium.systems.outfits import head_pt

pytestmark = pytest.mark.xdist_group("serve")
KEYS = ["evaluate.plots=false", "evaluate.resamples=20", "evaluate.baselines=[]"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = original_fashion.write(tmp_path_factory.mktemp("fashion") / "data")
    original_fashion.checkpoint(folder)
    return folder


@pytest.fixture(scope="module")
def run(root):
    """The original's checkpoint as a run."""
    told = call("import", "fashion", root / "head_epoch_last.pt", f"data.root={root}", *KEYS, "--out",
                root.parent / "runs" / "original")  # fmt: skip
    assert told["in_dim"] == 24 and told["out_dim"] == 16 and told["items"] == 480
    assert told["vectors"].endswith("embeddings.npy")
    return sensorium.open(root.parent / "runs" / "original")


def test_a_checkpoint_ranks_as_the_original_does(root, run):
    head = original_fashion.load_head(root / "head_epoch_last.pt")
    with torch.inference_mode():
        z = head(torch.from_numpy(np.load(root / "embeddings.npy"))).numpy()
    np.testing.assert_allclose(run.index("left").vectors(), z, atol=1e-6)
    ids = run.index("left").table.ids
    bags = [str(one) for one in ids[run.index("left").table.columns["category"] == "Bags"]]
    with client_of([run.folder]) as client:
        for context in (["00003"], ["00010", "00021", "00040"]):
            asked = {"context_ids": ",".join(context), "gap_category": "Bags", "k": 12}
            told = client.get("/complete-look", params=asked).json()
            assert told["neighbors"] == original_fashion.completions(root, head, context, bags, 12)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_originals_server_gives_the_same_neighbours_from_our_files(root, run, tmp_path, metric):
    (store,) = run.folder.parent.glob("embeddings/*vectors*")
    told = call("export", "fashion-index", store, "--out", tmp_path / "out", f"metric={metric}")
    assert [file.rsplit("/", 1)[1] for file in told["files"]] == ["embeddings.npy", "ids.json", "faiss.index"]
    np.testing.assert_allclose(
        np.load(tmp_path / "out" / "embeddings.npy"), np.load(root / "embeddings.npy"), atol=1e-6
    )
    with client_of([run.folder]) as client:
        for id in ("00000", "00077", "00479"):
            ours = client.get("/similar", params={"item_id": id, "k": 10}).json()
            assert ours["space"] == "encoder"
            assert ours["neighbors"] == original_fashion.neighbours(tmp_path / "out", "faiss.index", id, 10)


def test_a_faiss_file_and_the_folder_come_back_as_stores(root, run, tmp_path):
    (store,) = run.folder.parent.glob("embeddings/*vectors*")
    call("export", "fashion-index", store, "--out", tmp_path / "out")
    for source in (tmp_path / "out" / "faiss.index", tmp_path / "out", root):
        name = source.name.replace(".", "-")
        told = call("import", "fashion-index", source, "--out", tmp_path / "stores" / name)
        assert told["items"] == 480
        back = sensorium.store.open(tmp_path / "stores" / name)
        assert back.ids.tolist() == json.loads((root / "ids.json").read_text())
        np.testing.assert_allclose(back.vectors[:], np.load(root / "embeddings.npy"), atol=1e-6)
    assert "expected cosine or l2" in refused("export", "fashion-index", store, "--out", tmp_path / "x", "metric=ip")
    assert "expected true or false" in refused("export", "fashion-index", store, "--out", tmp_path / "x", "normalize=1")
    (tmp_path / "no.index").write_bytes(b"no index")
    assert "is no FAISS file" in refused("import", "fashion-index", tmp_path / "no.index", "--out", tmp_path / "y")


def test_an_hnsw_file_is_refused(tmp_path):
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexHNSWFlat(4, 8)
    index.add(np.eye(4, dtype=np.float32))
    faiss.write_index(index, str(tmp_path / "h.index"))
    assert "expected a flat index" in refused("import", "fashion-index", tmp_path / "h.index", "--out", tmp_path / "y")


@pytest.mark.parametrize("preprocess", ["none", "unit", "center", "standardize", "whiten"])
def test_a_head_of_ours_is_loaded_by_the_original(tmp_path, preprocess):
    """Inputs as the encoder gives them, of mean and scale of their own; the statistics are folded in."""
    from sensorium import parts
    from sensorium.fitting.build import input_statistics
    from sensorium.types import Embeddings

    x = np.random.default_rng(0).standard_normal((60, 24)).astype(np.float32) * 3 + 1
    head = parts.make("heads", {"name": "mlp", "dim": 16, "activation": "relu", "preprocess": preprocess})
    head.build(24, input_statistics(Embeddings(np.arange(60).astype(str), x, {}), np.arange(60)))
    head_pt.write(head.eval(), tmp_path / "head.pt")
    x = torch.from_numpy(x if preprocess != "unit" else x / np.linalg.norm(x, axis=1, keepdims=True))
    with torch.inference_mode():
        theirs = original_fashion.load_head(tmp_path / "head.pt")(x)
        torch.testing.assert_close(theirs, head(x), atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(head_pt.read(tmp_path / "head.pt")(x), theirs)


def test_export_of_a_run_and_back(run, root, tmp_path):
    told = call("export", "fashion", run.folder, "--out", tmp_path / "head_epoch_last.pt")
    assert told["files"] == [str(tmp_path / "head_epoch_last.pt")]
    x = torch.from_numpy(np.load(root / "embeddings.npy"))
    with torch.inference_mode():
        theirs = original_fashion.load_head(tmp_path / "head_epoch_last.pt")(x).numpy()
    np.testing.assert_allclose(theirs, run.index("left").vectors(), atol=1e-6)


def test_other_heads_are_refused_with_what_to_type(tmp_path):
    from sensorium import parts

    for spec in ({"name": "linear"}, {"name": "mlp", "depth": 2, "activation": "relu"}, {"name": "mlp"}):
        head = parts.make("heads", spec)
        head.build(24)
        with pytest.raises(BadRecipe, match=r"left\.head=mlp left\.head\.depth=1 left\.head\.activation=relu"):
            head_pt.write(head, tmp_path / "head.pt")


def test_checkpoints_of_any_prefix_are_read_and_others_refused(root, tmp_path):
    saved = torch.load(root / "head_epoch_last.pt", weights_only=True)
    state, x = saved["head"], torch.randn(5, 24)
    with torch.inference_mode():
        expected = original_fashion.load_head(root / "head_epoch_last.pt")(x)

    def read(content):
        torch.save(content, tmp_path / "h.pt")
        return head_pt.read(tmp_path / "h.pt")

    other = {f"module.projection.{key.removeprefix('net.')}": value for key, value in reversed(list(state.items()))}
    for content in ({**saved, "head": other}, state, {**saved, "epoch": 3}):
        with torch.inference_mode():
            torch.testing.assert_close(read(content)(x), expected)
    nan = {**state, "net.0.bias": torch.full((512,), float("nan"))}
    refusals = [({**saved, "in_dim": 7}, "do not make a head"), ({**saved, "head": nan}, "NaN"),
                ({"net.0.weight": torch.ones(3, 3)}, "1 linear layers"), ([1, 2], "holds no head"),
                ({**saved, "head": {**state, "net.3.bias": torch.ones(3)}}, "the bias of")]  # fmt: skip
    for content, words in refusals:
        with pytest.raises(BadData, match=words):
            read(content)


def test_a_checkpoint_without_its_folder_or_of_another_width(root, tmp_path):
    original_fashion.checkpoint(tmp_path, "other.pt", dim=9)
    assert "type: data.root=FOLDER" in refused("import", "fashion", tmp_path / "other.pt", "--out", tmp_path / "r")
    told = refused("import", "fashion", tmp_path / "other.pt", f"data.root={root}", "--out", tmp_path / "r")
    assert "takes vectors of 9 numbers, data.vectors has 24" in told
    assert not (tmp_path / "r").exists()
    told = refused("import", "fashion", tmp_path / "other.pt", f"data.root={root}", "data.vectors=", "--out",
                   tmp_path / "r", "left.encoder=hog")  # fmt: skip
    assert "takes vectors of 9 numbers, left.encoder 'hog' gives" in told


CONFIG = """
paths:
  images: images
  metadata_csv: data/metadata.csv
  embeddings_npy: data/embeddings.npy
  ids_json: data/ids.json
  faiss_index: data/items.faiss
index: {metric: cosine}
model: {backbone: ViT-B-32, pretrained: openai, embed_dim: auto, head_out_dim: 8, head_weights: WEIGHTS}
train: {loss: triplet, margin: 0.25, pairs_csv: data/pairs.csv, use_cached_embeddings: true, lr_head: 0.002,
        weight_decay: 0.0001, batch_size: 32, epochs: 2, num_workers: 4}
"""


def test_a_config_becomes_a_run_by_training_or_by_its_checkpoint(root, tmp_path):
    pytest.importorskip("yaml", reason="pip install pyyaml")
    (tmp_path / "data").symlink_to(root)
    (tmp_path / "config.yaml").write_text(CONFIG.replace("WEIGHTS", "data/head_epoch9.pt"))
    told = call("import", "fashion", tmp_path / "config.yaml", *KEYS, "--out", tmp_path / "runs" / "fitted")
    assert told["fitted"] and told["ignored"] == ["train.num_workers"]
    assert told["missing"] == ["paths.images: images", "model.head_weights: data/head_epoch9.pt"]
    run = sensorium.open(tmp_path / "runs" / "fitted")
    own = run.recipe.values
    assert (own["objective"]["name"], own["objective"]["margin"]) == ("triplet", 0.25)
    assert own["train"]["lr"] == 0.002 and own["train"]["batch"] == 32 and own["train"]["epochs"] == 2
    assert run.head("left").dim == 8 and run.head("left").arguments["hidden"] == 512
    (tmp_path / "config.yaml").write_text(CONFIG.replace("WEIGHTS", "data/head_epoch_last.pt"))
    told = call("import", "fashion", tmp_path / "config.yaml", *KEYS, "--out", tmp_path / "runs" / "read")
    assert told["out_dim"] == 16 and "fitted" not in told
    head = original_fashion.load_head(root / "head_epoch_last.pt")
    with torch.inference_mode():
        z = head(torch.from_numpy(np.load(root / "embeddings.npy"))).numpy()
    np.testing.assert_allclose(sensorium.open(tmp_path / "runs" / "read").index("left").vectors(), z, atol=1e-6)


def test_a_config_without_its_files_becomes_a_recipe(tmp_path):
    pytest.importorskip("yaml", reason="pip install pyyaml")
    (tmp_path / "config.yaml").write_text(CONFIG.replace("WEIGHTS", "x.pt"))
    told = call("import", "fashion", tmp_path / "config.yaml", "--out", tmp_path / "runs" / "later")
    assert told["run"] is None and told["recipe"] == str(tmp_path / "runs" / "later.toml")
    assert "paths.metadata_csv: data/metadata.csv" in told["missing"]
    plan = sensorium.recipe.load(tmp_path / "runs" / "later.toml")
    assert plan.part_name("left.encoder") == "open_clip"
    assert plan.values["left"]["encoder"]["model"] == "ViT-B-32/openai"
    for text, words in (("a: [", "is no YAML"), ("a: 1", "has no 'paths'"), ("paths: {}\ntrain: 3", "'train' is int"),
                        ("paths: {}\ntrain: {loss: l2}", "expected triplet or infonce")):  # fmt: skip
        (tmp_path / "config.yaml").write_text(text)
        assert words in refused("import", "fashion", tmp_path / "config.yaml", "--out", tmp_path / "r")
