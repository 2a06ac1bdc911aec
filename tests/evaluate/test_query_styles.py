"""Query styles of a run: the same numbers by brute force, exclusions that hold, and where it can be asked for."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import sensorium
from sensorium import pipeline
from sensorium import recipe as recipes
from sensorium.cli import app
from sensorium.errors import BadRecipe
from sensorium.evaluate import query_styles
from sensorium.modalities.text import rewrites

PART = '''
import numpy as np
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

THINGS = ["dog", "car", "bird", "river", "door", "train", "bell", "clock"]
DOES = ["runs", "rolls", "sings", "moves", "opens", "stops"]

class Pictures:
    """48 pictures of two things each, three captions a picture."""
    def load(self):
        random = np.random.default_rng(0)
        of = [(a, b) for a in range(8) for b in range(8) if a != b][:48]
        base = random.standard_normal((8, 12))
        x = np.stack([base[a] + base[b] for a, b in of]) + 0.3 * random.standard_normal((48, 12))
        texts = [f"{start} {THINGS[a]} {DOES[(a + k) % 6]} near a {THINGS[b]}" for a, b in of
                 for k, start in enumerate(("A", "The", "One"))]
        clip = np.repeat(np.arange(48), 3)
        split = np.array(["train", "train", "validation", "test"])[np.arange(48) % 4]
        left = Items(np.array([f"p{i}" for i in range(48)]), x.astype(np.float32), "vector", name="picture")
        right = Items(np.array([f"p{i}#{k + 1}" for i in range(48) for k in range(3)]), texts, "text", name="caption")
        return Data(left, right, Pairs.of(clip, np.arange(144), group=clip, split=split[clip]))
'''


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("styles")
    (root / "made.py").write_text(PART)
    recipe = {"name": "styles", "data": {"name": f"{root / 'made.py'}:Pictures"}, "left": {"head": "linear"},
              "right": {"encoder": {"name": "hashing", "dim": 128}, "head": "linear"}, "objective": "ridge",
              "evaluate": {"styles": True, "plots": False, "baselines": [], "resamples": 50}}  # fmt: skip
    return sensorium.run(recipe, out=root / "runs" / "styles", quiet=True)


def test_every_style_is_measured_on_the_same_queries(run):
    styles = run.metrics["styles"]
    rows = {row["style"]: row for row in styles["results"]}
    assert list(rows) == list(rewrites.STYLES) and styles["direction"] == "right->left"
    assert {row["n_queries"] for row in rows.values()} == {36} and {r["n_candidates"] for r in rows.values()} == {12}
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows.values())
    assert rows["caption"]["ratio"] == 1 and styles["worst_ratio"] == min(row["ratio"] for row in rows.values())
    assert rows[styles["best"]]["value"] == max(row["value"] for row in rows.values())
    plain = [r for r in run.metrics["uncorrected"] or run.metrics["results"]
             if (r["direction"], r["measure"]) == ("right->left", "hit@10")]  # fmt: skip
    assert rows["caption"]["value"] == plain[0]["value"]


def test_numbers_by_brute_force(run):
    """The rewritten texts through ``run.encode``, ranked by NumPy; an item has a thing that its captions name."""
    data = run.recipe.part("data").load()
    test = data.pairs.where("test")
    pictures = np.unique(test.left)
    z = run.project("left", data.left.values[pictures])
    place = {row: at for at, row in enumerate(pictures.tolist())}
    named = {row: " ".join(data.right.values[i] for i in test.right[test.left == row]).lower() for row in pictures}
    rows = {row["style"]: row["value"] for row in run.metrics["styles"]["results"]}
    from sensorium.evaluate.projected import Projected

    tables = Projected.of(np.zeros((48, 1)), np.zeros((144, 1)), data.pairs)
    relevance = data.pairs.relevance("right->left", "test")
    captions = [data.right.values[row] for row in relevance.queries]
    excluded, has = query_styles.exclusions(relevance, tables, data.right, "right", captions)
    for at, (caption, thing) in enumerate(zip(captions, excluded, strict=True)):
        own = pictures[relevance.relevant[relevance.offsets[at]]]
        assert thing and thing not in named[own] and caption.lower() in named[own]
        assert has[at].tolist() == [thing in named[row] for row in pictures] and has[at].any()
    for style in rewrites.STYLES:
        texts = [rewrites.rewrite(t, style, "picture", e) for t, e in zip(captions, excluded, strict=True)]
        score = run.encode("right", texts) @ z.T
        hits = []
        for at in range(len(texts)):
            first = np.argsort(-score[at], kind="stable")[:10]
            right = place[pictures[relevance.relevant[relevance.offsets[at]]]] in first
            hits.append(right and not (style == "without" and has[at][first].any()))
        assert rows[style] == pytest.approx(np.mean(hits)), style


def test_the_shell_prints_best_and_worst(run):
    shown = CliRunner().invoke(app, ["show", str(run.folder), "--table"], env={"COLUMNS": "200"})
    text = " ".join(shown.output.split())
    styles = run.metrics["styles"]
    assert "Query styles, right->left" in text and f"best {styles['best']} " in text
    assert f"worst {styles['worst']} " in text and "Is there a picture in which" in text
    assert "## Query styles" in (run.folder / "README.md").read_text()


def test_asked_for_of_a_run_that_is_there(run, tmp_path):
    import shutil

    copy = shutil.copytree(run.folder.parent, tmp_path / "runs") / "styles"
    plain = pipeline.evaluate_again(copy, ["evaluate.styles=false"], quiet=True)
    assert "styles" not in plain.metrics
    done = CliRunner().invoke(app, ["evaluate", str(copy), "--styles", "--json", "-q"])
    assert done.exit_code == 0 and json.loads(done.output.splitlines()[0])["split"] == "test"
    assert sensorium.open(copy).metrics["styles"]["results"] == run.metrics["styles"]["results"]


def test_captions_that_came_as_vectors_are_refused(tmp_path):
    file = tmp_path / "v.npz"
    random = np.random.default_rng(0)
    np.savez(file, audio=random.standard_normal((30, 5)).astype(np.float32),
             text=random.standard_normal((30, 2, 4)).astype(np.float32))  # fmt: skip
    with pytest.raises(BadRecipe, match=r"evaluate\.styles rewrites captions .* the right side came as vectors; name"):
        sensorium.run("captions", [f"data.file={file}", "evaluate.styles=true", "right.encoder=none", "objective=ridge",
                                   "evaluate.baselines=[]", "evaluate.plots=false"], out=tmp_path / "r", quiet=True)  # fmt: skip


def test_the_key_leaves_the_hashes_of_recipes_as_they_were():
    assert recipes.load("glyphs").hash == "6795ae4617af7be1"
    assert "styles" not in recipes.load("glyphs").values["evaluate"]
    with pytest.raises(BadRecipe, match=r"evaluate\.styles='yes'; expected true or false"):
        recipes.load("glyphs", ["evaluate.styles=yes"])
