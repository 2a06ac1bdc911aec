"""Captions in other styles by rules: the same text each time, other words than the caption, things found in phrases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.modalities.text import rewrites

CAPTION = "Two men in red shirts are playing with a small brown dog while a car passes by."


def test_each_style_of_a_caption():
    made = {style: rewrites.rewrite(CAPTION, style, "picture", "boat") for style in rewrites.STYLES}
    assert made["caption"] == CAPTION
    assert made["tags"] == "men, shirts, playing, dog, car, passes"
    assert made["question"].startswith("Is there a picture in which two men in red shirts are playing")
    assert made["question"].endswith("passes by?")
    assert made["command"].startswith("Show me a picture in which two men")
    assert made["paraphrase"] == (
        "While a automobile passes by, two guys in red shirts are having a game with a little brown hound."
    )
    assert made["without"].endswith("a car passes by without boat.")
    assert rewrites.rewrite("rain", "command", "sound") == "Find a recording in which rain."


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("A dog runs through the snow .", ["dog", "snow"]),
        ("Birds are chirping while water flows", ["bird", "water"]),
        ("Footsteps on gravel are followed by a door closing", ["footstep", "gravel", "door"]),
        ("The children's ball rolls down two stairs.", ["ball", "stair"]),
        ("", []),
    ],
)
def test_things_of_a_caption(text, things):
    assert rewrites.things(text) == things


@given(st.text(st.characters(codec="utf-8"), max_size=60), st.sampled_from(rewrites.STYLES))
def test_any_text_is_rewritten_and_always_the_same(text, style):
    made = rewrites.rewrite(text, style, "sound", "rain")
    assert made == rewrites.rewrite(text, style, "sound", "rain")
    assert style in ("caption", "tags") or made.strip()


@given(st.lists(st.sampled_from(CAPTION.strip(".").split()), min_size=2, max_size=12))
def test_no_style_but_tags_gives_the_caption_itself(words):
    text = " ".join(words)
    for style in ("question", "command", "paraphrase", "without"):
        assert rewrites.rewrite(text, style, "sound", "rain").lower().rstrip(".") != text.lower()
