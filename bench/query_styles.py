"""The same captions asked in other styles: MiniLM and real captions to vectors of pictures, closed form.

    python -m bench.query_styles [--data ../shared/data] [--captions 5] [--out runs/styles]

Left: the vectors of pictures of flickr8k-pairs-4000.npz; right: the first captions of each through all-MiniLM-L6-v2.
Ridge, its strength chosen on validation; the test captions are then asked as tags, questions, commands, paraphrases and
"without ...", see docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from bench.finetune import load

import sensorium
from sensorium.evaluate import query_styles
from sensorium.evaluate.card import markdown

RECIPE = {
    "name": "styles",
    "data": {"name": "memory"},
    "left": {"head": {"name": "linear", "dim": 256}},
    "right": {"encoder": {"name": "minilm", "precision": "auto"}, "head": {"name": "linear", "dim": 256}},
    "objective": "ridge",
    "evaluate": {"protocol": "captions", "styles": True, "correction": "none", "baselines": [], "plots": False},
}


def main() -> None:
    """Print the table of styles and what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--captions", type=int, default=5, help="of each picture")
    parser.add_argument("--out", type=Path, default=Path("runs/styles"))
    args = parser.parse_args()
    begun = time.perf_counter()
    run = sensorium.run(RECIPE, data=load(args.data, args.captions), out=args.out / "run", quiet=True,
                        stores=args.out / "embeddings")  # fmt: skip
    print(markdown(query_styles.table(run.metrics["styles"])))
    print(query_styles.statement(run.metrics["styles"]))
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
