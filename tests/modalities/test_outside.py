"""A modality that somebody else wrote: a folder or an installed package, and no edit in this one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MODALITY = '''
"""Videos: frames (t, h, w) uint8, in files of their own kind."""
import io
from pathlib import Path
import numpy as np
from sensorium.errors import BadData
from sensorium.modalities import Decoded

class Video:
    name, query, is_file = "video", "a video file", True
    media_types = {".mjpg": "video/x-frames"}
    shown_as, packed_as = "none", "video/x-frames"
    def read(self, value):
        return self.decode(Path(value).read_bytes(), None).value[0] if isinstance(value, (str, Path)) else value
    def decode(self, content, limits):
        if content[:6] != b"VIDEO\\n":
            raise BadData("it is no video")
        return Decoded((np.load(io.BytesIO(content[6:])), 25.0, "frames"), "video/x-frames")
    def pack(self, value):
        out = io.BytesIO()
        np.save(out, value)
        return b"VIDEO\\n" + out.getvalue()
    def bad_items(self, error, values):
        return BadData(f"{error}; {len(values)} videos were looked at")

modality = Video()
'''
PARTS = '''
"""An encoder of videos, and a data set of them."""
from pathlib import Path
import numpy as np
from sensorium import modalities
from sensorium.contracts import Dataset, Encoder
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

class Video(Encoder):
    takes, dim, fingerprint = "video", 6, {"name": "my-video"}
    def encode(self, values):
        read = modalities.find("video").read
        frames = [value[0] if isinstance(value, tuple) else read(value) for value in values]
        return np.stack([np.histogram(x, 6, (0, 256))[0] for x in frames]).astype(np.float32)

class Clips(Dataset):
    def __init__(self, root: str): self.root = root
    def load(self) -> Data:
        paths = sorted(Path(self.root).glob("*.mjpg"))
        ids, row = np.array([path.stem for path in paths]), np.arange(len(paths))
        return Data(Items(ids, [str(path) for path in paths], "video"), Items(ids, [f"clip {i % 6}" for i in row], "text"),
                    Pairs.of(row, row, group=ids))
'''
SCRIPT = """
import json, sys
from pathlib import Path
way, folder = sys.argv[1], Path(sys.argv[2])
if way == "path":
    import sensorium.modalities
    sensorium.modalities.__path__.append(str(folder / "rooms"))
import numpy as np
import sensorium
from sensorium import modalities
clips = folder / "clips"
clips.mkdir()
random = np.random.default_rng(0)
for i in range(60):
    frames = random.integers(40 * (i % 6), 40 * (i % 6) + 40, (5, 4, 4)).astype(np.uint8)
    (clips / f"v{i:02}.mjpg").write_bytes(modalities.find("video").pack(frames))
parts = folder / "my.py"
recipe = {
    "name": "clips", "data": {"name": f"{parts}:Clips", "root": str(clips)},
    "left": {"encoder": {"name": f"{parts}:Video"}, "head": {"name": "linear", "dim": 4}},
    "right": {"encoder": {"name": "hashing"}, "head": {"name": "linear", "dim": 4}},
    "objective": {"name": "ridge"}, "evaluate": {"plots": False, "resamples": 20, "baselines": []},
}
run = sensorium.run(recipe, out=folder / "run", quiet=True)
told = {"names": modalities.names(), "python": run.search(video=str(clips / "v07.mjpg"), k=3)[0]["id"]}
from typer.testing import CliRunner
from sensorium.cli import app
result = CliRunner().invoke(app, ["search", str(folder / "run"), "--video", str(clips / "v07.mjpg"), "-k", "3", "--json"])
told["cli"] = json.loads(result.stdout.splitlines()[0])["id"] if result.exit_code == 0 else result.output
told["help"] = "A video file." in CliRunner().invoke(app, ["search", "--help"], env={"COLUMNS": "200"}).output
from starlette.testclient import TestClient
from sensorium.serve import Settings, create_app
served = create_app([folder / "run"], Settings(log="off"))
with TestClient(served, base_url="http://127.0.0.1:8000") as client:
    content = (clips / "v07.mjpg").read_bytes()
    found = client.post("/search", files={"video": ("a.mjpg", content)}, data={"query": json.dumps({"k": 3})})
    told["post"] = found.json()["hits"][0]["id"] if found.status_code == 200 else found.text
    told["refused"] = client.post("/search", files={"video": ("a.mjpg", b"junk")}).json().get("detail")
    item = client.get("/items/v07?side=left").json()
    told["kind"] = item["kind"]
    media = client.get(item["media"])
    told["media"] = [media.headers["content-type"], media.content == content]
    told["fields"] = sorted(client.get("/openapi.json").json()["components"]["schemas"]["SearchRequest"]["properties"])
print(json.dumps(told))
"""


@pytest.mark.parametrize("way", ["path", "entry point"])
@pytest.mark.slow
@pytest.mark.thorough
def test_a_new_modality_is_a_new_folder(tmp_path: Path, way: str) -> None:
    """Recipe, search from Python and the command line, upload to POST /search, and what the browser is given."""
    if way == "path":
        package = tmp_path / "rooms" / "video"
    else:
        package = tmp_path / "site" / "video_pack"
        info = tmp_path / "site" / "video_pack-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: video-pack\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[sensorium.modalities]\nvideo = video_pack\n")
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(MODALITY)
    (tmp_path / "my.py").write_text(PARTS)
    (tmp_path / "script.py").write_text(SCRIPT)
    where = {"PYTHONPATH": f"{tmp_path / 'site'}:{':'.join(filter(None, sys.path))}"}
    import os

    done = subprocess.run([sys.executable, tmp_path / "script.py", way, tmp_path], capture_output=True, text=True,
                          env={**os.environ, **where}, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["names"] == ["text", "audio", "face", "image", "video"]
    assert told["python"] == told["cli"] == told["post"] and told["help"]
    assert int(told["python"][1:]) % 6 == 1, "a clip of the same brightness"
    assert "it is no video" in told["refused"] and told["kind"] == "none"
    assert told["media"] == ["video/x-frames", True]
    assert {"text", "audio", "face", "image", "video", "id", "vector"} <= set(told["fields"])


def test_a_modality_that_breaks_the_contract_is_left_out_with_a_warning(tmp_path: Path, monkeypatch) -> None:
    from sensorium import modalities

    for name, change, _ in (
        ("nothing", ("modality = Video()", ""), "no attribute"),
        ("other", ("", ""), "its name is 'video'"),
        ("hostile", ('name, query, is_file = "video"', 'name, query, is_file = "hostile"'), "media type 'text/html'"),
        ("vague", ('name, query, is_file = "video"', 'name, query, is_file = "vague"'), "shown_as='film'"),
        ("short", ("def bad_items", "def bad"), "it has no bad_items"),
    ):
        text = MODALITY.replace(*change) if change[0] else MODALITY
        text = text.replace('".mjpg": "video/x-frames"', '".htm": "text/html"') if name == "hostile" else text
        text = text.replace('shown_as, packed_as = "none"', 'shown_as, packed_as = "film"') if name == "vague" else text
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    monkeypatch.setattr(modalities, "__path__", [*modalities.__path__, str(tmp_path)])
    with pytest.warns(UserWarning, match="is left out") as warned:
        assert modalities.names() == ("text", "audio", "face", "image")
    messages = " | ".join(str(one.message) for one in warned)
    for said in ("modality 'nothing' is left out", "its name is 'video'", "media type 'text/html'", "shown_as='film'",
                 "it has no bad_items"):  # fmt: skip
        assert said in messages
    assert modalities.names() == ("text", "audio", "face", "image")


def test_what_is_served_and_as_what() -> None:
    from sensorium import modalities
    from sensorium.errors import BadRecipe

    assert modalities.media_type(".WAV") == "audio/wav" and modalities.media_type(".html") is None
    assert "image/png" in modalities.served_types() and not any(
        t.startswith("text/") for t in modalities.served_types()
    )
    with pytest.raises(BadRecipe, match="no modality 'adio'; did you mean 'audio'"):
        modalities.find("adio")
    for one in modalities.found().values():
        assert isinstance(one, modalities.Modality)
    from sensorium.errors import BadData

    text = modalities.find("text")
    assert text.decode("Grüße".encode(), modalities.Limits()).value == text.read("Grüße") == "Grüße"
    assert text.pack("a") is None and text.bad_items(error := BadData("x"), []) is error
    for content, limits, said in (
        (b"\xff", modalities.Limits(), "UTF-8"),
        (b"long", modalities.Limits(bytes=2), "at most 2"),
    ):
        with pytest.raises(BadData, match=said):
            text.decode(content, limits)
    with pytest.raises(BadData, match="int; expected text"):
        text.read(3)
