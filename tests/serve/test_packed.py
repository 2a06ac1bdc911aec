"""Files of the page as they are sent: compressed, kept for good under a name of their version, small in sum."""

import gzip
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import client_of

from sensorium.serve import built, minify, systems
from sensorium.serve.app import WEB
from sensorium.systems.perception import model_routes

SCRIPTS = sorted(WEB.glob("*.js"))


def links(text):
    return re.findall(r'(?:href|src)="([\w.-]+\.(?:js|css|svg))"', text)


def test_a_file_is_sent_small_and_known_again(symbols):
    with client_of([symbols]) as client:
        own = [f"/{name}" for name in dict.fromkeys(links(client.get("/").text))]
        assert len(own) == 4  # icon, theme, style sheet, script
        for path in ("/", "/?debug", *own, "/app.js", "/tokens.css", next(iter(systems.scripts()))):
            whole = client.get(path, headers={"accept-encoding": "identity"})
            small = client.get(path, headers={"accept-encoding": "br, gzip;q=0.5"})
            assert small.headers["content-encoding"] == "gzip" and "content-encoding" not in whole.headers
            assert small.content == whole.content and int(small.headers["content-length"]) < len(whole.content), path
            for one in (whole, small):
                again = client.get(path, headers={"accept-encoding": one.request.headers["accept-encoding"],
                                                  "if-none-match": one.headers["etag"]})  # fmt: skip
                assert again.status_code == 304 and not again.content
                kept = bool(re.search(r"-[0-9a-f]{16}\.", path))
                assert ("immutable" if kept else "no-cache") in one.headers["cache-control"], path
            assert client.head(path).headers["content-length"] == client.get(path).headers["content-length"]
        assert client.get("/app.js", headers={"accept-encoding": "gzip;q=0"}).headers.get("content-encoding") is None
        assert client.get("/nothing.js").status_code == 404
        assert client.get("/first-0123456789abcdef.js").status_code == 404


def test_debug_serves_the_source_files_as_they_are(symbols):
    with client_of([symbols]) as client:
        names = links(client.get("/?debug").text)
        assert {"app.js", "tokens.css"} <= {*names} and not [name for name in names if re.search("-[0-9a-f]{16}", name)]
        for path in WEB.glob("*.js"):
            assert client.get(f"/{path.name}").text == path.read_text("utf-8")
        for path, file in systems.scripts().items():
            assert client.get(path).text == file.read_text("utf-8")


def test_the_files_of_the_page_are_sent_without_the_token(symbols):
    with client_of([symbols], token="correct horse battery") as client:
        for name in links(client.get("/").text):
            assert client.get(f"/{name}").status_code == 200, name
        assert client.get("/runs").status_code == 401
        assert client.get("/rest-0123456789abcdef.js").status_code == 404


def packed(client, path):
    """Bytes that one request for a file takes, compressed."""
    answer = client.get(path, headers={"accept-encoding": "gzip"})
    assert answer.status_code == 200, path
    return int(answer.headers["content-length"])


def test_the_page_is_small(symbols):
    with client_of([symbols]) as client:
        page = built.build(WEB, systems.scripts())
        sizes = {path: packed(client, path) for path in ("/", "/icon.svg", *page.files)}
    kinds = {path: re.sub(r"-[0-9a-f]{16}", "", path) for path in sizes}
    of = {kinds[path]: size for path, size in sizes.items()}
    worker = len(gzip.compress(model_routes._WORKER.read_bytes(), 9))  # where the server has a model for browsers
    own = sum(size for path, size in of.items() if not path.startswith("/system-"))
    others = [size for path, size in of.items() if path.startswith("/system-")]
    first = of["/"] + of["/icon.svg"] + of["/theme.js"] + of["/page.css"] + of["/first.js"]
    assert first <= 45_000
    assert own <= 99_000, "every view that is not of a system"
    assert own + max(others) + worker <= 120_000, "what one loads who opens every view of a run"
    assert own + sum(others) + worker <= 136_000, "the same of every run there can be"


def test_a_page_that_cannot_be_bundled_is_sent_from_its_source_files(tmp_path):
    odd = tmp_path / "page.js"
    odd.write_text("export default function show() {}\n")
    once = built.Once(WEB, {**systems.scripts(), "/systems/odd/page.js": odd})
    assert once() is None and "/systems/odd/page.js has what is not understood: export default" in once.fault
    assert built.Once(WEB, systems.scripts())() is not None


@pytest.mark.parametrize(("source", "want"), [
    ("const a = 1; // one\nlet b = 2;\n", "const a=1;let b=2;\n"),
    ("a\n(b)\n", "a\n(b)\n"),  # a call, as it was
    ("return\na", "return\na\n"),
    ("x = a / b / c; y = /[/]\\/\\d'/g.test(z)", "x=a / b / c;y=/[/]\\/\\d'/g.test(z)\n"),
    ('s = "// no comment", t = \'/* nor */\'', 's="// no comment",t=\'/* nor */\'\n'),
    ("t = `a  // kept ${ f({ b: `  ${ c }  ` }) }  \n  d`", "t=`a  // kept ${f({b:`  ${c}  `})}  \n  d`\n"),
    ("a = b + +c - -d", "a=b + +c - -d\n"),
    ("if (a) {\n  b();\n}\nelse {\n  c()\n}\n", "if(a){b();}\nelse{c()}\n"),
    ("i++\nj", "i++\nj\n"),
])  # fmt: skip
def test_scripts_are_minified(source, want):
    assert minify.javascript(source) == want


def test_style_sheets_are_minified():
    text = '/* a */ .a > .b ,\n.c { color : red;  content: "  /; }  "; }\n@media (min-width: 1px) { a { b: calc(1px + 2px) } }'
    assert (
        minify.css(text)
        == '.a > .b,.c{color : red;content: "  /; }  "}@media (min-width: 1px){a{b: calc(1px + 2px)}}\n'
    )


def words(text):
    """A script's words, numbers and signs, without comments and white space, by a plainer reading than minify's."""
    return re.sub(r"\s+", "", re.sub(r"(?m)(^|(?<=[;{}),\s]))//.*$|/\*.*?\*/", "", text, flags=re.S | re.M))


@pytest.mark.parametrize("path", [path for path in SCRIPTS if "`" not in path.read_text("utf-8")], ids=lambda p: p.name)
def test_only_comments_and_white_space_leave_a_script(path):
    text = re.sub(r"(?m)^\s*//.*$", "", re.sub(r"(?s)/\*\*.*?\*/", "", path.read_text("utf-8")))
    small = minify.javascript(path.read_text("utf-8"))
    assert words(re.sub(r"(?m)\s//\s.*$", "", text)) == words(small)
    assert minify.javascript(small) == small


@given(st.text(alphabet=" \n\t", max_size=20), st.text(alphabet=" \n\t", max_size=20))
def test_white_space_between_statements_does_not_matter(a, b):
    assert minify.javascript(f"let x = 1;{a}f(x);{b}") == "let x=1;f(x);\n"


def test_what_does_not_end_is_refused():
    with pytest.raises(ValueError, match="template literal does not end"):
        minify.javascript("a = `b")


def test_style_sheets_do_not_change_each_others_elements():
    """All of them apply at once, so no two may say what one and the same selector looks like."""
    known = {":root", ".player", ".live-meter i"}  # variables; of one view; in one that uses the other's elements
    said: dict[str, set[str]] = {}
    for path in [*WEB.glob("*.css"), *(file for file in systems.scripts().values() if file.suffix == ".css")]:
        text = re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.S)
        for rule in re.findall(r"([^{};]+)\{", text):
            for selector in map(str.strip, rule.split(",")):
                if selector.startswith((".", "#", ":")):
                    said.setdefault(selector, set()).add(f"{path.parent.name}/{path.name}")
    assert {selector: files for selector, files in said.items() if len(files) > 1 and selector not in known} == {}
