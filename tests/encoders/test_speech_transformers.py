"""wav2vec 2.0, HuBERT, WavLM and Whisper from tiny random weights: what transformers says of one recording, in any batch."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tiny_models import CLASSES, RATE, TINY, save

import sensorium
from sensorium import parts, store
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.numerics import ragged
from sensorium.numerics.moments import InputStats
from sensorium.types import Items, as_ids


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: save(name, folder / name) for name in CLASSES}


def sounds() -> list[tuple[np.ndarray, int]]:
    rng = np.random.default_rng(1)
    return [((0.1 * rng.standard_normal(n) + 0.01).astype(np.float32), RATE) for n in (9000, 4000, 15_000, 9000, 700)]


def directly(name: str, folder: Path, samples: np.ndarray) -> list[np.ndarray]:
    """All hidden states (t, d) of one recording by transformers alone."""
    model = getattr(transformers, CLASSES[name][1]).from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    with torch.inference_mode():
        if name == "whisper":
            x = extractor(samples, sampling_rate=RATE, return_tensors="pt").input_features
            states = model.encoder(x, output_hidden_states=True).hidden_states
            return [state[0, : -(-len(samples) // 320)].numpy() for state in states]
        x = extractor(samples, sampling_rate=RATE, return_tensors="pt").input_values
        return [state[0].numpy() for state in model(x, output_hidden_states=True).hidden_states]


def encoder(name: str, folder: Path, **more: object) -> object:
    return parts.make("encoders", {"name": name, "model": str(folder), **more})


@pytest.mark.parametrize("name", CLASSES)
def test_a_batch_says_of_each_what_transformers_says_of_it_alone(name: str, models: dict[str, Path]) -> None:
    values = sounds()
    oracle = [directly(name, models[name], samples) for samples, _ in values]
    last = encoder(name, models[name]).encode(values)
    second = encoder(name, models[name], layer=1, pooling="mean+std").encode(values)
    frames = encoder(name, models[name], layers="all", pooling="frames")
    assert frames.frames and last.dtype == np.float32
    for row, (states, found) in enumerate(zip(oracle, frames.encode(values), strict=True)):
        assert len(states) == 3  # what enters the first layer, and what leaves both
        np.testing.assert_allclose(last[row], states[-1].mean(0), atol=1e-5)
        np.testing.assert_allclose(second[row], np.concatenate([states[1].mean(0), states[1].std(0)]), atol=1e-5)
        np.testing.assert_allclose(found, np.concatenate(states, 1), atol=1e-5)
    assert frames.dim == frames.encode(values[:1])[0].shape[1] == 48
    everything = encoder(name, models[name], layers="all", pooling="mean+std")
    wide = everything.encode(values)
    assert wide.shape == (5, everything.dim) == (5, 96)
    np.testing.assert_allclose(wide[0, 32:64], second[0], atol=1e-5)  # layer by layer: mean, deviation


@pytest.mark.parametrize("name", CLASSES)
def test_long_recordings_go_through_in_equal_parts(name: str, models: dict[str, Path]) -> None:
    x = sounds()[2][0]
    long = np.concatenate([x, x, x[:4000]])  # a little more than 2 s: three parts of at most 1 s
    parts_of = np.array_split(long, 3)
    found = encoder(name, models[name], chunk=1.0, pooling="frames").encode([(long, RATE), sounds()[0]])
    if name == "whisper":
        wanted = [directly(name, models[name], part)[-1] for part in parts_of]
    else:
        network = encoder(name, models[name], chunk=1.0)._loaded
        scaled = np.array_split(network.prepare(long), len(parts_of))
        model = getattr(transformers, CLASSES[name][1]).from_pretrained(models[name]).eval()
        with torch.inference_mode():
            wanted = [model(torch.from_numpy(part)[None]).last_hidden_state[0].numpy() for part in scaled]
    np.testing.assert_allclose(found[0], np.concatenate(wanted), atol=1e-5)


def test_a_recording_shorter_than_a_frame_gives_one(models: dict[str, Path]) -> None:
    for name in CLASSES:
        found = encoder(name, models[name], pooling="frames").encode([(np.ones(1, np.float32), RATE)])
        assert found[0].shape == (1, 16) and np.isfinite(found[0]).all()


def test_bfloat16_is_near_and_another_encoder(models: dict[str, Path]) -> None:
    plain, quick = (encoder("wav2vec2", models["wav2vec2"], precision=p) for p in ("fp32", "bf16"))
    a, b = plain.encode(sounds()), quick.encode(sounds())
    assert (a != b).any() and plain.fingerprint != quick.fingerprint
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert (cosine > 0.99).all()


def test_the_fingerprint_follows_the_weights_not_the_folder(models: dict[str, Path], tmp_path: Path) -> None:
    first = encoder("wavlm", models["wavlm"])
    assert first.fingerprint == encoder("wavlm", save("wavlm", tmp_path / "moved")).fingerprint
    assert first.fingerprint == encoder("wavlm", models["wavlm"], layer=2).fingerprint  # of 0, 1, 2 the last
    others = [encoder("wavlm", models["wavlm"], layer=1), encoder("wavlm", models["wavlm"], layers="all"),
              encoder("wavlm", models["wavlm"], pooling="mean+std")]  # fmt: skip
    torch.manual_seed(1)
    other = transformers.WavLMModel(transformers.WavLMConfig(**TINY))
    other.save_pretrained(tmp_path / "other")
    others.append(encoder("wavlm", tmp_path / "other"))
    prints = [json.dumps(one.fingerprint, sort_keys=True) for one in (first, *others)]
    assert len(set(prints)) == len(prints)


def test_nothing_is_loaded_before_it_is_needed(models: dict[str, Path]) -> None:
    made = encoder("hubert", models["hubert"])
    assert made.dim == 16 and made.fingerprint["name"] == "hubert" and "_loaded" not in vars(made)
    assert len(made.encode([])) == 0 and "_loaded" not in vars(made)


def test_what_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    for arguments, said in (({"pooling": "max"}, "mean, mean\\+std, frames"), ({"layers": "some"}, "one, all"),
                            ({"precision": "fp16"}, "fp32, bf16"), ({"chunk": 0.1}, "1 second or more")):  # fmt: skip
        with pytest.raises(BadRecipe, match=said):
            encoder("wavlm", models["wavlm"], **arguments)
    with pytest.raises(BadRecipe, match="has 0 to 2, or -1"):
        _ = encoder("wavlm", models["wavlm"], layer=3).dim
    with pytest.raises(BadRecipe, match="is a hubert model, not wavlm; type: left.encoder=hubert"):
        encoder("wavlm", models["hubert"]).encode(sounds()[:1])
    with pytest.raises(BadData, match="no folder with a config.json"):
        _ = encoder("wavlm", tmp_path / "nowhere").dim
    with pytest.raises(BadData, match="nobody/no-such-model is not in the cache and"):
        _ = encoder("wavlm", "nobody/no-such-model").dim


def test_an_id_is_found_in_the_cache(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the hub's own client lays it out: a snapshot by its commit, branches and tags that point to it."""
    from huggingface_hub import constants

    commit = "0123456789" * 4
    cached = tmp_path / "models--someone--tiny-hubert"
    shutil.copytree(models["hubert"], cached / "snapshots" / commit)
    for ref in ("main", "v2"):
        (cached / "refs").mkdir(exist_ok=True)
        (cached / "refs" / ref).write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    local = encoder("hubert", models["hubert"])
    for revision in ("", "main", "v2", commit):
        cached_one = parts.make("encoders", {"name": "hubert", "model": "someone/tiny-hubert", "revision": revision})
        pinned = {"revision": commit} if revision else {}
        assert cached_one.fingerprint == {**local.fingerprint, **pinned}
    np.testing.assert_array_equal(cached_one.encode(sounds()[:2]), local.encode(sounds()[:2]))
    with pytest.raises(BadData, match="not in the cache"):
        _ = parts.make("encoders", {"name": "hubert", "model": "someone/tiny-hubert", "revision": "v3"}).dim


def test_damaged_weights_are_never_replaced_by_random_ones(models: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save("wav2vec2", tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights.pop("encoder.layers.1.attention.k_proj.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(Corrupt, match="lacks 1 weights of Wav2Vec2Model, such as encoder.layers.1.attention.k_proj"):
        encoder("wav2vec2", folder).encode(sounds()[:1])
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(Corrupt, match="cannot be loaded"):
        encoder("wav2vec2", folder).encode(sounds()[:1])
    (folder / "model.safetensors").unlink()
    with pytest.raises(Corrupt, match="holds no weights"):
        _ = encoder("wav2vec2", folder).fingerprint


def test_a_model_that_normalises_layers_differently(tmp_path: Path) -> None:
    """The large models: layer norm in the convolutions, normalisation before each block."""
    folder = save("wav2vec2", tmp_path / "large", feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
    found = encoder("wav2vec2", folder).encode(sounds())
    for row, (samples, _) in enumerate(sounds()):
        np.testing.assert_allclose(found[row], directly("wav2vec2", folder, samples)[-1].mean(0), atol=1e-5)


def test_frames_go_into_a_store_once(models: dict[str, Path], tmp_path: Path) -> None:
    made = encoder("wavlm", models["wavlm"], pooling="frames")
    items = Items(as_ids(list("abcde")), sounds(), "audio")
    table = store.embed(items, made, tmp_path / "store", progress=False)
    wanted = made.encode(sounds())
    for i, frames in enumerate(wanted):
        np.testing.assert_allclose(table.vectors[table.offsets[i] : table.offsets[i + 1]], frames, atol=1e-6)


def layers(**more: object) -> object:
    torch.manual_seed(0)
    head = parts.make("heads", {"name": "layers", "layers": 3, "hidden": 5, "preprocess": "none", **more})
    head.build(12, None, 2)
    return head.eval()


def test_layer_weights_of_means_are_means_of_weighted_layers() -> None:
    head = layers()
    with torch.no_grad():
        head.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
    x, lengths = torch.randn(4, 7, 12), torch.tensor([7, 3, 1, 5])
    means = torch.stack([x[i, :n].mean(0) for i, n in enumerate(lengths)])
    share = torch.tensor([0.5, -1.0, 2.0]).softmax(0)
    pooled = sum(share[k] * means[:, 4 * k : 4 * k + 4] for k in range(3))
    wanted = head.fc(torch.nn.functional.gelu(head.hidden(pooled)))
    torch.testing.assert_close(head(means), wanted)
    torch.testing.assert_close(head(x, lengths), wanted)
    flat = np.concatenate([x[i, :n].numpy() for i, n in enumerate(lengths)])
    offsets = np.concatenate([[0], np.cumsum(lengths.numpy())])
    np.testing.assert_allclose(ragged.apply_frames(head, flat, offsets), wanted.detach(), atol=1e-6)


@pytest.mark.parametrize("preprocess", ["none", "center", "standardize", "whiten", "unit"])
def test_frames_are_preprocessed_before_their_mean_is_taken(preprocess: str) -> None:
    frames = np.random.default_rng(0).normal(2, 3, size=(300, 12))
    head = parts.make("heads", {"name": "layers", "layers": 3, "hidden": 5, "preprocess": preprocess})
    head.build(12, InputStats.of(frames, np.arange(300)), 4)
    head.eval()
    x, lengths = torch.randn(3, 9, 12) * 3 + 2, torch.tensor([9, 2, 5])
    means = torch.stack([head.preprocess(x[i, :n]).mean(0) for i, n in enumerate(lengths)])
    share = head.weight.softmax(0)
    pooled = sum(share[k] * means[:, 4 * k : 4 * k + 4] for k in range(3))
    wanted = head.fc(torch.nn.functional.gelu(head.hidden(pooled)))
    torch.testing.assert_close(head(x, lengths), wanted)
    if preprocess == "unit":
        assert head.frozen is None
    else:
        torch.testing.assert_close(head(head.frozen(x, lengths)), wanted, atol=1e-5, rtol=1e-5)


def test_layer_weights_find_the_layer_that_knows() -> None:
    head, rng = layers(hidden=0, dropout=0.0), torch.Generator().manual_seed(0)
    x = torch.randn(256, 12, generator=rng)
    label = (x[:, 4:8].sum(1) > 0).long()  # the second layer says it, the others are noise
    optimizer = torch.optim.Adam(head.parameters(), 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(x), label).backward()
        optimizer.step()
    assert head.weight.softmax(0)[1] > 0.8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"layers": 0}, "1 layer or more"),
        ({"dropout": 1.0}, "below 1"),
        ({"layers": 5}, "are not 5 layers side by side"),
    ],
)
def test_what_layers_refuses(arguments: dict, said: str) -> None:
    with pytest.raises(BadRecipe, match=said):
        layers(**arguments)


@pytest.mark.parametrize(
    "keys",
    [[], ["left.encoder.pooling=mean+std"], ["left.encoder.pooling=frames"],
     ["left.encoder.layers=one", "left.encoder.pooling=frames", "left.head=lstm", "left.head.hidden=8"]],
    ids=["mean", "mean+std", "frames", "lstm on frames"],
)  # fmt: skip
def test_the_recipe_runs_from_sound_to_search(keys: list[str], models: dict[str, Path], tmp_path: Path) -> None:
    from made_corpus import actors

    root = actors(tmp_path / "data", range(1, 5))
    run = sensorium.run("ravdess-ssl", [
        f"data.root={root}", "data.test_actors=[4]", "data.validation_actors=[3]", "left.head.layers=3",
        f"left.encoder.model={models['wavlm']}", "train.epochs=2", "train.batch=16",
        "evaluate.plots=false", *keys,
    ], out=tmp_path / "run", quiet=True)  # fmt: skip
    assert {row["measure"] for row in run.metrics["results"]} >= {"hit@1"}
    clip = next(root.rglob("*-04.wav"))
    hits = run.search(audio=str(clip), k=8)
    assert len(hits) == 8 and {h["id"] for h in hits} == set(sensorium.datasets._recordings.EMOTIONS)
    by_id = run.search(id=clip.relative_to(root).as_posix(), k=8)
    assert [h["id"] for h in hits] == [h["id"] for h in by_id]
