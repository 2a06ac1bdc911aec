// Spatial grid of points: nearest to the pointer and inside a lasso, without visiting all points.

/** Whether a point is inside a polygon ([x, y] pairs), by the even-odd rule. */
export function inside(polygon, x, y) {
  let odd = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}

export class Grid {
  /** xy: interleaved coordinates of n points. */
  constructor(xy) {
    const n = xy.length / 2;
    this.xy = xy;
    let left = Infinity, right = -Infinity, top = Infinity, bottom = -Infinity;
    for (let i = 0; i < n; i++) {
      const x = xy[2 * i], y = xy[2 * i + 1];
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      if (y > bottom) bottom = y;
    }
    if (!n) left = right = top = bottom = 0;
    this.box = { left, right, top, bottom };
    this.side = Math.max(1, Math.min(1024, Math.ceil(Math.sqrt(n / 3))));
    this.wide = (right - left) / this.side || 1;
    this.high = (bottom - top) / this.side || 1;
    const cells = this.side * this.side, at = new Uint32Array(n);
    this.starts = new Uint32Array(cells + 1);
    for (let i = 0; i < n; i++) {
      at[i] = this.cell(xy[2 * i], xy[2 * i + 1]);
      this.starts[at[i] + 1]++;
    }
    for (let c = 0; c < cells; c++) this.starts[c + 1] += this.starts[c];
    const next = this.starts.slice(0, cells);
    this.order = new Uint32Array(n);
    for (let i = 0; i < n; i++) this.order[next[at[i]]++] = i;
  }

  column(x) { return Math.min(this.side - 1, Math.max(0, Math.floor((x - this.box.left) / this.wide))); }
  line(y) { return Math.min(this.side - 1, Math.max(0, Math.floor((y - this.box.top) / this.high))); }
  cell(x, y) { return this.line(y) * this.side + this.column(x); }

  /** Call each(i) for the points in all cells that a box touches. */
  among(left, top, right, bottom, each) {
    for (let row = this.line(top); row <= this.line(bottom); row++) {
      const from = this.starts[row * this.side + this.column(left)], to = this.starts[row * this.side + this.column(right) + 1];
      for (let k = from; k < to; k++) each(this.order[k]);
    }
  }

  /** The point nearest to a place within a radius for which include(i) holds; -1 when there is none. */
  nearest(x, y, radius, include = () => true) {
    let best = -1, least = radius * radius;
    this.among(x - radius, y - radius, x + radius, y + radius, (i) => {
      const d = (this.xy[2 * i] - x) ** 2 + (this.xy[2 * i + 1] - y) ** 2;
      if (d <= least && include(i)) { least = d; best = i; }
    });
    return best;
  }

  /** All points inside a polygon for which include(i) holds, in order. */
  within(polygon, include = () => true) {
    const xs = polygon.map((p) => p[0]), ys = polygon.map((p) => p[1]), found = [];
    if (polygon.length < 3) return found;
    this.among(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys), (i) => {
      if (inside(polygon, this.xy[2 * i], this.xy[2 * i + 1]) && include(i)) found.push(i);
    });
    return Array.from(Uint32Array.from(found).sort());
  }
}
