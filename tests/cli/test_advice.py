"""Advice that can be followed: every command and key=value that a message or a card tells to type is one we take."""

import ast
import dataclasses
import importlib.metadata
import itertools
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer

import sensorium
from sensorium import parts
from sensorium import recipe as recipes
from sensorium.cli import app
from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate.options import EvaluateOptions
from sensorium.fitting.finetune_options import FinetuneOptions
from sensorium.fitting.options import TrainOptions
from sensorium.search.folder import RunFolder

PACKAGE = Path(sensorium.__file__).parent
FAST = [
    "objective=infonce",
    "train.epochs=2",
    "train.precision=fp32",
    "evaluate.resamples=20",
    "evaluate.plots=false",
    "evaluate.baselines=[]",
]
#: What placeholders of messages stand for; any other is the word X.
STANDS_FOR = {
    "side": "left",
    "side.cells.side": "left",
    "cells.key": "data.left",
    "name": "test",
    "key": "key",
    "best": "ridge",
    "extra": "train",
}
#: Keys that verbs take besides those of recipes: options of formats, of imported weights and of searches.
OTHER_KEYS = {"split", "text", "clips", "key", "ids", "side", "normalization", "space"}


def literals(tree):
    """Every text of a module, the docstrings left out, with placeholders filled in."""
    documented = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef))
                  and n.body and isinstance(n.body[0], ast.Expr)}  # fmt: skip
    inner = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(_filled(part) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented | inner:
            yield node.lineno, node.value


def _filled(part):
    if isinstance(part, ast.Constant):
        return str(part.value)
    return STANDS_FOR.get(ast.unparse(part.value), "X")


def advice():
    commands, keys, installs = [], [], []
    for path in sorted(PACKAGE.rglob("*.py")):
        for line, text in literals(ast.parse(path.read_text("utf-8"))):
            where = f"{path.relative_to(PACKAGE)}:{line}"
            text = text.replace("[bold]", "").replace("[/bold]", "\n")
            for found in re.findall(r"(?<![\w.`-])sensorium ([a-z]+(?: [^\n;,()`]+)?)", text):
                if found.split()[0] in VERBS:
                    commands.append((where, _command(found)))
            for found in re.findall(r"[Tt]ype:? ((?:[\w.]+=[^\s;,]*\s?(?:or )?)+)", text):
                keys.append((where, found))
            installs += [(where, extra) for extra in re.findall(r"pip install 'sensorium\[(\w+)\]'", text)]
    return commands, keys, installs


def _command(text):
    """A command without what the sentence says after it."""
    text = re.split(r", or |, then| # | - | [(]", text)[0].strip(" .")
    for quote in "'\"":
        if text.count(quote) % 2:
            text = text[: text.rindex(quote)] + text[text.rindex(quote) + 1 :]
    return text.strip(" .")


COMMAND = typer.main.get_command(app)
VERBS = set(COMMAND.commands)
COMMANDS, KEYS, INSTALLS = advice()


def known_keys():
    found = {"seed", "device", "media", *recipes.SLOTS, *OTHER_KEYS}
    found |= {f"train.{key}" for key in TrainOptions.defaults()} | {
        f"evaluate.{key}" for key in EvaluateOptions.defaults()
    }
    found |= {f"data.{key}" for key in (*recipes.SPLITTING, "cached", "drop")}
    found |= {f"{side}.{recipes.CENTER}" for side in recipes.SIDES}
    found |= {f"finetune.{field.name}" for field in dataclasses.fields(FinetuneOptions)}
    for slot, kind in recipes.SLOTS.items():
        for name in parts.names(kind):
            found |= {f"{slot}.{key}" for key in parts.arguments(parts.find(kind, name))}
    return found


def test_there_is_advice():
    assert len(COMMANDS) > 15 and len(KEYS) > 20


@pytest.mark.parametrize(("where", "command"), COMMANDS, ids=[w for w, _ in COMMANDS])
def test_every_command_is_one_the_command_line_takes(where, command):
    assert "…" not in command, "a command with an ellipsis cannot be typed; name what stands there, such as RECIPE"
    verb, *arguments = shlex.split(command)
    try:
        COMMAND.commands[verb].make_context(verb, arguments)
    except Exception as error:  # of the click that typer brings, which is not the click one imports
        assert type(error).__name__ == "MissingParameter", f"{where}: sensorium {command}: {error}"


@pytest.mark.parametrize(("where", "text"), KEYS, ids=[w for w, _ in KEYS])
def test_every_key_is_one_a_recipe_takes(where, text):
    known = known_keys()
    for key in re.findall(r"([\w.]+)=", text):
        if "X" not in key.split(".") and not key.endswith(".key"):
            assert key in known, f"{where}: no part takes {key}"


def test_every_extra_is_one_that_we_have():
    names = set(importlib.metadata.metadata("sensorium").get_all("Provides-Extra"))
    assert {extra for _, extra in INSTALLS} - {"X"} <= names


def run(folder, n, *overrides, **columns):
    random = np.random.default_rng(0)
    arrays = {name: random.standard_normal((n, 6)).astype("f4") for name in ("image", "text")}
    np.savez(folder / "a.npz", **arrays, **columns)
    keys = [f"data.file={folder / 'a.npz'}", "data.left=image", "data.right=text", "left.head=linear", "left.head.dim=4",
            "right.head=linear", "right.head.dim=4", *FAST]  # fmt: skip
    return sensorium.run("arrays", [*keys, *overrides], out=folder / "run", quiet=True)


def test_one_pair_says_what_works(tmp_path):
    split = np.array(["train", "validation", "validation", "test", "test"])
    with pytest.raises(BadData, match="1 related training pair; a trained fit needs 2") as error:
        run(tmp_path, len(split), split=split)
    typed = str(error.value).partition("type: ")[2].split()
    assert run(tmp_path, len(split), *typed, split=split).metrics["results"]


@pytest.mark.parametrize(("train", "overrides", "used"), [
    (3, ["train.batch=8"], "train.batch=3"), (3, ["train.accumulate=2"], "train.batch=2 train.accumulate=1"),
    (9, ["train.batch=8", "train.accumulate=3"], "train.batch=3 train.accumulate=3"),
])  # fmt: skip
def test_a_batch_larger_than_the_pairs_is_smaller_with_a_note(tmp_path, train, overrides, used):
    split = np.array(["train"] * train + ["validation", "validation", "test", "test"])
    made = run(tmp_path, len(split), *overrides, split=split)
    assert made.metrics["notes"] == [made.metrics["notes"][0]] and f": {used} is used" in made.metrics["notes"][0]
    assert made.metrics["results"] and made.metrics["fit"]["steps"] > 0


@pytest.mark.parametrize("overrides", [["data.test=0.0"], ["data.validation=0.0"]])
def test_a_drawn_split_without_pairs_says_what_works(tmp_path, overrides):
    with pytest.raises(BadData, match="has no related pair.*hold some groups out") as error:
        run(tmp_path, 40, *overrides)
    typed = str(error.value).partition("type: ")[2].split()
    assert run(tmp_path, 40, *overrides, *typed).metrics["results"]


def test_the_datas_own_split_without_a_test_says_what_works(tmp_path):
    split = np.array(["train"] * 30 + ["validation"] * 10)
    with pytest.raises(BadData, match="the test split .*the data's own split has none, correct its column") as error:
        run(tmp_path, 40, split=split)
    assert "data.test=SHARE" not in str(error.value)
    typed = str(error.value).partition("type: ")[2].split()
    assert run(tmp_path, 40, *typed, split=split).metrics["results"]


def test_an_own_split_without_validation_takes_a_share(tmp_path):
    split = np.array(["train"] * 30 + ["test"] * 10)
    with pytest.raises(BadData, match="the validation split has no related pair") as error:
        run(tmp_path, 40, "data.validation=0.0", split=split)
    typed = str(error.value).partition("type: ")[2].split()
    assert run(tmp_path, 40, "data.validation=0.0", *typed, split=split).metrics["results"]


def execute(command):
    with pytest.raises(SystemExit) as end:
        app(shlex.split(command)[1:])
    assert end.value.code == 0, command


def test_the_cards_commands_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made = run(tmp_path, 60)
    made.folder.parent.joinpath("runs").mkdir()
    made.folder.rename(tmp_path / "runs" / "run")
    card = (tmp_path / "runs" / "run" / "README.md").read_text()
    commands = [line for line in card.splitlines() if line.startswith("sensorium ")]
    assert len(commands) == 2
    for command in commands:
        execute(command.replace("--id ID", "--id 3 --from left"))
    assert capsys.readouterr().out


def test_changing_the_fit_says_a_command_that_does_it(tmp_path, monkeypatch):
    from sensorium import pipeline

    monkeypatch.chdir(tmp_path)
    made = run(tmp_path, 60)
    with pytest.raises(BadRecipe, match="would change the fit") as error:
        pipeline.evaluate_again(made.folder, ["train.epochs=3"], quiet=True)
    execute(str(error.value).partition("Type: ")[2] + " --quiet --json")
    assert sensorium.open(made.folder).recipe.values["train"]["epochs"] == 3


def test_other_data_say_a_command_that_fits_them(tmp_path):
    from sensorium import pipeline
    from sensorium.errors import Mismatch

    made = run(tmp_path, 60)
    np.savez(
        tmp_path / "a.npz",
        **{k: np.random.default_rng(1).standard_normal((50, 6)).astype("f4") for k in ("image", "text")},
    )
    with pytest.raises(Mismatch, match="was fitted on data") as error:
        pipeline.evaluate_again(made.folder, quiet=True)
    execute(str(error.value).partition("type: ")[2] + " --quiet --json")
    assert pipeline.evaluate_again(made.folder, quiet=True).metrics["results"]


def test_the_verdicts_advice_runs(tmp_path):
    made = run(tmp_path, 60, 'evaluate.baselines=["cca"]')
    assert made.metrics["verdict"]
    for best, objective in itertools.product(["ridge", "cca", "procrustes"], ["infonce"]):
        assert recipes.load(
            "arrays", [f"data.file={tmp_path / 'a.npz'}", f"objective={objective}", f"objective={best}"]
        )


def test_a_command_quotes_its_folder(tmp_path):
    words = shlex.split(RunFolder(tmp_path / "a b'c").again())
    assert words[-1] == f"{tmp_path}/a b'c"
