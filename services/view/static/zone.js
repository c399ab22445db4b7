// Draws a zone on a picture and gives the lines for the settings file.

import { $, icon, shape, write } from "./dom.js";
import { toast } from "./notes.js";

const STEP = 0.01, STRIDE = 0.05;
let camera = null, points = [], cross = [0.5, 0.5], keyed = false;

/** Open the dialogue for a camera. */
export function drawZone(chosen) {
  camera = chosen;
  points = [];
  cross = [0.5, 0.5];
  keyed = false;
  write($("zone-title"), `Draw a zone for ${camera.name}`);
  $("zone-picture").src = `snapshot/${camera.name}.jpg?t=${Date.now()}`;
  $("zone-picture").alt = `Picture of camera ${camera.name}`;
  $("zone-canvas").style.aspectRatio = camera.width ? `${camera.width} / ${camera.height}` : "16 / 9";
  $("zone").showModal();
  show();
}

const round = (value) => Math.round(Math.min(1, Math.max(0, value)) * 1000) / 1000;

function show() {
  const parts = Object.values(camera.zones).map((zone) => shape("polygon", { class: "old", points: zone.join(" ") }));
  if (points.length) parts.push(shape("polygon", { class: "new", points: points.map((point) => point.join(",")).join(" ") }));
  for (const [x, y] of points) parts.push(shape("path", { class: "corner", d: `M${x} ${y}h0` }));
  if (keyed) parts.push(shape("path", { class: "cross", d: `M${cross[0]} 0V1M0 ${cross[1]}H1` }));
  $("zone-shapes").replaceChildren(...parts);
  $("zone-lines").value = points.length < 3 ? "" : lines();
  $("zone-copy").disabled = points.length < 3;
  const old = Object.keys(camera.zones);
  const more = points.length < 3 ? `${points.length} of at least 3 corners` : `${points.length} corners`;
  write($("zone-state"), old.length && !points.length ? `Zones that it has already: ${old.join(", ")}` : more);
}

function lines() {
  const name = $("zone-name").value.trim() || "entrance";
  const corners = points.map(([x, y]) => `[${x.toFixed(3)}, ${y.toFixed(3)}]`).join(", ");
  return `cameras:\n  ${camera.name}:\n    zones:\n      ${name}: [${corners}]\n`;
}

$("zone-canvas").addEventListener("pointerdown", (event) => {
  const box = $("zone-canvas").getBoundingClientRect();
  keyed = false;
  points.push([round((event.clientX - box.left) / box.width), round((event.clientY - box.top) / box.height)]);
  show();
});

$("zone-canvas").addEventListener("keydown", (event) => {
  const step = event.shiftKey ? STRIDE : STEP;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (moves[event.key]) cross = [round(cross[0] + moves[event.key][0]), round(cross[1] + moves[event.key][1])];
  else if (event.key === "Enter" || event.key === " ") points.push([...cross]);
  else if (event.key === "Backspace") points.pop();
  else return;
  keyed = true;
  event.preventDefault();
  show();
});

$("zone-undo").addEventListener("click", () => { points.pop(); show(); });
$("zone-clear").addEventListener("click", () => { points = []; show(); });
$("zone-name").addEventListener("input", () => show());
$("zone-close").append(icon("close"));
$("zone-close").addEventListener("click", () => $("zone").close());
$("zone").addEventListener("close", () => $("zone-picture").removeAttribute("src"));
$("zone-copy").addEventListener("click", async () => {
  $("zone-lines").select();
  try {
    await navigator.clipboard.writeText($("zone-lines").value);
    toast("Copied. Put the lines into the settings file and restart the node.");
  } catch {
    toast("The lines are marked: copy them with Ctrl+C."); // no clipboard outside https and localhost
  }
});
