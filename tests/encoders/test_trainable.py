"""Encoders of pictures that a fit may train: the same vectors with gradients, blocks, trained weights in their place."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from sensorium import fingerprint, parts
from sensorium.errors import BadRecipe, Corrupt, SensoriumError
from sensorium.fitting.finetune import select

torch = pytest.importorskip("torch")
tiny_towers = pytest.importorskip("tiny_towers", reason="the extra 'transformers' is not installed")
NAMES = ("clip", "siglip", "dinov2")
ALL = (*NAMES, "efficientnet_lite")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: tiny_towers.MAKERS[name](folder / name) for name in NAMES}


def make(name: str, folders: dict[str, Path], **more: object) -> object:
    if name == "efficientnet_lite":
        pytest.importorskip("efficientnet_lite_pytorch", reason="type: pip install 'sensorium[image]'")
        return parts.make("encoders", {"name": name, "precision": "fp32"})
    made = parts.make("encoders", {"name": name, "model": str(folders[name]), "precision": "fp32", **more})
    made.choose("image")
    return made


def inputs(encoder: object) -> torch.Tensor:
    return torch.from_numpy(np.stack([encoder.pixels(picture) for picture in tiny_towers.pictures()]))


@pytest.mark.parametrize("name", ALL)
def test_features_are_the_vectors_and_have_gradients(name, folders):
    encoder = make(name, folders)
    assert encoder.trains
    network = encoder.load()
    found = encoder.features(network, inputs(encoder))
    np.testing.assert_allclose(found.detach().numpy(), encoder.encode(tiny_towers.pictures()), atol=5e-5)
    trained = select(network, encoder, tiny_towers.pictures()[0], 1)
    encoder.features(network, inputs(encoder)).square().mean().backward()
    assert trained and all(p.grad is not None and p.grad.abs().max() > 0 for p in trained.values())
    assert all(p.grad is None for key, p in network.named_parameters() if key not in trained)


@pytest.mark.parametrize("name", ALL)
def test_the_last_blocks_and_what_follows_them(name, folders):
    encoder = make(name, folders)
    network = encoder.load()
    blocks = encoder.blocks(network)
    assert select(network, encoder, tiny_towers.pictures()[0], 0) == {}
    names = [set(select(network, encoder, tiny_towers.pictures()[0], k)) for k in range(1, min(3, len(blocks)) + 1)]
    assert all(less < more for less, more in itertools.pairwise(names))
    inside = {id(p) for block in blocks[:-1] for p in block.parameters()}
    assert not any(id(p) in inside for key, p in network.named_parameters() if key in names[0])
    with pytest.raises(BadRecipe, match=rf"finetune.blocks={len(blocks) + 1}; the network of .* has {len(blocks)}$"):
        select(network, encoder, tiny_towers.pictures()[0], len(blocks) + 1)


def test_gradients_of_the_folded_network_are_those_of_the_packages_own():
    pytest.importorskip("efficientnet_lite_pytorch", reason="type: pip install 'sensorium[image]'")
    from sensorium.encoders import _efficientnet

    encoder = make("efficientnet_lite", {})
    theirs = _efficientnet.network("lite0", encoder.folder / encoder.weights().files[0], "image")
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    gradients = []
    for network in (encoder.load(), lambda pixels: theirs.extract_features((pixels - 127) / 128).mean((2, 3))):
        pixels = x.clone().requires_grad_()
        network(pixels).square().sum().backward()
        gradients.append(pixels.grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4 * gradients[1].abs().max().item())


@pytest.mark.parametrize("name", ALL)
def test_trained_weights_take_the_place_of_its_own(name, folders, tmp_path):
    plain, encoder = make(name, folders), make(name, folders)
    network = encoder.load()
    trained = select(network, encoder, tiny_towers.pictures()[0], 1)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.mul_(1.2)
    expected = encoder.features(network, inputs(encoder)).detach().numpy()
    path = tmp_path / "trained.safetensors"
    save_file({key: p.detach().contiguous() for key, p in trained.items()}, path)
    encoder.tuned = str(path)
    found = encoder.encode(tiny_towers.pictures())
    np.testing.assert_allclose(found, expected, atol=5e-5)
    assert np.abs(found - plain.encode(tiny_towers.pictures())).max() > 1e-3
    assert fingerprint.differing(plain.fingerprint, encoder.fingerprint) == ["tuned"]
    assert not plain.space or plain.space != encoder.space


@pytest.mark.parametrize("content", [b"", b"no tensors", None])
def test_damaged_or_other_weights(content, folders, tmp_path):
    path = tmp_path / "trained.safetensors"
    if content is None:
        save_file({"vision_model.no_such": torch.zeros(3)}, path)
    else:
        path.write_bytes(content)
    encoder = make("clip", folders)
    encoder.tuned = str(path)
    with pytest.raises(Corrupt, match=r"trained.safetensors holds (no weights of this network .*|weights of another "
                                      r"network, such as vision_model.no_such); make the run anew, or restore the file"):  # fmt: skip
        encoder.encode(tiny_towers.pictures())


def test_towers_of_text_and_networks_without_blocks_are_not_trained(folders, tmp_path):
    text = make("clip", folders, tower="text")
    assert not text.trains
    patches = parts.make("encoders", {"name": "siglip", "model": str(tiny_towers.MAKERS["siglip2"](tmp_path / "two"))})
    patches.choose("image")
    assert not patches.trains
    with pytest.raises(SensoriumError, match=r"the network of Clip is no sequence of blocks; type: finetune.blocks=0"):
        make("clip", folders).blocks(torch.nn.Linear(2, 2))
