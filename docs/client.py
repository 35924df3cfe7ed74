"""A whole client of Dormouse (docs/PROTOCOL.md) in Python's standard library alone. It prints each transaction as a
line of JSON once that is in its store, a file, from which it goes on, even after its own kill."""
import argparse, base64, http.client, json, os, random, select, sys, time

# others end the process
COME_BACK = {"replaced", "from_the_future", "stale", "too_slow", "going_away", "unavailable", "internal"}

def place(position):  # positions are compared as numbers, never as text
    lsn, index = f"{position}+{1 << 32}".split("+")[:2]  # without an index, all of that transaction is held
    return *(int(half, 16) for half in lsn.split("/")), int(index)

class WebSocket:  # RFC 6455, as much of it as this protocol needs
    def __init__(self, url):
        key, (scheme, host) = base64.b64encode(os.urandom(16)).decode(), url.rstrip("/").split("://")
        opening = {"ws": http.client.HTTPConnection, "wss": http.client.HTTPSConnection}[scheme](host, timeout=15)
        opening.request("GET", "/api/sync", headers={
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Protocol": "dormouse.v1.json"})
        answer = opening.getresponse()  # takes nothing of what follows: the server is silent until the hello
        if answer.status != 101:  # 429 and 5xx pass; other refusals stay
            raise (ConnectionError if answer.status >= 429 else SystemExit)(f"{answer.status} {answer.read().decode()}")
        self.socket, self.buffer = opening.sock, bytearray()

    def take(self, size):
        while len(self.buffer) < size:
            if not (data := self.socket.recv(1 << 16)):  # no less than a record of TLS, so that `select` sees the rest
                raise ConnectionError("the connection was closed")
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def receive(self, seconds):  # the next text, or None when none came in time
        if not self.buffer and not select.select([self.socket], [], [], seconds)[0]:
            return None
        first, size = self.take(2)
        payload = self.take(int.from_bytes(self.take({126: 2, 127: 8}[size]), "big") if size > 125 else size)
        if first != 0x81:  # the server sends texts, each in one frame, and at last a close
            raise ConnectionError(f"closed by the server: {payload[2:].decode()}")
        return payload.decode()

    def send(self, text):  # what a client sends is masked
        payload, mask, size = text.encode(), os.urandom(4), len(text.encode())
        length = bytes([128 | size]) if size < 126 else bytes([128 | 126]) + size.to_bytes(2, "big")
        self.socket.sendall(b"\x81" + length + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload)))

class Client:
    def __init__(self, options):
        self.options, self.failures, self.told, self.ended = options, 0, [], False
        self.hello = {"type": "hello", "client": options.client, "token": options.credential, "scope": "all",
                      "attempt": 0, "instance": str(random.getrandbits(64))}  # drawn anew as the store is opened
        self.held = json.load(open(options.store)) if os.path.exists(options.store) else {
            "position": None, "shapes": {}, "tables": {}, "pieces": [], "anomalies": 0}

    def save(self):  # all that is held becomes durable in one step; only then is it told, and acknowledged
        with open(self.options.store + ".new", "w") as file:
            file.write(json.dumps(self.held)), file.flush(), os.fsync(file.fileno())
        os.replace(self.options.store + ".new", self.options.store)
        while self.told:
            print(json.dumps(self.told.pop(0)), flush=True)

    def change(self, tables, op, shape, *values):  # carries one change out and returns it in names
        shape = self.held["shapes"][str(shape)]
        table, keys = tables.setdefault(shape["relation"], {}), [c["name"] for c in shape["columns"] if c["key"]]
        row = dict(zip((column["name"] for column in shape["columns"]), values[-1])) if op in "ium" else {}
        key = json.dumps(values[0] if op in "md" else [row[name] for name in keys] if row else None)
        old = table.pop(key, None) if op != "t" else table.clear()
        self.held["anomalies"] += (old is None) == (op in "umd")  # none, while both sides keep the protocol
        row = {name: (old or {}).get(name, {}) if value == {} else value for name, value in row.items()}
        if row:
            table[json.dumps([row[name] for name in keys])] = row
        return {"op": op, "relation": shape["relation"], "key": json.loads(key), "row": row}

    def on_page(self, page):
        held, through, pieces, tables = self.held["position"], page["through"], self.held["pieces"], self.held["tables"]
        at, after, end = place(held["position"]), place(page["after"]), place(through["position"])
        if self.expect != "page" or after > at or any(held[name] != through[name] for name in ("era", "schema")):
            raise ConnectionError("a page that does not follow what is held")
        new = [part for part in page["transactions"] if at < min(end, place(part["commit_lsn"]))]  # others are held
        for part in new:  # a piece of a transaction says `first` and `complete`
            pieces[:] = pieces + part["changes"][at[-1] + 1 - part["first"]:] if part.get("first") else part["changes"]
            if part.get("complete", True):  # only now may any of it be shown
                self.told.append({**part, "changes": [self.change(tables, *change) for change in pieces]})
                pieces.clear()
        self.held["position"] = through if end > at else held
        self.owe({"type": "ack", "through": through}, 64)

    def on_chunk(self, message):
        backfill, n, complete = message["backfill"], message["n"], message.get("complete")
        if n == 0:  # what was staged, and what is owed for pages before it, is void
            self.staged, self.owed = {}, None
        elif self.expect != (backfill, n):
            raise ConnectionError("a part of a backfill is missing")
        changes = [change for part in message.get("transactions", []) for change in part["changes"]]
        for change in [("i", message["schema"], row) for row in message.get("rows", [])] + changes:
            self.change(self.staged, *change)
        self.expect = "page" if complete else (backfill, n + 1)
        if not complete:
            return self.owe({"type": "staged", "backfill": backfill, "n": n}, 8)
        self.held.update(position=complete, tables=self.staged, pieces=[])
        self.told.append({"backfill": True, **complete})
        self.owe({"type": "ack", "through": complete}, 1)

    on_seam = on_chunk
    def on_welcome(self, message): self.hello["client"] = message["client"]
    def on_schema(self, message): self.held["shapes"][str(message["id"])] = message  # its id names it for ever
    def on_resync(self, message): self.expect, self.owed = None, None  # what is shown stays until all came
    def on_live(self, message): self.failures, self.ended = 0, self.options.until_live
    def on_error(self, message):
        self.failures *= message["code"] != "going_away"
        raise (ConnectionError if message["code"] in COME_BACK else SystemExit)("{code}: {message}".format(**message))

    def owe(self, message, window):  # cumulative: sent at half a window, or a second after the first that is owed
        self.count, self.due = (self.count, self.due) if self.owed else (0, time.monotonic() + 1)
        self.count += max(1, self.size // 32768)  # a window of 64 pages is also one of 2 MiB
        self.owed, self.due = message, self.due if self.count * 2 < window else 0

    def converse(self):  # one connection
        self.save()  # before a greeting claims it
        self.expect, self.owed, self.socket = self.held["position"] and "page", None, WebSocket(self.options.url)
        self.hello.update(attempt=self.hello["attempt"] + 1, resume=self.held["position"])
        self.socket.send(json.dumps(self.hello))
        heard = pinged = time.monotonic()
        while not self.ended:
            text, now = self.socket.receive(0.2), time.monotonic()
            heard, pinged = now if text else heard, max(heard, pinged)
            if text and text != "pong":
                message, self.size = json.loads(text), len(text)
                getattr(self, "on_" + message["type"])(message)
            if self.owed and (now >= self.due or self.ended):
                self.save()
                self.socket.send(json.dumps(self.owed))
                self.owed, self.failures = None, 0
            if now - heard > 60:
                raise ConnectionError("the server is silent")
            if now - pinged > 20:
                pinged = self.socket.send("ping") or now

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("url"), parser.add_argument("client"), parser.add_argument("--credential")
parser.add_argument("--store", required=True), parser.add_argument("--until-live", action="store_true")
parser.add_argument("--dump", action="store_true", help="print all that is held at the end")
client = Client(parser.parse_args())
while not client.ended:
    try:
        client.converse()
    except (OSError, http.client.HTTPException) as why:  # refused, cut, closed, or something is missing
        print(f"{why}: connecting again in a moment", file=sys.stderr)
        wait, client.failures = min(0.25 * 2 ** client.failures, 30), min(client.failures + 1, 7)
        time.sleep(random.uniform(wait / 2, wait))
if client.options.dump:
    print(json.dumps({name: client.held[name] for name in ("position", "anomalies", "tables")}))
