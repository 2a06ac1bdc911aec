"""The processes of one fit, connected: what they exchange in a step, and how the death of one ends the others.

Each process computes the heads' outputs of its part of a batch. They are gathered from all, so that every process has
the loss of the whole batch with all its negatives; each takes the gradients of its own rows back through its heads,
and the sum over all processes is the gradient of one process with that batch. The weights stay equal everywhere.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sensorium import io
from sensorium.errors import BadRecipe, Mismatch, PeerLost

TIMEOUT = "SENSORIUM_RANK_TIMEOUT"  # environment: seconds that a process may be silent
_SECONDS = 300.0  # by default
_BEAT = 0.5  # seconds between two signs of life
_DEAD = 4 * _BEAT  # without one for so long, where something is known to be wrong, a process is taken as dead
_POLL = 0.01  # seconds at first between two looks at the store, and at most
_POLL_MOST = 0.25
_GOODBYE = 5.0  # seconds at most that the first process waits for the others in the end
_RUNS = iter(range(1 << 30))  # of this process: each has keys of its own in the store


class World:
    """All processes of one fit. rank: number of this one, of ``size``; local_rank, local_size: on this machine."""

    def __init__(self, rank: int, size: int, local_rank: int, local_size: int) -> None:
        self.rank, self.size, self.local_rank, self.local_size = rank, size, local_rank, local_size
        self.seconds = _timeout()
        self.store: Any = None
        self._told = 0
        self.interrupted: Callable[[], bool] = bool  #: whether a signal has said to stop
        self._ended = threading.Event()

    def __enter__(self) -> World:
        patience = timedelta(seconds=self.seconds)
        try:
            store, *_ = next(dist.rendezvous("env://", self.rank, self.size, timeout=patience))
            self.store = dist.PrefixStore(f"sensorium/{next(_RUNS)}", store)
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
            dist.init_process_group(backend, store=self.store, rank=self.rank, world_size=self.size, timeout=patience)
        except (RuntimeError, ValueError) as error:
            raise PeerLost(
                f"process {self.rank} of {self.size} did not find the others within {self.seconds:g} s "
                f"({_line(error)}); start all of them with torchrun, the same way on every machine"
            ) from None
        threading.Thread(target=self._beat, daemon=True, name="sensorium-rank").start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if error is not None:
            name = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
            with contextlib.suppress(RuntimeError):
                self.store.set(f"failed/{self.rank}", name[:2000])
        elif error is None and not self.rank:
            with contextlib.suppress(RuntimeError):
                self.store.set("done", "")
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()  # which wakes the others, where they wait for this process
        with contextlib.suppress(RuntimeError):
            self._leave()
        self._ended.set()

    def _leave(self) -> None:
        """The first process, which may keep the store, stays until the others have read what it says, if they live."""
        self.store.set(f"left/{self.rank}", "")
        keys, until = [f"left/{rank}" for rank in range(self.size)], time.monotonic() + _GOODBYE
        while not self.rank and not self.store.check(keys) and time.monotonic() < until:
            time.sleep(_POLL)

    # -- the run around the fit

    @contextlib.contextmanager
    def place(self, workplace: Any, building: Path) -> Iterator[Path]:
        """The folder that the run is built in: made and locked by the first process, used by all."""
        if self.rank:
            yield building
            return
        with workplace as folder:
            yield folder

    @contextlib.contextmanager
    def first(self) -> Iterator[None]:
        """The first process does the block, then the others do, with what it has left on the disk."""
        if self.rank:
            self._wait("first")
        yield
        if not self.rank:
            self.store.set("first", "")

    def done(self) -> None:
        """Wait until the first process has written the whole run. Raises PeerLost where it does not come to that."""
        if self.rank:
            self._wait("done")

    # -- the fit

    def device(self, chosen: torch.device) -> torch.device:
        """The device of this process: of several CUDA devices its own. Raises BadRecipe where there are too few."""
        if chosen.type != "cuda":
            return chosen
        there = torch.cuda.device_count()
        if self.local_size > there:
            raise BadRecipe(
                f"{self.local_size} processes on this machine, which has {there} CUDA devices; type: "
                f"torchrun --nproc-per-node {there} …, or train.device=cpu"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def part(self, b: int, rank: int | None = None) -> slice:
        """The rows of a batch of b that a process computes, by default this one."""
        rank = self.rank if rank is None else rank
        return slice(b * rank // self.size, b * (rank + 1) // self.size)

    def check_batch(self, batch: int) -> None:
        """Raise BadRecipe for a batch of fewer pairs than there are processes."""
        if batch < self.size:
            raise BadRecipe(
                f"a batch of {batch} pairs for {self.size} processes; type: train.batch={self.size} or more"
            )

    def gather(self, own: Tensor, b: int) -> Tensor:
        """Rows (b, …) of all processes, of which ``own`` are this one's; without their gradients."""
        most = -(-b // self.size)
        mine = own.detach().contiguous()
        padded = mine.new_zeros(most, *mine.shape[1:])
        padded[: len(mine)] = mine
        found = [torch.empty_like(padded) for _ in range(self.size)]
        as_bytes = [one.view(torch.uint8) for one in (padded, *found)]  # every type of number, unchanged
        self._together(dist.all_gather, as_bytes[1:], as_bytes[0])
        parts = [self.part(b, rank) for rank in range(self.size)]
        return torch.cat([one[: part.stop - part.start] for one, part in zip(found, parts, strict=True)])

    def sum(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all processes, the same bits in each."""
        self._together(dist.all_reduce, tensor)

    def any_of(self, asked: Callable[[], bool]) -> bool:
        """Whether a function says yes in any process."""
        flag = torch.tensor([float(asked())])
        self._together(dist.all_reduce, flag)
        return bool(flag.item())

    def first_number(self, value: float) -> float:
        """The first process's number."""
        number = torch.tensor([value], dtype=torch.float64)
        self._together(dist.broadcast, number, 0)
        return float(number.item())

    def from_first(self, tensors: list[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        for tensor in tensors:
            self._together(dist.broadcast, tensor, 0)

    def tell(self, make: Callable[[], Any]) -> Any:
        """What ``make`` gives in the first process, as JSON, in all; it may take long, so the others watch its life."""
        self._told += 1
        key = f"told/{self._told}"
        if self.rank:
            self._wait(key)
            return json.loads(self.store.get(key))
        text = json.dumps(make(), default=io.plain)
        self.store.set(key, text)
        return json.loads(text)

    def same(self, what: dict[str, Any]) -> None:
        """Raise Mismatch unless all processes have the same plain values as the first."""
        mine, first = json.loads(json.dumps(what, default=io.plain)), self.tell(lambda: what)
        for key in sorted(mine.keys() | first.keys()):
            if mine.get(key) != first.get(key):
                raise Mismatch(
                    f"process {self.rank} has {key}={mine.get(key)}, the first one {first.get(key)}; start all of them "
                    "with the same command, data and versions"
                )

    def all_texts(self, own: str) -> list[str]:
        """A short text of every process, in their order."""
        self._told += 1
        self.store.set(f"text/{self._told}/{self.rank}", own)
        found = []
        for rank in range(self.size):
            self._wait(f"text/{self._told}/{rank}", rank)
            found.append(self.store.get(f"text/{self._told}/{rank}").decode())
        return found

    def writes(self, folder: Path) -> contextlib.AbstractContextManager[Any] | None:
        """After the death of others: the lock to write in ``folder``; None where an earlier process is there to do it.

        The first process holds the lock already.
        """
        if not self.rank:
            return contextlib.nullcontext()
        return io.lock(folder, wait=False) if self.dead()[: self.rank] == list(range(self.rank)) else None

    def dead(self) -> list[int]:
        """The processes that give no sign of life now; takes a little more than :data:`_DEAD` seconds to tell."""
        before = self._beats()
        time.sleep(_DEAD)
        return [rank for rank, (one, other) in enumerate(zip(before, self._beats(), strict=True))
                if one == other and rank != self.rank]  # fmt: skip

    # -- watching

    def _beat(self) -> None:
        count = 0
        while not self._ended.wait(_BEAT):
            count += 1
            try:
                self.store.set(f"beat/{self.rank}", str(count))
            except RuntimeError:
                return

    def _beats(self) -> list[bytes]:
        try:
            return [self.store.get(key) if self.store.check([key := f"beat/{rank}"]) else b""
                    for rank in range(self.size)]  # fmt: skip
        except RuntimeError:  # the store went with the process, or the machine, that kept it
            return [b""] * self.size

    def _wait(self, key: str, of: int = 0) -> None:
        """Wait for a key that a process sets, as long as that process lives."""
        seen, since, pause = None, time.monotonic(), _POLL
        while True:
            try:
                if self.store.check([key]):
                    return
                beat = self._beats()[of]
                failed = self.store.check([f"failed/{of}"])
            except RuntimeError as error:
                raise self._lost(error) from None
            if beat != seen:
                seen, since = beat, time.monotonic()
            if failed or time.monotonic() - since > (_DEAD if self.interrupted() else self.seconds):
                raise self._lost(None)
            time.sleep(pause)
            pause = min(2 * pause, _POLL_MOST)

    def _together(self, what: Callable[..., Any], *args: Any) -> None:
        """A collective operation. Raises PeerLost where another process is gone, or silent for too long."""
        try:
            what(*args)
        except RuntimeError as error:
            raise self._lost(error) from None

    def _lost(self, error: BaseException | None) -> PeerLost:
        """The error that says which processes are gone, and why, as far as that can be known."""
        failed = {}
        with contextlib.suppress(RuntimeError):
            for rank in range(self.size):
                if rank != self.rank and self.store.check([f"failed/{rank}"]):
                    failed[rank] = self.store.get(f"failed/{rank}").decode()
        if failed:
            rank, why = next(iter(failed.items()))
            return PeerLost(f"process {rank} of {self.size} ended with {why}", said=self.rank > 0)
        gone = self.dead()
        if gone:
            which = f"process {gone[0]}" if len(gone) == 1 else f"processes {', '.join(map(str, gone))}"
            said = any(rank not in gone for rank in range(self.rank))
            return PeerLost(f"{which} of {self.size} died (killed, out of memory, or its machine is gone)", said)
        return PeerLost(f"the {self.size} processes lost each other ({_line(error) if error else 'no sign of life'})")


def _timeout() -> float:
    """Seconds that a process may be silent. Raises BadRecipe for what is no time."""
    text = os.environ.get(TIMEOUT, str(_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds <= 86_400:
        raise BadRecipe(f"{TIMEOUT}={text}; expected seconds from 1 to 86400, such as 300")
    return seconds


def _line(error: BaseException) -> str:
    """The first line of a message of torch, without the place in its source."""
    return str(error).split("\n", 1)[0].rpartition("] ")[2][:200]
