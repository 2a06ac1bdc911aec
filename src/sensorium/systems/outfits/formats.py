"""The original fashion project's files: head checkpoints and ``config.yaml`` as runs, its vectors and FAISS file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium import exchange, io, pipeline
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe
from sensorium.formats import FittedHead, Format
from sensorium.recipe import Recipe
from sensorium.search.folder import RunFolder
from sensorium.search.raw import vectors_name
from sensorium.systems.outfits import index_files

RECIPE = "outfits-document"
_VECTORS = ("embeddings.npy", "data/processed/embeddings.npy")


def read(path: Path, out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Make the run ``out`` of a head checkpoint, or of a ``config.yaml`` and the files that it names.

    overrides: keys of the recipe ``outfits-document``, such as ``data.root=FOLDER``. A checkpoint's run ranks by the
    original's formula: the inner product of the head's outputs at unit length. Where ``embeddings.npy`` and
    ``ids.json`` lie in the folder, or beside the checkpoint, they are the head's inputs; else pictures go through the
    recipe's encoder.
    Raises BadRecipe where the head does not fit the vectors, BadData for a file that cannot be used.
    """
    if path.suffix in (".yaml", ".yml"):
        return _of_config(path, out, overrides)
    keys = list(overrides)
    if not _given(keys, "data.root"):
        if not (path.parent / "metadata.csv").is_file():
            raise BadRecipe("no data.root; type: data.root=FOLDER, the folder of metadata.csv")
        keys.append(f"data.root={path.parent}")
    root = Path(_given(keys, "data.root") or "").expanduser()
    chosen = any(key.startswith("data.vectors=") for key in keys)  # "data.vectors=" takes the pictures
    keys = [key for key in keys if key != "data.vectors="]
    if not chosen:
        places = [*(root / name for name in _VECTORS), path.parent / "embeddings.npy"]
        found = [file for file in places if file.is_file() and file.with_name("ids.json").is_file()]
        keys += [f"data.vectors={found[0].absolute()}", "left.encoder=none"] if found else []
    return _of_head(path, out, keys)


def write(head: FittedHead, out: Path) -> list[Path]:
    """The head as ``head_epoch_last.pt``; input statistics are folded into its first layer."""
    from sensorium.systems.outfits import head_pt

    head_pt.write(head.module, out)
    return [out]


def _of_head(path: Path, out: Path, keys: Sequence[str]) -> dict[str, Any]:
    from sensorium.fitting.fitted import Fitted
    from sensorium.systems.outfits import head_pt

    preprocess = "none" if _given(keys, "data.vectors") else "unit"  # the original's encoder gives unit vectors
    module = head_pt.read(path, preprocess)
    own = module.arguments
    plan = recipes.load(RECIPE, [
        "left.head=mlp", "left.head.activation=relu", f"left.head.hidden={own['hidden']}",
        f"left.head.dim={module.dim}", f"left.head.dropout={own['dropout']}", f"left.head.preprocess={preprocess}",
        *keys,
    ])  # fmt: skip
    encoder = plan.part("left.encoder")
    if encoder is not None and encoder.dim != module.dim_in:
        raise BadRecipe(
            f"{path} takes vectors of {module.dim_in} numbers, left.encoder '{plan.part_name('left.encoder')}' gives "
            f"{encoder.dim}; put embeddings.npy and ids.json into the folder, or name the encoder: left.encoder=NAME"
        )
    with pipeline.workplace(out, plan) as folder:
        data = plan.part("data").load()
        pipeline.check_data(plan, data)
        pairs = pipeline.split(plan, data.pairs)
        left, right = pipeline.embed(plan, data, RunFolder(out).stores, progress=False)
        if left.dim != module.dim_in:
            raise BadRecipe(f"{path} takes vectors of {module.dim_in} numbers, data.vectors has {left.dim}; name those "
                            "that it was trained on: data.vectors=FILE")  # fmt: skip
        fitted = Fitted(module, module, notes={"imported": path.name, "checksum": io.checksum(path)})
        pipeline.finish(plan, data, left, right, pairs, fitted, folder)
    _keep_vectors(plan, out)
    return {"head": "mlp", "in_dim": module.dim_in, "out_dim": module.dim, "items": len(left),
            "vectors": _given(keys, "data.vectors") or f"encoder {plan.part_name('left.encoder')}"}  # fmt: skip


def _of_config(path: Path, out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """A recipe, which is written beside ``out``; and the run where the files are there."""
    from sensorium.systems.outfits import config_yaml

    config = config_yaml.read(path)
    keys = [*config.keys, *overrides]
    about = {"missing": config.missing, "ignored": config.ignored}
    has_items = _given(keys, "data.metadata") and (_given(keys, "data.vectors") or _given(keys, "data.images"))
    if not has_items or not (_given(keys, "data.pairs") or _given(keys, "data.outfits")):
        plan = recipes.load(RECIPE, keys)
        file = out.with_suffix(".toml")
        io.write(file, plan.toml())
        return {"run": None, "recipe": str(file), **about}
    if config.head is not None:
        return {**_of_head(config.head, out, keys), **about}
    run = pipeline.run(RECIPE, keys, out=out, quiet=True)
    _keep_vectors(run.recipe, out)
    return {"head": run.recipe.part_name("left.head"), "fitted": True, **about}


def _keep_vectors(plan: Recipe, out: Path) -> None:
    """Vectors that came as a file, as a store beside the run: similar items are found by them."""
    vectors = plan.values["data"].get("vectors")
    if plan.part("left.encoder") is not None or not vectors:
        return
    path, run = Path(vectors), RunFolder(out)
    store = run.stores / vectors_name("left", plan, pipeline.open_run(out).fingerprint("left"))
    kind = {".npy": "npy", ".npz": "npz"}.get(path.suffix)
    if kind is not None:
        exchange.import_(kind, path, store)


def _given(keys: Sequence[str], name: str) -> str | None:
    """The value that the last of these keys gives; None where none does."""
    values: Mapping[str, str] = {key: value for key, _, value in (text.partition("=") for text in keys)}
    return values.get(name, "").strip('"') or None


FASHION = Format(
    name="fashion", about="The head of the original fashion project (head_epoch_last.pt), or its config.yaml.",
    holds="run", endings=(".pt", ".pth", ".yaml", ".yml"), read=read, write=write,
    read_options={"data.root": "the folder of metadata.csv; any other key of the recipe outfits-document as well"},
)  # fmt: skip
FASHION_INDEX = Format(
    name="fashion-index", about="embeddings.npy, ids.json and the FAISS file of the original fashion project.",
    endings=(".faiss", ".index", ""), read=index_files.read, write=index_files.write,
    folder=lambda path: (path / "embeddings.npy").is_file(),
    write_options={"metric": "cosine or l2, of the FAISS file (cosine)",
                   "normalize": "false: vectors as the encoder gives them, not of unit length (true)"},
)  # fmt: skip
