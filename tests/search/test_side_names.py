"""Sides are called after the data: in metrics, tables, card, messages and questions; left and right stay as keys."""

import json

import numpy as np
import pytest

import sensorium
from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate import card, figures
from sensorium.types import Items, side_names, without_vectors

ENCODED = {"encoder": {"name": "hashing", "dim": 32}, "head": "linear"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("named")
    lines = [json.dumps({"id": f"i{k}", "question": f"what is {k} and {k + 1}", "answer": f"it is {k}, or {k + 1}",
                         "topic": "even" if k % 2 == 0 else "odd"}) for k in range(30)]  # fmt: skip
    (folder / "qa.jsonl").write_text("\n".join(lines))
    recipe = {"name": "qa", "data": {"name": "table", "file": str(folder / "qa.jsonl"), "left": "question", "right": "answer"},
              "left": ENCODED, "right": ENCODED, "objective": "ridge",
              "evaluate": {"resamples": 20, "baselines": [], "plots": False}}  # fmt: skip
    return sensorium.run(recipe, out=folder / "run", quiet=True)


def test_metrics_table_and_card_have_the_names(run):
    assert run.metrics["sides"] == dict(run.names) == {"left": "question", "right": "answer"}
    rows = card.table(run.metrics)
    assert {row["direction"] for row in rows} == {"question → answer", "answer → question"}
    text = (run.folder / "README.md").read_text("utf-8")
    assert "| question → answer | hit@1 |" in text and "left → right" not in text
    assert {row["direction"] for row in run.metrics["results"]} == {"left->right", "right->left"}


def test_questions_take_names_and_keys(run):
    by_name, by_key = (
        run.search(id="i3", side=side, to=to, k=3) for side, to in (("question", "answer"), ("left", "right"))
    )
    assert [hit["id"] for hit in by_name] == [hit["id"] for hit in by_key]
    assert run.search(id="i3", side="question", to="question", k=1, where={"topic": "even"})[0]["topic"] == "even"


def test_messages_have_the_names(run):
    with pytest.raises(BadRecipe, match=r"side 'up'; expected question or answer \(left or right\)"):
        run.search(id="i3", side="up")
    with pytest.raises(BadRecipe, match=r"both sides take this text; say which with --from question or --from answer"):
        run.search(text="what")
    with pytest.raises(BadData, match=r"no item 'i99' on the answer side"):
        run.search(id="i99", side="answer")
    with pytest.raises(BadRecipe, match=r"no side of .* takes image: question takes text, answer takes text"):
        run.search(image="a.png")


def test_a_run_of_an_earlier_version_has_left_and_right(run, tmp_path):
    import shutil

    from sensorium import integrity

    shutil.copytree(run.folder, tmp_path / "old")
    metrics = {key: value for key, value in run.metrics.items() if key != "sides"}
    (tmp_path / "old" / "metrics.json").write_text(json.dumps(metrics))
    integrity.write(tmp_path / "old")
    old = sensorium.open(tmp_path / "old")
    assert dict(old.names) == {"left": "left", "right": "right"}
    with pytest.raises(BadRecipe, match=r"side 'question'; expected left or right"):
        old.search(id="i3", side="question")


def test_names_are_the_data_s_else_the_kinds_else_left_and_right():
    def item(kind, name=""):
        return Items(np.array(["a"]), [[1.0]], kind, name=name)

    assert side_names(item("image", "photo"), item("text")) == {"left": "photo", "right": "text"}
    assert side_names(item("text"), item("text")) == {"left": "left", "right": "right"}
    assert side_names(item("vector", "emb"), item("vector", "emb")) == {"left": "left", "right": "right"}
    assert side_names(item("vector"), None) == {"left": "left"}
    assert figures.arrow("left->right", {"left": "outfit"}) == "outfit → outfit"
    assert without_vectors("text_emb") == "text" and without_vectors("vectors") == "vectors"
