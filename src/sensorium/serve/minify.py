"""Scripts and style sheets without comments and needless white space, so that readable files are small on the wire.

Names stay, and so do line ends where JavaScript may read a semicolon into them.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<comment>//[^\n]*|/\*.*?\*/)
      | (?P<regex>/(?![*/])(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*)
      | (?P<space>\s+)
      | (?P<word>[\w$#]+)
      | (?P<other>.)""",
    re.X | re.S,
)
_TEMPLATE = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*(`|\$\{)", re.S)
_BEFORE_REGEX = frozenset("(,=:[!&|?{};+-*%~^<>")  # what stands before a slash that begins a regular expression
_WORDS = frozenset(("return", "typeof", "case", "of", "in", "void", "delete", "await", "yield", "else"))
_CLOSED_AFTER = frozenset("{[(,;:=&|?<>*%^~!")  # no statement ends after these, nor is a space needed
_CLOSED_BEFORE = frozenset(")]},;:=&|?*%^~.<>")  # … before these
_TIGHT = frozenset("{}()[];,:=<>!&|?*%^~")  # no space is needed on either side of these


def javascript(text: str) -> str:
    """A script of the same meaning. Raises ValueError where a template literal does not end."""
    out: list[str] = []
    depth: list[int] = []  # braces open in each template literal that we are inside of
    at, gap, last = 0, "", ";"

    def put(piece: str) -> None:
        nonlocal gap, last
        first = piece[0]
        if "\n" in gap:
            if last[-1] not in _CLOSED_AFTER and first not in _CLOSED_BEFORE:
                out.append("\n")
        elif gap and last[-1] not in _TIGHT and first not in _TIGHT:
            out.append(" ")
        out.append(piece)
        gap, last = "", piece

    def template(start: int) -> int:
        found = _TEMPLATE.match(text, start)
        if found is None:
            raise ValueError("a template literal does not end")
        out.append(found[0])
        if found[1] == "`":
            return found.end()
        depth.append(0)
        return found.end()

    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found is not None  # every character is one token at least
        kind, piece = found.lastgroup, found[0]
        if kind == "regex" and not (last[-1] in _BEFORE_REGEX or last in _WORDS):
            kind, piece = "other", "/"  # a division
        at += len(piece)
        if kind in ("space", "comment"):
            gap += "\n" if "\n" in piece or piece.startswith("//") else " "
            continue
        if piece == "}" and depth and depth[-1] == 0:  # an expression in a template ends
            out.append("}")
            depth.pop()
            gap = ""
            at, last = template(at), "`"
            continue
        put(piece)
        if piece == "`":
            at, last = template(at), "`"
            if text[at - 1] != "`":
                last = "{"
        elif depth and kind == "other":
            depth[-1] += {"{": 1, "}": -1}.get(piece, 0)
    if depth:
        raise ValueError("a template literal does not end")
    return "".join(out) + "\n"


def css(text: str) -> str:
    """A style sheet of the same meaning."""
    kept = re.split(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""", re.sub(r"/\*.*?\*/", "", text, flags=re.S))
    for i in range(0, len(kept), 2):  # between quoted texts
        kept[i] = re.sub(r"\s*([{};,])\s*", r"\1", re.sub(r"\s+", " ", kept[i])).replace(";}", "}")
    return "".join(kept).strip() + "\n"
