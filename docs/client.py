#!/usr/bin/env python3
"""A whole client of Dormouse (docs/PROTOCOL.md) in Python's standard library alone. It prints each transaction as a line of
JSON once that is stored; with --store FILE it goes on where it was, even after its own kill."""
import argparse, base64, json, os, random, signal, socket, ssl, struct, sys, time
from urllib.parse import urlsplit

WHOLE = 1 << 32  # as the index of a position: all of that transaction is held
COME_BACK = {"from_the_future", "stale", "too_slow", "going_away", "unavailable", "internal"}
class Refused(Exception): "To come back would not help: a person must act, or a newer connection took over."

def place(position):  # positions are compared as numbers, never as text
    lsn, _, index = position.partition("+")
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16), int(index) if index else WHOLE

class WebSocket:  # RFC 6455, as much of it as this protocol needs
    def __init__(self, url, credential):
        url, key, self.buffer, head = urlsplit(url), base64.b64encode(os.urandom(16)).decode(), bytearray(), b""
        self.socket = socket.create_connection((url.hostname, url.port or {"ws": 80, "wss": 443}[url.scheme]), timeout=15)
        if url.scheme == "wss":
            self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=url.hostname)
        lines = ["GET /api/sync HTTP/1.1", f"Host: {url.netloc}", "Connection: Upgrade", "Upgrade: websocket",
                 "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Protocol: dormouse.v1.json",
                 *([f"Authorization: Bearer {credential}"] if credential else []), "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        while b"\r\n\r\n" not in head:
            head += self.take(1)
        if head[9:12] != b"101":  # 429 and 5xx pass; other refusals stay
            raise (ConnectionError if head[9:12] >= b"429" else Refused)(f"{head.splitlines()[0]} {bytes(self.buffer)}")

    def take(self, size, seconds=15):
        self.socket.settimeout(seconds)
        while len(self.buffer) < size:
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the connection was closed")
            self.buffer += data
        taken, self.buffer = bytes(self.buffer[:size]), self.buffer[size:]
        return taken

    def receive(self, seconds):  # the next text, or None when none came in time
        try:
            first, size = self.take(2, seconds)
        except socket.timeout:
            return None
        payload = self.take(int.from_bytes(self.take({126: 2, 127: 8}[size]), "big") if size > 125 else size)
        if first == 0x88:
            raise ConnectionError(f"closed by the server: {payload[2:].decode()}")
        if first == 0x89:  # a ping of WebSocket's own
            self.send(payload, 0x8A)
        return payload.decode() if first == 0x81 else None  # the server sends whole texts, no fragments

    def send(self, payload, first=0x81):
        size, mask = len(payload), os.urandom(4)  # what a client sends is masked
        head = struct.pack("!BB", first, 128 | size) if size < 126 else struct.pack("!BBH", first, 254, size)
        self.socket.settimeout(15)
        self.socket.sendall(head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload)))

class Client:
    def __init__(self, options):
        self.options, self.failures, self.told, self.ended = options, 0, [], False
        self.hello = {"type": "hello", "client": options.client, "scope": options.tables or "all", "attempt": 0,
                      "instance": str(random.getrandbits(64))}  # drawn anew with each opening of the store
        self.held = {"position": None, "scope": None, "shapes": {}, "tables": {}, "pieces": [], "anomalies": 0}
        if options.store and os.path.exists(options.store):
            self.held = json.load(open(options.store))

    def save(self):  # all that is held becomes durable in one step; only then is it told, and acknowledged
        if self.options.store:
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
        held, through, pieces = self.held["position"], page["through"], self.held["pieces"]
        at, after, end = place(held["position"]), place(page["after"]), place(through["position"])
        if self.expect != "page" or after > at or any(held[name] != through[name] for name in ("era", "schema")):
            raise ConnectionError("a page that does not follow what is held")
        for part in page["transactions"]:  # a part of a transaction says `first` and `complete`
            first = part.get("first", 0)
            if end <= at or (place(part["commit_lsn"])[0], WHOLE) <= at:
                continue  # it is held
            if first and at[1] >= first and self.options.tables:
                raise ConnectionError("how many of these changes are held cannot be told")
            pieces[:] = pieces + part["changes"][at[1] + 1 - first:] if first else part["changes"]
            if part.get("complete", True):  # only now may any of it be shown
                changes = [self.change(self.held["tables"], *change) for change in pieces]
                self.told.append({**part, "era": through["era"], "changes": changes})
                pieces.clear()
        self.held["position"] = through if end > at else held
        self.owe({"type": "ack", "through": through}, 64)

    def on_chunk(self, message):
        backfill, n, complete = message["backfill"], message["n"], message.get("complete")
        if n == 0:  # what was staged, and what is owed for pages before it, is void
            self.staged, self.owed = {}, None
        elif self.expect != (backfill, n):
            raise ConnectionError("a part of a backfill is missing")
        for row in message.get("rows", []):
            self.change(self.staged, "i", message["schema"], row)
        for change in (change for part in message.get("transactions", []) for change in part["changes"]):
            self.change(self.staged, *change)
        self.expect = (backfill, n + 1)
        if not complete:
            return self.owe({"type": "staged", "backfill": backfill, "n": n}, 8)
        self.held.update(position=complete, scope=self.hello["scope"], tables=self.staged, pieces=[])
        self.expect = "page"
        self.told.append({"backfill": True, **complete})
        self.owe({"type": "ack", "through": complete}, 1)

    on_seam = on_chunk
    def on_welcome(self, message): self.hello["client"] = message["client"]
    def on_schema(self, message): self.held["shapes"][str(message["id"])] = message  # its id names it for ever
    def on_resync(self, message): self.expect, self.owed = None, None  # what is shown stays until a backfill is complete
    def on_live(self, message): self.live = True
    def on_error(self, message):
        self.failures *= message["code"] != "going_away"
        raise (ConnectionError if message["code"] in COME_BACK else Refused)(f"{message['code']}: {message['message']}")

    def owe(self, message, window):  # cumulative: sent at half a window, or a second after the first that is owed
        self.count, self.due = (self.count, self.due) if self.owed else (0, time.monotonic() + 1)
        self.count += max(1, self.size // 32768)  # a window of 64 pages is also one of 2 MiB
        self.owed, self.due = message, self.due if self.count * 2 < window else 0

    def converse(self):  # one connection
        resume = self.held["position"] if self.held["scope"] == self.hello["scope"] else None
        self.expect, self.owed, self.live = resume and "page", None, False
        self.socket, self.hello["attempt"] = WebSocket(self.options.url, self.options.credential), self.hello["attempt"] + 1
        self.socket.send(json.dumps({**self.hello, "resume": resume}).encode())
        heard = pinged = time.monotonic()
        while not self.ended and not (self.live and self.options.until_live):
            text, now = self.socket.receive(0.2), time.monotonic()
            heard, pinged = now if text else heard, max(heard, pinged)
            if text and text != "pong":
                message, self.size = json.loads(text), len(text)
                getattr(self, "on_" + message["type"])(message)
            if self.owed and now >= self.due:
                self.save()
                self.socket.send(json.dumps(self.owed).encode())
                self.owed, self.failures = None, 0
            if now - heard > 60:
                raise ConnectionError("the server is silent")
            if now - pinged > 20:
                pinged = self.socket.send(b"ping") or now

    def run(self):  # until it is ended, or live if that is enough
        while not self.ended:
            try:
                return self.converse()
            except OSError as why:  # refused, cut, closed, or something is missing
                print(f"{why}: connecting again in a moment", file=sys.stderr)
            finally:
                self.save()  # before a greeting claims it
            wait, self.failures = min(0.25 * 2 ** self.failures, 30), min(self.failures + 1, 7)
            time.sleep(random.uniform(wait / 2, wait))

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("url"), parser.add_argument("client"), parser.add_argument("--credential")
parser.add_argument("--store", help="a file for what is held"), parser.add_argument("--tables", nargs="+")
parser.add_argument("--until-live", action="store_true"), parser.add_argument("--dump", action="store_true")
client = Client(parser.parse_args())
signal.signal(signal.SIGTERM, lambda *_: setattr(client, "ended", True))
try:
    client.run()
except Refused as why:
    sys.exit(f"refused: {why}")
if client.options.dump:
    print(json.dumps({name: client.held[name] for name in ("position", "anomalies", "tables")}))
