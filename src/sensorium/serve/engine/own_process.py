"""Work that takes seconds to minutes, as a module run in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys

_LONGEST = 300  # characters of a reason


async def run(module: str, *words: str) -> str:
    """Run ``python -m module words``; "" where it ends well, else the last line of its errors.

    The process ends with the task that awaits it, and so with a request or the server.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *words,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()  # what it held is free
    if process.returncode == 0:
        return ""
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return (lines[-1] if lines else "it was stopped")[:_LONGEST]
