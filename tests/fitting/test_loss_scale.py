"""float16 products: the loss scale adapts, steps that overflow are left out, and an interrupted fit goes on bit for bit."""

import numpy as np
import pytest
import torch
from training_data import assert_same_bits, train

from sensorium.fitting.precision import LossScale


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_it_is_halved_after_an_overflow_and_doubled_after_many_good_steps():
    scale = LossScale.of(torch.float16)
    start = scale.factor
    gradient = torch.tensor([1.0, float("inf")])
    assert not scale.unscale(gradient, True) and scale.factor == start / 2
    for _ in range(2000):
        gradient = torch.tensor([scale.factor, 2 * scale.factor])
        assert scale.unscale(gradient, True)
        assert gradient.tolist() == [1, 2]
    assert scale.factor == start
    low = LossScale(1.0)
    assert low.unscale(torch.tensor([float("nan")]), True), (
        "no smaller factor helps: the loop says that it is not finite"
    )


def test_other_precisions_have_none():
    scale, gradient = LossScale.of(torch.bfloat16), torch.tensor([3.0])
    assert scale.factor == 1 and scale.unscale(gradient, False) and gradient.item() == 3


def test_a_fit_in_float16_is_near_float32_and_resumes_bit_for_bit(tmp_path):
    whole, plain = train(tmp_path / "a", precision="fp16"), train(None, precision="fp32", mixup=0.0)
    assert whole.notes["precision"] == "float16" and whole.notes["by"] == "autograd"
    np.testing.assert_allclose([e["loss"] for e in whole.history], [e["loss"] for e in plain.history], rtol=0.1)

    def stop(event):
        if event["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", precision="fp16", on_epoch=stop)
    assert_same_bits(train(tmp_path / "b", precision="fp16"), whole)
