"""Dynamic batching: requests that arrive during a call form the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_FULL = 0.75  # share of the last batch's size at which the next one starts without waiting


class Batcher:
    """One thread and the queue of requests for it.

    answer: maps a list of requests to a list of as many values or exceptions, in the thread,
    which may be shared with other batchers.
    most: requests of one batch. wait: seconds a batch waits, at most, for as many requests as the
    last one had; a single request after an idle time is not delayed.
    """

    def __init__(
        self,
        answer: Callable[[list[Any]], Sequence[Any]],
        most: int,
        wait: float,
        thread: ThreadPoolExecutor | None = None,
    ) -> None:
        self.answer, self.most, self.wait = answer, most, wait
        self.thread = thread or ThreadPoolExecutor(1)
        self.answered = self.batches = 0
        self._waiting: deque[tuple[Any, asyncio.Future[Any]]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._target = 0  # waiting requests from which the next batch starts without waiting longer
        self._enough: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, request: Any) -> asyncio.Future[Any]:
        """A future of the answer to one request."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((request, future))
        if self._running is None:
            self._running = loop.create_task(self._run())
        elif self._enough is not None and len(self._waiting) >= self._target and not self._enough.done():
            self._enough.set_result(None)
        return future

    async def do(self, function: Callable[[], Any]) -> Any:
        """Call a function in the thread, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, function)

    async def _run(self) -> None:
        loop, last = asyncio.get_running_loop(), 1
        try:
            while self._waiting:
                await self._gather(loop, last)
                batch = [self._waiting.popleft() for _ in range(min(self.most, len(self._waiting)))]
                batch = [(request, future) for request, future in batch if not future.cancelled()]
                if not batch:
                    continue
                answers = await loop.run_in_executor(self.thread, self._answers, [request for request, _ in batch])
                last = len(batch)
                self.answered, self.batches = self.answered + last, self.batches + 1
                for (_, future), value in zip(batch, answers, strict=True):
                    if future.cancelled():
                        continue
                    if isinstance(value, BaseException):
                        future.set_exception(value)
                    else:
                        future.set_result(value)
                # Clients just answered may send their next request: let them, before deciding how long to wait.
                await asyncio.sleep(0)
        finally:
            self._running = None
            for _, future in self._waiting:
                future.cancel()
            self._waiting.clear()

    async def _gather(self, loop: asyncio.AbstractEventLoop, last: int) -> None:
        self._target = min(self.most, int(last * _FULL))
        if not self.wait or len(self._waiting) >= self._target:
            return
        self._enough = loop.create_future()
        timer = loop.call_later(self.wait, lambda future: future.done() or future.set_result(None), self._enough)
        await self._enough
        timer.cancel()
        self._enough = None

    def _answers(self, requests: list[Any]) -> Sequence[Any]:
        try:
            return self.answer(requests)
        except Exception as error:
            if len(requests) == 1:
                return [error]
        # One request may have failed the whole batch: answer one by one.
        return [self._answers([request])[0] for request in requests]
