"""The page of a mirrored store on the Hub: a data-set card, filled in from the manifests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sensorium import parts
from sensorium.store import hub_errors
from sensorium.store.hub import Place
from sensorium.store.manifest import Manifest

#: A card with this line is written anew by each push; without it, it is its owner's.
OURS = "<!-- Written by a push of sensorium, and anew by the next. Delete this line to keep a text of your own. -->"
UNKNOWN = "unknown"  # what the Hub calls a licence that nobody has stated
_SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"),
          (1e8, "10M<n<100M"), (1e9, "100M<n<1B"), (float("inf"), "n>1B"))  # fmt: skip


def card(place: Place, stores: Mapping[str, Manifest], licence: str = "") -> str:
    """The data-set card of a repository's stores, by their folder in it ("" for its root).

    licence: of the vectors, by the Hub's own word, such as "cc-by-4.0".
    """
    items = sum(known.items for known in stores.values())
    tables = [f"{under}/*.items.parquet" if under else "*.items.parquet" for under in stores]
    names = [under or "default" for under in stores]
    front = {
        "license": licence or UNKNOWN,
        "tags": ["sensorium", "embeddings"],
        "size_categories": [next(word for top, word in _SIZES if items < top)],
        "configs": [{"config_name": name, "data_files": table} for name, table in zip(names, tables, strict=True)],
    }
    body = [
        OURS,
        f"# {place.name.partition('/')[2]}",
        "Vectors of frozen encoders, as a store of Sensorium: memory-mapped shards, items in Parquet, and one "
        "manifest with the checksum of every file.",
        _table(stores),
        _columns(stores),
        "## Load it",
        *_use(place, stores),
        "## Licence",
        *_licence(stores, licence),
    ]
    return f"---\n{front_matter(front)}---\n\n" + "\n\n".join(part for part in body if part) + "\n"


def is_ours(card: str) -> bool:
    """Whether a card may be written anew: there is none, one without text, or one that a push wrote."""
    front = re.match(r"---\n.*?\n---\s*", card, re.DOTALL)
    return OURS in card or not card[front.end() if front else 0 :].strip()


def licence_in(card: str) -> str:
    """The licence that a card states in its front matter; "" where it states none."""
    found = re.search(r"(?m)^license: *(\S+) *$", card.partition("\n---")[0])
    return "" if found is None or found[1] == UNKNOWN else found[1]


def front_matter(values: Mapping[str, Any]) -> str:
    """The YAML that the Hub reads of a card, in the client's own form."""
    return hub_errors.module().CardData(**values).to_yaml() + "\n"


def licence_of(fingerprint: Mapping[str, Any]) -> str:
    """What to say of the licence of the weights that made these vectors; "" for an encoder without weights."""
    name = str(fingerprint.get("name", ""))
    found = parts.licence("encoders", name) if name.isidentifier() else ""
    return f"Weights of the encoder {name}: {found}." if found else ""


def _table(stores: Mapping[str, Manifest]) -> str:
    rows = ["| store | encoder | items | vectors | width | numbers |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for under, known in stores.items():
        vectors = sum(s.rows for s in known.shards)
        rows.append(f"| {under or 'at the root'} | {known.fingerprint.get('name', 'unnamed')} | {known.items:,} | "
                    f"{vectors:,} | {known.dim} | {known.dtype} |")  # fmt: skip
    return "\n".join(rows)


def _columns(stores: Mapping[str, Manifest]) -> str:
    named = [f"- {under or 'metadata'}: {', '.join(f'`{n}` ({kind})' for n, kind in known.columns.items())}"
             for under, known in stores.items() if known.columns]  # fmt: skip
    return "\n".join(["Columns of the items, besides `id`:", "", *named]) if named else ""


def _use(place: Place, stores: Mapping[str, Manifest]) -> Sequence[str]:
    short = place.name.partition("/")[2]
    first = next(iter(stores), "")
    where = f"{short}/{first}" if first and len(stores) > 1 else short
    return [f"```sh\nsensorium pull {place} --out {short}\n```",
            f"```python\nfrom sensorium import store\n\nvectors = store.open(\"{where}\")\n"
            "vectors.ids, vectors.vectors, vectors.meta\n```"]  # fmt: skip


def _licence(stores: Mapping[str, Manifest], licence: str) -> Sequence[str]:
    known = dict.fromkeys(licence_of(one.fingerprint) for one in stores.values())
    stated = f"These vectors: {licence}." if licence else "Their publisher has not stated one for these vectors."
    return [stated, *(text for text in known if text)]
