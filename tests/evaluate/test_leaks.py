"""The leak audit: what is a leak, what only looks like one, and what is done about it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate import duplicates, leaks
from sensorium.pairs import Pairs


def vectors(n, d=16, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def halves(n):
    return np.where(np.arange(n) < n // 2, "train", "test")


def one_to_one(n=40, **columns):
    return Pairs.of(np.arange(n), np.arange(n), split=columns.pop("split", halves(n)), **columns)


def test_clean_split_is_clean():
    report = leaks.audit(one_to_one(), vectors(40), vectors(40, seed=1))
    assert not report.leaky
    assert report.findings == ()
    assert report.enforce("refuse") is report
    assert report.to_dict()["stamp"] == ""


def test_captions_of_one_clip_on_both_sides():
    """Splitting over pairs instead of clips: the fault of many a caption benchmark."""
    clip = np.repeat(np.arange(20), 5)
    split = np.where(np.arange(100) % 5 == 0, "test", "train")
    report = leaks.audit(Pairs.of(clip, np.arange(100), split=split))
    assert report.leaky
    assert report.count("shared_group") == 20
    assert len(report.affected) == 20


def test_class_rows_are_shared_by_design():
    """Actors apart, eight class rows on both sides: no leak, but it is said."""
    clip, actor = np.arange(80), np.repeat(np.arange(10), 8)
    pairs = Pairs.of(clip, clip % 8, group=actor, split=np.where(actor < 7, "train", "test"))
    report = leaks.audit(pairs, vectors(80), vectors(8, seed=1))
    assert not report.leaky
    assert report.count("known_row", "right") == 8
    assert report.count("known_row", "left") == 0


def test_random_split_of_actors_leaks():
    clip, actor = np.arange(80), np.repeat(np.arange(10), 8)
    split = np.where(np.random.default_rng(0).random(80) < 0.7, "train", "test")
    report = leaks.audit(Pairs.of(clip, clip % 8, group=actor, split=split))
    assert report.leaky
    assert "evaluated groups are also in the training data" in report.findings[0].text


def test_the_same_clip_twice_with_the_same_class():
    left = vectors(80)
    left[79] = left[7] * 2 + 1e-4  # same direction, another loudness; both are class 7
    pairs = Pairs.of(np.arange(80), np.arange(80) % 8, group=np.arange(80) // 8, split=halves(80))
    report = leaks.audit(pairs, left, vectors(8, seed=1))
    assert report.leaky
    assert report.count("repeated_pair") == 1
    assert report.affected.tolist() == [79]
    assert report.findings[0].examples == (("row 79 ~ row 7", "row 7 ~ row 7"),)


def test_twin_with_another_partner_is_counted_not_stamped():
    """Latin A and Greek Alpha: the same picture, another name, code points declared as groups."""
    left = vectors(40)
    left[30] = left[3]
    pairs = one_to_one(group=[f"U+{i:04X}" for i in range(40)])
    ids = np.array([f"glyph{i}" for i in range(40)])
    report = leaks.audit(pairs, left, vectors(40, seed=1), left_ids=ids, right_ids=ids)
    assert not report.leaky
    assert report.count("twin", "left") == 1
    assert report.count("twin", "right") == 0
    assert report.findings[0].examples == (("glyph30", "glyph3"),)


def test_one_item_under_many_ids_without_groups():
    """A clip's vector repeated once per caption under fresh ids: inferred groups are not believed."""
    right = np.repeat(vectors(20, seed=1), 5, axis=0)
    split = np.where(np.arange(100) % 5 == 0, "test", "train")
    report = leaks.audit(one_to_one(100, split=split), vectors(100), right)
    assert report.leaky
    assert report.count("twin", "right") == 20
    assert "give one item one id" in report.findings[-1].text


def test_few_repeated_captions_are_language_not_a_leak():
    text = np.array([f"caption {i}" for i in range(200)])
    text[150] = text[3]
    report = leaks.audit(one_to_one(200), right_content=text)
    assert not report.leaky
    assert report.count("twin", "right") == 1


@pytest.mark.parametrize(("copies", "leaky"), [(5, False), (6, True), (90, True)])
def test_near_duplicates_leak_from_more_than_one_pair_in_twenty(copies, leaky):
    left = vectors(200)
    left[100 : 100 + copies] = left[:copies]
    report = leaks.audit(one_to_one(200), left)
    (finding,) = report.findings
    assert (finding.kind, finding.side, finding.count, finding.of) == ("twin", "left", copies, 100)
    assert report.leaky is finding.leaky is leaky
    assert report.affected.tolist() == (list(range(100, 100 + copies)) if leaky else [])
    assert (f"touching {copies}% of the evaluated pairs" in finding.text) is leaky
    assert finding.examples == tuple((f"row {100 + i}", f"row {i}") for i in range(5))


def test_judging_on_fitted_rows():
    report = leaks.audit(one_to_one(), split="train")
    assert report.leaky
    assert report.findings[0].kind == "fitted_rows"


def test_validation_is_compared_with_the_training_data_alone():
    pairs = one_to_one(60, split=np.repeat(["train", "validation", "test"], 20), group=np.arange(60))
    left, right = vectors(60), vectors(60, seed=1)
    clean = leaks.audit(pairs, left, right, split="validation")
    assert clean.to_dict()["seen"] == ["train"] and not clean.leaky and clean.findings == ()
    left[25], right[25] = left[3], right[3]
    report = leaks.audit(pairs, left, right, split="validation")
    assert report.leaky and report.affected.tolist() == [25] and report.count("repeated_pair") == 1
    assert leaks.audit(pairs, left, right).findings == (), "the test split has nothing of the other two"


def test_same_table_relation_has_no_direction():
    """Outfits: (a, b) fitted and (b, a) judged is one relation."""
    pairs = Pairs.of(
        [0, 2, 1, 4], [1, 3, 0, 5], group=[0, 1, 2, 3], split=["train", "train", "test", "test"], same_table=True
    )
    report = leaks.audit(pairs, vectors(6))
    assert report.count("repeated_pair") == 1
    assert report.affected.tolist() == [2]


@pytest.mark.parametrize("known", [0, 1, 2, 3])
@pytest.mark.parametrize("evaluated", [4, 5])
def test_near_duplicates_within_one_table_are_found_at_either_end(known, evaluated):
    """Outfits share no garment, but one of the evaluated is that of a fitted one under another id."""
    table = vectors(8)
    table[evaluated] = table[known]
    split = ["train", "train", "test", "test"]
    pairs = Pairs.of([0, 2, 4, 6], [1, 3, 5, 7], group=[0, 1, 2, 3], split=split, same_table=True)
    report = leaks.audit(pairs, table)
    side = "left" if evaluated == 4 else "right"
    assert report.count("twin") == report.count("twin", side) == 1
    (found,) = [finding for finding in report.findings if finding.kind == "twin"]
    assert found.examples == ((f"row {evaluated}", f"row {known}"),)
    assert leaks.audit(pairs, vectors(8)).findings == ()
    again = Pairs.of([0, 2, known, 6], [1, 3, 5, 7], group=[0, 1, 2, 3], split=split, same_table=True)
    assert leaks.audit(again, vectors(8)).count("known_row", "left") == 1


def written_out(pairs, content, seen):
    """What an audit finds, in plain Python: {(kind, side): (count, of)}, and the affected pairs."""
    rows = range(len(pairs))
    ends = {"left": pairs.left.tolist(), "right": pairs.right.tolist()}
    evaluated = [i for i in rows if pairs.label[i] == 1 and pairs.split[i] == "test"]
    known = [i for i in rows if pairs.label[i] == 1 and pairs.split[i] in seen]
    what = {side: [int(content[side][row]) for row in ends[side]] for side in ends}

    def both(i):
        pair = what["left"][i], what["right"][i]
        return tuple(sorted(pair)) if pairs.same_table else pair

    found, affected = {}, set()
    groups = {pairs.group[i] for i in evaluated} & {pairs.group[i] for i in known}
    if groups:
        found["shared_group", "pair"] = len(groups), len({pairs.group[i] for i in evaluated})
        affected |= {i for i in evaluated if pairs.group[i] in groups}
    repeated = {i for i in evaluated if both(i) in set(map(both, known))}
    if repeated:
        found["repeated_pair", "pair"] = len(repeated), len(evaluated)
        affected |= repeated
    for side in ("left", "right"):
        own, from_sides = {ends[side][i] for i in evaluated}, ("left", "right") if pairs.same_table else (side,)
        fitted = {ends[one][i] for one in from_sides for i in known}
        alike = {int(content[side][row]) for row in fitted}
        twins = {row for row in own - fitted if int(content[side][row]) in alike}
        if own & fitted:
            found["known_row", side] = len(own & fitted), len(own)
        if twins:
            found["twin", side] = len(twins), len(own)
        touched = {i for i in evaluated if ends[side][i] in twins} - repeated
        if pairs.group_names is None and len(touched) > 0.05 * len(evaluated):
            affected |= touched
    return found, sorted(affected)


@pytest.mark.parametrize("same_table", [False, True])
@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(3, 14), st.booleans(), st.sampled_from([("train",), ("train", "validation")])
)
def test_an_audit_equals_what_plain_python_finds(same_table, seed, n, named, seen):
    random = np.random.default_rng(seed)
    edges = random.integers(0, n, (random.integers(2, 20), 2))
    edges = np.unique(edges[edges[:, 0] != edges[:, 1]] if same_table else edges, axis=0)
    if not len(edges):
        return
    split = random.choice(["train", "validation", "test"], len(edges))
    label = (random.random(len(edges)) < 0.85).astype(int)
    split[0], label[0] = "test", 1
    group = [f"g{i}" for i in random.integers(0, 9, len(edges))] if named else None
    pairs = Pairs.of(*edges.T, label=label, split=split, group=group, same_table=same_table)
    content = {side: random.integers(0, 2 * n, n).astype(np.uint64) for side in ("left", "right")}
    if same_table:
        content["right"] = content["left"]
    report = leaks.audit(pairs, left_content=content["left"], right_content=content["right"], seen=seen)
    found, affected = written_out(pairs, content, seen)
    assert {(one.kind, one.side): (one.count, one.of) for one in report.findings} == found
    assert report.affected.tolist() == affected and report.leaky == bool(affected)
    for one in report.findings:
        assert 0 < len(one.examples) <= min(5, one.count) and f"{one.count} of {one.of} evaluated" in one.text
    assert len(leaks.without(pairs, report)) == len(pairs) - len(affected)


def test_text_hash_on_both_ends():
    text = np.array(["a dog barks", "rain"] * 20)
    pairs = one_to_one(40, group=np.arange(40))
    report = leaks.audit(pairs, left_content=text, right_content=text)
    assert report.count("repeated_pair") == 20


def test_policies():
    report = leaks.audit(one_to_one(), split="train")
    with pytest.raises(BadData, match=r"the train split leaks: .*evaluate\.leaks=stamp"):
        report.enforce("REFUSE".lower())  # as it is read from a recipe: equal, but not the same object
    assert report.enforce("stamp") is report
    with pytest.raises(BadRecipe, match=r"evaluate\.leaks='stmp'; did you mean 'stamp'"):
        report.enforce("stmp")
    with pytest.raises(BadData, match="no related pair to audit"):
        leaks.audit(one_to_one(), split="validation")


def test_stamp_marks_the_rows_of_the_split_only():
    report = leaks.audit(one_to_one(), split="train")
    rows = report.stamp([{"measure": "hit@1", "split": name} for name in ("train", "test", "validation", "", "zero")])
    assert [row.get("leaky", False) for row in rows] == [True, False, False, False, False]
    assert report.stamp([{"measure": "hit@1"}]) == [{"measure": "hit@1", "leaky": True}]
    json.dumps(report.to_dict(), allow_nan=False)


def test_without_drops_what_leaks():
    clip = np.repeat(np.arange(20), 5)
    split = np.where((np.arange(100) % 5 == 0) | (clip >= 15), "test", "train")
    pairs = Pairs.of(clip, np.arange(100), split=split)
    rest = leaks.without(pairs, leaks.audit(pairs))
    assert set(rest.where("test").left.tolist()) == set(range(15, 20))
    assert not leaks.audit(rest).leaky


def test_narrow_cone_is_centred_first():
    """Raw landmarks: every cosine is near 1, and still only true copies are twins."""
    left = vectors(60, 8) * 0.01 + 10
    assert (left[0] @ left[1]) / (np.linalg.norm(left[0]) * np.linalg.norm(left[1])) > duplicates.COSINE
    left[50] = left[5]
    report = leaks.audit(one_to_one(60, group=np.arange(60)), left)
    assert report.count("twin", "left") == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 30), st.integers(0, 8))
def test_every_row_with_a_twin_is_found(seed, n, m, copies):
    """Against the whole cosine matrix."""
    random = np.random.default_rng(seed)
    table = vectors(n + m, 6, seed)
    for _ in range(copies):
        i, j = random.integers(0, n + m, 2)
        table[i] = table[j] * random.uniform(0.5, 2) + random.standard_normal(6) * random.choice([0, 1e-4, 0.05])
    order = random.permutation(n + m)
    a, b = np.sort(order[:n]), np.sort(order[n:])
    found = duplicates.near(table, a, b)
    unit = table.astype(np.float64) / np.linalg.norm(table.astype(np.float64), axis=1, keepdims=True)
    over = unit[a] @ unit[b].T > duplicates.COSINE
    assert set(found[0].tolist()) == set(a[over.any(1)].tolist())
    assert set(found[1].tolist()) == set(b[over.any(0)].tolist())


def test_twins_are_joined_through_chains():
    edges = np.array([0, 1, 5]), np.array([1, 2, 4])
    code = duplicates.classes(7, edges, np.array(list("abcdefa")))
    assert code[0] == code[1] == code[2] == code[6]
    assert code[5] == code[4] != code[3]


def test_text_content_ignores_case_and_spaces():
    a, b, c = duplicates.content_hashes(["A dog  barks", "a dog barks ", "a cat"], "text")
    assert a == b != c
    pixels = [np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.uint8), np.ones((3, 3), np.uint8)]
    a, b, c = duplicates.content_hashes(pixels, "image")
    assert a == b != c
    a, b, c = duplicates.content_hashes(np.array([[1.0, 2], [1, 2], [2, 1]]), "vector")
    assert a == b != c
    assert duplicates.content_hashes(["absent.wav"], "audio") is None


def test_files_with_the_same_bytes_are_twins_whatever_they_are_called(tmp_path):
    random = np.random.default_rng(0)
    long, other = bytearray(random.bytes(20_000)), bytearray(20_000)
    other[:] = long
    other[10_000] ^= 1  # the same size, beginning and end: only reading all of it tells
    files = {"a.wav": long, "b.flac": other, "c.wav": long, "d.wav": b"", "e.wav": b"", "f.wav": b"short"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    found = duplicates.content_hashes([str(tmp_path / name) for name in files], "audio")
    alike = found[:, None] == found[None]
    expected = np.array([[x == y for y in files.values()] for x in files.values()])
    np.testing.assert_array_equal(alike, expected)
