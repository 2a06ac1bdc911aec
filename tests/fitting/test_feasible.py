"""Said early: what data, heads, objective and options cannot do together is found before anything is embedded."""

import inspect
import typing
from pathlib import Path

import early_parts
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sensorium
from sensorium import parts
from sensorium.errors import BadRecipe, SensoriumError
from sensorium.fitting.options import TrainOptions

OWN = Path(early_parts.__file__)
FEW, STOPS = f"{OWN}:Few", f"{OWN}:Stops"
FRAMES = {"name": STOPS, "frames": True}


def recipe(**changes):
    """A recipe that works, and embeds its first item with an error."""
    plain = {"data": FEW, "left": {"encoder": STOPS}, "right": {"encoder": STOPS}, "objective": "infonce"}
    for key, value in changes.items():
        section, _, inner = key.partition("_")
        if inner and section in ("left", "right"):
            plain[section] = {**plain[section], inner: value}
        else:
            plain[key] = value
    return plain


def run(folder, **changes):
    return sensorium.run(recipe(**changes), out=folder / "run", quiet=True)


CLASSES, TABLE = {"name": FEW, "classes": True}, {"name": FEW, "table": True}
NOT_TOGETHER = {
    "widths": ({"left_head": "identity", "right_encoder": {"name": STOPS, "dim": 9}}, "vectors of 12 numbers, right.head of 9"),
    "heads' widths": ({"left_head": {"name": "mlp", "dim": 4}, "right_head": {"name": "mlp", "dim": 8}}, "left.head.dim=8"),
    "frames": ({"left_encoder": FRAMES, "left_head": "mlp"}, "the MLP head takes one vector an item"),
    "no frames": ({"left_head": "lstm"}, "head reads sequences of frames"),
    "layers": ({"left_head": {"name": "layers", "layers": 5}}, "inputs of 12 numbers are not 5 layers side by side"),
    "relations": ({"left_encoder": FRAMES, "left_head": {"name": "statistics", "relations": 5}}, "relations=5 equal blocks"),
    "rank": ({"left_head": {"name": "pca", "rank": 13}}, "rank 13 of vectors that are 12 wide"),
    "rank of few": ({"left_encoder": {"name": STOPS, "dim": 99}, "left_head": {"name": "pca", "rank": 40}},
                    "40 training rows span 39 directions"),
    "memory": ({"left_head": {"name": "mlp", "hidden": 10**13}}, "does not fit into memory"),
    "closed form of frames": ({"left_encoder": FRAMES, "left_head": "lstm", "objective": "ridge"}, "no closed form takes"),
    "closed form of one table": ({"data": TABLE, "objective": "ridge"}, "both sides are one table"),
    "components": ({"objective": {"name": "cca", "dim": 13}}, "dim is 13, but the narrower side has 12"),
    "components of a few": ({"objective": {"name": "cca", "dim": 4}, "left_head": {"name": "pca", "rank": 3}}, "has 3 comp"),
    "class weights": ({"data": CLASSES, "objective": {"name": "cross_entropy", "weights": [1.0, 2.0]}},
                      "weights has 2 values; expected 3"),
    "mixtures of classes": ({"data": CLASSES, "objective": "cross_entropy", "train": {"mixup": 0.3}}, "train.mixup=0"),
    "mixtures of a teacher": ({"objective": {"name": "distill", "teacher": "x"}, "train": {"mixup": 0.3}}, "train.mixup=0"),
    "mixtures and a column": ({"objective": {"name": "triplet", "match": "colour"}, "train": {"mixup": 0.3}}, "train.mixup=0"),
    "mixtures of frames": ({"left_encoder": FRAMES, "left_head": "lstm", "train": {"mixup": 0.3}}, "train.mixup works on one"),
    "structure of frames": ({"left_encoder": FRAMES, "left_head": "lstm", "train": {"structure": 1.0}}, "train.structure=0"),
    "a column": ({"objective": {"name": "triplet", "match": "colour"}}, "the right items have no column 'colour'"),
    "known negatives": ({"data": {"name": FEW, "unrelated": True}, "objective": "triplet", "right_encoder": FRAMES,
                         "right_head": "lstm"}, "objective.known=false"),
    "a teacher": ({"objective": {"name": "distill", "teacher": "nowhere"}}, "no run at nowhere"),
    "a start of an mlp": ({"left_head": "mlp", "train": {"initialise": "ridge"}}, "residual=true"),
    "a start of unit rows": ({"left_head": {"name": "linear", "preprocess": "unit"}, "train": {"initialise": "cca"}},
                             "preprocess='unit'"),
    "a start of another width": ({"left_head": {"name": "linear", "dim": 5}, "right_head": {"name": "linear", "dim": 5},
                                  "train": {"initialise": "ridge"}}, "left.head.dim=12"),
    "a start of a fixed side": ({"left_head": "linear", "right_head": "identity", "train": {"initialise": "cca"}},
                                "moves the right side, whose head is not trained"),
    "a start of frames": ({"left_encoder": FRAMES, "left_head": "lstm", "right_head": "linear",
                           "train": {"initialise": "ridge"}}, "sequences of frames"),
    "one pair": ({"data": {"name": FEW, "train": 1}, "left_head": "linear"}, "a trained fit needs 2"),
    "no class of that name": ({"data": CLASSES, "right_encoder": {"name": "onehot", "classes": ["red", "green"]},
                               "objective": "cross_entropy"}, "'blue' is none of the 2 classes"),
    "kinds": ({"left_encoder": {"name": STOPS, "takes": "image"}}, "takes image, but the left items are text"),
    "no split": ({"data": {"name": FEW, "train": 60}}, "split has no related pair"),
}  # fmt: skip


TOGETHER = {
    "vectors": {"data": {"name": FEW, "kind": "vector"}, "left_encoder": None, "left_head": "mlp", "right_head": "linear"},
    "frames": {"left_encoder": FRAMES, "left_head": "gru", "right_encoder": {"name": STOPS, "dim": 7}},
    "pooled frames may be mixed": {"left_encoder": FRAMES, "left_head": "statistics", "train": {"mixup": 0.2}},
    "one table": {"data": TABLE, "objective": "cca", "right_encoder": None},
    "rows that span fewer directions": {"left_encoder": {"name": STOPS, "dim": 99}, "left_head": "pca", "right_head": "linear"},
    "classes": {"data": CLASSES, "objective": {"name": "cross_entropy", "weights": [1.0, 2.0, 0.0]}},
    "a start": {"left_head": "linear", "right_head": "identity", "train": {"initialise": "procrustes"}},
}  # fmt: skip


@pytest.mark.parametrize("name", TOGETHER)
def test_what_goes_together_is_embedded(tmp_path, name):
    with pytest.raises(BaseException, match="embedded"):
        run(tmp_path, **TOGETHER[name])


@pytest.mark.parametrize("name", NOT_TOGETHER)
def test_what_does_not_go_together_is_said_before_anything_is_embedded(tmp_path, name):
    changes, message = NOT_TOGETHER[name]
    with pytest.raises(SensoriumError) as error:
        run(tmp_path, **changes)
    assert message in str(error.value)
    assert not (tmp_path / "embeddings").exists()


# --- ranges ------------------------------------------------------------------------------------------

#: Where a negative number is a value like any other, and what is out of its range then; None: every number is valid.
OUT = {
    ("objectives", "siglip", "bias"): st.floats(1e5, 1e300) | st.floats(-1e300, -1e5),
    ("heads", "face", "weight"): st.floats(100.001, 1e300) | st.floats(-1e300, -0.001),
    ("heads", "set_attention", "layers"): st.integers(25, 10**15) | st.integers(-(10**15), 0),
    ("encoders", "mfcc", "silence_floor"): st.floats(1e4, 1e300) | st.floats(-1e300, -1e4),
    ("encoders", "functionals", "level"): st.floats(0.001, 1e300) | st.floats(-1e300, -80.001),
}
#: Out of the range from above, by the argument's name.
ABOVE = {
    "dropout": st.floats(1, 1e300), "label_smoothing": st.floats(1, 1e300), "weight": st.floats(1.001, 1e300),
    "spec_augment": st.floats(1.001, 1e300), "rank": st.integers(13, 10**15), "relations": st.integers(13, 10**15),
    "layers": st.integers(13, 10**15), "temperature": st.floats(1e5, 1e300), "teacher_temperature": st.floats(1e5, 1e300),
    "largest_scale": st.floats(1e5, 1e300), "scale": st.floats(1e5, 1e300), "margin": st.floats(1e3, 1e300),
    "gain": st.floats(1e3, 1e300), "noise": st.floats(1e3, 1e300), "strengths": st.floats(1e13, 1e300),
    "powers": st.floats(100, 1e300), "depth": st.integers(101, 10**15), "kernel": st.integers(257, 10**15),
    "levels": st.integers(101, 10**15), "nprobe": st.integers(10**7, 10**15), "rescore": st.integers(10**7, 10**15),
    "ef_search": st.integers(10**7, 10**15), "hidden": st.integers(10**13, 10**15), "width": st.integers(10**13, 10**15),
    "members": st.integers(10**13, 10**15), "dim": st.integers(10**13, 10**15), "ngram": st.integers(101, 10**15),
    "silence_db": st.floats(1e4, 1e300), "silence_release": st.floats(1e4, 1e300), "ema": st.floats(1, 1e300),
    "threads": st.integers(10**5, 10**15), "resamples": st.integers(10**6, 10**15),
}  # fmt: skip
#: Encoders whose weights need not be here; what they take is known only with them.
OFFLINE = {name for name in parts.names("encoders") if parts.licence("encoders", name)}
BELOW = {int: st.integers(-(10**15), -2), float: st.floats(-1e300, -1.001)}
WHOLE = {"left.head": "heads", "objective": "objectives", "index": "indexes", "left.encoder": "encoders"}


def numbers(part) -> dict[str, type]:
    """The numeric arguments of a part or of options, by name: int or float."""
    hints = typing.get_type_hints(part.__init__ if inspect.isclass(part) else part.func.__init__)
    found = {}
    for key in parts.arguments(part):
        kinds = typing.get_args(hints[key]) or (hints[key],)
        flat = {k for kind in kinds for k in (typing.get_args(kind) or (kind,))} if hints[key] is not str else set()
        if bool not in kinds and (kind := next((k for k in (float, int) if k in flat), None)):
            found[key] = kind
    return found


def arguments():
    for slot, kind in WHOLE.items():
        for name in parts.names(kind):
            if name not in OFFLINE or kind != "encoders":
                for key, number in numbers(parts.find(kind, name)).items():
                    yield pytest.param(slot, kind, name, key, number, id=f"{slot}={name}.{key}")
    for key, number in numbers(TrainOptions).items():
        yield pytest.param("train", "train", None, key, number, id=f"train.{key}")
    yield pytest.param("evaluate", "evaluate", None, "resamples", int, id="evaluate.resamples")


NEEDED = {"layers": 3, "teacher": "nowhere", "classes": ["a", "b"]}


@pytest.mark.parametrize(("slot", "kind", "name", "key", "number"), list(arguments()))
@settings(
    max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(draw=st.data())
def test_a_number_out_of_its_range_is_refused_before_anything_is_embedded(
    tmp_path, slot, kind, name, key, number, draw
):
    bad = OUT[kind, name, key] if (kind, name, key) in OUT else BELOW[number]
    bad = bad | ABOVE[key] if key in ABOVE and (kind, name, key) not in OUT else bad
    value = draw.draw(bad)
    changes = {slot.replace(".", "_"): {key: value}}
    if name:
        need = {k: v for k, v in NEEDED.items() if k in parts.arguments(parts.find(kind, name)) and k != key}
        changes = {slot.replace(".", "_"): {"name": name, **need, key: value}}
    if name in FRAMED:
        changes["left_encoder"] = FRAMES
    with pytest.raises(BadRecipe) as error:
        run(tmp_path, **changes)
    assert key.removeprefix("teacher_") in str(error.value) or "does not fit into memory" in str(error.value), str(
        error.value
    )


FRAMED = ("lstm", "gru", "tcn", "statistics")


@pytest.mark.parametrize(("data", "bad"), [
    ("glyphs", {"test": -1}), ("glyphs", {"validation": -2}), ("glyphs", {"seed": -1}), ("glyphs", {"size": 0}),
    ("glyphs", {"size": 10**9}), ("glyphs", {"test": 10**9}), (FEW, {"test": -0.1}), (FEW, {"validation": 1.5}),
    (FEW, {"split_seed": -1}),
])  # fmt: skip
def test_a_number_of_the_data_out_of_its_range(tmp_path, data, bad):
    with pytest.raises(BadRecipe, match=next(iter(bad))):
        run(tmp_path, data={"name": data, **bad})


@pytest.mark.parametrize(("classes", "objective", "noted"), [
    (True, "cross_entropy", True), (True, "ridge", True), (False, "infonce", False),
])  # fmt: skip
def test_classes_without_a_training_pair_are_noted_before_anything_is_embedded(
    tmp_path, capsys, classes, objective, noted
):
    data = {"name": FEW, "classes": classes, "unseen": int(classes)}
    with pytest.raises(BaseException, match="embedded"):
        sensorium.run(recipe(data=data, left_head="linear", objective=objective), out=tmp_path / "run")
    text = "1 of 3 classes have no training pair, but 7 held-out ones: blue; leave them out, or hold out less"
    assert (f"     note  {text}\n" in capsys.readouterr().err) == noted
