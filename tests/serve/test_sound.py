"""A run of sounds that lie as files: searched by sound, shown by id, added to."""

import base64

import numpy as np
import pytest
from served import client_of, problem

import sensorium
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.audio.files import wav
from sensorium.search import live
from sensorium.search.journal import Change

pytestmark = pytest.mark.xdist_group("serve")
RATE = 16_000


def tone(pitch: float, seed: int) -> np.ndarray:
    """A made-up voice of 0.6 s."""
    t = np.arange(int(0.6 * RATE)) / RATE
    noise = 1e-3 * np.random.default_rng(seed).normal(size=len(t))
    return (0.1 * ((t * pitch) % 1 - 0.5) * (t > 0.1) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    pytest.importorskip("soundfile")
    root = tmp_path_factory.mktemp("voices")
    for actor in range(1, 6):
        (root / f"Actor_{actor:02d}").mkdir()
        for emotion in range(1, 9):
            name = f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            sound = wav(tone(90 * 1.2**emotion * (1 + 0.01 * actor), 100 * actor + emotion), RATE)
            (root / f"Actor_{actor:02d}" / name).write_bytes(sound)
    keys = [f"data.root={root}", "data.test_actors=[4]", "data.validation_actors=[5]", "data.copies=0", "train.batch=16",
            "train.epochs=2", "evaluate.leaks=off", "evaluate.resamples=50", "evaluate.plots=false"]  # fmt: skip
    return sensorium.run("ravdess-best", keys, out=root / "runs" / "voices", quiet=True)


def test_sounds_are_searched_shown_and_added(voices):
    id = str(voices.index("left").table.ids[0])
    with client_of([voices.folder]) as client:
        item = client.get("/items/" + id.replace("/", "%2F"), params={"side": "left"}).json()
        assert item["kind"] == "audio" and item["media"]
        answer = client.get(item["media"])
        assert answer.status_code == 200 and answer.headers["content-type"] == "audio/wav"
        assert client.get(item["media"], headers={"range": "bytes=0-3"}).content == b"RIFF"
        sound = base64.b64encode(answer.content).decode()
        by_sound = client.post("/search", json={"audio": sound, "k": 3}).json()
        by_id = client.post("/search", json={"id": id, "from": "left", "k": 3}).json()
        assert [h["id"] for h in by_sound["hits"]] == [h["id"] for h in by_id["hits"]]
        np.testing.assert_allclose(
            [h["score"] for h in by_sound["hits"]], [h["score"] for h in by_id["hits"]], atol=1e-4
        )

        new = base64.b64encode(wav(tone(333.0, 7), RATE)).decode()
        body = {"side": "left", "id": "mine", "audio": new}
        answer = client.post("/items", json=body)
        assert answer.status_code == 201, answer.text
        assert client.get("/media/mine").content == base64.b64decode(new)
        own = client.post("/search", json={"audio": new, "to": "left", "k": 1}).json()
        assert own["hits"][0]["id"] == "mine"
        vectors = client.post("/encode", json={"audio": [new, sound]}).json()["vectors"]
        assert len(vectors) == 2 and len(vectors[0]) == voices.head("left").dim
        problem(client.post("/search", json={"id": id, "from": "left", "space": "encoder"}), 422)
        problem(client.post("/search", json={"audio": base64.b64encode(b"RIFFjunk").decode()}), 422)
    assert sensorium.open(voices.folder).search(id="mine", side="left", to="left", k=1)[0]["id"] != "mine"


def test_one_vector_for_a_head_of_frames_is_refused(voices):
    run = sensorium.open(voices.folder)
    vector = np.ones(run.head("left").dim_in, np.float32)
    with pytest.raises(BadRecipe, match="head takes frames, not one vector; search with a file or an id"):
        run.search(vector=vector, side="left")
    change = Change("one", vector, {}, run.encoder_digest("left"))
    with pytest.raises(
        BadData, match=r"item 'one': its vector has shape \(\d+,\); the .* head takes frames \(t, \d+\)"
    ):
        live.commit(run, "left", [change])
    with client_of([voices.folder]) as client:
        for path, body in (("/search", {"from": "left"}), ("/items", {"side": "left", "id": "one"})):
            answer = client.post(path, json={**body, "vector": vector.tolist()})
            assert answer.status_code == 422 and "head takes frames, not one vector" in answer.json()["detail"]
