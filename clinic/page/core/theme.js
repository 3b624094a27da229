// Runs before the first paint, so that a page in the dark theme does not flash white.
try {
  const theme = localStorage.getItem("orthoedge.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off: the theme is that of the device.
}
