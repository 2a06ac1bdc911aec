"""The index of a side as it lies in a run folder: loaded, and checked against the head it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium import consent, io, parts
from sensorium.errors import Corrupt, Mismatch
from sensorium.search.damage import reading, record


def load(run: Path, side: str) -> Any:
    """The index over a side's items, without live changes.

    Raises Mismatch when it is older than the head, Corrupt when it is damaged or of another run, and Untrusted.
    """
    stamp, head_now = _stamp(run, side), _head_checksum(run, side)
    if stamp["head"] != head_now:
        raise Mismatch(
            f"{run}: the {side} index was made with head {stamp['head'][:8]}…, the head is "
            f"{head_now[:8]}… now; type: sensorium index {run}"
        )
    consent.require(stamp["part"], run / "index" / f"{side}.json")
    with reading(run / "index" / side):
        index = parts.find("indexes", stamp["part"]["name"]).load(run / "index" / side)
        made = index.fingerprint.get("made")
    if made is not None and made != stamp.get("made"):
        raise Corrupt(
            f"{run / 'index' / side} is the index of another run, or of an earlier state of this one; "
            f"type: sensorium index {run}"
        )
    return index


def is_stale(run: Path, side: str) -> bool:
    """Whether a side's index was made with another head than the one that lies there now."""
    return bool(_stamp(run, side)["head"] != _head_checksum(run, side))


def _stamp(run: Path, side: str) -> Mapping[str, Any]:
    remedy = f"type: sensorium index {run}"
    stamp = record(run / "index" / f"{side}.json", remedy, head=str, part=dict)
    if not isinstance(stamp["part"].get("name"), str):
        raise Corrupt(f"{run / 'index' / f'{side}.json'} does not name the index's part; {remedy}")
    return stamp


def _head_checksum(run: Path, side: str) -> str:
    with reading(run / f"{side}.safetensors"):
        return io.checksum(run / f"{side}.safetensors")
