"""How soon the page is there in Chromium, against an empty page of the same server: first paint, and ready to type.

    python -m bench.page_load RUN [--visits 9] [--quick]

Each visit is a new browser context, so nothing is cached. "ready" is when the field of the search takes the focus and
the first items are shown. The peer is the smallest page that the same server and browser can show: one paragraph.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync"]  # fmt: skip
PAINT = """() => new Promise((done) => {
    const look = () => {
        const [paint] = performance.getEntriesByName('first-contentful-paint');
        if (paint) done(paint.startTime); else requestAnimationFrame(look);
    };
    look(); })"""
READY = """() => document.querySelector('main input:not([type=file]), main textarea')
    && document.querySelector('main .wall li, main .hits li, main .wall button') ? performance.now() : null"""


def serve(run: Path) -> tuple[subprocess.Popen[str], str]:
    """A server of a run, and its address once it answers."""
    told = [sys.executable, "-m", "sensorium", "serve", str(run), "--port", "0", "--log", "off"]
    process = subprocess.Popen(told, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    found = next(found for line in process.stderr if (found := re.search(r"https?://[\w.:]+", line)))
    url = found[0]
    while True:
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).read()
            return process, url
        except OSError:
            time.sleep(0.2)


def measure(url: str, visits: int) -> dict[str, list[float]]:
    """Milliseconds since the navigation began, a visit each: paint and ready of the page, paint of the peer."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {"paint": [], "ready": [], "peer": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        for visit in range(visits + 1):  # the first one warms the browser
            context = browser.new_context(viewport={"width": 1280, "height": 860})
            page = context.new_page()
            page.route("**/peer", lambda route: route.fulfill(body="<p>one", content_type="text/html"))
            page.goto(f"{url}/peer")
            peer = page.evaluate(PAINT)
            page.goto(f"{url}/")
            ready = page.wait_for_function(READY, polling="raf").json_value()
            paint = page.evaluate(PAINT)
            if visit:
                for name, value in (("paint", paint), ("ready", ready), ("peer", peer)):
                    found[name].append(value)
            context.close()
        browser.close()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--visits", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="two visits")
    told = parser.parse_args()
    process, url = serve(told.run)
    try:
        found = measure(url, 2 if told.quick else told.visits)
    finally:
        process.terminate()
        process.wait()
    peer = statistics.median(found["peer"])
    print("| what | median ms | worst ms | ratio to the peer |\n|---|---|---|---|")
    for name, values in found.items():
        middle = statistics.median(values)
        print(f"| {name} | {middle:.0f} | {max(values):.0f} | {middle / peer:.1f} |")


if __name__ == "__main__":
    main()
