"""sensorium images: of a store, a run and a recipe; settings of the head; what is there is kept; refusals; Ctrl-C."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from original_embed2image import made_cache
from typer.testing import CliRunner

import sensorium
from sensorium import heads, store
from sensorium.cli import app
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.image import files, pseudo_files

QUICK = ["train.epochs=2", "left.head.size=16", "left.head.width=4", "evaluate.plots=false", "evaluate.resamples=10",
         "evaluate.baselines=[]"]  # fmt: skip


def said(*words) -> list[dict]:
    result = CliRunner().invoke(app, [*map(str, words), "--json", "--quiet"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cache of the original, and a run of clotho-vision on it."""
    folder = tmp_path_factory.mktemp("images")
    made_cache(folder / "cache")
    run = sensorium.run("clotho-vision", [f"data.cache={folder / 'cache'}", *QUICK], out=folder / "run", quiet=True)
    return folder, run


def test_of_a_run(made, tmp_path: Path) -> None:
    folder, _ = made
    left, right = said("images", folder / "run", "--out", tmp_path, "--workers", 3)
    assert left["side"] == "sound" and left["folder"] == str(tmp_path / "audio") and left["made"] == left["items"] > 30
    assert right["side"] == "caption" and right["folder"] == str(tmp_path / "text") and right["made"] > left["made"]
    names = {path.name for path in (tmp_path / "audio").iterdir()}
    assert all(name.startswith("audio_") and name.endswith(".png") for name in names) and len(names) == left["items"]
    picture = files.read(next((tmp_path / "audio").iterdir()))
    assert picture.shape == (16, 16, 3)  # the size of the run's own head
    sheet = files.read(left["sheet"])
    assert sheet.shape[1] == 8 * 136 + 8 and len(np.unique(sheet)) > 50
    again = said("images", folder / "run", "--out", tmp_path, "--side", "left")
    assert [(row["side"], row["made"], row["kept"]) for row in again] == [("sound", 0, left["items"])]


def test_a_fit_on_the_files_is_the_fit_on_pictures_made(made, tmp_path: Path) -> None:
    """The same history, weights and outputs, to the bit; and without the folder the run still answers."""
    folder, _ = made
    keys = [f"data.cache={folder / 'cache'}", *QUICK, "left.head.quantize=true"]
    said("images", "clotho-vision", *keys, "--out", tmp_path / "pictures", "--side", "sound")
    generated = sensorium.run("clotho-vision", keys, out=tmp_path / "a", quiet=True)
    stored = sensorium.run(
        "clotho-vision", [*keys, f"left.head.images={tmp_path / 'pictures'}"], out=tmp_path / "b", quiet=True
    )
    assert stored.head("left").image.stored is not None
    for side in ("left", "right"):
        a, b = (run.head(side).state_dict() for run in (generated, stored))
        assert all(np.array_equal(a[name], b[name]) for name in a)
    x = np.random.default_rng(0).standard_normal((9, 48)).astype(np.float32)
    assert np.array_equal(heads.apply(generated.head("left"), x), heads.apply(stored.head("left"), x))
    values = [[row["value"] for row in run.metrics["results"]] for run in (generated, stored)]
    assert values[0] == values[1]


def test_of_a_store(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    store.append(tmp_path / "vectors", [f"w{i}" for i in range(20)], x, {"name": "mine"})
    options = ["--size", 8, "--channels", "replicate", "--minmax", "channel", "--clamp", "--sheet", 0]
    (row,) = said("images", tmp_path / "vectors", "--out", tmp_path / "out", *options)
    assert row["made"] == 20 and Path(row["folder"]).name == "vectors" and "sheet" not in row
    about = pseudo_files.about(tmp_path / "out" / "vectors" / "vectors_w3.png")
    assert about["transform"] == {
        "size": 8,
        "mode": "nearest",
        "channels": "replicate",
        "clamp": True,
        "minmax": "channel",
    }
    assert about["vector"] == pseudo_files.digest(x[3])
    (row,) = said("images", tmp_path / "vectors", "--out", tmp_path / "exact", "--size", 8)
    found = pseudo_files.read_vector(tmp_path / "exact" / "vectors" / "vectors_w3.png")
    np.testing.assert_allclose(found, x[3], rtol=0, atol=np.ptp(x[3]) / 255)


@pytest.mark.parametrize(("fingerprint", "folder"), [({"name": "mfcc"}, "audio"), ({"name": "hashing", "takes": "text"}, "text"),
                                                     ({"name": "gone"}, "vectors")])  # fmt: skip
def test_pictures_are_sorted_by_kind_of_item(fingerprint: dict, folder: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((3, 30)).astype(np.float32)
    store.append(tmp_path / "vectors", ["a", "b", "c"], x, fingerprint)
    (row,) = said("images", tmp_path / "vectors", "--out", tmp_path / "out", "--size", 8)
    assert Path(row["folder"]).name == folder


def test_what_is_refused(made, tmp_path: Path) -> None:
    folder, _ = made
    x = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    store.append(tmp_path / "vectors", list("abcd"), x, {"name": "mine"})
    store.append(tmp_path / "frames", ["a", "b"], x, {"name": "mine"}, offsets=np.array([0, 1, 4]))
    for words, error, message in (
        (
            [folder / "run", "--side", "sounds"],
            BadRecipe,
            r"--side sounds; expected sound or caption \(left or right\)",
        ),
        ([folder / "run", "seed=1"], BadRecipe, "is a run, whose keys are fixed; leave out seed=1"),
        ([tmp_path / "vectors", "seed=1"], BadRecipe, "is a store, which takes no keys; leave out seed=1"),
        ([tmp_path / "vectors", "--mode", "cubic"], BadRecipe, "mode 'cubic'; did you mean 'bicubic'"),
        ([tmp_path / "vectors", "--minmax", "none"], BadRecipe, "expected minmax image or channel"),
        ([tmp_path / "frames"], BadData, "the store items are sequences of frames; a pseudo-image shows one vector"),
        (["clotho-visio"], BadRecipe, "clotho-vision"),
    ):
        with pytest.raises(error, match=message):
            said("images", *words, "--out", tmp_path / "out")


PICTURES = 4000  # which take longer than the interruption


@pytest.mark.slow  # an interruption in this process is in tests/modalities/test_pseudo_images.py
def test_ctrl_c_and_again(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((PICTURES, 12)).astype(np.float32)
    store.append(tmp_path / "vectors", [f"w{i}" for i in range(PICTURES)], x, {"name": "mine"})
    options = ["--out", str(tmp_path / "out"), "--size", "96", "--sheet", "0", "--workers", "1"]
    command = [sys.executable, "-m", "sensorium", "images", str(tmp_path / "vectors"), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not list((tmp_path / "out").glob("vectors/*.png")) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on" in errors
    there = len(list((tmp_path / "out" / "vectors").glob("*.png")))
    assert 0 < there < PICTURES
    (row,) = said("images", tmp_path / "vectors", *options)
    assert row["kept"] >= there - 1 and row["made"] + row["kept"] == PICTURES
