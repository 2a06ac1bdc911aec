"""Recipes: flat TOML, overrides that swap and set, refusals that name the nearest."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import parts
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe

SMALL = {
    "name": "small",
    "data": {"name": "arrays", "file": "x.npz", "left": "a", "right": "b"},
    "left": {"head": {"name": "mlp", "hidden": 64}},
    "right": {"head": "identity"},
    "objective": {"name": "infonce", "temperature": 0.05},
    "train": {"epochs": 3},
}


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_that_ships_is_valid_and_opens_with_its_command(name):
    first = recipes.names()[name]
    assert first.startswith(f"{name}:"), "the first line says what the recipe is"
    text = (recipes.HERE / f"{name}.toml").read_text("utf-8")
    assert f"sensorium run {name}" in text.splitlines()[1], "the second line is the command to paste"
    recipes.load(name)


def test_a_resolved_recipe_read_back_is_the_same(tmp_path):
    plan = recipes.load(SMALL)
    (tmp_path / "again.toml").write_text(plan.toml())
    again = recipes.load(tmp_path / "again.toml")
    assert again == plan and again.hash == plan.hash and again.name == "small"
    assert plan.values["left"]["head"]["hidden"] == 64
    assert plan.values["left"]["head"]["dropout"] == parts.arguments(parts.find("heads", "mlp"))["dropout"]


def test_swapping_a_part_drops_its_keys():
    plan = recipes.load(SMALL, ["objective=ridge", "left.head=linear", "right.head=mlp", "right.head.hidden=32"])
    assert plan.part_name("objective") == "ridge" and "temperature" not in plan.values["objective"]
    assert plan.part_name("left.head") == "linear" and "hidden" not in plan.values["left"]["head"]
    assert plan.values["right"]["head"]["hidden"] == 32


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1e-3", 1e-3),
        ("true", True),
        ("hello", "hello"),
        ("~/clips", "~/clips"),
        ("[1, 2]", [1, 2]),
        ('"quoted"', "quoted"),
        ("2020-01-01", "2020-01-01"),
        ("a.npz:emo_emb", "a.npz:emo_emb"),
        ("", ""),
        ("a=b", "a=b"),
    ],
)
def test_values(text, value):
    assert recipes._value(text) == value and type(recipes._value(text)) is type(value)


@given(st.one_of(st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False), st.booleans()))
@settings(deadline=None)
def test_numbers_round_trip(value):
    assert recipes._value(str(value).lower() if isinstance(value, bool) else repr(value)) == value


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.lrr=1"], "no key 'train.lrr'; did you mean 'lr'"),
        (["objective.temprature=1"], "no key 'objective.temprature' .'infonce'.; did you mean 'temperature'"),
        (["left.haed=mlp"], "no key 'left.haed'; did you mean 'head'"),
        (["left.head.hiden=3"], "no key 'left.head.hiden' .'mlp'.; did you mean 'hidden'"),
        (["objektive=ridge"], "no section 'objektive'; did you mean 'objective'"),
        (["objective=rigde"], "no objective 'rigde'; did you mean 'ridge'"),
        (["index=exakt"], "no index 'exakt'; did you mean 'exact'"),
        (["evaluate.leeks=stamp"], "no key 'evaluate.leeks'; did you mean 'leaks'"),
        (["data.fiel=y"], "no key 'data.fiel' .'arrays'.; did you mean 'file'"),
        (["train.batch=0"], "train.batch=0; expected a whole number, 2 or above"),
        (["train=3"], r"\[train\] is a section"),
        (["seed=-1"], "seed=-1; expected a whole number"),
        (["seed.x=1"], "seed"),
        (["justaword"], "'justaword' is not an override; expected key=value"),
        (["=3"], "'=3' is not an override"),
        (["train.lr.x=3"], "train.lr=.*expected a number"),
        (["data.test=1.5"], "data.test=1.5; expected a share of the groups from 0 to 1, or their number"),
        (["data.validation=-0.1"], "data.validation=-0.1; expected a share"),
        (["data.validation=nan"], "data.validation=nan; expected a share"),
        (["data.test=half"], "data.test='half'; expected a share"),
        (["data.split_seed=-1"], "data.split_seed=-1; expected a whole number, 0 or above"),
        (["train.lr=inf"], "train.lr=inf; expected a number, above 0"),
        (["train.device=3"], "train.device=3; expected auto, cpu or cuda"),
        (["train.threads=100000"], "train.threads=100000; expected at most 4096"),
        (["evaluate.resamples=0"], "evaluate.resamples=0; expected a whole number, 1 to 100000"),
        (["evaluate.resamples=true"], "evaluate.resamples=True; expected a whole number"),
        (["evaluate.directions=[]"], r"evaluate.directions=\[\]; expected a list, such as"),
        (['evaluate.directions=["left-right"]'], "evaluate.directions='left-right'; did you mean 'left->right'"),
        (["evaluate.measures=hit@1"], "evaluate.measures='hit@1'; expected a list"),
        (['evaluate.measures=["hits@1"]'], "no measure 'hits@1'; did you mean 'hit'"),
        (['evaluate.measures=["hit"]'], "type: hit@10"),
        (["evaluate.baselines=[3]"], r"evaluate.baselines=\[3\]; expected a list"),
        (["evaluate.leaks=stemp"], "evaluate.leaks='stemp'; did you mean 'stamp'"),
        (["evaluate.correction=cls"], "evaluate.correction='cls'; did you mean 'csls'"),
        (["evaluate.calibrate=3"], "evaluate.calibrate=3; expected true or false"),
        (["evaluate.plots=no"], "evaluate.plots='no'; expected true or false"),
    ],
)
def test_refusals(overrides, message):
    with pytest.raises(BadRecipe, match=message):
        recipes.load(SMALL, overrides)


def test_a_recipe_without_data_or_objective():
    for missing in ("data", "objective"):
        with pytest.raises(BadRecipe, match=rf"no \[{missing}\]; type: {missing}=NAME"):
            recipes.load({k: v for k, v in SMALL.items() if k != missing})


def test_unknown_and_broken_files(tmp_path):
    with pytest.raises(BadRecipe, match="no recipe 'glyps'; did you mean 'glyphs'"):
        recipes.load("glyps")
    with pytest.raises(BadRecipe, match="no recipe file .*type: sensorium ls recipes"):
        recipes.load(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("[data\n")
    with pytest.raises(BadRecipe, match="broken.toml is not valid TOML"):
        recipes.load(tmp_path / "broken.toml")


def test_splitting_keys_reach_the_run_and_not_the_part():
    plan = recipes.load(SMALL, ["data.test=0.3", "data.split_seed=4"])
    assert plan.splitting() == {"test": 0.3, "validation": 0.1, "split_seed": 4, "fold": 0, "folds": 5}
    assert type(plan.part("data")).__name__ == "Arrays"


def test_the_shipped_toml_is_flat():
    for name in recipes.names():
        values = tomllib.loads((recipes.HERE / f"{name}.toml").read_text("utf-8"))
        assert set(values) <= {*recipes.SECTIONS, "name", "seed"}


def test_a_value_of_another_kind_is_refused_before_anything_is_read():
    with pytest.raises(BadRecipe, match="left.head.hidden='wide'; expected a whole number"):
        recipes.load(SMALL, ["left.head.hidden=wide"])
