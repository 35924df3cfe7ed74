"use strict";
const report = JSON.parse(document.getElementById("data").textContent);
const { entries, lanes } = report;
const by = (id) => document.getElementById(id);
const clock = (t) => (t / 1e6).toFixed(6);
const span = (t) => t < 1000 ? `${t} µs` : t < 1e6 ? `${(t / 1000).toFixed(1)} ms` : `${(t / 1e6).toFixed(2)} s`;
const say = (e) => `${lanes[e.l]}${e.k === "choice" || e.k === "violation" ? ":" : ""} ${e.w}`;
const onPath = new Set(report.path);
/** The two ends of each way: the numbers of the entries. */
const ways = new Map();
entries.forEach((e, n) => (e.s ?? []).forEach((id) => ways.set(id, { id, from: n, to: null })));
entries.forEach((e, n) => { if (e.g && ways.has(e.g)) ways.get(e.g).to = n; });
/** An element, with attributes and children; text is never taken for markup. */
function make(name, attributes = {}, ...children) {
  const it = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) it.setAttribute(key, value);
  it.append(...children);
  return it;
}
function draw(name, attributes, text) {
  const it = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) it.setAttribute(key, value);
  if (text !== undefined) it.textContent = text;
  return it;
}
