"""A run as tools of agents: what they answer, and the official client over stdio and HTTP."""

import json
import re
import subprocess
import sys

import processes
import pytest

from sensorium.errors import BadData, BadRecipe, MissingExtra
from sensorium.serve import mcp as door
from sensorium.serve.agent import Agent, in_words, verdict

pytestmark = pytest.mark.xdist_group("serve")
COMMAND = ["-c", "from sensorium.cli import main; main()", "mcp"]
TOKEN = "correct horse battery"


@pytest.fixture(scope="module")
def agent(symbols):
    return Agent(symbols)


@pytest.fixture(scope="module")
def sdk():
    return pytest.importorskip("mcp", reason="type: pip install 'sensorium[mcp]'")


def test_a_search_gives_what_the_run_finds(agent):
    found = agent.search("arrow", k=3)
    same = agent.run.search(text="arrow", k=3)
    assert [hit["id"] for hit in found["hits"]] == same.ids
    assert [hit["score"] for hit in found["hits"]] == pytest.approx(same.scores, abs=1e-4)
    assert found["side"] == "image" and found["hits"][0]["columns"]["font"] == "DejaVuSansMono"
    assert re.match(
        r"Measured on [\d,]+ held-out queries among [\d,]+ items: hit@1 [\d.]+, 95% interval", found["quality"]
    )
    assert json.loads(json.dumps(found)) == found


def test_a_filter_and_an_item_as_the_query(agent):
    kinds = {hit["columns"]["category"] for hit in agent.search("arrow", k=9, filter={"category": "Sm"})["hits"]}
    assert kinds == {"Sm"}
    id = agent.search("arrow", k=1)["hits"][0]["id"]
    assert agent.search(like=id, k=2)["side"] == "text"
    assert id not in [hit["id"] for hit in agent.search(like=id, k=5, side="image")["hits"]]


def test_an_item_has_its_columns_and_related_items(agent):
    id = agent.search("arrow", k=1)["hits"][0]["id"]
    item = agent.get_item(id)
    assert item["side"] == "image" and item["columns"]["codepoint"] == id.split("/")[0]
    assert item["related"] == [id.split("/")[0]] and item["related_count"] == 1
    assert id in agent.get_item(item["related"][0])["related"]


def test_an_explanation_says_where_how_sure_and_how_good(agent):
    hits = agent.search("arrow", k=5)["hits"]
    told = agent.explain(hits[3]["id"], "arrow")
    assert abs(told["rank"] - 4) <= 1, "equal scores may change places"
    assert told["best_id"] == hits[0]["id"] and told["of"] == len(agent.run.index("left").table)
    assert told["median_score"] < told["score"] <= told["best_score"] == pytest.approx(hits[0]["score"], abs=1e-4)
    assert told["match"] == hits[3]["match"] == in_words(hits[3].get("probability"))
    assert {"measure", "value", "low", "high", "baselines"} <= set(told["measures"][0])


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda a: a.search(), BadRecipe, "give either words to search for, or in like the id"),
        (lambda a: a.search("x", "y"), BadRecipe, "exactly one of them"),
        (lambda a: a.search("x", k=0), BadRecipe, "k is 0; expected 1 to 100"),
        (lambda a: a.search("x", filter={"fnt": "a"}), BadRecipe, "no column 'fnt'; did you mean 'font'"),
        (lambda a: a.search(like="nothing"), BadData, "no item 'nothing' in run 'symbols|glyphs'; search gives ids"),
        (lambda a: a.get_item("nothing", "image"), BadData, "no item 'nothing' on the image side of run"),
        (lambda a: a.get_item("nothing", "middle"), BadRecipe, "side 'middle'; expected"),
        (lambda a: a.explain("nothing", "x"), BadData, "no item 'nothing' on the image side of run"),
    ],
)
def test_wrong_arguments_are_typed_errors_without_folders(agent, call, kind, words):
    with pytest.raises(kind, match=words) as error:
        call(agent)
    assert str(agent.run.folder) not in str(error.value)


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.9, "likely match"), (0.3, "possible match"), (0.1, "no reliable match"), (None, "not calibrated")],
)
def test_probabilities_in_words(probability, words):
    assert in_words(probability).startswith(words)


@pytest.mark.parametrize(
    ("chances", "doubtful", "words"),
    [([0.6], None, "likely match"), ([0.4, 0.4, 0.3], None, "likely match"), ([0.2], None, "possible match"),
     ([0.1, 0.1, 0.1, 0.1], None, "possible match"), ([0.1], None, "no reliable match"),
     ([0.9], True, "no reliable match"), ([], None, "not calibrated")],
)  # fmt: skip
def test_a_list_has_one_verdict(chances, doubtful, words):
    assert verdict([{"probability": one} for one in chances], doubtful).startswith(words)


def test_a_run_of_vectors_says_that_words_find_nothing(tmp_path):
    import numpy as np

    import sensorium

    X, Y = np.random.default_rng(0).standard_normal((2, 80, 8)).astype(np.float32)
    agent = Agent(sensorium.fit(X, Y, out=tmp_path / "run", quiet=True).folder)
    with pytest.raises(BadRecipe, match="is not searched by words: .* by id .*give the id of an item in like"):
        agent.search("heart")
    with pytest.raises(BadData, match="'7' is an id of both sides; say which with side: X and Y|left and right"):
        agent.get_item("7")
    assert agent.get_item("7", "left")["related"] == ["7"]


def test_without_the_sdk_the_command_that_installs_it(agent, monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sensorium\[mcp\]'"):
        door.build(agent)


@pytest.mark.parametrize(
    ("more", "words"), [({"token": "short"}, "shorter than 16"), ({"host": "0.0.0.0"}, "no token is set")]
)
def test_no_open_door_to_other_machines(symbols, more, words):
    with pytest.raises(BadRecipe, match=words):
        door.over_http(symbols, **more)


async def ask(sdk, client):
    """What every client sees, whatever the transport."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"search", "get_item", "explain"}
    assert all(tool.annotations.read_only_hint and tool.description for tool in tools.values())
    assert tools["search"].input_schema["properties"]["k"]["maximum"] == 100
    found = await client.call_tool("search", {"words": "arrow", "k": 2, "filter": {"category": "Sm"}})
    assert not found.is_error and len(found.structured_content["hits"]) == 2
    id = found.structured_content["hits"][0]["id"]
    item = await client.call_tool("get_item", {"id": id})
    assert item.structured_content["columns"]["category"] == "Sm"
    why = await client.call_tool("explain", {"id": id, "words": "arrow"})
    assert why.structured_content["rank"] >= 1 and why.structured_content["measures"]
    wrong = await client.call_tool("get_item", {"id": "nothing"})
    assert wrong.is_error and "BadData: no item 'nothing'" in wrong.content[0].text
    wrong = await client.call_tool("search", {"words": "arrow", "k": 1000})
    assert wrong.is_error and "less than or equal to 100" in wrong.content[0].text


def test_over_stdio_with_the_official_client(sdk, symbols):
    import anyio

    async def go():
        told = sdk.StdioServerParameters(command=sys.executable, args=[*COMMAND, str(symbols)], env=environment())
        async with sdk.Client(sdk.stdio_client(told)) as client:
            await ask(sdk, client)

    anyio.run(go)


def test_over_http_with_the_official_client(sdk, symbols, tmp_path):
    import anyio
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    (tmp_path / "token").write_text(TOKEN)
    words = ["mcp", symbols, "--http", "--port", "0", "--token-file", tmp_path / "token"]
    process = processes.Process(words, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        url = process.stderr.readline().split()[0]
        assert url.startswith("http://127.0.0.1:") and url.endswith("/mcp")
        assert httpx2.post(url, json={}).status_code == 401
        headers = {"authorization": f"Bearer {TOKEN}"}
        assert httpx2.post(url, json={}, headers={**headers, "host": "evil.example"}).status_code == 421

        async def go():
            async with (
                httpx2.AsyncClient(headers=headers) as http,
                sdk.Client(streamable_http_client(url, http_client=http)) as client,
            ):
                await ask(sdk, client)

        anyio.run(go)
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


def environment():
    import os

    return {**os.environ, "OMP_NUM_THREADS": "1"}


LINK = re.compile(r"^- \[[^\]]+\]\(([^)]+)\): \S", re.M)


def links(text):
    """The links of a file by llmstxt.org: a title, a summary, then sections of lists of links."""
    assert re.match(r"# \S[^\n]*\n\n> \S", text) and "\n## Optional\n" in text
    listed = [line for line in text.splitlines() if line.startswith("- ")]
    found = LINK.findall(text)
    assert len(found) == len(listed) >= 4
    return found


def test_links_of_the_documentation_for_language_models_exist():
    from pathlib import Path

    docs = Path(__file__).parents[2] / "docs"
    for link in links((docs / "llms.txt").read_text("utf-8")):
        assert (docs / link).is_file(), link
    served = {"help.py", "pictures.py", "llms.txt", "pictures", "recipes"}
    missing = {path.name for path in docs.iterdir()} - served - set(links((docs / "llms.txt").read_text("utf-8")))
    assert not missing, f"llms.txt does not list {missing}"


def test_links_of_a_server_for_language_models_answer(client):
    answer = client.get("/llms.txt")
    assert answer.headers["content-type"].startswith("text/plain")
    for link in links(answer.text):
        assert client.get(f"/{link}").status_code == 200, link
