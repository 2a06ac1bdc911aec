"""Files of the original EmoRAG in and out: heads with their projection, clips, texts and the index folder."""

import json
import pickle

import numpy as np
import original_emorag
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shell import call, refused
from typer.testing import CliRunner

import sensorium
from sensorium import exchange, parts
from sensorium.cli import app
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting.build import input_statistics
from sensorium.systems.emorag import head_pt, library, pca_npz
from sensorium.types import Embeddings

pytestmark = pytest.mark.xdist_group("emorag")


def search(run, vector, k=10) -> tuple[list[str], np.ndarray]:
    """Ids and scores that ``sensorium search RUN --vector FILE -k K --json`` prints."""
    words = ["search", str(run), "--vector", str(vector), "-k", str(k), "--json"]
    told = CliRunner().invoke(app, words, catch_exceptions=False)
    hits = [json.loads(line) for line in told.stdout.splitlines()]
    return [hit["id"] for hit in hits], np.array([hit["score"] for hit in hits])


@pytest.fixture(scope="module")
def direct(tmp_path_factory):
    """A folder of the original of the document's widths, and its run."""
    folder = original_emorag.write(tmp_path_factory.mktemp("emorag") / "direct", n=400, dx=384, dy=768)
    told = call("import", "emorag", folder / "z_head_L0.pt", f"clips={folder / 'audio_embeddings.npz'}", "--out",
                folder.parent / "runs" / "direct")  # fmt: skip
    assert told["clips"] == 400 and told["projection"] == "identity" and told["texts"] == "minilm"
    return folder, sensorium.open(folder.parent / "runs" / "direct")


@pytest.fixture(scope="module")
def projected(tmp_path_factory):
    """The same with a projection to 24 principal components."""
    folder = original_emorag.write(tmp_path_factory.mktemp("emorag") / "pca", rank=24)
    told = call("import", "emorag", folder / "z_head_L0.pt", f"pca={folder / 'cca.npz'}", "--out",
                folder.parent / "runs" / "pca")  # fmt: skip
    assert told["projection"] == "pca" and told["out_dim"] == 24 and told["texts"] == "vectors"
    return folder, sensorium.open(folder.parent / "runs" / "pca")


@pytest.mark.parametrize("length", [1.0, 20.0])
def test_an_imported_head_ranks_as_the_original(direct, projected, tmp_path, length):
    """Of text vectors of any length: the original does not scale them either."""
    for (folder, run), pca in ((direct, None), (projected, "cca.npz")):
        for seed in range(3):
            text = np.random.default_rng(seed).standard_normal(run.head("left").dim_in).astype(np.float32)
            text *= length / np.linalg.norm(text)
            np.save(tmp_path / "text.npy", text)
            names, scores = original_emorag.ranking(folder / "z_head_L0.pt", folder / "audio_embeddings.npz", text,
                                                    pca and folder / pca)  # fmt: skip
            ids, ours = search(run.folder, tmp_path / "text.npy")
            assert ids == names
            np.testing.assert_allclose(ours, scores, atol=1e-6)


def test_the_run_needs_none_of_the_files_and_indexes_anew(projected, tmp_path):
    folder, _ = projected
    whole = original_emorag.write(tmp_path / "moved", rank=24)
    call("import", "emorag", whole / "z_head_L0.pt", f"pca={whole / 'cca.npz'}", "--out", tmp_path / "run")
    for file in whole.iterdir():
        file.unlink()
    text = np.random.default_rng(9).standard_normal(48).astype(np.float32)
    np.save(tmp_path / "text.npy", text)
    expected = original_emorag.ranking(folder / "z_head_L0.pt", folder / "audio_embeddings.npz", text,
                                       folder / "cca.npz")[0]  # fmt: skip
    told = CliRunner().invoke(app, ["index", str(tmp_path / "run"), "index=faiss", "index.factory=Flat"])
    assert told.exit_code == 0, told.output
    assert search(tmp_path / "run", tmp_path / "text.npy")[0] == expected
    assert "the data have no pairs" in refused("evaluate", tmp_path / "run")


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 40), st.integers(2, 30), st.integers(3, 60), st.booleans(), st.integers(0, 2**32 - 1))
def test_any_sizes_rank_as_the_original(tmp_path_factory, dx, dy, n, pca, seed):
    rank = min(dy, n - 1, 1 + seed % dy) if pca else None
    folder = original_emorag.write(tmp_path_factory.mktemp("sizes"), n=n, dx=dx, dy=dy, rank=rank, seed=seed)
    keys = [f"pca={folder / 'cca.npz'}"] if pca else []
    exchange.import_("emorag", folder / "z_head_L0.pt", folder / "run", [*keys, "left.encoder=none"])
    text = np.random.default_rng(seed).standard_normal(dx).astype(np.float32)
    names, scores = original_emorag.ranking(folder / "z_head_L0.pt", folder / "audio_embeddings.npz", text,
                                            folder / "cca.npz" if pca else None)  # fmt: skip
    hits = sensorium.open(folder / "run").search(vector=text, side="left", k=10)
    np.testing.assert_allclose([hit["score"] for hit in hits], scores, atol=2e-6)
    assert sorted(hit["id"] for hit in hits if hit["score"] > scores[-1] + 1e-5) == sorted(
        name for name, score in zip(names, scores, strict=True) if score > scores[-1] + 1e-5
    )


def test_texts_go_through_the_encoder_that_is_named(tmp_path):
    folder = original_emorag.write(tmp_path / "d", dx=64)
    call("import", "emorag", folder / "z_head_L0.pt", "left.encoder=hashing", "left.encoder.dim=64", "--out",
         tmp_path / "run")  # fmt: skip
    run, text = sensorium.open(tmp_path / "run"), "I am so happy I could jump for joy"
    names, _ = original_emorag.ranking(folder / "z_head_L0.pt", folder / "audio_embeddings.npz",
                                       run.encoder("left").encode([text])[0])  # fmt: skip
    assert [hit["id"] for hit in run.search(text=text)] == names


def test_an_exported_head_is_loaded_by_the_original(direct, projected, tmp_path):
    for (_, run), files in ((direct, ["head.pt"]), (projected, ["head.pt", "my_cca_pca.npz"])):
        out = tmp_path / run.folder.name
        told = call("export", "emorag", run.folder, "--out", out / "head.pt")
        assert told["files"] == [str(out / name) for name in files]
        x = np.random.default_rng(2).standard_normal((50, run.head("left").dim_in)).astype(np.float32)
        with torch.no_grad():
            theirs = original_emorag.load_head(out / "head.pt")(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(run.project("left", x), theirs, atol=1e-6)
        assert torch.load(out / "head.pt", weights_only=True).get("pca_projection", False) == (len(files) == 2)
    _, run = projected
    saved = np.load(tmp_path / "pca" / "my_cca_pca.npz", allow_pickle=False)
    assert saved["Wx"].shape == saved["Wy"].shape == (32, 24) and saved["y_mean"].shape == (32,) and saved["r"] == 24
    _, z = original_emorag.clips(projected[0] / "audio_embeddings.npz", tmp_path / "pca" / "my_cca_pca.npz")
    np.testing.assert_allclose(run.index("right").vectors(), z, atol=1e-6)


def test_export_and_import_again_give_the_same_vectors(projected, tmp_path):
    folder, run = projected
    call("export", "emorag", run.folder, "--out", tmp_path / "my_pca_model.pt")
    call("import", "emorag", tmp_path / "my_pca_model.pt", f"clips={folder / 'audio_embeddings.npz'}",
         f"pca={tmp_path / 'my_cca_pca.npz'}", "--out", tmp_path / "run")  # fmt: skip
    again = sensorium.open(tmp_path / "run")
    np.testing.assert_array_equal(again.index("right").vectors(), run.index("right").vectors())
    x = np.random.default_rng(2).standard_normal((5, 48)).astype(np.float32)
    np.testing.assert_allclose(again.project("left", x), run.project("left", x), atol=1e-6)


@pytest.mark.parametrize("preprocess", ["none", "center", "standardize", "whiten", "unit"])
def test_heads_of_ours_are_written_for_raw_inputs(tmp_path, preprocess):
    x = np.random.default_rng(0).standard_normal((60, 24)).astype(np.float32) * 3 + 1
    unit = preprocess == "unit"
    x = original_emorag.unit(x) if unit else x
    head = parts.make("heads", {"name": "mlp", "dim": 16, "hidden": 40, "activation": "relu", "preprocess": preprocess})
    head.build(24, input_statistics(Embeddings(np.arange(60).astype(str), x, {}), np.arange(60)))
    head_pt.write(head.eval(), tmp_path / "head.pt", False, unit)
    with torch.no_grad():
        theirs = original_emorag.load_head(tmp_path / "head.pt")(torch.from_numpy(x))
        torch.testing.assert_close(theirs, head(torch.from_numpy(x)), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("dx", "dy"), [(24, 16), (16, 24), (10, 256)])
def test_linear_heads_are_written_as_pairs_of_units(tmp_path, dx, dy):
    head = parts.make("heads", {"name": "linear", "dim": dy})
    head.build(dx)
    head_pt.write(head.eval(), tmp_path / "head.pt", False, False)
    x = torch.randn(30, dx)
    with torch.no_grad():
        torch.testing.assert_close(original_emorag.load_head(tmp_path / "head.pt")(x), head(x), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("keys", "why"), [
    ({"name": "mlp", "depth": 2, "activation": "relu"}, r"left\.head\.depth=2"),
    ({"name": "mlp"}, r"left\.head\.activation=gelu"),
    ({"name": "mlp", "activation": "relu", "residual": True}, r"left\.head\.residual=true"),
    ({"name": "mlp", "activation": "relu", "layer_norm": True}, r"left\.head\.layer_norm=true"),
    ({"name": "mlp", "activation": "relu", "normalize": False}, r"no unit length"),
    ({"name": "mlp", "activation": "relu", "preprocess": "unit"}, r"left\.head\.preprocess=unit"),
    ({"name": "mlp", "activation": "relu", "hidden": 600}, r"needs 600 hidden units"),
    ({"name": "linear", "dim": 300}, r"needs 600 hidden units"),
    ({"name": "ensemble", "head": {"name": "mlp"}}, r"it is Ensemble"),
])  # fmt: skip
def test_other_heads_are_refused_with_the_reason(tmp_path, keys, why):
    head = parts.make("heads", keys)
    head.build(400, None, 300)
    with pytest.raises(BadRecipe, match=why) as error:
        head_pt.write(head, tmp_path / "head.pt", False, False)
    assert "sensorium export onnx RUN" in str(error.value) and not (tmp_path / "head.pt").exists()


def test_other_heads_of_clips_are_refused(tmp_path):
    mlp = parts.make("heads", {"name": "mlp", "dim": 8})
    mlp.build(8)
    with pytest.raises(BadRecipe, match="the clips go through the head MLP"):
        pca_npz.of(mlp)
    wide = parts.make("heads", {"name": "linear", "dim": 12})  # its constant lies outside of what 8 numbers span
    wide.build(8)
    with pytest.raises(BadRecipe, match="adds a constant"):
        pca_npz.of(wide)
    narrow = parts.make("heads", {"name": "linear", "dim": 5})
    narrow.build(8)
    weight, mean = pca_npz.of(narrow)
    x = np.random.default_rng(0).standard_normal((9, 8)).astype(np.float32)
    with torch.no_grad():
        expected = narrow(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(original_emorag.unit((x - mean) @ weight), expected, atol=1e-6)


def test_a_projection_is_never_given_twice_nor_forgotten(direct, projected, tmp_path):
    folder, run = projected
    clips = f"clips={folder / 'audio_embeddings.npz'}"
    told = refused("import", "emorag", folder / "z_head_L0.pt", clips, "--out", tmp_path / "r")
    assert "trained on principal components" in told and "pca=my_cca_pca.npz" in told
    head = torch.load(folder / "z_head_L0.pt", weights_only=True)
    torch.save(head["state_dict"], tmp_path / "bare.pt")  # as older checkpoints: no flag, the widths tell
    told = refused("import", "emorag", tmp_path / "bare.pt", clips, "--out", tmp_path / "r")
    assert "gives vectors of 24 numbers, and the clips are vectors of 32" in told
    assert call("import", "emorag", tmp_path / "bare.pt", clips, f"pca={folder / 'cca.npz'}", "--out",
                tmp_path / "r")["projection"] == "pca"  # fmt: skip
    told = refused("import", "emorag", direct[0] / "z_head_L0.pt", f"pca={folder / 'cca.npz'}", "--out", tmp_path / "x")
    assert "takes vectors of 32 numbers to 24; the clips have 768" in told
    assert "leave pca out" in refused("export", "emorag", direct[1].folder, "pca=x.npz", "--out", tmp_path / "y.pt")
    call("export", "emorag", run.folder, "--out", tmp_path / "out" / "a.pt")
    other = original_emorag.write(tmp_path / "other", rank=24, seed=1)
    call("import", "emorag", other / "z_head_L0.pt", f"pca={other / 'cca.npz'}", "--out", tmp_path / "runs" / "other")
    told = refused("export", "emorag", tmp_path / "runs" / "other", "--out", tmp_path / "out" / "b.pt")
    assert "holds another projection; name another file: pca=FILE.npz" in told
    assert not (tmp_path / "out" / "b.pt").exists()
    call("export", "emorag", tmp_path / "runs" / "other", "pca=" + str(tmp_path / "out" / "b.npz"), "--out",
         tmp_path / "out" / "b.pt")  # fmt: skip


@pytest.mark.parametrize("kind", ["hnsw", "flat", "none"])
def test_the_index_folder_serves_the_original_and_comes_back(projected, tmp_path, kind):
    folder, run = projected
    told = call("export", "emorag-index", run.folder, f"index={kind}", "--out", tmp_path / "index")
    assert told["side"] == "right" and len(told["files"]) == (2 if kind == "none" else 3)
    text = np.random.default_rng(4).standard_normal(48).astype(np.float32)
    np.save(tmp_path / "text.npy", text)
    names, scores = original_emorag.ranking(folder / "z_head_L0.pt", folder / "audio_embeddings.npz", text,
                                            folder / "cca.npz")  # fmt: skip
    if kind != "none":
        found, theirs = original_emorag.through_index(folder / "z_head_L0.pt", tmp_path / "index", text, kind)
        assert found == names
        np.testing.assert_allclose(theirs, scores, atol=1e-6)  # inner products: the original's HNSW gives distances
    told = call("import", "emorag", folder / "z_head_L0.pt", f"clips={tmp_path / 'index'}", "--out", tmp_path / "run")
    assert told["projection"] == "identity"
    assert search(tmp_path / "run", tmp_path / "text.npy")[0] == names
    told = refused("import", "emorag", folder / "z_head_L0.pt", f"clips={tmp_path / 'index'}",
                   f"pca={folder / 'cca.npz'}", "--out", tmp_path / "x")  # fmt: skip
    assert "projected already; leave pca out" in told
    assert "expected hnsw, flat, none" in refused("export", "emorag-index", run.folder, "index=ivf", "--out",
                                                  tmp_path / "y")  # fmt: skip


def test_an_index_of_other_clips_is_recognised_by_its_content(tmp_path):
    """The original takes it wherever its shape is the same, and answers with clips that are not there any more."""
    folder = original_emorag.write(tmp_path / "all")
    run = tmp_path / "run"
    call("import", "emorag", folder / "z_head_L0.pt", "--out", run)
    call("export", "emorag-index", run, "--out", folder)
    assert call("import", "emorag", folder / "z_head_L0.pt", "--out", run)["their_index"] == "of the same clips"
    clips = dict(np.load(folder / "audio_embeddings.npz", allow_pickle=True))
    for change in ({"emo_emb": clips["emo_emb"][::-1]}, {"filename": clips["filename"][::-1]},
                   {name: column[:9] for name, column in clips.items()}):  # fmt: skip
        np.savez(folder / "audio_embeddings.npz", **{**clips, **change})
        told = call("import", "emorag", folder / "z_head_L0.pt", f"clips={folder}", "--out", run)
        assert told["their_index"] == "of other clips, not used"
        text = np.ones(48, np.float32)
        names, _ = original_emorag.ranking(folder / "z_head_L0.pt", folder / "audio_embeddings.npz", text, k=5)
        assert [hit["id"] for hit in sensorium.open(run).search(vector=text, k=5)] == names


def test_clips_of_one_name_are_all_kept(tmp_path):
    """Base names collide between folders; names with folders stay whole."""
    folder = original_emorag.write(tmp_path / "d", n=5)
    y = np.load(folder / "audio_embeddings.npz", allow_pickle=True)["emo_emb"]
    np.savez(folder / "audio_embeddings.npz", emo_emb=y, filename=["a.wav", "b/a.wav", "a.wav", "a.wav#2", "a.wav"])
    told = call("import", "emorag", folder / "z_head_L0.pt", "--out", tmp_path / "run")
    assert told["renamed"] == 2
    ids = sensorium.open(tmp_path / "run").index("right").table.ids.tolist()
    assert ids == ["a.wav", "b/a.wav", "a.wav#3", "a.wav#2", "a.wav#4"]


@given(st.lists(st.sampled_from(["a", "b", "a#2", "a#2#2", "b#3"]), min_size=1, max_size=12))
def test_names_become_unique_and_the_first_of_each_stays(names):
    made, changed = library.unique(np.array(names))
    assert len(set(made.tolist())) == len(names)
    assert changed == len(names) - len(set(names))
    assert all(made[names.index(name)] == name for name in names)


@pytest.mark.parametrize(("content", "ids"), [
    ({"audio_emb": 4, "fname": ["w", "x", "y", "z"]}, ["w", "x", "y", "z"]),
    ({"emo_emb": 4, "stem": ["w", "x", "y", "z"]}, ["w.wav", "x.wav", "y.wav", "z.wav"]),
    ({"emo_emb": 4}, ["0", "1", "2", "3"]),
    ({"vectors": 4, "filename": ["w", "x", "y", "z"], "speaker": ["1", "2", "3", "4"]}, ["w", "x", "y", "z"]),
])  # fmt: skip
def test_names_of_clips_are_found_as_in_the_original(tmp_path, content, ids):
    arrays = {name: np.eye(4, dtype=np.float32) if value == 4 else value for name, value in content.items()}
    np.savez(tmp_path / "clips.npz", **arrays)
    clips = library.read(tmp_path / "clips.npz")
    assert clips.ids.tolist() == ids and set(clips.meta) == set(content) & {"speaker"}


def test_clips_and_texts_are_written_in_the_originals_shape(tmp_path):
    ids = [f"s1/{i}.wav" for i in range(6)]
    x = np.random.default_rng(0).standard_normal((6, 8))
    store = tmp_path / "store"
    np.savez(tmp_path / "x.npz", emo_emb=x, filename=ids, transcript=["t"] * 6)
    call("import", "npz", tmp_path / "x.npz", "--out", store)
    call("export", "emorag-clips", store, "--out", tmp_path / "library")
    call("export", "emorag-texts", store, "--out", tmp_path / "train_text_raw.npz")
    for path, key in (("library/audio_embeddings.npz", "emo_emb"), ("train_text_raw.npz", "text_emb")):
        there = np.load(tmp_path / path, allow_pickle=False)
        assert there[key].dtype == np.float32 and there["filename"].tolist() == ids
        assert there["transcript"].tolist() == ["t"] * 6
        np.testing.assert_allclose(there[key], x, atol=1e-6)
    told = call("import", "emorag-clips", tmp_path / "library", "--out", tmp_path / "again")
    assert told["items"] == 6 and told["ids"] == "filename"


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('code was run')",)


def test_hostile_and_damaged_files_are_refused(direct, tmp_path):
    folder, _ = direct
    state = torch.load(folder / "z_head_L0.pt", weights_only=True)
    bad = tmp_path / "bad.pt"
    nan = {**state["state_dict"], "net.0.bias": torch.full((512,), float("nan"))}
    short = {**state["state_dict"], "net.2.weight": torch.ones(768, 3)}
    for content, words in (
        ({**state, "target_dim": 7}, "says target_dim 7, its last layer gives 768"),
        ({"state_dict": nan}, "holds NaN"),
        ({"state_dict": short}, "do not follow each other"),
        ({"state_dict": {"net.0.weight": torch.ones(3, 3)}}, "1 linear layers"),
        ([1, 2], "holds no head"),
        ({"state_dict": Bomb()}, "no other code in it is run"),
    ):
        torch.save(content, bad)
        with pytest.raises(BadData, match=words):
            head_pt.read(bad)
    names, clips = np.array([Bomb()] * 3, dtype=object), np.eye(3, dtype=np.float32)
    np.savez(tmp_path / "bomb.npz", emo_emb=clips, filename=names)
    with pytest.raises(BadData, match="reading it would run code"):
        library.read(tmp_path / "bomb.npz")
    (tmp_path / "index").mkdir()
    np.save(tmp_path / "index" / "Zy.npy", clips)
    (tmp_path / "index" / "names.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadData, match=r"names\.npy"):
        library.read(tmp_path / "index")
    np.save(tmp_path / "index" / "names.npy", np.array(["a", "b"]))
    with pytest.raises(BadData, match=r"shape \(2,\) for the 3 rows"):
        library.read(tmp_path / "index")
    for name, arrays, words in (
        ("width", {"emo_emb": clips[0]}, "expected numbers"),
        ("names", {"emo_emb": clips, "filename": ["a"]}, "'filename' has shape"),
        ("none", {"a": clips, "b": clips}, "no array 'emo_emb' or 'audio_emb'"),
        ("missing", {"emo_emb": clips, "filename": np.array(["a", None, "b"], object)}, "filename"),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(BadData, match=words):
            library.read(tmp_path / f"{name}.npz")
    np.savez(tmp_path / "nan.npz", emo_emb=np.full((3, 768), np.nan, np.float32))
    told = refused(
        "import", "emorag", folder / "z_head_L0.pt", f"clips={tmp_path / 'nan.npz'}", "--out", tmp_path / "r"
    )
    assert "3 of 3 rows hold NaN" in told and not (tmp_path / "r").exists()


def test_hostile_projections_are_refused(tmp_path):
    basis, mean = np.eye(6, 3, dtype=np.float32), np.zeros(6, np.float32)
    for arrays, words in (
        ({"Wx": basis, "y_mean": mean}, "has no 'Wy'"),
        ({"Wy": basis}, "has no 'y_mean'"),
        ({"Wy": basis, "y_mean": mean[:2]}, "expected numbers"),
        ({"Wy": basis, "y_mean": mean, "r": 4}, "r is .4., Wy has 3 columns"),
        ({"Wy": basis * np.nan, "y_mean": mean}, "NaN or infinity"),
        ({"Wy": basis.T, "y_mean": np.zeros(3, np.float32)}, "rank 6 of vectors that are 3 wide"),
    ):
        np.savez(tmp_path / "p.npz", **arrays)
        with pytest.raises(BadData, match=words):
            pca_npz.read(tmp_path / "p.npz")
    with pytest.raises(BadRecipe, match=r"no file .*pca=my_cca_pca\.npz"):
        pca_npz.read(tmp_path / "no.npz")


def test_files_that_are_not_there_or_of_another_encoder(direct, tmp_path):
    folder, run = direct
    head = tmp_path / "alone.pt"
    head.write_bytes((folder / "z_head_L0.pt").read_bytes())
    assert "type: clips=audio_embeddings.npz" in refused("import", "emorag", head, "--out", tmp_path / "r")
    told = refused("import", "emorag", head, "clips=no.npz", "--out", tmp_path / "r")
    assert "no file no.npz; expected the original's clips" in told
    (tmp_path / "empty").mkdir()
    assert "has no audio_embeddings.npz and no Zy.npy" in refused("import", "emorag", head,
                                                                   f"clips={tmp_path / 'empty'}", "--out", "r")  # fmt: skip
    told = refused("import", "emorag", head, f"clips={folder / 'audio_embeddings.npz'}", "left.encoder=hashing", "--out",
                   tmp_path / "r")  # fmt: skip
    assert "takes vectors of 384 numbers, left.encoder 'hashing' gives" in told
    assert "type: side=left" in refused("export", "emorag", run.folder, "side=right", "--out", tmp_path / "x.pt")
