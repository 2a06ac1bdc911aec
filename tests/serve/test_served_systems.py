"""What other packages add is served without an edit here: a modality from outside, and a system with routes and a view."""

import importlib
import sys

import pytest
from served import client_of, problem

from sensorium import modalities, parts
from sensorium.serve import systems

pytestmark = pytest.mark.xdist_group("serve")
VIDEO = '''"""Video: a file of frames."""
from sensorium.modalities import Decoded

class Video:
    name, query, is_file = "video", "a video file", True
    media_types = {".mp4": "video/mp4"}
    shown_as, packed_as = "none", ""
    def read(self, value): return value
    def decode(self, content, limits): return Decoded(None, "video/mp4")
    def pack(self, value): return None
    def bad_items(self, error, values): return error

modality = Video()
'''
ROUTES = '''"""Routes of cinema."""
from fastapi import APIRouter

def routes(context):
    router = APIRouter(tags=["cinema"])

    @router.get("/cinema/films")
    async def films() -> list[str]:
        return list(context.registry.names)

    return router
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Another distribution on the import path: the modality video and the system cinema."""
    (tmp_path / "rooms" / "video").mkdir(parents=True)
    (tmp_path / "rooms" / "video" / "__init__.py").write_text(VIDEO)
    (tmp_path / "cinema").mkdir()
    (tmp_path / "cinema" / "__init__.py").write_text('"""Cinema: films by their trailers."""\n')
    (tmp_path / "cinema" / "routes.py").write_text(ROUTES)
    (tmp_path / "cinema" / "page.js").write_text(
        'export function show(root) { root.textContent = "Films of the cinema"; }\n'
    )
    about = tmp_path / "cinema-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: cinema\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sensorium.systems]\ncinema = cinema\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    monkeypatch.setattr(modalities, "__path__", [*modalities.__path__, str(tmp_path / "rooms")])
    systems.scripts.cache_clear()
    yield tmp_path
    systems.scripts.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "cinema" or name.endswith("modalities.video")]:
        del sys.modules[name]


def test_a_modality_from_outside_is_an_input_of_every_request(symbols, outside):
    with client_of([symbols]) as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
        for name in ("SearchRequest", "Weighted", "NewItem", "EncodeRequest"):
            assert {"text", "image", "audio", "face", "video"} <= set(schemas[name]["properties"]), name
        assert "no side" in problem(client.post("/search", json={"video": "AAAA"}), 400)
        assert "no side" in problem(client.post("/search", files={"video": b"frames"}), 400)
        assert "takes text, not video" in problem(
            client.post("/encode", json={"video": ["AAAA"], "side": "right"}), 400
        )
        new = {"side": "right", "id": "n", "video": "AAAA"}
        assert "takes text, not video" in problem(client.post("/items", json=new), 400)
        assert client.post("/search", json={"id": "U+2665", "k": 1}).status_code == 200


def test_a_system_from_outside_brings_routes_and_a_view(symbols, outside):
    assert "cinema" in parts.folders("systems")
    with client_of([symbols], token="correct horse battery") as client:
        assert client.get("/cinema/films").status_code == 401
        key = {"authorization": "Bearer correct horse battery"}
        assert client.get("/cinema/films", headers=key).json() == ["symbols"]
        page = next(one for one in client.get("/runs", headers=key).json()["pages"] if one["name"] == "cinema")
        assert page == {"name": "cinema", "title": "Cinema", "script": "/systems/cinema/page.js", "column": None,
                        "kinds": None, "side": None}  # fmt: skip
        script = client.get(page["script"])  # a page's files are open, as the page's own
        assert "export function show" in script.text and script.headers["content-type"].startswith("text/javascript")
        assert client.get("/systems/cinema/routes.py", headers=key).status_code == 404
        assert "/cinema/films" in client.get("/openapi.json", headers=key).json()["paths"]


def test_our_own_systems_are_found_and_serve_does_not_name_them(client):
    from pathlib import Path

    import sensorium.serve

    assert set(parts.systems("routes")) >= {"speech_emotion"}
    for path in Path(sensorium.serve.__file__).parent.rglob("*.py"):
        assert "speech_emotion" not in path.read_text("utf-8"), path
    with client.websocket_connect("ws://127.0.0.1:8000/ws") as one:
        one.send_text("{}")
        assert one.receive_json()["status"] == "error"
