"""A run of one head that learned from an ensemble: the same numbers in torch, as an ONNX graph and in NumPy alone."""

import numpy as np
import pytest

import sensorium
from sensorium import exchange, heads
from sensorium.stream.lite import Head


def test_a_distilled_head_is_exported_and_gives_equal_outputs(tmp_path, tiny_vectors) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install onnx onnxruntime")
    keys = [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", "data.split=split", "objective=infonce",
            "train.epochs=2", "train.members=2", "train.distill=true", "evaluate.resamples=20", "evaluate.plots=false",
            "evaluate.baselines=[]", "evaluate.leaks=off"]  # fmt: skip
    run = sensorium.run("arrays", keys, out=tmp_path / "run", quiet=True)
    assert (run.folder / "ensemble").is_dir()
    with np.load(tiny_vectors) as file:
        inputs = {"left": file["image"], "right": file["text"].reshape(-1, 16)}
    for side, x in inputs.items():
        exchange.export("onnx", run.folder, tmp_path / f"{side}.onnx", [f"side={side}"])
        session = onnxruntime.InferenceSession(str(tmp_path / f"{side}.onnx"), providers=["CPUExecutionProvider"])
        wanted = heads.apply(heads.load(run.folder / side), x)
        found = session.run(None, {"vectors": x.astype(np.float32)})[0]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        np.testing.assert_allclose(Head(run.folder / side)(x.astype(np.float32)), wanted, atol=1e-5)
        assert len(np.unique(wanted.round(3), axis=0)) > len(x) // 2
