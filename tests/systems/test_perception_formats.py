"""Files of the original perception projection in and out: both forms of its head, and training_data.npz."""

import pickle

import made_faces
import numpy as np
import original_perception
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shell import call, refused

import sensorium
from sensorium import heads, parts
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import FittedHead
from sensorium.heads._preprocess import Preprocess
from sensorium.numerics.moments import InputStats
from sensorium.systems.perception import formats, head_pth

FEW = ["train.epochs=2", "evaluate.resamples=20", "evaluate.plots=false", "evaluate.baselines=[]"]
X = np.random.default_rng(0).uniform(size=(30, 1441)).astype(np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of the original: both forms of a head, and the data."""
    folder = tmp_path_factory.mktemp("perception")
    original_perception.save(folder / "best_model.pth")
    original_perception.save(folder / "projection_best.pt", seed=1)
    made_faces.perception_npz(folder / "training_data.npz", n=140, people=5, named=True)
    return folder


@pytest.fixture(scope="module")
def fitted(place):
    """A run of the document's recipe, by the command."""
    call("run", "perception-document", f"data.file={place / 'training_data.npz'}", *FEW, "--out", place / "runs/fitted",
         "--json")  # fmt: skip
    return sensorium.open(place / "runs" / "fitted")


@pytest.mark.parametrize("name", ["best_model.pth", "projection_best.pt"])
def test_an_imported_head_gives_the_vectors_of_the_original(place, name):
    out = place / "runs" / name
    told = call("import", "perception", place / name, f"data.file={place / 'training_data.npz'}", *FEW, "--out", out)
    assert (told["in_dim"], told["hidden"], told["out_dim"], told["prompts"]) == (1441, 1024, 768, 7)
    run = sensorium.open(out)
    np.testing.assert_allclose(
        run.project("left", X), original_perception.project(place / name, X), atol=1e-6, rtol=1e-6
    )
    assert {row["measure"] for row in run.metrics["results"]} >= {"hit@1", "cosine"}
    assert run.metrics["fit"]["imported"] == name
    assert "nothing says which faces this head was fitted on" in run.metrics["notes"][-1]


def test_an_imported_head_needs_no_data(place):
    told = call("import", "perception", place / "best_model.pth", "--out", place / "runs" / "alone")
    assert told["faces"] == told["prompts"] == told["evaluated"] == 0
    run = sensorium.open(place / "runs" / "alone")
    expected = original_perception.project(place / "best_model.pth", X)
    np.testing.assert_allclose(run.project("left", X), expected, atol=1e-6, rtol=1e-6)
    call("export", "perception", place / "runs" / "alone", "--out", place / "again.pth")
    np.testing.assert_array_equal(original_perception.project(place / "again.pth", X), expected)


def test_prompts_are_encoded_for_a_head_without_data(place, tmp_path):
    (tmp_path / "prompts.txt").write_text("a happy face\n\na sad face\na happy face\n")
    file = original_perception.save(tmp_path / "best_model.pth", output_dim=32)
    encoder = ["right.encoder=hashing", "right.encoder.dim=32"]
    for texts, n in ((tmp_path / "prompts.txt", 2), ("a person looking {label}", 7)):
        told = call("import", "perception", file, f"prompts={texts}", *encoder, "--out", tmp_path / "run")
        assert told["prompts"] == n
    run = sensorium.open(tmp_path / "run")
    z = original_perception.project(file, X[:1])[0]
    texts = [f"a person looking {one}" for one in ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")]
    y = parts.make("encoders", {"name": "hashing", "dim": 32}).encode(texts)
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    hits = run.search(vector=X[0], side="left", k=7)
    assert hits[0]["id"] == texts[int(np.argmax(y @ z))] and len(hits) == 7
    for keys, message in (
        ([f"prompts={tmp_path / 'none.txt'}", *encoder], "cannot be read as text"),
        (["prompts=a {label}", "right.encoder=none"], "name what encodes them, to 32 numbers: right.encoder=NAME"),
        (["prompts=a {label}", "right.encoder=hashing", "right.encoder.dim=16"], "gives vectors of 32 numbers, right"),
        (["prompts=a {label}", f"data.file={place / 'training_data.npz'}"], "prompts= is of a head without data"),
    ):
        assert message in refused("import", "perception", file, *keys, "--out", tmp_path / "bad")
    (tmp_path / "prompts.txt").write_text(" \n")
    assert "is empty; expected one prompt a line" in refused(
        "import", "perception", file, f"prompts={tmp_path / 'prompts.txt'}", *encoder, "--out", tmp_path / "bad")  # fmt: skip
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize("name", ["best_model.pth", "projection_best.pt"])
def test_a_fitted_head_is_loaded_by_the_original(fitted, tmp_path, name):
    told = call("export", "perception", fitted.folder, "--out", tmp_path / name)
    assert told["files"] == [str(tmp_path / name)]
    np.testing.assert_allclose(original_perception.project(tmp_path / name, X), fitted.project("left", X), atol=1e-6,
                               rtol=1e-6)  # fmt: skip
    saved = torch.load(tmp_path / name, weights_only=True)
    shape = {"input_dim": 1441, "output_dim": 768, "hidden_dim": 1024}
    assert list(saved if name.endswith("h") else saved["model_state_dict"]) == [
        "fc1.weight", "fc1.bias", "ln1.weight", "ln1.bias", "fc2.weight", "fc2.bias"]  # fmt: skip
    assert name.endswith("h") or {key: saved[key] for key in shape} == shape


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 30), st.integers(2, 40), st.integers(1, 30), st.sampled_from(["", "module.", "net.model."]),
       st.sampled_from(["model_state_dict", "state_dict", "model", ""]), st.integers(0, 2**31))  # fmt: skip
def test_any_widths_and_names(tmp_path_factory, dim_in, hidden, dim, prefix, wrapped, seed):
    file = original_perception.save(tmp_path_factory.mktemp("p") / "a.pth", seed, dim_in, dim, hidden)
    state = {prefix + key: value for key, value in torch.load(file, weights_only=True).items()}
    torch.save({wrapped: state, "epoch": 3, "input_dim": dim_in} if wrapped else state, file.with_name("b.pth"))
    x = np.random.default_rng(seed).standard_normal((5, dim_in)).astype(np.float32)
    z = heads.apply(head_pth.read(file.with_name("b.pth")), x)
    np.testing.assert_allclose(z, original_perception.project(file, x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("mode", ["center", "standardize", "whiten"])
def test_input_statistics_are_folded_into_the_first_layer(tmp_path, mode):
    x = (np.random.default_rng(0).standard_normal((200, 9)) * 3 + 5).astype(np.float32)
    head = parts.make("heads", {"name": "mlp", "hidden": 16, "dim": 4, "layer_norm": True, "activation": "tanh",
                                "preprocess": mode, "normalize": False})  # fmt: skip
    head.build(9, InputStats.of(x))
    formats.write(FittedHead(head.eval(), {}, None, "left"), tmp_path / "best_model.pth")
    np.testing.assert_allclose(
        original_perception.project(tmp_path / "best_model.pth", x), heads.apply(head, x), atol=2e-5
    )


def test_a_head_of_unit_length_keeps_its_directions(tmp_path):
    head = parts.make("heads", {"name": "mlp", "hidden": 16, "dim": 4, "layer_norm": True, "activation": "tanh",
                                "preprocess": "none"})  # fmt: skip
    head.build(1441)
    formats.write(FittedHead(head.eval(), {}, None, "left"), tmp_path / "a.pth")
    z = original_perception.project(tmp_path / "a.pth", X)
    np.testing.assert_allclose(z / np.linalg.norm(z, axis=1, keepdims=True), heads.apply(head, X), atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "face"}, "it is Face; fit one: sensorium run perception-document; or type: sensorium export onnx"),
        ({"name": "linear"}, "it is Linear; fit one"),
        ({"activation": "relu"}, "it has left.head.activation=relu"),
        ({"layer_norm": False}, "it has left.head.layer_norm=false"),
        ({"depth": 2}, "it has left.head.depth=2"),
        ({"residual": True}, "it has left.head.residual=true"),
        ({"preprocess": "unit"}, "it has left.head.preprocess=unit, which no linear layer can take in"),
    ],
)
def test_other_heads_are_refused(tmp_path, spec, message):
    document = {"name": "mlp", "hidden": 8, "layer_norm": True, "activation": "tanh", "preprocess": "none"}
    head = parts.make("heads", spec if "name" in spec else {**document, **spec})
    head.build(1441)
    with pytest.raises(BadRecipe, match=message):
        formats.write(FittedHead(head, {}, None, "left"), tmp_path / "other.pth")
    assert not (tmp_path / "other.pth").exists()


def test_other_ends_and_sides_are_refused(fitted, tmp_path):
    assert "expected best_model.pth, projection_best.pt (with its widths), or training_data.npz" in refused(
        "export", "perception", fitted.folder, "--out", tmp_path / "head.safetensors")  # fmt: skip
    assert "which is the left one; type: side=left" in refused(
        "export", "perception", fitted.folder, "side=right", "--out", tmp_path / "head.pth")  # fmt: skip
    assert "is of a store of faces; a run has its prompts" in refused(
        "export", "perception", fitted.folder, "prompts=x", "--out", tmp_path / "head.pth")  # fmt: skip
    with pytest.raises(BadRecipe, match="only a run has the vectors of training_data.npz"):
        formats.write(FittedHead(fitted.head("left"), {}, None, "left"), tmp_path / "a.npz")


def damaged():
    good = original_perception.Projection(6, 3, 4).state_dict()
    nan = {key: value.clone() for key, value in good.items()}
    nan["fc2.weight"][0, 0] = float("nan")
    norm = {**good, "ln1.weight": torch.full((4,), float("inf"))}
    turned = {**good, "fc2.weight": good["fc2.weight"].T.contiguous()}
    return {
        "no tensors": ({"a": 1}, "holds no head; expected a state dict with fc1.weight, ln1.weight and fc2.weight"),
        "a list": ([torch.zeros(3)], "holds no head"),
        "nothing": ({}, "holds no head"),
        "one layer": ({k: v for k, v in good.items() if not k.startswith("fc2")}, "holds 1 linear layers"),
        "no norm": ({k: v for k, v in good.items() if not k.startswith("ln1")}, "holds 0 layers of a weight"),
        "no bias of the norm": ({k: v for k, v in good.items() if k != "ln1.bias"}, "lacks 'ln1.bias'"),
        "another norm": ({**good, "ln1.weight": torch.ones(5), "ln1.bias": torch.ones(5)}, r"has shape \(5,\)"),
        "two norms": ({**good, "ln2.weight": torch.ones(4), "ln2.bias": torch.ones(4)}, "holds 2 layers of a weight"),
        "NaN": (nan, "holds NaN or infinity; its training diverged"),
        "infinity in the norm": (norm, "'ln1.weight' holds NaN or infinity"),
        "layers that do not follow": (turned, "do not follow each|the bias of 'fc2.weight' has shape"),
        "other widths": ({"model_state_dict": good, "input_dim": 1441}, "says input_dim 1441, its layers have 6"),
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_and_other_files_are_refused(tmp_path, name):
    content, message = damaged()[name]
    torch.save(content, tmp_path / "best_model.pth")
    with pytest.raises(BadData, match=message):
        head_pth.read(tmp_path / "best_model.pth")


def test_no_code_in_a_file_is_executed(tmp_path, place):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    torch.save({"fc1.weight": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "cut.pth").write_bytes((place / "best_model.pth").read_bytes()[:-1000])
    (tmp_path / "text.pth").write_text("no model")
    for file in ("evil.pth", "evil.pt", "cut.pth", "text.pth"):
        with pytest.raises(BadData):
            head_pth.read(tmp_path / file)
    assert not (tmp_path / "executed").exists()
    assert "no file" in refused("import", "perception", tmp_path / "none.pth", "--out", tmp_path / "run")


def test_head_and_data_of_other_widths_are_refused(place, tmp_path):
    narrow = original_perception.save(tmp_path / "narrow.pth", input_dim=1434, hidden_dim=8)
    data = f"data.file={place / 'training_data.npz'}"
    assert "takes faces of 1434 numbers, the faces have 1441; name the data that it was trained on" in refused(
        "import", "perception", narrow, data, "--out", tmp_path / "run")  # fmt: skip
    short = original_perception.save(tmp_path / "short.pth", output_dim=512, hidden_dim=8)
    assert "gives vectors of 512 numbers, the prompts have 768" in refused(
        "import", "perception", short, data, "--out", tmp_path / "run")  # fmt: skip
    assert not (tmp_path / "run").exists()


def arrays(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file}


def test_training_data_of_a_run_trains_the_original(fitted, place, tmp_path):
    call("export", "perception", fitted.folder, "--out", tmp_path / "training_data.npz")
    theirs, ours = arrays(place / "training_data.npz"), arrays(tmp_path / "training_data.npz")
    for name in ("perception_embeddings", "clip_embeddings", "prompts", "labels"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert set(np.unique(ours["split"])) == {"train", "validation", "test"}
    call(
        "run",
        "perception-document",
        f"data.file={tmp_path / 'training_data.npz'}",
        *FEW,
        "--out",
        tmp_path / "run",
        "--json",
    )
    again = sensorium.open(tmp_path / "run")
    assert again.metrics["split"] == fitted.metrics["split"]
    np.testing.assert_array_equal(again.project("left", X), fitted.project("left", X))


def test_training_data_through_stores(place, tmp_path):
    told = call("import", "perception", place / "training_data.npz", "--out", tmp_path / "stores")
    assert told["faces"] == 140 and told["prompts"] == 7
    for keys, folder in (([], ""), ([f"prompts={tmp_path / 'stores' / 'prompt'}"], "face")):
        call("export", "perception", tmp_path / "stores" / folder, *keys, "--out", tmp_path / "back.npz")
        theirs, ours = arrays(place / "training_data.npz"), arrays(tmp_path / "back.npz")
        for name in ("perception_embeddings", "clip_embeddings", "prompts", "labels"):
            np.testing.assert_array_equal(ours[name], theirs[name])
    assert "takes no 'data.flie'" in refused("import", "perception", place / "training_data.npz", "data.flie=x", "--out",
                                             tmp_path / "other")  # fmt: skip
    assert "type: sensorium run perception data.file=" in refused(
        "import", "perception", place / "training_data.npz", "train.lr=1", "--out", tmp_path / "other")  # fmt: skip
    assert "expected a file such as training_data.npz" in refused(
        "export", "perception", tmp_path / "stores", "--out", tmp_path / "folder")  # fmt: skip
    assert "holds no stores 'face' and 'prompt'; where it is a store of faces, name that" in refused(
        "export", "perception", tmp_path / "stores" / "face", "--out", tmp_path / "a.npz")  # fmt: skip


def test_stores_by_label_and_what_they_lack(tmp_path):
    from sensorium import store

    source = {"name": "made"}
    face = {"label": np.array(["happy", "sad"])}
    store.append(tmp_path / "a/face", ["1", "2"], X[:2], source, face)
    y = np.eye(3, 768, dtype=np.float32)
    store.append(tmp_path / "a/prompt", ["p", "q", "r"], y, source, {"label": np.array(["sad", "happy", "happy"])})
    call("export", "perception", tmp_path / "a", "--out", tmp_path / "a.npz")
    made = arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(made["perception_embeddings"], X[[0, 0, 1]])
    np.testing.assert_array_equal(made["clip_embeddings"], y[[1, 2, 0]])
    assert made["prompts"].tolist() == ["q", "r", "p"] and made["labels"].tolist() == ["happy", "happy", "sad"]
    store.append(tmp_path / "b/face", ["1", "2"], X[:2], source, {"label": np.array(["happy", "bored"])})
    store.append(tmp_path / "b/prompt", ["p"], y[:1], source, {"label": np.array(["happy"])})
    assert "1 faces have a label that" in refused("export", "perception", tmp_path / "b", "--out", tmp_path / "b.npz")
    store.append(tmp_path / "c/face", ["1", "2"], X[:2, :1434], source)
    store.append(tmp_path / "c/prompt", ["p"], y[:1], source)
    assert "nothing says which prompt a face has" in refused(
        "export", "perception", tmp_path / "c", "--out", tmp_path / "c.npz")  # fmt: skip
    store.append(tmp_path / "d/face", ["1"], X[:1, :1434], source, {"prompt": np.array(["p"])})
    store.append(tmp_path / "d/prompt", ["p"], y[:1], source)
    assert "vectors of 1434 numbers, the original's have 1441" in refused(
        "export", "perception", tmp_path / "d", "--out", tmp_path / "d.npz")  # fmt: skip
    wide = np.insert(X[:1], [1434] * 52, 0.25, axis=1)
    store.append(tmp_path / "e/face", ["1"], wide, source, {"prompt": np.array(["p"])})
    store.append(tmp_path / "e/prompt", ["p"], y[:1], source)
    call("export", "perception", tmp_path / "e", "--out", tmp_path / "e.npz")
    np.testing.assert_array_equal(arrays(tmp_path / "e.npz")["perception_embeddings"], X[:1])


@pytest.mark.slow
def test_the_recipe_trains_as_well_as_the_originals_loop(place):
    """The same data, epochs and learning rate: the best validation cosines are alike."""
    run = sensorium.run("perception-document", [f"data.file={place / 'training_data.npz'}", *FEW, "train.epochs=12"],
                        out=place / "runs" / "long", quiet=True)  # fmt: skip
    call("export", "perception", run.folder, "--out", place / "split.npz")
    made = arrays(place / "split.npz")
    rows = [np.flatnonzero(made["split"] == word) for word in ("train", "validation")]
    x, y = made["perception_embeddings"], made["clip_embeddings"]
    _, loss = original_perception.train(x, y, *rows, epochs=12, batch=32, lr=1e-4)
    assert run.metrics["fit"]["monitor"] == "cosine"
    assert abs((1 - run.metrics["fit"]["validation"]) - loss) < 0.01
    assert run.head("left").arguments["gain"] == 0.5 and not run.head("left").normalize
    assert isinstance(run.head("left").preprocess, Preprocess) and run.head("left").preprocess.mode == "none"
