"""The inputs that once went wrong, kept beside the checkout: every file of sound, pictures and folders, every script."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import processes
import pytest
from sound_files import written

from sensorium.encoders.hog import Hog
from sensorium.errors import BadData
from sensorium.modalities.audio import files as audio
from sensorium.modalities.image import files as image

CASES = Path(__file__).resolve().parents[1].parent / "shared" / "cases"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CASES.is_dir(), reason=f"the cases are not here: {CASES} is absent"),
]

#: Seconds of sound, or what is said; None: read in full or refused.
SOUND = {
    "noxing_44100.mp3": 1.228, "recordrtc_riff_plus8.wav": 2.0, "streamed_zero.wav": 2.0, "streamed_total0.flac": 2.0,
    "chained_opus.ogg": 4.0, "cut_opus.ogg": "truncated", "rate_change.aac": 4.0, "gsm610.wav": 4.0,
    "channels0.wav": "cannot be read as sound", "pcm.raw": "cannot be read as sound",
}  # fmt: skip
PICTURES = {
    "mpo.jpg": (64, 96, 3), "arrow.jpg": (96, 64, 3), "arrow_camera.jpg": (96, 64, 3),
    "exif_text_resolution.jpg": (96, 64, 3),
}  # fmt: skip


def uploaded(kind: str, content: bytes) -> tuple[object, int]:
    """What the server's decoder makes of an upload, or its message; and how many decoders ended."""
    from sensorium.serve import Settings
    from sensorium.serve.engine.decode import Decoders, Undecodable

    async def decode() -> tuple[object, int]:
        decoders = Decoders(Settings())
        try:
            return (await decoders.decode(kind, content)).value, decoders.killed
        except Undecodable as error:
            return str(error), decoders.killed
        finally:
            await decoders.close()

    return asyncio.run(decode())


def test_no_case_is_forgotten() -> None:
    for folder, known in (("sound", SOUND), ("pictures", PICTURES), ("vectors", SCRIPTS)):
        there = {path.name for path in (CASES / folder).glob("*.*")}
        scripts = {"README.md", "common.py", "page_faults.py", "turned_and_integers.py"}  # for a browser, and a run
        assert there - scripts == set(known), f"{folder}: a new case needs its right value here"


@pytest.mark.parametrize("name", SOUND)
def test_sound(name: str) -> None:
    path, expected = CASES / "sound" / name, SOUND[name]
    upload, killed = uploaded("audio", path.read_bytes())
    assert killed == 0
    if isinstance(expected, str):
        with pytest.raises(BadData, match=expected):
            audio.read(path)
        assert isinstance(upload, str) and expected in upload and "BytesIO" not in upload
        return
    samples, rate = audio.read_mono(path)
    assert len(samples) / rate == pytest.approx(expected, abs=0.15)
    np.testing.assert_array_equal(upload[0], samples)
    assert upload[1] == rate


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name: str) -> None:
    path = CASES / "pictures" / name
    pixels, (upload, killed) = image.read(path), uploaded("image", path.read_bytes())
    assert pixels.shape == PICTURES[name] and killed == 0
    np.testing.assert_array_equal(upload, pixels)


def test_a_turned_photograph_is_found_as_the_upright_one() -> None:
    upright, turned = Hog().encode([str(CASES / "pictures" / name) for name in ("arrow.jpg", "arrow_camera.jpg")])
    assert upright @ turned / np.linalg.norm(upright) / np.linalg.norm(turned) > 0.99


def run(command: list[str], folder: Path, *paths: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    here = os.pathsep.join([str(Path(__file__).parents[1] / "src"), *map(str, paths)])
    bin = str(Path(sys.executable).parent)
    environment = {**os.environ, "PYTHONPATH": here, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}
    # Through a shell: a process begins with the peak memory of the one that starts it, and this one's may be large.
    through = ["sh", "-c", '"$@"; exit $?', "sh", *command]
    return subprocess.run(through, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_folders(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(written("WAV"))
    done = run(["bash", str(CASES / "folders" / "folders.sh"), "a.wav"], tmp_path)
    assert done.returncode == 0, done.stderr
    parts = re.split(r"^(\d) ", done.stdout, flags=re.M)
    said = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert "2 clips [\"'happy'\", \"'angry'\"]" in said["1"]
    assert "3 clips" in said["2"] and ".Trash" not in said["2"] and "03-01-03-01-01-01-01" in said["2"]
    assert "2 clips [\"'fr\\\\xf6hlich'\"]" in said["3"] and "Error" not in said["3"] and "Bad" not in said["3"]
    assert "AudioWAV" in said["4"].splitlines()[2] and "'lfs_pointers': 1" in said["4"]
    assert "may not be entered" in done.stderr or "2 clips of 3" in said["5"]
    assert '"n_queries": 4' in said["6"], said["6"]


def lines(*patterns: str, absent: str = "Traceback") -> Callable[[str], None]:
    """A check that every pattern is in what a script wrote, and ``absent`` is not."""

    def check(output: str) -> None:
        for pattern in patterns:
            assert re.search(pattern, output, re.S), f"no {pattern!r} in:\n{output}"
        assert not re.search(absent, output), output

    return check


def refused(pattern: str) -> Callable[[str], None]:
    """A check that a script ended in a typed error of this message."""

    def check(output: str) -> None:
        assert re.search(rf"sensorium\.errors\.\w+: .*{pattern}", output), output

    return check


def faiss(output: str) -> None:
    rows = re.findall(
        r"^(\S+) +\{'nprobe': (\d+).*recall@10 ([\d.]+), filtered: ([\d.]+) .* gives (\d+) of", output, re.M
    )
    assert rows or "sensorium.errors" in output, output
    for factory, nprobe, recall, filled, total in rows:
        if int(nprobe) == 64:
            assert float(recall) > 0.98 and float(filled) == 1.0 and int(total) == 3000, (factory, output)


def damaged_pages(output: str) -> None:
    assert int(re.search(r"; (\d+) of them imported", output)[1]) == 0, output


def small_peak(output: str) -> None:
    assert float(re.search(r"peak GB ([\d.]+)", output)[1]) < 1, output


def finite_gradients(output: str) -> None:
    assert re.search(r"^0 of 20 batches", output, re.M), output
    assert abs(float(re.search(r"loss in float16: (\S+)", output)[1]) - 0.69) < 0.05, output


#: Each script and the check of what it prints.
SCRIPTS = {
    "F01-metadata-overwrites-id-rank-score.py": lines(r'"rank": 1, "id": "im', r'"rank": 2, "id": "im'),
    "F02-empty-id-phantom-hits.py": refused("1 of 40 ids are missing"),
    "F03-nan-metadata-breaks-search-output.py": lines(r"exit 0"),
    "F04-where-rounds-integers.py": lines(r'"id": "im1"'),
    "F06-faiss-refine-ignores-nprobe.py": faiss,
    "F07-big-endian-import-corrupt-store.py": lines(r"exit 0.*exit 0.*Repaired.*exit 0"),
    "F08-one-long-caption-takes-all-memory.py": small_peak,
    "F09-verdict-praises-constant-vectors.py": refused("left vectors of the training pairs are equal"),
    "F10-surrogate-fails-after-the-fit.py": lines("BadData a.npz:caption: row 0 holds half a surrogate pair"),
    "F11-safetensors-bf16.py": lines(r"exit [02]"),
    "F13-parquet-page-checksums-not-verified.py": damaged_pages,
    "F14-tracebacks.py": lines("one line", absent="TRACEBACK|Traceback"),
    "F15-disk-full-at-the-index.sh": lines("no room"),
    "F17-fp16-autocast-gradients.py": finite_gradients,
}
#: Names that the scripts know by an earlier word.
RENAMED = {
    "F06": [(").ids", ").rows"), ("hits != ''", "hits >= 0"), (".rows != ''", ".rows >= 0")],
    "F08": [("12 << 30", "4 << 30")],
    "F17": [("sensorium.positives", "sensorium.pairs.positives")],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_vectors(name: str, tmp_path: Path) -> None:
    check, path = SCRIPTS[name], CASES / "vectors" / name
    if name.endswith(".sh"):
        done = run(["bash", str(path), str(Path(sys.executable).parent)], tmp_path)
        if "mount" in done.stderr and "no room" not in done.stderr:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()[:100]}")
    else:
        text = path.read_text("utf-8")
        for before, after in RENAMED.get(name[:3], []):
            text = text.replace(before, after)
        (tmp_path / "script.py").write_text(text, "utf-8")
        code = f"import runpy, sys; sys.path[:0] = [{str(path.parent)!r}]; runpy.run_path('script.py', run_name='__main__')"
        done = processes.run(code=code, cwd=tmp_path, text=True, timeout=300)
    check(done.stdout + done.stderr)
