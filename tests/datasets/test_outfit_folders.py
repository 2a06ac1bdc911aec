"""data=outfits and data=garments: a shop's folder, its bad input, and what is drawn where it says no splits."""

import json
import os
import re
import shutil
from itertools import pairwise

import numpy as np
import pytest
from fashion_folder import make, write
from hypothesis import given, settings
from hypothesis import strategies as st

import sensorium
from sensorium import parts
from sensorium.errors import BadData, BadRecipe
from sensorium.types import Pictured


def load(root, name="outfits", **keys):
    return parts.make("datasets", {"name": name, "root": str(root), **keys}, "data").load()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def shop(whole, tmp_path):
    """A copy to change."""
    return shutil.copytree(whole, tmp_path / "shop")


def bare(folder, n=12, rows=None, pictures=False):
    """A folder of n items with vectors, without anything that goes together."""
    folder.mkdir(exist_ok=True)
    write(folder / "metadata.csv", ["id", "category"], rows or [[f"{i:03d}", "ab"[i % 2]] for i in range(n)])
    np.save(folder / "v.npy", np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32))
    (folder / "v.ids.json").write_text(json.dumps([f"{i:03d}" for i in range(n)]))
    return folder


def sets_of(data, split=None, label=None):
    chosen = data.pairs.sets.where(split, label)
    ids, at = data.left.ids, chosen.items.offsets
    return [ids[chosen.items.values[a:b]].tolist() for a, b in pairwise(at)]


def pairs_of(data, split=None, label=None):
    chosen = data.pairs.where(split, label)
    return {frozenset((a, b)) for a, b in zip(data.left.ids[chosen.left], data.left.ids[chosen.right], strict=True)}


def test_the_files_become_items_outfits_pairs_and_questions(whole):
    data = load(whole)
    assert len(data.left) == 144 and data.left.kind == "image" and data.right is None
    assert data.left.ids[0] == "0000" and next(iter(data.left.meta)) == "category"
    assert data.left.meta["category"].tolist() == data.left.meta["semantic_category"].tolist()
    assert data.left.meta["title"][0] == "red shirt" and data.notes["category"] == "semantic_category"
    assert [len(sets_of(data, s, 1)) for s in ("train", "validation", "test")] == [24, 8, 16]
    looks = json.loads((whole / "outfits_test.json").read_text())
    assert sets_of(data, "test", 1) == [[item["id"] for item in look["items"]] for look in looks]
    expected = {frozenset((a, b)) for look in sets_of(data, "train", 1) for a in look for b in look if a != b}
    assert pairs_of(data, "train", 1) == expected
    assert not pairs_of(data, "train", 1) & pairs_of(data, "train", 0)
    asked = json.loads((whole / "fitb_valid.json").read_text())
    questions = data.pairs.questions.where("validation")
    assert data.left.ids[questions.answers].tolist() == [one["answers"] for one in asked]
    assert questions.correct.tolist() == [one["correct"] for one in asked]
    assert np.isin(questions.group, data.pairs.sets.where("validation", 1).group).all()


def test_label_0_pairs_are_negatives_of_files_and_of_made_up_training_outfits(whole):
    data = load(whole)
    made_up = {frozenset((a, b)) for look in sets_of(data, "train", 0) for a in look for b in look if a != b}
    rows = [line.split(",") for line in (whole / "pairs_train.csv").read_text().split()[1:]]
    given = {frozenset(row[:2]) for row in rows if row[2] == "0"}
    assert pairs_of(data, "train", 0) == (made_up | given) - pairs_of(data, "train", 1)
    assert len(pairs_of(data, "test", 0)) == 16  # of the file alone


def test_a_run_needs_no_more_than_the_folder(whole, tmp_path):
    run = sensorium.run("outfits", [f"data.root={whole}", "left.encoder=hog", "train.epochs=1",
                                    "seed=1"], out=tmp_path / "run", stages=("index",),
                        quiet=True)  # fmt: skip
    assert {hit["category"] for hit in run.search(id="0000", k=20)} <= {"tops", "bottoms", "shoes"}
    assert run.metrics["dataset"]["outfits"] == 48


def test_other_names_of_files_and_columns(shop):
    for path, name in (("metadata.csv", "items.tsv"), ("pairs_train.csv", "p-train.csv"), ("fitb_test.json", "q.test")):
        (shop / path).rename(shop / name)
    text = (shop / "items.tsv").read_text().replace("id,path,semantic_category", "sku,file,kind").replace(",", "\t")
    (shop / "items.tsv").write_text(text)
    for path in shop.glob("p*_*.csv"):
        path.unlink()
    (shop / "p-train.csv").write_text((shop / "p-train.csv").read_text().replace("a_id,b_id,label", "x,y,good"))
    data = load(shop, metadata="items.tsv", id="sku", path="file", category="kind", pairs="p-{split}.csv",
                pair_ids=["x", "y"], label="good", questions="q.{split}")  # fmt: skip
    assert len(data.left) == 144 and data.left.meta["category"][0] == "tops" and len(data.pairs.questions) == 16
    with pytest.raises(BadRecipe, match=r"metadata.csv"):
        load(shop)
    with pytest.raises(BadRecipe, match=r"data\.outfits=looks\.csv: no such file"):
        load(shop, metadata="items.tsv", id="sku", path="file", outfits="looks.csv")


def test_outfits_as_lists_objects_and_tables_are_the_same(whole, shop):
    first = load(whole)
    rows = []
    for split in ("train", "valid", "test"):
        path = shop / f"outfits_{split}.json"
        looks = [[item["id"] for item in look["items"]] for look in json.loads(path.read_text())]
        path.write_text(json.dumps(looks))
        rows += [[f"{split}{i}", id, split] for i, look in enumerate(looks) for id in look]
    lists = load(shop)
    for path in shop.glob("outfits_*.json"):
        path.unlink()
    write(shop / "outfits.csv", ["outfit_id", "item_id", "split"], rows)
    table = load(shop)
    assert sets_of(first) == sets_of(lists) and sets_of(first, label=1) == sets_of(table, label=1)
    assert pairs_of(first, "train", 0) == pairs_of(table, "train", 0)
    assert table.pairs.sets.ids[0] == "train0"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_byte_order_marks_semicolons_and_line_ends_of_windows(whole, shop, ending, delimiter):
    for path in [*shop.glob("*.csv"), *shop.glob("*.txt"), *shop.glob("*.json")]:
        text = path.read_text().replace("\r\n", "\n").replace("\n", ending)
        text = text.replace(",", delimiter) if path.suffix == ".csv" else text
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    made, plain = load(shop), load(whole)
    assert made.left.ids.tolist() == plain.left.ids.tolist() and sets_of(made) == sets_of(plain)
    assert pairs_of(made) == pairs_of(plain) and len(made.pairs.questions) == len(plain.pairs.questions)


def edit(path, change):
    lines = path.read_text().splitlines()
    change(lines)
    path.write_text("\n".join(lines) + "\n")


def unreadable(shop):
    (shop / "images" / "0002.png").write_bytes(b"no picture")


def outside(shop):
    shutil.copy(shop / "images" / "0002.png", shop.parent / "secret.png")
    edit(shop / "metadata.csv", lambda rows: rows.__setitem__(3, rows[3].replace("images/0002.png", "../secret.png")))


def linked(shop):
    shutil.move(shop / "images" / "0002.png", shop.parent / "secret.png")
    os.symlink(shop.parent / "secret.png", shop / "images" / "0002.png")


PICTURES = [
    (lambda shop: (shop / "images" / "0002.png").unlink(), "1 are not there, such as 'images/0002.png' in row 4"),
    (unreadable, r"1 cannot be read, such as 'images/0002.png' \(.*\) in row 4"),
    (lambda shop: (shop / "images" / "0002.png").write_bytes(b""), r"1 are empty \(0 bytes\).*row 4"),
    (outside, r"1 lead out of .*shop/, such as '\.\./secret\.png' in row 4"),
    (linked, r"1 lead out of .*shop/ by a link, such as 'images/0002\.png' in row 4"),
    (lambda shop: edit(shop / "metadata.csv", lambda rows: rows.__setitem__(3, rows[3].replace("images/0002.png", ""))),
     "1 have no path, such as in row 4"),
]  # fmt: skip


@pytest.mark.parametrize(("harm", "message"), PICTURES)
def test_pictures_that_cannot_be_used_stop_or_are_left_out(shop, harm, message):
    harm(shop)
    with pytest.raises(BadData, match=message):
        load(shop)
    data = load(shop, bad="skip")
    assert "0002" not in data.left.ids and len(data.left) == 143
    assert re.search(message, data.notes["left_left_out_such_as"]) and data.notes["left_left_out"] == 1
    assert ["0000", "0001"] in sets_of(data, "train", 1)  # the rest of its outfit
    assert data.notes["outfits_ids_of_items_left_out"] == 1
    asked = [one for path in shop.glob("fitb_*.json") for one in json.loads(path.read_text())]
    assert len(data.pairs.questions) == sum("0002" not in (*one["question"], *one["answers"]) for one in asked)
    for side in load(shop, "garments", bad="skip", text="title"), data:
        assert "0002" not in side.left.ids
    with pytest.raises(BadData, match=message):
        load(shop, "garments")


ROWS = [
    ("metadata.csv", lambda rows: rows.append(rows[1]), r"1 ids of 'id' stand in several rows, such as '0000' \(rows 2, 146\)"),
    ("metadata.csv", lambda rows: rows.__setitem__(5, rows[5][4:]), r"ids 'id' of metadata\.csv: 1 of 144 are missing \(row 6\)"),
    ("pairs_train.csv", lambda rows: rows.append("0000,nobody,1"), r"pairs: 1 of \d+ ids are not in metadata\.csv, such as 'nobody' \(row 50 of pairs_train\.csv\)"),
    ("pairs_train.csv", lambda rows: rows.append("0000,0001,2"), r"pairs_train\.csv: 'label': the label of 1 of 49 is 2 \(row 50\); expected 1"),
    ("pairs_train.csv", lambda rows: rows.append("0000,0001,"), r"the label of 1 of 49 is missing \(row 50\)"),
    ("pairs_train.csv", lambda rows: rows.append("0000,0001,0"), r"1 pairs are labelled 0, and 1 .* \(row 50 of pairs_train\.csv, row 2 of pairs_train\.csv\).*data\.conflicts=drop"),
    ("compat_train.txt", lambda rows: rows.append("7 0000 0001"), r"compat_train\.txt: the label of 1 of 49 is '7' \(line 49\)"),
    ("compat_train.txt", lambda rows: rows.append("1 0000 nobody"), r"such as 'nobody' \(line 49 of compat_train\.txt\)"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "change", "message"), ROWS)
def test_rows_that_cannot_be_used_are_named(shop, file, change, message):
    edit(shop / file, change)
    with pytest.raises(BadData, match=message):
        load(shop)


def test_unknown_ids_are_left_out_and_counted_when_asked(whole, shop):
    edit(shop / "pairs_train.csv", lambda rows: rows.append("0000,nobody,1"))
    looks = json.loads((shop / "outfits_train.json").read_text())
    looks[1]["items"].append({"id": "nobody"})
    (shop / "outfits_train.json").write_text(json.dumps(looks))
    with pytest.raises(BadData, match=r"outfits: 1 of 145 ids .* 'nobody' \(entry 2 of outfits_train\.json\)"):
        load(shop, pairs="")
    data = load(shop, allow_missing=True)
    assert pairs_of(data) == pairs_of(load(whole)) and sets_of(data) == sets_of(load(whole))
    assert data.notes["pairs_unknown_ids"] == data.notes["outfits_unknown_ids"] == 1
    assert [line.partition(" left out")[0] for line in data.notes["said"]] == [
        "outfits: 1 unknown ids", "pairs: 1 unknown ids", "pairs: 1"]  # fmt: skip


def test_conflicts_can_be_dropped_and_an_outfit_of_one_item_stays_an_item(shop):
    edit(shop / "pairs_train.csv", lambda rows: rows.append("0000,0001,0"))
    looks = json.loads((shop / "outfits_train.json").read_text())
    looks[2] = {"items": looks[2]["items"][:1]}
    (shop / "outfits_train.json").write_text(json.dumps(looks))
    data = load(shop, conflicts="drop", compat="", questions="")
    assert data.notes["pairs_labelled_both_ways"] == 2 and len(data.left) == 144
    assert data.notes["outfits_of_one_item"] == 1
    assert data.notes["said"][1:] == ["outfits: 1 of one item left out (entry 3 of outfits_train.json)"]


def test_items_without_a_category_are_counted(shop):
    edit(shop / "metadata.csv", lambda rows: rows.__setitem__(1, rows[1].replace("tops", "")))
    data = load(shop)
    assert data.left.meta["category"][0] == "" and data.notes["items_without_category_such_as"] == "row 2"
    with pytest.raises(BadRecipe, match=r"data\.category=semantic_categry: .* did you mean 'semantic_category'"):
        load(shop, category="semantic_categry")


def test_a_category_from_another_column_keeps_the_one_of_that_name(tmp_path):
    rows = [[f"{i:03d}", "dress", "d"] for i in range(4)]
    bare(tmp_path / "s", 4)
    write(tmp_path / "s" / "metadata.csv", ["id", "category", "fine"], rows)
    write(tmp_path / "s" / "outfits.csv", ["outfit_id", "item_id"], [["o", "000"], ["o", "001"]])
    meta = load(tmp_path / "s", vectors="v.npy", category="fine").left.meta
    assert meta["category"].tolist() == ["d"] * 4 and meta["category_in_file"].tolist() == ["dress"] * 4


def test_vectors_in_place_of_pictures_are_joined_by_id(tmp_path):
    folder = bare(tmp_path / "s", 36)
    write(folder / "outfits.csv", ["outfit_id", "item_id"], [[f"o{i // 3}", f"{i:03d}"] for i in range(36)])
    ids = json.loads((folder / "v.ids.json").read_text())
    (folder / "v.ids.json").write_text(json.dumps(ids[::-1]))
    data = load(folder, vectors="v.npy")
    np.testing.assert_array_equal(data.left.values, np.load(folder / "v.npy")[::-1])
    write(folder / "metadata.csv", ["id"], [*[[id] for id in ids], ["more"]])
    with pytest.raises(
        BadData, match=r"v\.npy has no vector for 1 of 37 items of metadata\.csv, such as 'more' \(row 38\)"
    ):
        load(folder, vectors="v.npy")
    assert len(load(folder, vectors="v.npy", allow_missing=True).left) == 36
    run = sensorium.run("outfits", [f"data.root={folder}", "data.vectors=v.npy", "left.encoder=none",
                                    "data.allow_missing=true", "train.epochs=1", "data.test=0.25",
                                    "data.validation=0.25", "left.head=linear"],
                        out=tmp_path / "run", stages=(), quiet=True)  # fmt: skip
    assert run.encoder("left") is None


def test_texts_beside_the_pictures_or_in_place_of_them(shop):
    data = load(shop, text="title")
    assert data.left.kind == "image" and data.left.values[0] == Pictured(str(shop / "images" / "0000.png"), "red shirt")
    alone = load(shop, text="title", path="")
    assert alone.left.kind == "text" and alone.left.values[0] == "red shirt"
    with pytest.raises(BadRecipe, match=r'data\.path="" leaves no pictures'):
        load(shop, path="")


def test_a_folder_that_says_of_nothing_that_it_goes_together(tmp_path):
    with pytest.raises(BadData, match=r"says of no items that they go together; expected outfits\.csv"):
        load(bare(tmp_path / "s"), vectors="v.npy")
    with pytest.raises(BadRecipe, match=r"no data\.root; type: data\.root=FOLDER"):
        parts.make("datasets", "outfits", "data").load()
    with pytest.raises(BadRecipe, match="no such folder"):
        load(tmp_path / "nowhere")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 29), min_size=1, max_size=5), min_size=1, max_size=14), st.integers(0, 3))
def test_no_outfit_and_by_default_no_item_is_in_two_drawn_splits(tmp_path_factory, looks, seed):
    folder = bare(tmp_path_factory.mktemp("s"), 30)
    rows = [[f"o{i}", f"{id:03d}"] for i, look in enumerate(looks) for id in look]
    write(folder / "outfits.csv", ["outfit_id", "item_id"], rows)
    distinct = [set(look) for look in looks if len(set(look)) > 1]
    if not distinct:
        with pytest.raises(BadData, match="no two items go together"):
            load(folder, vectors="v.npy")
        return
    data = load(folder, vectors="v.npy")
    assert sorted(map(sorted, sets_of(data))) == sorted(sorted(f"{id:03d}" for id in look) for look in distinct)
    assert pairs_of(data) == {
        frozenset((f"{a:03d}", f"{b:03d}")) for look in distinct for a in look for b in look if a != b
    }
    if len(np.unique(data.pairs.group)) < 3:
        return
    drawn = data.pairs.split_by_group({"test": 0.3, "validation": 0.2}, seed)
    assert set(drawn.sets.split.tolist()) <= {"train", "validation", "test"}
    of_set = dict(zip(drawn.sets.group.tolist(), drawn.sets.split.tolist(), strict=True))
    assert all(of_set[g] == s for g, s in zip(drawn.group.tolist(), drawn.split.tolist(), strict=True))
    if data.notes["group"] == "by shared items":
        places = {}
        for at, split in enumerate(drawn.sets.split.tolist()):
            for row in drawn.sets.items.take(np.array([at])).values.tolist():
                assert places.setdefault(row, split) == split


def test_outfits_without_a_split_take_that_of_their_items(shop):
    rows = []
    for split in ("train", "valid", "test"):
        looks = json.loads((shop / f"outfits_{split}.json").read_text())
        rows += [[f"{split}{i}", item["id"]] for i, look in enumerate(looks) for item in look["items"]]
    for path in [*shop.glob("*_*.*")]:
        path.unlink()
    write(shop / "outfits.csv", ["outfit_id", "item_id"], rows)
    data = load(shop)
    assert data.notes["split"] == "of the items" and len(sets_of(data, "test")) == 16
    write(shop / "outfits.csv", ["outfit_id", "item_id"], [*rows, ["mixed", "0000"], ["mixed", rows[-1][1]]])
    with pytest.raises(
        BadData,
        match=r'1 of 49 outfits have no split, and their items stand in several \(row 146 of outfits\.csv\).*data\.split=""',
    ):
        load(shop)
    assert load(shop, split="").notes["split"] == "drawn"


def test_items_that_several_splits_share_are_said(shop):
    looks = json.loads((shop / "outfits_test.json").read_text())
    looks[0]["items"][0] = {"id": "0000"}
    (shop / "outfits_test.json").write_text(json.dumps(looks))
    assert load(shop, compat="", pairs="", questions="").notes["items_in_several_splits"] == 1
    assert load(shop, compat="", pairs="", questions="").notes["said"] == [
        "1 items stand in several splits, whose outfits share them"]  # fmt: skip


def test_garments_are_pictures_and_names(whole, tmp_path):
    data = load(whole, "garments")
    assert data.notes["text"] == "title" and data.right.values[0] == "red shirt" and data.right.name == "name"
    assert data.left.ids.tolist() == data.right.ids.tolist() and data.left.meta["category"][0] == "tops"
    test = data.pairs.where("test")
    assert len({data.right.values[i] for i in test.right[test.left == test.left[0]]}) == 1  # equal names are related
    run = sensorium.run("garments", [f"data.root={whole}", "left.encoder=hog", "right.encoder=hashing",
                                     "train.epochs=1"], out=tmp_path / "run", stages=("index",),
                        quiet=True)  # fmt: skip
    assert run.names == {"left": "image", "right": "name"} and run.search("red shirt", k=1)[0]["id"] in data.left.ids
    with pytest.raises(BadRecipe, match=r"data\.text=titel: .* did you mean 'title'"):
        load(whole, "garments", text="titel")


def test_the_fashion_folder_of_the_shared_data(shared_data, tmp_path):
    import tarfile

    archive = shared_data / "fashion-myntra-3000.tar"
    if not archive.is_file():
        pytest.skip(f"{archive} is not here")
    with tarfile.open(archive) as tar:
        names = [one for one in tar.getmembers() if not one.name.endswith(".jpg")]
        tar.extractall(tmp_path, members=names, filter="data")
    (path,) = tmp_path.rglob("metadata.csv")
    data = load(path.parent, path="", text="productDisplayName")
    assert [len(sets_of(data, s, 1)) for s in ("train", "validation", "test")] == [1200, 250, 250]
    assert len(data.left) == 3000 and data.notes["category"] == "subCategory" and len(data.pairs.questions) == 1687
    assert load(path.parent, "outfits", path="", text="productDisplayName", compat="").pairs.sets.label.all()
