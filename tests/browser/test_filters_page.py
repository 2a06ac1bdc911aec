"""Filters with counts, one result a group, minimum scores and what fills up, in a real browser."""

import json
import urllib.request

import pytest


@pytest.fixture
def page(served, open_page):
    page = open_page(f"{served.url}/#/search?run=glyphs&q=letter+a&to=left")
    page.wait_for_selector(".results:not([aria-busy]) .hit")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_selector(".filter-values .number:not(:empty)")
    return page


def ask(served, **body):
    sent = urllib.request.Request(f"{served.url}/search", json.dumps({"run": "glyphs", **body}).encode(),
                                  {"content-type": "application/json"})  # fmt: skip
    return json.load(urllib.request.urlopen(sent))


def counts(page, column):
    """The shown counts of a column's values."""
    field = page.locator("fieldset.filter", has=page.locator("legend", has_text=column))
    return {
        chip.locator("span").first.inner_text(): int(chip.locator(".number").inner_text().replace(",", ""))
        for chip in field.locator(".chip:visible").all()
    }


def counted(served, column, **where):
    facet = ask(served, facets=[column], to="left", **({"where": where} if where else {}))["facets"][column]
    return {one["value"]: one["count"] for one in facet["values"]}


def test_every_value_says_how_many_items_it_has(page, served):
    assert counts(page, "font") == counted(served, "font")
    page.locator(".filter-values .chip", has_text="STIXGeneral").get_by_role("checkbox").check()
    lu = counted(served, "category", font="STIXGeneral")["Lu"]
    page.wait_for_function(
        "n => [...document.querySelectorAll('.chip')].some(e => e.textContent === `Lu${n.toLocaleString('en')}`)",
        arg=lu,
    )
    assert counts(page, "font") == counted(served, "font")  # its own condition is left out
    page.locator(".filter-values .chip", has_text="DejaVuSansMono").get_by_role("checkbox").check()
    page.wait_for_function("() => decodeURIComponent(location.href).includes('DejaVuSansMono')")
    both = sum(counted(served, "font")[name] for name in ("STIXGeneral", "DejaVuSansMono"))
    assert sum(counted(served, "category", font=["STIXGeneral", "DejaVuSansMono"]).values()) == both
    again = page.locator(".filter-values .chip", has_text="STIXGeneral").get_by_role("checkbox")
    assert again.is_checked()


def test_one_result_a_group_unfolds_and_shows_the_whole_group(page, served):
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Group").click()
    page.get_by_role("radio", name="codepoint").check()
    page.wait_for_selector(".hit .more")
    answer = ask(served, text="letter a", to="left", k=12, collapse="codepoint", collapse_size=7)
    assert page.locator(".hit").evaluate_all("all => all.map(e => e.dataset.id)") == [
        one["id"] for one in answer["hits"]
    ]
    place = next(n for n, one in enumerate(answer["hits"]) if one["group_size"] > 1)
    hit, card = answer["hits"][place], page.locator(".hit").nth(place)
    more = card.get_by_role("button", name=f"{hit['group_size'] - 1} more")
    assert more.get_attribute("aria-expanded") == "false" and not card.locator(".group").is_visible()
    more.click()
    assert card.locator(".group button").count() == len(hit["collapsed"])
    assert "collapse=codepoint" in page.url
    page.get_by_role("button", name="Group").click()
    page.get_by_role("radio", name="category").check()
    page.keyboard.press("Escape")
    page.wait_for_function("() => location.href.includes('collapse=category')")
    page.wait_for_selector(".results:not([aria-busy]) .hit .more")
    first = page.locator(".hit").first
    first.locator(".more").click()
    first.locator(".group .button", has_text="All").click()
    page.wait_for_function("() => !location.href.includes('collapse') && location.href.includes('where=')")


def test_a_minimum_score_leaves_out_and_other_items_fill_up(page, served, open_page):
    scores = [one["score"] for one in ask(served, text="letter a", to="left", k=12)["hits"]]
    above = next(n for n in range(2, 12) if scores[n - 1] > scores[n])  # others have equal scores
    least = (scores[above - 1] + scores[above]) / 2
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Options").click()
    page.get_by_label("Minimum score").fill(str(least))
    page.keyboard.press("Tab")
    number = "n => document.querySelectorAll('.results:not([aria-busy]) .hit').length === n"
    page.wait_for_function(number, arg=above)
    page.get_by_label("Fill up with other items").check()
    page.wait_for_function(number, arg=12)
    assert page.locator(".hit .tag", has_text="Fallback").count() == 12 - above
    again = open_page(page.url)
    again.wait_for_selector(".hit .tag")
    assert again.locator(".hit .tag", has_text="Fallback").count() == 12 - above
    page.get_by_label("Fill up with other items").uncheck()
    page.get_by_label("Minimum score").fill("99")
    page.keyboard.press("Tab")
    page.wait_for_selector("text=No result reaches the minimum score")
    page.get_by_role("button", name="Remove the minimum score").click()
    page.wait_for_function(number, arg=12)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_nothing_to_say_of_filters_and_groups(served, open_page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="type: pip install axe-playwright-python")
    url = f"{served.url}/#/search?run=glyphs&q=letter+a&to=left&collapse=category&fallback=%7B%7D&min_score=0.2"
    page = open_page(url, color_scheme=scheme)
    page.wait_for_selector(".hit .more")
    page.locator(".hit .more").first.click()
    page.get_by_role("button", name="Filter").click()
    page.wait_for_selector(".filter-values .number:not(:empty)")
    assert [one["id"] for one in axe.Axe().run(page).response["violations"]] == []
