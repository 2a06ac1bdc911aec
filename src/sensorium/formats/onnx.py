"""Heads as ONNX graphs, their preprocessing inside: of vectors, of whole sequences, and of frames with a state."""

from __future__ import annotations

import io as buffers
import warnings
from pathlib import Path
from typing import Any

from sensorium import io
from sensorium.errors import BadRecipe, nearest, require
from sensorium.formats._format import FittedHead, Format

OPSET = 17
GRAPHS = ("vectors", "whole", "stream")


def write(head: FittedHead, out: Path, graph: str | None = None) -> list[Path]:
    """The head as a graph; beside it, as JSON, its inputs and outputs, the encoder and the labels.

    graph: as of :func:`export_onnx`; by default what the run's own items are: vectors, or frames, which are streamed
    where the head can.
    """
    module = head.module
    graph = graph or default_graph(module, head.frames)
    inputs = export_onnx(module, out, graph)
    states = module.start(1) if graph == "stream" else ()
    about = {
        "graph": graph, "inputs": inputs, "outputs": ["outputs", *[f"next_{i}" for i in range(len(states))]],
        "start": [{"shape": list(part.shape[1:]), "type": str(part.dtype).removeprefix("torch.")} for part in states],
        "dim_in": module.dim_in, "dim": module.dim, "encoder": head.encoder, "labels": head.labels,
    }  # fmt: skip
    beside = out.with_suffix(".json")
    io.write_json(beside, about)
    return [out, beside]


def default_graph(head: Any, frames: bool = False) -> str:
    """The graph of a head whose items are ``frames`` or vectors."""
    if head.streams:
        return "stream"
    return "whole" if head.takes_sequences and (frames or not head.takes_vectors) else "vectors"


def export_onnx(head: Any, path: Path | str, graph: str | None = None) -> list[str]:
    """Write a built head as an ONNX file; returns the names of its inputs. Its outputs equal the head's to 1e-5.

    graph, by default the first that the head has of stream, vectors and whole:

    - "vectors": ``vectors`` (n, d) float32 to ``outputs`` (n, c); n is free.
    - "whole": ``frames`` (b, t, d) float32, of which the first ``lengths`` (b,) int64 of each are real, to
      ``outputs`` (b, c); b and t are free.
    - "stream": ``frames`` (b, t, d) and ``state_0`` …, each with b first, to ``outputs`` (b, t, c) and ``next_0`` …,
      to be passed back with the next frames; b and t ≥ 1 are free, a new stream's states are zeros.

    Raises BadRecipe for a graph that the head does not have, MissingExtra without onnx.
    """
    import torch

    graph = graph or default_graph(head)
    has = {"vectors": head.takes_vectors, "whole": head.takes_sequences, "stream": head.streams}
    if not has.get(graph):
        usable = [name for name in GRAPHS if has[name]]
        known = f"it has {', '.join(usable)}" if graph in has else nearest(graph, usable)
        raise BadRecipe(f"the {type(head).__name__} head has no graph '{graph}'; {known}")
    require("onnx", "onnx")  # the exporter needs it
    state = head.start(2) if graph == "stream" else ()
    frames = torch.zeros(2, 3, head.dim_in)
    inputs, outputs, example, free = ["vectors"], ["outputs"], (frames[:, 0],), {"vectors": {0: "n"}}
    if graph == "whole":
        inputs, example = ["frames", "lengths"], (frames, torch.tensor([3, 2]))
        free = {"frames": {0: "b", 1: "t"}, "lengths": {0: "b"}, "outputs": {0: "b"}}
    if graph == "stream":
        inputs, example = ["frames", *[f"state_{i}" for i in range(len(state))]], (frames, *state)
        outputs = ["outputs", *[f"next_{i}" for i in range(len(state))]]
        free = {name: {0: "b"} for name in (*inputs, *outputs)}
        free["frames"] = free["outputs"] = {0: "b", 1: "t"}
    content = buffers.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer warns of shapes it fixes; the parity test covers them
        # The newer exporter fixes the number of frames of an LSTM.
        torch.onnx.export(_graph(head, graph), example, content, dynamo=False, input_names=inputs,
                          output_names=outputs, dynamic_axes={"outputs": {0: "n"}, **free},
                          opset_version=OPSET)  # fmt: skip
    io.write(Path(path), content.getvalue())
    return inputs


def _graph(head: Any, graph: str) -> Any:
    """The module that is traced: a head's forward, or its step with the state spread out, as the exporter wants it."""
    import torch

    class Vectors(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = head

        def forward(self, x: Any) -> Any:
            return self.head(x)

    class Step(Vectors):
        def forward(self, x: Any, *state: Any) -> Any:
            z, after = self.head.step(x, state)
            return (z, *after)

    class Whole(Vectors):
        def forward(self, x: Any, lengths: Any) -> Any:
            if not head.streams:
                return self.head(x, lengths)
            # A head that streams reads lengths as numbers of Python in its own forward, which no trace follows.
            state = tuple(part.expand(x.shape[0], *part.shape[1:]) for part in self.head.start(1))
            z, _ = self.head.step(x, state)
            last = (lengths - 1).clamp_min(0)[:, None, None].expand(-1, -1, z.shape[2])
            return z.gather(1, last)[:, 0]

    return {"vectors": Vectors, "stream": Step, "whole": Whole}[graph]().eval()


FORMAT = Format(
    holds="run",
    endings=(".onnx",),
    write=write,
    write_options={"graph": "vectors, whole (frames and their lengths) or stream (frames and a state)"},
)
