"""[page] of a recipe: kept with the run, out of the hash, refused with what to type."""

import pytest

from sensorium import recipe
from sensorium.errors import BadRecipe
from sensorium.evaluate.page_options import PageOptions

GIVEN = ["page.title='Symbols'", 'page.examples=["umbrella"]', "page.display={right = 'name'}"]


def test_the_page_is_in_the_recipe_s_text_and_not_in_its_hash():
    plain, shown = recipe.load("arrays"), recipe.load("arrays", GIVEN)
    assert plain.hash == shown.hash and "page" not in plain.values
    again = recipe.load(dict(shown.values))
    assert again.values["page"] == {"title": "Symbols", "examples": ["umbrella"], "display": {"right": "name"}}
    options = PageOptions.of(again.values["page"])
    assert options.column_of("right") == "name" and options.column_of("left") == ""
    assert PageOptions(display="text").column_of("left") == "text"
    assert "[page]" in shown.toml()


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("page=1", r"\[page\] is a section"),
        ("page.titel=x", "no key 'page.titel'; did you mean 'title'"),
        ("page.title=3", "page.title='3'; expected such as"),
        ("page.examples=word", "expected a list of at most 12 texts"),
        ("page.examples=[1]", "page.examples='1'; expected each a text"),
        ("page.display={middle = 'a'}", "no side 'middle'; expected left or right"),
        ("page.display=3", "page.display='3'; expected the name of a column"),
    ],
)
def test_what_it_refuses(key, said):
    with pytest.raises(BadRecipe, match=said):
        recipe.load("arrays", [key])
