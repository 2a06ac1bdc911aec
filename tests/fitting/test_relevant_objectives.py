"""``data.relevant`` with every objective: rows of one label are related, whatever their own partners say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sensorium import heads, parts, pipeline, recipe, scores
from sensorium.fitting import encoders as encoding
from sensorium.pairs import Pairs
from sensorium.pairs.classes import Classes
from sensorium.pairs.positives import BatchPositives
from sensorium.scores.measures import average_precision

N, C = 240, 4
WORDS = ("angry", "happy", "sad", "calm")
MLP = ["left.head={name = 'mlp', hidden = 32, dim = 8}", "right.head={name = 'mlp', hidden = 32, dim = 8}",
       "train.epochs=25", "train.batch=48", "train.lr=1e-2", "train.patience=0"]  # fmt: skip
ONTO = [MLP[0].replace("dim = 8", "dim = 10"), "right.head=identity", *MLP[2:]]  # the right side stays as it is
POSTERIOR = ["left.head=posterior", "right.head=posterior"]
#: Keys of each objective; every one that is found needs a line here.
KEYS = {
    "auto": ["objective.closed=['cca', {name = 'lda', head = 'posterior'}]", "objective.trained=[]"],
    "cca": [],
    "cosine": ONTO,
    "cross_entropy": [*MLP, "objective.temperature=0.1"],
    "distill": [*MLP, "objective.teacher=TEACHER"],
    "infonce": MLP,
    "knn": POSTERIOR,
    "lda": POSTERIOR,
    "logistic": POSTERIOR,
    "mixture": ["objective.members=['cca', {name = 'ridge', strengths = 1.0}]"],
    "mse": ONTO,
    "procrustes": [],
    "ridge": [],
    "siglip": MLP,
    "triplet": MLP,
    "vad": [],
}
#: A rotation leaves out none of the directions of the rows.
LEAST = {"procrustes": 0.7}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows whose own partners are told by six strong numbers, and their label by four weak ones."""
    folder = tmp_path_factory.mktemp("related")
    random = np.random.default_rng(0)
    label = random.permutation(np.arange(N) % C)
    own = random.standard_normal((N, 6))
    code = np.eye(C)[label] - 1 / C
    x, y = (np.hstack([s * own, 3 * code + 0.15 * random.standard_normal((N, C))]) for s in (1.5, 2.0))
    turn = np.linalg.qr(random.standard_normal((10, 10)))[0]
    split = np.array(["train"] * 160 + ["validation"] * 30 + ["test"] * 50)
    np.savez(folder / "pairs.npz", x=(x @ turn).astype(np.float32), y=y.astype(np.float32), split=split,
             emotion=np.array(WORDS)[label], group=np.arange(N))  # fmt: skip
    return folder


def fit(made: Path, name: str, *more: str):
    """Data, tables, fitted heads."""
    keys = [f"data.file={made / 'pairs.npz'}", "data.left=x", "data.right=y", "data.split=split", f"objective={name}"]
    plan = recipe.load("arrays", [*keys, *(key.replace("TEACHER", str(made / "teacher")) for key in KEYS[name]), *more])
    data = plan.part("data").load()
    plan, built, _ = encoding.settled(plan, data, plan.build(), keys)
    left, right = pipeline.embed(plan, data, made / "stores", False, built)
    return plan, data, left, right, pipeline.fit_heads(plan, left, right, data.pairs, None, False, data=data)


def found(data, left, right, fitted) -> float:
    """Mean average precision of the test rows of a label among all of the right side."""
    code = np.array([WORDS.index(str(word)) for word in data.left.meta["emotion"]])
    asked = replace(data.pairs, classes=Classes(code, code)).relevance("left->right", "test")
    z = heads.project(fitted.left_head, left), heads.project(fitted.right_head, right)
    return float(average_precision(scores.ranks(*z, asked), asked.offsets).mean())


@pytest.mark.parametrize("name", sorted(parts.names("objectives")))
def test_every_objective_reads_the_label(made: Path, name: str) -> None:
    if name == "distill" and not (made / "teacher").exists():
        plan, _, left, right, fitted = fit(made, "infonce", "data.relevant=emotion")
        (made / "teacher").mkdir()
        pipeline.save_heads(plan, left, right, fitted, made / "teacher")
    _, data, left, right, fitted = fit(made, name, "data.relevant=emotion")
    assert data.pairs.classes is not None
    assert found(data, left, right, fitted) > LEAST.get(name, 0.85)


@pytest.mark.parametrize("name", ["cca", "ridge", "infonce", "cosine", "mse", "cross_entropy"])
def test_by_row_the_label_is_not_what_is_learned(made: Path, name: str) -> None:
    """So that the test above fails for an objective that reads the rows alone."""
    _, data, left, right, fitted = fit(made, name)
    assert data.pairs.classes is None and found(data, left, right, fitted) < 0.8


@pytest.mark.parametrize("name", ["mse", "cosine"])
def test_regression_onto_all_items_of_a_label(name: str) -> None:
    """The oracle: each left item with each right item of its label, one by one."""
    torch.manual_seed(0)
    zl, zr = torch.randn(2, 6, 3, requires_grad=True)
    code = np.array([0, 1, 0, 2, 1, 0])
    pairs = Pairs.of(np.arange(6), np.arange(6))
    objective = parts.make("objectives", name)
    for classes in (None, Classes(code, code)):
        related = replace(pairs, classes=classes)
        objective.prepare(None, None, related, None, None)
        each = {"mse": lambda a, b: (a - b).square().mean(), "cosine": lambda a, b: 1 - F.cosine_similarity(a, b, 0)}
        expected = torch.stack([
            torch.stack([each[name](zl[i], zr[j]) for j in range(6) if (i == j if classes is None else code[i] == code[j])
                         ]).mean() for i in range(6)]).mean()  # fmt: skip
        loss = objective.loss(zl, zr, BatchPositives(related).of(np.arange(6), np.arange(6)))
        assert float(loss) == pytest.approx(float(expected), abs=1e-6)
