"""A connection to Ray: a local one that is started and ended, or a cluster that is there already."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sensorium.errors import BadRecipe, Unreachable, require

EXTRA = "scale"
SCHEME = "ray://"
_SHARED = 400 << 20  # bytes that a local Ray keeps of blocks in memory: these are values of items, such as paths
_CLIENT = 10001  # port at which ray start --head lets Ray Client in
_STARTS = 3  # tries to start a local Ray
#: Lines of Ray itself that say nothing to a user of ours; its own logs keep them.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_DEDUP_LOGS": "0",
          "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}  # fmt: skip


@dataclass(frozen=True)
class Where:
    """What ``--on`` names. address: of a cluster; "" for a local Ray that starts and ends with the command."""

    address: str = ""

    @classmethod
    def of(cls, text: str) -> Where:
        """Read ``ray``, ``ray://HOST:PORT`` or ``ray://auto``.

        Raises BadRecipe for anything else, and for the port of Ray Client.
        """
        if text == "ray":
            return cls()
        address = text.removeprefix(SCHEME)
        if not text.startswith(SCHEME) or not (address == "auto" or _is_host_and_port(address)):
            raise BadRecipe(f"--on {text}; expected ray, ray://auto or ray://HOST:PORT, such as ray://10.0.0.1:6379")
        if address.endswith(f":{_CLIENT}"):
            usual = f"{text.rpartition(':')[0]}:6379"
            raise BadRecipe(
                f"--on {text}; {_CLIENT} is the port of Ray Client, which is not used here: type this on a machine on "
                f"which ray start ran, with the port that ray start --head printed, such as {usual}"
            )
        return cls(address)


def _is_host_and_port(address: str) -> bool:
    host, _, port = address.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 65536


@contextlib.contextmanager
def connected(where: Where, workers: int | None = None) -> Iterator[Any]:
    """The module ``ray``, connected within the block. A connection that is there already is used and left alone.

    workers: processors of a local Ray, by default those of the machine.
    Raises MissingExtra without Ray, Unreachable where no cluster answers at the address.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    ray = require("ray", EXTRA)
    require("ray.data", EXTRA)
    if ray.is_initialized():
        yield ray
        return
    options = {"logging_level": logging.ERROR, "log_to_driver": False}
    if where.address:
        try:
            _answers(where.address)
            with _silent():
                ray.init(address=where.address, **options)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
            raise Unreachable(
                f"no Ray cluster answers at {where.address} ({_first_line(error)}); on one of its machines type: "
                "ray start --head, and give the address that it prints, or give --on ray for a local Ray"
            ) from None
    else:
        cores = workers or len(os.sched_getaffinity(0))
        local = {"num_cpus": cores, "object_store_memory": _SHARED, "include_dashboard": False}
        for left in range(_STARTS - 1, -1, -1):
            try:
                with _silent():
                    ray.init(address="local", **local, **options)
                break
            except Exception as error:  # Ray raises no other kind where its processes do not come up in its 30 s
                ray.shutdown()
                if not left:
                    raise Unreachable(
                        f"Ray did not start on this machine in {_STARTS} tries ({_first_line(error)}); a busy machine "
                        "may take longer than Ray waits: type the same command again"
                    ) from None
    try:
        _quiet_data(ray)
        yield ray
    finally:
        ray.shutdown()


def _answers(address: str) -> None:
    """Raise OSError where nothing listens: Ray itself would wait for minutes."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=10).close()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without the lines that Ray's own C++ code writes to standard error while it starts; its errors are exceptions."""
    sys.stderr.flush()
    before = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _quiet_data(ray: Any) -> None:
    """No bars of Ray Data: ours say the rate and the time left."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    warnings.filterwarnings("ignore", category=ray.util.annotations.RayDeprecationWarning)
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
