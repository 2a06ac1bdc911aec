"""The original perception projection: best_model.pth and projection_best.pt as runs, training_data.npz as stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io, pipeline
from sensorium import recipe as recipes
from sensorium.datasets import memory
from sensorium.errors import BadRecipe
from sensorium.fitting import encoders as encoding
from sensorium.formats import FittedHead, Format
from sensorium.modalities.face import layout
from sensorium.pairs import Pairs
from sensorium.recipe import Recipe
from sensorium.search.folder import RunFolder
from sensorium.systems.perception import data_npz
from sensorium.types import Data, Embeddings, Items

RECIPE = "perception-document"
_OWN = ("prompts",)
_NO_DATA = "imported, not evaluated: no faces were named; type: data.file=training_data.npz"
_DRAWN = "imported: nothing says which faces this head was fitted on; the {faces:,} of the test split may be among them"


def read(path: Path, out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Make the run ``out`` of a head, or stores of a ``training_data.npz``.

    overrides: keys of the recipe ``perception-document``. With data, such as ``data.file=training_data.npz``, the run
    is evaluated on their test split and searches their prompts. Without, it holds the head, and the prompts of
    ``prompts=FILE``, one a line, or ``prompts="a person looking {label}"``, which ``right.encoder=NAME`` encodes.
    Raises BadRecipe where head and vectors do not fit each other, BadData for a file that cannot be used.
    """
    if path.suffix == ".npz":
        return {"run": None, **data_npz.to_stores(path, out, overrides)}
    from sensorium.systems.perception import head_pth

    given = {key: value for key, _, value in (text.partition("=") for text in overrides)}
    head = head_pth.read(path)
    keys = [text for text in overrides if text.partition("=")[0] not in _OWN]
    faces = (
        [] if any(key.startswith("data.") for key in given) else ["left.encoder=none"]
    )  # what made them is not known
    plan = recipes.load(RECIPE, [*_head_keys(head), *faces, *keys])
    notes = {"imported": path.name, "checksum": io.checksum(path)}
    made = {"head": plan.part_name("left.head"), "in_dim": head.dim_in, "hidden": head.arguments["hidden"],
            "out_dim": head.dim}  # fmt: skip
    if any(key.startswith("data.") and value for key, value in given.items()):
        if "prompts" in given:
            raise BadRecipe("prompts= is of a head without data; with data.file the prompts are those of the file")
        return made | _evaluated(path, out, plan, head, keys, notes)
    return made | _alone(path, out, plan, head, given.get("prompts"), notes)


def write(head: FittedHead, out: Path, prompts: str | None = None) -> list[Path]:
    """The head as ``best_model.pth``, or with its widths as ``.pt``; the vectors of the run as ``.npz``, by ending.

    Raises BadRecipe, with the reason, where the original has no room for the head.
    """
    from sensorium.systems.perception import head_pth

    if prompts is not None:
        raise BadRecipe(f"prompts={prompts} is of a store of faces; a run has its prompts: leave it out")
    if out.suffix == ".npz":
        if head.run is None:
            raise BadRecipe(f"--out {out}: only a run has the vectors of {data_npz.FILE}")
        return data_npz.of_run(head.run, out)
    if head.side != "left":
        raise BadRecipe("the original has a head of faces, which is the left one; type: side=left")
    if out.suffix not in (".pth", ".pt"):
        raise BadRecipe(
            f"--out {out}; expected best_model.pth, projection_best.pt (with its widths), or {data_npz.FILE}"
        )
    head_pth.write(head.module, out)
    return [out]


def _head_keys(head: Any) -> list[str]:
    """The head as keys of the recipe."""
    return [f"left.head.hidden={head.arguments['hidden']}", f"left.head.dim={head.dim}"]


def _evaluated(
    path: Path, out: Path, plan: Recipe, head: Any, keys: Sequence[str], notes: Mapping[str, Any]
) -> dict[str, Any]:
    """All stages of a run but the fit, on the data that the recipe names."""
    data = plan.part("data").load()
    pipeline.check_data(plan, data)
    plan, _, said = encoding.settled(plan, data, plan.build(), keys)
    for side, items, width in (("left", data.left, head.dim_in), ("right", data.right, head.dim)):
        found = items.values.shape[1] if items.kind == "vector" else plan.part(f"{side}.encoder").dim
        if found != width:
            what = ("takes faces", "the faces have") if side == "left" else ("gives vectors", "the prompts have")
            raise BadRecipe(f"{path} {what[0]} of {width} numbers, {what[1]} {found}; name the data that it was "
                            "trained on: data.file=training_data.npz")  # fmt: skip
    pairs = pipeline.split(plan, data.pairs, ["test"])
    tested = len(np.unique(pairs.where("test").left))
    said = [*said, *data.notes.get("said", []), _DRAWN.format(faces=tested)]
    with pipeline.workplace(out, plan) as folder:
        left, right = pipeline.embed(plan, data, RunFolder(out).stores, progress=False)
        pipeline.finish(plan, data, left, right, pairs, _fitted(plan, head, right, notes), folder,
                        extra={"notes": said, "verdict": _sentence(said[-1])})  # fmt: skip
    return {"faces": len(data.left), "prompts": len(data.right), "evaluated": tested, "said": said}


def _alone(
    path: Path, out: Path, plan: Recipe, head: Any, prompts: str | None, notes: Mapping[str, Any]
) -> dict[str, Any]:  # fmt: skip
    """The head with no face, and the prompts of a file where one is named."""
    texts = [] if prompts is None else _texts(prompts)
    encoder = plan.part("right.encoder") if texts else None
    if texts and encoder is None:
        raise BadRecipe(f"prompts={prompts}: name what encodes them, to {head.dim} numbers: right.encoder=NAME")
    if texts and encoder.dim != head.dim:
        raise BadRecipe(f"{path} gives vectors of {head.dim} numbers, right.encoder "
                        f"'{plan.part_name('right.encoder')}' {encoder.dim}; name the text encoder that it was trained "
                        "with")  # fmt: skip
    none, source = np.zeros(0, np.int64), {"name": "vectors", "key": "perception_embeddings"}
    width = np.zeros((0, head.dim_in), np.float32)
    faces = Items(np.zeros(0, np.str_), width, "vector", source=source, name="face")
    ids = np.array(texts, np.str_) if texts else np.zeros(0, np.str_)
    about = {"name": "vectors", "key": "clip_embeddings"} if encoder is None else dict(encoder.fingerprint)
    vectors = np.zeros((0, head.dim), np.float32) if encoder is None else np.asarray(encoder.encode(texts), np.float32)
    right = Items(ids, texts, "text", name="prompt") if texts else Items(ids, vectors, "vector", source=about,
                                                                         name="prompt")  # fmt: skip
    data = Data(faces, right, Pairs.of(none, none), {"left": path.name, "split": "none"})
    own = ["data=memory", f"data.digest={memory.digest(data)}", *([] if texts else ["right.encoder=none"])]
    plan = recipes.load({**plan.values, "name": plan.name}, own)
    left_encoder = plan.part("left.encoder")
    with pipeline.workplace(out, plan) as folder:
        memory.save(data, folder / memory.FOLDER)
        left = Embeddings(faces.ids, width, source if left_encoder is None else left_encoder.fingerprint)
        table = Embeddings(ids, vectors, about)
        pipeline.finish(plan, data, left, table, data.pairs, _fitted(plan, head, table, notes), folder,
                        stages=("index",), extra={"verdict": _sentence(_NO_DATA)})  # fmt: skip
    return {"faces": 0, "prompts": len(texts), "evaluated": 0, "said": [_NO_DATA]}


def _fitted(plan: Recipe, head: Any, right: Embeddings, notes: Mapping[str, Any]) -> Any:
    from sensorium.fitting.fitted import Fitted

    other = plan.part("right.head")
    other.build(right.dim)
    return Fitted(head, other, notes=notes)


def _texts(prompts: str) -> list[str]:
    """One prompt for each emotion of a text with ``{label}``, or the distinct lines of a file. Raises BadRecipe."""
    if "{label}" in prompts:
        return [prompts.replace("{label}", emotion) for emotion in layout.EMOTIONS]
    try:
        path = Path(prompts).expanduser()
        found = list(dict.fromkeys(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()))
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecipe(
            f"prompts={path} cannot be read as text ({error}); expected a file with one prompt a line"
        ) from None
    if not found:
        raise BadRecipe(f"prompts={prompts} is empty; expected one prompt a line")
    return found


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


PERCEPTION = Format(
    name="perception",
    about="The original perception projection: best_model.pth and projection_best.pt, training_data.npz as stores.",
    holds="run", endings=(".pth", ".pt", ".npz"), read=read, write=write, write_stores=data_npz.of_stores,
    read_options={"data.file": "training_data.npz, whose prompts are searched and whose test split is evaluated; any "
                               "other key of the recipe perception-document as well",
                  "prompts": "of a head without data: a text file with one prompt a line, or a text with {label}, for "
                             "right.encoder=NAME"},
    write_options={"prompts": "of a store of faces: the store of their prompts"},
)  # fmt: skip
