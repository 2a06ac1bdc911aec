"""Columns of every type keep it, or are refused by name."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sensorium
from sensorium.datasets.arrays import Arrays
from sensorium.errors import BadData, BadRecipe

N = 6


def vectors(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def parquet(path, n=N, **columns):
    pq.write_table(pa.table({"image": vectors(n, 4).tolist(), "text": vectors(n, 3, seed=1).tolist(), **columns}), path)
    return str(path)


KEPT = {
    "categories": pa.array(["a", None, "b"] * 2).dictionary_encode(),
    "lists": pa.array([["x"], [], ["y", "z"]] * 2),
    "times": pa.array([datetime.datetime(2020, 1, k) for k in range(1, 7)], pa.timestamp("us")),
    "days": pa.array([datetime.date(2020, 1, k) for k in range(1, 7)]),
    "flags": pa.array([True, None, False] * 2),
    "counts": pa.array([1, None, 2**60] * 2),
    "text": pa.array(["é", "", None] * 2),
    "bytes": pa.array([b"a", b"b", None] * 2),
    "ragged": pa.array([[1.5], [], [1.0, 2.0]] * 2),
    "wide": pa.array(["w" * 500, "x", None] * 2, pa.large_string()),
}


@pytest.mark.parametrize("name", KEPT)
def test_parquet_columns_keep_their_type(tmp_path, name):
    column = {"c": KEPT[name]}
    data = Arrays(file=parquet(tmp_path / "a.parquet", **column)).load()
    found = data.left.meta["c"]
    expected = [v.decode() if isinstance(v, bytes) else v for v in KEPT[name].to_pylist()]
    assert [None if v is None or v != v else v for v in found.tolist()] == expected
    table = sensorium.table.Table(data.left.ids, data.left.meta)
    table.save(tmp_path / "t.parquet")
    assert sensorium.table.Table.load(tmp_path / "t.parquet").columns["c"].tolist() == found.tolist()


def test_columns_that_metadata_cannot_hold_are_refused_by_name(tmp_path):
    for column in (pa.array([decimal.Decimal("1.5")] * N), pa.array([{"x": 1}] * N), pa.array([b"\xff"] * N)):
        path = parquet(tmp_path / "a.parquet", price=column, year=[*range(N)])
        with pytest.raises(
            BadData, match=r"price.*; or keep only other columns: data.columns='\[…\]', '\[\]' for none"
        ):
            Arrays(file=path).load()
        assert list(Arrays(file=path, columns=["year"]).load().left.meta) == ["year"]
    with pytest.raises(BadRecipe, match=r"data.columns: a.parquet has no 'yeer' \(did you mean 'year'\?\)"):
        Arrays(file=path, columns=["yeer"]).load()


def test_lists_of_captions_go_with_their_vectors(tmp_path):
    text = pa.array([row.tolist() for row in vectors(N, 2, 3)])
    captions = pa.array([[f"{k}a", f"{k}b"] for k in range(N)])
    pq.write_table(
        pa.table({"image": vectors(N, 4).tolist(), "text": text, "captions": captions}), tmp_path / "a.parquet"
    )
    data = Arrays(file=str(tmp_path / "a.parquet")).load()
    assert data.right.meta["captions"].tolist()[:3] == ["0a", "0b", "1a"]
    assert data.left.meta["captions"].tolist()[0] == ["0a", "0b"]


@pytest.mark.parametrize("what", ["ids", "split"])
def test_a_column_of_another_length_is_an_error(tmp_path, what):
    short = {"ids": [f"i{k}" for k in range(39)], "split": ["train"] * 30 + ["test"] * 9}[what]
    np.savez(tmp_path / "a.npz", image=vectors(40, 4), text=vectors(40, 3), **{what: np.array(short)})
    with pytest.raises(
        BadData, match=rf"a.npz:{what}, the {what}, has shape \(39,\); expected \(40,\).*data.{what}=\"\""
    ):
        Arrays(file=str(tmp_path / "a.npz")).load()
    assert len(Arrays(file=str(tmp_path / "a.npz"), **{what: ""}).load().left) == 40


def test_missing_ids_and_splits_are_counted(tmp_path):
    path = parquet(tmp_path / "a.parquet", id=["a", None, "c", "d", "e", None])
    with pytest.raises(BadData, match="ids of a.parquet:image: 2 of 6 ids are missing"):
        Arrays(file=path).load()
    path = parquet(tmp_path / "a.parquet", split=["train", None, "test", "train", "dev", None])
    with pytest.raises(BadData, match=r"the split of 2 pairs is missing, such as in row 1"):
        Arrays(file=path).load()


@pytest.mark.parametrize("values", [["a", None, "a", None, "b", "b"], [True, None, True, None, False, False],
                                    [1.0, float("nan"), 1.0, float("nan"), 2.0, 2.0]])  # fmt: skip
def test_rows_without_a_group_are_groups_of_their_own(tmp_path, values):
    data = Arrays(file=parquet(tmp_path / "a.parquet", g=values), group="g").load()
    assert data.notes["rows_without_group"] == 2
    group = data.pairs.group.tolist()
    assert group[0] == group[2] and group[4] == group[5] and len(set(group)) == 4


def test_ids_with_numbers_are_cut_only_where_they_are_complete(tmp_path):
    for ids, groups in (
        ([f"owner/repo#{k}" for k in (1, 2, 3, 7, 9, 12)], 6),
        ([f"{repo}#{k}" for repo in "ab" for k in (1, 2, 4)], 6),
        ([f"owner/repo#{k}" for k in range(1, 7)], 6),
        ([f"{clip}.wav#{k}" for clip in "abc" for k in (1, 2)], 3),
    ):
        np.savez(tmp_path / "a.npz", image=vectors(N, 4), text=vectors(N, 3), ids=np.array(ids))
        assert len(np.unique(Arrays(file=str(tmp_path / "a.npz")).load().pairs.group)) == groups
