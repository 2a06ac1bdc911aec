"""The data doctor over HTTP: examined in the background, kept beside the run, asked for by kind."""

import json
import shutil
import time

from served import client_of

from sensorium.serve.engine import doctor


def ready(client, run: str = "symbols", **query) -> dict:
    end = time.monotonic() + 120
    while (answer := client.get(f"/runs/{run}/doctor", params=query)).status_code == 202:
        assert (
            answer.json()["state"] == "working"
            and answer.json()["seconds"] >= 0
            and answer.headers["retry-after"] == "1"
        )
        assert time.monotonic() < end
        time.sleep(0.1)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_findings_are_made_once_and_kept_beside_the_run(copied):
    shutil.rmtree(doctor.folder_of(copied), ignore_errors=True)  # copied from a run that another test examined
    with client_of([copied]) as client:
        assert client.get("/runs/symbols/doctor", params={"n": 0}).status_code == 202
        found = ready(client)
        assert (
            found["state"] == "ready" and found["sides"] == {"left": "image", "right": "text"} and found["before"] == []
        )
        assert {one["check"] for one in found["checks"]} >= {"pairs", "duplicates", "outliers"}
        some = ready(client, kind="pair", start=1, n=2)
        pairs = [one for one in found["findings"] if one["kind"] == "pair"]
        assert (
            some["findings"] == pairs[1:3]
            and some["counts"] == found["counts"]
            and found["counts"]["pair"] >= len(pairs)
        )
        assert pairs[0]["why"].startswith("its text ranks ") and pairs[0]["probability"] >= pairs[-1]["probability"]
        assert client.get("/runs/symbols/doctor", params={"kind": "word"}).status_code == 422
        assert client.get("/runs/symbol/doctor").status_code == 404
    kept = doctor.folder_of(copied) / "findings.json"
    changed = json.loads(kept.read_text())
    changed["notes"] = ["kept"]
    kept.write_text(json.dumps(changed))
    with client_of([copied]) as client:
        assert ready(client, n=0)["notes"] == ["kept"] and ready(client, n=0)["findings"] == []
    changed["made"] = "another fit"
    kept.write_text(json.dumps(changed))
    shutil.rmtree(copied.parent / "embeddings")
    recipe = (copied / "recipe.toml").read_text("utf-8")
    (copied / "recipe.toml").write_text(recipe.replace("[data]", '[data]\ndrop = "nowhere.csv"'))
    with client_of([copied]) as client:
        end = time.monotonic() + 120
        while (answer := client.get("/runs/symbols/doctor")).status_code == 202 and time.monotonic() < end:
            time.sleep(0.1)
        assert answer.status_code in (409, 503), answer.text
        assert str(copied) not in answer.json()["detail"]
