"""joined: a picture and a text of one item side by side, from the folder to searches, additions and the server."""

import base64
import csv
import json
import re

import numpy as np
import pytest
from fashion_folder import make, write
from fastapi.testclient import TestClient

import sensorium
from sensorium import parts, store
from sensorium.errors import BadData, BadRecipe
from sensorium.numerics import unit
from sensorium.search import add_table
from sensorium.serve import Settings, create_app
from sensorium.types import Items, Pictured

PARTS = {"image": {"name": "hashing", "takes": "image", "dim": 64}, "text": {"name": "hashing", "dim": 64}}


def encoder(**keys):
    return parts.make("encoders", {"name": "joined", **PARTS, **keys}, "left.encoder")


def toml(keys):
    return "{" + ", ".join(f"{k}={toml(v) if isinstance(v, dict) else repr(v)}" for k, v in keys.items()) + "}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return make(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def run(shop, tmp_path_factory):
    overrides = [f"data.root={shop}", "data.text=title", f"left.encoder={toml({'name': 'joined', **PARTS})}",
                 "train.epochs=2", "evaluate.resamples=20", "evaluate.baselines=[]", "evaluate.plots=false"]  # fmt: skip
    return sensorium.run("outfits", overrides, out=tmp_path_factory.mktemp("runs") / "joined", quiet=True)


PICTURE = np.random.default_rng(1).integers(0, 200, (8, 8, 3)).astype(np.uint8)


def test_a_vector_is_both_parts_at_unit_length_times_their_weights():
    image, text = (parts.make("encoders", dict(spec), "e").encode([value]) for spec, value in
                   zip(PARTS.values(), (PICTURE, "red shirt"), strict=True))  # fmt: skip
    (made,) = encoder(image_weight=3.0, text_weight=4.0).encode([Pictured(PICTURE, "red shirt")])
    np.testing.assert_allclose(made, np.concatenate([0.6 * unit(image[0]), 0.8 * unit(text[0])]), rtol=1e-6)
    assert abs(np.linalg.norm(made) - 1) < 1e-6


def test_a_cosine_is_the_weighted_mean_of_the_parts_cosines():
    random = np.random.default_rng(0)
    items = [Pictured(random.integers(0, 256, (8, 8), np.uint8), word) for word in ("red shirt", "red shoe")]
    z = encoder(image_weight=1.0, text_weight=2.0).encode(items)
    a, b = (unit(parts.make("encoders", dict(PARTS[kind]), "e").encode([one[at] for one in items]))
            for at, kind in enumerate(PARTS))  # fmt: skip
    assert np.isclose(z[0] @ z[1], (a[0] @ a[1] + 4 * b[0] @ b[1]) / 5, rtol=1e-5)


def test_a_part_that_is_missing_is_zeros():
    both, picture, words = encoder().encode([Pictured(PICTURE, "a"), PICTURE, Pictured(None, "a")])
    np.testing.assert_array_equal(picture, np.where(np.arange(128) < 64, both, 0))
    np.testing.assert_array_equal(words, np.where(np.arange(128) < 64, 0, both))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image_weight": -1.0}, "joined: image_weight=-1.0, text_weight=1.0; expected 0 or above"),
        ({"image_weight": 0.0, "text_weight": 0.0}, "expected 0 or above, and one of them above 0"),
        ({"image": "hashing"}, "encoder.image='hashing' takes text; expected an encoder of one image"),
        ({"text": "hog"}, "encoder.text='hog' takes image; expected an encoder of one text"),
        ({"image": "joined"}, "encoder.image='joined' joins parts itself"),
        ({"image": "hogg"}, "no such encoder"),
    ],
)
def test_parts_and_weights_that_cannot_be(keys, message):
    with pytest.raises(BadRecipe, match=re.escape(message)):
        encoder(**keys)


def test_items_without_any_text_are_pictures_alone(shop, tmp_path):
    keys = [f"data.root={shop}", "data.text=", f"left.encoder={toml({'name': 'joined', **PARTS})}", "train.epochs=2",
            "evaluate.resamples=20", "evaluate.baselines=[]", "evaluate.plots=false"]  # fmt: skip
    made = sensorium.run("outfits", keys, out=tmp_path / "run", quiet=True)
    again = sensorium.open(made.folder).encoder("left")
    assert again.dim == made.encoder("left").dim == 64 and again.joins == ("image",)
    (alone,) = parts.make("encoders", dict(PARTS["image"]), "e").encode([PICTURE])
    np.testing.assert_allclose(again.encode([PICTURE])[0], unit(alone), rtol=1e-6)
    assert 'text = ""' in (made.folder / "recipe.toml").read_text()


def test_the_usual_column_of_texts_is_taken_where_the_encoder_takes_texts(shop, run, tmp_path):
    keys = [
        f"data.root={shop}",
        "data.text=auto",
        "train.epochs=2",
        "evaluate.resamples=20",
        "evaluate.baselines=[]",
        "evaluate.plots=false",
    ]
    joined = f"left.encoder={toml({'name': 'joined', **PARTS})}"
    both = sensorium.run("outfits", [*keys, joined], out=tmp_path / "both", quiet=True)
    assert both.metrics["data"] == run.metrics["data"]  # as with data.text=title
    alone = sensorium.run("outfits", [*keys, "left.encoder=hog"], out=tmp_path / "alone", quiet=True)
    assert alone.encoder("left").takes == "image" and not alone.encoder("left").joins


def test_an_encoder_of_pictures_alone_refuses_pictures_with_texts(shop, tmp_path):
    with pytest.raises(BadData, match=r"takes the picture alone; take both by left\.encoder=joined"):
        sensorium.run("outfits", [f"data.root={shop}", "data.text=title", "left.encoder=hog"],
                      out=tmp_path / "run", quiet=True)  # fmt: skip


def test_each_part_has_a_store_of_its_own_and_another_text_encodes_no_picture_again(tmp_path):
    random = np.random.default_rng(0)
    pictures = [tmp_path / f"{i}.npy" for i in range(3)]
    for path in pictures:
        path.write_bytes(random.bytes(8))
    seen = []

    class Counting(type(parts.make("encoders", dict(PARTS["image"]), "e"))):
        def encode(self, values):
            seen.extend(values)
            return np.arange(1.0, 1 + 64 * len(values), dtype=np.float32).reshape(-1, 64)

    first, second = encoder(), encoder(text={"name": "hashing", "dim": 16})
    for one in (first, second):
        one.parts["image"] = Counting(takes="image", dim=64)
    items = Items(np.array(["a", "b", "c"]), [Pictured(str(p), f"text {i}") for i, p in enumerate(pictures)], "image")
    for one in (first, second, first):
        name = f"shop-left-joined-{sensorium.fingerprint.digest(dict(one.fingerprint))[:8]}"
        found = store.embed(items, one, tmp_path / "stores" / name, progress=False)
        assert found.vectors.shape == (3, one.dim)
    assert len(seen) == 3
    names = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "stores").iterdir())
    assert names == ["shop-left-hashing"] * 3 + ["shop-left-joined"] * 2


def test_a_changed_text_is_another_content(tmp_path):
    items = Items(np.array(["a", "b"]), [Pictured(PICTURE, "one"), Pictured(PICTURE, "two")], "image")
    store.embed(items, encoder(), tmp_path / "s", progress=False)
    changed = Items(items.ids, [items.values[0], Pictured(PICTURE, "three")], "image")
    found, report = store.embed_reported(changed, encoder(), tmp_path / "s", progress=False)
    assert (report.encoded, report.reused) == (1, 1)
    np.testing.assert_allclose(found.vectors[:], encoder().encode(changed.values), rtol=1e-6)


def test_searches_by_either_part_and_by_both(run, shop):
    path, title = shop / "images" / "0000.png", run.index("left").table.columns["title"][0]
    (both,) = run.search(image=str(path), text=title, k=1)
    assert both["id"] == "0000" and both["score"] > 0.9999
    assert [hit["id"] for hit in run.search(id="0000", k=3)] == [
        hit["id"] for hit in run.search(image=str(path), text=title, k=4) if hit["id"] != "0000"
    ]
    vector = run.encode("left", [Pictured(str(path), None)])[0]
    (alone,) = run.search(image=str(path), k=1)
    assert np.isclose(alone["score"], float(vector @ run.vector_of("left", alone["id"])), atol=1e-5)
    words = run.encode("left", [Pictured(None, "red shirt")])[0]
    (found,) = run.search("red shirt", k=1)
    assert np.isclose(found["score"], float(words @ run.vector_of("left", found["id"])), atol=1e-5)
    assert run.search(id="0000", k=1)[0]["category"]
    with pytest.raises(BadRecipe, match="give exactly one of"):
        run.search(image=str(path), text=title, id="0000")


def test_additions_take_both_parts_and_the_category_from_the_recipes_columns(run, shop, tmp_path):
    opened = run.save(tmp_path / "copy")
    (first, *_) = csv.reader((shop / "metadata.csv").read_text().splitlines()[1:])
    write(shop / "new.csv", ["id", "path", "semantic_category", "title"], [["new", *first[1:4]]])
    (record,) = add_table.add(opened, shop / "new.csv")
    assert record["added"] == 1
    table = opened.index("left").table
    assert table.columns["category"][-1] == table.columns["semantic_category"][-1] == "tops"
    (hit,) = opened.search(id="new", k=1)
    assert hit["id"] == first[0] and hit["score"] > 0.9999
    write(shop / "poor.csv", ["id", "path"], [["poor", first[1]]])
    with pytest.raises(BadRecipe, match=r"poor\.csv has no column 'title', the texts beside the pictures"):
        add_table.add(opened, shop / "poor.csv")


def test_the_server_takes_either_part_and_both(run, shop, tmp_path):
    opened = run.save(tmp_path / "copy")
    image = base64.b64encode((shop / "images" / "0000.png").read_bytes()).decode()
    title = opened.index("left").table.columns["title"][0]
    app = create_app([opened.folder], Settings(log="off"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        found = client.post("/search", json={"image": image, "text": title, "k": 1}).json()["hits"][0]
        assert found["id"] == "0000" and found["score"] > 0.9999 and found["kind"] == "image" and found["media"]
        assert client.get(found["media"]).status_code == 200
        for one in ({"image": image}, {"text": title}):
            assert client.post("/search", json={**one, "k": 1}).status_code == 200
        files = {
            "query": (None, json.dumps({"k": 1, "text": title})),
            "image": ("a.png", (shop / "images/0000.png").read_bytes()),
        }
        assert client.post("/search", files=files).json()["hits"][0]["score"] > 0.9999
        new = {"id": "live", "side": "left", "image": image, "text": title, "columns": {"category": "tops"}}
        assert client.post("/items", json=new).status_code == 201
        found = client.post("/search", json={"id": "live", "k": 1}).json()["hits"][0]
        assert found["id"] == "0000" and found["score"] > 0.9999
        assert client.post("/search", json={"id": "live", "text": title}).status_code == 400
