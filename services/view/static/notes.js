// Short notes and questions to the user.

import { $, make } from "./dom.js";

/** Say something for a few seconds. */
export function toast(text, bad = false) {
  const note = make("p", { class: bad ? "toast bad" : "toast" }, text);
  $("toasts").append(note);
  setTimeout(() => note.remove(), bad ? 8000 : 4000);
}

/** Ask before something is done; true for yes. */
export function confirm(title, text, yes) {
  const dialog = $("confirm");
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
