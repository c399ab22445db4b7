// Faces that came and went: pictures, list, time line.

import { $, clock, duration, faceColour, icon, make, shape, write } from "./dom.js";

const KEPT = 1000, SHOWN_FACES = 12, SHOWN_EVENTS = 60;
const LANE = 26, HEAD = 20, TICKS = 6;
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
  const names = cameras.length ? cameras : [""];
  const width = Math.max(280, box.clientWidth), height = HEAD + names.length * LANE + 4;
  const left = Math.min(130, 14 + 7.5 * Math.max(...names.map((name) => name.length)));
  const x = (at) => left + ((at - from) / (now - from)) * (width - left - 8);
  const parts = [];
  for (let tick = 0; tick <= TICKS; tick += 1) {
    const at = from + ((now - from) * tick) / TICKS, place = x(at);
    const text = new Date(at).toLocaleTimeString([], span > 600 ? { hour: "2-digit", minute: "2-digit" } : { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    const few = width < 560 && tick % 2 === 1;
    parts.push(shape("line", { x1: place, x2: place, y1: HEAD, y2: height, class: "tick" }));
    if (!few) parts.push(shape("text", { x: place, y: 12, class: "axis", "text-anchor": tick === TICKS ? "end" : tick ? "middle" : "start" }, tick === TICKS ? "now" : text));
  }
  names.forEach((name, lane) => {
    const y = HEAD + lane * LANE;
    parts.push(shape("line", { x1: left, x2: width - 8, y1: y + LANE / 2 + 2, y2: y + LANE / 2 + 2, class: "lane" }));
    parts.push(shape("text", { x: 0, y: y + LANE / 2 + 6, class: "name" }, name));
  });
  let count = 0;
  for (const life of newest) {
    const lane = names.indexOf(life.camera), end = life.over ? life.to : now;
    if (lane < 0 || end < from) continue;
    count += 1;
    const start = Math.max(left, x(life.from));
    const bar = shape("rect", { x: start, y: HEAD + lane * LANE + 6, width: Math.max(4, x(end) - start), height: LANE - 10, rx: 4, class: life.over ? "life" : "life here" },
      shape("title", {}, `#${life.track_id} ${life.camera}: ${clock(life.from)}, ${duration((end - life.from) / 1000)}`));
    bar.style.fill = faceColour(life.track_id);
    parts.push(bar);
  }
  box.replaceChildren(shape("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `${count} faces in the last ${duration(span)}; the list of events has them in words`,
  }, ...parts));
}

window.addEventListener("resize", () => draw());
