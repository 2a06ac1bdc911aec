"""How far a run in the making is: what is recorded, and the time left."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium import progress
from sensorium.search import making


def test_stages_and_counts_are_recorded_though_nothing_is_printed(tmp_path, capsys):
    with making.recorded(tmp_path):
        with progress.timed("embed", {}, True), progress.bar("embedding", 10, show=False) as advance:
            assert making.read(tmp_path) == {"stage": "embed", "began": pytest.approx(making.time.time(), abs=60)}
            assert progress._WATCHER.get().state["done"] == 0
            advance(4)
            making_now = progress._WATCHER.get().state
            assert (making_now["what"], making_now["done"], making_now["total"]) == ("embedding", 4, 10)
        with progress.timed("fit", {}, True):
            progress.count("steps", 7, 20)
            assert progress._WATCHER.get().state["first"] == 7, "what was done before it went on gives no rate"
            progress.count("steps", 2, 20)  # the next member's fit
            assert progress._WATCHER.get().state["first"] == 2
            assert json.loads((tmp_path / making.FILE).read_text())["stage"] == "fit"
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr() == ("", "")
    assert progress._WATCHER.get() is None
    progress.count("steps", 1, 2)  # nobody looks on


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path):
    with making.recorded(tmp_path / "gone"), progress.timed("fit", {}, True):
        progress.count("steps", 1, 2)
    assert making.read(tmp_path / "gone") == {}


@given(first=st.integers(0, 50), done=st.integers(1, 50), more=st.integers(0, 50), spent=st.floats(0.1, 1e5))
def test_the_time_left_is_by_the_rate_since_counting_began(first, done, more, spent):
    state = {"first": first, "done": first + done, "total": first + done + more, "since": 1000.0, "now": 1000.0 + spent}
    assert making.seconds_left(state, state["now"]) == pytest.approx(more * (state["now"] - 1000.0) / done)
    assert making.seconds_left(state, state["now"] + 1e9) == 0


@pytest.mark.parametrize(
    "state", [{}, {"stage": "load"}, {"done": "3"}, {"done": 1, "first": 1, "total": 2, "now": 5, "since": 1}]
)
def test_without_a_rate_there_is_no_time_left(state):
    assert making.seconds_left(state) is None
