"""Push a store of many small shards to a Hub on this machine: commits, what is sent twice after a kill, and time.

    python bench/hub_push.py [SHARDS]

SHARDS, 60000 by default, of one item each. Beside it, in the same run, a tenth of them is sent by the client's
``upload_folder`` alone, file by file, and killed and resumed, too. The Hub is tests/support/fake_hub.py.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import numpy as np
from fake_hub import FakeHub
from hub_here import command, environment

from sensorium import store
from sensorium.store import shard
from sensorium.store.manifest import Manifest
from sensorium.store.shard import Batch

PLAIN = """
import sys
from huggingface_hub import HfApi
HfApi().create_repo(sys.argv[2], repo_type="dataset", exist_ok=True)
HfApi().upload_folder(repo_id=sys.argv[2], repo_type="dataset", folder_path=sys.argv[1])
"""
NAME = "me/many"


def made(folder: Path, shards: int) -> Path:
    """A store of so many shards of one item of 16 numbers."""
    known, rng, sync = Manifest({"name": "made"}, 16, "float32", False), np.random.default_rng(0), os.fsync
    os.fsync = lambda handle: None  # making it is not what is measured
    try:
        vectors, parts = rng.normal(size=(shards, 16)).astype(np.float32), []
        for i in range(shards):
            staged = shard.stage(folder, Batch([f"i{i}"], [i.to_bytes(16, "big")], vectors[i : i + 1], {}), known)
            staged.commit()
            parts.append(staged.shard)
        known.with_shards(parts).write(folder)
    finally:
        os.fsync = sync
    return folder


def pushed(fake: FakeHub, words: list[str], home: Path, objects: int) -> dict[str, float]:
    """Start, kill when so many objects have come, start again to the end."""
    full, begin = threading.Event(), time.perf_counter()
    fake.after = lambda count: full.set() if count >= objects else None
    process = subprocess.Popen(words, env=environment(fake, home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    full.wait()
    process.kill()
    process.wait()
    at_kill = len(fake.received)
    subprocess.run(words, env=environment(fake, home), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    history = fake.repository(NAME, "dataset").history[1:]
    return {"objects": len(fake.received), "at_kill": at_kill, "twice": len(fake.received) - len(set(fake.received)),
            "commits": len(history), "seconds": round(time.perf_counter() - begin, 1),
            "requests": len(fake.requests)}  # fmt: skip


def main(shards: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        home = Path(place) / "home"
        few = made(Path(place) / "few", shards // 10)
        with FakeHub() as fake:
            plain = [sys.executable, "-c", PLAIN, str(few), NAME]
            alone = pushed(fake, plain, home, shards // 10)
        print(json.dumps({"what": "upload_folder alone", "shards": shards // 10, **alone}), flush=True)
        many = made(Path(place) / "many", shards)
        wanted = store.open(many).ids.tolist()
        with FakeHub() as fake:
            ours = pushed(fake, command("push", many, NAME, "--quiet"), home, 1)
            subprocess.run(command("pull", NAME, "--out", Path(place) / "back", "--quiet"),
                           env=environment(fake, home), check=True, stdout=subprocess.DEVNULL)  # fmt: skip
            same = store.open(Path(place) / "back").ids.tolist() == wanted and not store.verify(Path(place) / "back")
        print(json.dumps({"what": "sensorium push", "shards": shards, **ours, "pulled back equal": same}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000)
