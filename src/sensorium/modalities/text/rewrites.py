"""Captions rewritten as people ask: tags, question, command, paraphrase, "… without …"; by plain rules, in English.

No model and no chance is in it: one caption always gives the same texts. The styles are the user-intent queries of
Omni-Embed-Audio (2026), which has a language model write them.
"""

from __future__ import annotations

import re

STYLES = ("caption", "tags", "question", "command", "paraphrase", "without")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*")
_ONE = _words("a an the this that another each every one his her its their my our your")
_MANY = _words("""
two three four five six several many some few both these those various multiple other all
""")
_PREPOSITIONS = _words("""
about above across after against along among around at away back before behind below beneath beside between beyond
by down during for from in inside into near of off on onto out outside over past through throughout to toward
towards under underneath up upon with within without
""")
_OTHER = _words("""
and or but while as then when where which who whose that than so because if is are was were be been being am has
have had do does did can could will would may might must it he she they them him there here not no very more most
much just also too again once continuously constantly repeatedly slowly quickly loudly softly gently together off
""")
#: Verbs of captions of sounds and pictures, which end a noun phrase where they follow a noun.
_VERBS = _words("""
bang bark beat beep blow boil bounce break breathe buzz call carry catch chat chatter cheer chirp clap clang clank
click climb close come cook cough crackle creak croak crow cry cut dance decelerate dig dive draw drink drip drive
drop eat enter fall fight fill flap flow fly flush get give go growl hammer hang hear help hiss hit hold honk hoot
howl hum jump kick knock laugh lay lean leap lie lick lift listen look make march meow mix moo move open paddle
paint pass pedal perform play point pose pour prepare pull purr push put quack race rattle read ride ring rise roar
roll row rub run rush rustle say scrape scream screech scratch shake shout show sing sit skate skateboard skid ski
slam sled sleep slide slow smile snore snow speak speed spin splash spray squawk squeak squeal stand start step stir
stop strike stroll surf swim swing take talk tap throw tick toss touch trickle try turn tweet type use vibrate wade
wail wait walk wash watch wave wear whine whir whisper whistle work write yell zoom
""")
#: A word and the one that takes its place, both ways.
_SYNONYMS = {
    "man": "guy", "men": "guys", "woman": "lady", "women": "ladies", "child": "kid", "children": "kids",
    "boy": "young boy", "girl": "young girl", "people": "persons", "person": "human", "dog": "hound",
    "dogs": "hounds", "cat": "feline", "car": "automobile", "cars": "automobiles", "vehicle": "motor vehicle",
    "bird": "songbird", "birds": "songbirds", "street": "road", "talking": "speaking",
    "speaking": "talking", "talk": "speak", "speak": "talk", "running": "racing", "runs": "races",
    "walking": "strolling", "walks": "strolls", "playing": "having a game", "jumping": "leaping",
    "jumps": "leaps", "loud": "noisy", "loudly": "noisily", "quiet": "soft", "big": "large", "large": "big",
    "small": "little", "little": "small", "rain": "rainfall", "wind": "breeze", "engine": "motor",
    "motor": "engine", "background": "distance", "starts": "begins", "begins": "starts", "stops": "ends",
    "field": "meadow", "forest": "woods", "woods": "forest", "beach": "shore", "shirt": "top",
    "crowd": "group of people", "looking": "gazing", "looks": "gazes", "chirping": "tweeting", "chirp": "tweet",
    "sitting": "seated", "standing": "upright", "holding": "gripping", "wearing": "dressed in",
}  # fmt: skip
_JOINS = (
    " while ",
    " as ",
    " are followed by ",
    " is followed by ",
    " followed by ",
    " and then ",
    " then ",
    " before ",
)
_TURNED = {" while ": "while {b}, {a}", " as ": "as {b}, {a}", " followed by ": "{b} after {a}",
           " are followed by ": "{b} after {a}", " is followed by ": "{b} after {a}", " and then ": "after {a}, {b}",
           " then ": "after {a}, {b}", " before ": "{b} comes after {a}"}  # fmt: skip
_IRREGULAR = {"men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot",
              "leaves": "leaf"}  # fmt: skip
_TAGS = 6
_ASKED = {
    "sound": ("Is there a recording in which {}?", "Find a recording in which {}.", "in this recording, {}"),
    "picture": ("Is there a picture in which {}?", "Show me a picture in which {}.", "in this picture, {}"),
}


def rewrite(caption: str, style: str, media: str = "sound", excluded: str = "") -> str:
    """A caption in one of ``STYLES``. media: "sound" or "picture". excluded: the thing of "without".

    >>> rewrite("A dog barks while birds chirp.", "question")
    'Is there a recording in which a dog barks while birds chirp?'
    >>> rewrite("A dog barks while birds chirp.", "tags")
    'dog, barks, birds, chirp'
    >>> rewrite("A dog barks while birds chirp.", "paraphrase")
    'While songbirds tweet, a hound barks.'
    >>> rewrite("A dog barks.", "without", excluded="rain")
    'A dog barks without rain.'
    """
    words = _clause(caption)
    question, command, stated = _ASKED[media]
    if style == "caption":
        return caption
    if style == "tags":
        return ", ".join(tags(caption)) or words
    if style == "question":
        return question.format(words)
    if style == "command":
        return command.format(words)
    if style == "paraphrase":
        return _sentence(_paraphrase(words, stated))
    return _sentence(f"{words} without {excluded}")


def things(text: str) -> list[str]:
    """The nouns that a caption names, in order, each once: heads of noun phrases, singular, in lower case.

    >>> things("Two men in red shirts are playing with a small brown dog.")
    ['man', 'shirt', 'dog']
    """
    return list(dict.fromkeys(singular(word) for word, kind in _parsed(text) if kind == "noun"))


def tags(text: str) -> list[str]:
    """The nouns and verbs of a caption in order, each once, at most six."""
    return list(dict.fromkeys(word for word, _ in _parsed(text)))[:_TAGS]


def stems(text: str) -> set[str]:
    """Every word of a text in lower case and singular, so that "dogs" and "dog" are one."""
    return {singular(word.lower()) for word in _WORD.findall(text)}


def singular(word: str) -> str:
    """A noun without the ending of its plural.

    >>> [singular(word) for word in ("dogs", "ladies", "boxes", "men", "grass", "bus")]
    ['dog', 'lady', 'box', 'man', 'grass', 'bus']
    """
    word = word.removesuffix("'s").removesuffix("’s")
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("ses", "xes", "zes", "ches", "shes")) and len(word) > 4:
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word


def _parsed(text: str) -> list[tuple[str, str]]:
    """Nouns and verbs of a caption with their kind: the last word of a run of words before a verb or small word."""
    found: list[tuple[str, str]] = []
    for part in re.split(r"[.,;:!?()]", text.lower()):
        phrase: list[str] = []
        for word in _WORD.findall(part):
            if word in _ONE | _MANY | _PREPOSITIONS | _OTHER:
                _close(phrase, found)
            elif (phrase and _is_verb(word)) or (word.endswith("ing") and not phrase):
                _close(phrase, found)
                found.append((word, "verb"))
            else:
                phrase.append(word)
        _close(phrase, found)
    return found


def _close(phrase: list[str], found: list[tuple[str, str]]) -> None:
    if phrase:
        last = phrase[-1]
        found.append((last, "verb" if last.endswith(("ing", "ly", "ed")) else "noun"))
        phrase.clear()


def _is_verb(word: str) -> bool:
    if word in _VERBS or singular(word) in _VERBS or word.removesuffix("es") in _VERBS:
        return True
    base = word.removesuffix("ing") if word.endswith("ing") else word.removesuffix("ed") if word.endswith("ed") else ""
    doubled = base[:-1] if len(base) > 2 and base[-1] == base[-2] else base
    return bool(base) and (word.endswith("ing") or base in _VERBS or f"{base}e" in _VERBS or doubled in _VERBS)


def _paraphrase(words: str, stated: str) -> str:
    """The two parts of a caption in the other order, and words by others; else a statement of it."""
    turned = words
    for join in _JOINS:
        first, found, second = words.partition(join)
        if found and len(second.split()) > 1:
            turned = _TURNED[join].format(a=first.rstrip(","), b=second)
            break
    changed = _WORD.sub(lambda word: _SYNONYMS.get(word[0].lower(), word[0]), turned)
    return stated.format(words) if changed == words else changed


def _clause(caption: str) -> str:
    """A caption as part of a sentence: without its full stop, its first letter small where a small word begins it."""
    words = " ".join(caption.split()).rstrip(" .!?")
    first, _, rest = words.partition(" ")
    return f"{first.lower()} {rest}".strip() if first[1:] == first[1:].lower() else words


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
