"""Clips added to a run and removed from it: measured as its own were, found by filters, durable; by table and by HTTP."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_files import tone

import sensorium
from sensorium.cli import main
from sensorium.errors import BadData, BadRecipe
from sensorium.search import add_table

served = pytest.importorskip("served", reason="the extra 'serve' is not installed")
FAST = ["left.encoder=hashing", "right.encoder=functionals", "right.encoder.levels=0", "right.encoder.relations=false",
        "objective=ridge", "left.head=linear", "evaluate.baselines=[]", "evaluate.plots=false",
        "evaluate.resamples=20"]  # fmt: skip


def clip(path: Path, seconds: float, hz: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 1e-3 * np.random.default_rng(int(hz)).standard_normal(int(seconds * 16_000))
    soundfile.write(path, tone(seconds, hz=hz) + noise, 16_000)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("voices")
    lines = []
    for k in range(12):
        clip(folder / "root" / f"s{k % 6}" / f"{k}.wav", 0.3 + 0.1 * k, 150 + 25 * k)
        lines.append(f"s{k % 6}/{k}.wav|s{k % 6}|EN|line number {k}")
    (folder / "t.list").write_text("\n".join(lines))
    for k, seconds in ((20, 0.5), (21, 2.5)):
        clip(folder / "new" / f"{k}.wav", seconds, 300 + k)
    (folder / "new.list").write_text("new/20.wav|s9|EN|a new line\nnew/21.wav|s9|EN|another new line\n")
    data = [f"data.root={folder / 'root'}", f"data.table={folder / 't.list'}"]
    sensorium.run({"name": "voices", "data": {"name": "clips"}, "objective": "ridge"}, [*data, *FAST],
                  out=folder / "runs" / "v", quiet=True)  # fmt: skip
    return folder


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A copy of the run, to be changed."""
    sensorium.open(made / "runs" / "v").save(tmp_path / "v")
    return tmp_path / "v"


def test_measures_are_columns_that_filters_know(made) -> None:
    run = sensorium.open(made / "runs" / "v")
    hits = run.search(text="line", k=12, where={"duration": {">=": 1.0}})
    assert sorted(hits.ids) == sorted(f"s{k % 6}/{k}.wav" for k in range(12) if 0.3 + 0.1 * k > 0.999)
    assert run.metrics["dataset"]["measured"] == 12
    assert (made / "runs" / "embeddings" / "clip-measures").is_dir()


def test_clips_of_a_list_are_added_with_their_measures(run, made) -> None:
    opened = sensorium.open(run)
    (record,) = add_table.add(opened, made / "new.list")
    assert (record["side"], record["added"], record["items"]) == ("right", 2, 14)
    table = opened.index("right").table
    rows = [table.ids.tolist().index(f"new/{k}.wav") for k in (20, 21)]
    found = {name: [column[row] for row in rows] for name, column in table.columns.items()}
    assert found["duration"] == pytest.approx([0.5, 2.5]) and found["sample_rate"] == [16_000, 16_000]
    assert found["speaker"] == ["s9", "s9"] and found["transcript"] == ["a new line", "another new line"]
    assert found["speech_rate"] == pytest.approx([10 / 0.5, 16 / 2.5], rel=0.1) and found["language"] == ["en", "en"]
    assert found["path"][0] == str(made / "new" / "20.wav")
    again = sensorium.open(run)
    assert again.search(text="line", k=3, where={"duration": {">=": 2.0}}).ids == ["new/21.wav"]
    again.remove(["new/21.wav"])
    assert len(sensorium.open(run).search(text="line", k=3, where={"duration": {">=": 2.0}})) == 0


def test_a_folder_of_clips_is_added(run, made) -> None:
    opened = sensorium.open(run)
    (record,) = add_table.add(opened, made / "new", "clip")
    assert (record["side"], record["added"]) == ("right", 2)
    hits = opened.search(text="line", k=3, where={"duration": {">=": 2.0}})
    assert hits.ids == ["21.wav"] and hits[0]["path"] == str(made / "new" / "21.wav")
    (again,) = add_table.add(opened, made / "new", replace=True)  # the only side that takes files
    assert again["replaced"] == 2
    with pytest.raises(BadRecipe, match="is no store and no folder of embeddings"):
        add_table.add(opened, made / "new", "text")


def test_a_clip_that_cannot_be_used_is_not_added(run, made, tmp_path) -> None:
    (tmp_path / "bad.wav").write_bytes((made / "new" / "20.wav").read_bytes()[:44])
    (tmp_path / "t.list").write_text("bad.wav|s9|EN|a line\n")
    opened = sensorium.open(run)
    with pytest.raises(BadData, match=r"bad.wav"):
        add_table.add(opened, tmp_path / "t.list")
    assert len(opened.index("right")) == 12


def test_the_command_line_adds_and_removes(run, made, capsys, monkeypatch) -> None:
    def shell(*words: str) -> dict:
        monkeypatch.setattr("sys.argv", ["sensorium", *words, "--json"])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return json.loads(capsys.readouterr().out)

    assert shell("add", str(run), str(made / "new.list"))["added"] == 2
    assert shell("remove", str(run), "--ids", "new/20.wav,s0/0.wav", "--side", "clip")["removed"] == 2
    assert len(sensorium.open(run).index("right").table) == 12


def test_clips_are_added_over_http_with_their_measures(run, made) -> None:
    content = base64.b64encode((made / "new" / "21.wav").read_bytes()).decode()
    with served.client_of([run]) as client:
        answer = client.post("/items", json={"id": "sent", "side": "right", "audio": content,
                                             "columns": {"speaker": "s9", "transcript": "sent over the network"}})  # fmt: skip
        assert answer.status_code == 201, answer.text
        columns = client.get("/items/sent").json()["columns"]
        assert columns["duration"] == pytest.approx(2.5) and columns["sample_rate"] == 16_000
        assert columns["speaker"] == "s9" and columns["speech_rate"] == pytest.approx(21 / 2.5, rel=0.1)
        assert client.delete("/items/sent").status_code == 204
        assert client.get("/items/sent").status_code == 404
