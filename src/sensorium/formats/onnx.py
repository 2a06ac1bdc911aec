"""Frame heads as ONNX graphs with their state as inputs and outputs."""

from __future__ import annotations

import io as buffers
import warnings
from pathlib import Path
from typing import Any

from sensorium import io
from sensorium.errors import BadRecipe, require
from sensorium.formats._format import FittedHead, Format

OPSET = 17


def write(head: FittedHead, out: Path) -> list[Path]:
    """The head's step as a graph; beside it, as JSON, its inputs and outputs, the encoder and the labels."""
    module = head.module
    inputs = export_onnx(module, out)
    about = {
        "inputs": inputs, "outputs": ["outputs", *[f"next_{i}" for i in range(len(inputs) - 1)]],
        "start": [{"shape": list(part.shape[1:]), "type": str(part.dtype).removeprefix("torch.")}
                  for part in module.start(1)],
        "dim_in": module.dim_in, "dim": module.dim, "encoder": head.encoder, "labels": head.labels,
    }  # fmt: skip
    beside = out.with_suffix(".json")
    io.write_json(beside, about)
    return [out, beside]


def export_onnx(head: Any, path: Path | str) -> list[str]:
    """Write a built frame head's ``step`` as an ONNX file; returns the names of its inputs.

    Inputs: ``frames`` (b, t, d) float32 and ``state_0`` …, each with b first; outputs: ``outputs``
    (b, t, c) and ``next_0`` …, to be passed back with the next frames. b and t ≥ 1 are free. A new
    stream's states are zeros. Raises BadRecipe for a head that does not step, MissingExtra without onnx.
    """
    import torch

    if not head.streams:
        raise BadRecipe(
            f"the {type(head).__name__} head takes no frames; ONNX export with state is for lstm and its like"
        )
    require("onnx", "onnx")  # the exporter needs it

    class Step(torch.nn.Module):
        """A head's step with its state spread out, as the exporter wants it."""

        def __init__(self) -> None:
            super().__init__()
            self.head = head

        def forward(self, frames: Any, *state: Any) -> tuple[Any, ...]:
            z, after = self.head.step(frames, state)
            return (z, *after)

    state = head.start(2)
    inputs = ["frames", *[f"state_{i}" for i in range(len(state))]]
    outputs = ["outputs", *[f"next_{i}" for i in range(len(state))]]
    free = {name: {0: "b", 1: "t"} if name in ("frames", "outputs") else {0: "b"} for name in (*inputs, *outputs)}
    content = buffers.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer warns of shapes it fixes; the parity test covers them
        # The newer exporter fixes the number of frames of an LSTM.
        torch.onnx.export(Step().eval(), (torch.zeros(2, 3, head.dim_in), *state), content, dynamo=False,
                          input_names=inputs, output_names=outputs, dynamic_axes=free, opset_version=OPSET)  # fmt: skip
    io.write(Path(path), content.getvalue())
    return inputs


FORMAT = Format(holds="run", endings=(".onnx",), write=write)
