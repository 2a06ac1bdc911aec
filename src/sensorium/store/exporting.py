"""Exporting a store in the shape of another tool, block by block and atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sensorium import formats
from sensorium.errors import BadData, BadRecipe
from sensorium.store import manifest, reading, repairing


def export(kind: str, folder: Path | str, out: Path | str, **options: Any) -> dict[str, Any]:
    """Write a store as another tool's file or folder and return what was written, as one record.

    options: those that the format states (``sensorium ls formats`` lists them).
    Raises BadRecipe for an unknown format or option, BadData when ``folder`` is no store, or holds
    frames or columns that the format has no room for.
    """
    format = formats.find(kind, "export")
    if format.holds != "embeddings":
        raise BadRecipe(
            f"'{kind}' is written from a run, not from a store; type: sensorium export {kind} RUN --out FILE"
        )
    formats.check_options("export", kind, options, format.write_options)
    folder, out = Path(folder), Path(out).expanduser()
    if not manifest.exists(folder) and not repairing.has_shards(folder):
        raise BadData(f"{folder} is no store; '{kind}' is written from one, such as those in runs/embeddings")
    store = reading.open(folder)
    if store.offsets is not None and not format.frames:
        raise BadData(
            f"{folder} holds frames, which '{kind}' has no room for; type: sensorium export npz {folder} --out FILE"
        )
    files = format.write(store, out, **options)
    return {"kind": kind, "store": str(folder), "out": str(out), "items": len(store), "width": store.dim,
            "files": [str(file) for file in files]}  # fmt: skip
