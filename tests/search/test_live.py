"""Many live changes in one durable append: the same as one by one, and all or none whatever happens."""

import os
import shutil
import signal
import subprocess
import time

import numpy as np
import processes
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sensorium
from sensorium.errors import BadData, Mismatch
from sensorium.search.journal import Change
from sensorium.search.run import open as open_run

KEYS = ["data.left=image", "data.right=text", "objective=ridge", "evaluate.plots=false", "evaluate.resamples=50",
        "evaluate.baselines=[]"]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of 60 pairs of vectors, 8 and 6 wide."""
    folder, dice = tmp_path_factory.mktemp("live"), np.random.default_rng(0)
    image = dice.standard_normal((60, 8)).astype(np.float32)
    text = image @ dice.standard_normal((8, 6)).astype(np.float32)
    np.savez(folder / "a.npz", image=image, text=text, ids=np.arange(60).astype(str),
             name=np.array(["a", "b"] * 30), size=np.arange(60))  # fmt: skip
    return sensorium.run("arrays", [f"data.file={folder / 'a.npz'}", *KEYS], out=folder / "run", quiet=True).folder


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made, tmp_path / "run")
    return open_run(tmp_path / "run")


def contents(run, side="left"):
    index = run.index(side)
    columns = {name: column.tolist() for name, column in index.table.columns.items()}
    return index.table.ids.tolist(), columns, index.vectors(np.arange(len(index.table)))


ids = st.sampled_from(["0", "1", "59", "new", "newer", "é"])
told = st.tuples(
    ids,
    st.one_of(st.none(), st.integers(0, 2**31)),
    st.fixed_dictionaries({}, optional={"name": st.text(max_size=5).map(lambda t: t.encode("utf-8", "replace").decode()),
                                        "size": st.integers(-5, 5)}),
)  # fmt: skip


def changes_of(run, values):
    digest = run.encoder_digest("left")
    return [
        Change(id, None if seed is None else np.random.default_rng(seed).standard_normal(8).astype(np.float32),
               columns, digest)
        for id, seed, columns in values
    ]  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(told, max_size=8))
def test_many_at_once_equal_the_same_one_by_one_and_after_a_restart(made, tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("both")
    for name in ("one", "many"):
        shutil.copytree(made, folder / name)
    one, many = open_run(folder / "one"), open_run(folder / "many")
    one.index("left"), many.index("left")
    for change in changes_of(one, values):
        one.commit("left", change)
    many.commit_many("left", changes_of(many, values))
    found = [contents(run) for run in (one, many, open_run(folder / "one"), open_run(folder / "many"))]
    for other in found[1:]:
        assert other[:2] == found[0][:2]
        np.testing.assert_allclose(other[2], found[0][2], atol=1e-6)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (dict(vector=np.ones(7, np.float32)), BadData, r"item 'bad': its vector has shape \(7,\); the image head takes"),
        (dict(vector=np.zeros(8, np.float32)), BadData, "item 'bad': its vector holds NaN, infinity or only zeros"),
        (dict(vector=np.full(8, np.nan, np.float32)), BadData, "item 'bad': its vector holds NaN"),
        (dict(vector=np.full(8, 3e38, np.float32)), BadData, "item 'bad': its head makes no usable vector of it"),
        (dict(encoder="other"), Mismatch, "item 'bad': its vector is of encoder other, the image head takes those of"),
        (dict(columns={"name": "x" * 100_001}), BadData, "column 'name' has 100,001 characters"),
    ],
)  # fmt: skip
def test_one_that_cannot_be_added_leaves_all_out(run, bad, error, message):
    before, digest = contents(run), run.encoder_digest("left")
    usual = {"vector": np.ones(8, np.float32), "columns": {}, "encoder": digest}
    changes = [Change("good", **usual), Change("bad", **{**usual, **bad}), Change("0")]
    with pytest.raises(error, match=message):
        run.commit_many("left", changes)
    for found in (contents(run), contents(open_run(run.folder))):
        assert found[:2] == before[:2] and np.array_equal(found[2], before[2])
    run.commit_many("left", [])
    assert not run.journals["left"].path.exists(), "nothing to do writes nothing"


KILLED = """
import sys, numpy as np
from sensorium.search.run import open
from sensorium.search.journal import Change
run = open(sys.argv[1])
run.index("left")
digest = run.encoder_digest("left")
n = 0
while True:
    n += 1
    rows = np.random.default_rng(n).standard_normal((200, 8)).astype(np.float32)
    changes = [Change(f"{n}-{i}", row, {"name": "x" * 500}, digest) for i, row in enumerate(rows)]
    print("begun", n, flush=True)
    run.commit_many("left", changes)
    print("done", n, flush=True)
"""


def test_a_kill_at_any_moment_leaves_all_of_a_batch_or_none(run):
    dice = np.random.default_rng(1)
    for round in range(2):
        shutil.rmtree(run.folder / "live", ignore_errors=True)
        process = processes.Process([run.folder], code=KILLED, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "begun 1\n"
        time.sleep(dice.random() * 0.15)
        os.kill(process.pid, signal.SIGKILL)
        said = process.stdout.read().split("\n")
        process.wait()
        done = sum(line.startswith("done") for line in said)
        added = [id for id in open_run(run.folder).index("left").table.ids.tolist() if "-" in id]
        assert len(added) in (200 * done, 200 * (done + 1)), f"round {round}: {len(added)} of {done} batches"
