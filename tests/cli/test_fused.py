"""``sensorium search RUN --with RUN2``: the fused ranking as JSON, the weights chosen, and what is refused."""

import json

import pytest
import small_run
from typer.testing import CliRunner

import sensorium
from sensorium.cli import app


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return small_run.make_two(tmp_path_factory.mktemp("fused"))


def said(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.mark.parametrize("options", [[], ["--fusion", "weights", "--weights", ".7,.3"]])
def test_hits_are_those_of_python(runs, options):
    done = said("search", runs / "ridge", "--with", runs / "cca", *options, "--text", "integral", "-k", 4, "--json")
    keys = {"fusion": "weights", "weights": [0.7, 0.3]} if options else {}
    hits = sensorium.fuse(runs / "ridge", runs / "cca", **keys).search(text="integral", k=4)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["id"] for one in found] == hits.ids and found[0]["ranks"].keys() == {"ridge", "cca"}
    assert [one["score"] for one in found] == pytest.approx(hits.scores)


def test_the_chosen_weights_are_said(runs):
    done = said("search", runs / "ridge", "--with", runs / "cca", "--weights", "validation", "--text", "arrow", "-k", 2)
    assert done.exit_code == 0 and "nDCG@10" in done.stderr and "weights ridge" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--fusion", "rrf"], "--fusion is of a fusion of runs; name another run: --with RUN"),
     (["--with", "cca", "--weights", "much,less"], "--weights much,less; expected a number for each run"),
     (["--with", "cca", "--mmr", ".5"], "--mmr is not for a fusion of runs"),
     (["--with", "cca", "--speaker", "2"], "--with is for one query"),
     (["--with", "nowhere"], "nowhere is not a run")],
)  # fmt: skip
def test_what_cannot_be_fused_is_refused(runs, options, message):
    done = said("search", runs / "ridge", "--text", "a", *[runs / o if o in ("cca", "nowhere") else o for o in options])
    assert done.exit_code != 0 and message in str(done.exception or "") + done.output + done.stderr
