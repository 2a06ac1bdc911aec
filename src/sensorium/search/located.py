"""Locations of a run's data: relative paths of its recipe, recorded so that the run works from any folder.

A recipe keeps paths as they were typed, so that equal recipes stay equal. ``paths.json`` in the run holds, by key of
[data], the absolute path that each relative one stood for; an earlier run without it reads paths as they are.

A path that begins with "run:" lies in the folder of the run itself, and moves with it: see :func:`inside`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium import io
from sensorium.datasets import memory
from sensorium.errors import BadRecipe, Corrupt
from sensorium.recipe import Built, Recipe
from sensorium.search.folder import RunFolder
from sensorium.types import Data

FILE = "paths.json"
ENCODER = "{side}-encoder.safetensors"  # weights of an encoder that were trained
MODEL = "{side}-model"  # folder with the files of its untrained model
INSIDE = "run:"  # before a path within the run's own folder
_FOLDERS = ("root", "folder", "dir", "path")  # keys whose plain word may name a folder


def write(values: Mapping[str, Any], folder: Path) -> None:
    """Record the relative paths among the values of [data] that are there now; no file where there are none.

    Paths that an earlier evaluation of the same run recorded stay.
    """
    before = _read(folder)
    found = {key: at for key, value in values.items() if (at := _absolute(key, value)) is not None}
    if before or found:
        io.write_json(folder / FILE, {**before, **found})


def data(plan: Recipe, folder: Path, progress: bool = False) -> Any:
    """The data set of a run's recipe, with relative paths that are not here taken from the record."""
    typed = plan.values["data"]
    return part(Recipe(plan.name, {**plan.values, "data": {**typed, **recorded(typed, folder)}}), folder,
                progress=progress)  # fmt: skip


def recorded(typed: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The keys among these of [data] whose relative path is not here, and the absolute one that it stood for."""
    return {key: at for key, at in _read(folder).items() if _absolute(key, typed.get(key)) is None}


def part(plan: Recipe, folder: Path, stores: Path | None = None, progress: bool = False) -> Any:
    """The data set of a recipe, whose paths within the run are those of ``folder``.

    stores: folder of the embeddings, by default the usual one beside the run.
    """
    within = {key: str(Path(folder).absolute() / name) for key, name in inside(plan).items()}
    made = Recipe(plan.name, {**plan.values, "data": {**plan.values["data"], **within}}).part("data")
    made.stores, made.progress = stores or RunFolder.of(folder).stores, progress
    if made.asks_encoder:
        made.encoder = plan.part("left.encoder")
    return made


def save_encoders(weights: Mapping[str, Mapping[str, Any]], folder: Path, plan: Recipe, built: Built) -> None:
    """Write the weights of encoders that a fit has trained, by side, into a run's folder: see :func:`tuned`.

    With ``finetune.keep_model`` the files of their untrained models as well. Raises BadRecipe for one that has none.
    """
    from safetensors.torch import save

    options = plan.finetune_options()
    for side in weights if options is not None and options.keep_model else ():
        files, target = built.encoders[side].model_files(), folder / MODEL.format(side=side)
        if not files:
            name = plan.part_name(f"{side}.encoder")
            raise BadRecipe(f"finetune.keep_model: {side}.encoder '{name}' has no files of a model; "
                            "type: finetune.keep_model=false")  # fmt: skip
        for name, path in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)
        io.sync_tree(target)
    for side, tensors in weights.items():
        io.write(folder / ENCODER.format(side=side), save({name: one.contiguous() for name, one in tensors.items()}))


def tuned(built: Built, folder: Path) -> Built:
    """The parts of a run's recipe, whose encoders take the weights that the fit of the run has trained."""
    for side, encoder in built.encoders.items():
        tune(encoder, side, folder)
    return built


def tune(encoder: Any, side: str, folder: Path) -> Any:
    """An encoder, not used yet, with the weights of it that a run has trained, where it has; returns it."""
    path = Path(folder) / ENCODER.format(side=side)
    if encoder is not None and encoder.trains and path.is_file():
        encoder.tuned = str(path)
        if (kept := Path(folder) / MODEL.format(side=side)).is_dir():
            encoder.kept = str(kept)
    return encoder


def inside(plan: Recipe) -> dict[str, str]:
    """The keys of [data] whose path lies in the run's own folder, and that path."""
    return {key: value.removeprefix(INSIDE) for key, value in plan.values["data"].items() if _is_inside(value)}


def of_new(
    plan: Recipe, recipe: Any, folder: Path, given: Data | None, stores: Path | None = None, progress: bool = False
) -> Data:
    """The data of a run that is made in ``folder``: the given ones, which are kept there, or those of its recipe.

    recipe: as the caller gave it. What the recipe of an earlier run has within its folder is copied.
    """
    if given is not None:
        memory.save(given, folder / memory.FOLDER)
        return given
    source = Path(recipe).expanduser().parent if isinstance(recipe, (str, Path)) else folder
    for name in inside(plan).values():
        if (source / name).is_dir() and (source / name).resolve() != (folder / name).resolve():
            io.copy_folder(source / name, folder / name, shutil.ignore_patterns(".*"))
            io.sync_tree(folder / name)
    return part(plan, folder, stores, progress).load()


def _is_inside(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(INSIDE)


def _read(folder: Path) -> dict[str, str]:
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    found = io.read_json(path, "delete it, and type the paths anew")
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Corrupt(f"{path} holds no paths; delete it, and type the paths anew")
    return found


def _absolute(key: str, value: Any) -> str | None:
    """A relative path, or ``path:key`` within a file, as an absolute one; None where it names nothing that is here."""
    if key == "name" or not isinstance(value, str) or not value or _is_inside(value):
        return None
    if Path(value).expanduser().is_absolute():
        return None
    for text, rest in ((value, ""), (value.rpartition(":")[0], ":" + value.rpartition(":")[2])):
        path = Path(text)
        if text and (path.is_file() or (path.is_dir() and (key in _FOLDERS or "/" in text or text in (".", "..")))):
            return f"{path.absolute()}{rest}"
    return None
