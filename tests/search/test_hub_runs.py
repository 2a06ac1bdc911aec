"""Runs as models of a Hub on this machine: pushed, pulled, opened from the cache; cards, checks, and what is refused."""

import json
import re
from pathlib import Path

import pytest
import small_run
from fake_hub import TOKEN
from hub_here import fake, turned  # noqa: F401  a fixture

import sensorium
from sensorium import integrity, io
from sensorium.errors import BadData, BadRecipe, Corrupt, HubError, Untrusted
from sensorium.search import hub_runs

NAME = "me/small"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small run, made once and not changed."""
    return small_run.make(tmp_path_factory.mktemp("runs") / "small").folder


def push(run, name=NAME, **more):
    return hub_runs.push(run, name, progress=False, **more)


def pull(out, name=NAME, **more):
    return hub_runs.pull(name, out, progress=False, **more)


def hits(run):
    return [(hit["id"], round(hit["score"], 5)) for hit in run.search(id=str(run.index("left").table.ids[3]), k=4)]


def test_pushed_pulled_and_opened_it_answers_as_before(fake, run, tmp_path):  # noqa: F811
    done = push(run, private=True)
    assert done["repo"] == NAME and done["media"] > 0 and fake.repository(NAME).private
    there = pull(tmp_path / "there")
    assert there["code"] == [] and integrity.problems(tmp_path / "there") == []
    wanted = hits(sensorium.open(run))
    assert hits(sensorium.open(tmp_path / "there")) == wanted
    assert hits(sensorium.from_pretrained(NAME, progress=False)) == wanted
    assert not list(tmp_path.glob(".*")) and not list(run.parent.glob(".tmp*"))


@pytest.mark.slow
def test_a_second_push_sends_nothing_and_a_changed_run_what_changed(fake, run, tmp_path):  # noqa: F811
    push(run)
    history, sent = fake.repository(NAME).history, len(fake.received)
    assert push(run)["files"] == 0 and len(history) == 2 and len(fake.received) == sent
    (other := small_run.make(tmp_path / "small", "objective=cca")).folder.joinpath("extra.json").write_text("{}")
    push(other.folder)
    assert len(history) == 3 and "extra.json" in fake.files(NAME)
    (other.folder / "extra.json").unlink()
    push(other.folder)
    assert "extra.json" not in fake.files(NAME), "what the run no longer has is not there any more"
    pull(tmp_path / "there")
    assert sensorium.open(tmp_path / "there").recipe.hash == other.recipe.hash


def test_the_card_says_numbers_with_intervals_data_licence_and_how_to_load(fake, run):  # noqa: F811
    from huggingface_hub import ModelCard

    push(run, licence="apache-2.0")
    text = fake.files(NAME)["README.md"].decode()
    assert fake.cards[-1] == {"repoType": "model", "content": text}
    data = ModelCard(text).data
    assert (data.license, data.library_name, data.model_name) == ("apache-2.0", "sensorium", "small")
    metrics = io.read_json(run / "metrics.json")
    known = {(r.metric_name, r.dataset_split): r for r in data.eval_results}
    assert len(known) == len(metrics["results"])
    for row in metrics["results"]:
        arrow = {"left->right": "image → text", "right->left": "text → image"}[row["direction"]]
        told = known[f"{arrow} {row['measure']}", row["split"]]
        assert told.metric_value == round(row["value"], 6) and told.metric_type == row["measure"]
        assert told.metric_args == {"low": round(row["low"], 6), "high": round(row["high"], 6), "level": 0.95,
                                    "queries": row["n_queries"], "candidates": row["n_candidates"]}  # fmt: skip
    assert ModelCard(str(ModelCard(text))).data.to_dict() == data.to_dict(), "read and written, it is the same"
    for line in ('sensorium.from_pretrained("me/small")', "sensorium pull me/small --out runs/small", "95% interval",
                 "- Data set: `glyphs`", "- Licence of heads and index: apache-2.0.", "small copies"):  # fmt: skip
        assert line in text


def test_a_leaky_number_is_marked_in_the_front_matter(run, monkeypatch):
    pytest.importorskip("huggingface_hub")
    from sensorium.evaluate import hub_card

    metrics = io.read_json(run / "metrics.json")
    metrics["results"][0] |= {"leaky": True, "degenerate": True}
    first = next(iter(hub_card.results(metrics, {"data": {"name": "glyphs"}})))
    assert first.metric_name.endswith("(LEAKY)") and first.metric_args["leaky"] and "low" not in first.metric_args


def test_the_owners_own_card_stays_and_does_not_stop_a_pull(fake, run, tmp_path):  # noqa: F811
    push(run)
    fake.put(NAME, {"README.md": b"# My words\n", "LICENSE": b"mine"})
    pull(tmp_path / "one")
    assert (tmp_path / "one" / "README.md").read_text("utf-8") == "# My words\n"
    assert integrity.problems(tmp_path / "one") == []
    push(run)
    pull(tmp_path / "two")
    assert (tmp_path / "two" / "README.md").read_text("utf-8") == "# My words\n"


def test_no_folder_and_no_token_of_this_machine_is_sent(fake, run):  # noqa: F811
    push(run)
    for name, content in fake.files(NAME).items():
        assert str(run.parent).encode() not in content, name
        assert TOKEN.encode() not in content, name


def test_media_stay_here_where_asked(fake, run, tmp_path):  # noqa: F811
    push(run, with_media=False)
    assert not any(path.startswith("media/") for path in fake.files(NAME))
    assert "small copies" not in fake.files(NAME)["README.md"].decode()
    pull(tmp_path / "there")
    assert hits(sensorium.open(tmp_path / "there")) == hits(sensorium.open(run))


def test_changes_of_an_opened_run_do_not_reach_the_cache(fake, run, tmp_path):  # noqa: F811
    push(run)
    one = sensorium.from_pretrained(NAME, progress=False)
    one.remove([one.index("right").table.ids[0]], side="right")
    saved = one.save(tmp_path / "saved")
    two = sensorium.from_pretrained(NAME, progress=False)
    assert len(two.index("right")) == len(one.index("right")) + 1 == len(saved.index("right")) + 1
    assert not any(path.is_symlink() for path in saved.folder.rglob("*"))
    home = one.folder
    del one, saved
    assert not home.exists(), "the copy ends with the run"


def test_the_cache_is_enough_without_a_connection(fake, run, monkeypatch):  # noqa: F811
    from huggingface_hub import constants

    push(run)
    first = fake.repository(NAME).refs["main"]
    wanted = hits(sensorium.from_pretrained(NAME, progress=False))
    before = len([path for path in fake.asked if "/resolve/" in path])
    assert hits(sensorium.from_pretrained(NAME, revision=first, progress=False)) == wanted
    assert len([path for path in fake.asked if "/resolve/" in path]) == before, "nothing is downloaded twice"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hits(sensorium.from_pretrained(NAME, progress=False)) == wanted
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        sensorium.from_pretrained("me/never-seen", progress=False)


def test_a_damaged_cache_is_refused(fake, run):  # noqa: F811
    push(run)
    sensorium.from_pretrained(NAME, progress=False)
    from huggingface_hub import constants

    path = next(Path(constants.HF_HUB_CACHE).rglob("left.safetensors")).resolve()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Corrupt, match=r"me/small: left.safetensors is not what its list says"):
        sensorium.from_pretrained(NAME, progress=False)


def test_what_is_not_ours_is_refused_by_what_it_holds(fake, run, tmp_path):  # noqa: F811
    fake.put("me/bert", {"config.json": b"{}", "model.safetensors": b"x", "pytorch_model.bin": b"\x80\x04."})
    said = (
        "me/bert is no run of sensorium: it holds config.json, model.safetensors, pytorch_model.bin, and no pack.json"
    )
    with pytest.raises(BadData, match=re.escape(said)):
        pull(tmp_path / "bert", "me/bert")
    with pytest.raises(BadData, match="is no run of sensorium: it holds .*expected what was pushed by sensorium"):
        sensorium.from_pretrained("me/bert", progress=False)
    with pytest.raises(BadRecipe, match="me/bert holds other files, such as config.json, and no run; choose another"):
        push(run, "me/bert")
    fake.put("me/npm", {"pack.json": b'{"format": 9}'})
    for call in (lambda: pull(tmp_path / "npm", "me/npm"), lambda: sensorium.from_pretrained("me/npm", progress=False)):
        with pytest.raises(BadData, match="holds a pack.json that lists no run of sensorium of format 1"):
            call()
    assert not any(path.endswith((".bin", "model.safetensors")) for path in fake.asked), "nothing of it is fetched"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def listed(fake, change):  # noqa: F811
    manifest = json.loads(fake.files(NAME)["pack.json"])
    change(manifest["files"])
    fake.put(NAME, {"pack.json": json.dumps(manifest).encode()})


@pytest.mark.parametrize("name", ["../escaped.json", "/tmp/escaped.json", "a/../../escaped", "c:\\x", ".ssh/config"])
def test_a_list_that_leads_out_of_the_folder_is_refused(fake, run, tmp_path, name):  # noqa: F811
    push(run)
    listed(fake, lambda files: files.update({name: {"bytes": 1, "sha256": "0" * 64}}))
    for call in (lambda: pull(tmp_path / "there"), lambda: sensorium.from_pretrained(NAME, progress=False)):
        with pytest.raises(Corrupt, match="is no file inside of a run; do not use it"):
            call()
    assert not (tmp_path / "there").exists()


def test_a_run_that_was_changed_there_is_refused(fake, run, tmp_path):  # noqa: F811
    push(run)
    content = fake.files(NAME)["left.safetensors"]
    fake.put(NAME, {"left.safetensors": content[:-1] + b"x"})
    with pytest.raises(Corrupt, match="left.safetensors is not what its list says; it was changed there: push the run"):
        pull(tmp_path / "there")
    fake.put(NAME, {"left.safetensors": content[:-1]})
    with pytest.raises(Corrupt, match="is not whole: left.safetensors of its list is missing or of another size"):
        pull(tmp_path / "there")
    listed(fake, lambda files: files.update({"left.json": "?"}))
    with pytest.raises(Corrupt, match="gives no size and checksum of 'left.json'; do not use it"):
        pull(tmp_path / "there")


@pytest.mark.slow
def test_code_that_a_run_names_is_not_executed(fake, run, tmp_path, monkeypatch):  # noqa: F811
    code = tmp_path / "mine.py"
    code.write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\nfrom sensorium.heads.linear import *\n"
                    "from sensorium.heads.linear import Linear as Mine\n")  # fmt: skip
    made = small_run.make(tmp_path / "coded", f"left.head={code}:Mine")
    push(made.folder, with_code=True)
    (tmp_path / "executed").unlink()
    with pytest.raises(Untrusted):
        pull(tmp_path / "there")
    assert not (tmp_path / "executed").exists()
    with pytest.raises(Untrusted):
        sensorium.from_pretrained(NAME, progress=False)
    assert not (tmp_path / "executed").exists()


def test_run_or_store_is_found_by_its_own_manifest(fake, run, tmp_path):  # noqa: F811
    from sensorium.store import mirror

    push(run)
    stored = next((run.parent / "embeddings").iterdir())
    mirror.push(stored, "me/vectors", progress=False)
    assert hub_runs.found(NAME, "again").place.type == "model"
    assert hub_runs.found("me/vectors", "again").place.type == "dataset"
    mirror.push(stored, NAME, progress=False)
    with pytest.raises(BadRecipe, match="me/small is a run and a store; type: sensorium pull models/me/small, or data"):
        hub_runs.found(NAME, "again")
    assert hub_runs.found(f"datasets/{NAME}", "again").place.type == "dataset"
    assert hub_runs.found(f"models/{NAME}", "again").place.type == "model"
    fake.put("me/bert", {"config.json": b"{}"})
    with pytest.raises(BadData, match="me/bert is not ours: it holds config.json, and no pack.json"):
        hub_runs.found("me/bert", "again")
    with pytest.raises(HubError, match="the Hub has no me/none, or it is private and not yours"):
        hub_runs.found("me/none", "again")
