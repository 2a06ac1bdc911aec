"""Questions asked at once are answered in batches, as they would have been one by one."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from sensorium.serve.engine.batching import Batcher

pytestmark = pytest.mark.xdist_group("serve")


def test_a_lone_question_leaves_at_once_and_those_that_come_meanwhile_leave_together():
    sizes, gate = [], threading.Event()

    def answer(questions):
        sizes.append(len(questions))
        gate.wait(5)
        return [2 * q for q in questions]

    async def ask():
        batcher = Batcher(answer, most=4, wait=60.0)  # nobody would wait a minute for company
        first = batcher.submit(1)
        await asyncio.sleep(0.05)
        rest = [batcher.submit(i) for i in range(2, 9)]
        gate.set()
        return await asyncio.gather(first, *rest)

    assert asyncio.run(asyncio.wait_for(ask(), 20)) == [2 * i for i in range(1, 9)]
    assert sizes[0] == 1 and sizes[1] == 4 and sum(sizes) == 8 and max(sizes) <= 4


def test_one_bad_question_spoils_no_other():
    def answer(questions):
        return [1 / q for q in questions]

    async def ask():
        batcher = Batcher(answer, most=64, wait=0.01)
        return await asyncio.gather(*(batcher.submit(q) for q in (1, 2, 0, 4)), return_exceptions=True)

    one, two, bad, four = asyncio.run(ask())
    assert (one, two, four) == (1, 0.5, 0.25) and isinstance(bad, ZeroDivisionError)


def test_questions_given_up_are_not_answered():
    asked = []

    def answer(questions):
        time.sleep(0.05)
        asked.extend(questions)
        return questions

    async def ask():
        batcher = Batcher(answer, most=8, wait=0.0)
        first = batcher.submit("first")
        await asyncio.sleep(0.01)
        given_up, last = batcher.submit("given up"), batcher.submit("last")
        given_up.cancel()
        return await first, await last

    assert asyncio.run(ask()) == ("first", "last") and asked == ["first", "last"]


def test_answers_at_once_are_those_of_one_by_one(symbols, serve):
    dice = np.random.default_rng(0)
    words = ["arrow", "circle", "greek", "small", "letter", "sign", "double", "heart"]
    questions = []
    for i in range(80):
        text = " ".join(dice.choice(words, 3))
        questions.append(
            (
                {"text": text, "k": int(dice.integers(1, 6))},
                {"text": text, "from": "right", "to": "right", "where": {"category": ["Sm", "So"]}},
                {"id": "U+2665", "from": "right", "to": "right", "k": 3},
                {"vector": dice.standard_normal(256).round(3).tolist(), "from": "right", "corrected": bool(i % 8)},
            )[i % 4]
        )
    server = serve(symbols, SENSORIUM_LOG="off")
    with httpx.Client(base_url=server.url, timeout=30, limits=httpx.Limits(max_connections=32)) as client:

        def ask(question):
            answer = client.post("/search", json=question)
            assert answer.status_code == 200, answer.text
            return json.loads(answer.content)["hits"]

        alone = [ask(question) for question in questions]
        with ThreadPoolExecutor(32) as pool:
            together = list(pool.map(ask, questions))
        sides = client.get("/system").json()["runs"][0]["sides"]
    for one, other in zip(alone, together, strict=True):
        assert [hit["id"] for hit in one] == [hit["id"] for hit in other]
        np.testing.assert_allclose([h["score"] for h in one], [h["score"] for h in other], rtol=1e-5, atol=1e-6)
    searched = sum(side["searches"] for side in sides.values())
    assert searched >= 160 > sum(side["search_batches"] for side in sides.values()), "some went together"
