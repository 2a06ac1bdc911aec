"""Collections of a Milvus database: how each generation is called, made, checked, and named by its alias."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from sensorium import fingerprint as fingerprints
from sensorium import io
from sensorium.errors import BadRecipe, Mismatch, nearest
from sensorium.indexes._milvus_database import Database
from sensorium.indexes._rows import REMEDY

EMBEDDED = ("FLAT", "HNSW", "AUTOINDEX")
KINDS = (*EMBEDDED, "IVF_FLAT", "IVF_SQ8", "DISKANN")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_STALE = 24 * 3600  # seconds after which a collection that was never finished is of a build that will not go on


def check(kind: str, collection: str, embedded: bool) -> None:
    """Raise BadRecipe for a kind that the database does not have, or a name that no collection has."""
    known = EMBEDDED if embedded else KINDS
    if kind not in known:
        where = "an embedded database has" if embedded else "milvus has"
        raise BadRecipe(f"milvus: no kind '{kind}' ({where} {', '.join(known)}); {nearest(kind, known)}")
    if collection and not _NAME.fullmatch(collection):
        raise BadRecipe(f"milvus: collection='{collection}'; expected letters, digits and _, not a digit first")


def name_of(text: str) -> str:
    """A text as the name of a collection."""
    name = re.sub(r"\W", "_", text, flags=re.ASCII)[:200]
    return name if _NAME.fullmatch(name) else f"_{name}"[:200]


def token() -> str:
    """A name that no other file has."""
    return secrets.token_hex(6)


def cells_of(n: int) -> int:
    """Cells of an IVF index of n vectors: 4 √n."""
    return int(np.clip(4 * np.sqrt(n), 16, 65_536))


def build_parameters(kind: str, cells: int) -> dict[str, int]:
    """How Milvus builds a kind of index."""
    return {"M": 32, "efConstruction": 128} if kind == "HNSW" else {"nlist": cells} if kind.startswith("IVF") else {}


def search_parameters(kind: str, breadth: int, cells: int) -> Any:
    """A function of how many results are wanted, that gives the parameters of a search; wider by a factor."""

    def parameters(limit: int, factor: int = 1) -> dict[str, int]:
        wide = min(max(breadth * factor, limit), 32_768)
        if kind.startswith("IVF"):
            return {"nprobe": min(breadth * factor, cells)}
        return {"ef": wide} if kind == "HNSW" else {"search_list": wide} if kind == "DISKANN" else {}

    return parameters


def generation(
    database: Database, alias: str, ids: np.ndarray, vectors: np.ndarray, columns: Mapping[str, np.ndarray], kind: str
) -> tuple[str, bool]:
    """The name of the collection for these items, and whether it is there already, whole or in part.

    It is named by its content, so that an interrupted call finds what it wrote. One that was changed since it was
    complete is not taken again.
    """
    content = xxhash.xxh3_64(f"{kind} {vectors.shape}".encode())
    content.update("\0".join(ids.tolist()).encode("utf-8", "surrogatepass"))
    content.update(np.ascontiguousarray(vectors))
    for name, column in columns.items():
        content.update(f"{name} {column.dtype} ".encode("utf-8", "surrogatepass"))
        content.update("\0".join(map(repr, column.tolist())).encode("utf-8", "surrogatepass"))
    first = f"{alias}_{content.hexdigest()}"
    for number in range(1, 1000):
        name = first if number == 1 else f"{first}_{number}"
        if not database.has(name):
            return name, False
        about = database.about(name)
        if not about.get("changed") and about.get("built") in (None, len(ids)):
            return name, True
    raise Mismatch(f"milvus at {database.where}: {first}_2 and 998 more are there; drop them")


def begin(database: Database, name: str) -> None:
    """Say that a collection is being built since now."""
    database.set_about(name, {"began": int(time.time())})


def stamp(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """What a collection says of the vectors that it holds: digest of the fingerprint, and the head's checksum."""
    return {"fingerprint": fingerprints.digest(dict(fingerprint)), "head": str(fingerprint.get("head", ""))}


def check_holds(database: Database, name: str, fingerprint: Mapping[str, Any]) -> None:
    """Raise Mismatch unless the collection holds the vectors of this fingerprint and head; make it ready to search."""
    if not database.has(name):
        raise Mismatch(f"milvus at {database.where}: no collection '{name}': newer ones took its place; {REMEDY}")
    about, mine = database.about(name), stamp(fingerprint)
    for what, called in (("head", "head"), ("fingerprint", "data and encoder")):
        if about.get(what) != mine[what]:
            theirs, ours = (str(one or "unknown")[:8] for one in (about.get(what), mine[what]))
            raise Mismatch(
                f"milvus at {database.where}: '{name}' holds vectors of {called} {theirs}…, this index is of {ours}…; "
                f"{REMEDY}"
            )
    database.ready(name)


def publish(database: Database, alias: str, name: str) -> None:
    """Let the alias name a collection; delete older generations but the one that it named before."""
    before = database.target(alias)
    if before == name:
        return
    database.switch(alias, name)
    ours = re.compile(rf"{re.escape(alias)}_[0-9a-f]{{16}}(_\d+)?")
    for other in database.names():
        if ours.fullmatch(other) and other not in (name, before):
            about = database.about(other)
            if about.get("built") is not None or about.get("began", 0) < time.time() - _STALE:
                database.drop(other)


def verify_items(path: Path, head: Mapping[str, Any]) -> None:
    """Raise Corrupt unless the file of ids and metadata is the one that the index was saved with."""
    io.verify(path, head["xxh3"].get(path.name, ""), REMEDY)
