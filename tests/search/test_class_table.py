"""Probabilities of a class table: one number in Python, over HTTP and of a live stream; they add up to 1."""

import io

import numpy as np
import pytest
import soundfile
from live_server import RATE, speak
from served import client_of


@pytest.fixture(scope="module")
def clip():
    """A made recording, and what a live stream says of it in the end."""
    return speak(1.0, 4)


def by_class(hits):
    return {hit["id"]: hit["probability"] for hit in hits}


def test_a_search_says_of_a_clip_what_a_stream_says(voice_run, clip):
    labels = voice_run.classifier.labels
    stream = voice_run.stream(RATE)
    stream.push(clip)
    live = dict(zip(labels, stream.end()["probabilities"], strict=True))
    found = by_class(voice_run.search(audio=(clip, RATE), k=8))
    assert found == pytest.approx(live, abs=2e-4)
    assert sum(found.values()) == pytest.approx(1, abs=1e-3)
    # fewer results, filters and groups leave the probability of a class as it is: it is among all classes
    first = voice_run.search(audio=(clip, RATE), k=2)
    assert by_class(first) == {one: found[one] for one in by_class(first)}
    only = voice_run.search(audio=(clip, RATE), where={"id": ["sad", "angry"]})
    assert by_class(only) == {one: found[one] for one in ("sad", "angry")}
    grouped = voice_run.search(audio=(clip, RATE), collapse="text")
    assert by_class(grouped) == {one: found[one] for one in by_class(grouped)}


def test_a_class_finds_clips_each_with_the_probability_that_the_clip_has_of_it(voice_run):
    for hit in voice_run.search(id="angry", side="right", k=3):
        assert by_class(voice_run.search(id=hit["id"], side="left", to="right", k=8))["angry"] == hit["probability"]
    assert "probability" not in voice_run.search(id="angry", side="right", to="right", k=1)[0]


def test_over_http_one_input_or_a_list_of_one_and_none_for_a_sum(voice_run, clip):
    file = io.BytesIO()
    soundfile.write(file, clip, RATE, format="WAV", subtype="FLOAT")
    with client_of([voice_run.folder]) as client:
        (run,) = client.get("/runs").json()["runs"]
        assert run["classes"] == "right" and run["headline"]["chance"] == pytest.approx(1 / 8)
        answer = client.post("/search", files={"audio": file.getvalue(), "query": b'{"k": 8}'}).json()["hits"]
        assert by_class(answer) == pytest.approx(by_class(voice_run.search(audio=(clip, RATE), k=8)), abs=2e-4)
        item = {"id": voice_run.index("left").table.ids[0].item(), "from": "left"}
        plain = client.post("/search", json={**item, "to": "right", "k": 8}).json()["hits"]
        listed = client.post("/search", json={"queries": [item], "to": "right", "k": 8}).json()["hits"]
        assert [hit["probability"] for hit in listed] == [hit["probability"] for hit in plain]
        assert np.isclose(sum(by_class(plain).values()), 1, atol=1e-3)
        two = client.post("/search", json={"queries": [item, {"id": "sad", "from": "right"}], "to": "right"}).json()
        assert all("probability" not in hit for hit in two["hits"])
