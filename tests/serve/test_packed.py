"""Files of the page as they are sent: minified without another meaning, compressed, revalidated; and their sizes."""

import gzip
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import client_of

from sensorium.serve import minify, packed, systems
from sensorium.serve.app import WEB

SCRIPTS = sorted(WEB.glob("*.js"))


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


def test_a_file_is_sent_small_and_asked_for_again(symbols):
    with client_of([symbols]) as client:
        for path in ("/", "/app.js", "/tokens.css", "/icon.svg", next(iter(systems.scripts()))):
            whole = client.get(path, headers={"accept-encoding": "identity"})
            small = client.get(path, headers={"accept-encoding": "br, gzip;q=0.5"})
            assert small.headers["content-encoding"] == "gzip" and "content-encoding" not in whole.headers
            assert small.content == whole.content and int(small.headers["content-length"]) < len(whole.content), path
            for one in (whole, small):
                again = client.get(path, headers={"accept-encoding": one.request.headers["accept-encoding"],
                                                  "if-none-match": one.headers["etag"]})  # fmt: skip
                assert again.status_code == 304 and not again.content and one.headers["cache-control"] == "no-cache"
        assert client.get("/app.js", headers={"accept-encoding": "gzip;q=0"}).headers.get("content-encoding") is None
        assert client.get("/nothing.js").status_code == 404 and client.head("/app.js").status_code == 200


def size(path):
    return len(gzip.compress(packed.file_response(path, {}).body, 9))


def imported(*names):
    """The scripts that some scripts need before they run, themselves included."""
    seen, todo = [], list(names)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.append(name)
            todo += re.findall(r'^import [^;]*?"\./([\w.-]+\.js)";', (WEB / name).read_text("utf-8"), re.M)
    return seen


def test_the_page_is_small():
    assert sum(size(path) for path in WEB.iterdir() if path.suffix in packed.TYPES) <= 120_000
    styles = [WEB / name for name in re.findall(r'"([\w-]+\.css)"', (WEB / "index.html").read_text("utf-8"))]
    first = [WEB / "index.html", *styles, *(WEB / name for name in imported("app.js", "search.js"))]
    assert sum(map(size, first)) <= 60_000


def test_what_one_loads_who_opens_every_view():
    """Every view of the page and of all systems, as they are sent: the limit keeps it from growing."""
    files = [path for path in WEB.iterdir() if path.suffix in packed.TYPES] + [*systems.scripts().values()]
    assert sum(map(size, files)) <= 170_000


def test_a_system_adds_little():
    for name in {path.split("/")[2] for path in systems.scripts()}:
        assert sum(size(file) for path, file in systems.scripts().items() if path.split("/")[2] == name) <= 40_000, name


def test_the_first_screen_is_loaded_at_once_and_not_module_by_module():
    links = re.findall(r'rel="modulepreload" href="([\w.-]+)"', (WEB / "index.html").read_text("utf-8"))
    assert sorted(["app.js", *links]) == sorted(imported("app.js", "search.js"))
