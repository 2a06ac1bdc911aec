"""Two servers over one run, killed in turn under writes: which acknowledged additions are lost, which removals undone?"""

from __future__ import annotations

import itertools
import random
import threading
import time
from pathlib import Path

import httpx
from served import Server

import sensorium

_ROUNDS_OF_WRITES = 12  # that both servers acknowledge at least before one of them is killed


def lost_writes(folder: Path, kills: int, seed: int = 0) -> list[str]:
    """What is wrong with the run at ``folder`` after ``kills`` times kill -9 of one of its two servers.

    Each server has a client that adds items with ids of its own and one id that both replace, and removes every
    third. After each kill the run is opened as the command line does, and the other server must know every item.
    """
    chance, wrong = random.Random(seed), []
    servers = [Server([folder]), Server([folder])]
    there: dict[str, str] = {}  # id to text of what was acknowledged, and not removed
    numbers = itertools.count()
    try:
        for number in range(kills):
            wrong += _round(servers, there, numbers, chance, f"kill {number}")
            run = sensorium.open(folder)
            known, hits = run.places("right"), {}
            wrong += [f"kill {number}: {id} is lost" for id in there if id not in known]
            for id in list(there)[-3:]:
                hits = httpx.post(f"{servers[number % 2].url}/search", timeout=60, json={
                    "text": there[id], "from": "right", "to": "right", "k": 1}).json()["hits"]  # fmt: skip
                if hits[0]["id"] != id:
                    wrong.append(f"kill {number}: {id} is not found, but {hits[0]['id']}")
        logs = [server.stop() for server in servers]
        wrong += [f"a traceback:\n{log}" for log in logs if "Traceback" in log]
        known = sensorium.open(folder).places("right")
        return wrong + [f"{id} is lost at the end" for id in there if id not in known]
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.kill()


def _round(servers: list[Server], there: dict[str, str], numbers, chance: random.Random, what: str) -> list[str]:
    """Writes to both until one was killed and started again; returns answers that are no success."""
    wrong: list[str] = []
    done, stop, counts = threading.Lock(), threading.Event(), [0, 0]

    def write(which: int) -> None:
        with httpx.Client(base_url=servers[which].url, timeout=60) as client:
            try:
                while not stop.is_set():
                    number = next(numbers)
                    ids = [f"s{which}-{number}", *(["both"] if number % 4 == 0 else [])]
                    for id in ids:
                        text = f"thing number {number} of {id}"
                        answer = client.post("/items", json={"side": "right", "id": id, "text": text, "replace": True})
                        if answer.status_code not in (200, 201):
                            wrong.append(f"{what}: {answer.status_code} {answer.text[:200]}")
                        elif id != "both":
                            with done:
                                there[id] = text
                    if number % 3 == 0:
                        with done:
                            there.pop(ids[0])  # it may be gone from the moment that its removal is asked for
                        answer = client.delete(f"/items/{ids[0]}")
                        if answer.status_code != 204:
                            wrong.append(f"{what}: {answer.status_code} {answer.text[:200]}")
                    counts[which] += 1
            except httpx.TransportError:
                return  # killed

    threads = [threading.Thread(target=write, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 120
    while min(counts) < _ROUNDS_OF_WRITES and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(chance.random() / 5)
    victim = chance.randrange(2)
    servers[victim].kill()
    stop.set()
    for thread in threads:
        thread.join(60)
    if min(counts) < _ROUNDS_OF_WRITES:
        wrong.append(f"{what}: only {counts} writes were answered in 120 s")
    servers[victim] = Server([servers[victim].runs[0]])
    return wrong
