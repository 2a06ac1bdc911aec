"""The served runs that take faces, newest first, and for every other one the reason why it does not."""

from __future__ import annotations

from sensorium.encoders.face import Face
from sensorium.modalities.face.layout import EMOTIONS, POINTS, WIDTH
from sensorium.search.run import Run
from sensorium.serve.engine.registry import Registry, ServedRun
from sensorium.serve.engine.workers import written
from sensorium.serve.problems import Problem

TRAIN = "sensorium run perception data.file=training_data.npz && sensorium serve runs/perception"
TAKES = "face"  #: the modality of the pictures


def side_of(run: Run) -> str | None:
    """The side whose items are faces: its encoder is that of faces, or they came as vectors of 1441 numbers."""
    for side in run.sides:
        if isinstance(run.encoder(side), Face) and run.head(side).takes_vectors:
            return side
    for side in run.sides:
        if run.encoder(side) is None and run.head(side).takes_vectors and run.head(side).dim_in == WIDTH:
            return side
    return None


def why_not(run: Run) -> str:
    """Why a run without such a side cannot be used."""
    many = [side for side in run.sides if isinstance(run.encoder(side), Face)]
    if many:
        return (f"its {run.names[many[0]]} side takes all faces of a picture together, as a sequence; live faces are "
                "compared one by one: fit a run with left.encoder.faces=largest")  # fmt: skip
    takes = [f"{run.names[side]} takes {_takes(run, side)}" for side in run.sides]
    return (f"its {' and '.join(takes)}; a run of faces has an encoder of faces, or vectors of {WIDTH} numbers "
            f"({POINTS} landmarks x 3, {len(EMOTIONS)} emotions); type: {TRAIN}")  # fmt: skip


def _takes(run: Run, side: str) -> str:
    encoder = run.encoder(side)
    return encoder.takes if encoder is not None else f"vectors of {run.head(side).dim_in} numbers"


def fitting(registry: Registry) -> list[tuple[ServedRun, str]]:
    """Every served run that takes faces, with the side of the faces; the newest first."""
    found = [(served, side) for served in registry.ready if (side := _side(served)) is not None]
    return sorted(found, key=lambda one: made(one[0]), reverse=True)


def _side(served: ServedRun) -> str | None:
    if "faces side" not in served.cache:
        served.cache["faces side"] = side_of(served.run)
    return served.cache["faces side"]


def made(served: ServedRun) -> float:
    """When a run was made, Unix time."""
    return written(served.identity)


def others(registry: Registry) -> dict[str, str]:
    """By name, the reason why a run of the command line cannot be used."""
    known = {served.name: served for served in registry.ready}
    found = {}
    for name in registry.names:
        if name not in known:
            found[name] = f"it is {registry.state(name)}: {registry.fault(name) or 'not opened yet'}"
        elif _side(known[name]) is None:
            found[name] = why_not(known[name].run)
    return found


def choose(registry: Registry, name: str | None) -> tuple[ServedRun, str]:
    """The run of this name, or the newest that takes faces. Raises a 404, 409 or 503 problem."""
    if name is not None:
        served = registry.get(name)
        side = _side(served)
        if side is None:
            raise Problem(409, f"run '{name}' takes no faces: {why_not(served.run)}")
        return served, side
    found = fitting(registry)
    if not found:
        raise Problem(409, nothing(registry))
    return found[0]


def nothing(registry: Registry) -> str:
    """Why there is no run at all, and what to type."""
    names = ", ".join(registry.names)
    return f"none of the runs that are served ({names}) takes faces; make one and serve it: {TRAIN}"
