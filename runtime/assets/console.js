// The console: asks the server every two seconds and shows what it says. It changes nothing.

const EVERY_MS = 2000;
const PART = 100;
const PHASES = {
  idle: ["warn", "has not started yet"],
  standby: ["warn", "another process holds the lease, or the database is away; this one takes over when it can"],
  preparing: ["warn", "has the lease and looks at slot and history; the stream starts in a moment"],
  streaming: ["good", "what is committed is recorded in history and sent to clients"],
  stopping: ["warn", "finishes what is being recorded and releases the lease"],
  stopped: ["warn", "has ended with the server"],
  halted: ["bad", "will not go on by itself: somebody must act"],
};
const SESSIONS = {
  greeted: "its position is being judged",
  backfill: "gets a snapshot and what joins it to the stream",
  catch_up: "gets what it lacks from history",
  live: "gets what is announced",
  hibernated: "has all there is; its hub sleeps",
};
const CODES = {
  malformed: "not a message of the protocol: mend the client",
  too_large: "a frame over the limit",
  unknown_version: "another version of the protocol",
  unauthorized: "no credential, or a wrong one",
  forbidden: "not allowed for this client id, origin or host",
  unknown_scope: "asked for tables that are not published",
  from_the_future: "claims a position that history does not have",
  stale: "an older greeting of the same client",
  replaced: "a newer session of the same client took over",
  too_slow: "did not greet or acknowledge in time",
  going_away: "this server was shutting down",
  unavailable: "could not be served at that time",
  internal: "a defect of the server: look at its log",
};

const $ = (id) => document.getElementById(id);
const view = { after: "", key: "id", down: false, clients: [] };

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Changes a text only when it is another one, so that a screen reader does not say it again.
function say(id, text, className) {
  const there = $(id);
  if (there.textContent !== text) there.textContent = text;
  if (className !== undefined && there.className !== className) there.className = className;
}

const number = new Intl.NumberFormat("en");

function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; n >= 1000 && unit < units.length - 1; unit += 1) n /= 1000;
  return `${unit === 0 ? n : n.toFixed(1)} ${units[unit]}`;
}

function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

// An LSN, or the LSN of a position, as a number that is exact enough for a distance.
function lsn(text) {
  if (!text) return null;
  const [high, low] = text.split("+")[0].split("/");
  return parseInt(high, 16) * 2 ** 32 + parseInt(low, 16);
}

function behind(from, to) {
  const [a, b] = [lsn(from), lsn(to)];
  return a === null || b === null ? null : Math.max(0, b - a);
}

function list(id, pairs) {
  const children = pairs.flatMap(([name, value, className]) => [element("dt", name), element("dd", value, className)]);
  $(id).replaceChildren(...children);
}

function rows(id, entries, none) {
  const made = entries.map(([name, count, meaning]) => {
    const row = element("tr");
    const head = element("th", name);
    head.scope = "row";
    row.append(head, element("td", number.format(count), "number right"), element("td", meaning, "quiet"));
    return row;
  });
  if (made.length === 0) {
    const row = element("tr");
    const cell = element("td", none, "quiet");
    cell.colSpan = 3;
    row.append(cell);
    made.push(row);
  }
  $(id).replaceChildren(...made);
}

// Samples of OpenMetrics text: name → [labels, value].
function samples(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const parts = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!parts) continue;
    const labels = Object.fromEntries([...(parts[2] ?? "").matchAll(/([a-z_]+)="([^"]*)"/g)].map((m) => [m[1], m[2]]));
    found.set(parts[1], [...(found.get(parts[1]) ?? []), [labels, Number(parts[3])]]);
  }
  return found;
}

function showStatus(status, ready) {
  const [tone, meaning] = PHASES[status.phase] ?? ["warn", ""];
  const word = ready.ready ? "ready" : `not ready: ${(ready.reason ?? "unknown").replaceAll("_", " ")}`;
  say("verdict", word, `badge ${ready.ready ? "good" : "bad"}`);
  document.title = `${ready.ready ? "" : "⚠ "}Dormouse console`;
  const phase = $("phase");
  const text = `${status.phase}: ${meaning}`;
  if (phase.textContent !== text) phase.replaceChildren(element("strong", status.phase, tone), `: ${meaning}`);
  const lease = status.lease.holder ? `${status.lease.holder}${status.lease.ours ? " (this process)" : ""}` : "nobody";
  const age = status.progress_age_ms === null ? "never" : `${span(status.progress_age_ms)} ago`;
  list("places", [
    ["Era", status.era ?? "none yet", "number"],
    ["Head", status.head ?? "–", "number"],
    ["Covered", `${status.covered ?? "–"} (${bytes(behind(status.covered, status.written))} behind the WAL)`, "number"],
    ["Confirmed", `${status.confirmed} (${bytes(behind(status.confirmed, status.written))} behind the WAL)`, "number"],
    ["Progress seen", age, status.progress_is_fresh ? "good" : "warn"],
    ["Lease", `${lease}, token ${status.lease.token ?? "–"}`],
  ]);
  const [held, most] = [status.retained_wal_bytes, status.retained_wal_bytes_max];
  say("wal", held === null ? "the database does not answer" : bytes(held));
  say("wal-limit", most === null ? "(no max_slot_wal_keep_size: the slot can fill the disk)" : `of ${bytes(most)}, then Postgres gives the slot up`);
  const meter = $("wal-meter");
  meter.hidden = most === null || held === null;
  if (!meter.hidden) {
    meter.value = Math.min(1, held / most);
    meter.textContent = `${Math.round(meter.value * 100)} %`;
  }
  rows("sessions", Object.entries(SESSIONS).map(([name, means]) => [name.replace("_", "-"), status.sessions[name] ?? 0, means]), "none");
}

function showAlarms(status, ready) {
  const alarms = [];
  if (status?.halt) alarms.push(status.halt.message);
  if (ready && !ready.ready && ready.message && !status?.halt) alarms.push(ready.message);
  if (status?.trouble && ready?.ready !== true && !alarms.some((said) => said.includes(status.trouble))) alarms.push(`The last stream ended: ${status.trouble}`);
  const [held, most] = [status?.retained_wal_bytes, status?.retained_wal_bytes_max];
  if (held && most && held > most / 2) {
    alarms.push(`The slot holds back ${bytes(held)} of WAL, and Postgres gives it up at ${bytes(most)}: see why confirmed does not move, or raise max_slot_wal_keep_size.`);
  }
  $("alarms").hidden = alarms.length === 0;
  const shown = [...$("alarm-list").children].map((item) => item.textContent);
  if (shown.join("\n") !== alarms.join("\n")) $("alarm-list").replaceChildren(...alarms.map((text) => element("li", text)));
}

function showMetrics(text) {
  const found = samples(text);
  const value = (name) => (found.get(name) ?? []).reduce((sum, [, v]) => sum + v, 0);
  const mean = (name, unit) => {
    const count = value(`${name}_count`);
    return count === 0 ? "–" : `${((value(`${name}_sum`) / count) * 1000).toFixed(1)} ${unit}`;
  };
  list("work", [
    ["Recorded", `${number.format(value("dormouse_history_transactions_total"))} transactions, ${number.format(value("dormouse_history_changes_total"))} changes`],
    ["Append", `${mean("dormouse_append_duration_seconds", "ms")} on average`],
    ["Commit to sent", `${mean("dormouse_commit_to_sent_seconds", "ms")} on average, by two clocks`],
    ["Sent", `${number.format(value("dormouse_frames_sent_total"))} frames, ${bytes(value("dormouse_sent_bytes_total"))}`],
    ["Backfills", `${number.format(value("dormouse_backfills_completed_total"))} of ${number.format(value("dormouse_backfills_started_total"))} complete, ${number.format(value("dormouse_spools"))} snapshots on disk (${bytes(value("dormouse_spool_bytes"))})`],
    ["Resyncs", (found.get("dormouse_resyncs_total") ?? []).map(([labels, n]) => `${labels.reason} ${number.format(n)}`).join(", ") || "none"],
    ["Connections", `${number.format(value("dormouse_connections_open"))} open`],
    ["Process", `${bytes(value("process_resident_memory_bytes"))} of memory, ${value("process_cpu_seconds_total").toFixed(1)} s of CPU`],
  ]);
  const refusals = (found.get("dormouse_refusals_total") ?? []).map(([labels, n]) => [labels.code, n, CODES[labels.code] ?? ""]);
  rows("refusals", refusals.sort((a, b) => b[1] - a[1]), "none so far");
  const build = found.get("dormouse_build_info")?.[0]?.[0];
  if (build) say("build", `· version ${build.version}, commit ${build.commit}`);
}

function showClients() {
  const wished = $("filter").value.trim().toLowerCase();
  const shown = view.clients.filter((client) => `${client.id} ${client.phase ?? "away"}`.toLowerCase().includes(wished));
  const of = (client) => (view.key === "position" ? lsn(client.position) : client[view.key]);
  shown.sort((a, b) => {
    const [x, y] = [of(a), of(b)];
    if (x === y) return a.id < b.id ? -1 : 1;
    if (x === null) return 1;
    if (y === null) return -1;
    return (x < y ? -1 : 1) * (view.down ? -1 : 1);
  });
  const now = Date.now();
  const made = shown.map((client) => {
    const row = element("tr");
    const head = element("th", client.id);
    head.scope = "row";
    row.append(
      head,
      element("td", client.connected ? client.phase.replace("_", "-") : "away", client.connected ? "good" : "quiet"),
      element("td", client.position ?? "none", "number"),
      element("td", client.lag_bytes === null ? (client.position ? "other era" : "–") : bytes(client.lag_bytes), "number right"),
      element("td", `${span(now - client.seen_at_ms)} ago`, "right"),
      element("td", span(client.expires_at_ms - now), "right"),
      element("td", String(client.epoch), "number right"),
    );
    return row;
  });
  $("client-rows").replaceChildren(...made);
  const part = view.after ? `after ${view.after}` : "from the first";
  say("part", `${shown.length} of ${view.clients.length} in this part, ${part}`);
}

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(15000), cache: "no-store" });
  return response;
}

async function refresh() {
  const clientsPath = `/api/sync/clients?limit=${PART}&after=${encodeURIComponent(view.after)}`;
  const asked = view.after;
  try {
    const [status, clients, metrics] = await Promise.all([ask("/api/replication/status"), ask(clientsPath), ask("/metrics")]);
    if (!status.ok) throw new Error(`the server answered ${status.status}`);
    const report = await status.json();
    // Readiness may take as long as a proof, when there is trouble: it is asked for beside the rest.
    showStatus(report, view.ready ?? { ready: report.progress_is_fresh, reason: "asking" });
    showAlarms(report, view.ready);
    if (metrics.ok) showMetrics(await metrics.text());
    if (clients.ok && asked === view.after) {
      const body = await clients.json();
      view.clients = body.clients;
      view.next = body.next;
      $("next").disabled = body.next === null;
      $("first").disabled = view.after === "";
      showClients();
    }
    say("fresh", `as of ${new Date().toLocaleTimeString("en-GB")}`, "quiet");
  } catch (why) {
    say("verdict", "the server does not answer", "badge bad");
    say("fresh", `since ${$("fresh").textContent.replace(/^.*(as of|since as of) /, "")} (${why.message})`, "warn");
  }
}

async function judge() {
  try {
    view.ready = await (await ask("/readyz")).json();
  } catch {
    view.ready = undefined;
  }
}

async function repeat(what) {
  for (;;) {
    await what();
    do await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    while (document.hidden);
  }
}

$("filter").addEventListener("input", showClients);
$("first").addEventListener("click", () => { view.after = ""; refresh(); });
$("next").addEventListener("click", () => { if (view.next) { view.after = view.next; refresh(); } });
for (const button of document.querySelectorAll("#clients th button")) {
  button.addEventListener("click", () => {
    view.down = view.key === button.dataset.key ? !view.down : false;
    view.key = button.dataset.key;
    for (const head of document.querySelectorAll("#clients thead th")) head.removeAttribute("aria-sort");
    button.parentElement.setAttribute("aria-sort", view.down ? "descending" : "ascending");
    showClients();
  });
}
repeat(judge);
repeat(refresh);
