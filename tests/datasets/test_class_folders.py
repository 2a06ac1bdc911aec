"""data=folder: sub-folders are classes."""

import numpy as np
import pytest

from sensorium import parts
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.audio.files import wav
from sensorium.modalities.image.files import png
from sensorium.types import side_names


def load(root, **keys):
    return parts.make("datasets", {"name": "folder", "root": str(root), **keys}, "data").load()


def tree(root, *paths):
    for i, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        sound = path.endswith(".wav")
        content = wav(np.full(800, 100 + i, np.int16), 8000) if sound else png(np.full((3, 3), i + 1, np.uint8))
        (root / path).write_bytes(content)
    return root


def test_folders_are_classes_and_files_are_drawn_at_random(tmp_path):
    data = load(tree(tmp_path, "cat/a.png", "cat/b.png", "dog/c.PNG", "dog/d.png", "readme.png"))
    assert data.left.ids.tolist() == ["cat/a.png", "cat/b.png", "dog/c.PNG", "dog/d.png"]
    assert data.right.ids.tolist() == ["cat", "dog"] and data.right.values == ["cat", "dog"]
    assert data.pairs.right.tolist() == [0, 0, 1, 1] and len(np.unique(data.pairs.group)) == 4
    assert data.left.meta["class"].tolist() == ["cat", "cat", "dog", "dog"]
    assert side_names(data.left, data.right) == {"left": "image", "right": "class"}


def test_folders_of_splits_and_groups_below_the_class(tmp_path):
    root = tree(tmp_path / "s", *(f"{split}/{c}/{c}{split}{i}.wav" for split in ("train", "val", "test") for c in "ab"
                                  for i in range(2)))  # fmt: skip
    data = load(root)
    assert data.left.kind == "audio" and sorted(set(data.pairs.split.tolist())) == ["test", "train", "validation"]
    root = tree(tmp_path / "g", *(f"{c}/speaker{s}/{c}{s}{i}.wav" for c in "ab" for s in range(3) for i in range(2)))
    grouped = load(root, group="folder")
    assert len(np.unique(grouped.pairs.group)) == 3 and grouped.left.meta["folder"][0] == "speaker0"


def test_equal_files_are_drawn_together(tmp_path):
    root = tree(tmp_path, "a/1.png", "a/2.png", "b/3.png", "b/4.png")
    (root / "b" / "copy.png").write_bytes((root / "a" / "1.png").read_bytes())
    data = load(root)
    assert data.notes["left_files_of_equal_content"] == 1 and len(np.unique(data.pairs.group)) == 4


@pytest.mark.parametrize(
    ("paths", "keys", "message"),
    [
        (["a.png"], {}, r"no file in a folder of its class; expected such as .*/dog/a\.jpg"),
        (
            ["a/1.png", "b/2.wav"],
            {},
            r"holds files of several kinds or of none: 1 (image|audio), 1 (image|audio) files",
        ),
        (["a/1.png", "a/2.png", "a/3.png"], {}, r"has one class, 'a'; expected a folder for each class"),
        (["train/a/1.png", "test/2.png"], {}, r"1 files lie in no folder of a class, such as test/2\.png"),
    ],
)
def test_folders_that_cannot_be_read_as_classes(tmp_path, paths, keys, message):
    with pytest.raises(BadData, match=message):
        load(tree(tmp_path, *paths), **keys)


def test_a_kind_is_chosen_and_bad_files_are_found_or_left_out(tmp_path):
    root = tree(tmp_path, "a/1.png", "a/2.png", "b/3.png", "b/4.wav", "b/5.png")
    assert len(load(root, kind="image").left) == 4 and load(root, kind="face").left.kind == "face"
    (root / "b" / "3.png").write_bytes(b"no picture")
    with pytest.raises(BadData, match=r"of 4 image files in 'path' of .*, 1 cannot be read, such as 'b/3\.png' \(cannot read "
                       r".*3\.png as a picture"):  # fmt: skip
        load(root, kind="image")
    assert len(load(root, kind="image", bad="skip").left) == 3


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kind": "text"}, r"data\.kind='text' has no files"),
        ({"group": "speaker"}, r"data\.group='speaker'; expected folder"),
        ({"bad": "drop"}, r"data\.bad='drop'; expected stop or skip"),
    ],
)
def test_keys_are_checked(tmp_path, keys, message):
    with pytest.raises(BadRecipe, match=message):
        load(tmp_path, **keys)
    with pytest.raises(BadData, match=r"no folder .*none; type: data\.root=FOLDER"):
        load(tmp_path / "none")
