"""The original's projection_heads.pt in and out: the same vectors, any prefix, older files, and what is refused."""

import numpy as np
import original_embed2image as original
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sensorium import parts
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting.build import input_statistics
from sensorium.systems.embed2image import heads_pt
from sensorium.types import Embeddings


def outputs(head, x):
    with torch.inference_mode():
        return F.normalize(head(x), dim=-1)


def made(folder, in_dim=24, hidden=32, out=16, activation="relu", dropout=0.1, text_dim=20):
    torch.manual_seed(0)
    anchor = original.ProjectionHead(in_dim, hidden, out, activation, dropout)
    text = original.ProjectionHead(text_dim, hidden, out, activation, dropout)
    return original.checkpoint(folder / "projection_heads.pt", anchor, text), anchor.eval(), text.eval()


@settings(max_examples=12, deadline=None)
@given(hidden=st.sampled_from([0, 8, 32]), activation=st.sampled_from(["relu", "gelu"]),
       dropout=st.sampled_from([0.0, 0.1]), seed=st.integers(0, 1000))  # fmt: skip
def test_every_head_of_the_original_gives_the_same_vectors_here_and_back(
    tmp_path_factory, hidden, activation, dropout, seed
):
    folder = tmp_path_factory.mktemp("heads")
    path, anchor, text = made(folder, hidden=hidden, activation=activation, dropout=dropout)
    torch.manual_seed(seed)
    x, y = torch.randn(7, 24), torch.randn(7, 20)
    found = heads_pt.read(path)
    assert (found.epoch, found.loss, found.assumed) == (7, 2.5, "")
    torch.testing.assert_close(outputs(found.heads["left"], x), outputs(anchor, x), atol=1e-6, rtol=0)
    torch.testing.assert_close(outputs(found.heads["right"], y), outputs(text, y), atol=1e-6, rtol=0)
    heads_pt.write(found.heads["left"], found.heads["right"], folder / "back.pt", 3, 1.5)
    saved = torch.load(folder / "back.pt", weights_only=True)
    before = torch.load(path, weights_only=True)
    assert saved["config"] == before["config"] if hidden else saved["config"]["anchor_head"]["hidden_dim"] is None
    assert (saved["epoch"], saved["loss"]) == (3, 1.5)
    for name in ("anchor_head", "text_head"):
        assert saved[name].keys() == before[name].keys()
        assert all(torch.equal(saved[name][key], before[name][key]) for key in before[name])
    theirs = original.load(folder / "back.pt", 24, 20)
    torch.testing.assert_close(outputs(theirs[0], x), outputs(anchor, x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("preprocess", ["none", "center", "standardize", "whiten"])
@pytest.mark.parametrize("name", ["mlp", "linear"])
def test_heads_of_ours_are_loaded_by_the_original(tmp_path, name, preprocess):
    """Vectors with a mean and scale of their own: the statistics are folded into the first layer."""
    x = np.random.default_rng(0).standard_normal((80, 24)).astype(np.float32) * 2 + 1
    built = []
    for _ in range(2):
        head = parts.make("heads", {"name": name, "dim": 16, "preprocess": preprocess})
        head.build(24, input_statistics(Embeddings(np.arange(80).astype(str), x, {}), np.arange(80)))
        built.append(head.eval())
    heads_pt.write(*built, tmp_path / "heads.pt")
    theirs = original.load(tmp_path / "heads.pt")
    for ours, other in zip(built, theirs[:2], strict=True):
        torch.testing.assert_close(outputs(other, torch.from_numpy(x)), outputs(ours, torch.from_numpy(x)), atol=1e-6,
                                   rtol=0)  # fmt: skip
    again = heads_pt.read(tmp_path / "heads.pt")
    torch.testing.assert_close(
        outputs(again.heads["left"], torch.from_numpy(x)), outputs(theirs[0], torch.from_numpy(x))
    )


@pytest.mark.parametrize("name", ["mlp", "linear"])
def test_heads_that_scale_their_inputs_are_those_of_unit_vectors(tmp_path, name):
    x, heads = torch.randn(9, 24), []
    for _ in range(2):
        heads.append(parts.make("heads", {"name": name, "dim": 16, "preprocess": "unit"}))
        heads[-1].build(24)
        heads[-1].eval()
    heads_pt.write(*heads, tmp_path / "heads.pt")
    theirs = original.load(tmp_path / "heads.pt")[0]
    torch.testing.assert_close(outputs(theirs, F.normalize(x, dim=-1)), outputs(heads[0], x), atol=1e-6, rtol=0)


def test_older_files_and_any_prefix_are_read(tmp_path):
    path, anchor, text = made(tmp_path)
    saved, x, y = torch.load(path, weights_only=True), torch.randn(5, 24), torch.randn(5, 20)
    audio, other = saved["anchor_head"], saved["text_head"]
    flat = {f"audio_head.{key}": value for key, value in reversed(list(audio.items()))}
    flat |= {f"text_head.{key}": value for key, value in other.items()}
    wrapped = [
        {"audio_head": audio, "text_head": other, "epoch": 1, "loss": 0.1},
        flat,
        {"state_dict": {f"module.{key}": value for key, value in flat.items()}},
        {"model_state_dict": {f"model.{key}": value for key, value in flat.items()}},
        {"audio_head": {f"module.layers.{k.removeprefix('net.')}": v for k, v in audio.items()}, "text_head": other},
    ]
    for content in wrapped:
        torch.save(content, tmp_path / "h.pt")
        found = heads_pt.read(tmp_path / "h.pt")
        assert found.assumed == "activation=relu"
        torch.testing.assert_close(outputs(found.heads["left"], x), outputs(anchor, x), atol=1e-6, rtol=0)
        torch.testing.assert_close(outputs(found.heads["right"], y), outputs(text, y), atol=1e-6, rtol=0)
    gelu = heads_pt.read(tmp_path / "h.pt", "gelu")
    assert gelu.heads["left"].arguments["activation"] == "gelu" and not gelu.assumed
    with pytest.raises(BadRecipe, match="activation=tanh; expected relu or gelu"):
        heads_pt.read(tmp_path / "h.pt", "tanh")


def test_layers_are_taken_in_the_order_of_their_numbers(tmp_path):
    """net.10 comes after net.3, as numbers and not as text."""
    path, anchor, _ = made(tmp_path)
    saved, x = torch.load(path, weights_only=True), torch.randn(5, 24)
    moved = {key.replace("net.0", "net.9").replace("net.3", "net.10"): v for key, v in saved["anchor_head"].items()}
    torch.save({**saved, "anchor_head": moved}, path)
    torch.testing.assert_close(outputs(heads_pt.read(path).heads["left"], x), outputs(anchor, x), atol=1e-6, rtol=0)


def faults():
    def without_text(saved):
        del saved["text_head"]

    def nan(saved):
        saved["text_head"]["net.3.bias"][2] = torch.nan

    def wide(saved):
        saved["anchor_head"]["net.3.weight"] = torch.zeros(16, 31)

    def other_config(saved):
        saved["config"]["anchor_head"]["out_dim"] = 99

    def activation(saved):
        saved["config"]["text_head"]["activation"] = "tanh"

    def other_dims(saved):
        saved["text_head"] |= {"net.3.weight": torch.zeros(8, 32), "net.3.bias": torch.zeros(8)}
        saved["config"]["text_head"]["out_dim"] = 8

    def a_norm(saved):
        saved["anchor_head"]["net.1.weight"] = torch.ones(32)

    def bias(saved):
        saved["anchor_head"]["net.0.bias"] = torch.ones(31)

    return [
        (without_text, "holds no text_head"), (nan, "'text_head.net.3.weight' holds NaN or infinity"),
        (wide, "do not follow each other"), (other_config, "config says out_dim 99, the layers 16"),
        (activation, "config says activation 'tanh'; expected relu or gelu"),
        (other_dims, "vectors of 16 and 8 numbers"), (a_norm, "are not linear layers alone"),
        (bias, r"the bias of 'anchor_head.net.0.weight' has shape \(31,\)"),
    ]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), faults(), ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_no_such_checkpoint_is_refused_by_name(tmp_path, change, message):
    path, *_ = made(tmp_path)
    saved = torch.load(path, weights_only=True)
    change(saved)
    torch.save(saved, path)
    with pytest.raises(BadData, match=message):
        heads_pt.read(path)


class Code:
    def __reduce__(self):
        return (print, ("executed",))


def test_no_code_in_a_file_is_executed(tmp_path, capsys):
    torch.save({"anchor_head": Code(), "text_head": {}}, tmp_path / "h.pt")
    with pytest.raises(BadData, match="no other code in it is run"):
        heads_pt.read(tmp_path / "h.pt")
    torch.save(torch.zeros(3), tmp_path / "h.pt")
    with pytest.raises(BadData, match="holds a Tensor"):
        heads_pt.read(tmp_path / "h.pt")
    assert "executed" not in capsys.readouterr().out


def test_other_heads_are_refused_with_what_to_type(tmp_path):
    good = parts.make("heads", {"name": "mlp", "dim": 16})
    good.build(24)
    for spec, why in (({"name": "mlp", "dim": 16, "depth": 2}, r"left.head.depth=2"),
                      ({"name": "mlp", "dim": 16, "activation": "tanh"}, r"left.head.activation=tanh"),
                      ({"name": "mlp", "dim": 16, "residual": True}, r"left.head.residual=true"),
                      ({"name": "linear", "dim": 16, "normalize": False}, r"left.head.normalize=false")):  # fmt: skip
        head = parts.make("heads", spec)
        head.build(24)
        with pytest.raises(BadRecipe, match=f"{why}.*sensorium run clotho"):
            heads_pt.write(head, good, tmp_path / "h.pt")
    assert not list(tmp_path.iterdir())
