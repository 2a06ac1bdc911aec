"""The whole way: pictures of a real face, MediaPipe, recipe ``perception`` with the pipeline's own text model, a generated PNG."""

import base64
import csv
import io

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="type: pip install 'sensorium[generate]'")
pytest.importorskip("mediapipe", reason="type: pip install --no-deps mediapipe==0.10.21, see docs/faces.md")
pytest.importorskip("skimage", reason="type: pip install 'sensorium[image]'")

import tiny_diffusion
from PIL import Image
from served import client_of, problem
from skimage import data

import sensorium
from sensorium.errors import Mismatch
from sensorium.systems.perception.generation import Generator, Options, project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("generation")]
PLAIN = Options(style="none", prompt="a face", seed=3, steps=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Turned and shifted crops of one real face, said to be of six persons; a picture without a face."""
    folder, astronaut = tmp_path_factory.mktemp("pictures"), data.astronaut()
    with open(folder / "faces.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "prompt", "person"])
        for at in range(18):
            x, y = 120 + 3 * (at % 5), 4 * (at % 4)
            Image.fromarray(astronaut[y : y + 260, x : x + 220]).rotate(at % 7 - 3).save(folder / f"{at}.png")
            table.writerow([f"{at}.png", f"a person looking {('happy', 'calm', 'proud')[at % 3]}", f"p{at // 3}"])
    Image.fromarray(data.coffee()[:200, :200]).save(folder / "coffee.bmp")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_diffusion.save(tmp_path_factory.mktemp("diffusion") / "tiny")


@pytest.fixture(scope="module")
def run(folder, model):
    keys = [f"data.root={folder}", f"data.table={folder / 'faces.csv'}", f"right.encoder.model={model / 'text_encoder'}",
            "left.encoder.search=whole", "train.epochs=3", "evaluate.plots=false", "evaluate.baselines=[]"]  # fmt: skip
    return sensorium.run("perception", keys, out=folder / "runs" / "perception", quiet=True)


def test_a_picture_of_a_face_becomes_a_picture(run, folder, model, tmp_path):
    generator = Generator(model)
    generator.check(run)  # by the vectors of the text encoder that the run was made with
    z = project(run, folder / "0.png")
    landmarks = run.encoder("left").encode([np.asarray(Image.open(folder / "0.png"))])[0]
    np.testing.assert_allclose(project(run, landmarks), z, atol=1e-5)
    made = generator.picture(z, PLAIN)
    made.save(tmp_path / "made.png")
    assert Image.open(tmp_path / "made.png").size == (32, 32)
    assert not np.array_equal(made.pixels, generator.picture(None, PLAIN).pixels)


def test_another_text_model_of_the_same_width_is_refused(run, tmp_path):
    other = Generator(tiny_diffusion.save(tmp_path / "other", seed=1))
    with pytest.raises(
        Mismatch, match=r"the text encoder of perception and the text model of other give other vectors"
    ):
        other.check(run)


def test_a_server_takes_pictures_and_landmarks(run, folder, model, tmp_path):
    def sent(name):
        return base64.b64encode((folder / name).read_bytes()).decode()

    options = {"style": "none", "prompt": "a face", "seed": 3, "steps": 3}
    with client_of([run.folder], generate=str(model)) as client:
        found = []
        numbers = run.encoder("left").encode([np.asarray(Image.open(folder / "0.png"))])[0]
        for face in ({"face": sent("0.png")}, {"vector": numbers.tolist()}, {"vector": numbers[:1434].tolist()}):
            job = client.post("/generations", json={**options, **face})
            assert job.status_code == 202, job.text
            assert "event: done" in client.get(job.json()["events"]).text
            found.append(np.asarray(Image.open(io.BytesIO(client.get(f"/generations/{job.json()['id']}.png").content))))
        assert np.array_equal(found[0], found[1]) and found[2].shape == (32, 32, 3)
        assert "face" in problem(client.post("/generations", json={**options, "face": sent("coffee.bmp")}), 422)
        assert client.get("/healthz").status_code == 200

    own = Generator(model).picture(project(run, folder / "0.png"), PLAIN).pixels
    assert np.array_equal(found[0], own)
