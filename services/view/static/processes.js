// The table of processes.

import { command } from "./api.js";
import { $, icon, make, ms, write } from "./dom.js";
import { confirm, toast } from "./notes.js";
import { remember, sparkline } from "./sparkline.js";

const MOOD = { running: "good", starting: "idle", waiting: "warn", silent: "bad", away: "bad" };
const rows = new Map();

/** Bring the table up to date. */
export function showProcesses(state) {
  const names = new Set(state.processes.map((process) => process.name));
  for (const [name, row] of rows) {
    if (!names.has(name)) {
      row.node.remove();
      rows.delete(name);
    }
  }
  for (const process of state.processes) {
    if (!rows.has(process.name)) {
      rows.set(process.name, new Row(process));
      $("processes").append(rows.get(process.name).node);
    }
    rows.get(process.name).update(process, state.controls);
  }
  const well = state.processes.filter((process) => process.state === "running").length;
  write($("processes-note"), `${well} of ${state.processes.length} running`);
}

class Row {
  constructor(process) {
    const name = process.name, cell = (title, ...parts) => make("td", { "data-title": title }, ...parts);
    this.name = name;
    this.state = make("span", { class: "chip" }, make("span", { class: "dot" }), make("span"));
    this.reason = make("span", { class: "reason dim" });
    this.rate = make("span", { class: "number" });
    this.latency = make("span", { class: "number" });
    this.cpu = make("span", { class: "number" });
    this.memory = make("span", { class: "number" });
    this.drops = make("span", { class: "number" });
    this.dropReasons = make("span", { class: "reason dim" });
    this.restarts = make("span", { class: "number" });
    this.lastEnd = make("span", { class: "reason dim" });
    this.core = make("span", { class: "number" });
    this.sparks = ["rate", "latency", "cpu", "memory"].map((what) => sparkline(`${name} ${what}`, `${what} of ${name} over the last minute`));
    this.button = make("button", { type: "button", class: "icon", "aria-label": `Restart ${name}`, title: `Restart ${name}`, onclick: () => this.restart() }, icon("restart"));
    this.node = make("tr", {},
      make("th", { scope: "row" }, make("span", { class: "process" }, name), make("span", { class: "reason dim" }, process.purpose)),
      cell("State", this.state, this.reason),
      cell("Rate", this.rate, this.sparks[0]),
      cell("Latency", this.latency, this.sparks[1]),
      cell("CPU", this.cpu, this.sparks[2]),
      cell("Memory", this.memory, this.sparks[3]),
      cell("Dropped", this.drops, this.dropReasons),
      cell("Restarts", this.restarts, this.lastEnd),
      cell("Core", this.core),
      make("td", { class: "act" }, this.button));
  }

  update(process, controls) {
    const mood = process.state === "running" && process.reason ? "warn" : MOOD[process.state] ?? "idle";
    this.state.dataset.state = mood;
    this.node.dataset.state = mood;
    write(this.state.lastChild, process.state);
    write(this.reason, process.reason ?? "");
    write(this.rate, process.rate == null ? "–" : `${process.rate.toFixed(process.rate < 10 ? 1 : 0)} /s`);
    write(this.latency, process.latency ? `${ms(process.latency.p50)} / ${ms(process.latency.p99)}` : "–");
    write(this.cpu, process.cpu_percent == null ? "–" : `${process.cpu_percent.toFixed(1)} %`);
    const memory = process.pss_mb ?? process.rss_mb;
    write(this.memory, memory == null ? "–" : `${memory.toFixed(0)} MB`);
    const drops = Object.entries(process.drops ?? {}).filter(([, count]) => count).sort((a, b) => b[1] - a[1]);
    write(this.drops, process.drops ? String(drops.reduce((sum, [, count]) => sum + count, 0)) : "–");
    write(this.dropReasons, drops.slice(0, 3).map(([reason, count]) => `${reason.replaceAll("_", " ")} ${count}`).join(", "));
    write(this.restarts, String(process.restarts));
    write(this.lastEnd, process.last_end ?? "");
    write(this.core, process.core == null ? "–" : String(process.core));
    remember(`${this.name} rate`, process.rate);
    remember(`${this.name} latency`, process.latency?.p50);
    remember(`${this.name} cpu`, process.cpu_percent);
    remember(`${this.name} memory`, memory);
    for (const spark of this.sparks) spark.update();
    this.button.disabled = !controls.available;
  }

  async restart() {
    const own = this.name === "view" ? " This page comes back by itself." : "";
    if (!(await confirm(`Restart ${this.name}?`, `The other processes go on.${own}`, "Restart"))) return;
    try {
      await command(this.name, "restart", "PRESS");
      toast(`${this.name} is being restarted`);
    } catch (error) {
      toast(`${this.name}: ${error.message}`, true);
    }
  }
}
