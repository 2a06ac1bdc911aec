"""A small run of recipe ``outfits``: 60 drawn garments of three categories; ids with leading zeros."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CATEGORIES = ("Bags", "Shoes", "Topwear")


def make(folder: Path):
    """The run in ``folder``/runs/shop, opened; its pictures lie in ``folder``/images."""
    from PIL import Image, ImageDraw

    import sensorium

    (folder / "images").mkdir()
    random, rows, pairs = np.random.default_rng(0), ["id,path,category,name"], ["a_id,b_id,label"]
    for i in range(60):
        picture = Image.new("RGB", (64, 64), "white")
        left, top, size = *random.integers(4, 20, 2), 10 + 5 * (i % 6)
        shape = (ImageDraw.Draw(picture).rectangle, ImageDraw.Draw(picture).ellipse)[i % 2]
        shape([left, top, left + size, top + size], fill=("navy", "brown", "teal")[i % 3])
        picture.save(folder / "images" / f"{i:03d}.png")
        rows.append(f"{i:03d},images/{i:03d}.png,{CATEGORIES[i % 3]},{CATEGORIES[i % 3][:-1]} {i}")
    for group in range(0, 60, 6):
        pairs += [f"{i:03d},{j:03d},1" for i in range(group, group + 6) for j in range(group, i)]
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    (folder / "pairs.csv").write_text("\n".join(pairs) + "\n")
    keys = [f"data.root={folder}", "left.encoder=hog", "train.epochs=1", "evaluate.baselines=[]", "data.test=0.3",
            "evaluate.plots=false", "evaluate.resamples=20", "left.head=mlp", "objective=infonce"]  # fmt: skip
    return sensorium.run("outfits", keys, out=folder / "runs" / "shop", quiet=True)
