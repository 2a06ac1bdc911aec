"""Names of encoders as people write them: ``clip:openai/clip-vit-base-patch32``, ``all-mpnet-base-v2``, a local folder.

``KIND:MODEL`` is the part KIND with the key model=MODEL, ``A+B`` the part concatenated of the parts A and B. A bare
name that is no part goes through :data:`RULES`, a folder by what its files say. In a resolved recipe only the part's
name and keys stand. No network is asked.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium import io, parts
from sensorium.errors import BadRecipe, SensoriumError

#: Patterns of whole model names, and the part that encodes with such a model; the first that matches counts.
RULES = (
    (r"openai/clip-.*|laion/CLIP-.*|patrickjohncyh/fashion-clip|apple/DFN.*CLIP.*", "clip"),
    (r"google/siglip2?-.*", "siglip"),
    (r"facebook/dinov2-.*", "dinov2"),
    (r"laion/(larger_)?clap[-_].*", "clap"),
    (r"MIT/ast-.*", "ast"),
    (r"roberta-(base|large)", "roberta"),
    (r"(iic|emotion2vec)/emotion2vec.*", "emotion2vec"),
    (r"facebook/wav2vec2-.*", "wav2vec2"),
    (r"facebook/hubert-.*", "hubert"),
    (r"microsoft/wavlm-.*", "wavlm"),
    (r"openai/whisper-.*", "whisper"),
    (r"(sentence-transformers|BAAI|intfloat|thenlper|mixedbread-ai|nomic-ai|jinaai|Alibaba-NLP|Snowflake)/.*",
     "sentence_transformers"),
    (r"Qwen/Qwen3-Embedding-.*|google/embeddinggemma-.*|ibm-granite/granite-embedding-.*", "sentence_transformers"),
    (r"(google-bert|FacebookAI|distilbert)/.*|microsoft/deberta-.*|answerdotai/ModernBERT-.*", "transformers"),
)  # fmt: skip
#: Parts under the names that their packages and papers give them.
ALIASES = {"openclip": "open_clip"}
#: Parts by the ``model_type`` of a config.json; text and picture models of other types are "transformers".
TYPES = {
    "clip": "clip", "siglip": "siglip", "siglip2": "siglip", "dinov2": "dinov2", "dinov2_with_registers": "dinov2",
    "clap": "clap", "wav2vec2": "wav2vec2", "hubert": "hubert", "wavlm": "wavlm", "whisper": "whisper",
    "audio-spectrogram-transformer": "ast",
}  # fmt: skip
#: Well-known models, by the part that encodes with them: what a name that does not exist is compared with.
KNOWN = {
    "sentence_transformers": (
        "all-MiniLM-L6-v2", "all-MiniLM-L12-v2", "all-mpnet-base-v2", "all-distilroberta-v1", "all-roberta-large-v1",
        "multi-qa-distilbert-cos-v1", "gtr-t5-base", "gtr-t5-large", "sentence-t5-base", "sentence-t5-large",
        "static-retrieval-mrl-en-v1", "static-similarity-mrl-multilingual-v1", "multi-qa-mpnet-base-dot-v1",
        "multi-qa-MiniLM-L6-cos-v1", "paraphrase-MiniLM-L6-v2", "paraphrase-multilingual-MiniLM-L12-v2",
        "paraphrase-multilingual-mpnet-base-v2", "distiluse-base-multilingual-cased-v2", "LaBSE", "clip-ViT-B-32",
        "clip-ViT-B-16", "clip-ViT-L-14", "clip-ViT-B-32-multilingual-v1",
        "BAAI/bge-small-en-v1.5", "BAAI/bge-base-en-v1.5",
        "BAAI/bge-large-en-v1.5", "BAAI/bge-m3", "intfloat/e5-small-v2", "intfloat/e5-base-v2", "intfloat/e5-large-v2",
        "intfloat/multilingual-e5-small", "intfloat/multilingual-e5-base", "intfloat/multilingual-e5-large",
        "thenlper/gte-small", "thenlper/gte-base", "thenlper/gte-large", "mixedbread-ai/mxbai-embed-large-v1",
        "nomic-ai/nomic-embed-text-v1.5", "Snowflake/snowflake-arctic-embed-m", "Qwen/Qwen3-Embedding-0.6B",
        "google/embeddinggemma-300m",
    ),
    "transformers": (
        "google-bert/bert-base-uncased", "google-bert/bert-base-cased", "google-bert/bert-base-multilingual-cased",
        "google-bert/bert-large-uncased", "FacebookAI/roberta-base", "FacebookAI/roberta-large",
        "FacebookAI/xlm-roberta-base", "distilbert/distilbert-base-uncased", "microsoft/deberta-v3-base",
        "answerdotai/ModernBERT-base",
    ),
    "clip": (
        "openai/clip-vit-base-patch32", "openai/clip-vit-base-patch16", "openai/clip-vit-large-patch14",
        "openai/clip-vit-large-patch14-336", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "patrickjohncyh/fashion-clip",
    ),
    "siglip": (
        "google/siglip-base-patch16-224", "google/siglip-large-patch16-256", "google/siglip-so400m-patch14-384",
        "google/siglip2-base-patch16-224", "google/siglip2-large-patch16-256", "google/siglip2-so400m-patch14-384",
    ),
    "dinov2": (
        "facebook/dinov2-small", "facebook/dinov2-base", "facebook/dinov2-large", "facebook/dinov2-giant",
        "facebook/dinov2-with-registers-base",
    ),
    "clap": ("laion/clap-htsat-unfused", "laion/clap-htsat-fused", "laion/larger_clap_general",
             "laion/larger_clap_music_and_speech"),
    "efficientnet_lite": ("lite0", "lite1", "lite2"),
    "ast": ("MIT/ast-finetuned-audioset-10-10-0.4593", "MIT/ast-finetuned-audioset-14-14-0.443",
            "MIT/ast-finetuned-speech-commands-v2"),
    "openai": ("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"),
    "timm": ("vit_small_patch14_dinov2.lvd142m", "resnet50.a1_in1k", "convnext_base.fb_in22k"),
    "open_clip": ("ViT-B-32/laion2b_s34b_b79k", "ViT-L-14/datacomp_xl_s13b_b90k", "ViT-B-16-SigLIP/webli"),
    "emotion2vec": ("iic/emotion2vec_plus_base", "iic/emotion2vec_plus_large", "iic/emotion2vec_plus_seed",
                    "iic/emotion2vec_base", "iic/emotion2vec_base_finetuned"),
    "wav2vec2": ("facebook/wav2vec2-base", "facebook/wav2vec2-large"),
    "hubert": ("facebook/hubert-base-ls960", "facebook/hubert-large-ll60k"),
    "wavlm": ("microsoft/wavlm-base-plus", "microsoft/wavlm-large"),
    "whisper": ("openai/whisper-tiny", "openai/whisper-base", "openai/whisper-small", "openai/whisper-large-v3"),
}  # fmt: skip
_LONGEST = 4000  # characters of a name or path
#: Organisations of the models that people name without one.
_OWNERS = {"sentence_transformers": "sentence-transformers", "clip": "openai",
           "clip_text": "openai", "siglip": "google", "dinov2": "facebook",
           "clap": "laion", "emotion2vec": "iic", "ast": "MIT", "roberta": "FacebookAI"}  # fmt: skip


def expand(spec: Mapping[str, Any], where: str = "encoder") -> dict[str, Any]:
    """A part's spec ``{name = …, key = …}`` with a name as people write it, as one whose name is a part's.

    where: the recipe key that messages name. Raises BadRecipe, naming the nearest, for a name that is neither
    a part, a class, a folder nor a model's.
    """
    for key in ("name", "model"):
        if isinstance(spec.get(key), str) and len(spec[key]) > _LONGEST:
            raise BadRecipe(f"{where}: its {key} has {len(spec[key]):,} characters; expected at most {_LONGEST}")
    found = _expanded(dict(spec), where)
    if isinstance(model := found.get("model"), str) and _is_model(Path(model).expanduser()):
        found["model"] = str(Path(model).expanduser().resolve())  # the run may be opened from another folder
    return found


def _expanded(spec: dict[str, Any], where: str) -> dict[str, Any]:
    name = spec.pop("name")
    name = ALIASES.get(name, name) if isinstance(name, str) else name
    if not isinstance(name, str) or name in parts.names("encoders"):
        return {"name": name, **spec}
    several = [ALIASES.get(one.strip(), one.strip()) for one in name.split("+")]
    if len(several) > 1 and all(one in parts.names("encoders") for one in several):
        return {"name": "concatenated", "encoders": [{"name": one} for one in several], **spec}
    kind, colon, model = name.partition(":")
    if colon:
        part = ALIASES.get(kind, kind.replace("-", "_"))
        if part in parts.names("encoders"):
            if not model:
                raise BadRecipe(f"{where}={name}: no model is named; type: {where}={kind}:{_example(part)}")
            if "model" not in parts.arguments(parts.find("encoders", part)):
                raise BadRecipe(f"{where}={name}: '{part}' has no models to choose from; type: {where}={part}")
            return {"name": part, "model": model, **spec}
        if _is_class(kind):
            return {"name": name, **spec}
        raise BadRecipe(f"{where}={name}: no encoder '{kind}'; {_near(kind)}")
    part = _of_folder(name, where) or _by_rule(name)
    if part is None or part not in parts.names("encoders"):
        raise BadRecipe(f"{where}={name}: no such encoder; {_near(name)} (any other model: KIND:MODEL, such as "
                        f"{where}=sentence-transformers:{name})")  # fmt: skip
    return {"name": part, "model": name, **spec}


def nearest_models(part: str, model: str) -> str:
    """The end of a message about a model that was not found: the nearest well-known ones of a part; "" without any."""
    close = [] if model in KNOWN.get(part, ()) else _close(model, KNOWN.get(part, ()), 0.6)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def with_owner(part: str, model: str) -> str:
    """A model's id with the organisation that people leave out; folders and whole ids stay as they are."""
    if "/" in model or model.startswith((".", "~")) or _is_model(Path(model)) or not model:
        return model
    same = [known for known in KNOWN.get(part, ()) if known.partition("/")[2].lower() == model.lower()]
    if same:
        return same[0]
    return f"{_OWNERS[part]}/{model}" if part in _OWNERS else model


def _is_model(folder: Path) -> bool:
    """Whether a folder holds a model's settings, as the encoders look for it."""
    try:
        return any((folder / name).is_file() for name in ("config.json", "modules.json", "config.yaml"))
    except OSError:  # no file system takes such a name
        return False


def _of_folder(name: str, where: str) -> str | None:
    """The part of a model's folder: modules.json is of sentence-transformers, else by config.json's model_type."""
    folder = Path(name).expanduser()
    looks = name.startswith((".", "/", "~"))
    if not (looks or _is_model(folder)):
        return None
    if (folder / "modules.json").is_file():
        return "sentence_transformers"
    if not (folder / "config.json").is_file():
        if (folder / "config.yaml").is_file() and (folder / "model.pt").is_file():
            return "emotion2vec"
        if not looks:
            return None
        raise BadRecipe(f"{where}={name}: no folder with a config.json or modules.json, as save_pretrained writes it")
    try:
        kind = io.read_object(folder / "config.json", "restore the model's folder").get("model_type")
    except SensoriumError as error:
        raise BadRecipe(f"{where}={name}: {error}") from None
    return TYPES.get(str(kind), "transformers")


def _by_rule(name: str) -> str | None:
    found = (part for pattern, part in RULES if re.fullmatch(pattern, name, re.IGNORECASE))
    known = (part for part, models in KNOWN.items() if name in models)
    return next(known, None) or next(found, None)


def _is_class(where: str) -> bool:
    """Whether the text before a colon is a file or an importable module, so that the name is one of a class."""
    if where.endswith(".py") or "." in where:
        return True
    try:
        return where.isidentifier() and importlib.util.find_spec(where) is not None
    except (ImportError, ValueError):
        return False


def _example(part: str) -> str:
    return KNOWN.get(part, ("MODEL",))[0]


def _near(name: str) -> str:
    """The nearest names of parts and well-known models, or the parts there are."""
    here = parts.names("encoders")
    models = {model: model for one in KNOWN.values() for model in one}
    models |= {model.partition("/")[2]: model for model in models if "/" in model}
    close = [models.get(found, found) for found in _close(name, [*here, *models], 0.7)]
    if close:
        return f"did you mean {' or '.join(dict.fromkeys(close))}?"
    return f"known: {', '.join(here)}"


def _close(word: str, known: Any, cutoff: float) -> list[str]:
    lower = {one.lower(): one for one in known}
    return [lower[one] for one in difflib.get_close_matches(word.lower(), lower, n=3, cutoff=cutoff)]
