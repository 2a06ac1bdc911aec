"""Two servers on one run, one of them killed again and again: nothing that either acknowledged is lost."""

import pytest

pytest.importorskip("fastapi", reason="type: pip install 'sensorium[serve]'")

import small_run
from examples import times
from two_servers import lost_writes

pytestmark = pytest.mark.slow


def test_two_servers_killed_in_turn_lose_nothing(tmp_path):
    run = small_run.make(tmp_path / "run", "evaluate.plots=false")
    assert lost_writes(run.folder, kills=times(4), seed=1) == []
