// Colours as the system, or as the user chose; runs before the first paint.
"use strict";
{
  let chosen = null;
  try { chosen = localStorage.getItem("vedette-theme"); } catch { /* storage is switched off */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
