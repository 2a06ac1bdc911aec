"""Tables that cannot be used: found before anything is embedded, counted, with rows, and what to type."""

import json
import os

import numpy as np
import pytest

from sensorium import parts
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.audio.files import wav
from sensorium.modalities.image.files import png


def load(file=None, left="a", right="b", **keys):
    spec = {"name": "table", "left": left, "right": right, **keys}
    return parts.make("datasets", {**spec, **({} if file is None else {"file": str(file)})}, "data").load()


def table(path, **columns):
    path.write_text(
        "\n".join(json.dumps(dict(zip(columns, v, strict=True))) for v in zip(*columns.values(), strict=True))
    )
    return path


@pytest.fixture
def pictures(tmp_path):
    """A CSV of eight pictures and their captions, written with these paths in place of the first ones."""
    for i in range(8):
        (tmp_path / f"{i}.png").write_bytes(png(np.full((4, 4), 20 * i + 1, np.uint8)))

    def make(*paths):
        names = [*paths, *(f"{i}.png" for i in range(len(paths), 8))]
        (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{name},text {i}\n" for i, name in enumerate(names)))
        return tmp_path / "t.csv"

    return make


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["no.png", "1.png", "none.png"], r"data\.left: of 8 image files in 'a' of t\.csv, 2 are not there, such as "
         r"'no\.png' in rows 2, 4; paths are relative to .*, another folder is data\.root=FOLDER, or leave them out with "
         r"data\.bad=skip"),
        (["http://x.org/a.png"], r"1 are remote, such as 'http://x\.org/a\.png' in row 2; remote files are not fetched, as "
         r"they may change from run to run; download them"),
        (["s3://bucket/a.png"], r"1 are remote"),
        (["empty.png"], r"1 are empty \(0 bytes\), such as 'empty\.png' in row 2"),
        (["folder.png"], r"1 are folders or devices, such as 'folder\.png'"),
        (["pointer.png"], r"1 are Git LFS pointers \(fetch them by git lfs pull\), such as 'pointer\.png'"),
        (["cut.png"], r"1 cannot be read, such as 'cut\.png' \(cannot read .*cut\.png as a picture"),
        (["text.png"], r"1 cannot be read, such as 'text\.png'"),
        (["", "cut.png"], r"1 have no path, such as in row 2"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used_are_counted_with_their_rows_or_left_out(tmp_path, pictures, paths, message):
    file = pictures(*paths)
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (tmp_path / "cut.png").write_bytes((tmp_path / "1.png").read_bytes()[:40])
    (tmp_path / "text.png").write_text("a picture, no doubt")
    with pytest.raises(BadData, match=message):
        load(file)
    left_out = sum(name != "1.png" for name in paths)
    data = load(file, bad="skip")
    assert len(data.left) == 8 - left_out == len(data.pairs) and data.notes["left_left_out"] == left_out


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_found(tmp_path, pictures):
    file = pictures()
    (tmp_path / "3.png").chmod(0)
    with pytest.raises(BadData, match=r"1 may not be read \(permissions\), such as '3\.png' in row 5"):
        load(file)


@pytest.mark.parametrize("ending", ["wav", "flac", "jpg", "webp", "gif", "bmp"])
def test_a_truncated_file_of_any_format_is_found_before_anything_is_embedded(tmp_path, ending):
    rng = np.random.default_rng(0)
    for i in range(4):
        path = tmp_path / f"{i}.{ending}"
        if ending in ("wav", "flac"):
            samples = rng.integers(-9000, 9000, 8000).astype(np.int16)
            path.write_bytes(wav(samples, 8000))
            if ending == "flac":
                pytest.importorskip("soundfile").write(path, samples, 8000)
        else:
            pytest.importorskip("PIL.Image").fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    names = [f"{i}.{ending}" for i in range(4)]
    file = table(tmp_path / "t.jsonl", a=names, b=list("wxyz"))
    assert len(load(file).left) == 4
    content = (tmp_path / names[2]).read_bytes()
    (tmp_path / names[2]).write_bytes(content[: len(content) // 2])
    with pytest.raises(BadData, match=rf"of 4 (image|audio) files .* 1 cannot be read, such as '2\.{ending}'"):
        load(file)


@pytest.mark.parametrize(
    ("columns", "keys", "error", "message"),
    [
        ({"b": ["x", "", "z"]}, {}, BadData, r"data\.right: 1 of 3 texts in 'b' of t\.jsonl are empty \(row 2\); fill them in, "
         r"or leave them out with data\.bad=skip"),
        ({"b": ["x", None, " "]}, {}, BadData, r"2 of 3 texts in 'b' of t\.jsonl are empty \(rows 2, 3\)"),
        ({"b": ["x", 3, "z"]}, {}, BadData, r"column 'b' of t\.jsonl mixes text and int \(row 2\); convert it to one type"),
        ({"b": [[1.0, 2.0], [1.0], [3.0, 4.0]]}, {}, BadData, r"holds lists of different lengths \(2 × 2, 1 × 1\)"),
        ({"b": [None] * 3}, {}, BadData, r"column 'b' of t\.jsonl is empty in every row"),
        ({"b": [1.5, 2.5, 3.5]}, {}, BadData, r"column 'b' of t\.jsonl holds numbers; expected paths of files, texts, or"),
        ({"b": [[1.0, 0.0], [0.0, 0.0], [3.0, 4.0]]}, {}, BadData, r"'b' of t\.jsonl: 1 of 3 rows hold only zeros"),
        ({}, {"right": "captoin"}, BadRecipe, r"data\.right=captoin: t\.jsonl has no column 'captoin'; did you mean 'caption'"),
        ({}, {"right": "x_*"}, BadRecipe, r"data\.right=x_\* matches no column of t\.jsonl; it has a, b, caption, n"),
        ({}, {"right": "c_1..3"}, BadRecipe, r"data\.right=c_1\.\.3: t\.jsonl has no column 'c_1'"),
        ({}, {"right": "a"}, BadRecipe, r"data\.left and data\.right both name the column 'a'; name two columns"),
        ({}, {"ids": "x"}, BadRecipe, r"data\.left_ids=x: t\.jsonl has no column 'x'; known: a, b, caption, n"),
        ({}, {"group": "x"}, BadRecipe, r"data\.group=x: t\.jsonl has no column 'x'"),
        ({}, {"split": "n"}, BadData, r"split value '1'; expected train, dev\|validation or test"),
        ({}, {"columns": ["x"]}, BadRecipe, r"data\.columns=x: t\.jsonl has no column 'x'"),
        ({}, {"relevant": "x"}, BadRecipe, r"data\.relevant=x: t\.jsonl has no column 'x'"),
        ({}, {"label": "caption"}, BadData, r"the label 'caption' of 3 pairs is no number \(rows 1, 2, 3\)"),
        ({}, {"right_kind": "txt"}, BadRecipe, r"data\.right_kind='txt' is no kind of item; did you mean 'text'"),
        ({}, {"bad": "drop"}, BadRecipe, r"data\.bad='drop'; expected stop or skip"),
        ({}, {"root": "/no/such"}, BadData, r"no folder /no/such; type: data\.root=FOLDER"),
        ({}, {"right": None}, BadRecipe, r"table: no data\.right; type: data\.file=TABLE .* \(t\.jsonl has a, b, caption, n\)"),
        ({"n": [1, "x", 3]}, {}, BadData, r"t\.jsonl: column 'n' mixes int .* or keep only other columns: data\.columns="),
        ({"b": ["one"] * 3}, {}, BadData, r"all 3 pairs are in 1 group, and training, validation and test need one each"),
    ],
)  # fmt: skip
def test_cells_and_keys_that_cannot_be_used(tmp_path, columns, keys, error, message):
    base = {"a": list("pqr"), "b": list("xyz"), "caption": list("uvw"), "n": [1, 2, 3]}
    file = table(tmp_path / "t.jsonl", **{**base, **columns})
    with pytest.raises(error, match=message):
        load(file, **keys)


def test_empty_texts_are_left_out_when_asked(tmp_path):
    file = table(tmp_path / "t.jsonl", a=list("pqrs"), b=["x", "", "z", "w"])
    data = load(file, bad="skip")
    assert len(data.pairs) == 3 and data.notes["right_left_out"] == 1


def test_files_of_two_kinds_and_of_none(tmp_path):
    (tmp_path / "0.png").write_bytes(png(np.full((4, 4), 9, np.uint8)))
    file = table(tmp_path / "t.jsonl", a=["0.png", "1.wav", "2.png", "a dog"], b=list("wxyz"))
    with pytest.raises(BadData, match=r"'a' of t\.jsonl mixes kinds: 2 image \(rows 1, 3\); 1 audio \(row 2\); 1 no file of a "
                       r"known kind \(row 4\)"):  # fmt: skip
        load(file)
    for name in "0123":
        (tmp_path / f"{name}.tif").write_bytes(b"x")
    file = table(tmp_path / "u.jsonl", a=[f"{name}.tif" for name in "0123"], b=list("wxyz"))
    with pytest.raises(
        BadData, match=r"names files that end in \.tif, which belongs to no modality; type: data\.left_kind="
    ):
        load(file)


@pytest.mark.parametrize(
    ("left", "right", "keys", "message"),
    [
        ([1, 2, 3], ["a1", "a2", "a3"], {}, r"have no id in common: ids are whole numbers such as '1' on the left, ids are "
         r"text such as 'a1' on the right; convert one"),
        ([1.5, 2.5, 3.5], [1, 2, 3], {}, r"ids 'id' of l\.jsonl are floating-point numbers, such as 1\.5"),
        ([1, None, 3], [1, 2, 3], {}, r"ids 'id' of l\.jsonl: 1 of 3 are missing \(row 2\); every row needs an id"),
        (["a", 2, 3], [1, 2, 3], {}, r"ids 'id' of l\.jsonl are of several types \(int, str\)"),
        ([1, 2, 3], [2, 3, 9], {}, r"1 ids are only in l\.jsonl \(such as '1', row 1\) and 1 ids are only in r\.jsonl "
         r"\(such as '9', row 3\); correct the ids, or drop these: data\.allow_missing=true"),
        ([1, 1, 2], [1, 1, 2], {}, r"1 ids stand in several rows of both tables, such as '1'"),
    ],
)  # fmt: skip
def test_ids_that_do_not_join(tmp_path, left, right, keys, message):
    table(tmp_path / "l.jsonl", id=left, a=list("pqr"))
    table(tmp_path / "r.jsonl", id=right, b=list("xyz"))
    with pytest.raises(BadData, match=message):
        load(None, f"{tmp_path / 'l.jsonl'}:a", f"{tmp_path / 'r.jsonl'}:b", ids="id", **keys)


def test_a_column_of_no_table_asks_for_the_table():
    with pytest.raises(
        BadRecipe, match=r"data\.left=a: in which table\? type: data\.file=TABLE, or data\.left=TABLE:a"
    ):
        load(None)


def test_two_tables_without_ids_are_not_joined_by_position(tmp_path):
    table(tmp_path / "l.jsonl", a=list("pqr"))
    table(tmp_path / "r.jsonl", b=list("xyz"))
    with pytest.raises(BadRecipe, match=r"l\.jsonl has no ids to join it by, and rows are never joined by position"):
        load(None, f"{tmp_path / 'l.jsonl'}:a", f"{tmp_path / 'r.jsonl'}:b")


def test_pairs_of_unknown_ids_are_counted_with_their_rows_or_dropped(tmp_path):
    table(tmp_path / "l.jsonl", id=[1, 2, 3, 4], a=list("pqrs"))
    table(tmp_path / "r.jsonl", id=[1, 2, 3, 4], b=list("wxyz"))
    (tmp_path / "p.csv").write_text("left,right\n1,1\n9,2\n2,2\n3,8\n9,9\n3,3\n4,4\n")
    specs = {
        "left": f"{tmp_path / 'l.jsonl'}:a",
        "right": f"{tmp_path / 'r.jsonl'}:b",
        "pairs": str(tmp_path / "p.csv"),
    }
    with pytest.raises(BadData, match=r"p\.csv: of 7 pairs, 2 name a left id that is not in l\.jsonl, such as '9' in rows 3, 6 "
                       r"and 2 name a right id that is not in r\.jsonl, such as '8' in rows 5, 6; correct the ids, or drop "
                       r"these pairs: data\.allow_missing=true"):  # fmt: skip
        load(ids="id", **specs)
    data = load(ids="id", allow_missing=True, **specs)
    assert (
        len(data.pairs) == 4 and data.notes["pairs_of_unknown_left"] == 2 and data.notes["pairs_of_unknown_right"] == 1
    )
    with pytest.raises(
        BadRecipe, match=r"p\.csv has no column called query|data\.pairs_left=x: p\.csv has no column 'x'"
    ):
        load(ids="id", pairs_left="x", **specs)
    (tmp_path / "p.csv").write_text("q,d\n1,1\n")
    with pytest.raises(
        BadRecipe, match=r"p\.csv has no column called left, left_id, query-id; type: data\.pairs_left=COLUMN"
    ):
        load(ids="id", **specs)
