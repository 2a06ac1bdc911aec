"""The recipes emorag and emorag-pca: the document's head and loss, on vectors that are joined by name."""

import numpy as np
import original_emorag
import pytest
import torch
from sklearn.decomposition import PCA

import sensorium
from sensorium import exchange, recipe
from sensorium.pairs.positives import Positives
from sensorium.search import related

pytestmark = pytest.mark.xdist_group("emorag")
FAST = ["train.steps=40", "evaluate.plots=false", "evaluate.resamples=20", "evaluate.baselines=[]"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """train_text_raw.npz and train_audio_raw.npz of 300 clips, in another order, and of text vectors of any length."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("emorag_recipes")
    cause = random.standard_normal((300, 12))
    x = (cause @ random.standard_normal((12, 24)) * random.uniform(0.5, 20, (300, 1))).astype(np.float32)
    y = (np.tanh(cause) @ random.standard_normal((12, 32)) + 3).astype(np.float32)
    names = np.array([f"s/{i}.wav" for i in range(300)], dtype=object)
    other = random.permutation(300)
    np.savez(folder / "train_text_raw.npz", text_emb=x, filename=names, transcript=names)
    np.savez(folder / "train_audio_raw.npz", emo_emb=y[other], filename=names[other])
    return folder, x, y


@pytest.fixture(scope="module")
def runs(files):
    folder = files[0]
    keys = [f"data.text={folder / 'train_text_raw.npz'}", f"data.audio={folder / 'train_audio_raw.npz'}", *FAST]
    return {
        "emorag": sensorium.run("emorag", keys, out=folder / "runs" / "emorag", quiet=True),
        "emorag-pca": sensorium.run(
            "emorag-pca", [*keys, "right.head.rank=8"], out=folder / "runs" / "pca", quiet=True
        ),
    }


def test_the_documents_settings():
    for name in ("emorag", "emorag-pca"):
        plan = recipe.load(name)
        options = plan.train_options()
        assert (options.batch, options.lr, options.steps, options.clip) == (1024, 5e-4, 12_000, 1.0)
        assert (options.weight_decay, options.warmup, options.schedule) == (1e-4, 0, "constant")
    assert plan.values["right"]["head"]["rank"] == 256
    fast, document = recipe.load("emorag-fast").values, recipe.load("emorag").values
    assert all(fast[part] == document[part] for part in ("data", "left", "right", "objective", "evaluate"))


def test_head_and_loss_are_the_documents():
    parts = recipe.load("emorag").build()
    left, right = parts.heads["left"], parts.heads["right"]
    left.build(24, None, 32)
    right.build(32)
    theirs = original_emorag.Head(24, 32)
    theirs.load_state_dict({"net.0.weight": left.layers[0].weight, "net.0.bias": left.layers[0].bias,
                            "net.2.weight": left.layers[1].weight, "net.2.bias": left.layers[1].bias})  # fmt: skip
    x, y = torch.randn(64, 24), torch.randn(64, 32)
    zq, zk = theirs(x), torch.nn.functional.normalize(y, dim=1)
    torch.testing.assert_close(left(x), zq)
    expected = torch.nn.CrossEntropyLoss()(zq @ zk.t() / 0.07, torch.arange(64))
    found = parts.objective.loss(left(x), right(y), Positives(64))
    torch.testing.assert_close(found, expected)
    ours = torch.autograd.grad(found, left.layers[0].weight)[0]
    torch.testing.assert_close(ours, torch.autograd.grad(expected, theirs.net[0].weight)[0], atol=1e-6, rtol=1e-4)


def test_fewer_pairs_than_a_batch_are_fitted_and_said(runs):
    """The original's loop never ends with fewer: its loader drops the only batch."""
    for run in runs.values():
        assert any("fewer than train.batch=1024" in note for note in run.metrics["notes"])
        assert run.metrics["fit"]["steps"] <= 40


def test_rows_are_joined_by_name(files, runs):
    _, _, y = files
    run = runs["emorag"]
    expected = original_emorag.unit(y)
    for id, row in (("s/0.wav", 0), ("s/17.wav", 17), ("s/299.wav", 299)):
        np.testing.assert_allclose(run.vector_of("right", id), expected[row], atol=1e-6)


def test_texts_take_one_way_in_the_fit_and_in_every_search(files, runs, tmp_path):
    """Whatever their length: what the index holds of a text is what its vector is searched with, here and there."""
    _, x, _ = files
    for run in runs.values():
        out = tmp_path / run.folder.name / "head.pt"
        exchange.export("emorag", run.folder, out)
        with torch.no_grad():
            theirs = original_emorag.load_head(out)(torch.from_numpy(x)).numpy()
        for row in (3, 250):
            indexed = run.vector_of("left", f"s/{row}.wav")
            np.testing.assert_allclose(run.project("left", x[row])[0], indexed, atol=1e-6)
            np.testing.assert_allclose(theirs[row], indexed, atol=1e-6)


def test_the_original_ranks_an_exported_run_as_it_ranks_itself(files, runs, tmp_path):
    folder, x, _ = files
    for name, run in runs.items():
        exchange.export("emorag", run.folder, tmp_path / name / "head.pt")
        pca = tmp_path / name / "my_cca_pca.npz"
        names, scores = original_emorag.ranking(tmp_path / name / "head.pt", folder / "train_audio_raw.npz", x[5],
                                                pca if pca.is_file() else None)  # fmt: skip
        hits = run.search(vector=x[5], side="left", k=10)
        assert [hit["id"].removeprefix("s/") for hit in hits] == names
        np.testing.assert_allclose([hit["score"] for hit in hits], scores, atol=1e-6)


def test_the_projection_is_of_the_training_clips_and_inside_the_run(files, runs):
    _, _, y = files
    run = runs["emorag-pca"]
    assert run.head("right").arguments["rank"] == 8
    left, _, split = related.open(run.folder)
    trained = [int(id.removeprefix("s/").removesuffix(".wav")) for id in left[split == "train"]]
    oracle = PCA(8, svd_solver="full").fit(y[trained].astype(np.float64))
    expected = original_emorag.unit(oracle.transform(y.astype(np.float64)))
    found = np.stack([run.vector_of("right", f"s/{i}.wav") for i in range(300)])
    np.testing.assert_allclose(found, expected, atol=2e-4)
