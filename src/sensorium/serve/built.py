"""The page as it is sent: every module in a few small scripts, every style sheet in one, under names of this version.

The name of a file changes with the content of any, so browsers keep files for good and never mix two versions.
``/?debug`` is the same page from its source files, with the line numbers of these.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import xxhash

from sensorium.serve import bundle, minify, packed

ENTRY, FIRST = "/app.js", ("/app.js", "/search.js")  # modules of the first screen, with all that they need
_SMALLER = {".js": minify.javascript, ".css": minify.css}
_VERSION = "__version__"  # stands in names of files until the content is known
_LINKS = re.compile(r'^<link rel="stylesheet" href="[\w-]+\.css">\n', re.M)
#: What ``files.js`` is in a bundle.
_FILES = f"""import {{ at }} from "./api.js";
export const view = (path) => import(at(`/system-${{path.split("/")[2]}}-{_VERSION}.js`)).then((all) => all.page());
export const sheet = async () => {{}};
export const file = (path) => at(path.replace(".js", "-{_VERSION}.js"));
"""


@dataclass(frozen=True)
class Page:
    """index: the text of the first page. files: all that it loads, by path."""

    index: str
    files: dict[str, packed.Packed]


def build(web: Path, scripts: Mapping[str, Path]) -> Page:
    """The page of a folder and the scripts and style sheets of systems, by path.

    Raises ValueError, which says why, where a script cannot be bundled.
    """
    own = {f"/{file.name}": file for file in sorted(web.iterdir()) if file.suffix in (".js", ".css")}
    texts = {path: file.read_text("utf-8") for path, file in {**own, **scripts}.items()}
    index = (web / "index.html").read_text("utf-8")
    sheet = {f"/page-{_VERSION}.css": _sheet(texts, index)}
    written = _scripts({**texts, "/files.js": _FILES}, own) | sheet
    small = {path: _SMALLER[path[path.rindex(".") :]](text) for path, text in written.items()}
    version = xxhash.xxh3_64_hexdigest("\0".join(small.values()).encode())
    files = {
        path.replace(_VERSION, version): packed.pack(
            text.replace(_VERSION, version), path[path.rindex(".") :], kept=True
        )
        for path, text in small.items()
    }
    link = f'<link rel="stylesheet" href="page-{version}.css">\n'
    index = _LINKS.sub("", index).replace("</head>", f"{link}</head>")
    for name, of in (("theme", "theme"), ("app", "first")):
        index = index.replace(f'src="{name}.js"', f'src="{of}-{version}.js"')
    return Page(index, files)


def _sheet(texts: Mapping[str, str], index: str) -> str:
    """One style sheet of all: those of the first page in their order, then the others."""
    linked = [f"/{name}" for name in re.findall(r'href="([\w-]+\.css)"', index)]
    return "\n".join(texts[path] for path in dict.fromkeys([*linked, *texts]) if path.endswith(".css"))


def _scripts(texts: Mapping[str, str], own: Mapping[str, Path]) -> dict[str, str]:
    """Bundles, and scripts that run alone (in the head, in a worker), by path."""
    found = bundle.modules({path: text for path, text in texts.items() if path.endswith(".js")})
    views = [path for path in found if path.endswith("/page.js")]
    used = bundle.reachable(found, *FIRST, *views)
    first = bundle.before(found, *FIRST)
    bundles = {f"./first-{_VERSION}.js": first,
               f"./rest-{_VERSION}.js": [path for path in used if path in own and path not in first]}  # fmt: skip
    for view in views:
        folder = view.removesuffix("page.js")
        bundles[f"./system-{view.split('/')[2]}-{_VERSION}.js"] = [path for path in used if path.startswith(folder)]
    made = {}
    for address, paths in bundles.items():
        text = bundle.bundle(found, bundles, address, ENTRY if ENTRY in paths else None, views)
        page = next((found[path].number for path in paths if path in views), None)
        made[address[1:]] = text if page is None else f"{text}export {{ ${page} as page }};\n"
    alone = {path: texts[path] for path in own if path.endswith(".js") and path not in used}
    return made | {path.replace(".js", f"-{_VERSION}.js"): text for path, text in alone.items()}


class Once:
    """A page that is built at its first use, and once.

    fault: why there is none, as the page is then sent from its source files.
    """

    def __init__(self, web: Path, scripts: Mapping[str, Path]) -> None:
        self.web, self.scripts, self.fault = web, scripts, ""
        self._page: Page | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Page | None:
        """The page, or None where it cannot be built."""
        with self._lock:
            if self._page is None and not self.fault:
                try:
                    self._page = build(self.web, self.scripts)
                except ValueError as error:
                    self.fault = str(error)
            return self._page
