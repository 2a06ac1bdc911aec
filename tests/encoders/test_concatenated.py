"""concatenated: encoders side by side, each with a store of its own, by a list or as A+B."""

import numpy as np
import pytest
import soundfile
from made_voice import RATE, voice

import sensorium
from sensorium import fingerprint, parts, store
from sensorium.encoders import _names
from sensorium.encoders.hashing import Hashing
from sensorium.errors import BadRecipe
from sensorium.evaluate import card
from sensorium.numerics import unit
from sensorium.types import Items

WORDS = ["a red shirt", "blue", "a red shoe", "blue"]
SMALL, LARGE = {"name": "hashing", "dim": 64}, {"name": "hashing", "dim": 96}


def made(*encoders, **keys):
    return parts.make("encoders", {"name": "concatenated", "encoders": list(encoders), **keys}, "left.encoder")


def test_a_vector_is_those_of_the_encoders_one_after_the_other() -> None:
    blocks = [parts.make("encoders", dict(spec)).encode(WORDS) for spec in (SMALL, LARGE)]
    whole = made(SMALL, LARGE)
    assert whole.dim == 160 and whole.takes == "text"
    np.testing.assert_array_equal(whole.encode(WORDS), np.concatenate(blocks, 1))
    assert whole.encode([]).shape == (0, 160)


def test_at_unit_length_a_cosine_is_the_mean_of_the_encoders_cosines() -> None:
    a, b = (unit(parts.make("encoders", dict(spec)).encode(WORDS)) for spec in (SMALL, LARGE))
    z = made(SMALL, LARGE, scale="unit").encode(WORDS)
    np.testing.assert_allclose(z @ z.T, (a @ a.T + b @ b.T) / 2, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-6)


def test_every_encoder_has_a_store_that_others_find_again(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def embedded(encoder):
        name = f"words-left-concatenated-{fingerprint.digest(dict(encoder.fingerprint))[:8]}"
        return store.embed(items, encoder, tmp_path / name, progress=False).vectors[:]

    items = Items(np.array(["1", "2", "3", "4"]), np.array(WORDS), "text")
    np.testing.assert_array_equal(embedded(made(SMALL, LARGE)), made(SMALL, LARGE).encode(WORDS))
    assert len(list(tmp_path.iterdir())) == 3
    third, original, asked = {"name": "hashing", "dim": 32}, Hashing.encode, []
    monkeypatch.setattr(Hashing, "encode", lambda self, values: asked.append(self.dim) or original(self, values))
    more = embedded(made(LARGE, third, SMALL))
    assert set(asked) == {32} and more.shape == (4, 192)
    np.testing.assert_array_equal(more, made(LARGE, third, SMALL).encode(WORDS))


def test_the_short_form_is_the_part() -> None:
    assert _names.expand({"name": "hashing + minilm", "scale": "unit"}) == {
        "name": "concatenated", "encoders": [{"name": "hashing"}, {"name": "minilm"}], "scale": "unit"}  # fmt: skip
    with pytest.raises(BadRecipe, match="encoder=hashing\\+nothing: no such encoder"):
        _names.expand({"name": "hashing+nothing"})


def test_two_towers_of_one_kind_are_chosen_by_the_items() -> None:
    both = made("clap", "clip")
    assert both.takes == "text" and made("clap", "functionals").takes == "audio"
    assert list(made("clap", {"name": "clap", "precision": "fp32"}).towers) == ["audio", "text"]


@pytest.mark.parametrize(
    ("encoders", "keys", "said"),
    [
        (["hashing"], {}, "expected a list of 2 to 100, such as"),
        (["hashing", "hog"], {}, r"its encoders take unlike kinds of item \(hashing text, hog image\)"),
        (["functionals", "mfcc"], {}, "'mfcc' gives frames; expected encoders of one vector an item"),
        (["joined", "hog"], {}, "'joined' is made of several itself"),
        (["hashing", "hashin"], {}, r"encoder.encoders\[1\]=hashin: no such encoder; did you mean hashing"),
        (["hashing", 3], {}, r"encoder.encoders\[1\]=3; expected a name or"),
        (["hashing", {"name": "hashing", "dims": 3}], {}, r"encoder.encoders\[1\]: 'hashing' takes no 'dims'"),
        (["hashing", "minilm"], {"scale": "wide"}, "scale='wide'; expected none or unit"),
    ],
)
def test_what_cannot_stand_side_by_side_is_refused(encoders, keys, said) -> None:
    with pytest.raises(BadRecipe, match=said):
        made(*encoders, **keys)


def test_a_run_whose_sounds_have_two_encoders(tmp_path) -> None:
    """From the words of the command line to a search by text; and every encoder's vectors are there once."""
    (tmp_path / "voices").mkdir()
    rows = ["text,path"]
    for k in range(20):
        soundfile.write(tmp_path / "voices" / f"{k}.wav", voice(0.3, k), RATE)
        rows.append(f"a voice of number {k},{k}.wav")
    (tmp_path / "voices.csv").write_text("\n".join(rows))
    second = '{name = "functionals", relations = false, levels = 0}'
    overrides = [
        f"data.file={tmp_path / 'voices.csv'}", "data.left=text", "data.right=path", f"data.root={tmp_path / 'voices'}",
        "left.encoder=hashing", f'right.encoder={{name = "concatenated", encoders = ["functionals", {second}]}}',
        "objective=ridge", "left.head=identity", "right.head=identity", "evaluate.resamples=20", "evaluate.plots=false", "evaluate.baselines=[]",
    ]  # fmt: skip
    sensorium.run("pairs", overrides, out=tmp_path / "runs" / "both", quiet=True)
    stores = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "runs" / "embeddings").iterdir())
    assert stores == ["table-left-hashing", "table-right-concatenated", *2 * ["table-right-functionals"]]
    opened = sensorium.open(tmp_path / "runs" / "both")
    assert opened.encoder("right").dim == 1378 + 2 * 26 * 6
    assert len(opened.search(text="a voice of number 3", k=5)) == 5
    assert len(opened.search(audio=str(tmp_path / "voices" / "3.wav"), k=5)) == 5


def test_a_card_says_the_licences_of_both() -> None:
    recipe = '[left]\nencoder = "hashing"\n[right.encoder]\nname = "concatenated"\n'
    recipe += 'encoders = [{name = "egemaps"}, {name = "functionals"}, "resemblyzer"]\n'
    lines = [line for line in card.encoders(recipe, {"right": "clip"})]
    assert lines == [
        "The clip encoder uses egemaps; licence of its weights: audEERING research licence: not for commercial use.",
        "The clip encoder uses resemblyzer; licence of its weights: Apache 2.0.",
    ]
