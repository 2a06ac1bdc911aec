"""Load on ``sensorium serve`` with one worker and with two, in turn: requests a second, and the ratio.

    python bench/scale_serve.py runs/glyphs --text "arrow turning left"

Clients are processes of their own, of which each sends one request after the other. With as many cores as workers the
clients compete with them, so that the ratio is a lower bound of what two workers give.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time

import httpx

CLIENT = """
import sys, time, httpx
url, text, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
times, end = [], time.monotonic() + seconds
with httpx.Client(timeout=60) as client:
    while (start := time.monotonic()) < end:
        client.post(url + "/search", json={"text": text, "k": 10}).raise_for_status()
        times.append(time.monotonic() - start)
print(*times)
"""


def measure(run: str, text: str, workers: int, clients: int, seconds: float) -> dict[str, float]:
    """Requests a second and the 95th percentile of their time in ms, of one server that is started for it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "sensorium", "serve", run, "--port", str(port), "--workers", str(workers)]
    server = subprocess.Popen([*command, "--log", "off"], env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        for _ in range(600):
            try:
                if httpx.get(url + "/readyz", timeout=60).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        time.sleep(2)  # until the last worker has opened the run
        asking = [sys.executable, "-c", CLIENT, url, text, str(seconds)]
        every = [subprocess.Popen(asking, stdout=subprocess.PIPE, text=True) for _ in range(clients)]
        times = sorted(float(one) for client in every for one in client.communicate()[0].split())
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    return {"rate": round(len(times) / seconds, 1), "p95_ms": round(1000 * times[int(0.95 * len(times))], 2)}


def main() -> None:
    """Measure both in turn and print JSON lines, the median ratio last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--text", default="arrow")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ratios = []
    for _ in range(given.rounds):
        found = {n: measure(given.run, given.text, n, given.clients, given.seconds) for n in (1, 2)}
        ratios.append(found[2]["rate"] / found[1]["rate"])
        print(json.dumps({"one": found[1], "two": found[2], "ratio": round(ratios[-1], 3)}))
    print(json.dumps({"median_ratio": round(statistics.median(ratios), 3), "rounds": given.rounds}))


if __name__ == "__main__":
    main()
