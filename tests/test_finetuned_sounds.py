"""Runs whose encoders of sounds and of texts are trained with the heads: one verb, exact resume, a run like any other."""

import csv
import itertools
import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import processes
import pytest
import soundfile
import torch
from safetensors.torch import load_file

import sensorium
from sensorium import store
from sensorium.cli.finetune import planned
from sensorium.errors import BadRecipe
from sensorium.search import packing

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
import tiny_models
import tiny_towers

N, RATE = 24, 16_000
KEYS = ("left.encoder=wav2vec2", "right.encoder=transformers", "right.encoder.precision=fp32", "left.head.dim=8",
        "left.head.hidden=16", "right.head.dim=8", "right.head.hidden=16", "train.epochs=2", "train.batch=6",
        "train.precision=fp32", "finetune.lr=1e-3", "evaluate.resamples=2", "evaluate.baselines=[]", "data.test=4",
        "data.validation=4", "train.threads=1")  # fmt: skip
LORA = ("finetune.lora=2", "finetune.lora_dropout=0.1", "finetune.chunk=4")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of one tone each, with two captions that say which."""
    folder = tmp_path_factory.mktemp("captioned")
    with (folder / "captions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "caption_1", "caption_2"])
        for i in range(N):
            t = np.arange(RATE // 4 + 100 * i) / RATE
            soundfile.write(folder / f"{i:02d}.wav", 0.3 * np.sin(2 * np.pi * (200 + 60 * i) * t), RATE)
            words = [tiny_towers.WORDS[k] for k in np.random.default_rng(i).integers(0, len(tiny_towers.WORDS), 9)]
            rows.writerow([f"{i:02d}.wav", " ".join(words[:4]), " ".join(words[4:])])
    return folder


@pytest.fixture(scope="module")
def keys(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    models = tmp_path_factory.mktemp("models")
    sound, text = tiny_models.save("wav2vec2", models / "sound"), tiny_towers.bert(models / "text")
    return (f"data.root={corpus}", "data.table=captions.csv", *KEYS, f"left.encoder.model={sound}",
            f"right.encoder.model={text}")  # fmt: skip


def run(keys: tuple[str, ...], out: Path, *more: str, stages=(), **options: object) -> object:
    name, every = planned("captions", [*keys, *more])
    return sensorium.run(name, every, out=out, quiet=True, stages=stages, **options)


@pytest.fixture(scope="module")
def tuned(keys: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> object:
    """Both encoders whole, in chunks of four, with the files of the models kept."""
    more = ("finetune.chunk=4", "finetune.layer_decay=0.5", "finetune.keep_model=true")
    return run(keys, tmp_path_factory.mktemp("runs") / "tuned", *more, stages=("evaluate", "index"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {f"{file}/{name}": tensor for file in ("left", "right", "left-encoder", "right-encoder")
            for name, tensor in load_file(folder / f"{file}.safetensors").items()}  # fmt: skip


def history(folder: Path) -> tuple[dict, list[dict]]:
    header, *events = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return header, events


def test_both_encoders_are_the_runs_own(tuned):
    trained = tuned.metrics["fit"]["encoders"]
    assert trained["left"]["blocks"] == trained["left"]["of"] == 2 and trained["left"]["lr"] == 1e-3
    assert trained["left"]["least_lr"] == trained["right"]["least_lr"] == 1e-3 * 0.5**2
    data = tuned.recipe.part("data").load()
    for side, items in (("left", data.left), ("right", data.right)):
        encoder, plain = tuned.encoder(side), tuned.recipe.part(f"{side}.encoder")
        assert encoder.fingerprint["tuned"] and "tuned" not in plain.fingerprint
        stored = load_file(tuned.folder / f"{side}-encoder.safetensors")
        own = dict(plain.load().named_parameters())
        assert len(stored) > 20 and any(not torch.equal(own[name], one) for name, one in stored.items())
        index = tuned.index(side)
        rows = [index.table.ids.tolist().index(one) for one in items.ids[:3]]
        found = tuned.project(side, encoder.encode(list(items.values[:3])))
        np.testing.assert_allclose(found, index.vectors(np.array(rows)), atol=1e-5)
    hits = tuned.search(text=data.right.values[0], k=3)
    assert len(hits) == 3
    assert tuned.search(audio=str(data.left.values[2]), to="left", k=1)[0]["id"] == data.left.ids[2]


def test_the_log_has_the_settings_and_an_event_an_epoch(tuned):
    header, events = history(tuned.folder)
    assert header["finetune"]["blocks"] == "all" and header["finetune"]["chunk"] == 4 and header["batch"] == 6
    assert [event["epoch"] for event in events] == [1, 2]
    assert all(event["loss"] > 0 and "validation" in event and event["lr"] >= 0 for event in events)


def test_it_loads_without_its_models_moved_and_packed(tuned, keys, tmp_path):
    """The folders of the untrained models are elsewhere: the run has their files."""
    folder = tmp_path / "moved"
    shutil.copytree(tuned.folder, folder)
    recipe = (folder / "recipe.toml").read_text()
    for key in ("left", "right"):
        model = next(key_.partition("=")[2] for key_ in keys if key_.startswith(f"{key}.encoder.model="))
        recipe = recipe.replace(model, str(tmp_path / f"nowhere-{key}"))
    (folder / "recipe.toml").write_text(recipe)
    (folder / "run.json").unlink()
    opened = sensorium.open(folder)
    text = tuned.recipe.part("data").load().right.values[0]
    expected = [(hit["id"], hit["score"]) for hit in tuned.search(text=text, k=3)]
    assert [(hit["id"], hit["score"]) for hit in opened.search(text=text, k=3)] == expected
    packing.pack(tuned.folder, tmp_path / "packed.zip")
    packed = sensorium.open(tmp_path / "packed.zip")
    assert [hit["id"] for hit in packed.search(text=text, k=3)] == [one for one, _ in expected]


def test_the_checkpoint_of_the_original_has_the_encoders_and_the_heads(tuned, tmp_path, keys):
    from sensorium import exchange
    from sensorium.systems.embed2image import heads_pt

    path = tmp_path / "finetune_baseline.pt"
    exchange.export("embed2image", tuned.folder, path)
    found = torch.load(path, weights_only=True)
    assert found["mode"] == "baseline" and {"epoch", "loss", "config", "anchor_head", "text_head"} < found.keys()
    network = tuned.recipe.part("right.encoder").load()
    network.load_state_dict(found["text_encoder"])
    assert torch.equal(network.embeddings.word_embeddings.weight,
                       load_file(tuned.folder / "right-encoder.safetensors")["embeddings.word_embeddings.weight"])  # fmt: skip
    assert heads_pt.read(path).heads["left"].dim == 8
    frozen = run(keys, tmp_path / "frozen", "train.epochs=1", "finetune.blocks=0", stages=("index",))
    with pytest.raises(BadRecipe, match="has trained no encoder; type: --out projection_heads.pt"):
        exchange.export("embed2image", frozen.folder, path)


def test_chunks_and_checkpoints_of_gradients_change_nothing(keys, tmp_path):
    """GradCache and gradient checkpointing give the fit of whole batches, dropout on, up to rounding."""
    plain = ("finetune.dropout=false", "train.epochs=1")
    settings = {"whole": (), "chunks": ("finetune.chunk=4",), "again": ("finetune.checkpointing=true",),
                "both": ("finetune.chunk=5", "finetune.checkpointing=true")}  # fmt: skip
    found = {name: weights(run(keys, tmp_path / name, *plain, *more).folder) for name, more in settings.items()}
    for one, other in itertools.product(found["whole"], ("chunks", "again", "both")):
        torch.testing.assert_close(found[other][one], found["whole"][one], rtol=1e-3, atol=2e-4)


def test_adapters_are_merged_and_the_rest_stays(keys, tmp_path):
    made = run(keys, tmp_path / "run", *LORA, "finetune.right_blocks=1", "finetune.lora_targets=query,value,q_proj")
    about = made.metrics["fit"]["encoders"]
    assert about["left"]["adapted"] == 2 and about["right"]["adapted"] == 2
    for side, names in (("left", ("q_proj",)), ("right", ("query", "value"))):
        stored = load_file(made.folder / f"{side}-encoder.safetensors")
        own = dict(made.recipe.part(f"{side}.encoder").load().named_parameters())
        assert all(name.endswith(tuple(f"{one}.weight" for one in names)) for name in stored)
        for name, one in stored.items():
            difference = one - own[name]
            assert torch.linalg.matrix_rank(difference, rtol=1e-3) <= 2 and difference.abs().max() > 0
        assert np.isfinite(store.embed(getattr(made.recipe.part("data").load(), side), made.encoder(side),
                                       tmp_path / side, progress=False).vectors[:]).all()  # fmt: skip


@pytest.mark.parametrize("more", [("finetune.chunk=4",), LORA], ids=["whole", "lora"])
def test_an_interrupted_fit_goes_on_bit_for_bit(more, keys, tmp_path):
    whole = run(keys, tmp_path / "whole", *more)

    def stop(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(keys, tmp_path / "cut", *more, on_epoch=stop)
    again = run(keys, tmp_path / "cut", *more)
    assert [e["loss"] for e in history(again.folder)[1]] == [e["loss"] for e in history(whole.folder)[1]]
    one, other = weights(again.folder), weights(whole.folder)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.slow
@pytest.mark.thorough
def test_killed_at_any_step_it_ends_with_the_same_bits(keys, tmp_path):
    more = (*LORA, "train.epochs=4", "train.save_seconds=0")
    wanted = weights(run(keys, tmp_path / "whole", *more).folder)
    name, every = planned("captions", [*keys, *more])
    command = (
        f"import sensorium; sensorium.run({name!r}, {every!r}, out={str(tmp_path / 'cut')!r}, quiet=True, stages=())"
    )
    for at in (1, 3, 6, 8):
        child = processes.Process([], code=command)
        state = tmp_path / ".cut.building" / "checkpoint" / "state.json"
        while child.poll() is None:
            if state.is_file() and json.loads(state.read_text())["state"]["step"] >= at:
                child.send_signal(signal.SIGKILL)
            time.sleep(0.005)
    if not (tmp_path / "cut" / "metrics.json").is_file():
        processes.run(code=command, check=True)
    found = weights(tmp_path / "cut")
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_verb_adds_the_documents_settings_where_a_recipe_has_none():
    name, every = planned("captions", ["train.epochs=3"])
    assert name == "captions" and every[-1] == "train.epochs=3" and "finetune.lr=3e-6" in every
    assert planned("clotho", ["data.root=x"]) == ("clotho-finetune", ["data.root=x"])
    plan = sensorium.recipe.load("clotho-finetune")
    assert (plan.values["train"]["epochs"], plan.values["train"]["batch"]) == (20, 32)
    assert plan.finetune_options().lr == 3e-6 and plan.finetune_options().blocks == "all"
    assert planned("clotho-finetune", []) == ("clotho-finetune", [])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("left.encoder=functionals",), "left.encoder 'functionals' does not; type: left.encoder=passt or finetune.sides=right"),
        (("left.encoder.pooling=frames", "left.head=lstm"), "left.encoder 'speech' gives frames, not vectors, and does not train"),
        (("finetune.left_blocks=3",), "finetune.blocks=3; the network of Speech has 2"),
        (("finetune.lora=2", "finetune.lora_targets=nothing"), "finetune.lora_targets=nothing: no linear layer of this name"),
        (("finetune.lora=2", "finetune.blocks=0"), "finetune.lora=2 adapts the blocks that finetune.blocks names, and it is 0"),
        (("train.batch=1",), "train.batch=1; expected a whole number, 2 or above"),
        (("objective=ridge",), "objective 'ridge' is a closed form of stored vectors"),
        (("finetune.sides=middle",), "finetune.sides='middle'; expected one of auto, both, left, right"),
        (("finetune.chunk=-1",), "finetune.chunk=-1; expected a whole number, 0 for the whole batch at once"),
        (("finetune.dropout=1",), "finetune.dropout=1; expected true or false"),
        (("finetune.layer_decay=2",), "finetune.layer_decay=2; expected a number, above 0, 1 for the same rate"),
        (("finetune.lora_targets=,",), "finetune.lora_targets=','; expected names of layers, separated by commas"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_said_before_anything_is_embedded(more, said, keys, tmp_path):
    with pytest.raises(BadRecipe, match=said):
        run(keys, tmp_path / "run", *more)
    assert not (tmp_path / "embeddings").exists()


def test_clotho_is_fine_tuned_by_the_documents_encoders(tmp_path, monkeypatch, capsys):
    """sensorium finetune clotho, as it is typed, on a made Clotho and tiny PaSST and RoBERTa; then search and log."""
    import made_captions
    import tiny_passt

    from sensorium.cli import app

    root = tmp_path / "clotho"
    made_captions.clotho(root)
    passt, roberta = tiny_passt.save(tmp_path / "passt" / "weights.pt"), tiny_towers.roberta(tmp_path / "roberta")
    keys = ["train.epochs=1", "train.batch=4", "train.precision=fp32", f"left.encoder.model={passt}", "evaluate.plots=false",
            f"right.encoder.model={roberta}", "evaluate.resamples=2", "left.encoder.precision=fp32",
            "right.encoder.precision=fp32"]  # fmt: skip
    app(["finetune", "clotho", f"data.root={root}", *keys, "--out", str(tmp_path / "run")], standalone_mode=False)
    said = " ".join(capsys.readouterr().err.split())
    assert "left encoder: " in said and "2 of 2 blocks, lr 3e-06" in said and "right encoder: " in said
    made = sensorium.open(tmp_path / "run")
    assert made.encoder("left").fingerprint["tuned"] and made.encoder("right").fingerprint["tuned"]
    assert made.metrics["fit"]["encoders"]["left"]["lr"] == 3e-6
    assert made.search(text="a low tone", k=2)
