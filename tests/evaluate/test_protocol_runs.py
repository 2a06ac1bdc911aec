"""Each protocol through a real small run of a recipe, its numbers computed again from the saved heads by other means."""

import json

import ir_measures
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

import sensorium
from sensorium import heads, pipeline
from sensorium import recipe as recipes
from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate import protocols
from sensorium.evaluate.protocols import esr_401, outfits

DATA = '''
import numpy as np
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

RANDOM = np.random.default_rng(0)

def items(prefix, x, **meta):
    return Items(np.array([f"{prefix}{i}" for i in range(len(x))]), x.astype(np.float32), "vector", meta)

def split(n, part=5):
    return np.array(["train", "train", "train", "validation", "test"])[np.arange(n) % part]

class Captions:
    """60 clips, 5 captions each."""
    def load(self):
        x = RANDOM.standard_normal((60, 12))
        y = np.repeat(x, 5, 0) + 0.8 * RANDOM.standard_normal((300, 12))
        left = np.repeat(np.arange(60), 5)
        pairs = Pairs.of(left, np.arange(300), group=left, split=split(60)[left])
        return Data(items("clip", x), items("caption", y), pairs, {})

class Shared(Captions):
    """As Captions, but one test caption describes two clips."""
    def load(self):
        data = super().load()
        p = data.pairs
        more = Pairs.of(np.append(p.left, 4), np.append(p.right, 9 * 5), group=np.append(p.group, 4),
                        split=np.append(p.split, "test"))
        return Data(data.left, data.right, more, {})

class Voices:
    """120 clips and 120 texts of four emotions; each text goes with one clip."""
    def __init__(self, column: str = "emotion") -> None:
        self.column = column
    def load(self):
        emotion = np.array(["calm", "happy", "sad", "angry"])[np.arange(120) % 4]
        mean = RANDOM.standard_normal((4, 10))[np.arange(120) % 4]
        x, y = (mean + 0.9 * RANDOM.standard_normal((120, 10)) for _ in range(2))
        pairs = Pairs.of(np.arange(120), np.arange(120), split=split(120))
        return Data(items("clip", x, emotion=emotion), items("text", y, **{self.column: emotion}), pairs, {})

class Described:
    """180 faces of 9 people; three labels of three prompts each."""
    def __init__(self, several: bool = False, persons: bool = True, unlabelled: int = 0) -> None:
        self.several, self.persons, self.unlabelled = several, persons, unlabelled
    def load(self):
        words = np.repeat(["happy", "sad", "angry"], 3)
        y = np.repeat(RANDOM.standard_normal((3, 8)), 3, 0) + 0.5 * RANDOM.standard_normal((9, 8)) + 2
        label, person = np.arange(180) % 3, np.arange(180) // 20
        x = RANDOM.standard_normal((3, 9))[label] + 0.7 * RANDOM.standard_normal((180, 9))
        left = np.repeat(np.arange(180), 3) if self.several else np.arange(180)
        right = label[left] * 3 + (np.arange(540) % 3 if self.several else RANDOM.integers(0, 3, 180))
        meta = {"label": words[::3][label]}
        if self.persons:
            meta["person"] = np.array([f"p{i}" for i in person])
        pairs = Pairs.of(left, right, group=np.array([f"p{i}" for i in person])[left],
                         split=np.array(["train"] * 4 + ["validation"] + ["test"] * 4)[person][left])
        named = np.where(np.arange(9) < self.unlabelled, "", words)
        return Data(items("face", x, **meta), items("prompt", y, label=named), pairs, {})

class Prompts:
    """200 items over 25 prompts with a large mean in common."""
    def load(self):
        prompts = RANDOM.standard_normal((25, 8)) + 4 * RANDOM.standard_normal((1, 8))
        which = np.arange(200) % 25
        x = prompts[which] @ RANDOM.standard_normal((8, 9)) + 0.5 * RANDOM.standard_normal((200, 9))
        pairs = Pairs.of(np.arange(200), which, group=np.arange(200), split=split(200))
        return Data(items("face", x), items("prompt", prompts), pairs, {})

class Emotions:
    """160 clips of 20 speakers, 4 classes."""
    def load(self):
        which, speaker = np.arange(160) % 4, np.arange(160) // 8
        x = RANDOM.standard_normal((4, 6))[which] + 0.9 * RANDOM.standard_normal((160, 6))
        pairs = Pairs.of(np.arange(160), which, group=speaker, split=split(20)[speaker])
        return Data(items("clip", x), items("class", np.eye(4)), pairs, {})

class Outfits:
    """60 outfits of three items each, of a style; labelled pairs of other styles do not go together."""
    def __init__(self, category: str = "category") -> None:
        self.category = category
    def load(self):
        outfit, kind = np.repeat(np.arange(60), 3), np.tile(["top", "shoe", "bag"], 60)
        x = RANDOM.standard_normal((60, 10))[outfit] + 0.8 * RANDOM.standard_normal((180, 10))
        a = np.array([[3 * o, 3 * o, 3 * o + 1] for o in range(60)]).ravel()
        b = np.array([[3 * o + 1, 3 * o + 2, 3 * o + 2] for o in range(60)]).ravel()
        stranger = (b + 15) % 180
        pairs = Pairs.of(np.r_[a, a], np.r_[b, stranger], label=np.repeat([1, 0], len(a)),
                         group=np.r_[outfit[a], outfit[a]], split=np.tile(split(60)[outfit[a]], 2), same_table=True)
        return Data(items("item", x, **{self.category: kind}), None, pairs, {})
'''
FAST = {"epochs": 4, "lr": 0.01, "precision": "fp32", "batch": 32}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    path = tmp_path_factory.mktemp("protocols") / "made.py"
    path.write_text(DATA)
    return path


def run(parts, name, protocol, out, one_table=False, plots=True, **data):
    linear = {"head": {"name": "linear", "dim": 8}}
    recipe = {"name": name.lower(), "data": {"name": f"{parts}:{name}", **data}, "left": linear, "objective": "infonce",
              "train": FAST, "evaluate": {"protocol": protocol, "resamples": 100, "correction": "none", "plots": plots}}  # fmt: skip
    return sensorium.run(recipe if one_table else {**recipe, "right": linear}, out=out, quiet=True)


def outputs(made, side):
    data = made.recipe.part("data").load()
    return heads.apply(made.head(side), (data.left if side == "left" else data.right).values), data


def value(made, measure, direction):
    (found,) = [
        r for r in made.metrics["protocol"]["results"] if (r["measure"], r["direction"]) == (measure, direction)
    ]
    assert found["low"] <= found["value"] <= found["high"] and found["split"] == "test" and found["n_groups"] > 0
    shown = [r for r in made.metrics["results"] if (r["measure"], r["direction"]) == (measure, direction)]
    assert [r["value"] for r in shown] == [found["value"]], "whatever draws the results draws the protocol too"
    return found["value"]


def everywhere(made, name):
    """The protocol in metrics.json, in the card and among the figures."""
    kept = json.loads((made.folder / "metrics.json").read_text())["protocol"]
    assert kept["name"] == name and kept["about"] == protocols.names()[name] and kept["results"]
    card = (made.folder / "README.md").read_text()
    assert f"## Protocol `{name}`" in card
    for file, caption in kept["figures"].items():
        assert (made.folder / "plots" / file).stat().st_size > 1000 and f"![{caption}](plots/{file})" in card
    assert kept["figures"]


def test_captions(parts, tmp_path, capsys):
    made = run(parts, "Captions", "captions", tmp_path / "run")
    everywhere(made, "captions")
    (zl, data), (zr, _) = outputs(made, "left"), outputs(made, "right")
    test = np.flatnonzero(data.pairs.split == "test")
    clips, texts = np.unique(data.pairs.left[test]), np.unique(data.pairs.right[test])
    score = zl[clips].astype(float) @ zr[texts].astype(float).T
    forth = {f"q{c}": {f"d{t}": float(s) for t, s in zip(texts, row, strict=True)} for c, row in zip(clips, score, strict=True)}  # fmt: skip
    relevant = {f"q{c}": {f"d{5 * c + k}": 1 for k in range(5)} for c in clips}
    for ours, theirs in (("mAP@10", ir_measures.AP @ 10), ("recall@10", ir_measures.R @ 10)):
        expected = ir_measures.calc_aggregate([theirs], relevant, forth)[theirs]
        assert value(made, ours, "left->right") == pytest.approx(expected, abs=1e-6)
    assert made.metrics["protocol"]["notes"]["measured"] == "Clotho and AudioCaps"
    from sensorium.cli.output import print_run

    print_run(made.metrics, made.folder)
    assert "protocol captions: Sound and picture captions" in capsys.readouterr().out


def test_captions_of_several_clips_are_measured_as_dcase_did(parts, tmp_path):
    made = run(parts, "Shared", "captions", tmp_path / "run", plots=False)
    assert {r["direction"] for r in made.metrics["protocol"]["results"]} == {"right->left"}
    assert value(made, "mAP@16", "right->left") > 0 and made.metrics["protocol"]["figures"] == {}
    assert made.metrics["protocol"]["notes"]["captions_of_several_clips"] == 1


def test_voices(parts, tmp_path):
    made = run(parts, "Voices", "voices", tmp_path / "run")
    everywhere(made, "voices")
    (zl, data), (zr, _) = outputs(made, "left"), outputs(made, "right")
    test = np.flatnonzero(data.pairs.split == "test")
    emotion = data.left.meta["emotion"][test]
    order = np.argsort(-(zr[test].astype(float) @ zl[test].astype(float).T), axis=1)[:, :10]
    assert value(made, "precision@10", "right->left") == pytest.approx((emotion[order] == emotion[:, None]).mean())
    assert made.metrics["protocol"]["results"][0]["chance"] == pytest.approx(0.25)
    first = emotion[order[:, 0]]
    confusion = made.metrics["protocol"]["confusion"]
    assert confusion["counts"] == sklearn_metrics.confusion_matrix(emotion, first, labels=confusion["names"]).tolist()
    card = (made.folder / "README.md").read_text()
    assert "| chance |" in card and "Counts, emotion asked for (row) by emotion of the first clip (column):" in card
    for baseline in ("ridge", "cca"):
        beside = {row["measure"]: row for row in made.metrics["protocol"]["baselines"][baseline]}
        assert {"precision@1", "precision@10", "nDCG_vad@10", "CCC_valence"} <= set(beside)
        assert "precision@10" in made.metrics["baselines"][baseline]["protocol_advantage"]
    assert "precision@10 points" in made.metrics["verdict"]


def test_expressive_speech_retrieval(parts, tmp_path):
    made = run(parts, "Voices", "esr-401", tmp_path / "run")
    everywhere(made, "esr-401")
    (zl, data), (zr, _) = outputs(made, "left"), outputs(made, "right")
    test = np.flatnonzero(data.pairs.split == "test")
    emotion = data.left.meta["emotion"][test]
    found = esr_401.ranks(zr[test], zl[test], emotion, esr_401.trials(emotion))
    assert value(made, "R@5", "right->left") == pytest.approx(np.mean([(one <= 5).mean() for one in found]))
    assert "19 candidates in place of 401" in (made.folder / "README.md").read_text()


def test_prompts(parts, tmp_path):
    made = run(parts, "Prompts", "prompts", tmp_path / "run")
    everywhere(made, "prompts")
    (zl, data), (zr, _) = outputs(made, "left"), outputs(made, "right")
    test = np.flatnonzero(data.pairs.split == "test")
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (zl[test].astype(float), zr.astype(float))]
    which = data.pairs.right[test]
    cosine = (unit[0] * unit[1][which]).sum(1)
    assert value(made, "cosine", "left->right") == pytest.approx(cosine.mean(), abs=1e-6)
    score = unit[0] @ unit[1][np.unique(which)].T
    best = np.unique(which)[score.argmax(1)] == which
    (hit,) = [r["value"] for r in made.metrics["protocol"]["results"] if r["measure"] == "hit@1"]
    assert hit == pytest.approx(best.mean())
    beside = made.metrics["baselines"]
    assert {"mean vector", "input ridge", "ridge", "cca"} <= set(beside) and "advantage" not in beside["mean vector"]
    assert "mean vector" in (made.folder / "README.md").read_text() and "mean vector" not in made.metrics["verdict"]


def test_emotions(parts, tmp_path):
    made = run(parts, "Emotions", "emotions", tmp_path / "run")
    everywhere(made, "emotions")
    (zl, data), (zr, _) = outputs(made, "left"), outputs(made, "right")
    test = np.flatnonzero(data.pairs.split == "test")
    labels, predicted = data.pairs.right[test], (zl[test].astype(float) @ zr.astype(float).T).argmax(1)
    assert value(made, "WA", "left->right") == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    assert value(made, "UA", "left->right") == pytest.approx(sklearn_metrics.balanced_accuracy_score(labels, predicted))
    f1 = sklearn_metrics.f1_score(labels, predicted, average="macro", zero_division=0)
    assert value(made, "macro-F1", "left->right") == pytest.approx(f1)
    notes = made.metrics["protocol"]["notes"]
    assert notes["chance"] == 0.25 and notes["speakers"] == 4
    assert all(r["few_groups"] for r in made.metrics["protocol"]["results"])


def test_outfits(parts, tmp_path):
    made = run(parts, "Outfits", "outfits", tmp_path / "run", one_table=True)
    everywhere(made, "outfits")
    way = "outfit->item"
    z, data = outputs(made, "left")
    test = np.flatnonzero(data.pairs.split == "test")
    score = (z[data.pairs.left[test]].astype(float) * z[data.pairs.right[test]]).sum(1)
    label = data.pairs.label[test]
    assert value(made, "pair_AUC", way) == pytest.approx(sklearn_metrics.roc_auc_score(label, score))
    assert value(made, "pair_AP", way) == pytest.approx(sklearn_metrics.average_precision_score(label, score))
    looks = [np.arange(3 * o, 3 * o + 3) for o in range(4, 60, 5)]
    made_up = outfits.hard_outfits(looks, data.left.meta["category"])
    compatible = [[np.mean([z[a].astype(float) @ z[b] for i, a in enumerate(o) for b in o[i + 1 :]]) for o in these]
                  for these in (looks, made_up)]  # fmt: skip
    expected = sklearn_metrics.roc_auc_score(np.repeat([1, 0], 12), np.concatenate(compatible))
    for name in ("", "/hard", "/leave_one_out"):
        assert value(made, f"compatibility_AUC{name}", way) == pytest.approx(expected)
    assert value(made, "fill_in_the_blank", way) == value(made, "fill_in_the_blank/hard", way) > 0.25
    notes = made.metrics["protocol"]["notes"]
    assert notes["left_out_of_hard"] == 0 and notes["made_up"] == "outfits, questions"


@pytest.mark.parametrize(
    ("name", "protocol", "data", "message"),
    [
        ("Voices", "voices", {"column": "emotio"}, "voices needs the column 'emotion' of the right items; did you mean 'emotio'"),
        ("Captions", "voices", {}, "needs the column 'emotion' of the left items; there is no column at all"),
        ("Outfits", "outfits", {"category": "categories"}, "needs the column 'category' of the left items; did you mean 'categor"),
        ("Captions", "outfits", {}, "outfits is about the items of one table, but the data have two sides"),
        ("Outfits", "captions", {}, "captions is between two sides, but both sides are one table here"),
        ("Captions", "emotions", {}, "needs one class an item and 2 to 30 classes .* here are 300 right items"),
    ],
)  # fmt: skip
def test_what_a_protocol_needs_is_said_before_anything_is_fitted(
    parts, tmp_path, monkeypatch, name, protocol, data, message
):
    monkeypatch.setattr(pipeline, "fit_heads", lambda *_, **__: pytest.fail("something was fitted"))
    with pytest.raises(BadData, match=message):
        run(parts, name, protocol, tmp_path / "run", one_table=name == "Outfits", **data)


def test_items_of_several_prompts(parts, tmp_path):
    """Any of them is a hit, and the cosine is the mean over them."""
    made = run(parts, "Captions", "prompts", tmp_path / "run", plots=False)
    (zl, data), (zr, _) = outputs(made, "left"), outputs(made, "right")
    clips = np.unique(data.pairs.left[data.pairs.split == "test"])
    a, b = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (zl[clips].astype(float), zr.astype(float)))
    test = np.isin(data.pairs.left, clips)
    score, owner = a @ b[test].T, data.pairs.left[test]
    assert value(made, "cosine", "left->right") == pytest.approx(score[owner == clips[:, None]].mean(), abs=1e-6)
    (hit,) = [r["value"] for r in made.metrics["protocol"]["results"] if r["measure"] == "hit@1"]
    assert hit == pytest.approx((owner[score.argmax(1)] == clips).mean())
    assert "confusion" not in made.metrics["protocol"] and "accuracy" not in str(made.metrics["protocol"]["results"])


@pytest.mark.parametrize("several", [False, True])
def test_labels_by_the_nearest_prompt(parts, tmp_path, several):
    made = run(parts, "Described", "prompts", tmp_path / "run", plots=not several, several=several)
    (zl, data), (zr, _) = outputs(made, "left"), outputs(made, "right")
    test = np.unique(data.pairs.left[data.pairs.split == "test"])
    label, person = data.left.meta["label"][test], data.left.meta["person"][test]
    a, b = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (zl[test].astype(float), zr.astype(float)))
    of = np.asarray(data.right.meta["label"])
    names = np.unique(of)
    means = np.stack([b[of == name].mean(0) for name in names])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    nearest, averaged = of[(a @ b.T).argmax(1)], names[(a @ means.T).argmax(1)]
    for way, predicted in (("", nearest), ("/averaged", averaged)):
        for measure, score in (("accuracy", sklearn_metrics.accuracy_score),
                               ("balanced_accuracy", sklearn_metrics.balanced_accuracy_score)):  # fmt: skip
            assert value(made, f"{measure}{way}", "left->right") == pytest.approx(score(label, predicted))
    protocol = made.metrics["protocol"]
    assert protocol["confusion"]["names"] == names.tolist()
    np.testing.assert_array_equal(protocol["confusion"]["counts"], sklearn_metrics.confusion_matrix(label, nearest))
    rows = protocol["breakdown"]["rows"]
    assert protocol["breakdown"]["by"] == "person" and len(rows) == len(np.unique(person))
    for row in rows:
        assert row["value"] == pytest.approx((nearest == label)[person == row["name"]].mean())
    assert [row["value"] for row in rows] == sorted(row["value"] for row in rows)
    (one,) = [row for row in protocol["results"] if row["measure"] == "accuracy"]
    assert one["n_groups"] == len(rows) and one["chance"] == pytest.approx(1 / 3) and one["low"] <= one["value"]
    beside = protocol["baselines"]
    assert {"mean vector", "input ridge", "ridge"} <= set(beside)
    shares = [row["value"] for row in beside["mean vector"] if row["measure"] == "accuracy"]
    assert shares == [pytest.approx(max(np.mean(label == name) for name in names), abs=0.4)]
    assert "accuracy points" in made.metrics["verdict"]
    card = (made.folder / "README.md").read_text()
    assert "accuracy by person, worst first" in card and "label of the nearest prompt (column)" in card
    drawn = set() if several else {path.name for path in (made.folder / "plots").iterdir()}
    assert several or {"prompts.png", "prompts_confusion.png", "prompts_by_person.png"} <= drawn


def test_labels_without_persons_and_prompts_without_labels(parts, tmp_path):
    made = run(parts, "Described", "prompts", tmp_path / "run", plots=False, persons=False, unlabelled=0)
    protocol = made.metrics["protocol"]
    assert protocol["breakdown"]["by"] == "group" and len(protocol["breakdown"]["rows"]) == 4
    made = run(parts, "Described", "prompts", tmp_path / "run", plots=False, unlabelled=3)
    assert made.metrics["protocol"]["notes"]["labels"] == 2  # one label has no labelled prompt
    assert made.metrics["protocol"]["notes"]["labelled_items"] < protocol["notes"]["labelled_items"]
    made = run(parts, "Described", "prompts", tmp_path / "run", plots=False, unlabelled=9)
    assert "accuracy" not in str(made.metrics["protocol"]["results"])


def test_an_unknown_protocol_names_the_nearest():
    with pytest.raises(BadRecipe, match="evaluate.protocol='caption'; did you mean 'captions'"):
        recipes.load("glyphs", ["evaluate.protocol=caption"])
    with pytest.raises(
        BadRecipe,
        match="evaluate.protocol='xyz'; known: captions, emotions, esr-401, moments, outfits, prompts, vad, voices",
    ):
        recipes.load("glyphs", ["evaluate.protocol=xyz"])


def test_every_protocol_is_found_by_its_file_and_says_what_it_is():
    assert set(protocols.names()) == {
        "captions",
        "emotions",
        "esr-401",
        "moments",
        "outfits",
        "prompts",
        "vad",
        "voices",
    }
    for name, about in protocols.names().items():
        module = protocols.find(name)
        assert about and callable(module.check) and callable(module.report)


def test_a_run_without_a_protocol_has_none_and_its_recipe_is_as_before():
    assert "protocol" not in recipes.load("glyphs").values["evaluate"]


def test_evaluating_again_takes_another_protocol_and_none(parts, tmp_path):
    made = run(parts, "Voices", "voices", tmp_path / "run", plots=False)
    again = pipeline.evaluate_again(made.folder, ["evaluate.protocol=captions"], quiet=True)
    assert again.metrics["protocol"]["name"] == "captions"
    assert "precision@10" not in {r["measure"] for r in again.metrics["results"]}
