// Density of many points as contour lines: computed once in the map's own coordinates, drawn at any zoom.

const CELLS = 160, REACH = 1.2, LEVELS = [0.1, 0.22, 0.4, 0.65];

/** A running mean over 2r + 1 cells along the rows of a square, written into the columns of another. */
function blurred(from, to, r) {
  for (let y = 0; y < CELLS; y++) {
    let sum = 0;
    for (let x = -r; x < CELLS; x++) {
      if (x + r < CELLS) sum += from[y * CELLS + x + r];
      if (x > r) sum -= from[y * CELLS + x - r - 1];
      if (x >= 0) to[x * CELLS + y] = sum / (2 * r + 1);
    }
  }
}

/** Density (CELLS²) of the points for which include(i) holds: counts, blurred thrice in both directions. */
export function density(xy, include = () => true) {
  let a = new Float32Array(CELLS * CELLS), b = new Float32Array(CELLS * CELLS);
  const per = CELLS / (2 * REACH);
  for (let i = 0; i < xy.length / 2; i++) {
    const x = Math.floor((xy[2 * i] + REACH) * per), y = Math.floor((xy[2 * i + 1] + REACH) * per);
    if (x >= 0 && y >= 0 && x < CELLS && y < CELLS && include(i)) a[y * CELLS + x]++;
  }
  for (let pass = 0; pass < 6; pass++) { blurred(a, b, 2); [a, b] = [b, a]; }
  return a;
}

/** Contour lines of a density by marching squares, one Path2D in map coordinates. */
export function contours(heights) {
  const path = new Path2D(), step = (2 * REACH) / CELLS, at = (k) => (k + 0.5) * step - REACH;
  let most = 0;
  for (const one of heights) if (one > most) most = one;
  for (const share of most ? LEVELS : []) {
    const level = share * most, along = (u, v) => (level - u) / (v - u);
    for (let y = 0; y + 1 < CELLS; y++) {
      for (let x = 0; x + 1 < CELLS; x++) {
        const p = y * CELLS + x, a = heights[p], b = heights[p + 1], c = heights[p + CELLS + 1], d = heights[p + CELLS];
        const kind = (a > level) + 2 * (b > level) + 4 * (c > level) + 8 * (d > level);
        if (kind === 0 || kind === 15) continue;
        const ends = [];
        if ((a > level) !== (b > level)) ends.push([x + along(a, b), y]);
        if ((b > level) !== (c > level)) ends.push([x + 1, y + along(b, c)]);
        if ((d > level) !== (c > level)) ends.push([x + along(d, c), y + 1]);
        if ((a > level) !== (d > level)) ends.push([x, y + along(a, d)]);
        for (let k = 0; k + 1 < ends.length; k += 2) {
          path.moveTo(at(ends[k][0]), at(ends[k][1]));
          path.lineTo(at(ends[k + 1][0]), at(ends[k + 1][1]));
        }
      }
    }
  }
  return path;
}
