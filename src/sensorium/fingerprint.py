"""Fingerprints: digests of recipes, data and splits; one comparison of what made two sets of vectors, one message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xxhash

from sensorium import io
from sensorium.errors import Mismatch
from sensorium.types import Embeddings, blocks, rows_within

_ABSENT = "(absent)"


def digest(value: Any) -> str:
    """Short name of a value that JSON can hold: xxh3-64 of its JSON text with sorted keys, as 16 hex digits.

    Equal values have equal digests, whatever the order of their keys. Recipes, live changes, stores and
    checkpoints are recognised by it, so the value for one input never changes.
    """
    return xxhash.xxh3_64_hexdigest(json.dumps(value, sort_keys=True, default=io.plain).encode())


def checksum(value: Any) -> str:
    """xxh3-128 of the compact JSON text with sorted keys, as 32 hex digits: the checksum of a manifest."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=io.plain)
    return xxhash.xxh3_128_hexdigest(text.encode("utf-8"))


def of_data(left: Embeddings, right: Embeddings | None) -> str:
    """xxh3-64 over ids and vectors of both sides, right None within one table: equal digest, equal data."""
    digest = xxhash.xxh3_64()
    for table in (left, right):
        if table is not None:
            _update(digest, table.ids)
            for rows in blocks(len(table.vectors), rows_within(table.dim, 1 << 16)):  # the digest is that of any blocks
                digest.update(np.ascontiguousarray(table.vectors[rows]))
    return digest.hexdigest()


def of_split(pairs: Any) -> str:
    """xxh3-64 over :class:`sensorium.pairs.Pairs`: rows, labels, groups, splits and classes, if any."""
    digest = xxhash.xxh3_64()
    for column in (pairs.left, pairs.right, pairs.label, pairs.group, *(pairs.classes or ())):
        digest.update(np.ascontiguousarray(column))
    _update(digest, pairs.split)
    return digest.hexdigest()


def _update(digest: Any, texts: np.ndarray) -> None:
    """Add texts (n,), a line each without the last line's end, block by block."""
    for rows in blocks(len(texts), 1 << 16):
        digest.update((("\n" if rows.start else "") + "\n".join(texts[rows].tolist())).encode())


def plain(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """A fingerprint as JSON reads it back, so that one from memory and one from a file compare equal."""
    return json.loads(json.dumps(dict(fingerprint), default=io.plain))


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The keys, sorted, in which two fingerprints differ; empty when they are equal."""
    a, b = plain(one), plain(other)
    missing = object()
    return [key for key in sorted({*a, *b}) if a.get(key, missing) != b.get(key, missing)]


def check(expected: Mapping[str, Any], given: Mapping[str, Any], what: str, remedy: str) -> None:
    """Raise Mismatch unless two fingerprints are equal.

    The message names both encoders and each key that differs. what: begins it, such as "runs/a: left head was
    fitted on vectors"; remedy: ends it.
    """
    keys = differing(expected, given)
    if keys:
        a, b = plain(expected), plain(given)
        each = "; ".join(f"{key}: {_value(a, key)} against {_value(b, key)}" for key in keys)
        raise Mismatch(f"{what} of {_name(a)}, these are of {_name(b)} ({each}); {remedy}")


def _value(fingerprint: Mapping[str, Any], key: str) -> str:
    return repr(fingerprint[key]) if key in fingerprint else _ABSENT


def _name(fingerprint: Mapping[str, Any]) -> str:
    if not fingerprint:
        return "an unknown encoder"
    return repr(fingerprint["name"]) if "name" in fingerprint else "an unnamed encoder"
