"""The heads cnn, residual and star: against torch.nn.Sequential, on tiny batches, on pictures from disk, in a fit."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sensorium
from sensorium import heads, parts
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.image import pseudo_files
from sensorium.modalities.image.pseudo import PseudoImage

D = 48
SMALL = {"name": "cnn", "size": 16, "width": 4, "stages": 2, "hidden": 8, "dim": 6}


def built(dim_in: int = D, **arguments) -> nn.Module:
    torch.manual_seed(0)
    one = parts.make("heads", {**SMALL, **arguments})
    one.build(dim_in)
    with torch.no_grad():
        for norm in one.norms:
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.1)
    return one.eval()


def vectors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, D)).astype(np.float32)


def documents(channels: list[int], tail: bool, hidden: int, dim: int) -> nn.Sequential:
    """The document's network: pairs of conv, batch norm and GELU, each pair but the tail followed by a pool."""
    layers, before = [], 3
    for i, width in enumerate(channels):
        for _ in range(2):
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.GELU()]
            before = width
        if not (tail and i == len(channels) - 1):
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, hidden), nn.GELU(),
                         nn.Dropout(0.1), nn.Linear(hidden, dim))  # fmt: skip


@pytest.mark.parametrize("tail", [False, True])
def test_it_computes_the_documents_network(tail: bool) -> None:
    """The tensors of ours, in their order, are those of the document's."""
    ours = built(width=2, stages=4, tail=tail)
    widths = [2, 4, 8, 16, *([16] if tail else [])]
    theirs = documents(widths, tail, 8, 6)
    assert [c.out_channels for c in ours.convolutions] == [w for w in widths for _ in range(2)]
    made = [*zip(ours.convolutions, [m for m in theirs if isinstance(m, nn.Conv2d)], strict=True),
            *zip(ours.norms, [m for m in theirs if isinstance(m, nn.BatchNorm2d)], strict=True),
            *zip((ours.hidden, ours.fc), [m for m in theirs if isinstance(m, nn.Linear)], strict=True)]  # fmt: skip
    for mine, other in made:
        other.load_state_dict(mine.state_dict())
    x = vectors(5)
    with torch.inference_mode():
        expected = nn.functional.normalize(theirs.eval()(torch.from_numpy(PseudoImage(16).to_image(x))), dim=1)
    np.testing.assert_allclose(heads.apply(ours, x), expected, rtol=0, atol=2e-6)


def test_the_documents_size() -> None:
    one = parts.make("heads", "cnn")
    one.build(768, None, 256)
    assert [c.out_channels for c in one.convolutions] == [32, 32, 64, 64, 128, 128, 256, 256]
    assert one.arguments["size"] == 128 and sum(p.numel() for p in one.parameters()) == 1_436_128


@pytest.mark.parametrize("n", [1, 2])
def test_tiny_batches_train_and_evaluation_is_by_item(n: int) -> None:
    one = built().train()
    one(torch.from_numpy(vectors(n))).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in one.parameters())
    before = {k: v.clone() for k, v in one.state_dict().items()}
    x = vectors(9, 1)
    whole = heads.apply(one, x)
    each = np.concatenate([heads.apply(one, x[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(each, whole, rtol=0, atol=1e-6)
    assert all(torch.equal(v, before[k]) for k, v in one.state_dict().items())  # evaluation changes no statistics


def test_many_rows_are_passed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from sensorium.heads import cnn

    one, x = built(), vectors(50)
    whole = heads.apply(one, x)
    monkeypatch.setattr(cnn, "count_rows", lambda size: 7)
    np.testing.assert_allclose(heads.apply(one, x), whole, rtol=0, atol=1e-6)
    assert heads.apply(one, x[:0]).shape == (0, 6)


def test_pictures_read_from_disk_are_those_that_are_made(tmp_path: Path) -> None:
    """Outputs and gradients to the bit; a vector without a picture is made; a folder that is gone does not matter."""
    x = vectors(12)
    pseudo_files.write([str(i) for i in range(10)], x[:10], PseudoImage(16), tmp_path / "audio", "audio")
    made, read = built(quantize=True), built(quantize=True, images=str(tmp_path))
    for rows in (x[:10], x, x[10:]):
        np.testing.assert_array_equal(heads.apply(read, rows), heads.apply(made, rows))
    for one in (made, read):
        torch.manual_seed(0)  # of the dropout
        one.train()(torch.from_numpy(x))[:, 0].sum().backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(made.parameters(), read.parameters(), strict=True))

    seen = []
    read.image.stored.read = lambda rows, required: seen.append(len(rows)) or (np.zeros(0, np.int64), np.zeros(0))
    heads.apply(read, x[:3])
    assert seen == [3]  # it does ask the folder

    heads.save(made, tmp_path / "left", "cnn", {})
    gone = built(quantize=True, images=str(tmp_path / "gone"))
    np.testing.assert_array_equal(heads.apply(gone, x), heads.apply(built(quantize=True), x))
    with pytest.raises(BadData, match=r"gone holds no pseudo-images of these settings \(size=16"):
        gone.train()(torch.from_numpy(x))


def test_making_the_pictures_is_little_of_a_step() -> None:
    """Less than a tenth of forward and backward; bench/pseudo_images.py measures it at the document's size."""
    one, x = built(size=64, width=8, stages=4).train(), torch.from_numpy(vectors(64))

    def seconds(call) -> float:
        took = []
        for _ in range(4):
            start = time.perf_counter()
            call()
            took.append(time.perf_counter() - start)
        return min(took)

    assert seconds(lambda: one.image(x)) < 0.1 * seconds(lambda: one(x).sum().backward())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 3}, "cnn: size=3 is halved 2 times; expected 4 pixels or more"),
        ({"width": 0}, "cnn: width=0, stages=2"),
        ({"stages": 9}, "stages=9, .* expected width 1 to 512, stages 1 to 8"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"mode": "nearer"}, "pseudo-images: mode 'nearer'; did you mean 'nearest'"),
        ({"images": "x"}, "with images= expected quantize=true and preprocess=none"),
        ({"images": "x", "quantize": True, "preprocess": "center"}, "expected quantize=true and preprocess=none"),
        ({"name": "residual", "depth": 0}, "residual: depth=0, expansion=4"),
        ({"name": "residual", "expansion": 65}, "expected depth 1 to 100, expansion 1 to 64"),
        ({"name": "star", "dropout": -0.1}, "star: depth=2, expansion=3, dropout=-0.1"),
        ({"name": "star", "activation": "rellu"}, "star: activation 'rellu'; did you mean 'relu'"),
        ({"name": "star", "hidden": 0}, "star: hidden=0; expected a width of 1 to 65536"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    spec = arguments if "name" in arguments else {**SMALL, **arguments}
    with pytest.raises(BadRecipe, match=message):
        parts.make("heads", spec)


def test_residual_and_star_by_their_formulas() -> None:
    x = torch.from_numpy(vectors(4))
    one = parts.make("heads", {"name": "residual", "dim": 5, "preprocess": "none", "normalize": False})
    one.build(D)
    h = x
    for i in range(2):
        inner = nn.functional.layer_norm(h, (D,), one.norms[i].weight, one.norms[i].bias)
        h = (
            h
            + nn.functional.gelu(inner @ one.up[i].weight.T + one.up[i].bias) @ one.down[i].weight.T
            + one.down[i].bias
        )
    expected = one.fc(one.norms[2](h))
    torch.testing.assert_close(one.eval()(x), expected, rtol=1e-5, atol=1e-5)

    one = parts.make(
        "heads", {"name": "star", "dim": 5, "hidden": 7, "depth": 1, "preprocess": "none", "normalize": False}
    )
    one.build(D)
    h = one.stem(x)
    n, (w1, w2), (b1, b2) = one.norms[0](h), one.maps[0].weight.chunk(2), one.maps[0].bias.chunk(2)
    h = h + one.back[0](torch.relu(n @ w1.T + b1) * (n @ w2.T + b2))
    torch.testing.assert_close(one.eval()(x), one.fc(one.norms[1](h)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spec", [{**SMALL, "size": 8, "dropout": 0.0}, {"name": "residual", "dropout": 0.1},
                                  {"name": "star", "hidden": 32, "dropout": 0.0}], ids=lambda s: s["name"])  # fmt: skip
def test_they_learn_what_belongs_together(spec: dict) -> None:
    """Held-out pairs are found far more often than by chance, 1/60."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((600, 6))
    left = (z @ rng.standard_normal((6, D)) + 0.1 * rng.standard_normal((600, D))).astype(np.float32)
    right = (z @ rng.standard_normal((6, 20))).astype(np.float32)
    run = sensorium.fit(left, right, objective="infonce", left={"head": {**spec, "dim": 6}}, test=60,
                        right={"head": {"name": "mlp", "hidden": 32, "dim": 6}}, train={"epochs": 10, "lr": 5e-3},
                        evaluate={"resamples": 10, "plots": False, "baselines": []})  # fmt: skip
    rows = [row for row in run.metrics["results"] if row["measure"] == "hit@1" and row["split"] == "test"]
    assert len(rows) == 2 and min(row["value"] for row in rows) > 0.25


def test_a_fit_that_was_cut_short_goes_on_with_the_same_statistics(tmp_path: Path) -> None:
    """The running means and variances of batch norm are part of what is saved."""
    from training_data import assert_same_bits, train

    def both() -> tuple[nn.Module, nn.Module]:
        one = {**SMALL, "size": 8, "stages": 1, "width": 2, "dim": 12}
        return parts.make("heads", one), parts.make("heads", {"name": "linear", "dim": 12})

    def stop(event: dict) -> None:
        if event["epoch"] == 2:
            raise KeyboardInterrupt

    whole = train(heads=both(), epochs=3)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, heads=both(), epochs=3, on_epoch=stop)
    again = train(tmp_path, heads=both(), epochs=3)
    assert_same_bits(again, whole)
    assert again.left_head.norms[0].running_mean.abs().max() > 0
