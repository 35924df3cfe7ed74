// How long each transaction took from its commit to each client: a minute of dots, on a logarithmic scale.

const SPAN_MS = 60_000;
const SAMPLES_MAX = 6_000;
const [LEAST_MS, MOST_MS] = [0.3, 30_000];
const LINES = [[1, "1 ms"], [10, "10 ms"], [100, "100 ms"], [1_000, "1 s"], [10_000, "10 s"]];

export class Plot {
  #canvas;
  #samples = []; // { at, ms, live, colour }

  constructor(canvas) {
    this.#canvas = canvas;
  }

  /** One transaction at one client; `live` if the client was, `colour` names a variable of the style sheet. */
  add(ms, live, colour) {
    this.#samples.push({ at: performance.now(), ms: Math.max(ms, LEAST_MS), live, colour });
  }

  /** The median and the 99th percentile of live transactions, in milliseconds; null when there are none. */
  summary() {
    const ms = this.#samples.filter(({ live }) => live).map(({ ms }) => ms).sort((a, b) => a - b);
    const at = (share) => ms[Math.min(ms.length - 1, Math.floor(ms.length * share))];
    return ms.length === 0 ? null : { count: ms.length, p50: at(0.5), p99: at(0.99) };
  }

  draw() {
    const now = performance.now();
    const old = this.#samples.findIndex(({ at }) => now - at < SPAN_MS);
    this.#samples.splice(0, Math.max(old < 0 ? this.#samples.length : old, this.#samples.length - SAMPLES_MAX));
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const scale = window.devicePixelRatio || 1;
    if (this.#canvas.width !== Math.round(width * scale)) this.#canvas.width = Math.round(width * scale);
    if (this.#canvas.height !== Math.round(height * scale)) this.#canvas.height = Math.round(height * scale);
    const context = this.#canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(this.#canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    const label = 46;
    const y = (ms) => height - 5 - (height - 10) * Math.log(ms / LEAST_MS) / Math.log(MOST_MS / LEAST_MS);
    const x = (at) => label + (width - label - 4) * (1 - (now - at) / SPAN_MS);
    context.font = `11px ${colour("--sans")}`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const [ms, text] of LINES) {
      context.fillStyle = colour("--line");
      context.fillRect(label, Math.round(y(ms)), width - label, 1);
      context.fillStyle = colour("--quiet");
      context.fillText(text, label - 7, y(ms));
    }
    for (const sample of this.#samples) {
      context.fillStyle = colour(sample.colour);
      context.globalAlpha = sample.live ? 0.8 : 0.35;
      context.beginPath();
      context.arc(x(sample.at), y(Math.min(sample.ms, MOST_MS)), 1.8, 0, 7);
      context.fill();
    }
    context.globalAlpha = 1;
  }
}

/** A duration for people. */
export function duration(ms) {
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
