// Small tools for building the page.

const SVG = "http://www.w3.org/2000/svg";

/** The element with an id. */
export const $ = (id) => document.getElementById(id);

/** A new element: make("p", {class: "dim", onclick: f}, "text", child). */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** A new SVG element. */
export function shape(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Set a text only when it changed: nothing is laid out anew, nothing is read out again. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Colours of faces by track id; the same row as in draw.py. */
const FACES = ["#e69f00", "#56b4e9", "#f0e442", "#cc79a7", "#009e73", "#d55e00", "#e6e6e6", "#0072b2"];
export const faceColour = (id) => FACES[((id % FACES.length) + FACES.length) % FACES.length];

const ICONS = {
  pause: "M8 5v14M16 5v14", play: "M8 5l11 7-11 7z", restart: "M4 12a8 8 0 1 0 2.5-5.8M4 4v5h5",
  privacy: "M3 3l18 18M10.6 6.2A9.7 9.7 0 0 1 12 6c5.5 0 9 6 9 6a17 17 0 0 1-3 3.5M6.5 7.6A16.6 16.6 0 0 0 3 12s3.5 6 9 6a9 9 0 0 0 4.3-1.1M9.9 9.9a3 3 0 0 0 4.2 4.2",
  eye: "M3 12s3.5-6 9-6 9 6 9 6-3.5 6-9 6-9-6-9-6zM12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z",
  zone: "M5 7l7-3 7 4-2 10-9 2zM5 7m-1.5 0a1.5 1.5 0 1 0 3 0 1.5 1.5 0 1 0-3 0", close: "M6 6l12 12M18 6L6 18",
  full: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5", photo: "M4 8h3l2-3h6l2 3h3v11H4zM12 10a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
  auto: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18", light: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.5M17.5 17.5L19 19M5 19l1.5-1.5M17.5 6.5L19 5",
  dark: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z", logout: "M10 4H5v16h5M15 8l4 4-4 4M19 12H9",
  person: "M12 5a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4.5 20.5c1-4 4-5.5 7.5-5.5s6.5 1.5 7.5 5.5",
};

/** An icon of lines, hidden from screen readers: the control has a name of its own. */
export function icon(name) {
  return shape("svg", { viewBox: "0 0 24 24", class: "ico", "aria-hidden": "true" }, shape("path", { d: ICONS[name] }));
}

/** Milliseconds for people. */
export function ms(value) {
  if (value == null) return "–";
  return value < 10 ? `${value.toFixed(1)} ms` : value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

/** Seconds for people. */
export function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** Time of day. */
export const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
