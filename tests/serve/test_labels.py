"""Labels of hits: kept durably, merged, the next queries, feedback, refit before and after, accept and undo."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from served import client_of, problem, until

import sensorium
from sensorium import pipeline
from sensorium.errors import BadData, BadRecipe, Corrupt
from sensorium.numerics import unit
from sensorium.search import related
from sensorium.search.run import open as open_run
from sensorium.serve.labels import accepting, choosing, journal, merged
from sensorium.serve.labels.feedback import rocchio
from sensorium.serve.labels.journal import Asked, Journal, Label
from sensorium.serve.labels.refit import refit

pytestmark = pytest.mark.xdist_group("serve")


def thumb(query="q", item="a", label=1, annotator="ann", **more):
    return Label(Asked("left", id=query), "right", item, label, annotator, **more)


def test_labels_are_read_as_they_were_written(tmp_path):
    kept = Journal(tmp_path / "run")
    assert kept.read() == []
    vector = np.array([0.5, -1.25], np.float32)
    labels = [thumb(), Label(Asked("left", text="a ü"), "right", "b", 0, "bea", "s1", 12.5),
              Label(Asked("right", vector=journal.packed(vector)), "left", "c", None)]  # fmt: skip
    kept.append(labels[:1])
    kept.append(labels[1:])
    assert kept.read() == labels and kept.path == tmp_path / "labels" / "run.jsonl"
    np.testing.assert_array_equal(kept.read()[2].query.raw, vector)
    assert [one.query.key.split(":")[1] for one in labels] == ["id", "text", "vector"]


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_line_that_a_kill_cut_short_is_left_out_and_cut_off(tmp_path, cut):
    kept = Journal(tmp_path / "run")
    kept.append([thumb(item="a")])
    whole = kept.path.read_bytes()
    kept.path.write_bytes(whole + whole[:-1][:cut])
    assert [one.item for one in kept.read()] == ["a"]
    kept.append([thumb(item="b")])
    assert [one.item for one in kept.read()] == ["a", "b"]


@pytest.mark.parametrize("line", ["nonsense", "{}", '{"format": 2}', "[1]"])
def test_damage_that_no_kill_leaves_is_named(tmp_path, line):
    kept = Journal(tmp_path / "run")
    kept.append([thumb()])
    kept.path.write_text(kept.path.read_text() + line + "\n")
    with pytest.raises(Corrupt, match="line 2 is no label; restore the file"):
        kept.read()


def test_kill_loses_no_label_that_was_acknowledged(tmp_path):
    program = (
        "import sys; from sensorium.serve.labels.journal import *\n"
        f"kept = Journal({str(tmp_path / 'run')!r})\n"
        "for n in range(10**6):\n"
        "    kept.append([Label(Asked('left', id=str(n)), 'right', 'x' * 500, 1)]); print(n, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    for _ in range(20):
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    last = max([last, *map(int, process.stdout.read().split("\n")[:-1])])
    process.wait()
    process.stdout.close()
    assert [one.query.id for one in Journal(tmp_path / "run").read()][: last + 1] == [str(n) for n in range(last + 1)]


def test_the_last_word_of_each_and_the_majority_of_all():
    labels = [thumb(item="a"), thumb(item="a", label=0), thumb(item="b"), thumb(item="b", label=None),
              thumb(item="c", annotator="x"), thumb(item="c", annotator="y", label=0),
              thumb(item="d", annotator="x"), thumb(item="d", annotator="y"), thumb(item="d", annotator="z", label=0)]  # fmt: skip
    pairs = {pair.item: pair for pair in merged.merge(labels)}
    assert {item: pair.label for item, pair in pairs.items()} == {"a": 0, "c": None, "d": 1}
    assert merged.counts([*pairs.values()]) == {"labels": 3, "up": 1, "down": 1, "queries": 1, "conflicts": 2}
    assert [pair.item for pair in merged.usable([*pairs.values()])] == ["a", "d"]
    assert merged.as_csv([pairs["d"]]).splitlines() == [",".join(merged.COLUMNS), "left,q,,right,d,1,left:id:q,3,2"]


def test_feedback_is_rocchios_formula():
    rng = np.random.default_rng(0)
    q, up, down = rng.standard_normal(8), rng.standard_normal((3, 8)), rng.standard_normal((2, 8))
    own = [row / np.linalg.norm(row) for row in (q, *up, *down)]
    expected = own[0] + 0.75 * np.mean(own[1:4], 0) - 0.25 * np.mean(own[4:], 0)
    np.testing.assert_allclose(rocchio(q, up, down), expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_allclose(rocchio(q, up[:0], down[:0]), own[0], atol=1e-6)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    """(run, X, class of each item): items of one table, of which classes 4 and 5 are in no pair of the fit."""
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(6), 40)
    centres = rng.standard_normal((6, 24)) * np.r_[np.full(6, 0.5), np.full(18, 0.15)]
    X = (centres[of] + 0.35 * rng.standard_normal((240, 24))).astype(np.float32)
    pairs = [
        (i, j)
        for one in range(4)
        for i in np.flatnonzero(of == one)
        for j in (i + 1, i + 7)
        if j < 240 and of[j] == one
    ]
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    out = tmp_path_factory.mktemp("labels") / "blobs"
    sensorium.fit(X, pairs=(left, right), objective="cca", out=out, quiet=True)
    return out, X, of


@pytest.fixture
def blobs_copy(blobs, tmp_path):
    folder, _, of = blobs
    shutil.copytree(folder.parent, tmp_path / "runs")
    return tmp_path / "runs" / "blobs", of


def labelled(run, of, queries, k=4):
    """What an annotator who knows the classes says of the first hits of queries."""
    pairs = []
    for query in queries:
        for hit in run.search(id=str(query), k=k):
            fits = int(of[int(hit["id"])] == of[query])
            pairs.append(merged.Pair(Asked("left", id=str(query)), "left", hit["id"], fits, 1, 1))
    return pairs


def test_the_next_queries_are_uncertain_unlabelled_and_differ(blobs):
    run = open_run(blobs[0])
    known = {str(i) for i in range(0, 240, 2)}
    chosen = choosing.choose(run, "left", "left", 6, known)
    ids = [id for id, _ in chosen]
    assert len(set(ids)) == 6 and not known & set(ids)
    assert chosen == choosing.choose(run, "left", "left", 6, known), "the same again"
    every = dict(choosing.choose(run, "left", "left", 120, known))
    assert np.mean([doubt for _, doubt in chosen]) > np.mean([*every.values()])
    z = unit(np.asarray(run.index("left").vectors(run.places("left").rows(ids))))
    most = sorted(every, key=every.get, reverse=True)[:6]
    plain = unit(np.asarray(run.index("left").vectors(run.places("left").rows(most))))
    assert (z @ z.T).mean() <= (plain @ plain.T).mean() + 1e-6, "farther apart than the most uncertain ones alone"
    assert choosing.choose(run, "left", "left", 3, {str(i) for i in range(240)}) == []


def test_a_refit_learns_what_was_labelled_and_loses_nothing(blobs):
    folder, X, of = blobs
    run = open_run(folder)
    before = {name: value.clone() for name, value in run.head("left").state_dict().items()}
    found = refit(run, labelled(run, of, [*range(160, 184), *range(200, 224)]))
    assert (found.queries, found.labels) == (48, 192) and 8 <= found.held_out <= 24
    by = {(one.queries, one.measure): one for one in found.measured}
    order = by["labelled", "fitting above unfitting"]
    assert order.after > order.before and order.n <= found.held_out
    assert by["validation", "hit@10"].after >= by["validation", "hit@10"].before - 0.1
    for one in found.measured:
        assert one.low <= one.after - one.before <= one.high
    same = run.head("left").state_dict()
    assert all((same[name] == before[name]).all() for name in before), "the run's own head is as it was"
    rest = np.r_[184:200, 224:240]  # items of the new classes that were never a query
    scores = [precision(head, X, of, rest) for head in (run.head("left"), found.heads["left"])]
    assert scores[1] > scores[0] + 0.03, scores


def precision(head, X, of, rows):
    """Share of the ten nearest items that are of the query's class."""
    from sensorium import heads

    z = unit(heads.apply(head, X))
    scores = z[rows] @ z.T
    scores[np.arange(len(rows)), rows] = -np.inf
    return float((of[np.argsort(-scores, 1)[:, :10]] == of[rows][:, None]).mean())


def test_labelled_queries_of_the_test_split_are_counted(blobs):
    run = open_run(blobs[0])
    left, _, split = related.open(run.folder)
    test, train = (np.unique(left[split == name])[:8].tolist() for name in ("test", "train"))
    mine = [int(id) for id in [*test, *(one for one in train if one not in left[split == "test"])]]
    found = refit(run, labelled(run, blobs[2], mine))
    assert 0 < found.of_test <= len(test) and found.about()["of_test"] == found.of_test
    about = {**found.about(), "queries": 9}
    assert f"of 9 queries; {found.of_test} of them are items of the test split" in accepting._note(about)


def test_what_cannot_be_refitted_is_said(blobs, tmp_path):
    run = open_run(blobs[0])
    with pytest.raises(BadData, match="0 labelled queries have an item that fits; a refit takes at least 6"):
        refit(run, [])
    with pytest.raises(BadData, match="2 labelled queries"):
        refit(run, labelled(run, blobs[2], [0, 1]))
    from sensorium.heads.identity import Identity

    head = Identity()
    head.build(24)
    run._heads["left"] = head
    with pytest.raises(BadRecipe, match="heads of this run have no weights to fit on"):
        refit(run, labelled(open_run(blobs[0]), blobs[2], range(20)))


def test_accept_replaces_the_run_and_undo_brings_it_back(blobs_copy):
    folder, of = blobs_copy
    run = open_run(folder)
    sensorium.open(folder).add(np.ones((1, 24), np.float32), ids=["new"], side="left")
    run = open_run(folder)
    first = run.search(id="165", k=5)
    fitted = refit(run, labelled(run, of, [*range(160, 175), *range(200, 215)]))
    made = {name: (folder / name).read_bytes() for name in accepting._measured(folder)}
    assert {"per_query.npz", "trust.json"} <= set(made)
    accepting.accept(folder, fitted.heads, fitted.about())
    assert accepting._measured(folder) == [], "measures of other heads"
    after = sensorium.open(folder)
    assert after.metrics["results"] == [] and after.metrics["refit"]["queries"] == 30
    assert "sensorium evaluate RUN" in after.metrics["notes"][-1] and accepting.can_undo(folder)
    assert after.search(id="165", k=5).scores != first.scores and after.stale() == []
    assert "new" in after.places("left"), "what was added live stays"
    z = after.project("left", np.ones((1, 24), np.float32))
    np.testing.assert_allclose(unit(after.vector_of("left", "new")[None]), unit(z), atol=1e-5)
    pipeline.evaluate_again(folder, quiet=True)
    assert accepting._measured(folder) and sensorium.open(folder).metrics["results"]
    accepting.undo(folder)
    assert {name: (folder / name).read_bytes() for name in accepting._measured(folder)} == made
    again = sensorium.open(folder)
    assert again.search(id="165", k=5).ids == first.ids
    assert again.metrics["results"] == run.metrics["results"] and not accepting.can_undo(folder)
    with pytest.raises(BadData, match="has no refit to undo"):
        accepting.undo(folder)


def test_over_http_from_thumbs_to_an_accepted_refit(blobs_copy):
    folder, of = blobs_copy
    with client_of([folder], label=True, reload_seconds=0.1) as client:
        assert client.get("/runs").json()["labelling"] is True
        asked = client.get("/labels/next", params={"n": 5}).json()
        assert asked["side"] == "left" and len(asked["items"]) == 5 and "uncertainty" in asked["items"][0]
        for query in [*range(160, 170), *range(200, 210)]:
            hits = client.post("/search", json={"id": str(query), "k": 4}).json()["hits"]
            labels = [{"item": one["id"], "label": int(of[int(one["id"])] == of[query])} for one in hits]
            body = {"search": {"id": str(query)}, "labels": labels, "annotator": "ann"}
            assert client.post("/labels", json=body).status_code == 201
        told = client.get("/labels").json()
        assert told["queries"] == 20 and told["labels"] == 80 and told["conflicts"] == 0
        assert told["pairs"][0]["group"] == "left:id:160"
        assert client.get("/labels", params={"format": "csv"}).text.count("\n") == 81
        assert client.get("/labels/refit").json()["state"] == "idle"
        assert problem(client.post("/labels/refit/undo"), 422) == "there is no refit to undo"
        assert "no refit to accept" in problem(client.post("/labels/refit/accept"), 422)
        assert client.post("/labels/refit").status_code == 202
        until(lambda: client.get("/labels/refit").json()["state"] not in ("fitting",))
        state = client.get("/labels/refit").json()
        assert state["state"] == "fitted" and state["result"]["measured"][0]["measure"] == "hit@10", state
        before = client.post("/search", json={"id": "165", "k": 4}).json()["hits"]
        assert client.post("/labels/refit/accept").status_code == 202
        until(lambda: client.get("/labels/refit").json()["state"] == "accepted")
        until(
            lambda: client.post("/search", json={"id": "165", "k": 4}).json()["hits"][0]["score"] != before[0]["score"]
        )
        until(lambda: client.get("/labels/refit").json()["measures"] not in ("", "measuring"))
        state = client.get("/labels/refit").json()
        assert (state["measures"], state["measures_detail"]) == ("measured", "") and state["can_undo"]
        until(lambda: client.get("/runs/blobs").json()["metrics"]["results"])
        metrics = client.get("/runs/blobs").json()["metrics"]
        seen = metrics["refit"]["of_test"]
        assert metrics["notes"][-1].startswith("The heads were fitted on with labels of 20 queries")
        assert f"{seen} of them are items of the test split" in metrics["notes"][-1] or not seen
        assert client.post("/labels/refit/undo").status_code == 202
        until(lambda: client.post("/search", json={"id": "165", "k": 4}).json()["hits"] == before)


def test_feedback_moves_the_query_at_once(client, symbols, tmp_path):
    shutil.copytree(symbols.parent, tmp_path / "runs")
    with client_of([tmp_path / "runs" / symbols.name], label=True) as labelling:
        search = {"text": "arrow", "k": 8}
        plain = labelling.post("/search", json=search).json()["hits"]
        same = labelling.post("/labels/search", json={"search": search}).json()["hits"]
        assert [one["id"] for one in same] == [one["id"] for one in plain]
        up, down = plain[5]["id"], plain[0]["id"]
        moved = labelling.post("/labels/search", json={"search": search, "up": [up], "down": [down]}).json()["hits"]
        ranks = {one["id"]: one["rank"] for one in moved}
        assert ranks[up] < 6 and ranks.get(down, 99) > 1 and "probability" not in moved[0]
        body = {"search": search, "labels": [{"item": up, "label": 1}], "annotator": "ann"}
        assert labelling.post("/labels", json=body).json()["up"] == 1
        kept = Journal(tmp_path / "runs" / symbols.name).read()[0]
        assert kept.query.text == "arrow" and len(kept.query.raw) == open_run(symbols).head("right").dim_in
        wrong = {"search": search, "labels": [{"item": "nothing", "label": 1}]}
        assert problem(labelling.post("/labels", json=wrong), 404) == "no item 'nothing' on the image side"
        wrong = {"search": {"queries": [search | {"k": 1}]}, "labels": [{"item": up, "label": 1}]}
        problem(labelling.post("/labels", json=wrong), 422)
        both = {
            "search": {"queries": [{"text": "a"}, {"text": "b"}], "to": "left"},
            "labels": [{"item": up, "label": 1}],
        }
        assert "several inputs" in problem(labelling.post("/labels", json=both), 422)
        problem(labelling.post("/labels", json={"search": search, "labels": [{"item": up, "label": 2}]}), 422)
        space = {"search": search | {"space": "encoder"}}
        assert "shared space" in problem(labelling.post("/labels/search", json=space), 422)
        assert "/labels" in labelling.get("/openapi.json").json()["paths"]


def test_without_the_option_there_are_no_labels(client):
    assert client.get("/runs").json()["labelling"] is False
    assert client.get("/labels").status_code == 404 and client.post("/labels", json={}).status_code in (404, 405)
    assert "/labels" not in client.get("/openapi.json").json()["paths"]


def test_labels_need_the_token(symbols):
    with client_of([symbols], label=True, token="correct horse battery") as client:
        problem(client.get("/labels"), 401)
        problem(client.post("/labels", json={}), 401)
