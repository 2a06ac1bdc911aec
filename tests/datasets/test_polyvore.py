"""data=polyvore: a made folder in the published layout, and the lists by category."""

import json
import tarfile

import numpy as np
import pytest

import sensorium
from sensorium import parts
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.image.files import png

KINDS = ("tops", "bottoms", "shoes")


def made(root, setting="disjoint", pictures=True):
    """12 outfits of 3 items, 4 a split, whose titles and pictures say their style."""
    folder, number, about = root / setting, 0, {}
    folder.mkdir(parents=True)
    (root / "images").mkdir()
    for split in ("train", "valid", "test"):
        outfits, lines, questions = [], [], []
        for style in range(4):
            set_id, items = str(1000 + number), []
            for index, kind in enumerate(KINDS, 1):
                id = str(90000 + number)
                number += 1
                items.append({"item_id": id, "index": index})
                about[id] = {"title": "" if index == 3 else f"style {style} {kind}", "url_name": f"url {style} {kind}",
                             "semantic_category": kind, "category_id": str(index), "related": ["x"]}  # fmt: skip
                if pictures:
                    picture = np.random.default_rng(number).integers(0, 50, (8, 8, 3), np.uint8)
                    picture[..., style % 3] += 150
                    (root / "images" / f"{id}.jpg").write_bytes(png(picture))
            outfits.append({"set_id": set_id, "items": items})
        for at, outfit in enumerate(outfits):
            other, names = outfits[at - 1]["set_id"], [f"{outfit['set_id']}_{i}" for i in (1, 2, 3)]
            lines += [f"1 {' '.join(names)}", f"0 {names[0]} {other}_2 {other}_3"]
            questions.append({"question": names[:2], "blank_position": 3, "answers": [f"{other}_1", names[2]]})
        (folder / f"{split}.json").write_text(json.dumps(outfits))
        (folder / f"compatibility_{split}.txt").write_text("\n".join(lines))
        (folder / f"fill_in_blank_{split}.json").write_text(json.dumps(questions))
    (root / "polyvore_item_metadata.json").write_text(json.dumps({**about, "1": about["90000"]}))
    return root


def load(root, setting="disjoint", **keys):
    return parts.make("datasets", {"name": "polyvore", "root": str(root), "setting": setting, **keys}, "data").load()


def test_the_published_layout(tmp_path):
    data = load(made(tmp_path))
    assert len(data.left) == 36 and "1" not in data.left.ids and data.left.kind == "image"
    assert data.left.meta["category"][:3].tolist() == list(KINDS) and "related" not in data.left.meta
    sets, questions = data.pairs.sets, data.pairs.questions
    assert [len(sets.where(s, 1)) for s in ("train", "validation", "test")] == [4, 4, 4]
    assert [len(sets.where(s, 0)) for s in ("train", "validation", "test")] == [4, 4, 4]
    assert sets.ids[0] == "1000" and questions.correct.tolist() == [1] * 12
    assert data.left.ids[questions.answers[0]].tolist() == ["90009", "90002"]
    assert "items_in_several_splits" not in data.notes
    assert load(tmp_path, category="category_id").left.meta["category"][:3].tolist() == ["1", "2", "3"]


def test_texts_beside_or_in_place_of_pictures_fall_back_to_the_url_name(tmp_path):
    made(tmp_path)
    assert [one.text for one in load(tmp_path, text="title").left.values[:3]] == [
        "style 0 tops", "style 0 bottoms", "url 0 shoes"]  # fmt: skip
    assert load(tmp_path, text="title", pictures=False).left.values[2] == "url 0 shoes"


def test_a_run_on_vectors_without_pictures(tmp_path):
    root = made(tmp_path / "data", "nondisjoint", pictures=False)
    ids = [str(90000 + i) for i in range(36)]
    np.save(root / "v.npy", np.random.default_rng(0).normal(size=(36, 8)).astype(np.float32))
    (root / "v.ids.json").write_text(json.dumps(ids))
    run = sensorium.run("outfits", ["data=polyvore", f"data.root={root}", "data.vectors=v.npy", "left.encoder=none",
                                    "train.epochs=1", "evaluate.resamples=20"], out=tmp_path / "run",
                        stages=("index",), quiet=True)  # fmt: skip
    assert len(run.search(id="90000", k=5)) == 5


def test_what_is_not_there_is_said(tmp_path):
    root = made(tmp_path)
    with pytest.raises(BadRecipe, match=r"data\.setting=nondisjoint: no folder"):
        load(root, "nondisjoint")
    with pytest.raises(BadRecipe, match=r"data\.setting='both'; expected nondisjoint or disjoint"):
        load(root, "both")
    with pytest.raises(BadRecipe, match=r"no folder .*pics of pictures.*data\.vectors=FILE left\.encoder=none"):
        load(root, images="pics")
    (root / "disjoint" / "fill_in_blank_test.json").write_text(
        json.dumps([{"question": ["1_1"], "answers": ["2_1", "3_1"]}])
    )
    with pytest.raises(BadData, match=r"fill_in_blank_test\.json: 1 of 1 questions cannot be used \(entry 1\)"):
        load(root)
    (root / "images" / "90000.jpg").unlink()
    (root / "disjoint" / "fill_in_blank_test.json").unlink()
    with pytest.raises(BadData, match=r"1 are not there, such as '90000\.jpg' in row 1"):
        load(root)
    assert len(load(root, bad="skip").left) == 35


def test_the_lists_by_category_of_the_shared_data(shared_data, tmp_path):
    archive = shared_data / "polyvore-outfits-lists.tar.gz"
    if not archive.is_file():
        pytest.skip(f"{archive} is not here")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    root = tmp_path / "polyvore-outfits"
    ids = [id for ids in json.loads((root / "disjoint" / "items.json").read_text()) for id in ids]
    np.save(root / "v.npy", np.zeros((len(ids), 1), np.float32))
    (root / "v.ids.json").write_text(json.dumps(ids))
    data = load(root, vectors="v.npy")
    sets = data.pairs.sets
    assert [len(sets.where(*one)) for one in (("train", 1), ("test", 1), ("test", 0))] == [
        16995,
        3000,
        3000,
    ]
    assert data.notes["categories"] == 11 and data.notes["items_in_several_splits"] == 3781
    assert data.notes["said"][-1].startswith("there are no lists of test: those of valid are the test split")
