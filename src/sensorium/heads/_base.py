"""Functions on any head: apply in blocks, save, load, compare with the encoder's fingerprint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import consent, io, parts
from sensorium import fingerprint as fingerprints
from sensorium.contracts import Head
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.numerics import file_backed, ragged
from sensorium.pairs import csr
from sensorium.types import Embeddings, Rows, blocks, rows_within

FORMAT = 1  # of the two files a head is saved as; see docs/formats.md
_MEMBERS = 1 << 14  # padded items of sets a pass
_REMEDY = "fit the head again, or restore both of its files"


def apply(
    head: Head, vectors: Rows, rows: np.ndarray | None = None, block: int = 8192, folder: Path | None = None
) -> np.ndarray:
    """Vectors (n, d_in), or their ``rows``, through a head: (n, d) float32, ``block`` rows at a time.

    The head is used in evaluation mode and left in the mode it was in. folder: where large outputs may lie in a
    temporary file instead of in memory.
    Raises BadData when the vectors are not as wide as the head's input.
    """
    import torch

    if len(vectors.shape) != 2 or vectors.shape[1] != head.dim_in:
        raise BadData(
            f"vectors of shape {tuple(vectors.shape)} do not fit the {type(head).__name__} head, which takes "
            f"(n, {head.dim_in}); pass vectors of the encoder it was fitted on"
        )
    n = len(vectors) if rows is None else len(rows)
    z = file_backed.empty((n, head.dim), folder)
    device = next((t.device for t in (*head.parameters(), *head.buffers())), torch.device("cpu"))
    training = head.training
    head.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):  # also when called within a bf16 step
            for part in blocks(n, rows_within(head.dim_in, block)):
                x = np.require(vectors[part] if rows is None else vectors[rows[part]], np.float32, ["C", "W"])
                z[part] = head(torch.from_numpy(x).to(device)).cpu().numpy()
    finally:
        head.train(training)
    return z


def check_dim(dim: int | None) -> None:
    """Raise BadRecipe for an output width that no head can have."""
    if dim is not None and dim < 1:
        raise BadRecipe(f"dim={dim} of a head; expected 1 or more, or leave it out for the width of the other side")


def project(head: Head, table: Embeddings, folder: Path | None = None) -> np.ndarray:
    """All items of a table through a head: (n, d) float32. folder: see :func:`apply`.

    Items of several frames need a head that takes sequences; raises BadData otherwise.
    """
    if table.offsets is None:
        return apply(head, table.vectors, folder=folder)
    if not head.takes_sequences:
        raise BadData(
            f"the items are sequences of frames, but the {type(head).__name__} head takes one vector an item; "
            "choose a head that takes frames (lstm), or an encoder that pools"
        )
    return ragged.apply_frames(head, table.vectors, table.offsets)


def save(head: Head, stem: Path, name: str, encoder: Mapping[str, Any]) -> None:
    """Write ``stem``.safetensors and ``stem``.json, each whole or not at all.

    name: what ``parts.find("heads", name)`` finds it by.
    encoder: fingerprint of what made the vectors it was fitted on.
    """
    from safetensors.torch import save as pack

    description = {
        "format": FORMAT,
        "name": name,
        "arguments": dict(head.arguments),
        "dim_in": head.dim_in,
        "dim": head.dim,
        "encoder": dict(encoder),
    }
    weights = {key: value.detach().cpu().contiguous() for key, value in head.state_dict().items()}
    # The tensors' file describes itself, so that it alone can be read and shared.
    content = pack(weights, metadata={"sensorium": json.dumps(description, default=io.plain)})
    path = stem.with_name(stem.name + ".safetensors")
    io.write(path, content)
    io.write_json(stem.with_name(stem.name + ".json"), {**description, "checksum": io.checksum(path)})


def restore(stem: Path) -> tuple[Head, Mapping[str, Any]]:
    """The head that :func:`save` wrote and the fingerprint of its encoder; no pickle is read.

    Raises Corrupt when a file is missing, damaged or of an unknown format.
    """
    stem = Path(stem)
    beside, path = stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".safetensors")
    description = io.read_json(beside, _REMEDY)
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else type(description).__name__
        raise Corrupt(f"{beside}: head format {found!r}, expected {FORMAT}; {_REMEDY}")
    description = io.read_object(
        beside, _REMEDY, name=str, arguments=dict, dim_in=int, dim=int, encoder=dict, checksum=str
    )
    io.verify(path, description["checksum"], _REMEDY)
    return _made(description, path.read_bytes(), beside, path)


def load(path: Path | str) -> Head:
    """A saved head as a plain ``torch.nn.Module`` in evaluation mode: ``head(vectors)``, or ``head(frames, lengths)``.

    path: of a run's side (``runs/mine/left``), of a head's .safetensors or .json file, or of a run with one head; a
    .safetensors file alone is enough. Its ``encoder`` is the fingerprint of what made the vectors it takes.

    >>> head = sensorium.heads.load("runs/glyphs/right")          # doctest: +SKIP
    >>> head(torch.from_numpy(vectors))                           # doctest: +SKIP

    Raises BadRecipe when there is no head, Corrupt for a damaged one, Untrusted for code that was not allowed.
    """
    path = Path(path).expanduser()
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    if path.is_dir():
        sides = [side for side in ("left", "right") if (path / f"{side}.safetensors").is_file()]
        if len(sides) != 1:
            found = f"two heads; name one: {path / 'left'} or {path / 'right'}" if sides else "no head"
            raise BadRecipe(f"{path} holds {found}")
        stem = path / sides[0]
    weights = stem.with_name(stem.name + ".safetensors")
    if not weights.is_file():
        raise BadRecipe(
            f"no head {weights}; expected a run's side such as runs/mine/left, or a .safetensors file of one"
        )
    beside = stem.with_name(stem.name + ".json")
    head, encoder = restore(stem) if beside.is_file() else _alone(weights)
    head.encoder = dict(encoder)
    return head


def _alone(path: Path) -> tuple[Head, Mapping[str, Any]]:
    """A head from its .safetensors file alone, which describes itself."""
    from safetensors import SafetensorError, safe_open

    remedy = "it is no head of sensorium, or damaged"
    try:
        with safe_open(path, "pt") as file:
            description = json.loads((file.metadata() or {})["sensorium"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise Corrupt(f"{path} does not describe a head ({error}); {remedy}") from None
    types = {"name": str, "arguments": dict, "dim_in": int, "dim": int, "encoder": dict}
    if not isinstance(description, dict) or not all(isinstance(description.get(k), t) for k, t in types.items()):
        raise Corrupt(f"{path} does not describe a head; {remedy}")
    return _made(description, path.read_bytes(), path, path)


def _made(description: Mapping[str, Any], weights: bytes, beside: Path, path: Path) -> tuple[Head, Mapping[str, Any]]:
    """The head of a description, which is in the file ``beside``, with the weights of the file ``path``."""
    from safetensors.torch import load as unpack

    consent.require([description["name"], description["arguments"]], beside)
    try:
        head = parts.make("heads", {"name": description["name"], **description["arguments"]}, str(beside))
    except BadRecipe as error:
        raise BadRecipe(str(error) if str(beside) in str(error) else f"{beside}: {error}") from None
    head.build(description["dim_in"], None, description["dim"])
    try:
        head.load_state_dict(unpack(weights))
    except RuntimeError as error:
        raise Corrupt(f"{path} does not hold the weights that {beside.name} describes ({error}); {_REMEDY}") from error
    return head.eval(), description["encoder"]


def check(head: Mapping[str, Any], vectors: Mapping[str, Any], where: str) -> None:
    """Raise Mismatch, listing the keys that differ, unless two encoder fingerprints are equal.

    head: the fingerprint a head was fitted with; vectors: that of the vectors it is to be used on.
    """
    fingerprints.check(
        head, vectors, f"{where} was fitted on vectors", "encode with the same encoder, or fit the head again"
    )


def check_finite(vectors: Rows, ids: np.ndarray | None, what: str, block: int = 8192) -> None:
    """Raise BadData, naming the first rows (and their ids), when vectors hold NaN, infinity or only zeros."""
    bad: dict[str, list[int]] = {"NaN or infinity": [], "only zeros": []}
    counts = dict.fromkeys(bad, 0)
    for part in blocks(len(vectors), rows_within(vectors.shape[1], block)):
        x = np.asarray(vectors[part])
        if x.dtype.kind not in "fiu":
            raise BadData(f"{what}: values of type {x.dtype}, expected numbers")
        # One pass: a row's largest magnitude is NaN or infinite when any value is, and 0 when all are.
        largest = np.maximum(x.max(axis=1), -x.min(axis=1)) if x.shape[1] else np.zeros(len(x))
        for fault, rows in (("NaN or infinity", ~np.isfinite(largest)), ("only zeros", largest == 0)):
            counts[fault] += int(np.count_nonzero(rows))
            bad[fault] += (np.flatnonzero(rows)[: 3 - len(bad[fault])] + part.start).tolist()
    for fault, rows in bad.items():
        if rows:
            named = ", ".join(str(r) if ids is None else f"{r} (id {str(ids[r])!r})" for r in rows)
            raise BadData(
                f"{what}: {counts[fault]} of {len(vectors)} rows hold {fault}, such as row {named}; "
                "correct or drop these rows"
            )


def compose(head: Head, vectors: Rows, context: csr.Ragged, category: np.ndarray, slot: np.ndarray) -> np.ndarray:
    """Sets of items as queries for a missing one, (q, dim) float32: inner products with outputs are scores.

    vectors: (n, d_in) of the table. context: rows of the items of each of q sets, one at least. category: (n,) int64,
    place of each item's category in ``head.categories``, -1 for none of them. slot (q,): the same of the missing item,
    -1 where it is open. A head that does not take sets gives the mean of its outputs, so that a score is the mean
    of the inner products with the items of the set. Raises BadData for an empty set.
    """
    import torch

    if (context.counts < 1).any():
        raise BadData(f"{np.count_nonzero(context.counts < 1)} of {len(context.counts)} sets are empty; name an item")
    items, place = np.unique(context.values, return_inverse=True)
    if not head.takes_sets:
        return csr.means(apply(head, vectors, items), csr.Ragged(context.offsets, place))
    made = np.empty((len(context.counts), head.dim), np.float32)
    device = next((t.device for t in (*head.parameters(), *head.buffers())), torch.device("cpu"))
    training = head.training
    head.eval()
    try:
        with torch.inference_mode():
            for part in ragged.alike(context.counts, _MEMBERS):
                one = context.take(part)
                member, set_ = csr.positions(one.counts), np.repeat(np.arange(len(part)), one.counts)
                x = np.zeros((len(part), int(one.counts.max()), head.dim_in), np.float32)
                kinds = np.full(x.shape[:2], -1, np.int64)
                x[set_, member], kinds[set_, member] = vectors[one.values], category[one.values]
                given = (torch.from_numpy(a).to(device) for a in (x, one.counts, kinds, slot[part].astype(np.int64)))
                made[part] = head.compose(*given).cpu().numpy()
    finally:
        head.train(training)
    return made


def category_codes(head: Head, words: Any) -> np.ndarray:
    """Place of each category (n,) among ``head.categories``, int64; -1 for one that the head does not know.

    All are -1 for a head that does not take sets.
    """
    names = list(head.categories) if head.takes_sets else []
    place = {name: i for i, name in enumerate(names)}
    unique, inverse = np.unique(np.asarray(words).astype(np.str_), return_inverse=True)
    return np.array([place.get(word, -1) for word in unique.tolist()], np.int64)[inverse]
