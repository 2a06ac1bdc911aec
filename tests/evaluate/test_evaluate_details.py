"""Details of an evaluation that only show in its numbers: which pairs leak, ends of a coverage, constant inputs."""

import numpy as np
import pytest

import sensorium
from sensorium.errors import BadRecipe
from sensorium.evaluate import conformal, leaks
from sensorium.evaluate.protocols import prompts
from sensorium.numerics.moments import Moments
from sensorium.objectives.procrustes import Procrustes
from sensorium.pairs import Pairs


def clips_and_captions(copied):
    """100 clips with 5 captions each; every fifth clip is tested. ``copied``: test captions that repeat a seen one."""
    clip = np.arange(100)
    text = np.array([f"caption {i}" for i in range(100)], dtype="U20")
    split = np.where(clip % 5 == 0, "test", "train")
    text[copied] = text[np.array(copied) + 1]
    return Pairs.of(clip, clip, split=split), text


@pytest.mark.parametrize("copied", [list(range(0, 100, 5)), [0, 5], [0, 5, 50, 95]])
def test_pairs_that_leak_by_near_duplicates_are_the_affected_ones(copied):
    pairs, text = clips_and_captions(copied)
    report = leaks.audit(pairs, right_content=text)
    assert report.leaky == (len(copied) > 1)
    assert report.affected.tolist() == copied, "those pairs and no others"
    left = leaks.without(pairs, report)
    assert sorted(left.left[left.split == "test"].tolist()) == sorted(set(range(0, 100, 5)) - set(copied))
    assert len(left) == 100 - len(copied) and report.to_dict()["affected_pairs"] == len(copied)


def test_leaks_on_both_sides_are_joined_not_crossed():
    pairs, text = clips_and_captions([0, 5, 10])
    pictures = np.arange(100)
    pictures[[10, 15, 20]] += 1
    report = leaks.audit(pairs, left_content=pictures, right_content=text)
    assert report.affected.tolist() == [0, 5, 10, 15, 20]


def test_a_leak_without_near_duplicates_touches_only_its_pairs():
    pairs, text = clips_and_captions([0])  # 5% of the test pairs, which inferred groups bear
    report = leaks.audit(pairs, right_content=text)
    assert not report.leaky and report.affected.tolist() == []


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 1.5, 90, float("nan")])
def test_a_coverage_lies_between_0_and_1(coverage):
    with pytest.raises(BadRecipe, match="coverage=.*; expected between 0 and 1"):
        conformal.quantile(np.arange(10.0), coverage)


@pytest.mark.parametrize("level", [-1e6, 1e6, 0.0])
def test_a_constant_input_of_any_size_does_not_change_the_ridge_baseline(level):
    random = np.random.default_rng(0)
    x, y = random.standard_normal((80, 5)), random.standard_normal((80, 4))
    noise = level + 1e-10 * abs(level) * random.standard_normal((80, 1))
    without = prompts.baselines(x[:60], y[:60], x[60:])["ridge"]
    beside = prompts.baselines(*(np.hstack([part, noise[rows]]) if part is not y else y[:60] for part, rows in
                                 ((x[:60], slice(60)), (y, None), (x[60:], slice(60, 80)))))["ridge"]  # fmt: skip
    np.testing.assert_allclose(beside, without, atol=1e-9)


def test_procrustes_with_scaling_needs_what_it_reads():
    random = np.random.default_rng(0)
    x, y = random.standard_normal((50, 4)), 3 * random.standard_normal((50, 4))
    for scaling in (False, True):
        objective = Procrustes(scaling=scaling)
        moments = Moments(4, 4, objective.needs)
        moments.update(x, y)
        weight = objective.solve(moments).left.weight
        lengths = np.linalg.svd(weight, compute_uv=False)
        assert np.allclose(lengths, lengths[0]) and np.isclose(lengths[0], 1) == (not scaling)


@pytest.mark.parametrize("scaling", ["true", "false"])
def test_procrustes_in_a_run(tmp_path, tiny_vectors, scaling):
    made = sensorium.run("arrays", [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", "data.split=split",
                                    "objective=procrustes", f"objective.scaling={scaling}", "evaluate.resamples=20",
                                    "evaluate.plots=false"], out=tmp_path / "run", quiet=True)  # fmt: skip
    assert made.metrics["results"] and "procrustes" not in made.metrics["baselines"]
