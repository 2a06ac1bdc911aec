"""Labels of other models, mapped by name to the seven emotions."""

from __future__ import annotations

from collections.abc import Mapping

from sensorium.errors import BadRecipe
from sensorium.modalities.face.layout import EMOTIONS

#: Other words for an emotion; a label is compared in lower case.
SPELT = {"anger": "angry", "disgusted": "disgust", "fearful": "fear", "scared": "fear", "afraid": "fear",
         "happiness": "happy", "joy": "happy", "joyful": "happy", "neutrality": "neutral", "sadness": "sad",
         "surprised": "surprise"}  # fmt: skip
#: Labels beyond the seven that some data sets add (AffectNet): left out, and the seven are divided by their sum.
LEFT_OUT = ("contempt", "contemptuous")


def columns(labels: Mapping[int, str], model: str) -> list[int]:
    """The output of each of the seven emotions. labels: name by output, ``id2label`` of a model's config.

    Raises BadRecipe, naming the labels, where an emotion is missing, comes twice, or another label is there.
    """
    found: dict[str, list[int]] = {emotion: [] for emotion in EMOTIONS}
    unknown = []
    for at, label in labels.items():
        word = str(label).strip().lower()
        word = SPELT.get(word, word)
        if word in found:
            found[word].append(int(at))
        elif word not in LEFT_OUT:
            unknown.append(str(label))
    missing = [emotion for emotion, at in found.items() if not at]
    twice = [emotion for emotion, at in found.items() if len(at) > 1]
    if unknown or missing or twice:
        faults = [f"no {', '.join(missing)}"] * bool(missing) + [f"two labels for {', '.join(twice)}"] * bool(twice)
        faults += [f"unknown: {', '.join(unknown[:10])}"] * bool(unknown)
        raise BadRecipe(f"{model} tells no such emotions ({'; '.join(faults)}); expected labels that mean "
                        f"{', '.join(EMOTIONS)}; contempt may be there and is left out")  # fmt: skip
    return [at[0] for at in found.values()]
