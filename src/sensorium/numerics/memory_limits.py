"""Memory that this process may still take: of the machine, of its control group (cgroup), of its own limits.

Sources: Linux, Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.current) and cgroup-v1/memory.rst
(memory.limit_in_bytes, memory.usage_in_bytes); getrlimit(2); proc(5).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
#: Of each version: the files of the limit and of the use, and the names, in memory.stat, of pages of files.
_V2 = ("memory.max", "memory.current", ("inactive_file", "active_file"))
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
_NONE = 1 << 60  # bytes from which on a limit of version 1 is none


def available(proc: Path = _PROC, groups: Path = _GROUPS) -> int:
    """Bytes that this process may still take: the least of what machine, control groups and its limits leave.

    Pages of files that the kernel keeps are counted as free, as it gives them up for others. proc, groups: where
    /proc and the control groups are mounted.
    """
    return max(0, min([_of_machine(proc), *of_groups(proc, groups), *_of_process(proc)]))


def _of_machine(proc: Path) -> int:
    with contextlib.suppress(OSError, ValueError, KeyError):
        return _kilobytes(proc / "meminfo")["MemAvailable"]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def of_groups(proc: Path = _PROC, groups: Path = _GROUPS) -> Iterator[int]:
    """Bytes left in each control group, from the process's own to the root, that has a limit."""
    try:
        lines = (proc / "self" / "cgroup").read_text("utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        names = _V1 if controllers else _V2
        mount = groups / "memory" if controllers else groups
        # Within a container the path may be the host's, which is not there: the mount is then the group itself.
        inner = Path(path.lstrip("/"))
        for folder in dict.fromkeys([*(mount / one for one in (inner, *inner.parents)), mount]):
            if (left := _left(folder, *names)) is not None:
                yield left


def _left(folder: Path, limit: str, use: str, files: tuple[str, ...]) -> int | None:
    """Bytes left in one group; None where it has no limit, or no such files."""
    try:
        most = (folder / limit).read_text("ascii").strip()
        if not most.isdecimal() or int(most) >= _NONE:  # "max"
            return None
        used = int((folder / use).read_text("ascii"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
    except (OSError, ValueError):
        return None
    return int(most) - used + sum(int(stat.get(name, 0)) for name in files)


def _of_process(proc: Path) -> Iterator[int]:
    """Bytes left of the address space (RLIMIT_AS) and of private memory (RLIMIT_DATA), where these are limited."""
    if sys.platform == "win32":
        return
    import resource

    with contextlib.suppress(OSError, ValueError, KeyError):
        for which, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
            most = resource.getrlimit(which)[0]
            if most != resource.RLIM_INFINITY:
                yield most - _kilobytes(proc / "self" / "status")[name]


def _kilobytes(path: Path) -> dict[str, int]:
    """The lines ``Name: 12 kB`` of a file of /proc, in bytes."""
    found = {}
    for line in path.read_text("ascii", "replace").splitlines():
        name, _, rest = line.partition(":")
        number, _, unit = rest.strip().partition(" ")
        if unit == "kB":
            found[name] = int(number) << 10
    return found
