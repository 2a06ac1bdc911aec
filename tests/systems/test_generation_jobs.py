"""The queue of pictures: order, positions, limits, events that resume, cancelling, abandoned and forgotten jobs."""

import asyncio
import json

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="type: pip install 'sensorium[serve]'")

from sensorium.errors import Mismatch
from sensorium.serve.problems import Problem
from sensorium.systems.perception.generation import Cancelled
from sensorium.systems.perception.generation_limits import GenerationLimits
from sensorium.systems.perception.jobs import Job, Jobs

OPTIONS = {"steps": 2}


class Script:
    """A maker that waits at each step until it is told to go on."""

    def __init__(self):
        self.running, self.made, self.cancelled, self.closed = False, [], False, 0
        self.go, self.error, self.loading = asyncio.Semaphore(0), None, asyncio.Event()
        self.loading.set()

    async def start(self):
        await self.loading.wait()
        self.running = True
        return np.eye(3, dtype=np.float32)

    async def make(self, options, z, on_step):
        self.cancelled = False
        for step in range(1, options["steps"] + 1):
            await self.go.acquire()
            if self.cancelled:
                raise Cancelled
            if self.error is not None:
                raise self.error
            on_step({"step": step, "steps": options["steps"]}, b"webp")
        self.made.append(z)
        return b"png of %d" % z, {"seed": int(z)}

    def cancel(self):
        self.cancelled = True
        self.go.release()

    async def close(self):
        self.running, self.closed = False, self.closed + 1


def failed(error):
    return {"type": "about:blank", "title": "Conflict", "status": 409, "detail": str(error)}


def played(scene, **limits):
    """Run a scene with jobs and their maker."""

    async def play():
        maker = Script()
        jobs = Jobs(maker, GenerationLimits(**limits), failed)
        try:
            return await asyncio.wait_for(scene(jobs, maker), 30)
        finally:
            await jobs.close()

    return asyncio.run(play())


async def fine(pooled):
    assert pooled.shape == (3, 3)


def job(z=1, client="here", check=fine):
    return Job(OPTIONS, z, client, check)


async def told(job, after=0):
    """Every event of a job up to its end: (id, kind, data)."""
    found = []
    async for block in job.follow(after, asyncio.Event()):
        lines = dict(line.split(": ", 1) for line in block.decode().splitlines() if line and not line.startswith(":"))
        if "id" in lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


async def until(holds):
    while not holds():
        await asyncio.sleep(0.005)


def test_jobs_are_made_in_order_and_told_their_positions():
    async def scene(jobs, maker):
        made = [jobs.add(job(z)) for z in (1, 2, 3)]
        await until(lambda: made[0].state == "running")
        assert [one.state for one in made] == ["running", "queued", "queued"]
        assert [one.position for one in made] == [0, 1, 2]
        for _ in range(6):
            maker.go.release()
        events = await asyncio.gather(*(told(one) for one in made))
        assert maker.made == [1, 2, 3] and [one.png for one in made] == [b"png of 1", b"png of 2", b"png of 3"]
        assert [data["position"] for _, kind, data in events[2] if kind == "queued"] == [3, 2, 1]
        kinds = [kind for _, kind, _ in events[0]]
        assert kinds == ["queued", "started", "step", "step", "done"] or kinds == ["queued", "started", "step", "done"]
        assert events[0][1][2] == {"loading": True} and events[1][-4:][0][1] in ("queued", "started")
        *_, (_, kind, data) = events[0]
        assert kind == "done" and data == {"picture": f"/generations/{made[0].id}.png", "settings": {"seed": 1}}
        ids = [id for id, _, _ in events[0]]
        assert ids == sorted(set(ids))

    played(scene, client_queue=5)


def test_events_go_on_after_the_last_that_is_known():
    async def scene(jobs, maker):
        one = jobs.add(job())
        maker.go.release()
        maker.go.release()
        events = await told(one)
        last = events[-1][0]
        assert await told(one, last - 1) == events[-1:]
        assert await told(one, last) == [] and await told(one, 10**9) == []

    played(scene)


def test_full_queues_are_refused():
    async def scene(jobs, maker):
        jobs.add(job(client="a"))
        await until(lambda: jobs.running is not None)
        jobs.add(job(client="a"))
        with pytest.raises(Problem, match="2 pictures of your address wait or are being made; cancel one, or wait"):
            jobs.add(job(client="a"))
        jobs.add(job(client="b"))
        with pytest.raises(
            Problem, match="2 pictures wait already, as many as this server takes; try again"
        ) as refused:
            jobs.add(job(client="c"))
        assert refused.value.status == 503 and refused.value.headers["retry-after"]

    played(scene, queue=2, client_queue=2)


def test_a_queued_job_is_cancelled_and_the_others_move_up():
    async def scene(jobs, maker):
        first, second, third = (jobs.add(job(z)) for z in (1, 2, 3))
        await until(lambda: first.state == "running")
        jobs.cancel(second)
        assert second.state == "cancelled" and third.position == 1 and not maker.cancelled
        for _ in range(4):
            maker.go.release()
        await told(third)
        assert maker.made == [1, 3]
        jobs.cancel(third)  # it has ended
        assert third.state == "done" and third.png == b"png of 3"

    played(scene)


def test_a_running_job_is_cancelled_and_the_next_one_is_made():
    async def scene(jobs, maker):
        first, second = jobs.add(job(1)), jobs.add(job(2))
        await until(lambda: first.state == "running")
        jobs.cancel(first)
        assert [kind for _, kind, _ in await told(first)][-1] == "cancelled"
        await until(lambda: second.state == "running")
        maker.go.release()
        maker.go.release()
        await told(second)
        assert maker.made == [2] and first.png is None

    played(scene)


def test_a_job_that_is_cancelled_while_the_model_loads_is_not_made():
    async def scene(jobs, maker):
        maker.loading.clear()
        one = jobs.add(job())
        await until(lambda: one.state == "loading")
        jobs.cancel(one)
        assert not maker.cancelled
        maker.loading.set()
        await until(lambda: jobs.running is None)
        assert maker.made == [] and one.state == "cancelled"

    played(scene)


def test_a_failure_ends_one_job_alone():
    async def scene(jobs, maker):
        async def other(pooled):
            raise Mismatch("another text model")

        first, second = jobs.add(job(1, check=other)), jobs.add(job(2))
        _, kind, data = (await told(first))[-1]
        assert kind == "failed" and data == {"problem": failed("another text model")} == {"problem": first.problem}
        await until(lambda: second.state == "running")
        maker.error = RuntimeError("no memory")
        maker.go.release()
        assert (await told(second))[-1][2]["problem"]["detail"] == "no memory"
        maker.error = None
        third = jobs.add(job(3))
        maker.go.release()
        maker.go.release()
        assert (await told(third))[-1][1] == "done"

    played(scene)


def test_what_nobody_asks_about_is_cancelled_and_what_is_followed_is_not():
    async def scene(jobs, maker):
        followed, polled, left = jobs.add(job(1)), jobs.add(job(2)), jobs.add(job(3))
        following = asyncio.create_task(told(followed))
        while left.state != "cancelled":
            jobs.get(polled.id)
            await asyncio.sleep(0.01)
        assert followed.state == "running" and polled.state == "queued"
        assert json.loads(left.events[-1].data)["detail"] == "nobody asked about it for 0.2 s"
        following.cancel()
        await until(lambda: followed.state == "cancelled")  # its only follower has gone

    played(scene, abandoned=0.2)


def test_pictures_are_forgotten_after_a_time_and_beyond_a_number():
    async def scene(jobs, maker):
        for _ in range(6):
            maker.go.release()
        made = [jobs.add(job(z)) for z in (1, 2, 3)]
        for one in made:
            await told(one)
        await until(lambda: made[0].id not in jobs.jobs)
        with pytest.raises(Problem, match=r"no picture of this id; a picture is forgotten after 0\.4 s") as gone:
            jobs.get(made[0].id)
        assert gone.value.status == 404
        assert jobs.get(made[2].id).png == b"png of 3"
        await until(lambda: not jobs.jobs)

    played(scene, keep=0.4, keep_most=2)


def test_a_model_that_is_not_used_is_ended_and_started_again():
    async def scene(jobs, maker):
        for z in (1, 2):
            maker.go.release()
            maker.go.release()
            await told(jobs.add(job(z)))
            await until(lambda: not maker.running)
        assert maker.made == [1, 2] and maker.closed == 2

    played(scene, idle=0.05, keep=0.2)


def test_a_server_that_stops_ends_the_events():
    async def scene(jobs, maker):
        one, stopping = jobs.add(job()), asyncio.Event()
        stream = one.follow(0, stopping)
        assert await anext(stream) == b"retry: 1000\n\n"
        stopping.set()
        assert [block async for block in stream]

    played(scene)
