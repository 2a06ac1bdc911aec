"""The original's vision head in and out: the same vectors of the same pictures, in eval mode and after training."""

import numpy as np
import original_embed2image as original
import pytest
import torch
from torch.nn import functional as F

from sensorium import parts
from sensorium.errors import BadData, BadRecipe
from sensorium.systems.embed2image import heads_pt

SMALL = {**original.IMAGES, "image_size": 16}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return original.made_cache(tmp_path_factory.mktemp("vision") / "cache", clips=20, each=2, audio_dim=40).parent


def trained(place, path, hidden=24, dropout=0.1, blocks=5, images=SMALL):
    """A head after some steps, so that its batch statistics are no ones and zeros."""
    torch.manual_seed(1)
    anchor = original.VisionProjectionHead(16, 2, hidden, dropout, blocks)
    heads = original.train(place / "cache", anchor, original.ProjectionHead(48, 24, 16), steps=4)
    return original.checkpoint(path, *heads, images=images)


@pytest.mark.parametrize("images", [SMALL, {**SMALL, "minmax": "channel", "clip": True, "channel_mode": "replicate"},
                                    {**SMALL, "image_mode": "bilinear"}])  # fmt: skip
@pytest.mark.parametrize(("hidden", "dropout", "blocks"), [(24, 0.1, 5), (24, 0.0, 4), (0, 0.1, 5)])
def test_a_vision_head_gives_the_same_vectors_here_and_back(place, tmp_path, hidden, dropout, blocks, images):
    path = trained(place, tmp_path / "v.pt", hidden, dropout, blocks, images)
    x = torch.load(place / "cache" / "audio_embeddings.pt", weights_only=True)
    expected = original.project(path, place / "cache")[0]
    found = heads_pt.read(path, dim_in=40)
    assert found.vision and found.heads["left"].arguments["tail"] == (blocks == 5)
    with torch.inference_mode():
        torch.testing.assert_close(found.heads["left"](x), expected, atol=1e-6, rtol=0)
    heads_pt.write(found.heads["left"], found.heads["right"], tmp_path / "back.pt", 7, 2.5)
    torch.testing.assert_close(original.project(tmp_path / "back.pt", place / "cache")[0], expected, atol=1e-6, rtol=0)
    saved, before = (torch.load(one, weights_only=True) for one in (tmp_path / "back.pt", path))
    assert saved["config"] == before["config"] and saved["anchor_head"].keys() == before["anchor_head"].keys()
    assert all(torch.equal(saved["anchor_head"][key], value) for key, value in before["anchor_head"].items())


def test_an_older_file_of_any_prefix_has_the_originals_settings(place, tmp_path):
    path = trained(place, tmp_path / "v.pt")
    saved = torch.load(path, weights_only=True)
    moved = {f"module.audio_head.{key}": value for key, value in reversed(list(saved["anchor_head"].items()))}
    moved |= {f"module.text_head.{key}": value for key, value in saved["text_head"].items()}
    torch.save(moved, tmp_path / "old.pt")
    found = heads_pt.read(tmp_path / "old.pt", dim_in=40)
    own = found.heads["left"].arguments
    assert (own["size"], own["mode"], own["channels"], own["clamp"]) == (128, "nearest", "split", False)
    x = torch.load(place / "cache" / "audio_embeddings.pt", weights_only=True)[:4]
    theirs = original.load(path)[0]
    with torch.inference_mode():
        expected = F.normalize(theirs(original.pseudo_images(x)), dim=-1)
        torch.testing.assert_close(found.heads["left"](x), expected, atol=1e-6, rtol=0)


def test_what_is_no_such_head_is_refused(place, tmp_path):
    path = trained(place, tmp_path / "v.pt")

    def changed(change, images=None):
        saved = torch.load(path, weights_only=True)
        change(saved["anchor_head"])
        saved["config"]["vision_images"] |= images or {}
        torch.save(saved, tmp_path / "x.pt")
        with pytest.raises(BadData) as error:
            heads_pt.read(tmp_path / "x.pt", dim_in=40)
        return str(error.value)

    assert "9 convolutions" in changed(lambda state: state.pop("features.2.0.weight"))
    assert "lacks 'anchor_head.features.0.1.bias'" in changed(lambda state: state.pop("features.0.1.bias"))
    assert "NaN or infinity" in changed(lambda state: state["features.0.0.weight"].fill_(np.nan))
    wrong = changed(lambda state: state.update({"features.2.0.weight": torch.zeros(4, 3, 3, 3)}))
    assert "do not follow each other" in wrong
    assert "mode 'cubic'" in changed(lambda state: None, {"image_mode": "cubic"})


def test_a_cnn_that_the_original_cannot_hold_is_refused(tmp_path):
    text = parts.make("heads", {"name": "mlp", "dim": 16})
    text.build(24)
    for key, value in (("stages", 2), ("quantize", True), ("preprocess", "standardize"), ("normalize", False)):
        head = parts.make("heads", {"name": "cnn", "dim": 16, "size": 16, "width": 2, key: value})
        head.build(24)
        with pytest.raises(BadRecipe, match=rf"left\.head\.{key}={str(value).lower()}"):
            heads_pt.write(head, text, tmp_path / "h.pt")
    assert not list(tmp_path.iterdir())
