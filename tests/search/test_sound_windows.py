"""A run over windows of long sounds: from files to hits with times, in Python, in a shell and over HTTP."""

import io
import json

import made_captions
import made_moments
import numpy as np
import pytest
import soundfile
from served import client_of
from typer.testing import CliRunner

import sensorium
from sensorium.cli import app
from sensorium.errors import BadRecipe
from sensorium.modalities.audio import files
from sensorium.search import media
from sensorium.types import Excerpt

N = 9  # recordings of 8 seconds, of which each has 7 windows of 2
WHAT = ["left.encoder=functionals", "left.head=linear", "right.encoder=hashing", "right.head=linear", "objective=ridge",
        "data.window=2", "data.hop=1", "data.test=3", "data.validation=2", "evaluate.protocol=moments",
        "evaluate.resamples=50", "evaluate.baselines=[]", "evaluate.correction=none", "evaluate.plots=false"]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("moments")
    rows = made_moments.sounds(root / "wav", N, seconds=2.0, tones=4)
    made_captions.table(root / "wav" / "captions.csv", rows)
    return sensorium.run("captions", [f"data.root={root / 'wav'}", *WHAT], out=root / "runs" / "long", quiet=True)


def test_moments_are_found(run):
    numbers = {row["measure"]: row for row in run.metrics["protocol"]["results"]}
    assert numbers["R1@IoU0.7"]["value"] > 0.6 > 0.2 > numbers["R1@IoU0.7"]["chance"]
    assert run.metrics["dataset"]["windows"] == N * 7


def test_one_hit_a_recording_with_its_time(run):
    hits = run.search(text="a deep tone", k=5)
    assert len({hit["recording"] for hit in hits}) == 5
    for hit in hits:
        assert hit["id"] == f"{hit['recording']}@{hit['begin']:g}-{hit['end']:g}" and hit["group_size"] == 7
        assert hit["end"] - hit["begin"] == 2
    every = run.search(text="a deep tone", k=5, collapse="none")
    assert "group_size" not in every[0] and every[0]["id"] == hits[0]["id"]
    more = run.search(text="a deep tone", k=2, collapse_size=3)
    assert [len(hit["collapsed"]) for hit in more] == [2, 2]
    assert all(
        one["recording"] == hit["recording"] and one["end"] > one["begin"] for hit in more for one in hit["collapsed"]
    )
    assert "group_size" not in run.search(id=hits[0]["id"], k=2, side="left", to="right")[0], "captions are no windows"
    with pytest.raises(BadRecipe, match="has no column 'nowhere'|nowhere"):
        run.search(text="a deep tone", collapse="nowhere")


def test_the_shell_prints_times(run):
    done = CliRunner().invoke(app, ["search", str(run.folder), "--text", "a deep tone", "-k", "2", "--json"])
    lines = [json.loads(line) for line in done.output.splitlines()]
    assert done.exit_code == 0 and len(lines) == 2 and lines[0]["end"] - lines[0]["begin"] == 2
    shown = CliRunner().invoke(app, ["search", str(run.folder), "--text", "a deep tone", "-k", "2", "--table"],
                               env={"COLUMNS": "200"})  # fmt: skip
    assert {"recording", "begin", "end"} <= set(shown.output.split())


def test_over_http_a_hit_has_its_time_and_its_own_sound(run):
    with client_of([run.folder]) as client:
        found = client.post("/search", json={"text": "a deep tone", "k": 3}).json()["hits"]
        assert len({hit["columns"]["recording"] for hit in found}) == 3 and found[0]["group_size"] == 7
        assert found[0]["columns"]["end"] - found[0]["columns"]["begin"] == 2
        answer = client.get(found[0]["media"])
        assert answer.headers["content-type"] == "audio/wav"
        samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="int16")
        assert len(samples) == 2 * rate
        every = client.post("/search", json={"text": "a deep tone", "k": 3, "collapse": "none"}).json()["hits"]
        assert "group_size" not in every[0]


def test_what_is_shown_of_a_window_is_that_part_of_the_file(run, tmp_path):
    hit = run.search(text="a deep tone", k=1)[0]
    kind, content = media.open(run.folder, "left").get(hit["id"])
    expected = files.read(Excerpt(hit["path"], hit["begin"], hit["end"]))
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert kind == "audio/wav" and rate == 16_000
    np.testing.assert_allclose(samples, expected, atol=2e-4)
    from sensorium.search import packing, unpacking

    packed = packing.pack(run.folder, tmp_path / "a.zip")
    assert packed["media"] == N * 7 and "media_lost" not in packed
    there = unpacking.opened(tmp_path / "a.zip")  # its folder goes with it
    kind, content = media.open(there.folder, "left").get(hit["id"])
    samples, rate = soundfile.read(io.BytesIO(content))
    assert kind == "audio/mpeg" and len(samples) / rate == pytest.approx(2, abs=0.1)


def test_a_sound_that_is_added_later_is_one_window(run, tmp_path):
    import shutil

    copy = sensorium.open(shutil.copytree(run.folder, tmp_path / "runs" / "copy"))
    (row, *_) = made_moments.sounds(tmp_path / "more", 1, seconds=1.5, tones=1)
    copy.add([tmp_path / "more" / row["file_name"]], ids=["new.wav"], side="left")
    hits = copy.search(text=row["caption"], k=N + 1)
    (new,) = [hit for hit in hits if hit["id"] == "new.wav"]
    assert (new["recording"], new["begin"], new["end"]) == ("new.wav", 0, 1.5)


def test_windows_are_embedded_once(run):
    again = sensorium.run("captions", [f"data.root={run.recipe.values['data']['root']}", *WHAT, "data.hop=2"],
                          out=run.folder.parent / "wider", quiet=True)  # fmt: skip
    assert again.metrics["dataset"]["windows"] == N * 4
    stores = list((run.folder.parent / "embeddings").glob("captioned-left-functionals-*"))
    from sensorium import store

    assert len(stores) == 1 and len(store.open(stores[0])) == N * 7  # every second one was there
