"""The original EmoRAG's files: heads with their projection as runs, clips and texts as stores, the index folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import heads, io, pipeline
from sensorium import recipe as recipes
from sensorium.datasets import memory
from sensorium.errors import BadRecipe
from sensorium.formats import FittedHead, Format
from sensorium.pairs import Pairs
from sensorium.recipe import Recipe
from sensorium.systems.emorag import library
from sensorium.types import Data, Embeddings, Items

DIRECT, PCA = "emorag", "emorag-pca"  # recipes
_OWN = ("clips", "pca")
_VERDICT = "Imported, not evaluated: nothing says which text belongs to which clip."


def read(path: Path, out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Make the run ``out`` of a head and its clips, which ranks as the original does.

    overrides: ``clips=FILE``, ``pca=FILE`` where the head was trained on principal components, and keys of the recipe,
    such as ``left.encoder=NAME`` or ``index=faiss``. Text vectors go through the head as they are, clips are scaled to
    unit length, after the projection if there is one, and the score is the inner product.
    The run holds the clips' vectors and the projection: none of the files is needed again.
    Raises BadRecipe for files that do not fit each other, BadData for one that cannot be used.
    """
    from sensorium.fitting.fitted import Fitted
    from sensorium.systems.emorag import head_pt

    given = {key: value for key, _, value in (text.partition("=") for text in overrides) if key in _OWN}
    checkpoint = head_pt.read(path)
    if "clips" not in given and not (path.parent / library.CLIPS).is_file():
        raise BadRecipe(f"no clips to search; type: clips={library.CLIPS}")
    place = Path(given.get("clips", path.parent / library.CLIPS)).expanduser()
    clips = library.read(place)
    heads.check_finite(clips.vectors, clips.ids, str(place))
    right_head = _right_head(path, checkpoint, clips, given.get("pca"))
    plan = _plan(checkpoint.head, right_head, [text for text in overrides if text.partition("=")[0] not in _OWN])
    encoder = plan.part("left.encoder")
    texts = (
        Items(np.zeros(0, np.str_), [], "text", name="text")
        if encoder is not None
        else Items(np.zeros(0, np.str_), np.zeros((0, checkpoint.head.dim_in), np.float32), "vector",
                   source={"name": "vectors", "key": library.TEXTS}, name="text")
    )  # fmt: skip
    source = {"name": "vectors", "key": clips.key}
    sounds = Items(clips.ids, clips.vectors, "vector", clips.meta, source, name="clip")
    none = np.zeros(0, np.int64)
    data = Data(texts, sounds, Pairs.of(none, none), {"left": path.name, "right": str(place), "split": "none"})
    plan = recipes.load({**plan.values, "name": plan.name}, [f"data.digest={memory.digest(data)}"])
    notes = {"imported": path.name, "checksum": io.checksum(path), "clips": place.name}
    with pipeline.workplace(out, plan) as folder:
        memory.save(data, folder / memory.FOLDER)
        left = Embeddings(texts.ids, np.zeros((0, checkpoint.head.dim_in), np.float32),
                          texts.source if encoder is None else encoder.fingerprint)  # fmt: skip
        right = Embeddings(sounds.ids, sounds.values, sounds.source, sounds.meta)
        fitted = Fitted(checkpoint.head, right_head, notes=notes)
        pipeline.finish(plan, data, left, right, data.pairs, fitted, folder, stages=("index",),
                        extra={"verdict": _VERDICT})  # fmt: skip
    made = {"head": plan.part_name("left.head"), "in_dim": checkpoint.head.dim_in, "out_dim": checkpoint.head.dim,
            "clips": len(clips.ids), "projection": plan.part_name("right.head"),
            "texts": plan.part_name("left.encoder") or "vectors"}  # fmt: skip
    if clips.renamed:
        made["renamed"] = clips.renamed
    if not clips.indexed:
        folder = place if place.is_dir() else place.parent
        old = library.stale(folder, clips.names, heads.apply(right_head, clips.vectors))
        made |= {} if old is None else {"their_index": "of other clips, not used" if old else "of the same clips"}
    return made


def write(head: FittedHead, out: Path, pca: str | None = None) -> list[Path]:
    """The text head as the original's checkpoint; and the projection of the clips, where it has one, beside it.

    pca: the projection's file, by default ``my_cca_pca.npz`` in the checkpoint's folder.
    Raises BadRecipe, with the reason, where either side has no form in the original.
    """
    from sensorium.systems.emorag import head_pt, pca_npz

    if head.side != "left" or head.run is None or len(head.run.sides) != 2:
        raise BadRecipe("the original has a head of texts, which is the left one, and clips; type: side=left")
    projection = pca_npz.of(head.run.head("right"))
    beside = Path(pca).expanduser() if pca else out.with_name(pca_npz.FILE)
    if projection is None and pca:
        raise BadRecipe(f"pca={pca}: the clips of {head.run.folder} have no projection; leave pca out")
    if projection is not None:  # first: where it is refused nothing is written
        pca_npz.write(projection, beside)
    head_pt.write(head.module, out, projection is not None, bool(head.encoder.get("unit_length")))
    return [out] if projection is None else [out, beside]


def write_index(head: FittedHead, out: Path, index: str = "hnsw") -> list[Path]:
    """The clips as the run searches them, live changes included, as an index folder of the original."""
    if head.run is None or "right" not in head.run.sides:
        raise BadRecipe("the run has no clips on its right side; expected one of a recipe such as emorag")
    clips = head.run.index("right")
    return library.write_index(clips.table.ids, clips.vectors(np.arange(len(clips.table))), out, index)


def _right_head(path: Path, checkpoint: Any, clips: library.Clips, pca: str | None) -> Any:
    """The head of the clips. Raises BadRecipe where head, clips and projection do not fit each other."""
    from sensorium import parts
    from sensorium.systems.emorag import pca_npz

    width, target = clips.vectors.shape[1], checkpoint.head.dim
    if clips.indexed and pca:
        raise BadRecipe("the clips of an index folder are projected already; leave pca out, or type: "
                        f"clips={library.CLIPS}")  # fmt: skip
    if pca is None:
        if (checkpoint.pca and not clips.indexed) or width != target:
            why = "was trained on principal components" if checkpoint.pca else f"gives vectors of {target} numbers"
            raise BadRecipe(f"{path} {why}, and the clips are vectors of {width}; name the projection that it was "
                            f"trained with: pca={pca_npz.FILE}")  # fmt: skip
        head = parts.make("heads", {"name": "identity"})
        head.build(width)
        return head.eval()
    head = pca_npz.read(Path(pca).expanduser())
    if head.dim_in != width or head.dim != target:
        raise BadRecipe(f"pca={pca} takes vectors of {head.dim_in} numbers to {head.dim}; the clips have {width}, and "
                        f"{path} gives {target}")  # fmt: skip
    return head


def _plan(left: Any, right: Any, keys: Sequence[str]) -> Recipe:
    """The recipe of the run: the document's, with the sizes of the files."""
    name = DIRECT if type(right).__name__ == "Identity" else PCA
    own = ["data=memory", f"left.head.hidden={left.arguments['hidden']}", f"left.head.dim={left.dim}",
           "left.head.preprocess=none", "right.encoder=none", "index=exact"]  # fmt: skip
    own += [f"right.head.rank={right.dim}"] if name == PCA else []
    plan = recipes.load(name, [*own, *keys])
    encoder = plan.part("left.encoder")
    if encoder is None or encoder.dim == left.dim_in:
        return plan
    if any(key.startswith("left.encoder=") for key in keys):
        raise BadRecipe(f"the head takes vectors of {left.dim_in} numbers, left.encoder "
                        f"'{plan.part_name('left.encoder')}' gives {encoder.dim}")  # fmt: skip
    return recipes.load(name, [*own, *keys, "left.encoder=none"])


EMORAG = Format(
    name="emorag", about="The head of the original EmoRAG (my_direct_model.pt, my_pca_model.pt, z_head_L0.pt).",
    holds="run", endings=(".pt", ".pth"), read=read, write=write,
    read_options={"clips": "audio_embeddings.npz, or the index folder",
                  "pca": "my_cca_pca.npz, of a head that was trained on principal components",
                  "left.encoder": "what encodes texts (minilm where the widths agree); any other recipe key as well"},
    write_options={"pca": "the file of the projection (my_cca_pca.npz beside the head)"},
)  # fmt: skip
EMORAG_INDEX = Format(
    name="emorag-index", about="The index folder of the original EmoRAG: Zy.npy, names.npy and a FAISS file.",
    holds="run", endings=("",), write=write_index, side="right",
    write_options={"index": "hnsw, flat or none: the FAISS file (hnsw)"},
)  # fmt: skip
EMORAG_CLIPS = Format(
    name="emorag-clips", about="The clips of the original EmoRAG: its folder; written as audio_embeddings.npz.",
    endings=("",), read=library.columns, write=library.write_clips, keys=library.KEYS,
    folder=lambda path: (path / "Zy.npy").is_file() or (path / library.CLIPS).is_file(),
)  # fmt: skip
EMORAG_TEXTS = Format(
    name="emorag-texts", about="The texts of the original EmoRAG: train_text_raw.npz.", endings=(".npz",),
    write=library.write_texts,
)  # fmt: skip
