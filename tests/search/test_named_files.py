"""Vectors whose column names picture or sound files are shown by them."""

import numpy as np
import pytest
from PIL import Image

import sensorium
from sensorium.search import named_files
from sensorium.serve.engine.workers import Workers
from sensorium.serve.settings import Settings
from sensorium.types import Items

N = 24


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A file of pairs beside a folder of pictures that a column names, all but one."""
    folder, random = tmp_path_factory.mktemp("named"), np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for i in range(N - 1):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / "pictures" / f"{i}.png")
    x = random.standard_normal((N, 4)).astype(np.float32)
    np.savez(folder / "a.npz", left=x, right=x[:, ::-1], picture=np.array([f"pictures/{i}.png" for i in range(N)]),
             caption=np.array([f"a. picture {i}" for i in range(N)]))  # fmt: skip
    return folder


def test_a_run_of_vectors_shows_the_pictures_of_its_column(vectors):
    keys = [f"data.file={vectors}/a.npz", "data.left=left", "data.right=right", "left.head=linear", "right.head=linear",
            "objective=ridge", "evaluate.baselines=[]", "evaluate.plots=false", "evaluate.resamples=10"]  # fmt: skip
    run = sensorium.run("arrays", keys, out=vectors / "runs" / "named", quiet=True)
    workers = Workers("named", run, Settings())
    assert workers.kinds == {"left": "image", "right": "image"}
    ids = run.index("left").table.ids.tolist()
    shown = [workers.media("left", id) for id in ids]
    assert sum(one is not None for one in shown) == N - 1
    kind, path = next(one for one in shown if one is not None)
    assert kind == "image/png" and path.is_file() and path.parent == vectors / "pictures"


@pytest.mark.parametrize("values", [[f"no/{i}.png" for i in range(N)], ["a word"] * N, np.arange(N), ["x" * 4000] * N])
def test_columns_that_name_no_files_show_nothing(values, tmp_path):
    items = Items(np.arange(N).astype(str), np.zeros((N, 2)), "vector", {"a": np.asarray(values)})
    assert named_files.of(items, tmp_path) is None
