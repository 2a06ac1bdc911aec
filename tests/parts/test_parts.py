"""The folder is the registry: found by file, by dotted path, by path; strict about keys."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from sensorium import parts
from sensorium.errors import BadRecipe, SensoriumError

PART = '''"""A part for the test."""
class Flip:
    """Turns signs."""
    def __init__(self, times: int, sign: float = -1.0): self.times, self.sign = times, sign
    def build(self, dim_in, stats=None, like=None): self.dim_in = self.dim = dim_in
    def forward(self, x): return self.sign * x
'''


def every_part():
    return [(kind, name) for kind in parts.KINDS for name in parts.names(kind)]


@pytest.mark.parametrize(("kind", "name"), every_part(), ids=lambda v: str(v))
def test_every_part_is_found_and_says_what_it_is(kind, name):
    assert parts.names(kind)[name].endswith((".", ")")) or len(parts.names(kind)[name]) > 10
    part = parts.find(kind, name)
    assert getattr(part, "func", part).__doc__
    if not isinstance(part, partial):  # a partial bears the name of the class that several parts share
        assert part.__name__.lower() == name.replace("_", "")


def test_dotted_path_and_file(tmp_path, monkeypatch):
    (tmp_path / "flipping.py").write_text(PART)
    monkeypatch.syspath_prepend(tmp_path)
    by_path = parts.make("heads", {"name": "flipping:Flip", "times": 2})
    by_file = parts.make("heads", {"name": f"{tmp_path}/flipping.py:Flip", "times": 3, "sign": 1.0})
    assert (by_path.times, by_path.sign, by_file.times, by_file.sign) == (2, -1.0, 3, 1.0)


def test_a_part_may_be_a_partial_of_a_class_that_several_share(tmp_path):
    (tmp_path / "flipping.py").write_text(PART + "from functools import partial\nTwice = partial(Flip, 2)\n")
    part = parts.find("heads", f"{tmp_path}/flipping.py:Twice")
    assert parts.arguments(part) == {"sign": -1.0}  # what is settled already is no key
    assert parts.make("heads", {"name": f"{tmp_path}/flipping.py:Twice", "sign": 3.0}).times == 2
    with pytest.raises(BadRecipe, match="takes no 'times'"):
        parts.make("heads", {"name": f"{tmp_path}/flipping.py:Twice", "times": 3})


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("heads", {"name": 3}, "no heads are called 3; expected text, such as 'adapted'"),
        ("heads", {"name": "lstm", "hidden": "abc"}, "left.hidden='abc'; expected a whole number"),
        ("heads", {"name": "lstm", "hidden": 16.0}, "left.hidden=16.0; expected a whole number"),
        ("heads", {"name": "lstm", "normalize": 1}, "left.normalize=1; expected true or false"),
        ("heads", {"name": "lstm", "depth": True}, "left.depth=True; expected a whole number"),
        ("encoders", {"name": "mfcc", "silence_db": float("nan")}, "left.silence_db=nan; expected a finite number"),
        ("encoders", {"name": "mfcc", "hop": float("-inf")}, "left.hop=-inf; expected a finite number"),
        ("encoders", {"name": "mfcc", "hop": 10**400}, "expected a finite number"),
        ("encoders", {"name": "mfcc", "cmvn": 3}, "left.cmvn=3; expected text"),
        ("datasets", {"name": "ravdess", "root": 2024}, "left.root=2024; expected text"),
        (
            "datasets",
            {"name": "ravdess", "root": "a", "test_actors": 1.5},
            "expected a list.* or a whole number or text",
        ),
        ("datasets", {"name": "ravdess", "root": "a", "augment_kinds": "speed"}, "expected a list, '\\[…\\]'"),
        ("encoders", {"name": "onehot", "classes": ["a", 1]}, "expected a list"),
    ],
)
def test_values_of_another_kind_are_refused(kind, spec, message):
    with pytest.raises(BadRecipe, match=message):
        parts.make(kind, spec, "left")


def test_values_that_fit(tmp_path):
    assert (
        parts.make("heads", {"name": "lstm", "hidden": np.int64(3), "dropout": 0, "dim": None}).arguments["dropout"]
        == 0
    )
    assert parts.make("datasets", {"name": "ravdess", "root": tmp_path, "test_actors": 3, "fold": "all"}).fold == "all"
    (tmp_path / "own.py").write_text(
        "class Own:\n    takes = 'text'\n    def encode(self, values): return []\n"
        "    def __init__(self, a: 'Unknown', b=1): self.a, self.b = a, b\n"
    )
    assert parts.make("encoders", {"name": f"{tmp_path}/own.py:Own", "a": "x", "b": "y"}).b == "y"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mpl", "no head 'mpl'; did you mean 'mlp'"),
        ({"name": "linear", "dmi": 3}, "left.head: 'linear' takes no 'dmi'; did you mean 'dim'"),
        ({"dim": 3}, "left.head needs a name; known: "),
        ("nowhere.at.all:Flip", "no module 'nowhere.at.all'"),
        ("missing.py:Flip", "no such file missing.py"),
        ("collections:OrderdDict", "has no class 'OrderdDict'"),
    ],
)
def test_refusals_name_the_nearest(spec, message):
    with pytest.raises(BadRecipe, match=message):
        parts.make("heads", spec, "left.head")


def test_a_missing_argument_says_what_to_type(tmp_path):
    (tmp_path / "flipping.py").write_text(PART)
    with pytest.raises(BadRecipe, match=r"needs times; type: left.head.times="):
        parts.make("heads", f"{tmp_path}/flipping.py:Flip", "left.head")


def test_a_failing_import_inside_a_part_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken_part.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        parts.find("heads", "broken_part:Flip")


def test_a_missing_extra_says_what_to_type():
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['sensorium', 'run', 'glyphs']\n"
        "from sensorium.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip() == "error: 'torch' is not installed; type: pip install 'sensorium[train]'"


def test_errors_are_one_family():
    assert issubclass(BadRecipe, SensoriumError)
