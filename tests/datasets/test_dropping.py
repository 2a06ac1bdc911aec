"""data.drop=FILE: what a drop list names is left out of any data set, and everything else stays as it was."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sensorium
from sensorium import recipe as recipes
from sensorium.contracts import Dataset
from sensorium.datasets import _dropping
from sensorium.errors import BadData, BadRecipe
from sensorium.pairs import Pairs
from sensorium.pairs.classes import Classes
from sensorium.pairs.sets import ItemSets, Questions, ragged
from sensorium.types import Data, Items

N = 7


class Small(Dataset):
    """Seven rows on both sides, each left row related to two right ones."""

    def load(self):
        return made()


def made() -> Data:
    left, right = np.repeat(np.arange(N), 2), np.concatenate([[i, (i + 1) % N] for i in range(N)])
    sides = [Items(np.array([f"{s}{i}" for i in range(N)]), rows, "vector", {"n": np.arange(N)}, name=name)
             for s, rows, name in (("a", np.eye(N, dtype=np.float32), "image"), ("b", np.eye(N)[::-1], ""))]  # fmt: skip
    return Data(*sides, Pairs.of(left, right, group=left), {"said": ["before"]})


def listed(path, text: str) -> _dropping.DropList:
    path.write_text(text)
    return _dropping.DropList.read(path)


def edges(data: Data) -> set[tuple[str, str]]:
    right = data.right or data.left
    return set(zip(data.left.ids[data.pairs.left].tolist(), right.ids[data.pairs.right].tolist(), strict=True))


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, N - 1), max_size=3), st.sets(st.integers(0, N - 1), max_size=3), st.data())
def test_what_stays_is_what_the_list_does_not_name(tmp_path_factory, left, right, draw):
    data = made()
    pairs = draw.draw(st.sets(st.sampled_from(sorted(edges(data))), max_size=4))
    rows = [*((f"a{i}", "") for i in left), *(("", f"b{i}") for i in right), *pairs]
    path = tmp_path_factory.mktemp("list") / "drop.csv"
    text = "why,left,right\n" + "".join(f"seen,{a},{b}\n" for a, b in rows)
    stays = {(a, b) for a, b in edges(data) - pairs if int(a[1:]) not in left and int(b[1:]) not in right}
    if not rows or not stays:
        return
    found = listed(path, text).apply(data)
    assert edges(found) == stays
    for side, gone, name in (("left", left, "a"), ("right", right, "b")):
        items, before = getattr(found, side), getattr(data, side)
        kept = [i for i in range(N) if i not in gone]
        assert items.ids.tolist() == [f"{name}{i}" for i in kept] and items.meta["n"].tolist() == kept
        np.testing.assert_array_equal(items.values, before.values[kept])
    of = data.pairs
    groups = {(a, b): group for a, b, group in zip(of.left, of.right, of.group, strict=True)}
    for a, b, group in zip(found.left.meta["n"][found.pairs.left], found.right.meta["n"][found.pairs.right],
                           found.pairs.group, strict=True):  # fmt: skip
        assert groups[(a, b)] == group
    count = found.notes["dropped"]
    assert (count["pairs"], count["left"], count["right"]) == (len(pairs), len(left), len(right))
    assert count["pairs_in_all"] == 2 * N - len(stays)


def test_the_count_is_said(tmp_path):
    found = listed(tmp_path / "drop.csv", "left,right\na0,b0\na1,\n").apply(made())
    assert found.notes["said"] == ["before", f"data.drop={tmp_path / 'drop.csv'} leaves out 1 pairs and 1 image items: "
                                   "3 of 14 pairs in all"]  # fmt: skip


def test_ids_of_either_side_one_a_line(tmp_path):
    found = listed(tmp_path / "drop.txt", "a0\n\n b3 \n").apply(made())
    assert "a0" not in found.left.ids and "b3" not in found.right.ids and len(found.left) == len(found.right) == N - 1


def test_classes_go_with_their_rows(tmp_path):
    rows = np.arange(N)
    pairs = replace(Pairs.of(rows, rows), classes=Classes.of(list("xyxyxyx"), rows, rows, N, N))
    found = listed(tmp_path / "drop.jsonl", '{"left": "a1"}\n{"left": "a2", "right": "b2"}\n').apply(
        replace(made(), pairs=pairs)
    )
    assert len(found.left) == N - 1 and len(found.pairs) == N - 2
    np.testing.assert_array_equal(found.pairs.classes.left, np.delete(pairs.classes.left, 1))
    np.testing.assert_array_equal(found.pairs.classes.right, pairs.classes.right)


def test_one_table_with_sets_and_questions(tmp_path):
    items = made().left
    sets = ItemSets.of([[0, 1, 2], [3, 4], [4, 5, 6]])
    context = ragged([[0, 1], [4, 5]])
    asked = Questions(context, np.array([[2, 3], [6, 2]]), np.zeros(2, int), np.array(["test"] * 2), np.arange(2))
    left, right = np.array([0, 0, 1, 3, 4, 4, 5]), np.array([1, 2, 2, 4, 5, 6, 6])
    data = Data(items, None, replace(Pairs.of(left, right, same_table=True), sets=sets, questions=asked))
    found = listed(tmp_path / "drop.csv", "id\na3\n").apply(data)
    assert [found.left.ids[s].tolist() for s in np.split(found.pairs.sets.items.values, [3])] == [
        ["a0", "a1", "a2"], ["a4", "a5", "a6"]]  # fmt: skip
    assert found.left.ids[found.pairs.questions.answers].tolist() == [["a6", "a2"]]
    assert edges(found) == {(a, b) for a, b in edges(data) if "a3" not in (a, b)}
    with pytest.raises(BadData, match="1 rows name pairs, but these data are sets of items, such as outfits; name"):
        listed(tmp_path / "drop.csv", "left,right\na0,a1\n").apply(data)
    whole = listed(tmp_path / "drop.csv", "left,right\na1,a0\n").apply(replace(data, pairs=Pairs.of(left, right, same_table=True)))  # fmt: skip
    assert edges(whole) == edges(data) - {("a0", "a1")}, "a relation within one table has no direction"


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        ("drop.csv", "left,right\na0,\nx1,\n,y2\n", BadData, "2 of 3 ids are not in the data, such as 'x1', 'y2'; correct"),
        ("drop.txt", "b99\n", BadData, "1 of 1 ids are not in the data, such as 'b99'"),
        ("drop.csv", "left,right\na0,b5\n", BadData, "1 of 1 pairs are not in the data, such as 'a0 ~ b5'"),
        ("drop.csv", "lefts,b\na0,b5\n", BadRecipe, "has no column left, right or id; did you mean 'lefts'"),
        ("drop.csv", "left,right,why\na0,b0,\n,,old\n", BadData, "1 of 2 rows name no item, such as row 2"),
        ("drop.txt", "".join(f"a{i}\n" for i in range(N)), BadData, "nothing is left of 14 pairs; list fewer"),
    ],
)  # fmt: skip
def test_lists_that_cannot_be_used(tmp_path, name, text, error, message):
    with pytest.raises(error, match=message):
        listed(tmp_path / name, text).apply(made())


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(BadRecipe, match="no such file; to write one type: sensorium doctor RUN --pairs --out FILE"):
        _dropping.DropList.read(tmp_path / "none.csv")


def test_the_recipe_takes_it_for_every_data_set():
    plain = recipes.load("glyphs")
    assert recipes.load("glyphs", ["data.drop="]).hash == plain.hash == "6795ae4617af7be1"
    given_ = recipes.load("glyphs", ["data.drop=drop.csv"])
    assert given_.hash != plain.hash and isinstance(given_.part("data"), _dropping.Without)
    with pytest.raises(BadRecipe, match="data.drop=3; expected a file, such as drop.csv"):
        recipes.load("glyphs", ["data.drop=3"])


def test_a_run_without_some_pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    np.savez("two.npz", left=x, right=x[:, ::-1] + 0.1, id=[f"k{i}" for i in range(60)])
    (tmp_path / "drop.csv").write_text("left,right\nk3,k3\nk5,\n")
    keys = [
        "data.file=two.npz",
        "data.drop=drop.csv",
        "objective=ridge",
        "evaluate.plots=false",
        "evaluate.resamples=9",
    ]
    run = sensorium.run("arrays", keys, out="runs/a", quiet=True)
    assert run.metrics["dataset"]["dropped"] == {"pairs": 1, "left": 1, "right": 0, "pairs_in_all": 2}
    assert len(run.index("left")) == 59 and len(run.index("right")) == 60
    monkeypatch.chdir("/")
    again = sensorium.pipeline.evaluate_again(tmp_path / "runs/a", ["evaluate.resamples=8"], quiet=True)
    assert again.metrics["data"] == run.metrics["data"] and len(again.index("left")) == 59
