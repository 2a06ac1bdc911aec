"""clip_text from tiny random weights of the real class: what transformers' CLIPTextModel says of one text."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_towers
import torch
import transformers

from sensorium import downloads, parts, store, testing
from sensorium.errors import BadData, BadRecipe
from sensorium.types import Items, as_ids

LONGEST = 24  # tokens of the tiny model; 77 of the published ones


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_towers.clip(tmp_path_factory.mktemp("models") / "clip")


def made(folder: Path, **more: object) -> object:
    return parts.make("encoders", {"name": "clip_text", "model": str(folder), "precision": "fp32", **more})


@pytest.mark.parametrize("padding", ["max_length", False])
def test_vectors_are_the_pooled_output(folder: Path, padding: str | bool) -> None:
    """Padded to the longest text as Stable Diffusion does, without a mask, or not padded: the vector is one."""
    texts = tiny_towers.texts()
    encoder = made(folder)
    assert (encoder.dim, encoder.longest, encoder.takes) == (16, LONGEST, "text")
    model = transformers.CLIPTextModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for row, text in zip(encoder.encode(texts), texts, strict=True):
        tokens = tokenizer(text, padding=padding, truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.inference_mode():
            np.testing.assert_allclose(row, model(tokens.input_ids).pooler_output[0].numpy(), atol=1e-5)


def test_the_part_clip_is_this_vector_times_the_projection(folder: Path) -> None:
    texts = tiny_towers.texts()
    projection = transformers.CLIPModel.from_pretrained(folder).text_projection.weight.detach().numpy()
    projected = parts.make("encoders", {"name": "clip", "model": str(folder), "tower": "text", "precision": "fp32"})
    np.testing.assert_allclose(made(folder).encode(texts) @ projection.T, projected.encode(texts), atol=1e-5)
    assert made(folder).fingerprint != projected.fingerprint


def test_a_text_model_alone_and_that_of_a_diffusion_model(folder: Path, tmp_path: Path) -> None:
    transformers.CLIPTextModel.from_pretrained(folder).save_pretrained(tmp_path / "sd" / "text_encoder")
    shutil.copytree(
        folder, tmp_path / "sd" / "tokenizer", ignore=shutil.ignore_patterns("*.safetensors", "config.json")
    )
    texts = tiny_towers.texts()
    np.testing.assert_allclose(
        made(tmp_path / "sd" / "text_encoder").encode(texts), made(folder).encode(texts), atol=1e-6
    )


def test_a_note_says_how_many_texts_are_cut_off(folder: Path, tmp_path: Path, capsys) -> None:
    texts = ["a dog", " ".join(["dog"] * (LONGEST - 1)), " ".join(["dog"] * (LONGEST - 2))]
    store.embed(Items(as_ids(["a", "b", "c"]), texts, "text"), made(folder), tmp_path / "store", progress=True)
    assert f"1 of 3 texts are longer than {LONGEST} tokens; what comes after is cut off" in capsys.readouterr().err


def test_the_contract_and_its_names(folder: Path) -> None:
    testing.check("clip_text", "encoders", {"model": str(folder), "precision": "fp32"}, values=tiny_towers.texts())
    assert parts.make("encoders", "clip_text").model == "openai/clip-vit-large-patch14"
    assert parts.make("encoders", {"name": "clip_text", "model": "clip-vit-base-patch32"}).model.startswith("openai/")


def test_what_it_refuses(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadData, match="clip_text: value 1 is int; expected text"):
        made(folder).encode(["a", 1])
    with pytest.raises(BadRecipe, match="is a roberta model, not clip; type: right.encoder="):
        made(tiny_towers.roberta(tmp_path / "roberta")).encode(["a dog"])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(downloads, "PATIENCE", 0.1)
    with pytest.raises(BadData, match=r"right\.encoder\.model=FOLDER, or right\.encoder=minilm"):
        parts.make("encoders", {"name": "clip_text", "model": "nobody/nothing"}).encode(["a dog"])
