"""Frames of the map with many points in Chromium, against the least that a browser can do with as many.

    python -m bench.map [--points 1000000] [--frames 20] [--gpu] [--quick]

The page's own modules draw points while the view moves. "bare" clears the picture and draws as many points of
one pixel and one colour with the shortest shader there is: what the machine itself asks for. Without ``--gpu``
WebGL2 is computed by SwiftShader on the processor, which the page itself refuses; the fallback canvas, which it
then takes, is measured beside it. Also: sorting
the points into the grid, finding the one under the pointer, and what a lasso encloses.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import shutil
import threading
from pathlib import Path
from typing import Any

import sensorium

WEB = Path(sensorium.__file__).parent / "serve" / "web"
ARGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--ignore-gpu-blocklist"]  # fmt: skip
SOFTWARE = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

MEASURE = """
async ([n, frames, kind]) => {
  const { Grid } = await import("/grid.js");
  const { surface } = await import(kind === "canvas" ? "/points-2d.js" : "/points-gl.js");
  let seed = 1;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const xy = new Float32Array(2 * n), codes = new Uint8Array(n), flags = new Uint8Array(n);
  for (let i = 0; i < n; i++) {
    const r = Math.sqrt(-2 * Math.log(random() || 1e-9)) / 3, a = 6.2831853 * random();
    xy[2 * i] = r * Math.cos(a); xy[2 * i + 1] = r * Math.sin(a);
    codes[i] = i % 11; flags[i] = i & 1;
  }
  const palette = new Uint8Array(2048).fill(140);
  for (let i = 0; i < 2048; i += 4) { palette[i] = i % 256; }
  const canvas = document.createElement("canvas");
  canvas.width = 1280; canvas.height = 800;
  const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
  const timed = (frame) => {
    const times = [];
    for (let f = 0; f < frames + 3; f++) {
      const t = performance.now();
      frame(f);
      if (f > 2) times.push(performance.now() - t);
    }
    return median(times);
  };
  const view = (f) => ({ x: 0.002 * f, y: 0, scale: 380 + f });
  const out = {};
  if (kind === "bare") {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
    const program = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, `#version 300 es
      uniform vec4 view; layout(location = 0) in vec2 at;
      void main() { gl_Position = vec4((at - view.xy) * view.zw, 0.0, 1.0); gl_PointSize = 1.0; }`],
      [gl.FRAGMENT_SHADER, `#version 300 es
      precision highp float; out vec4 c; void main() { c = vec4(0.5, 0.5, 0.5, 1.0); }`]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program); gl.useProgram(program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer()); gl.bufferData(gl.ARRAY_BUFFER, xy, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0); gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    const pixel = new Uint8Array(4), place = gl.getUniformLocation(program, "view");
    const debug = gl.getExtension("WEBGL_debug_renderer_info");
    out.renderer = gl.getParameter(debug ? debug.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
    out.frame = timed((f) => {
      const v = view(f);
      gl.clear(gl.COLOR_BUFFER_BIT); gl.uniform4f(place, v.x, v.y, 2 * v.scale / 1280, 2 * v.scale / 800);
      gl.drawArrays(gl.POINTS, 0, n); gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    });
    return out;
  }
  const made = surface(canvas, { software: true });
  if (!made) return null;
  made.points(xy); made.codes(codes); made.flags(flags); made.palette(palette); made.lines(new Uint32Array(0));
  const draw = (moving) => (f) => { made.draw(view(f), 1.6, [255, 255, 255], [0, 0, 0, 0.3], moving); made.finish(); };
  out.frame = timed(draw(true));
  if (kind === "canvas") out.still = timed(draw(false));
  const start = performance.now();
  const grid = new Grid(xy);
  out.grid = performance.now() - start;
  out.point = timed((f) => { for (let i = 0; i < 100; i++) grid.nearest(0.003 * i, 0.001 * f, 0.02); }) / 100;
  const ring = Array.from({ length: 60 }, (_, i) => [0.2 * Math.cos(i / 9.55), 0.2 * Math.sin(i / 9.55)]);
  out.lasso = timed(() => grid.within(ring));
  return out;
}
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The page's files, without a line for each."""

    def log_message(self, *_: Any) -> None:
        pass


def measure(points: int, frames: int, gpu: bool) -> dict[str, dict[str, float]]:
    """By "bare", "webgl" and "canvas": milliseconds a frame, and of the grid's work."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium here; type: apt-get install -y chromium")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(WEB)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGS + ([] if gpu else SOFTWARE))
        for kind in ("bare", "webgl", "canvas"):
            page = browser.new_page()
            page.set_default_timeout(0)
            page.goto(f"http://127.0.0.1:{server.server_port}/tokens.css")
            found[kind] = page.evaluate(MEASURE, [points, frames, kind])
            page.close()
        browser.close()
    server.shutdown()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--gpu", action="store_true", help="use the machine's graphics card")
    parser.add_argument("--quick", action="store_true", help="100,000 points, 5 frames")
    told = parser.parse_args()
    points, frames = (100_000, 5) if told.quick else (told.points, told.frames)
    found = measure(points, frames, told.gpu)
    bare, gl, canvas = found["bare"]["frame"], found["webgl"], found["canvas"]
    print(
        f"{points:,} points, 1280 × 800, {found['bare']['renderer']}, median of {frames} frames while the view moves\n"
    )
    print("| what | ms | frames/s | ratio to bare |\n|---|---|---|---|")
    rows = [("bare clear and draw", bare), ("map, WebGL2", gl["frame"]), ("map, canvas, moving", canvas["frame"]),
            ("map, canvas, at rest", canvas["still"])]  # fmt: skip
    for name, ms in rows:
        print(f"| {name} | {ms:.1f} | {1000 / max(ms, 1e-3):.0f} | {ms / max(bare, 1e-3):.2f} |")
    print(f"| points into the grid, once | {gl['grid']:.0f} | | |")
    print(f"| point under the pointer | {gl['point']:.3f} | | |")
    print(f"| lasso | {gl['lasso']:.1f} | | |")


if __name__ == "__main__":
    main()
