"""``POST /prompts`` of one line over 100,000 clips, against the plain way on the same machine.

    python -m bench.prompts [--clips 100000] [--seconds 8] [--quick]

Made unit vectors of 256 numbers with the columns that the data set clips measures; texts through all-MiniLM-L6-v2 and a
head (384, 512, 256) of random weights; a new sentence each request, k = 10, the gates of GPT-SoVITS. Both servers are
fresh processes with one thread for the model. Ours answers every gate's number with each clip, from an exact index.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from bench.load import load, request
from bench.serve import free_port, ours, serving

OUT, K, ENGINE = 256, 10, "gpt-sovits"
WORDS = [
    "never",
    "always",
    "again",
    "tonight",
    "please",
    "stop",
    "wonderful",
    "terrible",
    "house",
    "river",
    "morning",
    "sister",
    "brother",
    "money",
    "letter",
    "door",
    "laugh",
    "cry",
    "scream",
    "whisper",
    "wait",
    "hurry",
    "love",
    "hate",
    "fear",
    "trust",
    "broken",
    "lost",
    "found",
    "gone",
    "here",
    "why",
    "how",
]


def columns(n: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """The columns of n clips, most of which pass the gates."""
    texts = np.array([" ".join(random.choice(WORDS, 8)) for _ in range(n)])
    return {
        "speaker": np.array([f"speaker {i}" for i in random.integers(0, 50, n)]),
        "emotion": np.array(["angry", "calm", "happy", "sad"])[random.integers(0, 4, n)],
        "language": np.full(n, "en"),
        "transcript": texts,
        "duration": random.uniform(2.5, 10.5, n),
        "rms": random.uniform(0.02, 0.2, n),
        "clipping": np.where(random.random(n) < 0.03, 0.01, 0.0),
        "snr": random.uniform(12, 60, n),
        "silence_start": random.uniform(0, 0.6, n),
        "silence_end": random.uniform(0, 0.6, n),
        "speech_rate": random.uniform(6, 20, n),
        "steadiness": random.uniform(0, 1, n),
    }


def make(folder: Path, n: int) -> None:
    """Our run of made clips, and the same for the peer."""
    from sensorium import parts, pipeline
    from sensorium.encoders.minilm import Minilm
    from sensorium.fitting.fitted import Fitted
    from sensorium.pairs import Pairs
    from sensorium.types import Data, Embeddings, Items

    random = np.random.default_rng(0)
    turn = random.standard_normal((32, OUT), np.float32)
    z = random.standard_normal((n, 32), np.float32) @ turn + random.standard_normal((n, OUT), np.float32)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    meta, ids = columns(n, random), np.array([f"{row:06d}" for row in range(n)])
    encoder, texts = Minilm(), [" ".join(random.choice(WORDS, 8)) for _ in range(200)]
    x = np.asarray(encoder.encode(texts), np.float32)
    mlp = {"name": "mlp", "hidden": 512, "dim": OUT, "activation": "relu", "preprocess": "none"}
    left, right = parts.make("heads", mlp), parts.make("heads", "identity")
    for head, width in ((left, 384), (right, OUT)):
        head.build(width)
        head.eval()
    rows = np.arange(len(texts))
    pairs = Pairs.of(rows, rows, group=rows).split_by_group({"test": 0.2, "validation": 0.2}, 0)
    lines = Items(np.array([f"line {row}" for row in rows]), texts, "text", {"text": np.array(texts)}, name="text")
    data = Data(lines, Items(ids, z, "vector", meta, name="clip"), pairs, {})
    recipe = {"name": "voices", "data": "memory", "left": {"encoder": "minilm", "head": mlp},
              "right": {"head": "identity"}, "objective": "infonce", "index": "exact"}  # fmt: skip
    plan = pipeline.recipes.load(recipe)
    with pipeline.workplace(folder / "runs" / "voices", plan) as place:
        tables = (Embeddings(lines.ids, x, encoder.fingerprint, lines.meta), Embeddings(ids, z, {}, meta))
        pipeline.finish(plan, data, *tables, pairs, Fitted(left, right), place, stages=("index",))
    linear = [one for one in left.modules() if type(one).__name__ == "Linear"]
    weights = {f"{2 * at}.{name}": value.detach().numpy() for at, one in enumerate(linear)
               for name, value in one.named_parameters()}  # fmt: skip
    np.savez(folder / "head.npz", **weights)
    np.save(folder / "clips.npy", z)
    np.savez(folder / "columns.npz", **meta)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--quick", action="store_true", help="10,000 clips, 3 s")
    told = parser.parse_args()
    n, seconds = (10_000, 3) if told.quick else (told.clips, told.seconds)
    random = np.random.default_rng(1)
    texts = [" ".join(random.choice(WORDS, random.integers(5, 12))) for _ in range(4000)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder, n)
        print(f"{n:,} clips, one line a request, gates of {ENGINE}, k = {K}; {seconds:g} s each\n")
        print("| server | connections | requests/s | ratio | p50 ms | p95 ms | p99 ms | failed |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        plain = [sys.executable, "-m", "bench.plain_prompt_server", str(folder)]
        for connections in (1, 32):
            before = None
            for name in ("the plain way", "ours"):
                port = free_port()
                command = [*plain, str(port)] if before is None else ours(folder / "runs" / "voices", port)
                with serving(command, port, "/openapi.json" if before is None else "/readyz"):
                    bodies = [{"text": text, "k": K} if before is None else {"lines": [text], "for": ENGINE, "k": K}
                              for text in texts]  # fmt: skip
                    sent = [request("/prompts", json.dumps(body).encode(), port) for body in bodies]
                    found = load(port, sent, connections, seconds, warm=2.0)
                ratio = "" if before is None else f"{found['rate'] / before:.1f}×"
                before = found["rate"]
                print(f"| {name} | {connections} | {found['rate']:,.1f} | {ratio} | {found['p50']:.1f} | "
                      f"{found['p95']:.1f} | {found['p99']:.1f} | {found['failures']} of {found['n']} |",
                      flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
