// The live pictures: one card a camera.

import { command } from "./api.js";
import { $, icon, make, ms, write } from "./dom.js";
import { toast } from "./notes.js";
import { drawZone } from "./zone.js";

const LIVE = 3; // streams at once: a browser opens six connections to a host, and the page needs some
const PREVIEW_MS = 2000;
const STAGES = {
  capture: "from the camera into the ring", wait: "until a worker is free", infer: "finding faces",
  track: "following them", draw: "boxes and JPEG", send: "until the first byte leaves",
};
const STATUS = { online: "live", offline: "offline", disabled: "paused", ended: "ended", starting: "starting" };

const cards = new Map();
let sight = document.visibilityState !== "hidden";

/** Bring all cards up to date. */
export function showCameras(state) {
  for (const camera of state.cameras) {
    if (!cards.has(camera.name)) {
      cards.set(camera.name, new Card(camera, cards.size < LIVE));
      $("cameras").append(cards.get(camera.name).node);
      $("cameras").dataset.count = Math.min(cards.size, 4);
    }
    cards.get(camera.name).update(camera, state.controls);
    cards.get(camera.name).showOutputs(state.rtsp);
  }
}

/** The node does not answer: say so on every picture. */
export function loseCameras(reason) {
  for (const card of cards.values()) card.lose(reason);
}

/** The process that sends pictures is a new one. */
export function reconnect() {
  for (const card of cards.values()) card.connect();
}

document.addEventListener("visibilitychange", () => {
  sight = document.visibilityState !== "hidden";
  for (const card of cards.values()) sight ? card.connect() : card.rest();
});

class Card {
  constructor(camera, live) {
    this.name = camera.name;
    this.live = live;
    this.unseen = 0;
    this.picture = make("img", {
      alt: `Live picture of camera ${camera.name}`, onload: () => this.arrived(), onerror: () => this.failed(),
    });
    this.note = make("p", { class: "cover" }, "Connecting");
    this.status = make("span", { class: "chip" }, make("span", { class: "dot" }), make("span", {}, ""));
    this.facts = make("span", { class: "facts" });
    this.bar = make("div", { class: "stages", role: "img" });
    this.legend = make("dl", { class: "legend" });
    this.pause = this.button("pause", () => this.toggle("enabled"));
    this.privacy = this.button("privacy", () => this.toggle("privacy"));
    const zone = this.button("zone", () => drawZone(this.camera), "Draw zone", `Draw a zone in the picture of ${camera.name}`);
    for (const button of [zone, this.pause]) button.classList.add("second"); // on a phone their icons must do
    const full = this.button("full", () => this.frame.requestFullscreen?.(), "", `Show ${camera.name} on the full screen`);
    const photo = make("a", {
      class: "button icon", href: `snapshot/${camera.name}.jpg`, target: "_blank", rel: "noopener",
      "aria-label": `Open a snapshot of ${camera.name}`, title: "Snapshot",
    }, icon("photo"));
    this.outputs = make("p", { class: "outputs dim" });
    this.frame = make("div", { class: "frame" }, this.picture, this.note);
    this.node = make("article", { class: "card camera", "aria-label": `Camera ${camera.name}` },
      make("header", {}, make("h2", {}, camera.name), this.status, this.facts),
      this.frame,
      make("div", { class: "delay" }, this.bar, this.legend),
      make("div", { class: "row actions" }, this.pause, this.privacy, zone, make("span", { class: "grow" }), photo, full),
      this.outputs);
    this.camera = camera;
    if (sight) this.connect();
  }

  button(name, action, text = "", label = "") {
    const words = make("span", {}, text);
    const node = make("button", { type: "button", class: text || !label ? "" : "icon", onclick: action, "aria-label": label || null, title: label || null }, icon(name), words);
    node.words = words;
    return node;
  }

  connect() {
    clearTimeout(this.timer);
    const path = this.live ? `stream/${this.name}.mjpg` : `snapshot/${this.name}.jpg`;
    this.picture.src = `${path}?t=${Date.now()}`;
    this.unseen = 0;
  }

  rest() {
    clearTimeout(this.timer);
    this.picture.removeAttribute("src"); // the node draws nothing for a page that nobody sees
  }

  arrived() {
    this.hideNote();
    if (!this.live && sight) this.timer = setTimeout(() => this.connect(), PREVIEW_MS);
  }

  failed() {
    if (this.picture.hasAttribute("src")) this.timer = setTimeout(() => sight && this.connect(), 1500);
  }

  update(camera, controls) {
    this.camera = camera;
    const online = camera.status === "online";
    this.status.dataset.state = online ? (camera.reason ? "warn" : "good") : camera.status === "starting" || camera.status === "disabled" ? "idle" : "bad";
    write(this.status.lastChild, STATUS[camera.status] ?? camera.status);
    this.status.title = camera.reason;
    const faces = `${camera.faces} ${camera.faces === 1 ? "face" : "faces"}`;
    const size = camera.width ? ` · ${camera.width}×${camera.height}` : "";
    write(this.facts, online ? `${camera.fps.toFixed(0)} fps${size} · ${faces}` : camera.reason);
    if (camera.width) this.frame.style.aspectRatio = `${camera.width} / ${camera.height}`;
    if (this.picture.naturalWidth) this.hideNote();
    // The node counts who looks: when it does not know of us, the stream broke without a word.
    this.unseen = this.live && sight && camera.viewers === 0 ? this.unseen + 1 : 0;
    if (this.unseen > 2) this.connect();
    this.showDelay(camera.latency_ms);
    this.showSwitches(camera, controls);
  }

  /** Who takes the camera over RTSP, and where it is pushed. */
  showOutputs(rtsp) {
    const mine = rtsp?.cameras[this.name];
    const parts = [];
    if (mine && rtsp.enabled) {
      const players = mine.viewers - mine.push.filter((push) => push.state === "pushing").length;
      parts.push(rtsp.problem ? `RTSP: ${rtsp.problem}` : `RTSP on port ${rtsp.port}: ${players > 0 ? `${players} ${players === 1 ? "player" : "players"}` : "nobody looks"}`);
    }
    if (mine?.problem) parts.push(mine.problem);
    for (const push of mine?.push ?? []) parts.push(`${push.state} ${push.state === "pushing" ? "" : "for a push "}to ${push.to}${push.reason ? ` (${push.reason})` : ""}`);
    write(this.outputs, parts.join(" · "));
    this.outputs.hidden = !parts.length;
    this.outputs.dataset.state = mine && (rtsp.problem || mine.problem || mine.push.some((push) => push.state === "waiting")) ? "warn" : "good";
  }

  showDelay(latency) {
    const known = Object.keys(STAGES).filter((stage) => latency[stage]);
    if (this.bar.childElementCount !== known.length) {
      this.total = make("dd");
      this.bar.replaceChildren(...known.map((stage) => make("span", { class: `stage ${stage}` })));
      this.legend.replaceChildren(...known.map((stage) => make("div", { title: STAGES[stage] },
        make("dt", { class: stage }, stage), make("dd", {}))),
      make("div", { title: "from the glass until the first byte leaves" }, make("dt", { class: "total" }, "total"), this.total));
    }
    known.forEach((stage, index) => {
      this.bar.children[index].style.flexGrow = Math.max(0.05, latency[stage].p50);
      this.bar.children[index].title = `${stage}: ${ms(latency[stage].p50)} (p99 ${ms(latency[stage].p99)}), ${STAGES[stage]}`;
      write(this.legend.children[index].lastChild, ms(latency[stage].p50));
    });
    if (this.total) write(this.total, ms(latency.total?.p50));
    const total = latency.total ? `${ms(latency.total.p50)} in all` : "";
    this.bar.setAttribute("aria-label", known.length ? `Delay by stage: ${known.map((stage) => `${stage} ${ms(latency[stage].p50)}`).join(", ")}. ${total}` : "No delays are known now");
    this.bar.parentElement.hidden = !known.length;
  }

  showSwitches(camera, controls) {
    const { enabled, privacy } = camera.controls;
    this.dress(this.pause, enabled ? "pause" : "play", enabled ? "Pause" : "Resume", `${enabled ? "Pause" : "Resume"} camera ${this.name}`);
    this.dress(this.privacy, privacy ? "privacy" : "eye", privacy ? "Faces covered" : "Cover faces", `Privacy of camera ${this.name}: faces are ${privacy ? "covered" : "shown"}`);
    this.privacy.setAttribute("aria-pressed", String(privacy));
    for (const button of [this.pause, this.privacy]) {
      button.disabled = !controls.available;
      if (!controls.available) button.title = controls.reason;
    }
  }

  dress(button, name, text, label) {
    if (button.getAttribute("aria-label") === label) return;
    button.firstChild.replaceWith(icon(name));
    write(button.words, text);
    button.setAttribute("aria-label", label);
    button.title = label;
  }

  async toggle(what) {
    const now = this.camera.controls[what];
    try {
      await command(this.name, what, now ? "OFF" : "ON");
    } catch (error) {
      toast(`${this.name}: ${error.message}`, true);
    }
  }

  lose(reason) {
    this.status.dataset.state = "bad";
    write(this.status.lastChild, "unknown");
    write(this.note, reason);
    this.note.hidden = false;
  }

  hideNote() {
    this.note.hidden = true;
  }
}
