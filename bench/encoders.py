"""Texts and pictures embedded a second: the whole embed step against the bare model and naive loops, in one run.

    python bench/encoders.py
    python bench/encoders.py --quick    with fewer items and turns

Texts: MiniLM over Unicode names and made sentences. Pictures: a CLIP of the shape of ViT-B/32 with random weights,
JPEG files of 320 x 240 pixels made here. Every contestant computes in float32, on the same device, in turns, and the
best of the turns counts, as a busy machine makes any of them slower. Ratios are also given by processor time, which
depends less on what else the machine does.

bare: the network alone, over inputs that are prepared and padded before the clock starts.
sensorium: ``store.embed``: read, prepare, compute, check, write durably, read back.
auto: the same with ``precision="auto"``, which takes bfloat16 where the hardware has it and the vectors allow it.
naive: prepare and compute batches of 32 in the order given, padded to the longest; one: one item at a time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sensorium import parts, store
from sensorium.types import Items, as_ids

BATCH = 32


def texts(n: int) -> list[str]:
    """Texts of 2 to 60 words, most of them short, as captions are."""
    rng = np.random.default_rng(0)
    words = [
        "a",
        "the",
        "small",
        "old",
        "red",
        "dog",
        "cat",
        "house",
        "street",
        "man",
        "woman",
        "child",
        "runs",
        "sits",
        "looks",
        "over",
        "under",
        "near",
        "rain",
        "sea",
    ]
    return [" ".join(rng.choice(words, max(2, min(60, int(rng.lognormal(2.5, 0.5)))))) for _ in range(n)]


def pictures(n: int, folder: Path) -> list[str]:
    """JPEG files of smooth colours with noise."""
    from PIL import Image

    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(
            (320, 240), Image.Resampling.BICUBIC
        )
        noisy = np.clip(np.asarray(small) + rng.normal(0, 6, (240, 320, 3)), 0, 255).astype(np.uint8)
        made.append(str(folder / f"{i}.jpg"))
        Image.fromarray(noisy).save(made[-1], quality=90)
    return made


def random_clip(folder: Path) -> Path:
    """A CLIPModel with the picture tower of ViT-B/32, random weights, and a tiny tower of texts, which is not used."""
    import transformers

    torch.manual_seed(0)
    made = transformers.CLIPConfig(text_config={"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2})
    transformers.CLIPModel(made).eval().save_pretrained(folder)
    transformers.CLIPImageProcessorPil().save_pretrained(folder)
    return folder


def turns(contestants: dict[str, Callable[[], object]], count: int) -> dict[str, tuple[float, float]]:
    """Seconds, and seconds of processor time, of each contestant's best turns, in another order each time."""
    best = dict.fromkeys(contestants, (float("inf"), float("inf")))
    names = list(contestants)
    for turn in range(count):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begun, worked = time.perf_counter(), time.process_time()
            contestants[name]()
            passed, work = time.perf_counter() - begun, time.process_time() - worked
            best[name] = min(best[name][0], passed), min(best[name][1], work)
    return best


def embedded(items: Items, encoder: object, folder: Path) -> Callable[[], object]:
    """The whole embed step, into a store of its own each time."""
    at = iter(range(1000))
    return lambda: store.embed(items, encoder, folder / f"store-{next(at)}", progress=False)


def rates(found: dict[str, tuple[float, float]], n: int, one: int) -> dict[str, tuple[float, float]]:
    """Items a second, and a second of processor time."""
    return {name: tuple((one if name == "one" else n) / x for x in both) for name, both in found.items()}


def of_texts(n: int, folder: Path, count: int) -> dict[str, tuple[float, float]]:
    encoder = parts.make("encoders", {"name": "minilm", "precision": "fp32"})
    model, values = encoder.network, texts(n)
    values = list(dict.fromkeys(values))
    tokens = model.tokenizer(values, truncation=True, max_length=256)
    order = np.argsort([len(ids) for ids in tokens["input_ids"]])
    ready = []
    for rows in np.array_split(order, max(1, len(order) // 64)):
        ready.append(model.tokenizer.pad({k: [v[i] for i in rows] for k, v in tokens.items()}, return_tensors="pt"))

    def run(batch: object) -> object:
        with torch.inference_mode():
            return model(dict(batch))["sentence_embedding"]

    def loop(size: int, most: int) -> None:
        for at in range(0, most, size):
            run(
                model.tokenizer(
                    values[at : at + size], padding=True, truncation=True, max_length=256, return_tensors="pt"
                )
            )

    one = min(len(values), 100)
    found = turns({
        "bare": lambda: [run(batch) for batch in ready],
        "sensorium": embedded(Items(as_ids([str(i) for i in range(len(values))]), values, "text"), encoder, folder),
        "naive": lambda: loop(BATCH, len(values)),
        "one": lambda: loop(1, one),
    }, count)  # fmt: skip
    return rates(found, len(values), one)


def of_pictures(n: int, folder: Path, count: int) -> dict[str, tuple[float, float]]:
    import transformers
    from PIL import Image

    where = random_clip(folder / "clip")
    encoder = parts.make("encoders", {"name": "clip", "model": str(where), "tower": "image", "precision": "fp32"})
    settled = parts.make("encoders", {"name": "clip", "model": str(where), "tower": "image"})  # precision "auto"
    print(json.dumps({"precision that auto takes": settled.computes}))
    values, model = pictures(n, folder), encoder.network
    processor = transformers.CLIPImageProcessorPil.from_pretrained(where)

    def prepared(paths: list[str]) -> torch.Tensor:
        return processor([Image.open(path).convert("RGB") for path in paths], return_tensors="pt").pixel_values

    def run(pixels: torch.Tensor) -> object:
        with torch.inference_mode():
            return model.get_image_features(pixel_values=pixels).pooler_output

    def loop(size: int, most: int) -> None:
        for at in range(0, most, size):
            run(prepared(values[at : at + size]))

    ready = [prepared(values[at : at + BATCH]) for at in range(0, n, BATCH)]
    one = min(n, 32)
    found = turns({
        "bare": lambda: [run(pixels) for pixels in ready],
        "sensorium": embedded(Items(as_ids([str(i) for i in range(n)]), values, "image"), encoder, folder),
        "auto": embedded(Items(as_ids([str(i) for i in range(n)]), values, "image"), settled, folder / "auto"),
        "naive": lambda: loop(BATCH, n),
        "one": lambda: loop(1, one),
    }, count)  # fmt: skip
    return rates(found, n, one)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--quick", action="store_true")
    asked.add_argument("--only", choices=["texts", "pictures"])
    given = asked.parse_args()
    count, quick = (2, True) if given.quick else (6, False)
    for what, measure, few, many in (("texts", of_texts, 256, 2048), ("pictures", of_pictures, 64, 512)):
        n = few if quick else many
        if given.only not in (None, what):
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = measure(n, Path(folder), count)
        record = {"what": what, "threads": torch.get_num_threads(), "n": n}
        record |= {f"{name}_per_s": round(wall, 1) for name, (wall, _) in found.items()}
        for name, (wall, work) in found.items():
            if name != "sensorium":
                record[f"sensorium/{name}"] = round(found["sensorium"][0] / wall, 2)
                record[f"sensorium/{name} by processor time"] = round(found["sensorium"][1] / work, 2)
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
