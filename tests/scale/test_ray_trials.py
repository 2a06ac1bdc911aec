"""Trials on Ray: the leaderboard of a sweep in this process, and what a trial raises."""

import functools

import pytest
from sweep_trial import SPACE, bowl

from sensorium.errors import BadRecipe, SensoriumError
from sensorium.experiments.sweep import search
from sensorium.scale.trials import run_on_ray


def swept(ray, out, space=SPACE, workers=2, **options):
    runner = functools.partial(run_on_ray, ray=ray, workers=workers)
    return search(bowl, space, out, {"of": "a bowl"}, trials=8, pruner="none", runner=runner, **options)


def test_one_worker_on_ray_tries_what_this_process_would(ray, tmp_path):
    rows = swept(ray, tmp_path / "ray", sampler="random", workers=1)
    here = search(bowl, SPACE, tmp_path / "here", {"of": "a bowl"}, trials=8, pruner="none", sampler="random")
    of = [[(row["value"], row["x"], row["y"]) for row in found] for found in (rows, here)]
    assert of[0] == of[1] and (tmp_path / "ray" / "study.db").is_file()


def test_a_killed_trial_is_tried_again_by_another_worker(ray, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "kill_after").write_text("7")
    rows = swept(ray, tmp_path / "s")
    assert [row["state"] for row in rows] == ["complete"] * 8 and not (tmp_path / "s" / "kill_after").exists()


def test_what_ends_every_trial_ends_the_sweep(ray, tmp_path):
    from sensorium.experiments.search_space import Choice

    for y, kind, words in (("full", SensoriumError, "no room"), ("bug", RuntimeError, "a bug of ours")):
        with pytest.raises(kind, match=words):
            swept(ray, tmp_path / y, {**SPACE, "y": Choice((y,))})
    with pytest.raises(BadRecipe, match="none of 8 trials was completed; the first failed: y is impossible"):
        swept(ray, tmp_path / "none", {**SPACE, "y": Choice(("impossible",))})
