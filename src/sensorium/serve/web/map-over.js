// What is drawn over the points of a map: contour lines where points are crowded, and labels of regions.

const FONT = 12, NEAR = 2.2; // CSS pixels; the zoom from which small regions are labelled
const CROWDED = 0.02; // points a CSS pixel from which contours are drawn

/** Layers for a plot: set path (contours) and labels, then draw(context, plot) draws them. */
export class Over {
  path = null;
  labels = [];
  rings = []; // points that a search found
  shown = true;

  draw(context, plot) {
    const style = getComputedStyle(plot.place), mark = style.getPropertyValue("--mark").trim(), ground = style.getPropertyValue("--ground").trim();
    if (this.path) this.contours(context, plot, mark);
    if (this.rings.length) {
      context.strokeStyle = mark;
      context.lineWidth = 1.5 * plot.ratio;
      context.beginPath();
      for (const i of this.rings) {
        const [x, y] = plot.toPixels(plot.xy[2 * i], plot.xy[2 * i + 1]), r = plot.size / 2 + 3 * plot.ratio;
        context.moveTo(x + r, y);
        context.arc(x, y, r, 0, 7);
      }
      context.stroke();
    }
    if (this.shown && this.labels.length) this.names(context, plot, mark, ground);
  }

  contours(context, plot, mark) {
    const { view, over, ratio } = plot, area = (2 * view.scale / ratio) ** 2, crowd = plot.xy.length / 2 / area / CROWDED;
    if (crowd < 1) return;
    context.save();
    context.setTransform(view.scale, 0, 0, -view.scale, over.width / 2 - view.x * view.scale, over.height / 2 + view.y * view.scale);
    context.lineWidth = ratio / view.scale;
    context.strokeStyle = mark;
    context.globalAlpha = Math.min(0.4, 0.15 * crowd);
    context.stroke(this.path);
    context.restore();
  }

  /** Labels by the number of points, each where it covers no other. */
  names(context, plot, mark, ground) {
    const { ratio, over } = plot, pad = plot.insets?.() ?? { left: 0, right: 0, top: 0, bottom: 0 }, near = plot.view.scale / (plot.least || 1) >= NEAR, taken = [];
    context.save();
    context.font = `600 ${FONT * ratio}px ${getComputedStyle(plot.place).fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.lineWidth = 3.5 * ratio;
    context.strokeStyle = ground;
    context.fillStyle = mark;
    for (const { x, y, text, level } of this.labels) {
      if (Boolean(level) !== near) continue;
      const [px, py] = plot.toPixels(x, y), half = context.measureText(text).width / 2 + 4 * ratio, high = 0.8 * FONT * ratio;
      if (px < pad.left * ratio || py < pad.top * ratio || px > over.width - pad.right * ratio || py > over.height - pad.bottom * ratio) continue;
      if (taken.some(([a, b, w, h]) => Math.abs(a - px) < w + half && Math.abs(b - py) < h + high)) continue;
      taken.push([px, py, half, high]);
      context.strokeText(text, px, py);
      context.fillText(text, px, py);
    }
    context.restore();
  }
}
