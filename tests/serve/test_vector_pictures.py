"""GET /pseudo-images/{id}: a PNG of the item's vector, as the transform says; what is refused."""

import io

import numpy as np
import pytest
from PIL import Image
from served import client_of, problem

import sensorium
from sensorium.modalities.image.pseudo import PseudoImage
from sensorium.search.raw import RawVectors

pytestmark = pytest.mark.xdist_group("serve")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pseudo")
    words = ["red", "green", "blue", "round", "square", "small", "large", "old", "new", "warm"]
    rows = [f"a/{i},{words[i % 10]} {words[i % 7]} cup {i},{words[i % 7]} {words[i % 10]} {i}" for i in range(40)]
    (folder / "pairs.csv").write_text("\n".join(["id,thing,name", *rows]))
    keys = [f"data.file={folder}/pairs.csv", "data.left=thing", "data.right=name", "data.ids=id", "left.encoder=hashing",
            "right.encoder=hashing", "right.head={name = 'linear', dim = 12}",
            "left.head={name = 'cnn', size = 16, width = 4, stages = 2, channels = 'replicate', dim = 12}",
            "train.epochs=1", "train.batch=8", "evaluate.baselines=[]", "evaluate.plots=false", "evaluate.resamples=20"]  # fmt: skip
    run = sensorium.run("pairs", keys, out=folder / "runs" / "pairs", quiet=True)
    assert len(run.index("left")) == len(run.index("right")) == 40
    return run, {side: RawVectors(run, side).of(np.array(["a/3"]))[0] for side in ("left", "right")}


@pytest.fixture(scope="module")
def client(run):
    with client_of([run[0].folder]) as one:
        yield one


def pixels(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


def test_the_picture_is_that_of_the_side_s_head_or_of_what_is_asked_for(client, run):
    x = run[1]
    own = pixels(client.get("/pseudo-images/a/3?side=left"))
    np.testing.assert_array_equal(own, PseudoImage(size=16, channels="replicate").pixels(x["left"]))
    np.testing.assert_array_equal(pixels(client.get("/pseudo-images/a/3?side=right")), PseudoImage().pixels(x["right"]))
    asked = pixels(client.get("/pseudo-images/a/3?side=left&size=40&mode=bilinear&channels=split"))
    np.testing.assert_array_equal(asked, PseudoImage(size=40, mode="bilinear").pixels(x["left"]))


def test_unchanged_pictures_are_not_sent_again_and_bad_requests_are_problems(client):
    first = client.get("/pseudo-images/a/3?side=left")
    again = client.get("/pseudo-images/a/3?side=left", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304 and again.content == b""
    problem(client.get("/pseudo-images/none?side=left"), 404)
    for bad in ("size=0", "size=513", "size=x", "mode=blur", "channels=four"):
        problem(client.get(f"/pseudo-images/a/3?side=left&{bad}"), 422)
