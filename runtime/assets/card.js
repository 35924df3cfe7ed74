// One client of the demo: a replica, what is counted about it, and how it looks.

import { Replica, parsePosition } from "./client.js";
import { duration } from "./plot.js";

const SCHEMA = "dormouse_demo";
/** Tables in the order, and columns as they are, in which Postgres sums them up. */
const SUMMED = ["orders", "receipts", "till"];
const COLUMNS = ["id", "guest", "tea", "state", "degrees", "cents"];
const FLASH_MS = 350;
/** What is called a difference: this many comparisons in a row at the same transaction. */
const DIFFERENCES_MIN = 3;
/** Summing up takes at most this share of the time: one in so many parts. */
const SEAL_PAUSE = 15;
/** Milliseconds; what costs more is done so seldom that it never meets what Postgres said while it is being written. */
const SEAL_COST_MAX = 40;
const KEPT_MAX = 40;
const PHASES = {
  stopped: ["cut", "bad"], connecting: ["connecting", ""], waiting: ["coming back", "warn"],
  backfill: ["first sync", "warn"], catch_up: ["catching up", "warn"], live: ["live", "good"],
};
const count = new Intl.NumberFormat("en");
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2 });

export class Card {
  replica;
  name;
  /** The till's number: how many transactions of the tea room have taken effect here. */
  n = null;
  /** Transactions of the tea room that Postgres has and this client lacks. */
  behind = 0;
  #element; #parts = {}; #rows = new Map(); #flashing = new Map();
  #dirty = true;
  #changes = 0; #lost = 0; #twice = 0; #lastCommit = 0n; #committedAt = 0; #latency = null;
  #seals = new Map(); #truths = new Map(); // number of a transaction → digest of all rows after it, here and in Postgres
  #unsealed = false; #sealAfter = 0; #sealCost = 0;
  #verdict = { differences: 0, at: null, digest: "" };
  #absence = null; // since when, and after how many changes, it was not live
  #plot; #colour; #announce;

  constructor(letter, { plot, announce, order, onremove }) {
    [this.name, this.#colour, this.#plot, this.#announce] = [`Client ${letter}`, `--${letter.toLowerCase()}`, plot, announce];
    const id = `demo-${letter.toLowerCase()}-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
    this.replica = new Replica(`ws://${location.host}/api/sync?client=${id}`, { client: id, backoffMaxMs: 4_000 });
    this.#build(letter);
    this.#parts.cut.onclick = async () => {
      if (this.replica.phase === "stopped") return this.replica.start();
      await order("cut", { client: id });
      this.replica.stop();
    };
    this.#parts.remove.onclick = () => { this.close(); onremove(this); };
    this.replica.onphase = (phase) => this.#onPhase(phase);
    this.replica.ontransaction = (transaction) => this.#onTransaction(transaction);
    this.replica.onchange = () => {
      this.n = this.#till()?.n ?? null;
      this.#dirty = this.#unsealed = true;
    };
    this.#absence = { since: performance.now(), changes: 0 };
    this.#onPhase(this.replica.phase);
    this.replica.start();
  }

  get element() { return this.#element; }

  set removable(may) { this.#parts.remove.hidden = !may; }

  close() {
    this.replica.stop({ forget: true });
    this.#element.remove();
  }

  #build(letter) {
    const fragment = document.getElementById("client-card").content.cloneNode(true);
    this.#element = fragment.firstElementChild;
    for (const part of this.#element.querySelectorAll("[data-is]")) this.#parts[part.dataset.is] = part;
    this.#element.style.setProperty("--own", `var(${this.#colour})`);
    this.#element.dataset.client = letter;
    this.#parts.name.textContent = this.name;
    this.#parts.remove.setAttribute("aria-label", `Remove ${this.name}`);
    this.#element.querySelector("caption").textContent = `The orders that ${this.name} holds`;
  }

  #till() { return this.replica.rows(`${SCHEMA}.till`)[0]; }

  #onPhase(phase) {
    const [label, tone] = PHASES[phase];
    const { cut } = this.#parts;
    this.#parts.phase.textContent = this.replica.fault?.code ?? label;
    this.#parts.phase.className = `phase ${tone}`;
    this.#element.classList.toggle("is-cut", phase === "stopped");
    cut.textContent = phase === "stopped" ? "Reconnect" : "Cut";
    cut.setAttribute("aria-label", `${cut.textContent} ${this.name}`);
    if (phase === "backfill") this.n = null;
    if (phase === "live") {
      const { since, changes } = this.#absence ?? {};
      const caughtUp = count.format(this.#changes - changes);
      if (since) this.#announce(`${this.name} is live: ${caughtUp} changes caught up in ${duration(performance.now() - since)}`);
      this.#absence = null;
    } else {
      if (phase === "stopped") this.#announce(`${this.name} is cut`);
      if (phase === "connecting" || !this.#absence) this.#absence = { since: performance.now(), changes: this.#changes };
    }
    this.#dirty = true;
  }

  #onTransaction({ commit_lsn, committed_at_us, changes }) {
    const { lsn } = parsePosition(commit_lsn);
    this.#twice += lsn <= this.#lastCommit;
    this.#lastCommit = lsn;
    this.#changes += changes.length;
    const n = this.#till()?.n ?? null;
    if (this.n !== null && n > this.n + 1) this.#lost += n - this.n - 1;
    this.n = n;
    this.#committedAt = committed_at_us / 1_000;
    this.#latency = Math.max(0, wallClock() - this.#committedAt);
    this.#plot.add(this.#latency, this.replica.phase === "live", this.#colour);
  }

  /** Hears what Postgres held at a transaction, and compares with what was held here at the same one. */
  hear({ n, digest }) {
    if (this.n !== null) this.behind = Math.max(0, n - this.n);
    keep(this.#truths, n, digest);
    this.#compare(true);
    this.#dirty = true;
  }

  #compare(isNews) {
    const n = [...this.#truths.keys()].reverse().find((n) => this.#seals.has(n));
    if (n === undefined) return;
    const [digest, truth] = [this.#seals.get(n), this.#truths.get(n)];
    if (digest === truth) this.#verdict = { at: n, differences: 0, digest };
    else if (isNews) this.#verdict = { at: n, differences: this.#verdict.differences + 1, digest };
    this.#dirty = true;
  }

  /** Sums up the rows as they are at this transaction; seldom, if that is much work. */
  async #seal() {
    const [n, start] = [this.n, performance.now()];
    if (n === null) return;
    const lines = SUMMED.flatMap((table) => this.replica.rows(`${SCHEMA}.${table}`)
      .sort((a, b) => a.id - b.id).map((row) => Object.values(row).join("|")));
    const text = lines.join("\n");
    this.#sealCost = performance.now() - start;
    this.#sealAfter = performance.now() + this.#sealCost * SEAL_PAUSE;
    const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
    keep(this.#seals, n, [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join(""));
    this.#compare(false);
  }

  /** Brings the page up to date: called once per frame, however much has changed. */
  paint(now) {
    for (const [cell, until] of this.#flashing) {
      if (now < until) continue;
      cell.classList.remove("fresh");
      this.#flashing.delete(cell);
    }
    if (this.#unsealed && now >= this.#sealAfter) {
      this.#unsealed = false;
      this.#seal();
    }
    if (!this.#dirty) return;
    this.#dirty = false;
    const set = (part, text) => { if (this.#parts[part].textContent !== text) this.#parts[part].textContent = text; };
    set("position", this.replica.shown?.position ?? "–");
    set("lag", this.#lag());
    set("applied", count.format(this.#changes));
    set("wrong", `${this.#lost} · ${this.#twice + this.replica.misfits}`);
    this.#parts.wrong.classList.toggle("bad", this.#lost + this.#twice + this.replica.misfits > 0);
    this.#paintVerdict(set);
    set("orders", count.format(this.replica.size(`${SCHEMA}.orders`)));
    set("receipts", count.format(this.replica.size(`${SCHEMA}.receipts`)));
    set("till", money.format((this.#till()?.cents ?? 0) / 100));
    this.#paintRows(now);
  }

  #lag() {
    if (this.n === null) return "–";
    if (this.behind > 0) return `${count.format(this.behind)} tx · ${duration(wallClock() - this.#committedAt)}`;
    return this.#latency === null ? "0 tx" : `0 tx · ${duration(this.#latency)}`;
  }

  #paintVerdict(set) {
    const { at, differences, digest } = this.#verdict;
    const wrong = differences >= DIFFERENCES_MIN;
    const behind = this.behind > 0 && this.replica.phase !== "live";
    if (at === null) {
      set("verdict", this.#sealCost > SEAL_COST_MAX ? "many rows: pause the writer to compare them" : "not compared yet");
    } else {
      const seal = `tx ${count.format(at)} · ${digest.slice(0, 8)}`;
      set("verdict", wrong ? `✗ differs from Postgres at ${seal}` : `✓ ${behind ? "was the same as" : "same as"} Postgres at ${seal}`);
    }
    this.#parts.verdict.className = `verdict ${wrong ? "bad" : at === null || behind ? "quiet" : "good"}`;
    this.#parts.verdict.dataset.at = at ?? "";
    this.#parts.verdict.dataset.verdict = at === null ? "" : wrong ? "differs" : "same";
  }

  #paintRows(now) {
    const body = this.#element.querySelector("tbody");
    const orders = this.replica.rows(`${SCHEMA}.orders`).sort((a, b) => a.id - b.id);
    const isFirst = this.#rows.size === 0;
    const gone = new Set(this.#rows.keys());
    orders.forEach((order, place) => {
      gone.delete(order.id);
      let row = this.#rows.get(order.id);
      const isNew = !row;
      if (isNew) this.#rows.set(order.id, row = newRow());
      if (body.children[place] !== row) body.insertBefore(row, body.children[place] ?? null);
      COLUMNS.forEach((column, at) => {
        const cell = row.cells[at];
        const text = column === "cents" ? money.format(order.cents / 100) : String(order[column]);
        if (cell.textContent === text) return;
        cell.textContent = text;
        if (column === "state") cell.className = `state ${text}`;
        if (isFirst || column === "id") return;
        cell.classList.add("fresh");
        this.#flashing.set(cell, now + FLASH_MS);
      });
    });
    for (const id of gone) {
      this.#rows.get(id).remove();
      this.#rows.delete(id);
    }
  }
}

/** Keeps the newest entries. */
function keep(map, n, digest) {
  map.delete(n);
  map.set(n, digest);
  if (map.size > KEPT_MAX) map.delete(map.keys().next().value);
}

function newRow() {
  const row = document.createElement("tr");
  COLUMNS.forEach((column) => {
    const cell = row.appendChild(document.createElement(column === "id" ? "th" : "td"));
    if (column === "id") cell.scope = "row";
    if (column === "degrees" || column === "cents") cell.className = "right number";
  });
  return row;
}

/** Milliseconds since 1970, finer than `Date.now`, which both agree on unless the clock was set. */
function wallClock() {
  const fine = performance.timeOrigin + performance.now();
  return Math.abs(fine - Date.now()) < 5 ? fine : Date.now();
}
