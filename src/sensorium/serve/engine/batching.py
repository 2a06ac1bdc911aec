"""Many askers, one call: what comes while a batch is being answered is the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_FULL = 0.75  # share of the last batch that must have come before the next one leaves without waiting


class Batcher:
    """One thread and the questions that wait for it.

    answer: answers a list of questions with a list of as many values or exceptions, in the thread,
    which may be shared with other batchers.
    most: questions of one batch. wait: seconds a batch waits, at most, for as many questions as the
    last one had; a lone question after a quiet time leaves at once.
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
        self._wanted = 0  # waiting questions from which the batch under way need not wait longer
        self._enough: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, question: Any) -> asyncio.Future[Any]:
        """The answer to one question, once there is one."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((question, future))
        if self._running is None:
            self._running = loop.create_task(self._run())
        elif self._enough is not None and len(self._waiting) >= self._wanted and not self._enough.done():
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
                batch = [(question, future) for question, future in batch if not future.cancelled()]
                if not batch:
                    continue
                answers = await loop.run_in_executor(self.thread, self._answers, [question for question, _ in batch])
                last = len(batch)
                self.answered, self.batches = self.answered + last, self.batches + 1
                for (_, future), value in zip(batch, answers, strict=True):
                    if future.cancelled():
                        continue
                    if isinstance(value, BaseException):
                        future.set_exception(value)
                    else:
                        future.set_result(value)
                # Those just answered may ask again: let them, before deciding how long to wait.
                await asyncio.sleep(0)
        finally:
            self._running = None
            for _, future in self._waiting:
                future.cancel()
            self._waiting.clear()

    async def _gather(self, loop: asyncio.AbstractEventLoop, last: int) -> None:
        self._wanted = min(self.most, int(last * _FULL))
        if not self.wait or len(self._waiting) >= self._wanted:
            return
        self._enough = loop.create_future()
        timer = loop.call_later(self.wait, lambda future: future.done() or future.set_result(None), self._enough)
        await self._enough
        timer.cancel()
        self._enough = None

    def _answers(self, questions: list[Any]) -> Sequence[Any]:
        try:
            return self.answer(questions)
        except Exception as error:
            if len(questions) == 1:
                return [error]
        # One question may have spoilt the batch for the others: ask one by one.
        return [self._answers([question])[0] for question in questions]
