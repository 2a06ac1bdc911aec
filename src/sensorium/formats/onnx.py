"""Heads as ONNX graphs, their preprocessing inside; heads of frames with their state as inputs and outputs."""

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
    """The head as a graph; beside it, as JSON, its inputs and outputs, the encoder and the labels."""
    module = head.module
    inputs = export_onnx(module, out)
    states = module.start(1) if module.streams else ()
    about = {
        "inputs": inputs, "outputs": ["outputs", *[f"next_{i}" for i in range(len(states))]],
        "start": [{"shape": list(part.shape[1:]), "type": str(part.dtype).removeprefix("torch.")} for part in states],
        "dim_in": module.dim_in, "dim": module.dim, "encoder": head.encoder, "labels": head.labels,
    }  # fmt: skip
    beside = out.with_suffix(".json")
    io.write_json(beside, about)
    return [out, beside]


def export_onnx(head: Any, path: Path | str) -> list[str]:
    """Write a built head as an ONNX file; returns the names of its inputs.

    A head of vectors: ``vectors`` (n, d) float32 to ``outputs`` (n, c); n is free. A head of frames that
    streams: ``frames`` (b, t, d) float32 and ``state_0`` …, each with b first, to ``outputs`` (b, t, c) and
    ``next_0`` …, to be passed back with the next frames; b and t ≥ 1 are free, a new stream's states are
    zeros. Raises BadRecipe for a head of whole sequences, MissingExtra without onnx.
    """
    import torch

    if head.takes_sequences and not head.streams:
        raise BadRecipe(
            f"the {type(head).__name__} head takes whole sequences and does not stream, which ONNX export has no graph "
            "for; choose lstm, gru, tcn or statistics"
        )
    require("onnx", "onnx")  # the exporter needs it
    state = head.start(2) if head.streams else ()
    inputs = ["frames" if head.streams else "vectors", *[f"state_{i}" for i in range(len(state))]]
    outputs = ["outputs", *[f"next_{i}" for i in range(len(state))]]
    rows = {0: "b", 1: "t"} if head.streams else {0: "n"}
    free = {name: rows if name in (inputs[0], outputs[0]) else {0: "b"} for name in (*inputs, *outputs)}
    example = torch.zeros(2, 3, head.dim_in) if head.streams else torch.zeros(2, head.dim_in)
    content = buffers.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer warns of shapes it fixes; the parity test covers them
        # The newer exporter fixes the number of frames of an LSTM.
        torch.onnx.export(_graph(head), (example, *state), content, dynamo=False, input_names=inputs,
                          output_names=outputs, dynamic_axes=free, opset_version=OPSET)  # fmt: skip
    io.write(Path(path), content.getvalue())
    return inputs


def _graph(head: Any) -> Any:
    """The module that is traced: a head's forward, or its step with the state spread out, as the exporter wants it."""
    import torch

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = head

        def forward(self, x: Any, *state: Any) -> Any:
            if not head.streams:
                return self.head(x)
            z, after = self.head.step(x, state)
            return (z, *after)

    return Step().eval()


FORMAT = Format(holds="run", endings=(".onnx",), write=write)
