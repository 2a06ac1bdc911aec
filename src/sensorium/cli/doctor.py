"""Listings of parts and runs; checks of the installation, of stores and of runs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from sensorium import formats, integrity, io, parts
from sensorium import recipe as recipes
from sensorium.errors import BadData, BadRecipe, SensoriumError, nearest
from sensorium.evaluate.statistics import FEW
from sensorium.search.folder import RunFolder, around

LOW_DISK = 2e9  # bytes free, below which the doctor warns


def listing(kind: str | None) -> list[dict[str, Any]]:
    """Records of kind, name and about: recipes, every kind of part, file formats, and the runs under ``runs/``.

    Encoders have the licence of their weights too, "" without weights; no part is imported.
    """
    kinds = ("recipes", *parts.KINDS, "formats", "runs")
    if kind is not None and kind not in kinds:
        raise BadRecipe(f"no kind '{kind}'; {nearest(kind, kinds)}")
    found = []
    for one in kinds if kind is None else (kind,):
        others = {"recipes": recipes.names, "formats": formats.listing, "runs": _runs}
        names = others[one]() if one in others else parts.names(one)
        for name, about in names.items():
            licence = {"licence": parts.licence(one, name)} if one == "encoders" else {}
            found.append({"kind": one, "name": name, **licence, "about": about})
    return found


def _runs() -> dict[str, str]:
    """Every run under ``runs/``, whole or in the making, with one line about it.

    Interrupted ones also of folds, seeds and sweeps, which lie deeper.
    """
    found = around(Path("runs"))
    deeper = [path for depth in ("*/*", "*/*/*") for path in Path("runs").glob(f"{depth}.building") if path.is_dir()]
    found += [run for run in map(RunFolder.of, sorted(deeper)) if not run.is_run]
    return {str(run.path): _about_run(run) for run in found}


def _about_run(run: RunFolder) -> str:
    at = f" at {run.interrupted_at}" if run.interrupted_at else ""
    if not run.is_run:
        return "being made at this moment" if run.is_building else f"interrupted{at}; type: {run.resume}"
    if run.started.is_file() and not run.is_building:
        return f"{_results(run)}; made anew, but interrupted{at}; type: {run.resume}"
    return _results(run)


def _results(run: RunFolder) -> str:
    from sensorium.evaluate import figures

    try:
        metrics = io.read_json(run.metrics)
    except SensoriumError as error:
        return str(error)
    first = next((r for r in metrics.get("results", []) if r["measure"] == "hit@10"), None)
    if first is None:
        return ""
    direction = figures.arrow(first["direction"], metrics.get("sides"))
    text = f"{direction} hit@10 {100 * first['value']:.1f}% of {first['n_queries']} queries"
    fit = metrics.get("fit", {})
    if fit.get("members"):
        text += f", {'distilled from an ' if fit.get('distilled') else ''}ensemble of {fit['members']}"
    if first.get("degenerate"):
        return f"{text}, which says nothing about the fit"
    groups = first.get("n_groups", FEW)
    return text if groups >= FEW else f"{text} ({groups} group{'s' * (groups > 1)})"


def doctor(what: Path | None = None) -> list[dict[str, Any]]:
    """Findings as records of check, state ("good", "note" or "bad") and found."""
    if what is None:
        return [*_installation(), *_machine()]
    if (what / "metrics.json").is_file():
        return _run(what)
    if (what / "manifest.json").is_file():
        return _store(what)
    raise BadData(f"{what} is neither a store (manifest.json) nor a run (metrics.json)")


def _finding(check: str, state: str, found: Any) -> dict[str, Any]:
    return {"check": check, "state": state, "found": str(found)}


def _installation() -> list[dict[str, Any]]:
    from sensorium import __version__
    from sensorium.modalities.face import landmarks

    found = [
        _finding("sensorium", "good", __version__),
        _finding("python", "good", f"{platform.python_version()} at {sys.executable}"),
    ]
    extras = {extra: names for extra, names in parts.extras().items() if extra not in ("all", "dev")}
    if not extras:
        found.append(_finding("extras", "note", "unknown: sensorium is not installed; type: pip install -e ."))
    for extra, names in extras.items():
        versions = {name: _version(name) for name in names if not name.startswith("sensorium[")}
        missing = [name for name, version in versions.items() if version is None]
        if missing:
            found.append(
                _finding(
                    f"extra [{extra}]",
                    "note",
                    f"not installed ({', '.join(missing)}); type: pip install 'sensorium[{extra}]'",
                )
            )
        else:
            found.append(_finding(f"extra [{extra}]", "good", ", ".join(f"{n} {v}" for n, v in versions.items())))
    there, said = landmarks.state()
    found.append(_finding("landmarks of faces", "good" if there else "note", said))
    return found


def _version(distribution: str) -> str | None:
    """Version of an installed distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _machine() -> list[dict[str, Any]]:
    free = shutil.disk_usage(Path.cwd()).free
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = [
        _finding("disk", "good" if free > LOW_DISK else "bad", f"{free / 1e9:.1f} GB free here"),
        _finding("processors", "good", cores),
    ]
    if importlib.util.find_spec("torch") is not None:
        import torch

        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        found.append(
            _finding(
                "devices",
                "good",
                ", ".join(devices)
                or f"CPU only, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}",
            )
        )
    return found


def _run(folder: Path) -> list[dict[str, Any]]:
    from sensorium.search.run import open as open_run

    found = _run_files(folder)
    try:
        opened = open_run(folder)
    except SensoriumError as error:
        return [*found, _finding("run", "bad", error)]
    found.append(_finding("recipe", "good", opened.recipe.hash))
    for side in opened.sides:
        for check, load in (("head", opened.head), ("index", opened.index)):
            try:
                part = load(side)
                if check == "index":
                    part.verify()
                found.append(
                    _finding(
                        f"{side} {check}", "good", f"{len(part)} items" if check == "index" else type(part).__name__
                    )
                )
            except SensoriumError as error:
                found.append(_finding(f"{side} {check}", "bad", error))
    return found


def _run_files(folder: Path) -> list[dict[str, Any]]:
    """Every file of a run against run.json, all checksums computed."""
    try:
        listed = integrity.read(folder)
        problems = integrity.problems(folder)
    except SensoriumError as error:
        return [_finding("files", "bad", error)]
    if listed is None:
        return [_finding("files", "note", f"no {integrity.NAME}: made before runs had one; not checked")]
    states = {True: "note", False: "bad"}
    found = [_finding("files", states[p.name in integrity.PROSE], f"{p.name} {p.message}") for p in problems]
    return found or [_finding("files", "good", f"{len(listed)} files, every checksum matches")]


def _store(folder: Path) -> list[dict[str, Any]]:
    from sensorium import store
    from sensorium.evaluate import diagnostics

    problems = store.verify(folder)
    found = [_finding("files", "bad", p) for p in problems] or [_finding("files", "good", "every checksum matches")]
    return found if problems else [*found, *diagnostics.examine(store.open(folder))]
