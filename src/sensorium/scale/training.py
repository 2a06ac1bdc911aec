"""One fit by several processes that Ray Train places: each runs the command as torchrun would start it."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sensorium.errors import BadRecipe, PeerLost, require
from sensorium.scale.cluster import EXTRA, Where, connected

ASK = 0.2  # seconds between two looks at what the processes say
_LINES = "sensorium"  # namespace of the actor that keeps it
#: A worker that Ray ends leaves its process the time to write a checkpoint, after the SIGTERM that it gets then.
_KEEP = {"RAY_kill_child_processes_on_worker_exit": "0"}
#: The command, which SIGTERM stops with a checkpoint when the worker that started it is gone (prctl PR_SET_PDEATHSIG).
_COMMAND = """
import ctypes, os, signal
getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)(1, signal.SIGTERM)
if os.getppid() == 1:
    raise SystemExit("the worker of Ray that started this process is gone")
from sensorium.cli import main
main()
"""


def run(where: str, processes: int, words: Sequence[str], folder: Path) -> None:
    """Run a command, such as ``fit glyphs``, in ``processes`` processes that share its steps, on Ray.

    where: as typed after ``--on``. words: the command without its name. folder: in which the run's folder lies; all
    machines see it. What the processes write to standard error is written here.
    Raises MissingExtra without Ray, BadRecipe where it has fewer processors, PeerLost where a process ends with an
    error; the others have then stopped with a checkpoint, from which the same command goes on.
    """
    there = Where.of(where)
    os.environ.update(_KEEP)  # for a local Ray that starts here
    with connected(there, processes if not there.address else None) as ray:
        require("ray.train.torch", EXTRA)
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        for name in ("ray.train", "ray.train.v2", "ray"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        has = ray.cluster_resources()
        if has.get("CPU", 0) < processes:
            there_are = f"Ray has {has.get('CPU', 0):g} processors there"
            raise BadRecipe(f"--fit-workers {processes}; {there_are}, and each process needs one")
        folder.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".ray-", dir=folder)).absolute()
        name = f"lines-{uuid.uuid4().hex}"
        lines = ray.remote(_Lines).options(num_cpus=0, name=name, namespace=_LINES).remote()
        told = {"words": list(words), "cwd": os.getcwd(), "path": [os.path.abspath(one) for one in sys.path],
                "lines": name, "python": sys.executable}  # fmt: skip
        trainer = TorchTrainer(
            _process,
            train_loop_config=told,
            torch_config=TorchConfig(backend="gloo"),  # of Ray's own group, by which a port is agreed on
            scaling_config=ScalingConfig(num_workers=processes, use_gpu=has.get("GPU", 0) >= processes),
            run_config=RunConfig(name="fit", storage_path=str(place), worker_runtime_env={"env_vars": _KEEP}),
        )
        try:
            with _telling(ray, lines):
                trainer.fit()
        except Exception as error:
            last = ray.get(lines.failure.remote())
            reason = last or f"Ray ended the fit ({_line(error)})"
            raise PeerLost(f"{reason}; the same command goes on from the last checkpoint") from None
        finally:
            ray.kill(lines)
            shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _telling(ray: Any, lines: Any) -> Iterator[None]:
    """Within the block, what the processes say is written to standard error."""
    ended = threading.Event()

    def tell() -> None:
        last = False
        while not last:
            last = ended.wait(ASK)
            try:
                found = ray.get(lines.take.remote())
            except Exception:  # Ray is gone, which the trainer says
                return
            for line in found:
                print(line, file=sys.stderr, flush=True)

    thread = threading.Thread(target=tell, daemon=True, name="sensorium-lines")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(5)


def _process(told: dict[str, Any]) -> None:
    """What each worker of Ray Train does: start the command as a process of its own, and wait for it."""
    import ray
    import torch.distributed as dist

    lines, rank = ray.get_actor(told["lines"], namespace=_LINES), int(os.environ["RANK"])
    port = [_free_port() if rank == 0 else 0]
    if int(os.environ["WORLD_SIZE"]) > 1:
        dist.broadcast_object_list(port, 0)
    environment = {**os.environ, "MASTER_PORT": str(port[0]), "PYTHONPATH": os.pathsep.join(told["path"])}
    running = subprocess.Popen(
        [told["python"], "-c", _COMMAND, *told["words"]], cwd=told["cwd"], env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert running.stderr is not None
    ray.get(lines.began.remote(rank, running.pid))
    last = ""
    for line in running.stderr:
        last = line.rstrip() or last
        lines.put.remote(line.rstrip())
    if status := running.wait():
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        ray.get(lines.failed.remote(rank, how, last if status > 0 else ""))
        raise RuntimeError(f"process {rank} {how}")


class _Lines:
    """What the processes say, until the command that waits for them takes it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.pids: dict[int, int] = {}
        self.failures: list[tuple[int, str, str]] = []

    def put(self, line: str) -> None:
        """A line of standard error."""
        self.lines.append(line)

    def take(self) -> list[str]:
        """The lines since the last call."""
        found, self.lines = self.lines, []
        return found

    def began(self, rank: int, pid: int) -> None:
        """A process was started."""
        self.pids[rank] = pid

    def processes(self) -> dict[int, int]:
        """Process ids by rank."""
        return self.pids

    def failed(self, rank: int, how: str, last: str) -> None:
        """A process ended with an error."""
        self.failures.append((rank, how, last))

    def failure(self) -> str:
        """What the first one says; "" where none said anything."""
        if not self.failures:
            return ""
        rank, how, _ = self.failures[0]
        return f"process {rank} of {max(len(self.pids), 1)} {how}"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
