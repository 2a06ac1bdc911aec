"""The original Embed2Image's files: ``projection_heads.pt`` as a run and back, its cache as stores and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import io, pipeline
from sensorium import recipe as recipes
from sensorium.datasets import memory
from sensorium.errors import BadRecipe
from sensorium.fitting import encoders as encoding
from sensorium.formats import FittedHead, Format
from sensorium.progress import say
from sensorium.recipe import Recipe
from sensorium.search.folder import RunFolder, quote
from sensorium.systems.embed2image import cache_pt
from sensorium.types import SIDES, Data, Items

RECIPE = "clotho"
_OWN = ("activation", "split")
#: Keys that ask for splits.
_SPLITTING = ("data.split", "data.test", "data.validation", "data.split_seed", "data.group")
#: Of a run whose fitted rows are not known: nothing is chosen or compared on its own rows.
_ALL_ROWS = ("evaluate.baselines=[]", "evaluate.leaks=off", "evaluate.correction=none", "evaluate.calibrate=false")
_UNKNOWN = (
    "imported: nothing says which clips these heads were fitted on; all {clips:,} clips are evaluated, so these "
    "numbers may be of fitted ones; to evaluate a part of the clips, type: split=clip"
)
_DRAWN = (
    "imported: nothing says which clips these heads were fitted on; the {clips:,} clips of the test split, which was "
    "drawn by clip, may be among them"
)


def read(path: Path, out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Make the run ``out`` of two heads and a cache, or of the data that keys name; or stores of a cache's folder.

    overrides: ``data.cache=FOLDER`` or ``data.root=FOLDER``, further keys of the recipe ``clotho``,
    ``activation=gelu`` where an older file does not say it, and ``split=clip``. Without the last, or keys of splits,
    all clips are evaluated, and the run says that it cannot know which of them were fitted on.
    Raises BadRecipe where heads and vectors do not fit each other, BadData for a file that cannot be used.
    """
    if path.is_dir():
        return {"run": None, **cache_pt.to_stores(path, out, overrides)}
    from sensorium.systems.embed2image import heads_pt

    given = _given(overrides)
    if given.get("split", "clip") != "clip":
        raise BadRecipe(f"split={given['split']}; expected split=clip, or leave it out to evaluate all rows")
    keys = _located([text for text in overrides if text.partition("=")[0] not in _OWN])
    how = {"activation": given.get("activation"), "preprocess": "none" if _has_vectors(keys) else "unit"}
    found = heads_pt.read(path, **how)
    asked = "split" in given or any(key in given for key in _SPLITTING)
    heads = [text for side in SIDES for text in _head_keys(side, found.heads[side])]
    plan = recipes.load(RECIPE, ["train.members=1", *heads, *keys])
    data = plan.part("data").load()
    pipeline.check_data(plan, data)
    plan, _, notes = encoding.settled(plan, data, plan.build(), keys)
    if found.vision:
        found = heads_pt.read(path, dim_in=_width("left", plan, data.left), **how)
    _check_widths(path, plan, data, found.heads)
    if asked:
        pairs = pipeline.split(plan, data.pairs, ["test"])
    else:
        pairs = replace(data.pairs, split=np.full(len(data.pairs), "test", "<U10"))
        data = replace(data, pairs=pairs, notes={**data.notes, "split": "all rows"})
        plan = _of_all_rows(plan, data, given)
    clips = len(np.unique(pairs.where("test").left))
    notes.append((_DRAWN if asked else _UNKNOWN).format(clips=clips))
    if found.assumed:
        notes.append(f"imported: {path.name} does not say it, so the original's default is taken: {found.assumed}")
    _make(path, out, plan, data, pairs, found, notes)
    made = {"heads": [plan.part_name(f"{side}.head") for side in SIDES], "in_dim": _dims(found, "dim_in"),
            "out_dim": found.heads["left"].dim, "clips": len(data.left), "captions": len(data.right),
            "evaluated": clips, "said": notes}  # fmt: skip
    return made


def write(head: FittedHead, out: Path, split: str | None = None, text: str | None = None) -> list[Path]:
    """Both heads of a run as ``projection_heads.pt``; into a folder, the run's vectors as a cache of the original.

    A file whose name begins with ``finetune_`` holds the trained encoders too.
    split: of a cache, the rows of one split alone: "train", "validation" or "test".
    Raises BadRecipe, with the reason, where the original has no room for a head.
    """
    from sensorium.systems.embed2image import finetune_pt, heads_pt

    run = head.run
    if text is not None:
        raise BadRecipe(f"text={text} is of a store of clips; a run has its captions: leave it out")
    if run is None or len(run.sides) != 2:
        raise BadRecipe("the original has two heads, of clips and of captions; expected a run with two sides")
    if out.suffix not in (".pt", ".pth"):
        return cache_pt.of_run(run, out, split)
    if split is not None:
        raise BadRecipe(f"split={split} is of a cache, which is a folder; type: --out FOLDER")
    modules, fit = {side: run.head(side) for side in SIDES}, run.metrics.get("fit", {})
    epoch = fit.get("best_epoch") or fit.get("epoch") or 0
    if out.name.startswith(finetune_pt.START):
        finetune_pt.write(run, out, epoch, fit.get("loss") or 0.0)
    else:
        heads_pt.write(modules["left"], modules["right"], out, epoch, fit.get("loss") or 0.0)
    if any(module.arguments.get("preprocess") == "unit" for module in modules.values()):
        say("note", f"{out.name} takes vectors of unit length, as a cache of the original holds; those of this run: "
                    f"sensorium export embed2image {quote(run.folder)} --out FOLDER")  # fmt: skip
    return [out]


def _make(
    path: Path, out: Path, plan: Recipe, data: Data, pairs: Any, found: Any, notes: Sequence[str]
) -> None:  # fmt: skip
    """The run itself: embed, project, evaluate, index."""
    from sensorium.fitting.fitted import Fitted

    fit = {"imported": path.name, "checksum": io.checksum(path)}
    fit |= {key: value for key, value in (("epoch", found.epoch), ("loss", found.loss)) if value is not None}
    fitted = Fitted(found.heads["left"], found.heads["right"], notes=fit)
    with pipeline.workplace(out, plan) as folder:
        if plan.part_name("data") == "memory":
            memory.save(data, folder / memory.FOLDER)
        left, right = pipeline.embed(plan, data, RunFolder(out).stores, progress=False)
        pipeline.finish(plan, data, left, right, pairs, fitted, folder, extra={"notes": list(notes),
                        "verdict": f"{notes[-1][:1].upper()}{notes[-1][1:]}."})  # fmt: skip


def _of_all_rows(plan: Recipe, data: Data, given: Mapping[str, str]) -> Recipe:
    """The recipe of a run that keeps its rows, all of which are evaluated."""
    keys = ["data=memory", f"data.digest={memory.digest(data)}",
            *(text for text in _ALL_ROWS if text.partition("=")[0] not in given)]  # fmt: skip
    return recipes.load({**plan.values, "name": plan.name}, keys)


def _head_keys(side: str, module: Any) -> list[str]:
    """A head as keys of a recipe."""
    own = {key: value for key, value in module.arguments.items() if value not in (None, "")}
    words = {key: str(value).lower() if isinstance(value, bool) else value for key, value in own.items()}
    return [f"{side}.head={type(module).__name__.lower()}", *(f"{side}.head.{key}={v}" for key, v in words.items())]


def _located(keys: Sequence[str]) -> list[str]:
    """The keys, in which ``data.root`` of a cache is ``data.cache``. Raises BadRecipe where none names data."""
    given = _given(keys)
    if "data.root" in given and "data.cache" not in given and cache_pt.is_cache(Path(given["data.root"]).expanduser()):
        keys = [
            text.replace("data.root=", "data.cache=", 1) if text.startswith("data.root=") else text for text in keys
        ]
        given = _given(keys)
    if not any(key.startswith("data.") and given[key] for key in given):
        raise BadRecipe("no vectors to project; type: data.root=CACHE, the folder of audio_embeddings.pt, "
                        "text_embeddings.pt and metadata.json")  # fmt: skip
    return ["data=captioned", *keys] if "data.cache" in given and "data" not in given else list(keys)


def _has_vectors(keys: Sequence[str]) -> bool:
    """Whether the data come as vectors, which the heads take as they are; those of an encoder are scaled first."""
    given = _given(keys)
    return bool(given.get("data.cache") or given.get("data.file") or given.get("data") == "arrays")


def _given(keys: Sequence[str]) -> dict[str, str]:
    return {key: value.strip('"') for key, _, value in (text.partition("=") for text in keys)}


def _check_widths(path: Path, plan: Recipe, data: Data, heads: Mapping[str, Any]) -> None:
    """Raise BadRecipe unless each head takes vectors as wide as its side has."""
    for side, items in zip(SIDES, (data.left, data.right), strict=True):
        width = _width(side, plan, items)
        if width != heads[side].dim_in:
            of = "the cache" if items.kind == "vector" else f"{side}.encoder '{plan.part_name(f'{side}.encoder')}'"
            raise BadRecipe(f"{path}: the {side} head takes vectors of {heads[side].dim_in} numbers, {of} gives "
                            f"{width}; name the vectors that it was trained on: data.cache=FOLDER")  # fmt: skip


def _width(side: str, plan: Recipe, items: Items) -> int:
    """Width of the vectors of a side."""
    return int(items.values.shape[1] if items.kind == "vector" else plan.part(f"{side}.encoder").dim)


def _dims(found: Any, name: str) -> list[int]:
    return [int(vars(found.heads[side])[name]) for side in SIDES]


EMBED2IMAGE = Format(
    name="embed2image",
    about="The original Embed2Image: projection_heads.pt as a run, its cache of vectors as stores.",
    holds="run", side="both", endings=(".pt", ".pth", ""), read=read, write=write, write_stores=cache_pt.of_stores,
    folder=lambda path: (path / cache_pt.FILES["left"]).is_file(),
    read_options={"data.root": "the cache's folder; any other key of the recipe clotho as well",
                  "activation": "relu or gelu, where an older file does not say it (relu)",
                  "split": "clip: draw splits by clip in place of evaluating all rows"},
    write_options={"split": "of a cache: the rows of one split alone (all)",
                   "text": "of a store of clips: the store of their captions"},
)  # fmt: skip
