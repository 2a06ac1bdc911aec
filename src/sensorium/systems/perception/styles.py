"""Styles of generated pictures: what a style adds to a prompt, what it avoids, and words for the seven emotions."""

from __future__ import annotations

from typing import NamedTuple

from sensorium.errors import BadRecipe, nearest


class Style(NamedTuple):
    """A style. subject: the prompt where none is given. look: added to any prompt. avoid: the negative prompt."""

    title: str
    subject: str
    look: str
    avoid: str


#: The three of the old project, and the prompt as it is.
STYLES = {
    "abstract": Style("Abstract", "an abstract painting", "expressionist, bold brush strokes, strong colours",
                      "photograph, text, watermark"),
    "realistic": Style("Realistic", "a portrait of a person", "photograph, natural light, sharp detail of the face",
                       "drawing, painting, cartoon, 3d render, blurry, text, watermark"),
    "sci-fi": Style("Science fiction", "a portrait of a person of the far future",
                    "science fiction, neon light, atmospheric, cinematic", "blurry, deformed face, text, watermark"),
    "none": Style("None", "a person", "", ""),
}  # fmt: skip
#: Words for an emotion that can be seen in any style: colour, line, light.
MOODS = {
    "angry": "red and black, jagged lines, harsh light",
    "disgust": "sickly green, uneven texture, murky light",
    "fear": "cold blue and grey, thin lines, deep shadows",
    "happy": "warm yellow and orange, flowing curves, bright light",
    "neutral": "beige and soft grey, level lines, even light",
    "sad": "faded blue, falling lines, dim light",
    "surprise": "contrasting bright colours, lines from the centre, sudden light",
}


class Prompt(NamedTuple):
    """What the text model reads: the prompt and the negative prompt."""

    text: str
    negative: str


def find(name: str) -> Style:
    """A style by its name. Raises BadRecipe for an unknown one."""
    if name not in STYLES:
        raise BadRecipe(f"no style '{name}'; {nearest(str(name), STYLES)}")
    return STYLES[name]


def prompt(style: str, text: str = "", negative: str | None = None, emotion: str = "") -> Prompt:
    """The prompt of a style.

    text: what is to be seen; by default the style's own subject. negative: in place of the style's. emotion: one of
    the seven, whose words are added, as the old project did; none by default, as the vector says more.
    Raises BadRecipe for an unknown style or emotion.
    """
    chosen = find(style)
    if emotion and emotion not in MOODS:
        raise BadRecipe(f"no emotion '{emotion}'; {nearest(emotion, MOODS)}")
    parts = [text.strip() or chosen.subject, chosen.look, MOODS.get(emotion, ""), emotion]
    return Prompt(", ".join(part for part in parts if part), chosen.avoid if negative is None else negative.strip())
