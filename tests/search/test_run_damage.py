"""Damage of any file of a run: opening and searching answer as before, or end in an error that names the file."""

import json
import random
import shutil

import numpy as np
import pytest

import sensorium
from sensorium.errors import SensoriumError
from sensorium.search.journal import Change
from sensorium.search.run import open as open_run

KEYS = ["data.left=image", "data.right=text", "objective=ridge", "evaluate.plots=false", "evaluate.resamples=50",
        "evaluate.baselines=[]"]  # fmt: skip
QUERY = np.ones(8, np.float32)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 60 pairs with a live change on each side."""
    folder, dice = tmp_path_factory.mktemp("damage"), np.random.default_rng(0)
    image = dice.standard_normal((60, 8)).astype(np.float32)
    text = image @ dice.standard_normal((8, 6)).astype(np.float32)
    np.savez(folder / "a.npz", image=image, text=text, ids=np.arange(60).astype(str), name=np.array(["a", "b"] * 30))
    run = sensorium.run("arrays", [f"data.file={folder / 'a.npz'}", *KEYS], out=folder / "run", quiet=True)
    for side, width in (("left", 8), ("right", 6)):
        run.index(side)
        run.commit(side, Change("live", np.ones(width, np.float32), {"name": "live"}, run.encoder_digest(side)))
    return folder / "run"


def answer(folder) -> str:
    run = open_run(folder)
    hits = [
        run.search(vector=QUERY, k=5, corrected=corrected, where={"name": ["a", "live"]}) for corrected in (True, False)
    ]
    return json.dumps([*hits, run.search(id="3", side="right", k=3)], sort_keys=True)


def damaged(content: bytes, dice: random.Random, name: str) -> bytes:
    """One of: a bit turned, the file cut, emptied, another tail; of JSON also a key gone or of another type."""
    ways = ["bit", "bit", "cut", "empty", "tail"] + ["key", "type", "type"] * name.endswith(".json")
    way = dice.choice(ways)
    if way == "bit":
        at = dice.randrange(max(len(content), 1))
        return content[:at] + bytes([content[at] ^ (1 << dice.randrange(8))]) + content[at + 1 :] if content else b"x"
    if way in ("cut", "empty", "tail"):
        at = dice.randrange(len(content) + 1) * (way != "empty")
        return content[:at] + (dice.randbytes(20) if way == "tail" else b"")
    told = json.loads(content)
    inner, key = told, None
    while isinstance(inner, dict) and inner:
        holder, key = inner, dice.choice(sorted(inner))
        inner = inner[key]
        if dice.random() < 0.4:
            break
    if key is None:
        return b"[]"
    if way == "key":
        del holder[key]
    else:
        holder[key] = dice.choice([None, 7, "text", [], {}, [1], -1e300, True])
    return json.dumps(told).encode()


def test_damage_is_an_error_that_says_where(whole, tmp_path):
    expected, dice = answer(whole), random.Random(0)
    files = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file())
    assert {"metrics.json", "trust.json", "left.json", "recipe.toml"} <= {p.name for p in files}
    folder, silent = tmp_path / "run", []
    for name in files:
        for _ in range(8):
            shutil.copytree(whole, folder)
            path = folder / name
            content = damaged(path.read_bytes(), dice, name.name)
            same = content == path.read_bytes()
            path.write_bytes(content)
            try:
                if answer(folder) != expected and not same:
                    silent.append(str(name))
            except SensoriumError as error:
                assert str(error)
            shutil.rmtree(folder)
    assert silent == []


def test_files_that_are_gone_are_named(whole, tmp_path):
    folder = tmp_path / "run"
    for name in ("metrics.json", "recipe.toml", "left.json", "left.safetensors", "index/right/items.parquet",
                 "index/right/index.json", "index/right/vectors.npy"):  # fmt: skip
        shutil.copytree(whole, folder)
        (folder / name).unlink()
        with pytest.raises(SensoriumError, match=name.rpartition("/")[2].partition(".")[0]):
            answer(folder)
        shutil.rmtree(folder)
