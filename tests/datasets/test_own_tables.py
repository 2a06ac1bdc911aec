"""data=table: any table of paths, texts or vectors, paired by row, by ids, by a table of pairs or by a label."""

import itertools
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium import parts
from sensorium.errors import BadData
from sensorium.modalities.image.files import png
from sensorium.table import Table as Rows
from sensorium.types import side_names

FINE = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load(file=None, left="a", right="b", **keys):
    spec = {"name": "table", "left": left, "right": right, **keys}
    return parts.make("datasets", {**spec, **({} if file is None else {"file": str(file)})}, "data").load()


def write(path, **columns):
    names = list(columns)
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def pictures(folder, n, prefix="p"):
    folder.mkdir(exist_ok=True)
    for i in range(n):
        (folder / f"{prefix}{i}.png").write_bytes(png(np.full((3, 3), 10 * i + 1, np.uint8)))
    return [f"{folder.name}/{prefix}{i}.png" for i in range(n)]


def related(data):
    """The pairs as values, whatever their rows and ids."""
    left, right = list(data.left.values), list(data.right.values)
    return {(left[a], right[b]) for a, b in zip(data.pairs.left, data.pairs.right, strict=True)}


def one_split_a_value(data):
    """No item, of either side, stands in two of the splits that are drawn."""
    drawn = data.pairs.split_by_group({"test": 0.3, "validation": 0.3})
    for rows in (drawn.left, drawn.right):
        both = np.unique(np.stack([rows.astype(np.str_), drawn.split], 1), axis=0)
        if len(np.unique(both[:, 0])) != len(both):
            return False
    return True


def test_pictures_and_captions_of_a_csv(tmp_path):
    paths = pictures(tmp_path / "img", 4)
    lines = [f'{path},"number {i}, caption {c}",{i}.5,{"true" if c else ""},2024-05-0{i + 1}'
             for i, path in enumerate(paths) for c in range(2)]  # fmt: skip
    (tmp_path / "captions.csv").write_text("\ufeffpath,caption,price,sold,day\r\n" + "\r\n".join(lines), "utf-8")
    data = load(tmp_path / "captions.csv", "path", "caption")
    assert side_names(data.left, data.right) == {"left": "image", "right": "caption"}
    assert (data.left.kind, data.right.kind, len(data.left), len(data.right), len(data.pairs)) == (
        "image",
        "text",
        4,
        8,
        8,
    )
    assert data.left.ids.tolist() == paths and data.left.values[0] == str(tmp_path / "img" / "p0.png")
    table = Rows(data.right.ids, data.right.meta)
    assert table.where({"price": {">": 2}, "sold": True, "day": {">=": "2024-05-04"}}).sum() == 1
    assert table.where({"sold": None}).sum() == 4
    assert data.left.meta["price"].tolist() == [0.5, 1.5, 2.5, 3.5] and len(np.unique(data.pairs.group)) == 4


def test_a_column_whose_rows_differ_becomes_a_list_that_a_filter_finds_by_each_value(tmp_path):
    paths = pictures(tmp_path / "img", 3)
    file = write(
        tmp_path / "a.jsonl", a=[p for p in paths for _ in range(2)], b=list("uvwxyz"), rater=[1, 2, 1, 1, 3, 4]
    )
    left = load(file).left
    assert left.meta["rater"].tolist() == [[1, 2], [1], [3, 4]]
    assert Rows(left.ids, left.meta).where({"rater": 1}).tolist() == [True, True, False]


@pytest.mark.parametrize("spec", ["c_1,c_2,c_3", "c_*", "c_1..3", ["c_1", "c_2", "c_3"]])
def test_several_columns_of_one_side_in_every_spelling(tmp_path, spec):
    file = write(tmp_path / "a.jsonl", a=list("pqrs"), c_1=list("1234"), c_2=["5", None, "7", ""], c_3=list("abcd"))
    data = load(file, "a", spec)
    assert data.right.name == "c" and len(data.right) == 10
    assert related(data) == {(a, c) for a, cs in zip("pqrs", ("15a", "2b", "37c", "4d"), strict=True) for c in cs}


def test_a_list_of_texts_is_several_values_of_its_row(tmp_path):
    file = write(tmp_path / "a.jsonl", a=list("pqr"), b=[["x", "y"], ["z"], ["u", "v", "w"]])
    assert related(load(file)) == {("p", "x"), ("p", "y"), ("q", "z"), ("r", "u"), ("r", "v"), ("r", "w")}


def test_vectors_of_parquet_of_an_array_file_and_of_a_store(tmp_path):
    from sensorium import store

    x = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
    ids = [f"i{k}" for k in range(4)]
    pq.write_table(
        pa.table({"id": ids, "v": x.tolist(), "b": list("abcd"), "n": [1, 2, None, 4]}), tmp_path / "a.parquet"
    )
    data = load(tmp_path / "a.parquet", "v", "b")
    assert data.left.kind == "vector" and np.array_equal(data.left.values, x) and data.left.ids.tolist() == ids
    assert data.right.meta["n"].tolist() == [1, 2, None, 4]
    np.savez(tmp_path / "v.npz", emb=x[::-1].copy(), id=np.array(ids[::-1]))
    joined = load(tmp_path / "a.parquet", f"{tmp_path / 'v.npz'}:emb", "b", ids="id")
    assert np.array_equal(joined.left.values[joined.pairs.left], x[joined.pairs.right])
    store.append(tmp_path / "store", ids, x, {"name": "mine"})
    stored = load(tmp_path / "a.parquet", str(tmp_path / "store"), "b", left_ids="ids", right_ids="id")
    assert np.array_equal(stored.left.values[stored.pairs.left], x[stored.pairs.right])
    assert side_names(stored.left, stored.right)["right"] == "b"


def test_two_tables_are_joined_by_ids_of_another_name_and_type(tmp_path):
    write(tmp_path / "l.jsonl", image_id=[3, 1, 2], a=list("xyz"), price=[1.5, 2.5, 3.5])
    (tmp_path / "r.csv").write_text("img,b,stars\n1,one,5\n2,two,4\n2,deux,3\n3,three,\n")
    data = load(None, f"{tmp_path / 'l.jsonl'}:a", f"{tmp_path / 'r.csv'}:b", left_ids="image_id", right_ids="img")
    assert related(data) == {("x", "three"), ("y", "one"), ("z", "two"), ("z", "deux")}
    assert data.left.ids.tolist() == ["3", "1", "2"] and data.left.meta["price"].tolist() == [1.5, 2.5, 3.5]
    assert data.right.ids.tolist() == ["1", "2#1", "2#2", "3"] and data.right.meta["stars"].tolist() == [5, 4, 3, None]


def test_a_third_table_of_pairs_with_labels_and_splits(tmp_path):
    write(tmp_path / "q.jsonl", _id=["q1", "q2", "q3"], text=["w1", "w2", "w3"])
    write(tmp_path / "d.jsonl", _id=["d1", "d2"], text=["t1", "t2"])
    (tmp_path / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\tsplit\nq1\td1\t2\ttrain\nq2\td2\t1\ttest\nq3\td1\t0\tdev\nq3\td2\t1\tdev\n"
    )
    keys = {"pairs": str(tmp_path / "qrels.tsv"), "ids": "_id"}
    data = load(None, f"{tmp_path / 'q.jsonl'}:text", f"{tmp_path / 'd.jsonl'}:text", **keys)
    assert data.pairs.label.tolist() == [1, 1, 0, 1]
    assert data.pairs.split.tolist() == ["train", "test", "validation", "validation"]
    assert data.left.ids.tolist() == ["q1", "q2", "q3"] and data.right.ids.tolist() == ["d1", "d2"]


def relevant_of(data, direction="left->right", split=None):
    """What each query should find, as values."""
    found, sides = data.pairs.relevance(direction, split), (list(data.left.values), list(data.right.values))
    ours, theirs = sides if direction == "left->right" else sides[::-1]
    return {(ours[q], theirs[found.candidates[c]]) for k, q in enumerate(found.queries)
            for c in found.relevant[found.offsets[k] : found.offsets[k + 1]]}  # fmt: skip


def test_rows_of_one_label_are_related_without_a_pair_for_each(tmp_path):
    brand = ["x", "x", "y", "y", "z", "w", None, ""]
    file = write(tmp_path / "a.jsonl", a=list("pqrstuvw"), b=list("12345678"), brand=brand)
    data = load(file, relevant="brand")
    expected = {(a, b) for (a, one), (b, other) in itertools.product(
        zip("pqrstuvw", brand, strict=True), zip("12345678", brand, strict=True))
        if (one == other and one) or "pqrstuvw".index(a) == int(b) - 1}  # fmt: skip
    assert relevant_of(data) == expected and len(data.pairs) == 8 and len(np.unique(data.pairs.group)) == 8
    assert relevant_of(data, "right->left") == {(b, a) for a, b in expected}
    assert data.notes["said"] == ["2 of 8 rows have no 'brand': each is related to its own row alone"]
    with pytest.raises(BadData, match="all 8 labels are 'x', so that every item would be right"):
        load(write(tmp_path / "b.jsonl", a=list("pqrstuvw"), b=list("12345678"), brand=["x"] * 8), relevant="brand")


def test_labels_relate_within_a_split_and_groups_stay_whole(tmp_path):
    n = 60
    brand, who = [f"b{i % 3}" for i in range(n)], [f"w{i // 6}" for i in range(n)]
    texts, words = [f"l{i}" for i in range(n)], [f"r{i}" for i in range(n)]
    file = write(tmp_path / "a.jsonl", a=texts, b=words, brand=brand, who=who)
    pairs = load(file, relevant="brand", group="who").pairs
    assert len(pairs) == n and len(np.unique(pairs.group)) == 10
    data = load(write(tmp_path / "b.jsonl", a=texts, b=words, brand=brand, split=["train"] * 30 + ["dev"] * 15 + ["test"] * 15),
                relevant="brand")  # fmt: skip
    for split, rows in (("train", range(30)), ("validation", range(30, 45)), ("test", range(45, 60))):
        assert relevant_of(data, split=split) == {(f"l{i}", f"r{j}") for i in rows for j in rows if i % 3 == j % 3}


def test_an_item_of_several_labels_is_related_by_each(tmp_path):
    columns = {"a": list("ppqrsu"), "b": list("123456"), "brand": list("xyxyzv")}
    data = load(write(tmp_path / "a.jsonl", **columns), relevant="brand")
    assert data.pairs.classes is None
    assert related(data) == {("p", "1"), ("p", "3"), ("q", "1"), ("q", "3"), ("p", "2"), ("p", "4"), ("r", "2"), ("r", "4"),
                             ("s", "5"), ("u", "6")}  # fmt: skip
    with pytest.raises(BadData, match="by labels of which an item has several, that differ in the group of 2 pairs"):
        load(write(tmp_path / "b.jsonl", **columns, who=list("abacde")), relevant="brand", group="who")


@pytest.mark.parametrize("relevant", [{"relevant": "label"}, {}])
def test_a_right_side_of_labels_is_a_classification(tmp_path, relevant):
    n = 12
    file = write(
        tmp_path / "a.jsonl", a=[f"t{i}" for i in range(n)], label=[["cat", "dog", "eel"][i % 3] for i in range(n)]
    )
    data = load(file, right="label", **relevant)
    assert (
        data.right.ids.tolist() == ["cat", "dog", "eel"] and data.right.meta == {} and data.notes["classes"] == "label"
    )
    assert len(np.unique(data.pairs.group)) == n  # texts are apart, classes are met in every split


def test_numbers_are_classes_where_they_are_said_to_be(tmp_path):
    file = write(tmp_path / "a.jsonl", a=list("pqrstu"), label=[0, 1, 0, 1, 0, 1])
    assert load(file, right="label", relevant="label").right.values == ["0", "1"]
    with pytest.raises(BadData, match=r"column 'label' of a\.jsonl holds whole numbers; expected paths of files, texts, or "
                       r"vectors; where they name classes type: data\.relevant=label"):  # fmt: skip
        load(file, right="label")


def test_groups_and_splits_of_columns(tmp_path):
    file = write(tmp_path / "a.jsonl", a=list("pqrs"), b=list("1234"), who=["x", "x", "y", None], split=["train", "train",
                 "dev", "test"])  # fmt: skip
    data = load(file, group="who")
    assert len(np.unique(data.pairs.group)) == 3 and data.pairs.split.tolist() == [
        "train",
        "train",
        "validation",
        "test",
    ]
    assert not (load(file, split="").pairs.split != "").any()


def test_files_of_equal_content_and_links_stay_in_one_split(tmp_path):
    paths = pictures(tmp_path / "img", 6)
    (tmp_path / "img" / "copy.png").write_bytes((tmp_path / paths[0]).read_bytes())
    (tmp_path / "img" / "link.png").symlink_to(tmp_path / paths[1])
    (tmp_path / "img" / "other.png").write_bytes(png(np.full((3, 3), 200, np.uint8)))
    names = [*paths, "img/copy.png", "img/link.png", "./img/p2.png", "img/other.png"]
    data = load(write(tmp_path / "a.jsonl", a=names, b=[f"t{i}" for i in range(10)]))
    assert len(data.left) == 8  # a link and another spelling are the same file
    assert data.notes["left_files_of_equal_content"] == 1 and data.notes["groups"] == 7
    assert one_split_a_value(data)


def test_equal_titles_of_rows_with_ids_are_items_apart_each_related_to_both_pictures(tmp_path):
    paths = pictures(tmp_path / "img", 4)
    file = write(
        tmp_path / "a.jsonl", id=list("wxyz"), a=paths, b=["shirt", "shirt", "hat", "shoe"], price=[1, 2, 3, 4]
    )
    data = load(file, ids="id")
    assert data.right.ids.tolist() == ["w", "x", "y", "z"] and data.right.meta["price"].tolist() == [1, 2, 3, 4]
    pairs = set(zip(data.pairs.left.tolist(), data.pairs.right.tolist(), strict=True))
    assert pairs == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (3, 3)} and data.notes["groups"] == 3


CELL = st.sampled_from(["u", "v", "w", "x", "y"])


@FINE
@given(st.lists(st.tuples(CELL, st.sampled_from("12345")), min_size=3, max_size=14), st.randoms())
def test_the_order_of_rows_changes_no_pair_and_no_value_is_in_two_splits(tmp_path, rows, random):
    def loaded(some):
        return load(write(tmp_path / "a.jsonl", a=[a for a, _ in some], b=[b for _, b in some]))

    try:
        data = loaded(rows)
    except BadData as error:
        assert "group" in str(error)
        return
    assert related(data) == set(rows)
    shuffled = random.sample(rows, len(rows))
    again = loaded(shuffled)
    assert related(again) == related(data)
    if "classes" not in data.notes:
        assert one_split_a_value(data)


@FINE
@given(
    st.lists(st.tuples(st.integers(0, 5), st.uuids().map(str)), min_size=1, max_size=8, unique_by=lambda r: r[0]),
    st.lists(st.tuples(st.integers(0, 5), st.uuids().map(str)), min_size=1, max_size=8, unique_by=lambda r: r[1]),
)
def test_a_join_equals_a_naive_one(tmp_path, left, right):
    expected = {(a, b) for i, a in left for j, b in right if i == j}
    for name, rows in (("l", left), ("r", right)):
        write(tmp_path / f"{name}.jsonl", key=[i for i, _ in rows], value=[v for _, v in rows])
    specs = f"{tmp_path / 'l.jsonl'}:value", f"{tmp_path / 'r.jsonl'}:value"
    try:
        data = load(None, *specs, ids="key", allow_missing=True)
    except BadData as error:
        assert not expected or "group" in str(error)
        return
    assert related(data) == expected


def test_groups_that_share_a_file_are_one(tmp_path):
    paths = pictures(tmp_path / "img", 4)
    names = [paths[0], paths[1], paths[1], paths[2], paths[3]]
    data = load(write(tmp_path / "a.jsonl", a=names, b=list("12345"), who=["x", "x", "y", "z", "w"]), group="who")
    assert data.notes["groups_joined"] == 1 and data.pairs.group_names.tolist() == ["w", "x", "z"]
    assert one_split_a_value(data)


@FINE
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=2, max_size=12))
def test_rows_of_equal_contents_on_both_sides_are_related_as_their_contents_are(tmp_path, rows):
    rows = [*rows, ("u", "p"), ("v", "q"), ("w", "r")]  # groups enough for three splits
    columns = {"id": [f"r{k}" for k in range(len(rows))], "a": [a for a, _ in rows], "b": [b for _, b in rows]}
    data = load(write(tmp_path / "t.jsonl", **columns), ids="id")
    ids = [data.left.ids.tolist(), data.right.ids.tolist()]
    found = {(ids[0][i], ids[1][j]) for i, j in zip(data.pairs.left, data.pairs.right, strict=True)}
    assert found == {(f"r{i}", f"r{j}") for i, (a, _) in enumerate(rows) for j, (_, b) in enumerate(rows)
                     if (a, b) in set(rows)}  # fmt: skip
