"""The eight make targets of the document, one after another, on a small made Clotho: from a download to the original's files."""

import hashlib
import io
import json
from pathlib import Path

import hub_here
import made_captions
import numpy as np
import original_embed2image as original
import pytest
import tiny_passt
import tiny_towers
import torch
from file_server import Server
from typer.testing import CliRunner

import sensorium
from sensorium.cli import app
from sensorium.datasets import _clotho_download
from sensorium.search import evaluations

pytestmark = [pytest.mark.slow, pytest.mark.thorough]
FAST = ["evaluate.plots=false", "evaluate.resamples=20"]


def call(*words: object) -> list[dict]:
    told = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return [json.loads(line) for line in told.stdout.splitlines()]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Clotho's archives on a server of this machine; their checksums are made the published ones."""
    py7zr = pytest.importorskip("py7zr", reason="to run this, type: pip install 'sensorium[clotho]'")
    server, root = Server(), made_captions.clotho(tmp_path / "publisher")
    for split in made_captions.CLOTHO:
        packed = io.BytesIO()
        with py7zr.SevenZipFile(packed, "w") as archive:
            archive.writeall(root / "clotho_audio_files" / split, split)
        csv, sounds = _clotho_download.CAPTIONS[split], _clotho_download.SOUNDS[split]
        server.files |= {sounds.name: packed.getvalue(), csv.name: (root / "clotho_csv_files" / csv.name).read_bytes()}
        for table, one in ((_clotho_download.CAPTIONS, csv), (_clotho_download.SOUNDS, sounds)):
            digest = "md5:" + hashlib.md5(server.files[one.name]).hexdigest()
            monkeypatch.setitem(table, split, one._replace(checksum=digest))
    yield server
    server.server.shutdown()


@pytest.fixture
def encoders(tmp_path):
    """The real classes of the document's encoders, with a few thousand random weights."""
    passt, roberta = tiny_passt.save(tmp_path / "passt.pt"), tiny_towers.roberta(tmp_path / "roberta")
    return [f"left.encoder.model={passt}", f"right.encoder.model={roberta}"]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A Hub on this machine, which the client of this process asks."""
    with hub_here.turned(monkeypatch, tmp_path / "home") as fake:
        yield fake


def header_and_epochs(run: Path):
    header, *epochs = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return header, epochs


def test_every_target_has_a_command(published, encoders, fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = "data.root=CLOTHO_v2.1"
    # make prepare: the cached embeddings of a data set of the Hub, ready to train on
    split = "development"
    cache = made_captions.cache(tmp_path / "uploaded" / split, n=20)
    fake.put("someone/audio-text", {f"{split}/{p.name}": p.read_bytes() for p in cache.iterdir()}, "dataset")
    call("download", "clotho", "data.root=prepared", "data.hub=someone/audio-text")
    call("run", "clotho", "data.cache=prepared/embeddings", "train.epochs=1", *FAST, "--out", "runs/prepared")

    # make download-dataset
    folders = call("download", "clotho", root, f"data.mirror={published.url}")
    assert len(folders) == 3 and len(list(Path("CLOTHO_v2.1").rglob("*.wav"))) == sum(made_captions.CLOTHO.values())

    # make cache-embeddings: each clip once, and nothing again
    sides = call("embed", "clotho", root, *encoders)
    assert [(one["side"], one["items"], one["encoder"]) for one in sides] == [
        ("left", 19, "passt"),
        ("right", 95, "roberta"),
    ]
    before = {path: path.stat().st_mtime_ns for path in Path("runs/embeddings").rglob("*.npy")}
    assert call("embed", "clotho", root, *encoders) == sides and before
    assert before == {path: path.stat().st_mtime_ns for path in Path("runs/embeddings").rglob("*.npy")}

    # … --hf-dataset me/vectors --upload-every 100: both stores, and nothing twice
    call("embed", "clotho", root, *encoders, "--push-to", "me/vectors", "--push-every", "100", "--quiet")
    assert [path for path in fake.repositories if path[0] == "dataset" and path[1].startswith("me/vectors")]
    received = len(fake.received)
    call("embed", "clotho", root, *encoders, "--push-to", "me/vectors", "--push-every", "100", "--quiet")
    assert len(fake.received) == received == len(set(fake.received))

    # make train-projection TRAIN_ARGS="--epochs 5 --batch-size 512 --out-dim 128"
    keys = ["train.epochs=5", "train.batch=64", "left.head.dim=128", "right.head.dim=128", "objective.temperature=0.1"]
    call("run", "clotho", root, *encoders, *keys, *FAST)
    header, epochs = header_and_epochs(Path("runs/clotho"))
    assert len(epochs) == 5 and header["batch"] <= 64 and {"loss", "lr", "MRR"} <= set(epochs[0])

    # make eval-projection, again on the same run: a line in the log
    call("evaluate", "runs/clotho", *FAST)
    log = evaluations.read(Path("runs/clotho"))
    assert [line["command"] for line in log] == ["run", "evaluate"] and log[-1]["results"]["test"]

    # make train-projection TRAIN_ARGS="--input-type vision --vision-image-source generated --epochs 2"
    small = ["left.head.size=16", "left.head.width=2", "left.head.hidden=16"]
    call(
        "run",
        "clotho-vision",
        root,
        *encoders,
        *small,
        "train.epochs=2",
        "left.head.dim=16",
        "right.head.dim=16",
        *FAST,
    )

    # make cache-images
    call("images", "runs/clotho-vision", "--out", "pictures", "--quiet")
    assert len(list(Path("pictures").rglob("*.png"))) >= 19 + 95

    # make train-baseline and train-vision BASELINE_ARGS="--epochs 1 --batch-size 8 --max-lr 3e-6"
    short = ["train.epochs=1", "train.batch=8", "finetune.lr=3e-6", *FAST]
    call("finetune", "clotho", root, *encoders, *short, "--out", "runs/baseline")
    call("finetune", "clotho-vision", root, *encoders, *small, *short, "--out", "runs/vision")
    for name in ("baseline", "vision"):
        _, epochs = header_and_epochs(Path("runs") / name)
        assert len(epochs) == 1 and list((Path("runs") / name).glob("left-encoder*"))
        tuned = sensorium.open(f"runs/{name}")
        assert tuned.encoder("left").fingerprint != sensorium.open("runs/clotho").encoder("left").fingerprint
        assert len(tuned.search(text="a deep tone", k=3)) == 3
        call("export", "embed2image", tuned.folder, "--out", f"checkpoints/finetune_{name}.pt")
        saved = torch.load(f"checkpoints/finetune_{name}.pt", weights_only=True)
        assert saved["audio_encoder"] and saved["text_encoder"] and saved["config"]["anchor_head"]
        call(
            "import", "embed2image", f"checkpoints/finetune_{name}.pt", root, *encoders, *FAST, "--out", f"runs/{name}2"
        )

    # what comes out goes into the original and back, with the same recalls of the test clips
    for name in ("clotho", "clotho-vision"):
        heads, cache = tmp_path / f"{name}.pt", tmp_path / f"{name}-cache"
        call("export", "embed2image", f"runs/{name}", "--out", heads)
        call("export", "embed2image", f"runs/{name}", "--out", cache, "split=test")
        clips = [one.rpartition("#")[0] for one in json.loads((cache / "metadata.json").read_text())["ids"]]
        audio, text = original.project(heads, cache)
        index = sensorium.open(f"runs/{name}").index("left")
        rows = [index.table.ids.tolist().index(f"evaluation/{clip}") for clip in dict.fromkeys(clips)]
        np.testing.assert_allclose(index.vectors()[rows], audio[::5], atol=2e-6)
        call("import", "embed2image", heads, f"data.root={cache}", *FAST, "--out", f"runs/{name}-again")
        theirs = original.recalls_by_clip(audio, text, clips, ks=(1, 5))
        measured = {f"R@{row['measure'][4:]}_{'audio_to_text' if row['direction'] == 'left->right' else 'text_to_audio'}":
                    row["value"] for row in sensorium.open(f"runs/{name}-again").metrics["results"]}  # fmt: skip
        if name == "clotho":  # a few random convolutions tell no sounds apart: their scores are all but ties
            assert {key: measured[key] for key in theirs} == pytest.approx(theirs)
        raw = call("import", "embed2image", heads, root, *encoders, *FAST, "--out", f"runs/{name}-raw")[-1]
        assert raw["evaluated"] == 19
        again = sensorium.open(f"runs/{name}-raw").index("left")
        np.testing.assert_allclose(again.vectors(), index.vectors(), atol=2e-6)
