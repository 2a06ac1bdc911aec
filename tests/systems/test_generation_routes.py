"""``/generations`` over HTTP with the real pipeline in its process: a face's numbers in, events, a PNG out; what is refused."""

import base64
import io
import json
import os
import time

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="type: pip install 'sensorium[serve]'")

import face_runs
import made_faces
from served import client_of, problem

pytestmark = pytest.mark.xdist_group("generation")
PLAIN = {"style": "none", "prompt": "a face", "seed": 3, "steps": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return face_runs.make(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("diffusers", reason="type: pip install 'sensorium[generate]'")
    import tiny_diffusion

    return tiny_diffusion.save(tmp_path_factory.mktemp("diffusion") / "tiny")


@pytest.fixture(scope="module")
def client(run, model):
    """A server whose model is loaded once for all tests."""
    with client_of([run.folder], generate=str(model)) as one:
        yield one


def vector(label="happy"):
    return made_faces.vector(label, 5).tolist()


def ask(client, **more):
    answer = client.post("/generations", json={**({} if "id" in more else {"vector": vector()}), **PLAIN, **more})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/generations/{answer.json()['id']}"
    return answer.json()


def events(client, job, after=None):
    """(id, kind, data) of every event up to the end."""
    headers = {} if after is None else {"last-event-id": str(after)}
    answer = client.get(job["events"], headers=headers)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "id" in lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


def test_without_a_model_it_says_what_to_type(run):
    with client_of([run.folder]) as one:
        about = one.get("/generations").json()
        assert not about["ready"] and "sensorium serve RUN --generate stable-diffusion-v1-5/" in about["detail"]
        assert [style["name"] for style in about["styles"]] == ["abstract", "realistic", "sci-fi", "none"]
        assert "type: sensorium serve RUN --generate stable-diffusion-v1-5/" in problem(
            one.post("/generations", json={"vector": vector()}), 409
        )
        assert "none was asked for" in problem(one.get("/generations/x"), 404)


def test_a_model_that_cannot_be_used_is_told(run, tmp_path):
    pytest.importorskip("diffusers", reason="type: pip install 'sensorium[generate]'")
    with client_of([run.folder], generate=str(tmp_path)) as one:
        about = one.get("/generations").json()["detail"]
        assert "no folder with a model_index.json" in about and str(tmp_path) not in about
        told = problem(one.post("/generations", json={"vector": vector()}), 422)
        assert "model_index.json" in told and str(tmp_path) not in told


def test_a_run_of_another_width_is_refused_with_both_numbers(run, tmp_path):
    pytest.importorskip("diffusers", reason="type: pip install 'sensorium[generate]'")
    import tiny_diffusion

    with client_of([run.folder], generate=str(tiny_diffusion.save(tmp_path / "wide", width=48))) as one:
        told = "the face head of faces gives 32 numbers, the text model of wide has 48"
        about = one.get("/generations").json()
        assert not about["ready"] and told in about["detail"] and about["width"] == 48
        assert told in problem(one.post("/generations", json={"vector": vector()}), 409)


def test_a_face_becomes_a_picture_with_events(client, run, model):
    from PIL import Image

    about = client.get("/generations").json()
    assert about["ready"] and about["run"] == "faces" and about["model"] == "tiny" and about["width"] == 32
    assert about["licence"] == "creativeml-openrail-m" and about["safety_checker"] is False
    job = ask(client)
    assert job["state"] == "queued" and job["position"] == 1 and job["steps"] == 3 and job["picture"] is None
    told = events(client, job)
    kinds = [kind for _, kind, _ in told]
    assert kinds[:2] == ["queued", "started"] and kinds[-1] == "done" and "step" in kinds
    steps = [data for _, kind, data in told if kind == "step"]
    assert steps[-1]["step"] == steps[-1]["steps"] == 3
    preview = base64.b64decode(steps[-1]["preview"].removeprefix("data:image/webp;base64,"))
    assert Image.open(io.BytesIO(preview)).size == (8, 8)
    end = told[-1][2]
    assert end["settings"]["seed"] == 3 and end["settings"]["prompt"] == "a face"
    answer = client.get(end["picture"])
    assert answer.headers["content-type"] == "image/png" and answer.headers["cache-control"] == "no-store"
    assert Image.open(io.BytesIO(answer.content)).size == (32, 32)
    state = client.get(f"/generations/{job['id']}").json()
    assert state["state"] == "done" and state["picture"] == end["picture"] and state["settings"] == end["settings"]
    assert events(client, job, told[-2][0]) == told[-1:]
    assert events(client, job, "no number")[-1] == told[-1]
    assert client.delete(f"/generations/{job['id']}").status_code == 204
    problem(client.get(end["picture"]), 404)


@pytest.mark.slow  # it loads the model once more
@pytest.mark.thorough
def test_the_picture_is_that_of_the_python_interface(client, run, model):
    from PIL import Image

    from sensorium.systems.perception.generation import Generator, Options, project

    job = ask(client)
    made = client.get(events(client, job)[-1][2]["picture"]).content
    expected = Generator(model).picture(project(run, np.array(vector(), np.float32)), Options(**PLAIN)).pixels
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(made))), expected)


def test_an_item_of_the_run_gives_the_picture_of_its_vector(client):
    first = ask(client, id="face 3")
    assert events(client, first)[-1][1] == "done"
    second = ask(client, vector=made_faces.vector("happy", 3, 3).tolist())
    assert events(client, second)[-1][1] == "done"
    pictures = [client.get(f"/generations/{job['id']}.png").content for job in (first, second)]
    assert pictures[0] == pictures[1]


def test_a_running_picture_is_cancelled_between_two_steps(client):
    job = ask(client, steps=60)
    began = time.monotonic()
    while client.get(f"/generations/{job['id']}").json()["step"] == 0:
        time.sleep(0.02)
        assert time.monotonic() < began + 60
    assert "it is running" in problem(client.get(f"/generations/{job['id']}.png"), 409)
    assert client.delete(f"/generations/{job['id']}").status_code == 204
    told = events(client, job)
    assert told[-1][1] == "cancelled" and client.get(f"/generations/{job['id']}").json()["step"] < 60
    assert events(client, ask(client))[-1][1] == "done"


@pytest.mark.parametrize(
    ("wrong", "status", "told"),
    [
        ({"vector": [1.0] * 5}, 422, "vector of 5 numbers; the face side takes 1441"),
        ({"vector": [0.0] * 1441}, 422, "only zeros"),
        ({"vector": [1e300] * 1441}, 422, "beyond float32"),
        ({"id": "nobody"}, 404, "no item 'nobody'"),
        ({"vector": vector(), "id": "face 3"}, 400, "exactly one of vector, face and id; got vector, id"),
        ({}, 400, "got none"),
        ({"face": "aGVsbG8="}, 400, "takes vectors, not face"),
        ({"vector": vector(), "strength": 2}, 422, "strength"),
        ({"vector": vector(), "style": "scifi"}, 422, "sci-fi"),
        ({"vector": vector(), "steps": 61}, 422, "61 steps of 32 x 32 pixels; at most 60 steps"),
        ({"vector": vector(), "width": 1024, "height": 1024}, 422, "at most 60 steps and 589824 pixels"),
        ({"vector": vector(), "width": 100}, 422, "multiple of 8"),
        ({"vector": vector(), "run": "nobody"}, 404, "nobody"),
        ({"vector": vector(), "steps_": 3}, 422, "steps_"),
    ],
)
def test_requests_that_are_refused(client, wrong, status, told):
    assert told in problem(client.post("/generations", json=wrong), status)


def test_unknown_pictures(client):
    for answer in (client.get("/generations/x"), client.get("/generations/x.png"), client.get("/generations/x/events"),
                   client.delete("/generations/x")):  # fmt: skip
        assert "no picture of this id" in problem(answer, 404)


def test_a_process_that_is_killed_fails_its_picture_and_the_next_one_is_made(client):
    """As the system does when memory runs out."""
    import psutil

    job = ask(client, steps=60)
    while client.get(f"/generations/{job['id']}").json()["step"] == 0:
        time.sleep(0.05)
    (worker,) = [
        one for one in psutil.Process(os.getpid()).children() if "generation_worker" in " ".join(one.cmdline())
    ]
    worker.kill()
    _, kind, data = events(client, job)[-1]
    assert kind == "failed" and data["problem"]["status"] == 503
    assert "the process that makes pictures ended (signal 9); if memory ran out" in data["problem"]["detail"]
    assert client.get(f"/generations/{job['id']}").json()["problem"] == data["problem"]
    assert client.get("/healthz").status_code == 200


@pytest.mark.slow  # its model is started again and again
@pytest.mark.thorough
def test_a_step_that_does_not_end_is_killed_and_the_server_leaves_no_process(run, model, monkeypatch):
    import psutil

    def workers():
        children = psutil.Process(os.getpid()).children()
        return [one for one in children if str(model) in " ".join(one.cmdline())]

    before = workers()
    monkeypatch.setenv("SENSORIUM_GENERATION_PATIENCE", "0.001")
    with client_of([run.folder], generate=str(model)) as one:
        job = ask(one, steps=60)
        while one.get(f"/generations/{job['id']}").json()["step"] == 0:
            time.sleep(0.05)
        (first,) = set(workers()) - set(before)
        one.delete(f"/generations/{job['id']}")
        assert events(one, job)[-1][1] == "cancelled"
        assert events(one, ask(one))[-1][1] == "done"
        assert not first.is_running() and len(workers()) == len(before) + 1
        assert 'sensorium_generations_total{state="cancelled"} 1.0' in one.get("/metrics").text
    assert workers() == before


@pytest.mark.slow  # a model of its own is loaded
@pytest.mark.thorough
def test_weights_that_do_not_load_fail_the_picture_and_tell_no_path(run, tmp_path):
    import tiny_diffusion

    folder = tiny_diffusion.save(tmp_path / "damaged")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with client_of([run.folder], generate=str(folder)) as one:
        data = events(one, ask(one))[-1][2]
        assert data["problem"]["status"] == 503 and "the picture model does not load" in data["problem"]["detail"]
        assert "damaged" not in data["problem"]["detail"] and one.get("/healthz").status_code == 200


def test_the_document_describes_the_routes(client):
    document = client.get("/openapi.json").json()
    post = document["paths"]["/generations"]["post"]
    assert set(post["responses"]) >= {"202", "400", "404", "409", "413", "415", "422", "501", "503"}
    assert "text/event-stream" in document["paths"]["/generations/{id}/events"]["get"]["responses"]["200"]["content"]
    assert "image/png" in document["paths"]["/generations/{id}.png"]["get"]["responses"]["200"]["content"]
    request = document["components"]["schemas"]["GenerationRequest"]["properties"]
    assert set(request["style"]["enum"]) == {"abstract", "realistic", "sci-fi", "none"} and "from" in request
