// Before the first paint: the remembered light or dark, else the system's.
(() => {
  "use strict";
  let chosen = null;
  try { chosen = localStorage.getItem("tarazu-theme"); } catch { /* private mode: the system decides */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
