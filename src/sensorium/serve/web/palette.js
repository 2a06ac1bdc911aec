// Colours for points: categories that also colour-blind eyes tell apart (after Okabe & Ito and Tol), and viridis.

/** Up to eleven categories, on light and on dark ground. */
export const CATEGORIES = {
  light: ["#0072b2", "#d98200", "#009e73", "#c0558f", "#3a9bd9", "#c84a00", "#7a6a00", "#882255", "#332288", "#2a8f80", "#7a3b1f"],
  dark: ["#4da6ff", "#ffb000", "#2fd6a0", "#ff8fc7", "#9bdcff", "#ff7f3f", "#f0e442", "#e37bb0", "#9a8cff", "#6fe0d0", "#d19b7b"],
};
export const OTHER = { light: "#9aa1ac", dark: "#5b636e" };
export const SIDES = { light: ["#2460c4", "#d8761a"], dark: ["#6aa5ff", "#ffab5c"] };
const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
/** Without viridis' darkest end on dark ground and its palest on light. */
const RANGE = { light: [0, 0.9], dark: [0.22, 1] };

/** [r, g, b] of "#rrggbb". */
export function rgb(hex) { return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)); }

/** Colour of a share 0…1 of a continuous column, [r, g, b]. */
export function continuous(share, theme) {
  const [low, high] = RANGE[theme];
  const at = (low + (high - low) * Math.min(1, Math.max(0, share))) * (VIRIDIS.length - 1);
  const i = Math.min(VIRIDIS.length - 2, Math.floor(at)), rest = at - i;
  const a = rgb(VIRIDIS[i]), b = rgb(VIRIDIS[i + 1]);
  return a.map((v, j) => Math.round(v + (b[j] - v) * rest));
}

/** "light" or "dark", as the page shows now. */
export function theme() {
  const set = document.documentElement.dataset.theme;
  return set === "light" || set === "dark" ? set : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}
