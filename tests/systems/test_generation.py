"""From 1441 numbers to a PNG file by the real classes of diffusers with tiny random weights; what is refused, and why."""

import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="type: pip install 'sensorium[generate]'")

import face_runs
import made_faces
import tiny_diffusion
import torch
from PIL import Image
from typer.testing import CliRunner

from sensorium.cli import app
from sensorium.errors import BadData, BadRecipe, Corrupt, Mismatch, MissingExtra
from sensorium.systems.perception import generation, picture_model, text_space
from sensorium.systems.perception.generation import Cancelled, Generator, NotGenerated, Options

pytestmark = pytest.mark.xdist_group("generation")  # the import of diffusers takes seconds
PLAIN = Options(style="none", prompt="a face", seed=3, steps=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_diffusion.save(tmp_path_factory.mktemp("diffusion") / "tiny")


@pytest.fixture(scope="module")
def generator(model):
    return Generator(model)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return face_runs.make(tmp_path_factory.mktemp("faces"))


def z(run, label="happy"):
    return generation.project(run, made_faces.vector(label, 5))


def test_a_face_becomes_a_png_file_that_says_how(run, generator, tmp_path):
    steps = []
    made = generator.picture(z(run), Options(seed=7, steps=3), steps.append)
    made.save(tmp_path / "picture.png")
    picture = Image.open(tmp_path / "picture.png")
    assert picture.size == (32, 32) and picture.mode == "RGB"
    assert (np.asarray(picture) == made.pixels).all() and made.pixels.std() > 0
    about = json.loads(picture.text["parameters"])
    assert about["seed"] == 7 and about["strength"] == 0.5 and about["model"] == "tiny" and about["conditioned"]
    assert about["licence"] == "creativeml-openrail-m" and about["prompt"].startswith("an abstract painting, ")
    assert "trainedAlgorithmicMedia" in picture.text["Source"]
    assert [(step.number, step.total) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    assert all(Image.open(io.BytesIO(step.preview())).size == (8, 8) for step in steps)


@pytest.mark.parametrize("mode", ["blend", "shift"])
def test_strength_0_is_the_picture_of_the_prompt_bit_for_bit(run, generator, mode):
    own = generator.pipe(
        "a face", negative_prompt="", num_inference_steps=3, guidance_scale=7.5,
        generator=torch.Generator().manual_seed(3),
    ).images[0]  # fmt: skip
    options = replace(PLAIN, mode=mode, strength=0.0)
    assert np.array_equal(generator.picture(z(run), options).pixels, np.asarray(own))
    assert np.array_equal(generator.picture(None, PLAIN).pixels, np.asarray(own))
    stronger = generator.picture(z(run), replace(options, strength=1.0)).pixels
    assert not np.array_equal(stronger, np.asarray(own))


def test_the_same_seed_gives_the_same_picture_and_another_face_another_one(run, generator):
    happy = generator.picture(z(run), PLAIN).pixels
    assert np.array_equal(happy, generator.picture(z(run), PLAIN).pixels)
    assert not np.array_equal(happy, generator.picture(z(run, "angry"), PLAIN).pixels)
    assert not np.array_equal(happy, generator.picture(z(run), replace(PLAIN, seed=4)).pixels)


def test_without_guidance_and_of_another_size(run, generator):
    made = generator.picture(z(run), replace(PLAIN, guidance=1.0, width=40, height=16))
    assert made.pixels.shape == (16, 40, 3)


def test_a_drawn_seed_is_told(run, generator):
    first = generator.picture(z(run), replace(PLAIN, seed=None))
    again = generator.picture(z(run), replace(PLAIN, seed=first.options.seed))
    assert np.array_equal(first.pixels, again.pixels) and first.about["seed"] == first.options.seed


def test_the_pooled_state_is_the_text_models_own(generator):
    """By the class of transformers, which finds the end of the text by itself."""
    words = generator.pipe.tokenizer(list(text_space.PROBES), padding="max_length", return_tensors="pt").input_ids
    with torch.inference_mode():
        theirs = generator.pipe.text_encoder(words).pooler_output
    np.testing.assert_allclose(generator.pooled(), theirs.numpy(), atol=1e-6)


def test_a_long_prompt_keeps_its_end(run, generator):
    made = generator.picture(z(run), replace(PLAIN, prompt="word " * 100, strength=1.0))
    assert made.pixels.shape == (32, 32, 3)


def test_a_cancelled_step_ends_the_work_and_the_next_picture_is_the_same(run, generator):
    seen = []

    def stop(step):
        seen.append(step.number)
        raise Cancelled

    before = generator.picture(z(run), PLAIN).pixels
    with pytest.raises(Cancelled):
        generator.picture(z(run), PLAIN, stop)
    assert seen == [1]
    assert np.array_equal(before, generator.picture(z(run), PLAIN).pixels)


def test_heads_of_another_width_are_refused_with_both_numbers(run, generator, tmp_path):
    with pytest.raises(
        Mismatch, match=r"the face head of faces gives 32 numbers, the text model of big has 768; for Stable"
    ):
        text_space.check_width(run, "left", 768, "big")
    generator.check(run)
    wrong = face_runs.make(
        tmp_path / "wrong", 32, "right.head=linear", "right.head.dim=32", "objective=cca", "objective.dim=32"
    )
    with pytest.raises(
        Mismatch, match=r"the prompt head of faces is linear, so the shared space is not that of a text"
    ):
        generator.check(wrong)


class Encoder:
    """A right side that takes text."""

    takes = "text"

    def __init__(self, vectors):
        self.vectors = vectors

    def encode(self, values):
        return self.vectors[: len(values)]


class Texts:
    """What :func:`text_space.check_texts` reads of a run."""

    def __init__(self, folder, vectors):
        self.folder, self.encoder = folder, lambda side: Encoder(vectors)


def test_text_encoders_are_compared_by_their_vectors(run, generator):
    own = generator.pooled()
    assert text_space.check_texts(Texts(run.folder, 3 * own), "left", own, "tiny")
    assert not text_space.check_texts(run, "left", own, "tiny")
    for other in (np.roll(own, 1, axis=1), own[:, :16]):
        with pytest.raises(
            Mismatch, match=r"give other vectors: cosine -?[0-9.]+, expected 0.99; train with right.encoder"
        ):
            text_space.check_texts(Texts(run.folder, other), "left", own, "tiny")


def test_numbers_that_are_not_finite_are_no_picture(run, model):
    broken = Generator(model)
    with torch.no_grad():
        broken.pipe.unet.conv_out.weight.fill_(float("nan"))
    with pytest.raises(
        NotGenerated, match=r"step 1 gave numbers that are not finite, as float16 does .*--dtype float32"
    ):
        broken.picture(z(run), PLAIN)
    broken = Generator(model)
    with torch.no_grad():
        broken.pipe.vae.decoder.conv_out.weight.fill_(float("nan"))
    with pytest.raises(NotGenerated, match="the decoder gave numbers that are not finite"):
        broken.picture(z(run), PLAIN)


def test_memory_that_runs_out_is_told_with_the_size(run, generator, monkeypatch):
    def full(*arguments, **more):
        torch.empty(1 << 60)

    monkeypatch.setattr(generator.pipe.unet, "forward", full)
    with pytest.raises(NotGenerated, match="out of memory at 32 x 32 pixels; type a smaller size, or --device cpu"):
        generator.picture(z(run), PLAIN)


def test_the_safety_checker_of_the_folder_withholds(run, tmp_path):
    safe = Generator(tiny_diffusion.save(tmp_path / "safe", safety=True))
    assert safe.model.checker
    with pytest.raises(NotGenerated, match="the model's safety checker withheld the picture; try another seed"):
        safe.picture(z(run), PLAIN)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"steps": 0}, "steps 0; expected 1 to 150"),
        ({"guidance": 31.0}, "guidance 31.0; expected 0 to 30"),
        ({"seed": -1}, "seed -1; expected 0 to"),
        ({"width": 4}, "width 4; expected 8 to 1024"),
        ({"height": 2048}, "height 2048; expected 8 to 1024"),
        ({"width": 36}, "width 36, height 32; expected multiples of 8"),
        ({"mode": "mix"}, "mode 'mix'; known: blend, shift"),
        ({"strength": 1.1}, "strength 1.1; expected 0"),
        ({"style": "scifi"}, "no style 'scifi'; did you mean 'sci-fi'"),
    ],
)
def test_wrong_options_are_refused(generator, wrong, told):
    with pytest.raises(BadRecipe, match=told):
        Options(**wrong).filled(generator.model)


def test_what_a_folder_says_of_its_model(model, tmp_path):
    found = picture_model.locate(model)
    assert found.name == "tiny" and found.width == 32 and found.size == 32 and not found.checker
    assert found.licence == "creativeml-openrail-m" and (found.steps, found.guidance) == (25, 7.5)
    few = tiny_diffusion.save(tmp_path / "few")
    scheduler = few / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("DDIMScheduler", "LCMScheduler"))
    found = picture_model.locate(few)
    assert (found.steps, found.guidance) == (4, 1.0)
    (few / "README.md").unlink()
    assert picture_model.licence(few) == ""


def test_folders_without_a_usable_pipeline_are_refused(tmp_path):
    with pytest.raises(BadData, match=r"no folder with a model_index.json, and no id such as stable-diffusion-v1-5/"):
        picture_model.locate(tmp_path)
    with pytest.raises(
        BadData, match=r"nobody/nothing is not in the cache and .*sensorium serve RUN --generate FOLDER"
    ):
        picture_model.locate("nobody/nothing", download=False)
    folder = tiny_diffusion.save(tmp_path / "model")
    index = folder / "model_index.json"
    whole = index.read_text()
    index.write_text(whole.replace('"StableDiffusionPipeline"', '"StableDiffusionXLPipeline"'))
    with pytest.raises(BadData, match="holds a StableDiffusionXLPipeline; expected StableDiffusionPipeline or"):
        picture_model.locate(folder)
    index.write_text("{")
    with pytest.raises(Corrupt, match="model_index.json"):
        picture_model.locate(folder)
    index.write_text(whole)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:100])
    with pytest.raises(Corrupt, match="does not load"):
        Generator(folder)
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BadData, match="holds no diffusion_pytorch_model.safetensors; pickled weights are not read"):
        picture_model.locate(folder)
    weights.write_bytes(content)
    (folder / "unet" / "config.json").write_text("{}")
    with pytest.raises(Corrupt, match="its configuration files cannot be used"):
        picture_model.locate(folder)


def test_devices_and_types_that_are_not_there_are_refused(model):
    with pytest.raises(BadRecipe, match="dtype 'int8'; expected auto, float32, float16, bfloat16"):
        Generator(model, dtype="int8")
    with pytest.raises(BadRecipe, match=r"device 'cuda:9' is not there \(.*expected auto, cpu, cuda or mps"):
        Generator(model, device="cuda:9")


def test_faces_that_are_not_one(run):
    assert generation.project(run, made_faces.vector("sad")[None]).shape == (32,)
    with pytest.raises(BadData, match="2 faces; expected one"):
        generation.project(run, np.stack([made_faces.vector("sad")] * 2))


def test_without_diffusers_the_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sensorium\[generate\]'"):
        Generator(model)


def command(run, folder, model, *more):
    """``sensorium generate`` in this process, of a happy face."""
    np.save(folder / "happy.npy", made_faces.vector("happy", 5))
    words = ["generate", str(run.folder), str(folder / "happy.npy"), "--model", str(model), "--json", *more]
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_the_command_writes_the_picture(run, generator, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = command(run, tmp_path, model, "--style=none", "--prompt=a face", "--seed=3", "--steps=3", "--size=32")
    record = json.loads(told.stdout)
    assert record["out"] == "happy-generated.png" and record["seed"] == 3 and record["mode"] == "blend"
    assert "licence creativeml-openrail-m, without a safety checker" in told.stderr
    written = np.asarray(Image.open(tmp_path / "happy-generated.png"))
    assert np.array_equal(written, generator.picture(z(run), PLAIN).pixels)
    command(run, tmp_path, model, "--steps=2", "--out=other.png")
    assert (tmp_path / "other.png").is_file()


@pytest.mark.parametrize(
    ("size", "told"), [("x", "--size x; expected pixels"), ("10", "width 10, height 10; expected mul")]
)
def test_the_command_refuses_a_wrong_size(run, model, tmp_path, size, told):
    with pytest.raises(BadRecipe, match=told):
        command(run, tmp_path, model, "--size", size)


def test_a_server_is_not_started_with_a_model_that_cannot_be_used(run, tmp_path):
    with pytest.raises(BadData, match="no folder with a model_index.json"):
        CliRunner().invoke(app, ["serve", str(run.folder), "--generate", str(tmp_path)], catch_exceptions=False)
