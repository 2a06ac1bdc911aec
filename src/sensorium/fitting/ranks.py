"""Processes of one fit: found in the environment that torchrun and Ray Train set, before torch is imported.

Start reading at :func:`joined`, which the pipeline enters. Every process runs the same recipe. The first one (rank 0)
embeds, writes and evaluates; the fit itself is shared, see :class:`sensorium.fitting.world.World`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sensorium.errors import BadRecipe

if TYPE_CHECKING:
    from sensorium.fitting.world import World

VERBS = ("run", "fit")  # that several processes can work on together
_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # as torch.distributed's init_method="env://"
_WORLD: ContextVar[World | None] = ContextVar("world", default=None)


def size() -> int:
    """The number of processes that were started together; 1 for a usual run."""
    return _number("WORLD_SIZE", 1) if all(os.environ.get(name) for name in _NEEDED) else 1


def rank() -> int:
    """The number of this process among them, from 0 on; 0 for a usual run."""
    return _number("RANK", 0) if size() > 1 else 0


def prepare(verb: str) -> None:
    """Called by the command line before torch is loaded. Raises BadRecipe for a verb that several do not share."""
    if size() > 1:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no stack traces of torch where a process is gone
    if size() > 1 and verb not in VERBS:
        raise BadRecipe(
            f"sensorium {verb} was started by torchrun as {size()} processes; only {' and '.join(VERBS)} share their "
            f"work. Type it without torchrun: sensorium {verb} …"
        )


def refuse_several(what: str) -> None:
    """Raise BadRecipe for a call that makes several runs, such as ``--seeds 3``."""
    if size() > 1:
        raise BadRecipe(f"{what} makes several runs, and {size()} processes share one; type it without torchrun")


def check(objective: Any, members: int, processes: int | None = None) -> None:
    """Raise BadRecipe for a fit that several processes do not share.

    members: ``train.members``. processes: that are to be started; by default those that were.
    """
    processes = size() if processes is None else processes
    if processes == 1:
        return
    name = type(objective).__name__
    if objective.closed_form:
        why = f"{name} is solved in one pass by one process"
    elif objective.mixture:
        why = f"{name} makes several fits, one after the other"
    elif members > 1:
        why = f"train.members={members} makes several fits, one after the other"
    else:
        return
    raise BadRecipe(
        f"{why}, and {processes} processes share the steps of one trained fit; type it without torchrun and "
        "--fit-workers, or with a trained objective such as objective=infonce train.members=1"
    )


def current() -> World | None:
    """The processes of the fit under way; None where there is one alone."""
    return _WORLD.get()


@contextlib.contextmanager
def joined() -> Iterator[Any]:
    """The processes that were started with this one, connected for one run: a ``World``, or :class:`Alone`.

    What ends the block of one process with an error ends those of the others too. Raises PeerLost where the others
    do not come.
    """
    if size() == 1 or _WORLD.get() is not None:
        yield Alone()
        return
    from sensorium.fitting.world import World

    world = World(rank(), size(), _number("LOCAL_RANK", rank()), _number("LOCAL_WORLD_SIZE", size()))
    token = _WORLD.set(world)
    try:
        with world:
            yield world
    finally:
        _WORLD.reset(token)


class Alone:
    """What :class:`~sensorium.fitting.world.World` is to the pipeline, for a run of one process."""

    rank = 0

    @contextlib.contextmanager
    def place(self, workplace: Any, building: Any) -> Iterator[Any]:
        """The folder that the run is built in."""
        with workplace as folder:
            yield folder

    @contextlib.contextmanager
    def first(self) -> Iterator[None]:
        """Nothing to wait for."""
        yield


def _number(name: str, default: int) -> int:
    """A whole number of the environment. Raises BadRecipe for anything else."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise BadRecipe(f"{name}={text} in the environment is no number; start the processes with torchrun")
    return int(text)
