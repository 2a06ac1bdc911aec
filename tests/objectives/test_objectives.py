"""Trained objectives against independent references, and by their invariants."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sensorium import parts
from sensorium.errors import BadRecipe
from sensorium.objectives.cosine import Cosine
from sensorium.objectives.cross_entropy import CrossEntropy
from sensorium.objectives.mse import Mse
from sensorium.objectives.triplet import Triplet
from sensorium.pairs import Pairs
from sensorium.pairs.positives import BatchPositives, Positives
from sensorium.types import Embeddings


def rows(b, d, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(b, d)))


def table(vectors, **meta):
    ids = np.array([str(i) for i in range(len(vectors))])
    return Embeddings(ids, np.asarray(vectors, np.float32), {}, {k: np.asarray(v) for k, v in meta.items()})


def batch(b, kinds, seed=0):
    """A batch in which pairs of equal kind are positives, as captions of one clip are."""
    kind = np.random.default_rng(seed).integers(0, kinds, b)
    return Positives(b, keys=(kind, kind), rows=(np.arange(b), np.arange(b))), kind


@pytest.mark.parametrize("name", ["cosine", "mse", "triplet", "cross_entropy"])
def test_parts_are_found_and_trained(name):
    assert parts.make("objectives", name).closed_form is False


# --- cosine and mse -------------------------------------------------------------------------


def test_cosine_equals_torch():
    zl, zr = rows(9, 5), rows(9, 5, 1)
    expected = nn.CosineEmbeddingLoss()(zl, zr, torch.ones(9))
    torch.testing.assert_close(Cosine().loss(zl, zr, Positives(9)), expected)


def test_mse_equals_torch():
    zl, zr = rows(9, 5), rows(9, 5, 1)
    torch.testing.assert_close(Mse().loss(zl, zr, Positives(9)), nn.MSELoss()(zl, zr))


@given(seed=st.integers(0, 999), b=st.integers(1, 12), scale=st.floats(0.01, 100))
@settings(max_examples=25, deadline=None)
def test_regressions_have_their_invariants(seed, b, scale):
    zl, zr = rows(b, 4, seed), rows(b, 4, seed + 1)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(b))
    for objective in (Cosine(), Mse()):
        value = objective.loss(zl, zr, Positives(b))
        torch.testing.assert_close(objective.loss(zl[order], zr[order], Positives(b)), value)
        torch.testing.assert_close(objective.loss(zr, zl, Positives(b)), value)
        assert objective.loss(zl, zl, Positives(b)).item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(Cosine().loss(scale * zl, zr / scale, Positives(b)), Cosine().loss(zl, zr, Positives(b)))


# --- triplet --------------------------------------------------------------------------------


def reference_triplet(zl, zr, positive, mining, margin, both, categories=None):
    """Every anchor in turn, in float64 NumPy, on distances 1 - cos as the paper has them."""
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (zl, zr)]
    far = 1 - unit[0] @ unit[1].T
    losses = []
    for distance, related, category in ((far, positive, 1), (far.T, positive.T, 0))[: 2 if both else 1]:
        for i in range(len(distance)):
            negatives = np.flatnonzero(~related[i])
            if categories is not None:
                alike = negatives[categories[category][negatives] == categories[category][i]]
                negatives = alike if len(alike) else negatives
            if not len(negatives):
                continue
            to_positive, to_negatives = distance[i, i], distance[i, negatives]
            farther = to_negatives[to_negatives > to_positive]
            hard, easy = to_negatives.min(), to_negatives.max()
            chosen = hard if mining == "hard" else farther.min() if len(farther) else easy
            losses.append(max(0.0, margin + to_positive - chosen))
    return np.mean(losses) if losses else 0.0


@pytest.mark.parametrize("mining", ["hard", "semi-hard"])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("kinds", [1, 3, 50])
def test_triplet_equals_its_formula(mining, both, kinds):
    zl, zr = rows(20, 6), rows(20, 6, 1) + rows(20, 6)
    positives, kind = batch(20, kinds)
    expected = reference_triplet(zl.numpy(), zr.numpy(), kind[:, None] == kind, mining, 0.3, both)
    found = Triplet(0.3, mining, both=both).loss(zl, zr, positives)
    assert found.item() == pytest.approx(expected, abs=1e-12)


def test_hard_triplet_equals_pytorch_metric_learning():
    from pytorch_metric_learning import distances, losses, miners, reducers

    zl, zr = rows(16, 6), rows(16, 6, 1) + rows(16, 6)
    labels = torch.arange(16)
    # Its hard miner finds, for each anchor, the nearest negative and (here the only) positive.
    cosine = distances.CosineSimilarity()
    chosen = miners.BatchHardMiner(distance=cosine)(zl, labels, zr, labels.clone())
    loss = losses.TripletMarginLoss(margin=0.3, distance=cosine, reducer=reducers.MeanReducer())
    expected = loss(zl, labels, chosen, ref_emb=zr, ref_labels=labels.clone())
    torch.testing.assert_close(Triplet(0.3, "hard", both=False).loss(zl, zr, Positives(16)), expected)


def test_semi_hard_triplet_equals_sentence_transformers():
    from sentence_transformers.sentence_transformer.losses import (
        BatchHardTripletLossDistanceFunction,
        BatchSemiHardTripletLoss,
    )

    # It works within one table with two items of each label; its anchors are ours from both sides.
    zl, zr = rows(14, 6), rows(14, 6, 1) + rows(14, 6)
    labels = torch.arange(14).repeat(2)
    theirs = BatchSemiHardTripletLoss(
        None, distance_metric=BatchHardTripletLossDistanceFunction.cosine_distance, margin=0.3
    )
    both = torch.cat([zl, zr])
    expected = theirs.batch_semi_hard_triplet_loss(labels, both)
    # One table: each item is an anchor, its pair the positive, all 26 others negatives.
    table_rows = torch.cat([torch.arange(14) + 14, torch.arange(14)])
    pairs = Pairs.of(np.arange(28), table_rows.numpy(), same_table=True)
    positives = BatchPositives(pairs).of(np.arange(28), table_rows.numpy())
    found = Triplet(0.3, "semi-hard", both=False).loss(both, both[table_rows], positives)
    torch.testing.assert_close(found, expected.squeeze())


def test_random_negatives_are_drawn_evenly_and_never_a_positive():
    torch.manual_seed(0)
    b = 6
    positives, kind = batch(b, 3, seed=1)
    objective = Triplet(negatives="random")
    unit = F.normalize(rows(b, 8), dim=1)
    drawn = np.zeros((b, b))
    for _ in range(3000):
        (anchors, columns), (anchors_right, rows_left) = objective._mine(unit, unit, positives)
        np.add.at(drawn, (anchors.numpy(), columns.numpy()), 1)
        np.add.at(drawn, (anchors_right.numpy(), rows_left.numpy()), 1)
    positive = kind[:, None] == kind
    assert not drawn[positive].any()
    share = np.where(positive, 0, 6000 / (~positive).sum(1, keepdims=True))
    assert np.abs(drawn - share).max() < 6 * np.sqrt(6000 / 4)


@pytest.mark.parametrize("mining", ["hard", "semi-hard"])
def test_negatives_come_from_the_positives_category(mining):
    zl, zr = rows(24, 6), rows(24, 6, 1) + rows(24, 6)
    of_left, of_right = (np.random.default_rng(s).integers(0, 6, 24) for s in (2, 3))
    left, right = table(zl, category=of_left), table(zr, category=of_right)
    objective = Triplet(0.3, mining, match="category")
    objective.prepare(left, right, Pairs.of(np.arange(24), np.arange(24)), None, None)
    positives = Positives(24, rows=(np.arange(24), np.arange(24)))
    expected = reference_triplet(
        zl.numpy(), zr.numpy(), np.eye(24, dtype=bool), mining, 0.3, True, categories=(of_left, of_right)
    )
    assert objective.loss(zl, zr, positives).item() == pytest.approx(expected, abs=1e-12)
    plain = Triplet(0.3, mining).loss(zl, zr, positives).item()
    assert plain != pytest.approx(expected, abs=1e-6)


def test_random_negatives_stay_in_the_category():
    category = np.array([0, 0, 0, 1, 1, 2])
    objective = Triplet(negatives="random", match="kind")
    some = table(rows(6, 3), kind=category)
    objective.prepare(some, some, Pairs.of(np.arange(6), np.arange(6)), None, None)
    unit = F.normalize(rows(6, 3), dim=1)
    for seed in range(20):
        torch.manual_seed(seed)
        for anchors, negative in objective._mine(unit, unit, Positives(6, rows=(np.arange(6),) * 2)):
            alike = category[anchors] == category[negative]
            assert alike[:5].all()
            assert not alike[5]  # the only one of its category takes another


class Doubling(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, x):
        return self.weight * x.double() + torch.tensor([1.0, 0, 0])


def test_pairs_labelled_0_are_negatives_with_gradients():
    vectors = rows(8, 3).float()
    # Items 0 and 1 have known negatives (5; 6 and 7), item 2 has none.
    pairs = Pairs.of([0, 1, 2, 0, 1, 1], [0, 1, 2, 5, 6, 7], label=np.array([1, 1, 1, 0, 0, 0]))
    head = Doubling()
    objective = Triplet(0.5, "hard", both=False)
    objective.prepare(table(vectors), table(vectors), pairs, None, head)
    zl, zr = rows(3, 3, 4), rows(3, 3, 5)
    positives = Positives(3, rows=(np.arange(3), np.arange(3)))
    cosine = F.cosine_similarity(zl[:, None], zr[None], dim=2)
    mined = [0.5 + (cosine[i].masked_fill(torch.arange(3) == i, -9)).max() - cosine[i, i] for i in range(3)]
    z = head(vectors)
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        found = objective.loss(zl, zr, positives).item()
        for drawn in (6, 7):
            known = [0.5 + F.cosine_similarity(zl[i], z[k], dim=0) - cosine[i, i] for i, k in ((0, 5), (1, drawn))]
            if found == pytest.approx(torch.stack(mined + known).relu().mean().item(), abs=1e-12):
                seen.add(drawn)
    assert seen == {6, 7}
    objective.loss(zl, zr, positives).backward()
    assert head.weight.grad.abs() > 0
    silent = Triplet(0.5, "hard", both=False, known=False)
    silent.prepare(table(vectors), table(vectors), pairs, None, head)
    assert silent.loss(zl, zr, positives).item() == pytest.approx(torch.stack(mined).relu().mean().item(), abs=1e-12)


def test_known_negatives_hold_both_ways_within_one_table():
    vectors = rows(6, 3).float()
    pairs = Pairs.of([0, 0, 2], [1, 2, 3], label=np.array([1, 0, 1]), same_table=True)
    objective = Triplet()
    objective.prepare(table(vectors), table(vectors), pairs, None, Doubling())
    drawn, z = objective._known.draw(np.array([2, 1, 0, 5]), rows(1, 3))
    assert drawn.tolist() == [0, 2]
    torch.testing.assert_close(z, Doubling()(vectors[[0, 2]]))


@given(seed=st.integers(0, 999), b=st.integers(1, 12), scale=st.floats(0.01, 100))
@settings(max_examples=25, deadline=None)
def test_triplet_has_its_invariants(seed, b, scale):
    zl, zr = rows(b, 4, seed), rows(b, 4, seed + 1)
    positives, kind = batch(b, 4, seed)
    order = np.random.default_rng(seed).permutation(b)
    shuffled = Positives(b, keys=(kind[order], kind[order]))
    for mining in ("hard", "semi-hard"):
        objective = Triplet(0.3, mining)
        value = objective.loss(zl, zr, positives)
        torch.testing.assert_close(objective.loss(zl[order], zr[order], shuffled), value)
        torch.testing.assert_close(objective.loss(scale * zl, zr / scale, positives), value)
        torch.testing.assert_close(objective.loss(zr, zl, positives), value)


def test_triplet_mines_in_blocks(monkeypatch):
    from sensorium.objectives import triplet

    zl, zr = rows(30, 4), rows(30, 4, 1)
    positives, _ = batch(30, 10)
    whole = Triplet(negatives="hard").loss(zl, zr, positives)
    monkeypatch.setattr(triplet, "_ROWS", 7)
    assert Triplet(negatives="hard").loss(zl, zr, positives).item() == whole.item()


def test_triplet_without_any_stranger_is_zero_with_a_gradient():
    zl, zr = rows(3, 4).requires_grad_(), rows(3, 4, 1)
    value = Triplet().loss(zl, zr, Positives(3, keys=(np.zeros(3, int), np.zeros(3, int))))
    value.backward()
    assert value.item() == 0
    assert not zl.grad.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"negatives": "semihard"}, "did you mean 'semi-hard'"),
        ({"margin": -1}, "objective.margin=-1; expected 0 or above"),
    ],
)
def test_triplet_refuses(arguments, message):
    with pytest.raises(BadRecipe, match=message):
        Triplet(**arguments)


def test_triplet_says_what_it_misses():
    objective = Triplet(match="categori")
    some = table(rows(3, 2), category=[1, 2, 3])
    with pytest.raises(BadRecipe, match="no column 'categori'; did you mean 'category'"):
        objective.prepare(some, some, Pairs.of([0], [0]), None, None)
    objective = Triplet(match="category")
    objective.prepare(some, some, Pairs.of([0], [0]), None, None)
    with pytest.raises(BadRecipe, match="set train.mixup=0"):
        objective.loss(rows(3, 2), rows(3, 2), Positives(3))
    frames = Embeddings(some.ids, some.vectors, {}, {}, offsets=np.arange(4))
    with pytest.raises(BadRecipe, match="set objective.known=false"):
        Triplet().prepare(some, frames, Pairs.of([0], [0], label=np.array([0])), None, None)


# --- cross entropy --------------------------------------------------------------------------


def classifier(labels, c, **arguments):
    objective = CrossEntropy(**arguments)
    pairs = Pairs.of(np.arange(len(labels)), labels)
    objective.prepare(table(np.zeros((len(labels), 2))), table(np.eye(c)), pairs, None, nn.Identity())
    return objective


def asked(which, labels):
    return Positives(len(which), keys=(labels[which], labels[which]), rows=(which, labels[which]))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", ["none", "balanced", [0.5, 1.0, 2.0, 0.0, 3.0]])
def test_cross_entropy_equals_torch(smoothing, weights):
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.random.default_rng(0).choice(5, 40, p=[0.4, 0.3, 0.1, 0.1, 0.1])
    objective = classifier(labels, 5, weights=weights, label_smoothing=smoothing, temperature=0.5)
    which = np.array([3, 8, 8, 20, 1])  # a batch that does not hold every class
    logits = rows(5, 5)
    weight = {"none": None, "balanced": compute_class_weight("balanced", classes=np.arange(5), y=labels)}
    weight = weight[weights] if isinstance(weights, str) else weights
    expected = F.cross_entropy(
        logits / 0.5, torch.from_numpy(labels[which]), None if weight is None else torch.tensor(weight, dtype=torch.float64),
        label_smoothing=smoothing,
    )  # fmt: skip
    torch.testing.assert_close(objective.loss(logits, rows(5, 5, 9), asked(which, labels)), expected)


def test_cross_entropy_trains_the_class_head():
    labels = np.array([0, 1, 2, 1])
    head = nn.Linear(3, 4, bias=False).double()
    inputs = rows(3, 3).float()
    objective = CrossEntropy()
    pairs = Pairs.of(np.arange(4), labels)
    objective.prepare(table(rows(4, 2)), table(inputs), pairs, None, lambda x: head(x.double()))
    z = rows(4, 4)
    loss = objective.loss(z, None, asked(np.arange(4), labels))
    expected = F.cross_entropy(z @ head(inputs.double()).T, torch.from_numpy(labels))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert head.weight.grad.abs().sum() > 0
    assert not list(objective.parameters())  # the head's weights stay the head's


def test_several_classes_share_the_target():
    objective = CrossEntropy(label_smoothing=0.1)
    pairs = Pairs.of([0, 0, 1, 2, 2, 2], [0, 2, 1, 0, 1, 3])
    objective.prepare(table(np.zeros((3, 2))), table(np.eye(4)), pairs, None, nn.Identity())
    target = torch.tensor([[0.5, 0, 0.5, 0], [0, 1, 0, 0], [1 / 3, 1 / 3, 0, 1 / 3]], dtype=torch.float64)
    logits = rows(3, 4)
    which = np.array([2, 0, 1])
    found = objective.loss(logits, None, Positives(3, rows=(which, np.array([0, 0, 1]))))
    torch.testing.assert_close(found, F.cross_entropy(logits, target[which], label_smoothing=0.1))


@given(seed=st.integers(0, 999), b=st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_cross_entropy_has_its_invariants(seed, b):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, 30)
    objective = classifier(labels, 4, weights="balanced", label_smoothing=0.2)
    which, z = random.integers(0, 30, b), rows(b, 4, seed)
    value = objective.loss(z, None, asked(which, labels))
    order = random.permutation(b)
    torch.testing.assert_close(objective.loss(z[order], None, asked(which[order], labels)), value)
    torch.testing.assert_close(objective.loss(z + 7.0, None, asked(which, labels)), value)  # softmax knows differences
    renamed = random.permutation(4)
    other = classifier(renamed[labels], 4, weights="balanced", label_smoothing=0.2)
    shuffled = z[:, np.argsort(renamed)]
    torch.testing.assert_close(other.loss(shuffled, None, asked(which, renamed[labels])), value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0}, "objective.temperature=0; expected above 0"),
        ({"label_smoothing": 1.0}, "from 0 to below 1"),
        ({"weights": "balance"}, "expected none, balanced or a list"),
    ],
)
def test_cross_entropy_refuses(arguments, message):
    with pytest.raises(BadRecipe, match=message):
        CrossEntropy(**arguments)


def test_cross_entropy_says_what_it_misses():
    labels = np.array([0, 1])
    with pytest.raises(BadRecipe, match="has 3 values; expected 2"):
        classifier(labels, 2, weights=[1.0, 1.0, 1.0])
    with pytest.raises(BadRecipe, match="none below 0"):
        classifier(labels, 2, weights=[1.0, -1.0])
    with pytest.raises(BadRecipe, match="set train.mixup=0"):
        classifier(labels, 2).loss(rows(2, 2), None, Positives(2))
    many = Embeddings(np.arange(50_001).astype(str), np.zeros((50_001, 1), np.float32), {})
    with pytest.raises(BadRecipe, match="50001 right items .* type: objective=infonce"):
        CrossEntropy().prepare(table(rows(2, 2)), many, Pairs.of([0], [0]), None, nn.Identity())


# --- soft targets ---------------------------------------------------------------------------


@pytest.fixture
def teacher(tmp_path):
    """A run folder with two linear heads, and the tables they are of."""
    from sensorium import heads
    from sensorium.heads.linear import Linear

    tables, modules = [], []
    for side, seed in (("left", 0), ("right", 1)):
        torch.manual_seed(seed)
        module = Linear(dim=4, preprocess="none")
        module.build(6, None)
        vectors = np.random.default_rng(seed).normal(size=(10, 6)).astype(np.float32)
        some = Embeddings(np.arange(10).astype(str), vectors, {"name": side})
        heads.save(module, tmp_path / "teacher" / side, "linear", some.fingerprint)
        tables.append(some)
        modules.append(module)
    return tmp_path / "teacher", tables, modules


def reference_distill(zl, zr, soft, positive, weight, temperature, teacher_temperature, both):
    """Cross-entropies row by row in float64; KL is what the soft one has above the teacher's entropy."""

    def one_way(own, soft, positive):
        log_q = own / temperature - np.log(np.exp(own / temperature).sum(1, keepdims=True))
        p = np.exp(soft / teacher_temperature)
        p /= p.sum(1, keepdims=True)
        hard = [-log_q[i, positive[i]].mean() for i in range(len(own))]
        divergence = [(p[i] * (np.log(p[i]) - log_q[i])).sum() for i in range(len(own))]
        return (1 - weight) * np.mean(hard) + weight * np.mean(divergence)

    rows_ = one_way(zl @ zr.T, soft, positive)
    return (rows_ + one_way(zr @ zl.T, soft.T, positive.T)) / 2 if both else rows_


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_distill_equals_its_formula(teacher, both, weight):
    from sensorium.objectives.distill import Distill

    folder, (left, right), heads_ = teacher
    objective = Distill(str(folder), weight, temperature=0.5, teacher_temperature=0.2, both=both)
    objective.prepare(left, right, Pairs.of(np.arange(10), np.arange(10)), None, None)
    which = np.array([3, 1, 4, 8, 9]), np.array([2, 7, 1, 8, 2])
    kind = np.array([0, 1, 0, 2, 3])
    positives = Positives(5, keys=(kind, kind), rows=which)
    zl, zr = F.normalize(rows(5, 3), dim=1), F.normalize(rows(5, 3, 1), dim=1)
    with torch.no_grad():
        seen = [
            h(torch.from_numpy(t.vectors[r])).double().numpy()
            for h, t, r in zip(heads_, (left, right), which, strict=True)
        ]
    soft = seen[0] @ seen[1].T
    expected = reference_distill(zl.numpy(), zr.numpy(), soft, kind[:, None] == kind, weight, 0.5, 0.2, both)
    assert objective.loss(zl, zr, positives).item() == pytest.approx(expected, abs=1e-6)


def test_distill_with_no_weight_is_infonce(teacher):
    from sensorium.objectives.distill import Distill
    from sensorium.objectives.infonce import InfoNCE

    folder, (left, right), _ = teacher
    objective = Distill(str(folder), 0.0)
    objective.prepare(left, right, Pairs.of(np.arange(10), np.arange(10)), None, None)
    zl, zr = F.normalize(rows(10, 3), dim=1), F.normalize(rows(10, 3, 1), dim=1)
    positives, kind = batch(10, 4)
    torch.testing.assert_close(
        objective.loss(zl, zr, positives), InfoNCE().loss(zl, zr, positives), rtol=1e-6, atol=1e-6
    )
    order = np.random.default_rng(0).permutation(10)
    soft = Distill(str(folder), 0.6)
    soft.prepare(left, right, Pairs.of(np.arange(10), np.arange(10)), None, None)
    shuffled = Positives(10, keys=(kind[order], kind[order]), rows=(order, order))
    torch.testing.assert_close(soft.loss(zl[order], zr[order], shuffled), soft.loss(zl, zr, positives))


def test_distill_is_least_when_the_teacher_is_copied(teacher):
    from sensorium.objectives.distill import Distill

    folder, (left, right), heads_ = teacher
    objective = Distill(str(folder), 1.0)
    objective.prepare(left, right, Pairs.of(np.arange(10), np.arange(10)), None, None)
    positives = Positives(10, rows=(np.arange(10), np.arange(10)))
    zl, zr = (h(torch.from_numpy(t.vectors)) for h, t in zip(heads_, (left, right), strict=True))
    assert objective.loss(zl, zr, positives).item() == pytest.approx(0, abs=1e-5)
    assert objective.loss(zl, zr.flip(0), positives).item() > 0.1


def test_distill_within_one_table_leaves_an_item_out_of_its_own_row(teacher):
    from sensorium.objectives.distill import Distill

    folder, (left, _), _ = teacher
    (folder / "right.json").unlink()  # a run over one table has one head
    objective = Distill(str(folder), 0.5)
    pairs = Pairs.of(np.arange(0, 10, 2), np.arange(1, 10, 2), same_table=True)
    objective.prepare(left, left, pairs, None, None)
    which = np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2])
    positives = BatchPositives(pairs).of(*which)
    z = F.normalize(rows(10, 3), dim=1).requires_grad_()
    value = objective.loss(z[which[0]], z[which[1]], positives)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(z.grad).all()
    # Each row sees its positive and the two negatives, never itself: as if the own columns were not there.
    soft = objective._teacher.similarity(which, z)
    expected = []
    for i in range(4):
        seen = [j for j in range(4) if which[1][j] != which[0][i]]
        log_q = (z[which[0][i]] @ z[which[1][seen]].T / 0.07).log_softmax(0)
        log_p = (soft[i, seen] / 0.07).log_softmax(0)
        expected.append(-0.5 * log_q[seen.index(i)] + 0.5 * (log_p.exp() * (log_p - log_q)).sum())
    rows_only = Distill(str(folder), 0.5, both=False)
    rows_only.prepare(left, left, pairs, None, None)
    found = rows_only.loss(z[which[0]], z[which[1]], positives)
    torch.testing.assert_close(found, torch.stack(expected).mean())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": 1.5}, "from 0 .the pairs alone. to 1"),
        ({"temperature": 0.0}, "temperatures are 0.0 and 0.07; expected above 0"),
    ],
)
def test_distill_refuses(arguments, message):
    from sensorium.objectives.distill import Distill

    with pytest.raises(BadRecipe, match=message):
        Distill("runs/x", **arguments)


def test_distill_says_what_it_misses(teacher, tmp_path):
    from sensorium.errors import Mismatch
    from sensorium.objectives.distill import Distill

    folder, (left, right), _ = teacher
    with pytest.raises(BadRecipe, match="no run at .*nowhere; train it first"):
        Distill(str(tmp_path / "nowhere")).prepare(left, right, None, None, None)
    with pytest.raises(Mismatch, match="left head"):
        Distill(str(folder)).prepare(right, right, None, None, None)
    with pytest.raises(BadRecipe, match="set train.mixup=0"):
        Distill(str(folder)).loss(rows(2, 2), rows(2, 2), Positives(2))


# --- all of them, in the loop ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("triplet", {"negatives": "random"}),
        ("triplet", {"negatives": "hard", "match": "kind"}),
        ("triplet", {}),
        ("cosine", {}),
        ("mse", {}),
        ("cross_entropy", {"temperature": 0.1, "weights": "balanced", "label_smoothing": 0.05}),
        ("distill", {"weight": 0.5}),
    ],
)
def test_training_learns_to_retrieve(name, arguments, tmp_path):
    from sensorium import fitting, heads
    from sensorium.heads.identity import Identity
    from sensorium.heads.linear import Linear

    random = np.random.default_rng(0)
    n, c = 240, 12
    centres = random.normal(size=(c, 10))
    label = random.integers(0, c, n)
    mixing = random.normal(size=(10, 16))
    left = Embeddings(np.arange(n).astype(str), (centres[label] @ mixing + random.normal(size=(n, 16))).astype(np.float32),
                      {"name": "l"}, {"kind": label % 3})  # fmt: skip
    right = Embeddings(np.arange(c).astype(str), centres.astype(np.float32), {"name": "r"}, {"kind": np.arange(c) % 3})
    split = np.array(["train", "train", "validation", "test"])[random.integers(0, 4, n)]
    unrelated = (label + 1 + random.integers(0, c - 1, n)) % c
    pairs = Pairs.of(np.tile(np.arange(n), 2), np.concatenate([label, unrelated]), np.repeat([1, 0], n),
                     group=np.tile(np.arange(n), 2), split=np.tile(split, 2))  # fmt: skip
    if name == "distill":
        torch.manual_seed(1)
        for side, module, some in (("left", Linear(), left), ("right", Identity(), right)):
            module.build(some.dim, None, 10)
            heads.save(module, tmp_path / side, type(module).__name__.lower(), some.fingerprint)
        arguments = {"teacher": str(tmp_path), **arguments, "weight": 0.2}
    objective = parts.make("objectives", {"name": name, **arguments})
    options = fitting.TrainOptions(epochs=30, batch=32, lr=0.02, precision="fp32")
    fitted = fitting.train(left, right, pairs, Linear(preprocess="none"), Identity(), objective, options, seed=0)
    losses = [event["loss"] for event in fitted.history]
    assert losses[-1] < 0.8 * losses[0]
    test = pairs.where("test", label=1)
    z = heads.apply(fitted.left_head, left.vectors, test.left) @ heads.apply(fitted.right_head, right.vectors).T
    assert (z.argmax(1) == test.right).mean() > 0.6  # chance is 1 in 12
