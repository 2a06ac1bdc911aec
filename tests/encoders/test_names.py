"""Names of encoders as people write them, and names that do not exist; no network is asked."""

import json
import socket
from pathlib import Path

import pytest

from sensorium import parts
from sensorium import recipe as recipes
from sensorium.encoders import _names
from sensorium.errors import BadData, BadRecipe


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)


@pytest.mark.parametrize(
    ("name", "part", "model"),
    [
        ("all-mpnet-base-v2", "sentence_transformers", "all-mpnet-base-v2"),
        ("sentence-transformers/all-mpnet-base-v2", "sentence_transformers", "sentence-transformers/all-mpnet-base-v2"),
        ("sentence-transformers:all-mpnet-base-v2", "sentence_transformers", "all-mpnet-base-v2"),
        ("sentence_transformers:clip-ViT-B-32", "sentence_transformers", "clip-ViT-B-32"),
        ("BAAI/bge-base-en-v1.5", "sentence_transformers", "BAAI/bge-base-en-v1.5"),
        ("intfloat/e5-base-v2", "sentence_transformers", "intfloat/e5-base-v2"),
        ("openai/clip-vit-base-patch32", "clip", "openai/clip-vit-base-patch32"),
        ("clip:openai/clip-vit-base-patch32", "clip", "openai/clip-vit-base-patch32"),
        ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "clip", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("google/siglip-base-patch16-224", "siglip", "google/siglip-base-patch16-224"),
        ("google/siglip2-base-patch16-224", "siglip", "google/siglip2-base-patch16-224"),
        ("facebook/dinov2-base", "dinov2", "facebook/dinov2-base"),
        ("laion/clap-htsat-unfused", "clap", "laion/clap-htsat-unfused"),
        ("laion/larger_clap_general", "clap", "laion/larger_clap_general"),
        ("google-bert/bert-base-uncased", "transformers", "google-bert/bert-base-uncased"),
        ("transformers:some-one/else", "transformers", "some-one/else"),
        ("openclip:ViT-B-32/openai", "open_clip", "ViT-B-32/openai"),
        ("facebook/wav2vec2-base", "wav2vec2", "facebook/wav2vec2-base"),
        ("openai/whisper-tiny", "whisper", "openai/whisper-tiny"),
        ("microsoft/wavlm-base-plus", "wavlm", "microsoft/wavlm-base-plus"),
        ("MIT/ast-finetuned-audioset-10-10-0.4593", "ast", "MIT/ast-finetuned-audioset-10-10-0.4593"),
        ("roberta-base", "roberta", "roberta-base"),
        ("roberta:roberta-large", "roberta", "roberta-large"),
        ("FacebookAI/roberta-base", "transformers", "FacebookAI/roberta-base"),
    ],
)
def test_a_name_says_part_and_model(name: str, part: str, model: str) -> None:
    assert _names.expand({"name": name}) == {"name": part, "model": model}
    assert "model" in parts.arguments(parts.find("encoders", part))


@pytest.mark.parametrize("name", ["minilm", "hog", "pkg.mod:Class", "my_parts/flip.py:Flip", "json:JSONDecoder"])
def test_parts_and_classes_stay(name: str) -> None:
    assert _names.expand({"name": name, "key": 1}) == {"name": name, "key": 1}


def test_every_well_known_model_has_a_part_and_a_rule_that_agrees() -> None:
    for part, models in _names.KNOWN.items():
        assert part in parts.names("encoders")
        for model in models:
            written = f"{part}:{model}" if ":" in model else model
            assert _names.expand({"name": written})["name"] == part
    assert set(_names.TYPES.values()) <= set(parts.names("encoders"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("all-mpnet-base-v3", "no such encoder; did you mean all-mpnet-base-v2"),
        ("minilmm", "no such encoder; did you mean minilm"),
        ("clipp:openai/clip-vit-base-patch32", "no encoder 'clipp'; did you mean clip"),
        ("clip:", "no model is named; type: left.encoder=clip:openai/clip-vit-base-patch32"),
        ("hog:big", "'hog' has no models to choose from; type: left.encoder=hog"),
        ("zzz", "no such encoder; known: .*clap, clip"),
        ("x" * 300, "no such encoder"),
        ("clip:" + "x" * 5000, "its name has 5,005 characters; expected at most 4000"),
        ("./nowhere", "no folder with a config.json or modules.json"),
    ],
)
def test_names_that_do_not_exist(name: str, said: str) -> None:
    with pytest.raises(BadRecipe, match=said) as caught:
        recipes.load("glyphs", [f"left.encoder={name}"])
    assert len(name) > 1000 or f"left.encoder={name}" in str(caught.value)


def test_a_folder_by_what_its_files_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, part in (("clip", "clip"), ("siglip2", "siglip"), ("bert", "transformers"), ("hubert", "hubert")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "config.json").write_text(json.dumps({"model_type": kind}))
        assert _names.expand({"name": str(tmp_path / kind)}) == {"name": part, "model": str(tmp_path / kind)}
    (tmp_path / "bert" / "modules.json").write_text("[]")
    assert _names.expand({"name": str(tmp_path / "bert")})["name"] == "sentence_transformers"
    monkeypatch.chdir(tmp_path)  # a run may be opened from another folder
    for name in ("./clip", "clip:clip"):
        assert _names.expand({"name": name}) == {"name": "clip", "model": str(tmp_path / "clip")}
    assert _names.expand({"name": "hubert", "model": "./hubert"})["model"] == str(tmp_path / "hubert")
    (tmp_path / "clip" / "config.json").write_text("{")
    with pytest.raises(BadRecipe, match=r"left.encoder=.*config.json"):
        recipes.load("glyphs", [f"left.encoder={tmp_path / 'clip'}"])


def test_in_the_resolved_recipe_only_name_and_keys_stand() -> None:
    plan = recipes.load("glyphs", ["right.encoder=all-mpnet-base-v2", "right.encoder.prompt=of "])
    spec = plan.values["right"]["encoder"]
    assert (spec["name"], spec["model"], spec["prompt"]) == ("sentence_transformers", "all-mpnet-base-v2", "of ")
    import tomllib

    body = tomllib.loads(plan.toml())
    assert recipes.load(body).values == plan.values
    mapped = recipes.load("glyphs", ['right.encoder={name = "clip:openai/clip-vit-base-patch32", tower = "text"}'])
    assert mapped.values["right"]["encoder"]["model"] == "openai/clip-vit-base-patch32"
    with pytest.raises(BadRecipe, match="no key 'right.encoder.towr' .'clip'.; did you mean 'tower'"):
        recipes.load("glyphs", ["right.encoder=openai/clip-vit-base-patch32", "right.encoder.towr=text"])


def test_organisations_that_people_leave_out() -> None:
    assert _names.with_owner("sentence_transformers", "all-mpnet-base-v2") == "sentence-transformers/all-mpnet-base-v2"
    assert _names.with_owner("sentence_transformers", "bge-base-en-v1.5") == "BAAI/bge-base-en-v1.5"
    assert _names.with_owner("transformers", "bert-base-uncased") == "google-bert/bert-base-uncased"
    assert _names.with_owner("clip", "clip-vit-base-patch32") == "openai/clip-vit-base-patch32"
    assert _names.with_owner("clip", "./folder") == "./folder"


def test_settings_alone_in_the_cache_are_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program asked for a model's config.json only: the weights are still to be downloaded."""
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    cached = tmp_path / "models--someone--clip"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("1" * 40)
    (cached / "snapshots" / ("1" * 40)).mkdir(parents=True)
    (cached / "snapshots" / ("1" * 40) / "config.json").write_text("{}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadData, match="someone/clip is not in the cache and HF_HUB_OFFLINE is set"):
        _ = parts.make("encoders", {"name": "clip", "model": "someone/clip"}).folder


def test_a_model_that_is_nowhere_names_the_nearest_offline_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    made = parts.make("encoders", {"name": "clip", "model": "openai/clip-vit-base-patch31"})
    with pytest.raises(BadData, match=r"HF_HUB_OFFLINE is set; .*did you mean openai/clip-vit-base-patch32"):
        _ = made.dim
