// A whole Dormouse client for browsers: the protocol of docs/PROTOCOL.md, with its rows in memory.
//
//   const replica = new Replica("ws://127.0.0.1:8080/api/sync", { client: "tablet-7" });
//   replica.onchange = () => show(replica.rows("public.orders"));      // after some commit, never within one
//   replica.start();

const ACK_EVERY_MS = 1000;
const PAGES_OWED_MAX = 32;
const BYTES_OWED_MAX = 1 << 20;
const CHUNKS_OWED_MAX = 4;
const PING_EVERY_MS = 20_000;
const SILENCE_MAX_MS = 60_000;
const BACKOFF_FIRST_MS = 250;
const WORTH_RETRYING = new Set(["replaced", "from_the_future", "stale", "too_slow", "going_away", "unavailable", "internal"]);

export class Replica {
  /** `phase` is stopped, connecting, waiting, backfill, catch_up or live. */
  phase = "stopped";
  /** The error that stopped it for good, as the server said it. */
  fault = null;
  /** The waypoint that is shown; null before the first sync is complete. */
  shown = null;
  /** Changes that did not fit the rows: an insert of a row that was there, an update of one that was not. */
  misfits = 0;
  /** Called with the phase; with each transaction once it has taken effect; after each message that changed something. */
  onphase = () => {};
  ontransaction = () => {};
  onchange = () => {};

  #url; #client; #token; #backoffMax;
  #instance = crypto.getRandomValues(new BigUint64Array(1))[0].toString();
  #attempt = 0;
  #failures = 0;
  #socket = null;
  #timer = null; // of the next dial
  #ticker = null;
  #heardAt = 0;
  #tables = new Map(); // relation → Map of key → row
  #schemas = new Map(); // id → shape; kept over connections, for pieces that an earlier one brought
  #held = null; // the waypoint of what is staged: that of `shown`, or of the last piece
  #pieces = [];
  #staging = null;
  #session = null; // what belongs to one connection

  constructor(url, { client, token, backoffMaxMs = 30_000 }) {
    [this.#url, this.#client, this.#token, this.#backoffMax] = [url, client, token, backoffMaxMs];
  }

  /** The rows of a table, as objects by column name. */
  rows(relation) {
    return [...(this.#tables.get(relation)?.values() ?? [])];
  }

  /** How many rows a table has. */
  size(relation) {
    return this.#tables.get(relation)?.size ?? 0;
  }

  /** Connects, and comes back by itself whenever the connection is lost. */
  start() {
    if (this.#socket || this.#timer !== null) return;
    this.#failures = 0;
    this.#ticker ??= setInterval(() => this.#tick(), ACK_EVERY_MS);
    this.#dial();
  }

  /** Leaves; the rows stay, and `start` goes on from them. `forget` ends the registration at the server too. */
  stop({ forget = false } = {}) {
    if (forget && this.#session) this.#send({ type: "bye" });
    clearInterval(this.#ticker);
    this.#ticker = null;
    this.#leave();
    this.#enter("stopped");
  }

  #enter(phase) {
    if (phase === this.phase) return;
    this.phase = phase;
    this.onphase(phase);
  }

  #dial() {
    this.#timer = null;
    this.#enter("connecting");
    const socket = new WebSocket(this.#url, ["dormouse.v1.json.deflate", "dormouse.v1.json"]);
    socket.binaryType = "arraybuffer";
    let before = Promise.resolve(); // What came earlier is taken first, however long it takes to inflate.
    this.#socket = socket;
    this.#heardAt = Date.now();
    socket.onopen = () => this.#send({
      type: "hello", client: this.#client, instance: this.#instance, attempt: ++this.#attempt, token: this.#token,
      scope: "all", resume: this.#held,
    });
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return; // It crossed our own close.
      this.#heardAt = Date.now();
      before = before.then(async () => {
        const text = typeof data === "string" ? data : await inflate(data);
        if (socket === this.#socket && text !== "pong") this.#receive(JSON.parse(text), text.length);
      }).catch((why) => {
        console.error(why);
        if (socket === this.#socket) this.#comeBack();
      });
    };
    socket.onclose = () => { if (socket === this.#socket) this.#comeBack(); };
  }

  #leave() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    [this.#timer, this.#socket, this.#session] = [null, null, null];
    socket?.close();
  }

  /** Dials again after a wait that grows, with jitter, until something is stored again. */
  #comeBack(most = this.#backoffMax) {
    this.#leave();
    this.#enter("waiting");
    const wait = Math.min(most, BACKOFF_FIRST_MS * 2 ** this.#failures++);
    this.#timer = setTimeout(() => this.#dial(), wait * (0.5 + Math.random()));
  }

  #tick() {
    if (!this.#socket) return;
    const quiet = Date.now() - this.#heardAt;
    if (quiet > SILENCE_MAX_MS) return this.#comeBack();
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (quiet > PING_EVERY_MS) this.#socket.send("ping");
    this.#acknowledge();
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #receive(message, bytes) {
    if (message.type === "error") return this.#onError(message);
    if (message.type === "welcome") {
      this.#client = message.client;
      this.#session = { owed: null, isLive: false };
      return this.#enter(message.from ? "catch_up" : "backfill");
    }
    const session = this.#session;
    if (!session) return this.#comeBack(); // Nothing is promised before the welcome.
    switch (message.type) {
      case "schema": this.#schemas.set(message.id, shapeOf(message)); return;
      case "page": return this.#onPage(message, bytes);
      case "chunk": return this.#onStaging(message, bytes);
      case "seam": return this.#onStaging(message, bytes);
      case "resync": session.owed = null; return this.#enter("backfill");
      case "live": session.isLive = true; return this.#settle();
      default: return this.#comeBack();
    }
  }

  #onError({ code, message }) {
    if (WORTH_RETRYING.has(code)) return this.#comeBack(code === "going_away" ? BACKOFF_FIRST_MS : this.#backoffMax);
    this.stop();
    this.fault = { code, message };
    this.onphase(this.phase);
  }

  /** Live is what the server said it is, unless a backfill stands between. */
  #settle() {
    this.#failures = 0;
    if (this.phase !== "backfill") this.#enter(this.#session.isLive ? "live" : "catch_up");
  }

  /** Pages chain: apply what follows the position held, leave out what is held, greet again at a hole. */
  #onPage({ after, through, transactions }, bytes) {
    const held = this.#held;
    if (this.phase === "backfill" || !held || through.era !== held.era || through.schema !== held.schema) return this.#comeBack();
    const at = parsePosition(held.position);
    if (compare(parsePosition(after), at) > 0) return this.#comeBack();
    if (compare(parsePosition(through.position), at) > 0) {
      for (const transaction of transactions) if (!this.#take(transaction, at)) return this.#comeBack();
      if (transactions.length === 0) this.#pieces = [];
      this.#held = through;
      if (this.#pieces.length === 0) this.shown = through;
      this.onchange();
    }
    this.#settle();
    this.#owe({ type: "ack", through }, bytes, PAGES_OWED_MAX);
  }

  /** One transaction, or a piece of one: shown when its last piece is here. False at a hole. */
  #take(transaction, at) {
    const { lsn } = parsePosition(transaction.commit_lsn);
    if (lsn < at.lsn || (lsn === at.lsn && at.index === Infinity)) return true;
    const { first = 0, complete = true, changes } = transaction;
    if (first === 0) this.#pieces = [];
    const next = this.#pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (first > next) return false;
    this.#pieces.push(changes.slice(next - first));
    if (complete) {
      const all = this.#pieces.flat();
      this.#pieces = [];
      this.#play(this.#tables, all);
      this.ontransaction({ ...transaction, changes: all });
    }
    return true;
  }

  /** Rows of a snapshot, then its seam: staged beside what is shown, and shown all at once when they are complete. */
  #onStaging({ backfill, n, schema, rows = [], transactions = [], complete }, bytes) {
    if (n === 0) this.#staging = { backfill, next: 0, tables: new Map() };
    const staging = this.#staging;
    if (staging?.backfill !== backfill || staging.next !== n) return this.#comeBack();
    staging.next += 1;
    this.#enter("backfill");
    this.#play(staging.tables, rows.map((row) => ["i", schema, row]));
    for (const transaction of transactions) this.#play(staging.tables, transaction.changes);
    if (!complete) return this.#owe({ type: "staged", backfill, n }, bytes, CHUNKS_OWED_MAX);
    this.#tables = staging.tables;
    [this.#staging, this.#pieces, this.#held, this.shown] = [null, [], complete, complete];
    this.#session.owed = null;
    this.#owe({ type: "ack", through: complete }, bytes, 0);
    this.phase = "catch_up"; // Told once, by `#settle`, as what it is.
    if (this.#session.isLive) this.#settle(); else this.onphase(this.phase);
    this.onchange();
  }

  #play(tables, changes) {
    for (const [op, schema, first, second] of changes) {
      const shape = this.#schemas.get(schema);
      if (!tables.has(shape.relation)) tables.set(shape.relation, new Map());
      const rows = tables.get(shape.relation);
      if (op === "t") { rows.clear(); continue; }
      const row = op === "d" ? null : shape.row(op === "m" ? second : first);
      const key = op === "d" || op === "m" ? shape.keyOfKey(first) : shape.keyOfRow(row);
      const old = rows.get(key);
      this.misfits += (op === "i") === Boolean(old);
      if (op === "d" || op === "m") rows.delete(key);
      if (!row) continue;
      for (const name in row) if (isUnchanged(row[name])) row[name] = old?.[name] ?? null;
      rows.set(op === "m" ? shape.keyOfRow(row) : key, row);
    }
  }

  /** Owes an acknowledgement: cumulative, sent at half a window or after a second. */
  #owe(message, bytes, most) {
    const owed = this.#session.owed;
    this.#session.owed = { message, count: (owed?.count ?? 0) + 1, bytes: (owed?.bytes ?? 0) + bytes };
    if (this.#session.owed.count >= most || this.#session.owed.bytes >= BYTES_OWED_MAX) this.#acknowledge();
  }

  #acknowledge() {
    if (!this.#session?.owed) return;
    this.#send(this.#session.owed.message);
    this.#session.owed = null;
  }
}

/** `X/X` is the whole transaction that committed there, `X/X+n` its changes 0 to n. */
export function parsePosition(text) {
  const [, high, low, index] = /^([0-9A-F]+)\/([0-9A-F]+)(?:\+(\d+))?$/i.exec(text);
  return { lsn: (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`), index: index === undefined ? Infinity : Number(index) };
}

function compare(a, b) {
  if (a.lsn !== b.lsn) return a.lsn < b.lsn ? -1 : 1;
  return a.index === b.index ? 0 : a.index - b.index;
}

/** A value that an update left alone comes as `{}`. */
function isUnchanged(value) {
  return value !== null && typeof value === "object" && !("omitted" in value);
}

function shapeOf({ relation, columns }) {
  const names = columns.map(({ name }) => name);
  const keys = columns.filter(({ key }) => key).map(({ name }) => name);
  return {
    relation,
    row: (values) => Object.fromEntries(values.map((value, n) => [names[n], value])),
    keyOfKey: (values) => JSON.stringify(values),
    keyOfRow: (row) => JSON.stringify(keys.map((name) => row[name])),
  };
}/** The text of a deflated message. */
const inflate = (bytes) => new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).text();


