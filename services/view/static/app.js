// Asks the node how it is, once a second, and tells all parts of the page.

import { getEvents, getState, logout } from "./api.js";
import { loseCameras, reconnect, showCameras } from "./cameras.js";
import { $, icon, ms, write } from "./dom.js";
import { coverFaces, draw, setLanes, takeEvents } from "./events.js";
import { showProcesses } from "./processes.js";

const PERIOD_MS = 1000, AWAY_MS = 2000;
const covered = new Map(); // privacy of each camera as it was told last
let started = null, rowid = null, lostAt = null;

async function turn() {
  let pause = PERIOD_MS;
  try {
    show(await getState());
    lostAt = null;
  } catch (error) {
    pause = AWAY_MS;
    lose(error);
  }
  setTimeout(turn, document.visibilityState === "hidden" ? 5 * pause : pause);
}

function show(state) {
  if (started !== null && (started !== state.started || lostAt !== null)) reconnect();
  started = state.started;
  delete document.body.dataset.away;
  document.title = `${state.node} · Vedette`;
  write($("node"), state.node);
  write($("version"), `Vedette ${state.version}`);
  $("logout").hidden = !state.password;
  setLanes(state.cameras.map((camera) => camera.name));
  for (const { name, controls } of state.cameras) {
    if (controls.privacy && covered.get(name) === false) coverFaces(name);
    covered.set(name, controls.privacy);
  }
  showCameras(state);
  showProcesses(state);
  showFigures(state);
  showHealth(state);
  showEvents(state.events.rowid);
}

function showFigures(state) {
  const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);
  const delays = state.cameras.map((camera) => camera.latency_ms.total?.p50).filter((value) => value != null);
  const online = state.cameras.filter((camera) => camera.status === "online").length;
  write($("fig-faces"), String(sum(state.cameras.map((camera) => camera.faces))));
  write($("fig-cameras"), `${online}/${state.cameras.length}`);
  write($("fig-delay"), delays.length ? ms(Math.max(...delays)) : "–");
  write($("fig-cpu"), `${sum(state.processes.map((process) => process.cpu_percent)).toFixed(0)} %`);
  write($("fig-memory"), `${sum(state.processes.map((process) => process.pss_mb ?? process.rss_mb)).toFixed(0)} MB`);
}

function showHealth(state) {
  const away = state.processes.filter((process) => process.state === "away" || process.state === "silent");
  const dark = state.cameras.filter((camera) => camera.status === "offline");
  const troubles = [
    ...away.map((process) => `${process.name} is ${process.state === "silent" ? "hanging" : "away"}`),
    ...dark.map((camera) => `camera ${camera.name} is offline`),
  ];
  $("health").dataset.state = troubles.length ? "warn" : "good";
  write($("health-text"), troubles.length === 1 ? troubles[0] : troubles.length ? `${troubles.length} troubles` : "All is well");
  $("health").title = troubles.join("\n");
  const reason = state.controls.available ? "" : state.controls.reason;
  $("banner").hidden = !reason;
  if (reason) write($("banner"), `${reason[0].toUpperCase()}${reason.slice(1)}. They come back by themselves.`);
}

async function showEvents(newest) {
  if (rowid === newest) {
    draw();
    return;
  }
  const again = rowid === null || newest < rowid;
  const answer = await getEvents(again ? 1000 : 500, again ? null : rowid).catch(() => null);
  if (!answer) return;
  rowid = answer.rowid;
  takeEvents(answer.events.reverse());
}

function lose(error) {
  lostAt ??= Date.now();
  document.body.dataset.away = "";
  const seconds = Math.round((Date.now() - lostAt) / 1000);
  $("health").dataset.state = "bad";
  write($("health-text"), "No answer");
  $("banner").hidden = false;
  write($("banner"), `The node has not answered for ${seconds} s (${error.name === "TimeoutError" ? "no answer in time" : error.message}). This page tries again by itself.`);
  loseCameras("The node does not answer");
}

const THEMES = ["auto", "light", "dark"];

function dressTheme() {
  const now = document.documentElement.dataset.theme ?? "auto";
  const text = `Colours: ${now === "auto" ? "as the system" : now}`;
  $("theme").replaceChildren(icon(now));
  $("theme").setAttribute("aria-label", text);
  $("theme").title = text;
}

$("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? "auto";
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try { localStorage.setItem("vedette-theme", next); } catch { /* then it is for this page only */ }
  dressTheme();
});

$("logout").append(icon("logout"));
$("logout").addEventListener("click", async () => {
  await logout().catch(() => null);
  location.assign("login");
});

dressTheme();
turn();
