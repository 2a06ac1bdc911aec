"""Picture models: a folder (or id of the hub) with a Stable Diffusion 1.x pipeline: found, described, loaded."""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium import downloads, io
from sensorium.errors import BadData, BadRecipe, Corrupt, MissingExtra, require

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

EXTRA = "generate"
EXAMPLE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
#: Pipelines of one text model of CLIP whose last states condition; the latent consistency ones need few steps.
CLASSES = ("StableDiffusionPipeline", "LatentConsistencyModelPipeline")
_FILES = ("model_index.json", "README.md", "*/config.json", "*_config.json", "*/*_config.json", "tokenizer/*",
          "text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors",
          "vae/diffusion_pytorch_model.safetensors", "safety_checker/model.safetensors")  # fmt: skip
_REPAIR = "copy the folder again, or clear the hub's cache of it with: hf cache delete"
_WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
DTYPES = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class PictureModel:
    """A pipeline on the disk. width: numbers of a state of its text model. size: pixels of a side by default.

    licence: as its card names it, "" for unknown. checker: whether it brings a safety checker. steps, guidance: what is
    usual for it; a latent consistency model needs about four steps.
    """

    name: str
    folder: Path
    width: int
    size: int
    licence: str
    checker: bool
    steps: int = 25
    guidance: float = 7.5


def check_installed() -> None:
    """Raise MissingExtra where diffusers is not installed; it is not imported, which takes seconds."""
    if importlib.util.find_spec("diffusers") is None:
        raise MissingExtra("diffusers", EXTRA)


def locate(model: str | Path, download: bool = True) -> PictureModel:
    """The pipeline of a folder or id; an id is looked for in the hub's cache before it is downloaded.

    Raises BadData where there is none or it is of another kind, Corrupt for damaged files, MissingExtra without
    the hub's client.
    """
    weights = downloads.Weights(
        "generate", str(model), _FILES, EXTRA,
        remedy="type: sensorium serve RUN --generate FOLDER, with a folder that diffusers saved", repair=_REPAIR,
        marks=("model_index.json",), example=EXAMPLE,
    )  # fmt: skip
    if download:
        found = downloads.folder(weights)
    else:
        with downloads.offline():
            found = downloads.folder(weights)
    return describe(found, found.name if Path(model).expanduser().is_dir() else str(model))


def describe(folder: Path, name: str = "") -> PictureModel:
    """What the files of a pipeline say; no weight is read. Raises BadData or Corrupt for what cannot be used."""
    index = io.read_object(folder / "model_index.json", _REPAIR)
    kind = index.get("_class_name")
    if kind not in CLASSES:
        raise BadData(
            f"{folder} holds a {kind}; expected {' or '.join(CLASSES)}: Stable Diffusion 1.x, such as {EXAMPLE}"
        )
    for part, file in _WEIGHTS.items():
        if not any((folder / part).glob(f"{file}*.safetensors*")):
            raise BadData(f"{folder / part} holds no {file}.safetensors; pickled weights are not read: save the "
                          "pipeline with save_pretrained(FOLDER, safe_serialization=True)")  # fmt: skip
    try:
        width = int(io.read_object(folder / "text_encoder" / "config.json", _REPAIR)["hidden_size"])
        unet = io.read_object(folder / "unet" / "config.json", _REPAIR)
        blocks = io.read_object(folder / "vae" / "config.json", _REPAIR)["block_out_channels"]
        size = int(unet["sample_size"]) * 2 ** (len(blocks) - 1)
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"{folder}: its configuration files cannot be used ({error}); {_REPAIR}") from None
    checker = any((folder / "safety_checker").glob("*.safetensors"))
    told = PictureModel(name or folder.name, folder, width, size, licence(folder), checker)
    if kind == CLASSES[0] and not _is_lcm(folder):
        return told
    return replace(told, steps=4, guidance=8.5 if unet.get("time_cond_proj_dim") else 1.0)


def _is_lcm(folder: Path) -> bool:
    path = folder / "scheduler" / "scheduler_config.json"
    return path.is_file() and io.read_object(path, _REPAIR).get("_class_name") == "LCMScheduler"


def licence(folder: Path) -> str:
    """The licence that the card of a model names, such as "creativeml-openrail-m"; "" for none."""
    try:
        text = (folder / "README.md").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    head = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license(?:_name)?:\s*(\S+)\s*$", head[1], re.MULTILINE) if head else None
    return found[1].strip("\"'")[:100] if found else ""


def load(model: PictureModel, device: str = "auto", dtype: str = "auto") -> StableDiffusionPipeline:
    """The pipeline, on a device. No code of the folder is executed, and no pickle is read.

    device: auto takes a GPU where there is one. dtype: auto is float16 on a GPU, float32 elsewhere. Raises BadRecipe
    for a device or dtype that is not there, Corrupt for files that do not load, MissingExtra without diffusers.
    """
    torch = require("torch", EXTRA)
    with _quiet():
        diffusers = require("diffusers", EXTRA)
        device, kind = choose(torch, device, dtype)
        try:
            pipe = diffusers.StableDiffusionPipeline.from_pretrained(
                model.folder, dtype=kind, use_safetensors=True, local_files_only=True, requires_safety_checker=False,
                **({} if model.checker else {"safety_checker": None}),
            ).to(device)  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Corrupt(f"{model.folder} does not load ({_line(error)}); {_REPAIR}") from None
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Neither bars nor advice of the libraries within the block; what is wrong is raised."""
    bars = require("transformers.utils.logging", EXTRA)
    shown, level = bars.is_progress_bar_enabled(), bars.get_verbosity()
    bars.disable_progress_bar()
    bars.set_verbosity_error()
    told = require("diffusers.utils.logging", EXTRA)
    before, bar = told.get_verbosity(), told.is_progress_bar_enabled()
    told.set_verbosity_error()
    told.disable_progress_bar()
    try:
        yield
    finally:
        told.set_verbosity(before)
        if bar:
            told.enable_progress_bar()
        bars.set_verbosity(level)
        if shown:
            bars.enable_progress_bar()


def choose(torch: Any, device: str, dtype: str) -> tuple[Any, Any]:
    """The device and the type of numbers. Raises BadRecipe for what is not there."""
    if dtype not in DTYPES:
        raise BadRecipe(f"dtype '{dtype}'; expected {', '.join(DTYPES)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadRecipe(f"device '{device}' is not there ({_line(error)}); expected auto, cpu, cuda or mps") from None
    if dtype == "auto":
        dtype = "float16" if found.type == "cuda" else "float32"
    return found, {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[dtype]


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
