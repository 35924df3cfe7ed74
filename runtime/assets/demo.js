// The demo's page: clients side by side, buttons, and what Postgres and the server say.

import { Card } from "./card.js";
import { Plot, duration } from "./plot.js";

const LETTERS = ["A", "B", "C", "D"];
const CLIENTS_MIN = 2;
const ASK_EVERY_MS = 500;
const DRAW_EVERY_MS = 100;
const NEWS_EVERY_MS = 700;
const token = document.querySelector("meta[name=dormouse-token]").content;
const at = (id) => document.getElementById(id);
const count = new Intl.NumberFormat("en");

const plot = new Plot(at("plot"));
const cards = [];

/** Asks the demo to do something; its answer, or null when there is none. */
async function order(what, parameters = {}) {
  const query = new URLSearchParams(parameters);
  const response = await fetch(`/demo/${what}?${query}`, { method: "POST", headers: { "x-dormouse-demo": token } }).catch(() => null);
  if (!response) return announce("The demo has ended: start it again in the terminal"), null;
  if (!response.ok) return announce((await response.text()).trim()), null;
  return response.status === 204 ? {} : response.json();
}

// ---- News: one sentence at a time, so that a screen reader keeps up.

const news = [];
let newsTimer = null;
function announce(sentence) {
  news.push(sentence);
  newsTimer ??= setInterval(tellNews, NEWS_EVERY_MS);
  if (news.length === 1) tellNews();
}
function tellNews() {
  const sentence = news.shift();
  if (sentence) return void (at("news").textContent = sentence);
  clearInterval(newsTimer);
  newsTimer = null;
}

// ---- Clients

function addClient() {
  const letter = LETTERS.find((letter) => !cards.some((card) => card.name.endsWith(letter)));
  if (!letter) return;
  const card = new Card(letter, { plot, announce, order, onremove: removeClient });
  cards.push(card);
  at("clients").append(card.element);
  settleClients();
}
function removeClient(card) {
  cards.splice(cards.indexOf(card), 1);
  settleClients();
  at("add").focus();
}
function settleClients() {
  at("add").disabled = cards.length === LETTERS.length;
  for (const card of cards) card.removable = cards.length > CLIENTS_MIN;
}

// ---- Buttons

at("add").onclick = addClient;
at("write").onclick = async () => {
  const written = await order("write");
  if (written) announce(`One order written, as transaction ${count.format(written.n)}`);
};
at("burst").onclick = async () => {
  at("burst").setAttribute("aria-disabled", "true");
  const start = performance.now();
  const written = await order("burst");
  at("burst").removeAttribute("aria-disabled");
  if (written) announce(`${count.format(written.changes)} changes committed in ${count.format(written.transactions)} transactions, ${duration(performance.now() - start)}`);
};
at("writer").onclick = async () => {
  const pause = at("writer").getAttribute("aria-pressed") !== "true";
  if (await order("writer", { on: !pause })) showWriter(!pause);
};
at("hibernate").onclick = async () => {
  if (await order("hibernate")) announce("The hubs were dropped, and are rebuilt from what is kept with the sockets");
};
at("kill").onclick = () => order("kill");

function showWriter(writes) {
  at("writer").setAttribute("aria-pressed", String(!writes));
}

// ---- What Postgres and the server say

async function ask(path) {
  const response = await fetch(path).catch(() => null);
  return response?.ok ? response.json() : null;
}

let wasAlive = true;
function showServer({ server, status, writes }) {
  const alive = server.pid !== null;
  if (wasAlive !== alive) announce(alive ? "The server was started again" : "The server was killed with SIGKILL");
  wasAlive = alive;
  const phase = alive ? status?.phase ?? "starting" : "killed";
  at("server-phase").textContent = phase;
  at("server-phase").className = `phase ${phase === "streaming" ? "good" : alive ? "warn" : "bad"}`;
  const { live = 0, catch_up = 0, backfill = 0, greeted = 0, hibernated = 0 } = status?.sessions ?? {};
  const bytes = (n) => n == null ? "–" : n < 1 << 20 ? `${Math.round(n / 1024)} kB` : `${(n / (1 << 20)).toFixed(1)} MB`;
  const texts = {
    head: status?.head ?? "–", covered: status?.covered ?? "–", memory: bytes(server.rss_bytes), wal: bytes(status?.retained_wal_bytes),
    process: `${server.pid ?? "–"}, life ${server.lives}`,
    sessions: status ? sessions({ live, behind: catch_up + backfill + greeted, asleep: hibernated }) : "–",
  };
  for (const [id, text] of Object.entries(texts)) at(id).textContent = text;
  showWriter(writes);
}

function sessions(counts) {
  const some = Object.entries(counts).filter(([, n]) => n > 0).map(([name, n]) => `${n} ${name}`);
  return some.join(" · ") || "none";
}

async function askPostgres() {
  const truth = await ask("/demo/truth");
  if (!truth) return;
  at("truth").textContent = `${count.format(truth.n)} tx · ${count.format(truth.rows)} rows`;
  at("digest").textContent = `${truth.digest.slice(0, 8)}…`;
  for (const card of cards) card.hear(truth);
}

async function askAlways() {
  if (!document.hidden) {
    const [state] = await Promise.all([ask("/demo/state"), askPostgres()]);
    if (state) showServer(state);
  }
  setTimeout(askAlways, ASK_EVERY_MS);
}

// ---- Painting: once per frame, however much has changed, and not at all while nobody looks.

let drawnAt = 0;
function frame(now) {
  for (const card of cards) card.paint(now);
  if (now - drawnAt > DRAW_EVERY_MS) {
    drawnAt = now;
    plot.draw();
    const summary = plot.summary();
    at("latency").textContent = summary ? `p50 ${duration(summary.p50)} · p99 ${duration(summary.p99)}` : "measuring";
  }
  requestAnimationFrame(frame);
}

addEventListener("pagehide", () => cards.forEach((card) => card.close()));
for (let n = 0; n < CLIENTS_MIN; n++) addClient();
requestAnimationFrame(frame);
askAlways();
