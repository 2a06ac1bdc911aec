"""Odd and broken recordings end to end: each is a defined result or a typed error, by run, search and embed."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_corpus import RATE, actors
from typer.testing import CliRunner

import sensorium
from sensorium.cli import app
from sensorium.errors import BadData, SensoriumError

KEYS = ["data.test_actors=[4]", "data.validation_actors=[3]", "data.copies=0", "train.batch=16", "train.epochs=2",
        "left.head.hidden=16", "left.head.members=1", "evaluate.plots=false", "evaluate.resamples=50"]  # fmt: skip


def tone(rate: int, seconds: float = 0.4) -> np.ndarray:
    return (0.2 * np.sin(2 * np.pi * 220 * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def odd(folder: Path) -> dict[str, Path]:
    """Recordings that nobody would make on purpose, and that are recordings all the same."""
    folder.mkdir(exist_ok=True)
    made = {
        "one sample": (np.float32([0.3]), RATE, "wav", "PCM_16"),
        "8 bits": (tone(RATE), RATE, "wav", "PCM_U8"),
        "24 bits": (tone(44_100), 44_100, "wav", "PCM_24"),
        "32 channels": (np.repeat(tone(RATE)[:, None], 32, 1), RATE, "wav", "FLOAT"),
        "384 kHz": (tone(384_000), 384_000, "wav", "PCM_16"),
        "1 kHz": (tone(1000), 1000, "wav", "PCM_16"),
        "silence": (np.zeros(RATE // 2, np.float32), RATE, "wav", "PCM_16"),
        "clipped": (np.sign(tone(RATE)), RATE, "wav", "FLOAT"),
        "beyond full scale": (1e3 * tone(RATE), RATE, "wav", "FLOAT"),
    }
    paths = {}
    for name, (samples, rate, suffix, subtype) in made.items():
        paths[name] = folder / f"{name.replace(' ', '-')}.{suffix}"
        soundfile.write(paths[name], samples, rate, subtype=subtype)
    paths["mislabelled"] = folder / "flac-called.wav"
    soundfile.write(paths["mislabelled"], tone(RATE), RATE, format="FLAC")
    return paths


def broken(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no recordings, and what must be said of each."""
    folder.mkdir(exist_ok=True)
    whole = folder / "whole.wav"
    soundfile.write(whole, tone(RATE), RATE)
    flac = folder / "whole.flac"
    soundfile.write(flac, tone(RATE), RATE)
    nan = folder / "nan.wav"
    soundfile.write(nan, np.where(np.arange(800) == 5, np.nan, 0.1).astype(np.float32), RATE, subtype="FLOAT")
    no_samples = folder / "header-only.wav"
    soundfile.write(no_samples, np.zeros(0, np.float32), RATE)
    contents = {
        "empty.wav": (b"", "is empty"),
        "cut.wav": (whole.read_bytes()[:700], "is truncated"),
        "cut.flac": (flac.read_bytes()[: flac.stat().st_size // 2], "cut.flac"),
        "text.wav": (b"I am a text", "cannot be read as sound"),
        "picture.mp3": (b"\x89PNG\r\n\x1a\n" + bytes(200), "cannot be read as sound|no sound in it"),
        "header.wav": (whole.read_bytes()[:20], "header.wav"),
        "zeros.ogg": (bytes(5000), "cannot be read as sound"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    told = {name: (folder / name, said) for name, (_, said) in contents.items()}
    told |= {"NaN": (nan, "1 of 800 samples are NaN"), "no samples": (no_samples, "holds no samples")}
    for name, samples, rate, subtype, said in (
        ("overflowing", np.full(RATE, 3e38), RATE, "FLOAT", "samples up to 3e.38 times full scale"),
        ("overflowing-stereo", np.full((RATE, 2), 3e38), RATE, "FLOAT", "samples up to 3e.38 times full scale"),
        ("integers-as-floats", np.round(32767 * tone(RATE)), RATE, "FLOAT", "divide them by 32768"),
        ("beyond-float32", np.full(RATE, 1e300), RATE, "DOUBLE", "samples are NaN or infinite"),
        ("one-hertz", np.zeros(5), 1, "PCM_16", "sampling rate 1 Hz"),
    ):
        soundfile.write(folder / f"{name}.wav", samples, rate, subtype=subtype)
        told[name] = (folder / f"{name}.wav", said)
    return told


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("bad")
    return sensorium.run("ravdess-best", [f"data.root={actors(folder / 'data', range(1, 5))}", *KEYS],
                         out=folder / "run", quiet=True)  # fmt: skip


def test_odd_recordings_have_an_answer(run: object, tmp_path: Path) -> None:
    for name, path in odd(tmp_path).items():
        hits = run.search(audio=str(path), k=8)
        assert sorted(h["id"] for h in hits) == sorted(sensorium.datasets._recordings.EMOTIONS), name
        assert np.isfinite([h["score"] for h in hits]).all(), name
    paths = odd(tmp_path)
    named = tmp_path / "called.flac"
    named.write_bytes(paths["mislabelled"].read_bytes())
    for one, other in ((paths["32 channels"], (tone(RATE), RATE)), (paths["mislabelled"], str(named))):
        first, second = ({h["id"]: h["score"] for h in run.search(audio=x, k=8)} for x in (str(one), other))
        np.testing.assert_allclose([first[k] for k in first], [second[k] for k in first], atol=1e-4)


def test_broken_recordings_are_named(run: object, tmp_path: Path) -> None:
    for name, (path, said) in broken(tmp_path).items():
        with pytest.raises(BadData, match=said) as caught:
            run.search(audio=str(path))
        assert path.name in str(caught.value), name
        done = CliRunner().invoke(app, ["search", str(run.folder), "--audio", str(path)])
        assert isinstance(done.exception, SensoriumError), name  # one line and exit 2, no traceback


def test_many_with_some_broken(tmp_path: Path) -> None:
    """Odd ones are taken along; broken ones stop the run with their number, or are left out and told."""
    root = actors(tmp_path / "data", range(1, 5))
    slots = iter(sorted(root.glob("Actor_0[12]/*")))
    for path in odd(tmp_path / "odd").values():
        next(slots).write_bytes(path.read_bytes())
    wrong = broken(tmp_path / "broken")
    for path, _ in wrong.values():
        next(slots).write_bytes(path.read_bytes())
    for verb in ("run", "embed"):
        with pytest.raises(BadData, match=f"{len(wrong)} of 64 recordings cannot be read, such as: .*data.bad=skip"):
            CliRunner().invoke(app, [verb, "ravdess-best", f"data.root={root}", *KEYS, "--out", str(tmp_path / "run"), "-q"],
                               catch_exceptions=False)  # fmt: skip
    assert not (tmp_path / "run").exists()
    words = [
        "embed",
        "ravdess-best",
        f"data.root={root}",
        *KEYS,
        "data.bad=skip",
        "--out",
        str(tmp_path / "run"),
        "--json",
        "-q",
    ]
    told = [json.loads(line) for line in CliRunner().invoke(app, words, catch_exceptions=False).stdout.splitlines()]
    assert told[0]["items"] == 64 - len(wrong)
    made = sensorium.run(
        "ravdess-best", [f"data.root={root}", *KEYS, "data.bad=skip"], out=tmp_path / "run", quiet=True
    )
    assert made.metrics["dataset"]["unreadable"] == len(wrong)
    assert "unreadable" in CliRunner().invoke(app, ["show", str(made.folder), "--table"]).stdout


def test_when_none_can_be_read(tmp_path: Path) -> None:
    root = actors(tmp_path / "data", range(1, 4))
    for path in root.rglob("*.wav"):
        path.write_bytes(b"")
    with pytest.raises(BadData, match="none of 48 recordings can be read, such as: .* is empty"):
        sensorium.run("ravdess-best", [f"data.root={root}", "data.bad=skip"], out=tmp_path / "run", quiet=True)
    own = tmp_path / "own"
    for emotion in ("glad", "cross"):
        for speaker in ("ann", "bob", "cid"):
            (own / emotion / speaker).mkdir(parents=True)
            soundfile.write(own / emotion / speaker / "1.wav", tone(RATE), RATE)
    (own / "glad" / "ann" / "2.wav").write_bytes(b"no sound")
    for extra, count in (([], 7), (["data.bad=skip"], 6)):
        plan = sensorium.recipe.load("ravdess", ["data=speech_folder", f"data.root={own}", *extra])
        assert len(plan.part("data").load().left) == count
    with pytest.raises(SensoriumError, match="expected stop or skip"):
        sensorium.recipe.load("ravdess", ["data=emodb", f"data.root={own}", "data.bad=no"]).part("data")
