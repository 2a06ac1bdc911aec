"""The pictures of the page in the documentation, of free data: a served run of glyphs, and clips computed here.

python docs/pictures.py [RUN] [NAME ...]      runs/glyphs and all pictures by default; needs Chromium and playwright
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

PICTURES = Path(__file__).parent / "pictures"
WIDE, PHONE = {"width": 1200, "height": 720}, {"width": 390, "height": 720}
ARROW = [
    (0.8, 0.5, 0.2, 0.5),
    (0.2, 0.5, 0.42, 0.28),
    (0.2, 0.5, 0.42, 0.72),
]  # lines of a drawing, in shares of the pad


def draw(page: Any) -> None:
    """An arrow on the pad."""
    page.get_by_role("button", name=re.compile("^Draw")).click()
    box = page.locator("canvas.pad, .pad canvas").first.bounding_box()
    for x0, y0, x1, y1 in ARROW:
        page.mouse.move(box["x"] + x0 * box["width"], box["y"] + y0 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + x1 * box["width"], box["y"] + y1 * box["height"], steps=12)
        page.mouse.up()
    page.wait_for_selector(".hits .hit")


SEEN = """() => [...document.images].every((one) => one.complete || one.getBoundingClientRect().top > innerHeight)"""

#: Name → address in the page, size, what to wait for, what to do.
SHOTS: dict[str, tuple[str, dict[str, int], str, Any]] = {
    "page-words": ("search?run={run}&q=smiling+face+with+open+mouth", WIDE, ".hits .hit", None),
    "page-draw": ("search?run={run}", WIDE, "main", draw),
    "page-map": ("map?run={run}", WIDE, ".map-facts", None),
    "page-runs": ("runs/{run}", WIDE, "main h1, main h2", None),
    "page-voices": ("voices?run=voices&for=gpt-sovits&lines=Get+out+of+my+house", WIDE, ".clip", None),
    "page-sounds": ("search?run=sounds&q=a+man+talks+calmly", WIDE, ".hits .hit", None),
    "page-phone": ("search?run={run}&q=umbrella", PHONE, ".hits .hit", None),
}


HOW = {"angry": "shouts in anger", "calm": "talks calmly", "happy": "cheers happily", "sad": "speaks in sorrow"}
WHO = {"ada": "a deep voice", "ben": "a man", "cleo": "a woman", "dan": "a high voice"}


def computed(folder: Path) -> list[str]:
    """Runs of the clips that the tests compute: lines that find voices, and captions that find sounds."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    import small_voices

    import sensorium

    small_voices.make(folder / "runs" / "voices")
    names, _ = small_voices.write(folder / "clips")
    told = [(name, name.split("/")[0], name.split("/")[1].split("_")[0]) for name in names]
    rows = [{"file_name": name, "caption_1": f"{WHO[who]} {HOW[how]}"} for name, who, how in told]
    (folder / "table.jsonl").write_text("\n".join(map(json.dumps, rows)))
    keys = [f"data.root={folder}/clips", f"data.table={folder}/table.jsonl", "left.encoder=functionals",
            "right.encoder=hashing", "left.head=linear", "right.head=linear", "objective=ridge",
            "evaluate.baselines=[]", "evaluate.plots=false", "evaluate.resamples=20"]  # fmt: skip
    sensorium.run("captions", keys, out=folder / "runs" / "sounds", quiet=True)
    return [str(folder / "runs" / name) for name in ("voices", "sounds")]


def main(run: Path, names: list[str]) -> None:
    """Make the pictures of some names, or all."""
    from playwright.sync_api import sync_playwright

    folder = tempfile.TemporaryDirectory()
    own = computed(Path(folder.name))
    told = [sys.executable, "-m", "sensorium", "serve", str(run), *own, "--port", "0", "--log", "off"]
    server = subprocess.Popen(told, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        url = next(found[0] for line in server.stderr if (found := re.search(r"https?://[\w.:]+", line)))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"{url}/#/search?run={run.name}&q=warm")  # the encoder is loaded
            page.wait_for_selector(".hits .hit", timeout=300_000)
            page.close()
            for name in names or SHOTS:
                address, size, there, act = SHOTS[name]
                page = browser.new_page(viewport=size, is_mobile=size is PHONE, has_touch=size is PHONE)
                page.set_default_timeout(120_000)
                page.goto(f"{url}/#/{address.format(run=run.name)}")
                page.wait_for_selector(there, state="attached")
                if act is not None:
                    act(page)
                page.wait_for_function(SEEN)
                page.wait_for_timeout(6000)  # labels of the map, and pictures as they come
                picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                picture.save(PICTURES / f"{name}.webp", quality=76, method=6)
                page.close()
            browser.close()
    finally:
        server.terminate()
        server.wait()
        folder.cleanup()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/glyphs"), sys.argv[2:])
