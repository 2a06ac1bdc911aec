"""roberta and ast from tiny random weights of the real classes: what transformers alone says of one text or sound."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_towers
import torch
import transformers

from sensorium import parts, store, testing
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.types import Items, as_ids

RATE = 16_000


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: tiny_towers.MAKERS[name](folder / name) for name in ("roberta", "ast")}


def made(name: str, folder: Path, **more: object) -> object:
    return parts.make("encoders", {"name": name, "model": str(folder), "precision": "fp32", **more})


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def alone(folder: Path, text: str, longest: int) -> np.ndarray:
    """The mean of one text's token vectors by transformers alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.RobertaModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=longest)).last_hidden_state
    return states[0].mean(0).numpy()


@pytest.mark.parametrize("longest", [256, 6])
def test_roberta_is_the_mean_of_each_texts_tokens(models: dict[str, Path], longest: int) -> None:
    texts = tiny_towers.texts()
    encoder = made("roberta", models["roberta"], max_length=longest)
    assert encoder.longest == min(longest, 20)
    found = encoder.encode(texts)
    for row, text in zip(found, texts, strict=True):
        np.testing.assert_allclose(row, alone(models["roberta"], text, min(longest, 20)), atol=1e-5)
    unit = made("roberta", models["roberta"], max_length=longest, normalize=True).encode(texts)
    np.testing.assert_allclose(unit, found / np.linalg.norm(found, axis=1, keepdims=True), atol=1e-6)


def test_a_note_says_how_many_texts_are_cut_off(models: dict[str, Path], tmp_path: Path, capsys) -> None:
    encoder = made("roberta", models["roberta"], max_length=10)
    short, edge, long = "a dog", " ".join(["dog"] * 8), " ".join(["dog"] * 9)
    assert encoder.cost([short, edge, "x" * 300]) == "" and encoder.cost([]) == ""
    assert encoder.cost([short, long, edge]) == "1 of 3 texts are longer than 10 tokens; what comes after is cut off"
    items = Items(as_ids(["a", "b", "c"]), [short, long, edge], "text")
    store.embed(items, encoder, tmp_path / "store", progress=True)
    assert "1 of 3 texts are longer than 10 tokens" in capsys.readouterr().err


def test_ast_is_the_pooled_output(models: dict[str, Path]) -> None:
    """Of a sound that fits; of a longer one the mean over equal parts; of a very short one as if silence followed."""
    folder = models["ast"]
    extractor, model = (
        transformers.ASTFeatureExtractor.from_pretrained(folder),
        transformers.ASTModel.from_pretrained(folder).eval(),
    )

    def directly(samples: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            x = extractor(samples, sampling_rate=RATE, return_tensors="pt").input_values
            return model(x).pooler_output[0].numpy()

    encoder = made("ast", folder)
    assert encoder.longest == round(1.015 * RATE) and encoder.dim == 16 and encoder.sample_rate == RATE
    sounds = [noise(1.0), noise(0.2, 1), noise(1.015, 2), noise(0.5, 3)[::2]]
    found = encoder.encode([(sound, RATE) for sound in sounds])
    for row, sound in zip(found, sounds, strict=True):
        np.testing.assert_allclose(row, directly(sound), atol=1e-5)
    long = noise(2.4, 4)
    expected = np.mean([directly(part) for part in np.array_split(long, 3)], 0)
    np.testing.assert_allclose(encoder.encode([(sounds[1], RATE), (long, RATE)])[1], expected, atol=1e-5)
    unit = made("ast", folder, normalize=True).encode([(long, RATE)])[0]
    np.testing.assert_allclose(unit, expected / np.linalg.norm(expected), atol=1e-5)
    one = encoder.encode([(np.ones(1, np.float32), RATE)])[0]
    np.testing.assert_allclose(one, directly(np.pad(np.ones(1, np.float32), (0, 399))), atol=1e-5)


def test_the_contract(models: dict[str, Path]) -> None:
    testing.check("roberta", "encoders", {"model": str(models["roberta"])}, values=tiny_towers.texts())
    testing.check("ast", "encoders", {"model": str(models["ast"])}, values=[(noise(0.4), RATE), (noise(1.6), RATE)])


def test_fingerprints_follow_the_settings(models: dict[str, Path]) -> None:
    several = [made("roberta", models["roberta"]), made("roberta", models["roberta"], max_length=7),
               made("roberta", models["roberta"], normalize=True), made("ast", models["ast"]),
               made("ast", models["ast"], normalize=True)]  # fmt: skip
    assert len({json.dumps(one.fingerprint, sort_keys=True) for one in several}) == len(several)


@pytest.mark.parametrize(("name", "keys", "said"), [
    ("roberta", {"max_length": 2}, "roberta: max_length=2; expected 3 to 512 tokens"),
    ("roberta", {"max_length": 513}, "expected 3 to 512 tokens"),
    ("ast", {"precision": "fp16"}, "ast: precision='fp16'; expected auto, fp32, bf16"),
])  # fmt: skip
def test_wrong_keys(models: dict[str, Path], name: str, keys: dict, said: str) -> None:
    with pytest.raises(BadRecipe, match=said):
        made(name, models[name], **keys)


def test_models_of_another_kind_and_damaged_ones(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(
        BadRecipe, match="is a audio-spectrogram-transformer model, not roberta; type: right.encoder=transformers"
    ):
        made("roberta", models["ast"]).encode(["a dog"])
    with pytest.raises(BadRecipe, match="is a roberta model, not an audio-spectrogram-transformer"):
        made("ast", models["roberta"]).encode([(noise(0.4), RATE)])
    with pytest.raises(BadData, match="value 1 is int; expected text"):
        made("roberta", models["roberta"]).encode(["a", 3])
    with pytest.raises(BadData, match="not in the cache"):
        _ = made("ast", Path("nobody/no-such-model")).dim
    shutil.copytree(models["ast"], tmp_path / "ast")
    (tmp_path / "ast" / "preprocessor_config.json").unlink()
    with pytest.raises(Corrupt, match="has no preprocessor_config.json of AST"):
        made("ast", tmp_path / "ast").encode([(noise(0.4), RATE)])
    transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=100, sampling_rate=8_000).save_pretrained(
        tmp_path / "ast"
    )
    with pytest.raises(BadRecipe, match="hears 8000 Hz; expected 16000 Hz"):
        made("ast", tmp_path / "ast").encode([(noise(0.4), RATE)])
    (tmp_path / "ast" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(Corrupt, match="cannot be loaded"):
        made("ast", tmp_path / "ast").load()
