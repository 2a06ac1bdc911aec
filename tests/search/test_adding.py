"""Items added to a run through its own encoder, and removed: found at once, and by whoever opens the run next."""

import re
import shutil

import numpy as np
import pytest
import small_run

from sensorium.errors import BadData, BadRecipe
from sensorium.search import adding
from sensorium.search.run import open as open_run
from sensorium.types import Items, as_ids


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return small_run.make(tmp_path_factory.mktemp("adding") / "run").folder


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made, tmp_path / "run")
    return open_run(tmp_path / "run")


def texts(*names, **meta) -> Items:
    return Items(as_ids(list(names)), [f"symbol of {n}" for n in names], "text",
                 {name: np.array(column) for name, column in meta.items()})  # fmt: skip


def test_texts_are_encoded_found_replaced_and_removed(run):
    names = [f"n{i}" for i in range(600)]  # of several appends
    before = len(run.index("right").table)
    told = adding.add(run, "right", texts(*names, name=names))
    assert told == {"side": "right", "added": 600, "replaced": 0, "items": before + 600}
    for opened in (run, open_run(run.folder)):
        hit = opened.search(text="symbol of n77", side="right", to="right", k=1)[0]
        assert hit["id"] == "n77" and hit["name"] == "n77" and hit["text"] == "symbol of n77"
    z = run.encode("right", ["symbol of n5"])
    np.testing.assert_allclose(run.vector_of("right", "n5"), z[0], atol=1e-6)
    again = adding.add(run, "right", texts("n1", "new", name=["other", ""]), replace=True)
    assert (again["replaced"], again["items"]) == (1, before + 601)
    assert run.search(id="n1", side="right", to="right", k=1)[0]["id"] != "n1"
    assert adding.remove(run, "right", ["n1", "n2", "n2"]) == 2
    assert len(open_run(run.folder).index("right").table) == before + 599
    assert adding.remove(run, "right", ["n1", "n3"], missing=True) == 1


def test_pictures_of_files_and_arrays_are_stored_to_be_shown(run, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    pixels = np.eye(40, dtype=np.uint8) * 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    values = [str(tmp_path / "a.png"), pixels]
    adding.add(run, "left", Items(as_ids(["file", "array"]), values, "image"))
    live = run.journals["left"]
    assert live.media("file") == ("image/png", (tmp_path / "a.png").read_bytes())
    assert live.media("array")[0] == "image/png"
    np.testing.assert_allclose(run.vector_of("left", "file"), run.vector_of("left", "array"), atol=1e-6)


@pytest.mark.parametrize(
    ("side", "items", "error", "says"),
    [
        ("left", texts("a"), BadRecipe, "the image side of .* takes image, the new items are text"),
        ("right", texts("a", nmae=["x"]), BadData, "has no column 'nmae'; did you mean 'name'?"),
        ("up", texts("a"), BadRecipe, "side 'up'; expected image or text"),
        ("right", Items(as_ids(["a"]), np.ones((1, 3), np.float32), "vector"), BadData, "vectors of 3 numbers; the text"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_is_encoded(run, side, items, error, says):
    with pytest.raises(error, match=says):
        adding.add(run, side, items)
    assert not (run.folder / "live").exists()


def test_ids_that_are_there_or_not_are_counted(run):
    known = run.index("right").table.ids[:2].tolist()
    with pytest.raises(BadData, match="2 of 3 ids are on the text side of .* already, such as '" + re.escape(known[0])):
        adding.add(run, "right", texts(*known, "new"))
    with pytest.raises(BadData, match="nothing was removed: 1 of 2 ids are not on the text side .*, such as 'nobody'"):
        adding.remove(run, "right", [known[0], "nobody"])
    assert not (run.folder / "live").exists()


def test_a_file_that_cannot_be_read_is_named_and_what_was_added_before_stays(run, tmp_path):
    pytest.importorskip("PIL.Image")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    pixels = np.eye(40, dtype=np.uint8) * 255
    first = max(adding.BATCH, run.encoder("left").batch)
    values = [pixels] * first + [str(tmp_path / "bad.png")]
    with pytest.raises(BadData, match=r"1 of 1 pictures are bad, such as: cannot read .*bad.png"):
        adding.add(run, "left", Items(as_ids([f"p{i}" for i in range(len(values))]), values, "image"))
    assert sum(id.startswith("p") for id in open_run(run.folder).index("left").table.ids) == first
