"""A recipe with encoders over data that bring vectors: the encoder is left aside and said, unless the user named it."""

import numpy as np
import pytest

import sensorium
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe
from sensorium.search.folder import RunFolder

RECIPE = {
    "name": "voices", "data": {"name": "clips"}, "left": {"encoder": "hashing", "head": "linear"},
    "right": {"encoder": {"name": "mfcc"}}, "objective": {"name": "ridge"},
    "evaluate": {"baselines": [], "plots": False, "resamples": 20},
}  # fmt: skip


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder, rng = tmp_path_factory.mktemp("vectors"), np.random.default_rng(0)
    audio = rng.standard_normal((60, 4)).astype(np.float32)
    names = np.array([f"a/{k}.wav" for k in range(60)])
    np.savez(folder / "T.npz", text_emb=audio @ rng.standard_normal((4, 6)).astype(np.float32), filename=names)
    np.savez(folder / "A.npz", emo_emb=audio, filename=names)
    return [f"data.text={folder / 'T.npz'}", f"data.audio={folder / 'A.npz'}"]


def test_encoders_of_the_recipe_are_left_aside_and_said(overrides, tmp_path, capsys) -> None:
    run = sensorium.run(RECIPE, overrides, out=tmp_path / "runs" / "v")
    said = "the text items are vectors already: encoder 'hashing' is unused"
    assert said in " ".join(capsys.readouterr().err.split())
    assert (
        said in run.metrics["notes"]
        and "the clip items are vectors already: encoder 'mfcc' is unused" in run.metrics["notes"]
    )
    assert f"## Notes\n\n- {said}\n" in (run.folder / "README.md").read_text("utf-8")
    assert "encoder" not in run.recipe.values["left"] and "encoder" not in run.recipe.values["right"]
    assert run.metrics["recipe"] == run.recipe.hash == recipes.load(run.folder / "recipe.toml").hash
    assert run.metrics["asked"] == recipes.load(RECIPE, overrides).hash != run.recipe.hash
    assert RunFolder(run.folder).is_run_of(recipes.load(RECIPE, overrides))
    assert run.encoder("left") is None and run.head("left").dim_in == 6


@pytest.mark.parametrize("named", ["left.encoder=hashing", "left.encoder.dim=64"])
def test_an_encoder_that_the_user_names_is_refused(overrides, tmp_path, named) -> None:
    with pytest.raises(BadRecipe, match="left.encoder is set, but the text items are vectors already; type: left.enc"):
        sensorium.run(RECIPE, [*overrides, named], out=tmp_path / "v", quiet=True)


def test_none_is_no_encoder(overrides, tmp_path) -> None:
    run = sensorium.run(RECIPE, [*overrides, "left.encoder=none", "right.encoder=none"], out=tmp_path / "v", quiet=True)
    assert "notes" not in run.metrics and "asked" not in run.metrics
