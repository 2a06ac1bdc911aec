"""``training_data.npz`` of the original: of the vectors of a run, or of stores of faces and prompts, and to stores.

A row is a face and its prompt: ``perception_embeddings`` (n, 1441), ``clip_embeddings`` (n, 768). Further arrays (n,)
say what is known of each row: ids, prompts, labels, persons, videos, files, split. The original reads the first two.
"""

from __future__ import annotations

import io as buffers
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium import io, parts, store
from sensorium.errors import BadData, BadRecipe, nearest
from sensorium.modalities.face import layout
from sensorium.progress import say
from sensorium.store import manifest, reading
from sensorium.systems import _run_vectors
from sensorium.types import Embeddings, is_missing

FILE = "training_data.npz"
STORES = {"left": "face", "right": "prompt"}
#: Columns of faces, and the arrays that hold them.
_COLUMNS = {"label": "labels", "person": "persons", "video": "videos", "path": "files"}
_MORE = 52  # blendshapes between landmarks and probabilities, which the original has not


class Rows(NamedTuple):
    """left, right: tables. face, prompt (n,): their rows. split (n,): words, "" where there is none.

    texts (m,): the prompts themselves, None where they are not known.
    """

    left: Embeddings
    right: Embeddings
    face: np.ndarray
    prompt: np.ndarray
    split: np.ndarray
    texts: Sequence[str] | None


def of_run(run: Any, out: Path) -> list[Path]:
    """Write the vectors that a run was fitted on, a row for each face and prompt of it, with their splits."""
    data, (left, right), pairs = _run_vectors.of(run, "faces on its left and prompts on its right side")
    related = pairs.where(label=1)
    order = np.lexsort((related.right, related.left))
    texts = [str(text) for text in data.right.values] if data.right.kind == "text" else right.meta.get("text")
    rows = Rows(left, right, related.left[order], related.right[order], related.split[order], texts)
    return write(rows, out)


def of_stores(folder: Path, out: Path, prompts: str | None = None) -> list[Path]:
    """Write stores of faces and of their prompts: those called so in a folder, or two that are named.

    prompts: the store of the prompts, where ``folder`` is that of the faces itself. A face belongs to the prompt whose
    id its column ``prompt`` says, or else to those that have its ``label``.
    Raises BadData for a face without a prompt.
    """
    if prompts is None and not all(manifest.exists(folder / name) for name in STORES.values()):
        raise BadData(f"{folder} holds no stores 'face' and 'prompt'; where it is a store of faces, name that of their "
                      "prompts: prompts=STORE")  # fmt: skip
    places = (folder, Path(prompts).expanduser()) if prompts else (folder / STORES["left"], folder / STORES["right"])
    left, right = (reading.open(place) for place in places)
    for table, where in zip((left, right), places, strict=True):
        if table.offsets is not None:
            raise BadData(f"{where} holds frames, several vectors an item; the original has one vector an item")
    face, prompt = _related(left, right, places)
    split = left.meta.get("split")
    words = np.full(len(left), "") if split is None else np.asarray(split).astype(np.str_)
    return write(Rows(left, right, face, prompt, words[face], right.meta.get("text", right.ids.tolist())), out)


def write(rows: Rows, out: Path) -> list[Path]:
    """The file. Raises BadRecipe for faces that are no perception vectors of the original's width."""
    if out.suffix != ".npz":
        raise BadRecipe(f"--out {out}; expected a file such as {FILE}")
    x = np.asarray(rows.left.vectors[:], np.float32)
    if x.shape[1] == layout.WIDTH + _MORE:
        say("note", f"the {_MORE} blendshapes of each face are left out, as the original has none")
        x = np.delete(x, np.s_[layout.LANDMARKS.stop : layout.LANDMARKS.stop + _MORE], axis=1)
    if x.shape[1] != layout.WIDTH:
        raise BadRecipe(f"the faces are vectors of {x.shape[1]} numbers, the original's have {layout.WIDTH}; to write "
                        "them as they are type: sensorium export npz STORE --out FOLDER")  # fmt: skip
    arrays = {"perception_embeddings": x[rows.face],
              "clip_embeddings": np.asarray(rows.right.vectors[:], np.float32)[rows.prompt]}  # fmt: skip
    if len(np.unique(rows.face)) == len(rows.face):
        arrays["ids"] = rows.left.ids[rows.face].astype(np.str_)
    if rows.texts is not None:
        arrays["prompts"] = np.array([str(text) for text in rows.texts], np.str_)[rows.prompt]
    for column, name in _COLUMNS.items():
        if column in rows.left.meta:
            values = np.asarray(rows.left.meta[column])[rows.face].tolist()
            arrays[name] = np.array(["" if is_missing(value) else str(value) for value in values], np.str_)
    if (rows.split != "").any():
        arrays["split"] = rows.split.astype(np.str_)
    content = buffers.BytesIO()
    np.savez(content, **arrays)
    io.write(out, content.getvalue())
    return [out]


def to_stores(path: Path, out: Path, options: Sequence[str]) -> dict[str, Any]:
    """Import a file as the stores ``out/face`` and ``out/prompt``; returns what was made.

    options: ``data.KEY=VALUE`` of the data set. Raises BadRecipe for others, BadData for a file that cannot be used.
    """
    from sensorium.search.folder import quote

    part = parts.find("datasets", "perception")
    spec: dict[str, Any] = {"name": "perception", "file": str(path)}
    for text in options:
        key, _, value = text.partition("=")
        name = key.removeprefix("data.")
        if not key.startswith("data.") or name not in parts.arguments(part) or name == "file":
            known = [f"data.{one}" for one in parts.arguments(part) if one != "file"]
            raise BadRecipe(f"import perception of {path.name} takes no '{key}'; {nearest(key, known)}; to train on it "
                            f"type: sensorium run perception data.file={quote(path)}")  # fmt: skip
        spec[name] = {"true": True, "false": False}.get(value, int(value) if value.isdecimal() else value)
    data = parts.make("datasets", spec, "data").load()
    of = np.zeros(len(data.left), np.int64)
    of[data.pairs.left] = data.pairs.right
    split = np.full(len(data.left), "", "<U10")
    split[data.pairs.left] = data.pairs.split
    more = {"left": {"prompt": data.right.ids[of], **({"split": split} if (split != "").any() else {})}, "right": {}}
    for side, items in (("left", data.left), ("right", data.right)):
        own = {"name": "imported-perception", "file": path.name, **items.source}
        store.append(out / STORES[side], items.ids.tolist(), items.values, own, {**items.meta, **more[side]})
    return {"stores": [str(out / name) for name in STORES.values()], "faces": len(data.left),
            "prompts": len(data.right), "said": list(data.notes.get("said", []))}  # fmt: skip


def _related(left: Embeddings, right: Embeddings, places: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of faces and of their prompts, (n,) each."""
    by_id: dict[str, list[int]] = {id: [row] for row, id in enumerate(right.ids.tolist())}
    column, known, name = left.meta.get("prompt"), by_id, "prompt"
    if column is None:
        column, known, name = left.meta.get("label"), _by_label(right), "label"
    if column is None or not known:
        raise BadData(f"{places[0]} has no column 'prompt', and not both stores have 'label'; nothing says which "
                      "prompt a face has")  # fmt: skip
    values = ["" if is_missing(value) else str(value) for value in np.asarray(column).tolist()]
    lost = [row for row, value in enumerate(values) if value not in known]
    if lost:
        raise BadData(f"{places[0]}: {len(lost)} faces have a {name} that {places[1]} does not have, such as face "
                      f"'{left.ids[lost[0]]}' of {name} '{values[lost[0]]}'")  # fmt: skip
    edges = [(row, one) for row, value in enumerate(values) for one in known[value]]
    face, prompt = np.array(edges, np.int64).T
    return face, prompt


def _by_label(right: Embeddings) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row, label in enumerate(np.asarray(right.meta.get("label", [])).tolist()):
        if not is_missing(label):
            found.setdefault(str(label), []).append(row)
    return found
