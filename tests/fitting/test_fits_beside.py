"""Fits in processes beside one another: the heads of fits alone, and nothing is lost where a process or the fit ends."""

import copy
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_data import assert_same_bits, train, views

from sensorium import parts
from sensorium.errors import BadData
from sensorium.fitting import TrainOptions, beside
from sensorium.fitting.several import DONE, Fits, Log

KEYS = {"epochs": 3, "members": 4, "batch": 128, "names": {"left": "mlp", "right": "mlp"}}


@pytest.fixture
def small_work(monkeypatch):
    """Small fits are made beside one another too, two at a time."""
    monkeypatch.setattr(beside, "WORK", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)


def children() -> list[int]:
    """Processes that fit members."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                line = file.read()
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"sensorium.fitting.beside_worker" in line and parent == os.getpid():
            found.append(int(name))
    return found


def test_members_beside_one_another_have_the_bits_of_fits_alone(small_work, monkeypatch, tmp_path) -> None:
    begun, plain = [], beside.Beside.fit
    monkeypatch.setattr(beside.Beside, "fit", lambda *given: begun.append(len(given[2])) or plain(*given))
    together = train(tmp_path, **KEYS)
    assert begun == [2, 2]
    monkeypatch.setattr(beside, "WORK", float("inf"))
    alone = train(**KEYS)
    assert begun == [2, 2]
    assert_same_bits(together, alone)
    assert together.notes["member_validation"] == alone.notes["member_validation"]
    assert [e["epoch"] for e in together.history] == [e["epoch"] for e in alone.history]
    assert not children()


def test_the_last_fits_may_be_fewer_than_the_processes(small_work, monkeypatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    fitted = train(**{**KEYS, "members": 5, "epochs": 1})
    assert fitted.notes["members"] == 5 and not children()


def test_a_part_that_other_processes_cannot_import_is_fitted_here(small_work, capsys) -> None:
    from sensorium.objectives.infonce import InfoNCE

    local = type("Local", (InfoNCE,), {"__module__": "nowhere"})
    fitted = train(**KEYS, objective=local())
    assert fitted.notes["members"] == 4 and "is gone" in capsys.readouterr().err


def test_a_process_that_is_killed_is_done_without(small_work, capsys) -> None:
    killed = []

    def kill() -> None:
        while not killed:
            for pid in children():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    fitted = train(**KEYS)
    thread.join()
    assert killed and fitted.notes["members"] == 4
    alone = train(**KEYS, threads=1)
    assert fitted.notes["member_validation"] == alone.notes["member_validation"]
    assert "is gone" in capsys.readouterr().err


def test_what_a_fit_beside_raises_is_raised_here(small_work) -> None:
    left, right, pairs = views()
    head = parts.make("heads", "mlp")
    options = TrainOptions(epochs=2, batch=64)
    log = Log(None, options, 0, None, False)
    fits = Fits(left, right, pairs, None, log, 2)
    bad = replace(left, vectors=np.where(np.arange(len(left))[:, None] % 5 == 1, np.nan, left.vectors))
    jobs = [beside.Job(k, (copy.deepcopy(head), copy.deepcopy(head)), {"left": "mlp", "right": "mlp"},
                       parts.make("objectives", "infonce"), options, k, "", None, (table, right))
            for k, table in enumerate((left, bad))]  # fmt: skip
    with beside.Beside(2) as processes, pytest.raises(BadData, match="finite|NaN"):
        processes.fit(fits, jobs)
    assert not children()


def test_ctrl_c_saves_both_fits_which_then_go_on(small_work, tmp_path) -> None:
    keys = {**KEYS, "epochs": 150, "members": 2, "save_seconds": 0.2}
    whole = train(**keys)

    def stop(event) -> None:
        until = time.monotonic() + 60
        while not list((tmp_path / "checkpoint" / "member-02").glob("checkpoint/*")) and time.monotonic() < until:
            time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_epoch=stop, **keys)
    assert not children()
    kept = sorted(path.parent.name for path in (tmp_path / "checkpoint").glob("member-*/*"))
    assert {"member-01", "member-02"} <= set(kept)
    assert_same_bits(train(tmp_path, **keys), whole)


def test_a_budget_that_is_over_ends_both_with_their_best(small_work, tmp_path) -> None:
    began = time.monotonic()
    fitted = train(tmp_path, **{**KEYS, "epochs": 100_000, "members": 2}, seconds=6.0)
    assert fitted.notes["members"] == 2 and time.monotonic() - began < 60
    assert len(list((tmp_path / "checkpoint").glob(f"member-*/{DONE}"))) == 2
    assert min(fitted.notes["member_validation"]) > 0


def test_the_processes_end_with_the_one_that_started_them(small_work) -> None:
    processes = beside.Beside(2)
    (pid,) = children()
    process = processes._processes[0]._of
    process.stdin.close()  # as the end of this process closes it
    assert process.wait(60) == 0
    assert not os.path.exists(f"/proc/{pid}")
    processes.close()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [({}, 2), ({"threads": 1}, 1), ({"threads": 2}, 1), ({"epochs": 1}, 1)],
)
def test_which_fits_are_made_at_a_time(monkeypatch, keys, expected) -> None:
    left, right, pairs = views()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    options = TrainOptions(**{"epochs": 10, **keys})
    n = int(((pairs.split == "train") & (pairs.label == 1)).sum())
    monkeypatch.setattr(beside, "WORK", 10 * n * (left.dim + right.dim))
    assert beside.at_a_time(left, right, pairs, options, 4) == expected
    assert beside.at_a_time(left, right, pairs, options, 1) == 1


def test_large_tables_are_not_copied(monkeypatch) -> None:
    left, right, pairs = views()
    monkeypatch.setattr(beside, "WORK", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert beside.at_a_time(left, right, pairs, TrainOptions(), 4) == 2
    monkeypatch.setattr(beside, "memory_budget", lambda _: 16 * len(left) * left.dim - 1)
    assert beside.at_a_time(left, right, pairs, TrainOptions(), 4) == 1
