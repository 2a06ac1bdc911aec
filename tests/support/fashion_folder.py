"""A small shop's folder: garments in the colours of a few styles, and outfits of one style, in the layout of outfits."""

import csv
import json
from pathlib import Path

import numpy as np

from sensorium.modalities.image.files import png

KINDS = {"tops": "shirt", "bottoms": "trousers", "shoes": "sneaker"}
STYLES = ("red", "green", "blue", "grey")
SHARES = {"train": 6, "valid": 2, "test": 4}  # outfits of each style


def write(path: Path, header: list[str], rows: list[list], **options) -> None:
    """A CSV file."""
    with open(path, "w", newline="", encoding=options.pop("encoding", "utf-8")) as file:
        csv.writer(file, **options).writerows([header, *rows])


def make(folder: Path) -> Path:
    """144 garments of 3 categories and 4 styles, 48 outfits of 3 in train, valid and test, without shared items.

    Beside each outfit a made-up one of 3 styles, and a question with 3 wrong answers of other styles.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    random, rows, looks = np.random.default_rng(0), [], {split: [] for split in SHARES}
    number = 0
    for at, style in enumerate(STYLES):
        for split, count in SHARES.items():
            for _ in range(count):
                look = []
                for kind, word in KINDS.items():
                    id = f"{number:04d}"
                    number += 1
                    picture = random.integers(0, 60, (12, 12, 3), np.uint8)
                    if style == "grey":
                        picture += 90
                    else:
                        picture[..., at] += 150
                    picture[: 3 + 3 * list(KINDS).index(kind)] //= 2
                    (folder / "images" / f"{id}.png").write_bytes(png(picture))
                    rows.append([id, f"images/{id}.png", kind, f"{style} {word}", split])
                    look.append(id)
                looks[split].append((style, look))
    write(folder / "metadata.csv", ["id", "path", "semantic_category", "title", "split"], rows)
    for split, made in looks.items():
        (folder / f"outfits_{split}.json").write_text(
            json.dumps([{"items": [{"id": i} for i in look]} for _, look in made])
        )
        lines, pairs, questions = [], [], []
        for at, (style, look) in enumerate(made):
            others = [other for name, other in made if name != style]
            first, second, third = (others[int(i)] for i in random.choice(len(others), 3, replace=False))
            lines += [f"1 {' '.join(look)}", f"0 {look[0]} {first[1]} {second[2]}"]
            pairs += [[look[0], look[1], 1], [look[0], first[2], 0]]
            answers = [first[2], second[2], third[2]]
            answers.insert(at % 4, look[2])
            questions.append({"question": look[:2], "blank_position": 3, "answers": answers, "correct": at % 4})
        (folder / f"compat_{split}.txt").write_text("\n".join(lines) + "\n")
        write(folder / f"pairs_{split}.csv", ["a_id", "b_id", "label"], pairs)
        (folder / f"fitb_{split}.json").write_text(json.dumps(questions))
    return folder
