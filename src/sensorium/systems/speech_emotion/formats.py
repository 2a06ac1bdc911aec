"""The weights of the original speech emotion project as runs, and runs as its weights: ``model.pth``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io, pipeline
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe, nearest
from sensorium.formats import FittedHead, Format
from sensorium.recipe import Recipe
from sensorium.search.folder import RunFolder
from sensorium.types import Embeddings


def read(path: Path, out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Make the run ``out`` of a ``model.pth``.

    overrides: recipe keys, such as ``data.root=FOLDER``, on whose test split the run is evaluated; where that
    folder is missing only the classes are known, which is enough to search and to stream. And
    ``normalization=``: how the frames that the weights were trained on had been normalised, one of
    ``model_pth.NORMALIZATIONS`` or a file with mean and std. It is required unless the file states it.
    Raises BadRecipe when it is missing, or the recipe's features or classes do not fit the weights.
    """
    plan, module, normalization = _plan(path, overrides)
    evaluate, measure = _has_data(plan), normalization == "training"
    if measure and not evaluate:
        raise BadRecipe("normalization=training takes mean and deviation of recordings; type: data.root=FOLDER")
    notes = {"imported": path.name, "checksum": io.checksum(path), "normalization": normalization}
    with pipeline.workplace(out, plan) as folder:
        if evaluate:
            _evaluated(plan, module, out, folder, measure, notes)
        else:
            _classes_only(plan, module, folder, notes)
    return {"head": plan.part_name("left.head"), "normalization": normalization, "judged": evaluate}


def write(head: FittedHead, out: Path) -> list[Path]:
    """An lstm head as a state dict that takes raw frames: the input statistics are folded into its first layer."""
    from sensorium.systems.speech_emotion import model_pth

    features = {key: value for key, value in head.encoder.items() if key not in ("name", "revision")}
    model_pth.write(head.module, out, features if head.encoder.get("name") == "mfcc" else None)
    return [out]


def _plan(path: Path, overrides: Sequence[str]) -> tuple[Recipe, Any, str]:
    """The recipe ``ravdess`` with the file's LSTM, the head, and how its frames are normalised."""
    from sensorium.systems.speech_emotion import model_pth

    keys = [key for key in overrides if not key.startswith("normalization=")]
    chosen = [key.partition("=")[2] for key in overrides if key.startswith("normalization=")]
    features = model_pth.stated_features(path)
    normalization = chosen[-1] if chosen else features and features["cmvn"]
    if normalization is None:
        ways = "; ".join(f"{name}: {meaning}" for name, meaning in model_pth.NORMALIZATIONS.items())
        raise BadRecipe(
            f"{path} does not say how its frames were normalised, and the wrong way makes its answers noise; type "
            f"normalization=WORD or normalization=FILE, .json or .npz with mean and std ({ways})"
        )
    measured = None if normalization in model_pth.NORMALIZATIONS else model_pth.statistics(_file(normalization))
    module = model_pth.read(path, "standardize" if measured or normalization == "training" else "none")
    if measured:
        model_pth.normalise(module, *measured)
    own = {key: value for key, value in module.arguments.items() if value is not None}
    cmvn = normalization if normalization in ("utterance", "running") else "none"
    head = ["left.head=lstm", *[f"left.head.{key}={_toml(value)}" for key, value in own.items()]]
    frames = [f"left.encoder.{key}={_toml(value)}" for key, value in (features or {}).items()]
    plan = recipes.load("ravdess", ["data.copies=0", *frames, f"left.encoder.cmvn={cmvn}", *head, *keys])
    encoder, classes = plan.part("left.encoder"), plan.part("right.encoder")
    if encoder.dim != module.dim_in:
        raise BadRecipe(
            f"{path} takes frames of {module.dim_in} numbers, left.encoder gives {encoder.dim}; type: "
            f"left.encoder.n_mfcc={module.dim_in}"
        )
    if classes.dim != module.dim:
        raise BadRecipe(f"{path} has {module.dim} classes, the recipe names {classes.dim}; type: "
                        "right.encoder.classes='[…]' and data.…, in the file's order")  # fmt: skip
    return plan, module, normalization


def _file(normalization: str) -> Path:
    """The file that holds a normalisation. Raises BadRecipe for a word that is none."""
    from sensorium.systems.speech_emotion import model_pth

    if not normalization.endswith((".json", ".npz")):
        known = nearest(normalization, model_pth.NORMALIZATIONS)
        raise BadRecipe(f"normalization={normalization}; {known} (or a .json or .npz file with mean and std)")
    return Path(normalization).expanduser()


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def _has_data(plan: Recipe) -> bool:
    root = plan.values["data"].get("root", "")
    return Path(root).expanduser().is_dir()


def _heads(plan: Recipe, module: Any, right: Embeddings, notes: Mapping[str, Any]) -> Any:
    from sensorium.fitting.fitted import Fitted

    other = plan.part("right.head")
    other.build(right.dim, None, module.dim)
    return Fitted(module, other, notes=notes)


def _evaluated(plan: Recipe, module: Any, out: Path, folder: Path, measure: bool, notes: Mapping[str, Any]) -> None:
    """All stages of a run but the fit. measure: the input statistics are those of the training frames."""
    from sensorium.fitting.build import input_statistics
    from sensorium.heads._preprocess import Preprocess

    data = plan.part("data").load()
    left, right = pipeline.embed(plan, data, RunFolder(out).stores, progress=False)
    pairs = pipeline.split(plan, data.pairs)
    if measure:
        module.preprocess = Preprocess("standardize", module.dim_in, input_statistics(left, pairs.where("train").left))
    pipeline.finish(plan, data, left, right, pairs, _heads(plan, module, right, notes), folder)


def _classes_only(plan: Recipe, module: Any, folder: Path, notes: Mapping[str, Any]) -> None:
    """Heads and the index of the classes, where there are no recordings."""
    encoder, names = plan.part("left.encoder"), plan.part("right.encoder").classes
    frames = Embeddings(np.zeros(0, np.str_), np.zeros((0, encoder.dim), np.float32), encoder.fingerprint)
    classes = plan.part("right.encoder")
    right = Embeddings(np.array(names), classes.encode(names), classes.fingerprint)
    fitted = _heads(plan, module, right, notes)
    pipeline.save_heads(plan, frames, right, fitted, folder)
    built = {}
    empty = np.zeros((0, module.dim), np.float32)
    for side, ids, vectors in (("left", frames.ids, empty), ("right", right.ids, right.vectors)):
        part = plan.part("index")
        part.add(ids, vectors, {"text": ids} if side == "right" else {})
        built[side] = {"items": len(part), "dim": module.dim}
        with io.publish(folder / "index" / side) as building:
            part.save(building)
        stamp = {"head": io.checksum(folder / f"{side}.safetensors"), "part": plan.values["index"]}
        io.write_json(folder / "index" / f"{side}.json", stamp)
    verdict = f"Imported, not evaluated: no recordings in {plan.values['data'].get('root')}; type: data.root=FOLDER."
    metrics = {"results": [], "verdict": verdict, "index": built, "data": "none", "split": "none", "dataset": {}}
    pipeline.write_run(plan, {"seconds": {}, "recipe": plan.hash, **metrics, "fit": dict(notes)}, folder)


MODEL_PTH = Format(
    name="model.pth", about="The LSTM of the original speech emotion project, a PyTorch state dict.",
    holds="run", endings=(".pth", ".pt"), read=read, write=write,
    read_options={"normalization": "how the training frames were normalised: a word, or a file with mean and std",
                  "data.root": "folder of recordings to evaluate on; any other recipe key as well"},
)  # fmt: skip
