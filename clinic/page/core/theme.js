// Runs before the first paint, so that a page in the dark theme does not flash white.
{
  const device = matchMedia("(prefers-color-scheme: dark)");
  let chosen = "system";
  const show = () => {
    const isDark = chosen === "dark" || (chosen === "system" && device.matches);
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
  };
  /** @param {"system"|"light"|"dark"} theme */
  window.applyTheme = (theme) => {
    chosen = theme;
    show();
  };
  try {
    chosen = localStorage.getItem("orthoedge.theme") ?? chosen;
  } catch {
    // Storage is switched off: the theme is that of the device.
  }
  device.addEventListener("change", show);
  show();
}
