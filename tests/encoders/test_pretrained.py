"""CLIP, SigLIP, DINOv2, CLAP, transformers and sentence-transformers from tiny random weights: what the library says, in any batch."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from sentence_transformers import SentenceTransformer
from tiny_towers import MAKERS, pictures, texts

from sensorium import parts
from sensorium.encoders import _names, _pictures
from sensorium.errors import BadData, BadRecipe, Corrupt, MissingExtra

RATE = 8000


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: make(folder / name) for name, make in MAKERS.items()}


def sounds() -> list[tuple[np.ndarray, int]]:
    rng = np.random.default_rng(1)
    return [((0.1 * rng.standard_normal(n)).astype(np.float32), RATE) for n in (3000, 8000, 2500, 20_000, 8000, 500)]


VALUES = {"text": texts, "image": pictures, "audio": sounds}
#: Every model with each of its kinds of item.
CASES = [("clip", "text"), ("clip", "image"), ("siglip", "text"), ("siglip", "image"), ("siglip2", "text"),
         ("siglip2", "image"), ("dinov2", "image"), ("clap", "text"), ("clap", "audio"), ("bert", "text"),
         ("vit", "image"), ("sentence_transformer", "text"), ("sentence_clip", "text"),
         ("sentence_clip", "image")]  # fmt: skip


def encoder(folder: Path, kind: str, precision: str = "fp32", **more: object) -> object:
    """The part that the folder's own files name, for a side with items of this kind."""
    made = parts.make("encoders", _names.expand({"name": str(folder), "precision": precision, **more}))
    made.choose(kind)
    return made


def flat(picture: np.ndarray) -> Image.Image:
    """A picture as RGB over white, by Pillow alone."""
    image = Image.fromarray(picture)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


@functools.lru_cache
def loaded(load: object, folder: str) -> object:
    return load(folder)


def oracle(name: str, folder: Path, kind: str, value: object) -> np.ndarray:
    """The vector of one value by the library's own classes."""
    if name.startswith("sentence"):
        return loaded(SentenceTransformer, str(folder)).encode([flat(value) if kind == "image" else value])[0]
    config = json.loads((folder / "config.json").read_text())
    model = loaded(transformers.AutoModel.from_pretrained, str(folder)).eval()
    with torch.inference_mode():
        if kind == "text":
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            how = {"padding": "max_length", "max_length": 16} if name.startswith("siglip") else {}
            tokens = tokenizer([value], truncation=True, return_tensors="pt", **how)
            if name == "bert":
                return model(**tokens).last_hidden_state[0].mean(0).numpy()
            return model.get_text_features(**tokens).pooler_output[0].numpy()
        if kind == "audio":
            extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
            return model.get_audio_features(
                **extractor(value[0], sampling_rate=RATE, return_tensors="pt")
            ).pooler_output[0].numpy()  # fmt: skip
        about = json.loads((folder / "preprocessor_config.json").read_text())
        processor = getattr(transformers, about["image_processor_type"] + "Pil").from_pretrained(folder)
        inputs = processor(flat(value), return_tensors="pt")
        if name in ("dinov2", "vit"):
            states = model(**inputs)
            return (states.pooler_output if name == "dinov2" else states.last_hidden_state.mean(1))[0].numpy()
        assert config["model_type"] == name
        return model.get_image_features(**inputs).pooler_output[0].numpy()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_in_any_batch_a_vector_is_the_one_of_the_library(name: str, kind: str, models: dict[str, Path]) -> None:
    values = VALUES[kind]()
    if kind == "audio":  # of longer ones the library takes a part by chance
        values = [value for value in values if len(value[0]) <= RATE]
    made = encoder(models[name], kind)
    found = made.encode(values)
    assert found.dtype == np.float32 and found.shape == (len(values), made.dim) and made.takes == kind
    expected = np.stack([oracle(name, models[name], kind, value) for value in values])
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    order = np.random.default_rng(0).permutation(len(values))
    again = np.empty_like(found)
    for rows in np.array_split(order, 3):
        again[rows] = made.encode([values[i] for i in rows])
    np.testing.assert_allclose(again, found, atol=1e-5 * np.abs(found).max())


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_bfloat16_is_taken_where_it_is_exact_and_the_fingerprint_says_so(
    name: str, kind: str, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sensorium.encoders import _pretrained

    monkeypatch.setattr(_pretrained.devices, "bfloat16_in_hardware", lambda device: True)
    plain, auto = encoder(models[name], kind), encoder(models[name], kind, "auto")
    assert auto.settle()["precision"] == auto.fingerprint["precision"] == auto.computes
    a, b = plain.encode(VALUES[kind]()), auto.encode(VALUES[kind]())
    if auto.computes == "fp32":
        np.testing.assert_array_equal(a, b)
    else:
        assert (a != b).any() and plain.fingerprint != auto.fingerprint
        assert ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1) > 0.999).all()
        forced = encoder(models[name], kind, "bf16")
        assert forced.fingerprint == auto.fingerprint
        np.testing.assert_array_equal(forced.encode(VALUES[kind]()), b)


def test_without_bfloat16_in_hardware_auto_is_float32(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from sensorium.encoders import _pretrained

    monkeypatch.setattr(_pretrained.devices, "bfloat16_in_hardware", lambda device: False)
    made = encoder(models["bert"], "text", "auto")
    assert made.settle() == {"precision": "fp32"}
    monkeypatch.setattr(_pretrained.devices, "bfloat16_in_hardware", lambda device: True)
    monkeypatch.setattr(_pretrained, "EXACT", 2.0)  # no cosine is so high
    made = encoder(models["bert"], "text", "auto")
    assert made.fingerprint["precision"] == "fp32"
    np.testing.assert_array_equal(made.encode(texts()), encoder(models["bert"], "text").encode(texts()))


def test_the_device_is_no_part_of_the_fingerprint(models: dict[str, Path]) -> None:
    here, there = encoder(models["clip"], "text"), encoder(models["clip"], "text")
    there.device = "cpu"
    assert here.fingerprint == there.fingerprint
    there = encoder(models["clip"], "text")
    there.device = "cuda"
    if not torch.cuda.is_available():
        with pytest.raises(BadRecipe, match="device=cuda, but torch finds no CUDA device here; type: device=cpu"):
            there.encode(["a dog"])


def test_the_towers_of_one_model_share_a_space_but_no_fingerprint(models: dict[str, Path]) -> None:
    for name, kinds in (("clip", ("text", "image")), ("siglip", ("text", "image")), ("clap", ("text", "audio")),
                        ("sentence_clip", ("text", "image"))):  # fmt: skip
        a, b = (encoder(models[name], kind) for kind in kinds)
        assert a.space == b.space != "" and a.fingerprint != b.fingerprint and a.dim == b.dim
        assert a.space != encoder(models["sentence_transformer"], "text").space


def test_a_long_sound_gets_the_mean_of_its_parts(models: dict[str, Path]) -> None:
    made = encoder(models["clap"], "audio")
    x, rate = sounds()[3]
    halves = made.encode([(part, rate) for part in np.array_split(x, 3)]).mean(0)
    np.testing.assert_allclose(made.encode([(x, rate)])[0], halves / np.linalg.norm(halves), atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_pooling_of_texts(pooling: str, models: dict[str, Path]) -> None:
    model = transformers.BertModel.from_pretrained(models["bert"]).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(models["bert"])("old man sings", return_tensors="pt")
    with torch.inference_mode():
        out = model(**tokens)
    expected = {
        "mean": out.last_hidden_state[0].mean(0),
        "cls": out.last_hidden_state[0, 0],
        "pooler": out.pooler_output[0],
    }
    found = encoder(models["bert"], "text", pooling=pooling).encode(["old man sings", "a dog runs over the sea"])
    np.testing.assert_allclose(found[0], expected[pooling].numpy(), atol=1e-6)
    prompted = encoder(models["bert"], "text", pooling=pooling, prompt="old ").encode(["man sings"])
    np.testing.assert_allclose(prompted[0], found[0], atol=1e-6)


@pytest.mark.parametrize("pooling", ["cls", "mean", "cls+mean"])
def test_pooling_of_pictures(pooling: str, models: dict[str, Path]) -> None:
    model = transformers.Dinov2Model.from_pretrained(models["dinov2"]).eval()
    processor = transformers.BitImageProcessorPil.from_pretrained(models["dinov2"])
    with torch.inference_mode():
        states = model(**processor(pictures()[0], return_tensors="pt")).last_hidden_state[0]
    wanted = {"cls": states[0], "mean": states[1:].mean(0), "cls+mean": torch.cat([states[0], states[1:].mean(0)])}
    made = encoder(models["dinov2"], "image", pooling=pooling)
    np.testing.assert_allclose(made.encode(pictures()[:1])[0], wanted[pooling].numpy(), atol=2e-5)
    assert made.dim == len(wanted[pooling])


def test_prompts_of_sentence_transformers(models: dict[str, Path]) -> None:
    model = SentenceTransformer(str(models["sentence_transformer"]), device="cpu")
    named = encoder(models["sentence_transformer"], "text", prompt_name="query")
    written = encoder(models["sentence_transformer"], "text", prompt="red ")
    np.testing.assert_allclose(named.encode(texts()), model.encode(texts(), prompt_name="query"), atol=1e-6)
    np.testing.assert_allclose(written.encode(texts()), model.encode(texts(), prompt="red "), atol=1e-6)
    plain = encoder(models["sentence_transformer"], "text")
    np.testing.assert_allclose(np.linalg.norm(plain.encode(texts()), axis=1), 1, atol=1e-6)
    prints = [json.dumps(one.fingerprint, sort_keys=True) for one in (named, written, plain)]
    assert len(set(prints)) == 3
    with pytest.raises(BadRecipe, match="has no prompt 'qeury'; did you mean 'query'"):
        encoder(models["sentence_transformer"], "text", prompt_name="qeury").encode(["a"])
    short = encoder(models["sentence_transformer"], "text", max_length=5)
    model.max_seq_length = 5
    np.testing.assert_allclose(short.encode(texts()), model.encode(texts()), atol=1e-6)


def test_a_caption_that_looks_like_a_file_stays_text(models: dict[str, Path], tmp_path: Path) -> None:
    Image.fromarray(pictures()[0]).save(tmp_path / "dog.png")
    made = encoder(models["sentence_clip"], "text")
    for text in (str(tmp_path / "dog.png"), "http://127.0.0.1:9/dog.png"):
        assert made.encode([text]).shape == (1, 12)


def test_pictures_are_read_from_files_as_everywhere(models: dict[str, Path], tmp_path: Path) -> None:
    upright = pictures()[0]
    turned = Image.fromarray(np.rot90(upright, 1).copy())
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    deep = np.random.default_rng(0).integers(0, 1 << 16, (40, 50)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    made = encoder(models["clip"], "image")
    by_path = made.encode([str(tmp_path / "turned.png"), str(tmp_path / "deep.png")])
    np.testing.assert_allclose(by_path, made.encode([upright, (deep >> 8).astype(np.uint8)]), atol=1e-6)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(BadData, match=r"cannot read .*bad.png as a picture"):
        made.encode([*pictures(), str(tmp_path / "bad.png")])


def test_processors_are_found_wherever_transformers_saves_them(models: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "new"
    shutil.copytree(models["clip"], folder)
    about = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(
        json.dumps({"image_processor": about, "processor_class": "CLIPProcessor"})
    )
    a, b = (encoder(one, "image").encode(pictures()) for one in (models["clip"], folder))
    np.testing.assert_array_equal(a, b)
    (folder / "processor_config.json").write_text(
        json.dumps({"image_processor": {**about, "image_processor_type": "CLIPFeatureExtractor"}})
    )
    np.testing.assert_array_equal(a, encoder(folder, "image").encode(pictures()))
    (folder / "processor_config.json").write_text(
        json.dumps({"image_processor": {"image_processor_type": "NewImageProcessor"}})
    )
    with pytest.raises((BadData, MissingExtra), match="NewImageProcessor"):
        encoder(folder, "image").encode(pictures())
    (folder / "processor_config.json").unlink()
    assert _pictures.settings(folder) == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "clip", "tower": "audio"}, "tower='audio'; expected image or text"),
        ({"name": "clap", "tower": "image"}, "tower='image'; expected audio or text"),
        ({"name": "clip", "precision": "fp16"}, "precision='fp16'; expected auto, fp32, bf16"),
        ({"name": "dinov2", "pooling": "max"}, "pooling='max'; expected cls, mean, cls\\+mean"),
        ({"name": "transformers", "model": "a/b", "pooling": "max"}, "pooling='max'; expected mean, cls, pooler"),
        ({"name": "transformers", "model": "a/b", "max_length": 0}, "max_length=0; expected 1 or more"),
        ({"name": "transformers", "model": ""}, "transformers needs a model; type: left.encoder=transformers:NAME"),
        ({"name": "sentence_transformers", "model": "a/b", "tower": "audio"}, "tower='audio'; expected text, image"),
        ({"name": "sentence_transformers", "model": "a/b", "max_length": -1}, "max_length=-1"),
        ({"name": "sentence_transformers", "model": "a/b", "prompt": "x", "prompt_name": "y"}, "are both set"),
    ],
)
def test_what_is_refused(arguments: dict, said: str) -> None:
    with pytest.raises(BadRecipe, match=said):
        parts.make("encoders", arguments)


def test_models_of_another_kind_and_values_that_cannot_be_read(models: dict[str, Path], tmp_path: Path) -> None:
    for part, folder in (("clip", "siglip"), ("siglip", "clip"), ("dinov2", "vit"), ("clap", "bert")):
        with pytest.raises(BadRecipe, match=f"is a {folder} model, not {part}"):
            _ = parts.make("encoders", {"name": part, "model": str(models[folder])}).dim
    with pytest.raises(BadData, match="value 1 is int; expected text"):
        encoder(models["clip"], "text").encode(["a", 3])
    with pytest.raises(BadRecipe, match="has no tower 'image'; it takes text"):
        _ = parts.make("encoders", {"name": "sentence_transformers", "model": str(models["sentence_transformer"]),
                                    "tower": "image"}).takes  # fmt: skip
    with pytest.raises(BadRecipe, match="has no pooler; type: left.encoder.pooling=mean"):
        from transformers import DistilBertConfig, DistilBertModel

        DistilBertModel(DistilBertConfig(dim=16, n_layers=1, n_heads=2, hidden_dim=24, vocab_size=40)).save_pretrained(
            tmp_path / "distil"
        )
        import tiny_towers

        tiny_towers.tokenizer(tmp_path / "distil", longest=32)
        encoder(tmp_path / "distil", "text", pooling="pooler").encode(["a dog"])


def test_damaged_models(models: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(models["clip"], tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights.pop("text_projection.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(Corrupt, match="lacks 1 weights of CLIPModel, such as text_projection.weight"):
        encoder(folder, "text").encode(["a"])
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(Corrupt, match="has no tokenizer that can be read"):
        _ = encoder(folder, "text").tokenizer
    (folder / "model.safetensors").unlink()
    with pytest.raises(Corrupt, match="holds no weights"):
        _ = encoder(folder, "text").fingerprint
    saved = shutil.copytree(models["sentence_transformer"], tmp_path / "sentence")
    (saved / "2_Dense" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(Corrupt, match="cannot be loaded by sentence-transformers"):
        encoder(saved, "text").encode(["a"])
    (saved / "modules.json").write_text("{}")
    with pytest.raises(Corrupt, match="expected a list of modules"):
        _ = encoder(saved, "text").takes
