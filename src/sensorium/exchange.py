"""Import and export: other tools' files as stores and runs, and stores and runs as other tools' files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensorium import formats
from sensorium.errors import BadRecipe
from sensorium.formats import FittedHead
from sensorium.store import exporting, importing

SIDE = {"side": "the head: left or right (left)"}


def import_(kind: str, path: Path | str, out: Path | str, options: Sequence[str] = ()) -> dict[str, Any]:
    """Make a store, or a run, of another tool's file; returns what was made, as one record.

    options: ``KEY=VALUE`` texts; those of :func:`sensorium.store.importing.import_` for embeddings, recipe keys
    and those that the format states for a run.
    Raises BadRecipe for an unknown format, option or file, BadData for a file that cannot be used.
    """
    format = formats.find(kind, "import")
    if format.holds == "embeddings":
        return importing.import_(kind, path, out, **_key_values(options))
    path = Path(path).expanduser()
    if not path.exists():
        raise BadRecipe(f"no file {path}; expected {format.about.rstrip('.')}")
    return {"kind": kind, "run": str(out), **format.read(path, Path(out), options)}


def export(kind: str, source: Path | str, out: Path | str, options: Sequence[str] = ()) -> dict[str, Any]:
    """Write stores, or one or both heads of a run, as another tool's files; returns what was written, as one record.

    options: ``KEY=VALUE`` texts, those that the format states; for a run ``side=left`` or ``side=right`` too.
    Raises BadRecipe for an unknown format, option or side, or a head that the format has no room for.
    """
    from sensorium.search.folder import RunFolder
    from sensorium.search.run import SIDES
    from sensorium.search.run import open as open_run

    format, values = formats.find(kind, "export"), _key_values(options)
    if format.holds == "embeddings":
        return exporting.export(kind, source, out, **values)
    if format.write_stores is not None and Path(source).is_dir() and not RunFolder(Path(source)).is_run:
        formats.check_options("export", kind, values, format.write_options)
        files = format.write_stores(Path(source), Path(out).expanduser(), **values)
        return {"kind": kind, "stores": str(source), "out": str(out), "files": [str(file) for file in files]}
    both = format.side == "both"
    formats.check_options("export", kind, values, {**({} if both else SIDE), **format.write_options})
    side = values.pop("side", format.side)
    if side not in SIDES and not both:
        raise BadRecipe(f"side={side}; expected left or right")
    files = format.write(_fitted_head(open_run(source), "left" if both else side), Path(out).expanduser(), **values)
    return {"kind": kind, "run": str(source), "side": side, "out": str(out), "files": [str(file) for file in files]}


def _fitted_head(run: Any, side: str) -> FittedHead:
    module, fingerprint = run.head(side), run.fingerprint(side)
    other = "right" if side == "left" else "left"
    labels = run.index(other).table.ids.tolist() if run.recipe.part_name(f"{other}.encoder") == "onehot" else None
    return FittedHead(module, fingerprint, labels, side, _frames(run, side, module), run)


def _frames(run: Any, side: str, module: Any) -> bool:
    """Whether a side's items are frames; the encoder is asked only where the head takes both."""
    if not module.takes_sequences or not module.takes_vectors:
        return module.takes_sequences
    encoder = run.encoder(side)
    return encoder is not None and encoder.frames


def _key_values(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for (key, sign, _), text in zip(pairs, texts, strict=True):
        if not (key and sign):
            raise BadRecipe(f"'{text}'; expected KEY=VALUE")
    return {key: value for key, _, value in pairs}
