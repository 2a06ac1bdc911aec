// Run before anything is painted, so that a chosen theme does not flash the other one first.
try {
  const chosen = localStorage.getItem("sensorium.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* storage is switched off: the system's theme it is */ }
