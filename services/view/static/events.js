// Faces that came and went: pictures, list, time line.

import { $, clock, duration, faceColour, icon, make, shape, write } from "./dom.js";

const KEPT = 1000, SHOWN_FACES = 12, SHOWN_EVENTS = 60;
const HEAD = 20, ROW = 15, ROWS = 4, TICKS = 6;
const lives = new Map(); // by event id, oldest first
let span = 600;
let cameras = [];

/** Take rows of the event log, oldest first. */
export function takeEvents(rows) {
  for (const row of rows) {
    const at = Date.parse(row.time), known = lives.get(row.id);
    if (known && known.seq > row.seq) continue;
    lives.set(row.id, {
      ...row, from: at - row.duration_s * 1000, to: at, over: row.type === "end", face: row.face ?? known?.face,
    });
  }
  while (lives.size > KEPT) lives.delete(lives.keys().next().value);
  draw();
}

/** A camera's faces are covered from now on: pictures of before are taken from the page too, not only from the node. */
export function coverFaces(camera) {
  for (const life of lives.values()) if (life.camera === camera) life.face = null;
  draw();
}

/** Names of the cameras, for the lanes of the time line. */
export function setLanes(names) {
  cameras = names;
}

/** Let time go on. */
export function draw() {
  const newest = [...lives.values()].reverse();
  drawFaces(newest);
  drawList(newest);
  drawTimeline(newest);
}

for (const button of document.querySelectorAll("[data-span]")) {
  button.addEventListener("click", () => {
    span = Number(button.dataset.span);
    for (const other of document.querySelectorAll("[data-span]")) other.setAttribute("aria-pressed", String(other === button));
    draw();
  });
}

function drawFaces(newest) {
  const rows = newest.slice(0, SHOWN_FACES);
  const here = newest.filter((life) => !life.over).length;
  write($("faces-note"), here ? `${here} here now` : "");
  keyed($("faces"), rows, (life) => life.id, makeFace, (node, life) => {
    const picture = node.querySelector("img");
    const source = life.face ? `${life.face}?v=${life.rowid}` : null;
    if (source && picture.getAttribute("src") !== source) picture.src = source;
    if (!source) picture.removeAttribute("src");
    picture.hidden = !source;
    node.dataset.here = String(!life.over);
    write(node.querySelector(".when"), life.over ? clock(life.from) : "here now");
    write(node.querySelector(".who"), `#${life.track_id} ${life.camera}`);
    node.title = `#${life.track_id}, ${life.camera}, from ${clock(life.from)}, ${duration(life.duration_s)}`;
  }, "No faces yet. Whoever comes by appears here.");
}

function makeFace(life) {
  const picture = make("img", { alt: `Face ${life.track_id} at camera ${life.camera}`, hidden: true, loading: "lazy", onerror: () => { picture.hidden = true; } });
  const frame = make("span", { class: "portrait" }, icon("person"), picture);
  frame.style.setProperty("--face", faceColour(life.track_id));
  return make("li", {}, frame, make("span", { class: "who" }), make("span", { class: "when dim" }));
}

function drawList(newest) {
  write($("events-note"), newest.length ? `${newest.length}${newest.length >= KEPT ? "+" : ""} kept in view` : "");
  keyed($("events"), newest.slice(0, SHOWN_EVENTS), (life) => life.id, (life) => {
    const dot = make("span", { class: "swatch" });
    dot.style.background = faceColour(life.track_id);
    return make("li", {}, dot, make("span", { class: "what" }), make("time", { class: "dim" }));
  }, (node, life) => {
    const zones = life.zones.length ? ` in ${life.zones.join(", ")}` : "";
    const stay = life.over ? `stayed ${duration(life.duration_s)}` : "is here";
    write(node.querySelector(".what"), `#${life.track_id} ${stay} · ${life.camera}${zones}`);
    write(node.querySelector("time"), clock(life.from));
    node.dataset.here = String(!life.over);
  }, "Nothing has happened yet.");
}

/** Children of a list that follow its rows: kept, moved, made or removed. */
function keyed(list, rows, key, create, update, empty) {
  if (!rows.length) {
    if (list.firstChild?.className !== "empty") list.replaceChildren(make("li", { class: "empty" }, empty));
    return;
  }
  const before = new Map([...list.children].map((node) => [node.dataset.key, node]));
  rows.forEach((row, index) => {
    let node = before.get(key(row));
    before.delete(key(row));
    if (!node) {
      node = create(row);
      node.dataset.key = key(row);
    }
    update(node, row);
    if (list.children[index] !== node) list.insertBefore(node, list.children[index] ?? null);
  });
  for (const node of before.values()) node.remove();
}

function drawTimeline(newest) {
  const box = $("timeline"), now = Date.now(), from = now - span * 1000;
  const lanes = (cameras.length ? cameras : [""]).map((name) => stack(name, newest, from, now));
  const height = HEAD + lanes.reduce((sum, lane) => sum + lane.height, 0) + 2;
  const width = Math.max(280, box.clientWidth - 28);
  const left = Math.min(130, 14 + 7.5 * Math.max(...lanes.map((lane) => lane.name.length)));
  const x = (at) => left + ((at - from) / (now - from)) * (width - left - 2);
  const parts = [...axis(x, from, now, height, width < 560)];
  let y = HEAD, count = 0;
  for (const lane of lanes) {
    parts.push(shape("line", { x1: 0, x2: width, y1: y, y2: y, class: "lane" }));
    parts.push(shape("text", { x: 0, y: y + lane.height / 2 + 4, class: "name" }, lane.name));
    for (const { life, row, end } of lane.bars) parts.push(bar(life, end, x, left, y + 5 + row * ROW));
    count += lane.bars.length;
    y += lane.height;
  }
  box.replaceChildren(shape("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `${count} faces in the last ${duration(span)}; the list of events has them in words`,
  }, ...parts));
}

/** The lives of a camera, those at the same time one below the other. */
function stack(name, newest, from, now) {
  const bars = [], ends = [];
  for (const life of newest.filter((one) => one.camera === name).reverse()) {
    const end = life.over ? life.to : now;
    if (end < from) continue;
    const gap = span * 4; // room of a few pixels between two bars, in milliseconds
    let row = ends.findIndex((before) => before + gap < life.from);
    if (row < 0) row = ends.length < ROWS ? ends.length : ends.indexOf(Math.min(...ends));
    ends[row] = end;
    bars.push({ life, row, end });
  }
  return { name, bars, height: Math.max(1, ends.length) * ROW + 9 };
}

function bar(life, end, x, left, y) {
  const start = Math.max(left, x(life.from));
  const node = shape("rect", { x: start, y, width: Math.max(4, x(end) - start), height: ROW - 3, rx: 4, class: life.over ? "life" : "life here" },
    shape("title", {}, `#${life.track_id} ${life.camera}: ${clock(life.from)}, ${duration((end - life.from) / 1000)}`));
  node.style.fill = faceColour(life.track_id);
  return node;
}

function axis(x, from, now, height, narrow) {
  const parts = [], ticks = narrow ? TICKS / 2 : TICKS;
  const form = { hour: "2-digit", minute: "2-digit", ...(span > 600 || narrow ? {} : { second: "2-digit" }) };
  for (let tick = 0; tick <= ticks; tick += 1) {
    const at = from + ((now - from) * tick) / ticks, last = tick === ticks;
    parts.push(shape("line", { x1: x(at), x2: x(at), y1: HEAD - 4, y2: height, class: "tick" }));
    parts.push(shape("text", { x: x(at), y: 11, class: "axis", "text-anchor": last ? "end" : tick ? "middle" : "start" },
      last ? "now" : new Date(at).toLocaleTimeString([], form)));
  }
  return parts;
}

window.addEventListener("resize", () => draw());
