// Points and lines without a GPU: pixels written into an image, fewer of them while the view moves.

const MOVING = 100000; // points drawn while the view moves
const LINES = 6000;    // lines drawn at most

const little = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** The same surface as that of points-gl.js, on a 2-D canvas. */
export function surface(canvas) {
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  let xy = new Float32Array(0), codes = new Uint8Array(0), flags = new Uint8Array(0), colours = new Uint8Array(2048), ends = new Uint32Array(0);
  let image = null, words = null;

  function dots(view, size, step) {
    const { width, height } = canvas, pixels = image.data, n = xy.length / 2;
    const half = Math.max(1, Math.round(size)) / 2;
    for (let pass = 0; pass < 2; pass++) { // chosen points last, on top
      for (let i = 0; i < n; i += pass ? 1 : step) {
        const chosen = flags[i] & 2;
        if (Boolean(chosen) !== Boolean(pass) || flags[i] & 4) continue;
        const c = 4 * (codes[i] + 256 * (flags[i] & 1)), alpha = chosen ? 1 : colours[c + 3] / 255;
        if (!alpha) continue;
        const x = (xy[2 * i] - view.x) * view.scale + width / 2, y = height / 2 - (xy[2 * i + 1] - view.y) * view.scale;
        const reach = chosen ? half * 1.6 + 1 : half;
        const x0 = Math.max(0, Math.round(x - reach)), x1 = Math.min(width, Math.round(x + reach));
        const y0 = Math.max(0, Math.round(y - reach)), y1 = Math.min(height, Math.round(y + reach));
        for (let py = y0; py < y1; py++) {
          for (let px = x0; px < x1; px++) {
            if (reach > 1.5) {
              const dx = Math.abs(px + 0.5 - x), dy = Math.abs(py + 0.5 - y);
              if (flags[i] & 1 ? dx + dy > reach * 1.2 : dx * dx + dy * dy > reach * reach) continue;
            }
            const p = 4 * (py * width + px);
            pixels[p] += (colours[c] - pixels[p]) * alpha;
            pixels[p + 1] += (colours[c + 1] - pixels[p + 1]) * alpha;
            pixels[p + 2] += (colours[c + 2] - pixels[p + 2]) * alpha;
          }
        }
      }
    }
  }

  return {
    name: "Canvas",
    points(array) { xy = array; },
    codes(array) { codes = array; },
    flags(array) { flags = array; },
    palette(rgba) { colours = rgba; },
    lines(indices) { ends = indices; },
    draw(view, size, ground, tint, moving = false) {
      const { width, height } = canvas;
      if (!width || !height) return;
      if (!image || image.width !== width || image.height !== height) image = null;
      if (ends.length) {
        context.fillStyle = `rgb(${ground.slice(0, 3).join(" ")})`;
        context.fillRect(0, 0, width, height);
        const step = 2 * Math.max(1, Math.ceil(ends.length / 2 / LINES));
        context.strokeStyle = `rgb(${tint.slice(0, 3).join(" ")} / ${tint[3]})`;
        context.lineWidth = 1;
        context.beginPath();
        for (let i = 0; i < ends.length; i += step) {
          for (const [move, k] of [["moveTo", ends[i]], ["lineTo", ends[i + 1]]]) {
            context[move]((xy[2 * k] - view.x) * view.scale + width / 2, height / 2 - (xy[2 * k + 1] - view.y) * view.scale);
          }
        }
        context.stroke();
        image = context.getImageData(0, 0, width, height);
        words = null;
      } else {
        image ??= context.createImageData(width, height);
        words = words?.buffer === image.data.buffer ? words : new Uint32Array(image.data.buffer);
        words.fill(little ? (255 << 24) | (ground[2] << 16) | (ground[1] << 8) | ground[0] : (ground[0] << 24) | (ground[1] << 16) | (ground[2] << 8) | 255);
      }
      dots(view, size, moving ? Math.max(1, Math.ceil(xy.length / 2 / MOVING)) : 1);
      context.putImageData(image, 0, 0);
    },
    finish() { context.getImageData(0, 0, 1, 1); },
    drop() {},
  };
}
