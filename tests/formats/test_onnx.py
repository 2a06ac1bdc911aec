"""A head elsewhere: as an ONNX graph, in NumPy alone, and as the document's model.pth."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from frame_heads import SPECS, C, D, made
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_voice import EVERYTHING, RATE, voice
from original_lstm import EmotionLSTM

from sensorium import heads, parts
from sensorium.encoders.mfcc import Mfcc
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.formats import FittedHead, onnx
from sensorium.heads._preprocess import MODES
from sensorium.numerics.moments import InputStats
from sensorium.stream.lite import Head, Lite
from sensorium.systems.speech_emotion import model_pth


@pytest.mark.parametrize("name", SPECS)
def test_onnx_with_state_equals_the_head(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnx onnxruntime")
    head = made(name)
    inputs = onnx.export_onnx(head, tmp_path / "head.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "head.onnx"), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == inputs
    for b, blocks in ((1, (1, 1, 130)), (3, (7, 60))):
        state = [part.numpy() for part in head.start(b)]
        ours = head.start(b)
        for t in blocks:
            x = torch.randn(b, t, D) * 3 + 2
            found, *state = session.run(None, dict(zip(inputs, [x.numpy(), *state], strict=True)))
            with torch.inference_mode():
                wanted, ours = head.step(x, ours)
            np.testing.assert_allclose(found, wanted, atol=1e-5)
            for a, w in zip(state, ours, strict=True):
                np.testing.assert_allclose(a, w, atol=1e-5, rtol=1e-5)


VECTOR_HEADS = [
    {"name": "identity"}, {"name": "identity", "normalize": False}, {"name": "pca", "rank": 3},
    {"name": "pca", "rank": 3, "whiten": True},
    {"name": "face", "points": 2, "emotions": 1, "eyes": [[0], [1]], "dim": 4},
    {"name": "face", "points": 2, "emotions": 1, "eyes": [[0], [1]], "components": 0, "depth": 0, "normalize": False},
    *[{"name": name, "preprocess": mode, "dim": 4} for name in ("linear", "mlp") for mode in MODES],
    *[{"name": "mlp", "hidden": 8, "depth": 2, "activation": word, "residual": True, "layer_norm": True, "normalize": True}
      for word in ("relu", "gelu", "tanh", "silu")],
    {"name": "random_features", "features": 24, "dim": 4}, {"name": "residual", "dim": 4, "depth": 3}, {"name": "star", "dim": 4, "hidden": 8},
    {"name": "star", "hidden": 8, "activation": "none", "preprocess": "none", "normalize": False},
    {"name": "adapted"}, {"name": "adapted", "head": {"name": "linear", "dim": 4}, "width": 3, "hidden": 5, "unit_length": True},
    {"name": "cnn", "size": 9, "stages": 2, "width": 2, "hidden": 6},
    {"name": "cnn", "size": 8, "stages": 1, "width": 2, "hidden": 0, "tail": True, "mode": "bicubic",
     "channels": "replicate", "minmax": "channel", "clamp": True, "preprocess": "standardize"},
    {"name": "cnn", "size": 4, "stages": 2, "width": 2, "mode": "area", "minmax": "none", "normalize": False},
    {"name": "cnn", "size": 16, "stages": 2, "width": 2, "quantize": True, "mode": "nearest-exact"},
]  # fmt: skip


@pytest.mark.parametrize("spec", VECTOR_HEADS, ids=lambda spec: "-".join(map(str, spec.values())))
def test_onnx_of_a_head_of_vectors_equals_the_head(spec: dict, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnx onnxruntime")
    torch.manual_seed(0)
    head = parts.make("heads", spec)
    rows = np.random.default_rng(0).normal(2.0, 3.0, size=(500, D)).astype(np.float32)
    head.build(D, InputStats.of(rows, np.arange(500)), 4)
    head.eval()
    assert onnx.write(FittedHead(head, {"name": "x"}, None, "left"), tmp_path / "head.onnx") == [
        tmp_path / "head.onnx", tmp_path / "head.json"
    ]  # fmt: skip
    about = json.loads((tmp_path / "head.json").read_text())
    assert (about["inputs"], about["outputs"], about["dim_in"], about["dim"]) == (["vectors"], ["outputs"], D, head.dim)
    session = onnxruntime.InferenceSession(str(tmp_path / "head.onnx"), providers=["CPUExecutionProvider"])
    for n in (1, 2, 77):
        with torch.inference_mode():
            expected = head(torch.from_numpy(rows[:n])).numpy()
        np.testing.assert_allclose(session.run(None, {"vectors": rows[:n]})[0], expected, atol=1e-5, rtol=1e-5)


WHOLE = {**{name: {"name": name, **spec} for name, spec in SPECS.items()},
         "layers": {"name": "layers", "layers": 5, "hidden": 7}, "layers alone": {"name": "layers", "layers": 1, "hidden": 0,
                                                                                "preprocess": "unit", "normalize": True}}  # fmt: skip


def built(spec: dict) -> torch.nn.Module:
    """A head with statistics of frames and random weights, in evaluation mode."""
    torch.manual_seed(0)
    head = parts.make("heads", spec)
    rows = np.random.default_rng(0).normal(2.0, 3.0, size=(500, D)).astype(np.float32)
    head.build(D, InputStats.of(rows, np.arange(500)), 4)
    if head.takes_sequences and not head.takes_vectors:
        head(torch.randn(64, 9, D) * 3 + 2, torch.full((64,), 9))  # running statistics of a batch, where there are some
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return head.eval()


@pytest.mark.parametrize("name", WHOLE)
def test_onnx_of_whole_sequences_equals_the_head(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnx onnxruntime")
    head = built(WHOLE[name])
    assert onnx.export_onnx(head, tmp_path / "head.onnx", "whole") == ["frames", "lengths"]
    session = onnxruntime.InferenceSession(str(tmp_path / "head.onnx"), providers=["CPUExecutionProvider"])
    for b, t in ((1, 1), (3, 50), (5, 7)):
        x, lengths = torch.randn(b, t, D) * 3 + 2, torch.randint(1, t + 1, (b,))
        found = session.run(None, {"frames": x.numpy(), "lengths": lengths.numpy()})[0]
        with torch.inference_mode():
            np.testing.assert_allclose(found, head(x, lengths), atol=1e-5, rtol=1e-5)


def test_a_head_has_the_graphs_that_its_inputs_allow(tmp_path: Path) -> None:
    out = tmp_path / "head.onnx"
    with pytest.raises(BadRecipe, match="the Recurrent head has no graph 'vectors'; it has whole, stream"):
        onnx.export_onnx(made("lstm"), out, "vectors")
    with pytest.raises(BadRecipe, match="the Linear head has no graph 'hole'; known: vectors"):
        onnx.export_onnx(built({"name": "linear"}), out, "hole")
    pytest.importorskip("onnxruntime", reason="pip install onnx onnxruntime")
    layers = built(WHOLE["layers"])
    for frames, graph in ((False, "vectors"), (True, "whole")):
        onnx.write(FittedHead(layers, {}, None, "left", frames), out)
        about = json.loads((tmp_path / "head.json").read_text())
        assert about["graph"] == graph and about["start"] == []


def test_every_head_exports_loads_and_runs_without_torch(tmp_path: Path) -> None:
    """No part is forgotten: whatever lies in heads/ has a graph, a file that load() opens, and a NumPy version."""
    pytest.importorskip("onnxruntime", reason="pip install onnx onnxruntime")
    needed = {
        "layers": {"layers": 1},
        "cnn": {"size": 16, "width": 4},
        "face": {"points": 2, "emotions": 1, "eyes": [[0], [1]]},
    }
    for name in parts.names("heads"):
        head = built({"name": name, **needed.get(name, {})})
        assert onnx.export_onnx(head, tmp_path / f"{name}.onnx")
        heads.save(head, tmp_path / name, name, {"name": "x"})
        loaded = heads.load(tmp_path / name)
        assert isinstance(loaded, torch.nn.Module) and not loaded.training and loaded.encoder == {"name": "x"}
        assert Head(tmp_path / name).name == name


@pytest.mark.parametrize("spec", [*VECTOR_HEADS, WHOLE["layers"]], ids=lambda spec: "-".join(map(str, spec.values())))
def test_numpy_alone_equals_heads_of_vectors(spec: dict, tmp_path: Path) -> None:
    head = built(spec)
    heads.save(head, tmp_path / "left", spec["name"], {"name": "x"})
    x = np.random.default_rng(1).normal(2.0, 5.0, size=(300, D)).astype(np.float32)
    with torch.inference_mode():
        wanted = head(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(Head(tmp_path / "left")(x), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", WHOLE)
def test_numpy_alone_equals_heads_of_sequences(name: str, tmp_path: Path) -> None:
    head = built(WHOLE[name])
    heads.save(head, tmp_path / "left", WHOLE[name]["name"], {"name": "x"})
    for t in (1, 2, 40):
        x = np.random.default_rng(t).normal(2.0, 3.0, size=(t, D)).astype(np.float32)
        with torch.inference_mode():
            wanted = head(torch.from_numpy(x)[None], torch.tensor([t]))[0].numpy()
        np.testing.assert_allclose(Head(tmp_path / "left").sequence(x), wanted, atol=1e-5, rtol=1e-5)


def test_vectors_run_without_importing_torch_from_one_file(tmp_path: Path) -> None:
    head = built({"name": "mlp", "hidden": 16})
    heads.save(head, tmp_path / "left", "mlp", {"name": "x"})
    x = np.random.default_rng(1).normal(size=(20, D)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "left.json").unlink()  # the weights' file describes itself
    code = f"""
import sys, numpy as np
from sensorium.stream.lite import Head
head = Head({str(tmp_path / "left.safetensors")!r})
np.save({str(tmp_path / "z.npy")!r}, head(np.load({str(tmp_path / "x.npy")!r})))
assert "torch" not in sys.modules and head.encoder == {{"name": "x"}}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with torch.inference_mode():
        wanted = heads.load(tmp_path / "left.safetensors")(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), wanted, atol=1e-5)


def test_what_is_no_head_is_named(tmp_path: Path) -> None:
    head = built({"name": "linear"})
    for side in ("left", "right"):
        heads.save(head, tmp_path / side, "linear", {})
    for open_head in (heads.load, Head):
        with pytest.raises(BadRecipe, match="no head .*nothing.safetensors; expected a run's side"):
            open_head(tmp_path / "nothing")
    with pytest.raises(BadRecipe, match="holds two heads; name one: .*left or .*right"):
        heads.load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadRecipe, match="holds no head"):
        heads.load(tmp_path / "empty")
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    with pytest.raises(Corrupt, match="does not describe a head"):
        heads.load(tmp_path / "broken")
    with pytest.raises(Corrupt, match="holds no head"):
        Head(tmp_path / "broken")
    lite = Head(tmp_path / "left")
    with pytest.raises(BadData, match=r"vectors of shape \(2, 3\); the head takes \(n, 5\)"):
        lite(np.ones((2, 3)))
    with pytest.raises(BadRecipe, match="the linear head takes vectors"):
        lite.sequence(np.ones((2, D)))
    with pytest.raises(BadRecipe, match="the linear head does not stream"):
        lite.stream()
    heads.save(made("lstm"), tmp_path / "frames", "lstm", {})
    with pytest.raises(BadRecipe, match="the lstm head takes the frames of an item"):
        Head(tmp_path / "frames")(np.ones((2, D)))
    with pytest.raises(BadData, match="an item without frames"):
        Head(tmp_path / "frames").sequence(np.ones((0, D)))


@pytest.mark.parametrize("preprocess", MODES)
def test_numpy_alone_prepares_frames_as_torch_does(preprocess: str, tmp_path: Path) -> None:
    encoder, x = Mfcc(), voice(0.8)
    frames = encoder.encode([(x, RATE)])[0]
    head = parts.make("heads", {"name": "lstm", "hidden": 8, "depth": 1, "preprocess": preprocess})
    head.build(encoder.dim, InputStats.of(frames, np.arange(len(frames))), C)
    heads.save(head.eval(), tmp_path / "left", "lstm", encoder.fingerprint)
    with torch.inference_mode():
        wanted = head.step(torch.from_numpy(frames)[None])[0][0].numpy()
    np.testing.assert_allclose(Lite(tmp_path / "left").push(x, last=True), wanted, atol=1e-5)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("options", [{}, {**EVERYTHING, "silence": "drop"}, {"silence": "mark", "cmvn": "running"}])
def test_numpy_alone_equals_torch(name: str, options: dict, tmp_path: Path) -> None:
    encoder = Mfcc(**options)
    x = voice(0.8)
    frames = encoder.encode([(x, RATE)])[0]
    torch.manual_seed(0)
    head = parts.make("heads", {"name": name, **SPECS[name]})
    head.build(encoder.dim, InputStats.of(frames, np.arange(len(frames))), C)
    for _ in range(20):
        head(
            torch.from_numpy(frames)[None].repeat(8, 1, 1) + torch.randn(8, 1, encoder.dim),
            torch.full((8,), len(frames)),
        )
    head.eval()
    heads.save(head, tmp_path / "left", SPECS[name].get("name", name), encoder.fingerprint)
    with torch.inference_mode():
        wanted = head.step(torch.from_numpy(frames)[None])[0][0].numpy()
    lite = Lite(tmp_path / "left")
    cuts = [x[:100], x[100:101], x[101:5000], x[5000:], x[:0]]
    found = np.concatenate([lite.push(chunk, last=i == len(cuts) - 1) for i, chunk in enumerate(cuts)])
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-4)


COMMON = {"preprocess": st.sampled_from(MODES), "normalize": st.booleans(), "dim": st.sampled_from([None, 1, 5])}
HEADS = st.one_of(
    st.fixed_dictionaries({"name": st.sampled_from(["lstm", "gru"]), "hidden": st.integers(1, 9),
                           "depth": st.integers(1, 3), **COMMON}),
    st.fixed_dictionaries({"name": st.just("statistics"), "levels": st.integers(0, 7), "relations": st.sampled_from([0, 1]),
                           "hidden": st.integers(1, 9), "depth": st.integers(0, 3), "members": st.integers(1, 3), **COMMON}),
    st.fixed_dictionaries({"name": st.just("tcn"), "width": st.integers(1, 9), "depth": st.integers(1, 4),
                           "kernel": st.integers(1, 6), **COMMON}),
)  # fmt: skip
ENCODERS = st.fixed_dictionaries({
    "n_mfcc": st.integers(1, 13), "n_mels": st.integers(13, 40), "fft": st.sampled_from([401, 512]),
    "hop": st.sampled_from([7.5, 10.0, 32.0]), "fmin": st.sampled_from([0.0, 80.0]),
    "fmax": st.sampled_from([0.0, 4000.0]), "mels": st.booleans(), "energy": st.booleans(), "pitch": st.booleans(),
    "shape": st.booleans(), "deltas": st.integers(0, 2), "silence": st.sampled_from(["keep", "mark", "drop"]),
    "silence_db": st.floats(5.0, 60.0), "silence_floor": st.floats(-80.0, -20.0),
    "silence_release": st.sampled_from([0.0, 20.0]), "cmvn": st.sampled_from(["none", "running"]),
})  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=HEADS, options=ENCODERS, seed=st.integers(0, 9))
def test_numpy_alone_equals_torch_for_any_arguments(arguments: dict, options: dict, seed: int, tmp_path: Path) -> None:
    encoder, x = Mfcc(**options), voice(1.2, seed)
    frames = encoder.encode([(x, RATE)])[0]
    torch.manual_seed(seed)
    head = parts.make("heads", arguments)
    rows = np.random.default_rng(seed).normal(size=(300, encoder.dim)) * frames.std() + frames.mean()
    head.build(encoder.dim, InputStats.of(rows, np.arange(len(rows))), C)
    for parameter in head.parameters():
        parameter.requires_grad_(False).add_(0.1 * torch.randn_like(parameter))
    head(torch.randn(16, 60, encoder.dim) * float(frames.std()), torch.full((16,), 60))  # running statistics
    heads.save(head.eval(), tmp_path / "left", arguments["name"], encoder.fingerprint)
    with torch.inference_mode():
        wanted = head.step(torch.from_numpy(frames)[None])[0][0].numpy()
    lite = Lite(tmp_path / "left")
    found = np.concatenate([lite.push(chunk) for chunk in np.split(x, [333, 9000])] + [lite.push(x[:0], last=True)])
    np.testing.assert_allclose(found, wanted, atol=1e-3 * max(1.0, np.abs(wanted).max()))


def test_numpy_alone_loads_no_torch(tmp_path: Path) -> None:
    encoder, head = Mfcc(), made("lstm")
    heads.save(head, tmp_path / "left", "lstm", {**encoder.fingerprint})
    code = ("import sys, numpy as np; from sensorium.stream.lite import Lite; "
            f"lite = Lite({str(tmp_path / 'left')!r}); lite.features.push(np.zeros(900, np.float32)); "
            "assert not {'torch', 'scipy', 'soundfile'} & set(sys.modules)")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    (tmp_path / "left.safetensors").write_bytes(b"damaged")
    with pytest.raises(Corrupt, match="fit the head again"):
        Lite(tmp_path / "left")
    heads.save(head, tmp_path / "left", "lstm", {"name": "wavlm"})
    with pytest.raises(BadRecipe, match="'lstm' on 'wavlm'"):
        Lite(tmp_path / "left")


@pytest.mark.parametrize("wrapped", [False, True])
def test_model_pth_in(wrapped: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = EmotionLSTM().eval()
    held = {"epoch": 3, "model_state_dict": theirs.state_dict()} if wrapped else theirs.state_dict()
    torch.save(held, tmp_path / "model.pth")
    ours = model_pth.read(tmp_path / "model.pth")
    x = torch.randn(2, 31, 13)
    torch.testing.assert_close(ours(x, torch.tensor([31, 31])), theirs(x), atol=1e-6, rtol=1e-5)


def test_model_pth_out(tmp_path: Path) -> None:
    ours = parts.make("heads", "lstm")
    frames = np.random.default_rng(0).normal(5.0, 20.0, size=(400, 13))
    ours.build(13, InputStats.of(frames, np.arange(400)), 8)
    model_pth.write(ours.eval(), tmp_path / "model.pth")
    theirs = EmotionLSTM().eval()
    theirs.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
    x = torch.from_numpy(frames[:200].astype(np.float32)).reshape(2, 100, 13)
    torch.testing.assert_close(theirs(x), ours(x, torch.tensor([100, 100])), atol=1e-5, rtol=1e-4)
    assert model_pth.stated_features(tmp_path / "model.pth") == {"cmvn": "none"}
    for head in (made("gru"), parts.make("heads", {"name": "lstm", "preprocess": "unit"})):
        if not hasattr(head, "dim_in"):
            head.build(13, None, 8)
        with pytest.raises(BadRecipe, match="an lstm head.*not .*sensorium export onnx"):
            model_pth.write(head, tmp_path / "no.pth")


class Evil:
    def __reduce__(self) -> tuple:
        return (open, ("/tmp/pwned-by-a-pickle", "w"))


def test_model_pth_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    with pytest.raises(BadData, match="no file"):
        model_pth.read(path)
    torch.save(Evil(), path)
    with pytest.raises(BadData, match="tensors and plain values"):
        model_pth.read(path)
    assert not Path("/tmp/pwned-by-a-pickle").exists()
    for held, said in (([1, 2], "holds no state dict"), ({"a": torch.zeros(1)}, "no matrix 'lstm.weight_ih_l0'"),
                       ({**EmotionLSTM().state_dict(), "extra": torch.zeros(1)}, "is not the document's LSTM"),
                       ({**EmotionLSTM().state_dict(), "fc.bias": torch.full((8,), torch.nan)}, "'fc.bias' holds NaN")):  # fmt: skip
        torch.save(held, path)
        with pytest.raises(BadData, match=said):
            model_pth.read(path)
