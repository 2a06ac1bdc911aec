"""Runs in other tools' files, and other tools' weights as runs: ONNX, and the document's model.pth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io, pipeline
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe, nearest
from sensorium.recipe import Recipe
from sensorium.search.folder import RunFolder
from sensorium.types import Embeddings


def export(kind: str, run: Path | str, out: Path | str, side: str = "left") -> dict[str, Any]:
    """Write one head of a run as another tool's file; returns what was written, as one record.

    Raises BadRecipe for an unknown kind or side, or a head that the kind has no room for.
    """
    from sensorium.search.run import SIDES
    from sensorium.search.run import open as open_run

    if kind not in EXPORTS:
        raise BadRecipe(f"cannot export a run as '{kind}'; {nearest(kind, EXPORTS)}")
    if side not in SIDES:
        raise BadRecipe(f"side={side}; expected left or right")
    opened = open_run(run)
    files = EXPORTS[kind](opened, side, Path(out))
    return {"kind": kind, "run": str(run), "side": side, "out": str(out), "files": [str(file) for file in files]}


def _onnx(run: Any, side: str, out: Path) -> list[Path]:
    """The head's step as a graph, and beside it, as JSON, what goes in and what comes out."""
    from sensorium import heads
    from sensorium.formats import onnx

    module = run.head(side)
    inputs = onnx.export_onnx(module, out)
    _, fingerprint = heads.load(run.folder / side)
    other = "right" if side == "left" else "left"
    labels = run.index(other).table.ids.tolist() if run.recipe.part_name(f"{other}.encoder") == "onehot" else None
    about = {
        "inputs": inputs, "outputs": ["outputs", *[f"next_{i}" for i in range(len(inputs) - 1)]],
        "start": [{"shape": list(part.shape[1:]), "type": str(part.dtype).removeprefix("torch.")}
                  for part in module.start(1)],
        "dim_in": module.dim_in, "dim": module.dim, "encoder": fingerprint, "labels": labels,
    }  # fmt: skip
    beside = out.with_suffix(".json")
    io.write_json(beside, about)
    return [out, beside]


def _model_pth(run: Any, side: str, out: Path) -> list[Path]:
    from sensorium.systems.speech_emotion import model_pth

    model_pth.write(run.head(side), out, getattr(run.encoder(side), "arguments", None))
    return [out]


def import_(kind: str, path: Path | str, out: Path | str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Make a run of another tool's weights; returns what was made, as one record.

    overrides: recipe keys, such as ``data.root=FOLDER``, on whose test split the run is then judged; of
    a folder that is not there only the classes are known, which is enough to search and to stream. And
    ``normalization=``, how the frames that the weights were trained on had been normalised, one of
    ``model_pth.NORMALIZATIONS`` or a file with mean and std: weights do not show it, so it must be said
    unless the file says it.
    Raises BadRecipe when it is not said or the recipe's features or classes do not fit the weights.
    """
    if kind not in IMPORTS:
        raise BadRecipe(f"cannot import '{kind}' as a run; {nearest(kind, IMPORTS)}")
    plan, module, normalization = IMPORTS[kind](Path(path).expanduser(), overrides)
    if normalization == "training" and not _has_data(plan):
        raise BadRecipe("normalization=training takes mean and deviation of recordings; type: data.root=FOLDER")
    seconds: dict[str, float] = {}
    notes = {"imported": Path(path).name, "checksum": io.checksum(Path(path).expanduser()),
             "normalization": normalization}  # fmt: skip
    with pipeline.workplace(Path(out), plan) as folder:
        if _has_data(plan):
            made = _evaluated(plan, module, Path(out), folder, normalization == "training", notes)
        else:
            made = _classes_only(plan, module, folder)
            pipeline.write_run(plan, {"seconds": seconds, "recipe": plan.hash, **made, "fit": notes}, folder)
    return {"kind": kind, "run": str(out), "head": plan.part_name("left.head"), "normalization": normalization,
            "judged": bool(made["results"])}  # fmt: skip


def _model_pth_plan(path: Path, overrides: Sequence[str]) -> tuple[Recipe, Any, str]:
    """The recipe ``ravdess`` with the file's LSTM, and how its frames are normalised."""
    from sensorium.systems.speech_emotion import model_pth

    keys = [key for key in overrides if not key.startswith("normalization=")]
    given = [key.partition("=")[2] for key in overrides if key.startswith("normalization=")]
    features = model_pth.said(path)
    normalization = given[-1] if given else features and features["cmvn"]
    if normalization is None:
        told = "; ".join(f"{name}: {meaning}" for name, meaning in model_pth.NORMALIZATIONS.items())
        raise BadRecipe(
            f"{path} does not say how its frames were normalised, and the wrong way makes its answers noise; type "
            f"normalization=WORD or normalization=FILE, .json or .npz with mean and std ({told})"
        )
    measured = None if normalization in model_pth.NORMALIZATIONS else model_pth.statistics(_named(normalization))
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


def _named(normalization: str) -> Path:
    """The file that stands for a normalisation. Raises BadRecipe for a word that is none."""
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


def _evaluated(
    plan: Recipe, module: Any, out: Path, folder: Path, measure: bool, notes: Mapping[str, Any]
) -> dict[str, Any]:
    """A whole run of imported weights; ``measure``: input statistics are those of the training frames."""
    from sensorium.fitting.build import input_statistics
    from sensorium.heads._preprocess import Preprocess

    data = plan.part("data").load()
    left, right = pipeline.embed(plan, data, RunFolder(out).stores, progress=False)
    pairs = pipeline.split(plan, data.pairs)
    if measure:
        module.preprocess = Preprocess("standardize", module.dim_in, input_statistics(left, pairs.where("train").left))
    return pipeline.finish(plan, data, left, right, pairs, _heads(plan, module, right, notes), folder)


def _classes_only(plan: Recipe, module: Any, folder: Path) -> dict[str, Any]:
    """Heads and the index of the classes; no recording is known."""
    encoder, names = plan.part("left.encoder"), plan.part("right.encoder").classes
    frames = Embeddings(np.zeros(0, np.str_), np.zeros((0, encoder.dim), np.float32), encoder.fingerprint)
    classes = plan.part("right.encoder")
    right = Embeddings(np.array(names), classes.encode(names), classes.fingerprint)
    fitted = _heads(plan, module, right, {})
    pipeline.save_heads(plan, frames, right, fitted, folder)
    told = {}
    empty = np.zeros((0, module.dim), np.float32)
    for side, ids, vectors in (("left", frames.ids, empty), ("right", right.ids, right.vectors)):
        part = plan.part("index")
        part.add(ids, vectors, {"text": ids} if side == "right" else {})
        told[side] = {"items": len(part), "dim": module.dim}
        with io.publish(folder / "index" / side) as building:
            part.save(building)
        stamp = {"head": io.checksum(folder / f"{side}.safetensors"), "part": plan.values["index"]}
        io.write_json(folder / "index" / f"{side}.json", stamp)
    verdict = f"Imported, not judged: no recordings in {plan.values['data'].get('root')}; type: data.root=FOLDER."
    return {"results": [], "verdict": verdict, "index": told, "data": "none", "split": "none", "dataset": {}}


EXPORTS: Mapping[str, Callable[[Any, str, Path], list[Path]]] = {"onnx": _onnx, "model.pth": _model_pth}
IMPORTS: Mapping[str, Callable[[Path, Sequence[str]], tuple[Recipe, Any, str]]] = {"model.pth": _model_pth_plan}
