"""Scripts: lines of text files, tables and vectors, each with the number that messages call it by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import BadData, BadRecipe
from sensorium.search import script as scripts


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_text_file_is_one_line_a_line_and_an_empty_one_keeps_its_number(tmp_path):
    found = scripts.read(written(tmp_path, "a.txt", "\ufeffHi there.\r\n\n  \nBye. ”é”"))
    assert found.texts == ["Hi there.", "", "  ", "Bye. ”é”"] and found.empty.tolist() == [False, True, True, False]
    assert found.named(3).endswith("a.txt, line 4")
    assert found.heading(3) == {"line": 4, "query": "Bye. ”é”", "text": "Bye. ”é”"}


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8")), min_size=1, max_size=20))
def test_every_line_of_a_text_file_comes_back(lines):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        found = scripts.read(written(Path(folder), "a.txt", "".join(f"{line}\n" for line in lines)))
    lines[0] = lines[0].removeprefix("\ufeff")
    assert found.texts == lines


def test_text_that_is_not_utf8_is_refused_by_its_line(tmp_path):
    path = written(tmp_path, "a.txt", b"fine\ncaf\xe9\n")
    with pytest.raises(BadData, match=r"a\.txt is not UTF-8 \(line 2, byte 0xe9\); save it as UTF-8"):
        scripts.read(path)


def test_a_table_has_its_columns_by_any_of_their_names(tmp_path):
    csv = 'Line,Character,EMOTION,duration,other\n"Hi, you",Bob,happy,2.5,x\n,Al,,,\n'
    found = scripts.read(written(tmp_path, "a.csv", csv))
    assert found.texts == ["Hi, you", ""] and found.first == 2
    assert found.columns == {"speaker": ["Bob", "Al"], "emotion": ["happy", None], "duration": [2.5, None]}
    lines = '{"id": "s1", "text": "Hi"}\n{"text": "Yo", "rate": 12}\n'
    found = scripts.read(written(tmp_path, "a.jsonl", lines))
    assert found.texts == ["Hi", "Yo"] and found.columns == {"id": ["s1", None], "rate": [None, 12.0]}
    assert found.heading(0)["query"] == "s1" and found.heading(1)["query"] == "Yo"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "speaker,words\nBob,Hi\n", "has no column of texts .it has speaker, words.; name one of them 'text'"),
        ("a.csv", "text,duration\nHi,0\n", "line 2: duration is '0'; expected a number above 0"),
        ("a.csv", "text,rate\nHi,fast\n", "line 2: rate is 'fast'; expected a number above 0"),
        ("a.txt", "", "has no lines; expected one line of text"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, name, content, message):
    with pytest.raises(BadData, match=message):
        scripts.read(written(tmp_path, name, content))


def test_vectors_of_files(tmp_path):
    x = np.arange(12, dtype=np.float64).reshape(3, 4)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", text_emb=x, filename=np.array(["a", "b", "c"]), transcript=np.array(["A", "B", "C"]))
    np.savez(tmp_path / "two.npz", first=x, second=x)
    found = scripts.read(tmp_path / "x.npy")
    assert found.texts == [None] * 3 and found.vectors.dtype == np.float32
    np.testing.assert_array_equal(found.vectors, x)
    found = scripts.read(tmp_path / "x.npz")
    assert found.texts == ["A", "B", "C"] and found.columns["id"] == ["a", "b", "c"]
    with pytest.raises(BadData, match="has arrays first, second; expected one of .n, d., or one called text_emb"):
        scripts.read(tmp_path / "two.npz")
    with pytest.raises(BadRecipe, match="no such file"):
        scripts.read(tmp_path / "none.txt")


def test_lines_given_in_python():
    assert scripts.of("Hi").texts == ["Hi"] and scripts.of(["Hi", ""]).texts == ["Hi", ""]
    assert scripts.of([{"text": "Hi", "speaker": "a"}]).columns == {"speaker": ["a"]}
    assert scripts.of(np.ones((2, 3))).vectors.shape == (2, 3)
    with pytest.raises(BadRecipe, match="lines is int; expected texts, mappings with a text each, vectors"):
        scripts.of(3)


def test_the_digest_is_of_all_that_a_script_says():
    one = scripts.of([{"text": "Hi", "speaker": "a"}])
    others = [[{"text": "Hi", "speaker": "b"}], [{"text": "Hi"}], [{"text": "Ho", "speaker": "a"}], np.ones((1, 2))]
    assert one.digest == scripts.of([{"text": "Hi", "speaker": "a"}]).digest
    assert len({one.digest, *(scripts.of(other).digest for other in others), scripts.of(np.zeros((1, 2))).digest}) == 6
