"""A run in other tools' files and back, through the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from made_corpus import RATE, actors
from original_lstm import EmotionLSTM
from typer.testing import CliRunner

import sensorium
from sensorium.cli import app
from sensorium.encoders.mfcc import Mfcc
from sensorium.errors import BadData, BadRecipe
from sensorium.stream.lite import Lite


def call(*words: object) -> list[dict]:
    told = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return [json.loads(line) for line in told.output.splitlines()]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return actors(tmp_path_factory.mktemp("exchange") / "data", range(1, 5))


@pytest.fixture(scope="module")
def run(root: Path) -> object:
    return sensorium.run("ravdess", [
        f"data.root={root}", "data.test_actors=[4]", "data.validation_actors=[3]", "data.copies=0",
        "left.head.hidden=24", "train.epochs=3", "evaluate.plots=false", "left.encoder.n_mels=30",
    ], out=root.parent / "run", quiet=True)  # fmt: skip


def test_onnx_numpy_and_the_run_agree(run: object, root: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnx onnxruntime")
    (told,) = call("export", "onnx", run.folder, "--out", tmp_path / "head.onnx")
    assert told["files"] == [str(tmp_path / "head.onnx"), str(tmp_path / "head.json")]
    about = json.loads((tmp_path / "head.json").read_text())
    assert about["labels"][3] == "sad" and about["encoder"]["name"] == "mfcc"
    samples = soundfile.read(next(root.rglob("*-04.wav")), dtype="float32")[0]
    frames = run.encoder("left").encode([(samples, RATE)])[0]
    session = onnxruntime.InferenceSession(str(tmp_path / "head.onnx"), providers=["CPUExecutionProvider"])
    state = [np.zeros((1, *start["shape"]), start["type"]) for start in about["start"]]
    graph = []
    for part in np.array_split(frames, 5):
        z, *state = session.run(None, dict(zip(about["inputs"], [part[None], *state], strict=True)))
        graph.append(z[0])
    lite = Lite(run.folder / "left")
    numpy = np.concatenate(
        [*[lite.push(chunk) for chunk in np.array_split(samples, 7)], lite.push(samples[:0], last=True)]
    )
    np.testing.assert_allclose(np.concatenate(graph), numpy, atol=1e-5)
    np.testing.assert_allclose(numpy[-1], run.encode("left", [(samples, RATE)])[0], atol=1e-5)


def test_model_pth_out_and_in_again(run: object, root: Path, tmp_path: Path) -> None:
    """The document's file made of a run, and a run made of that file: the same answers, the same numbers."""
    call("export", "model.pth", run.folder, "--out", tmp_path / "model.pth")
    keys = [
        f"data.root={root}",
        "data.test_actors=[4]",
        "data.validation_actors=[3]",
        "data.copies=0",
        "evaluate.plots=false",
    ]
    (told,) = call("import", "model.pth", tmp_path / "model.pth", "--out", tmp_path / "back", *keys)
    assert told["judged"] and told["head"] == "lstm" and told["normalization"] == "none"  # the file says so
    back = sensorium.open(tmp_path / "back")
    assert [r["value"] for r in back.metrics["results"]] == [r["value"] for r in run.metrics["results"]]
    clip = next(root.rglob("*-04.wav"))
    one, other = (r.search(audio=str(clip), k=8) for r in (run, back))
    assert [h["id"] for h in one] == [h["id"] for h in other]
    np.testing.assert_allclose([h["score"] for h in one], [h["score"] for h in other], atol=1e-4)
    again = call("evaluate", tmp_path / "back", "evaluate.resamples=50", "--json", "--quiet")
    assert {row["measure"] for row in again} >= {"UA", "WA", "macro-F1"}


def test_a_model_pth_without_recordings_still_searches_and_streams(root: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = EmotionLSTM().eval()
    torch.save({"epoch": 9, "model_state_dict": theirs.state_dict()}, tmp_path / "best_model.pth")
    (told,) = call(
        "import", "model.pth", tmp_path / "best_model.pth", "--out", tmp_path / "theirs", "data.root=/nowhere",
        "normalization=none",
    )  # fmt: skip
    assert told == {"kind": "model.pth", "run": str(tmp_path / "theirs"), "head": "lstm", "normalization": "none",
                    "judged": False}  # fmt: skip
    made = sensorium.open(tmp_path / "theirs")
    clip = next(root.rglob("*-02.wav"))
    frames = made.encoder("left").encode([str(clip)])[0]
    with torch.inference_mode():
        wanted = theirs(torch.from_numpy(frames)[None])[0].numpy()
    hits = {hit["id"]: hit["score"] for hit in made.search(audio=str(clip), k=8)}
    np.testing.assert_allclose([hits[name] for name in sensorium.datasets._recordings.EMOTIONS], wanted, atol=1e-5)
    listener = made.stream(RATE)
    samples = soundfile.read(clip, dtype="float32")[0]
    for chunk in np.array_split(samples, 9):
        listener.push(chunk)
    final = listener.end()
    chance = np.exp(wanted - wanted.max())
    said = final["probabilities"]
    said = [said[name] for name in sensorium.datasets._recordings.EMOTIONS] if isinstance(said, dict) else said
    np.testing.assert_allclose(said, chance / chance.sum(), atol=1e-5)
    assert CliRunner().invoke(app, ["show", str(tmp_path / "theirs"), "--table"]).exit_code == 0
    with pytest.raises(BadData, match="no folder /nowhere"):
        CliRunner().invoke(app, ["evaluate", str(tmp_path / "theirs")], catch_exceptions=False)


@pytest.mark.slow
def test_how_a_stranger_normalised_the_frames_must_be_said(root: Path, tmp_path: Path) -> None:
    """A plain torch script's file: the answers are those of the script for each way of normalising its frames."""
    torch.manual_seed(4)
    theirs = EmotionLSTM().eval()
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    clips = sorted(root.rglob("*.wav"))
    raw = Mfcc().encode([str(clip) for clip in clips])
    train = np.concatenate([x for x, clip in zip(raw, clips, strict=True) if clip.stem.endswith(("-01", "-02"))])
    own = {"mean": [float(k) for k in range(13)], "std": [1.0 + k for k in range(13)]}
    (tmp_path / "own.json").write_text(json.dumps(own))
    np.savez(tmp_path / "own.npz", **own)

    def script(frames: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return theirs(torch.from_numpy(frames.astype(np.float32))[None])[0].numpy()

    def fixed(mean: object, std: object) -> list[np.ndarray]:
        return [script((x - np.array(mean)) / np.array(std)) for x in raw]

    wanted = {
        "none": [script(x) for x in raw],
        "utterance": [script((x - x.mean(0)) / np.sqrt(x.var(0) + 1.0)) for x in raw],  # 1 dB² as in the encoder
        "training": fixed(train.mean(0), train.std(0)),
        str(tmp_path / "own.json"): fixed(**own),
        str(tmp_path / "own.npz"): fixed(**own),
    }
    keys = [f"data.root={root}", "data.test_actors=[4]", "data.validation_actors=[3]", "evaluate.plots=false",
            "left.encoder.silence=keep"]  # fmt: skip
    for word, logits in wanted.items():
        out = tmp_path / "runs" / Path(word).name
        (told,) = call("import", "model.pth", tmp_path / "model.pth", "--out", out, f"normalization={word}", *keys)
        assert told["normalization"] == word and told["judged"]
        made = sensorium.open(out)
        np.testing.assert_allclose(made.encode("left", [str(clip) for clip in clips]), logits, atol=1e-4, err_msg=word)
        assert made.metrics["fit"]["normalization"] == word and "augmented" not in made.metrics["dataset"]
    np.testing.assert_allclose(Lite(tmp_path / "runs/own.json/left").push(soundfile.read(clips[0], dtype="float32")[0])[-1],
                               wanted[str(tmp_path / "own.json")][0], atol=1e-4)  # fmt: skip


def test_what_does_not_fit_says_what_to_type(run: object, tmp_path: Path) -> None:
    torch.save(EmotionLSTM().state_dict(), tmp_path / "model.pth")
    plain = ("import", "model.pth", tmp_path / "model.pth", "--out", tmp_path / "y", "normalization=none")
    for words, said in (
        (("export", "tflite", run.folder, "--out", tmp_path / "x"), "cannot export 'tflite'; known: .*model.pth, npy, .*onnx"),
        (("export", "onnx", run.folder, "--out", tmp_path / "x.onnx", "side=top"), "expected left or right"),
        (("export", "onnx", run.folder, "--out", tmp_path / "x.onnx", "opset=1"), "takes no 'opset'"),
        (("import", "keras", tmp_path / "model.pth", "--out", tmp_path / "y"), "cannot import 'keras'; known: .*model.pth, npy"),
        (("import", "model.pth", tmp_path / "model.pth", "--out", tmp_path / "y"),
         "does not say how its frames were normalised.*type normalization=WORD.*utterance: each recording"),
        (("import", "model.pth", tmp_path / "model.pth", "--out", tmp_path / "y", "normalization=uterance"),
         "did you mean 'utterance'"),
        (("import", "model.pth", tmp_path / "model.pth", "--out", tmp_path / "y", "normalization=training",
          "data.root=/nowhere"), "takes mean and deviation of recordings; type: data.root=FOLDER"),
        ((*plain, "left.encoder.n_mfcc=20"),
         "takes frames of 13 numbers, left.encoder gives 20; type: left.encoder.n_mfcc=13"),
        ((*plain, 'right.encoder.classes=["a", "b"]'),
         "has 8 classes, the recipe names 2"),
    ):  # fmt: skip
        with pytest.raises(BadRecipe, match=said):
            CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    for content, said in (
        ("[1]", "holds no input statistics"),
        ('{"mean": [0], "std": [0]}', "std above 0"),
        ('{"mean": [0, 1], "std": [1, 1]}', "statistics of 2 numbers do not fit the head, which takes frames of 13"),
    ):
        (tmp_path / "own.json").write_text(content)
        with pytest.raises(BadData, match=said):
            CliRunner().invoke(
                app, [*map(str, plain[:-1]), f"normalization={tmp_path / 'own.json'}"], catch_exceptions=False
            )
    assert not (tmp_path / "y").exists() and not (tmp_path / "x.onnx").exists()
