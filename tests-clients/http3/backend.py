"""A backend that the tests look into: HTTP/1.1, one task a connection."""

import asyncio
import base64
import hashlib
import json
from urllib.parse import parse_qs, urlsplit


class Call:
    """One request as it arrived."""

    def __init__(self, method, target, fields):
        self.method, self.target, self.fields = method, target, fields
        self.body = 0
        self.complete = False  # the request was read to its end
        self.gone = asyncio.Event()  # the edge closed the connection
        self.go = asyncio.Queue()  # what the test lets pass

    def field(self, name):
        return next((v for n, v in self.fields if n == name), None)


class Backend:
    def __init__(self):
        self.calls = []
        self.arrived = asyncio.Event()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self.server.sockets[0].getsockname()[1]

    def stop(self):
        self.server.close()

    def paths(self):
        return [call.target for call in self.calls]

    async def call(self, target):
        """The call of this target, once it is there."""
        while True:
            for call in self.calls:
                if call.target == target:
                    return call
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), 10)

    async def serve(self, reader, writer):
        call = None
        try:
            while True:
                call = None
                line = (await reader.readuntil(b"\r\n")).decode()
                method, target, _ = line.split(" ")
                fields = []
                while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                    name, _, value = line.decode("latin-1").partition(":")
                    fields.append((name.lower(), value.strip(" \t\r\n")))
                call = Call(method, target, fields)
                self.calls.append(call)
                self.arrived.set()
                if not await self.answer(call, reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if call:
                call.gone.set()
            writer.close()

    async def body(self, call, reader):
        """The parts of the body, as they come."""
        if call.field("transfer-encoding") == "chunked":
            while True:
                size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
                left = size
                while left:
                    part = await reader.read(min(left, 65536))
                    if not part:
                        raise ConnectionError
                    left -= len(part)
                    call.body += len(part)
                    yield part
                await reader.readexactly(2)
                if size == 0:
                    break
        else:
            left = int(call.field("content-length") or 0)
            while left:
                part = await reader.read(min(left, 65536))
                if not part:
                    raise ConnectionError
                left -= len(part)
                call.body += len(part)
                yield part
        call.complete = True

    async def watch(self, call, reader):
        """Sees the edge go while nothing is sent."""
        if not await reader.read(1):
            call.gone.set()

    async def answer(self, call, reader, writer):
        url = urlsplit(call.target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        route = getattr(self, "do_" + url.path.strip("/").split("/")[0].replace("-", "_"), None)
        if route is None:
            async for _ in self.body(call, reader):
                pass
            return await self.whole(writer, b"hello", call)
        return await route(call, query, reader, writer)

    async def whole(self, writer, body, call, status="200 OK", fields=""):
        head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{fields}\r\n".encode()
        writer.write(head + (b"" if call.method == "HEAD" else body))
        await writer.drain()
        return True

    async def do_facts(self, call, query, reader, writer):
        digest = hashlib.sha256()
        async for part in self.body(call, reader):
            digest.update(part)
        facts = {
            "method": call.method,
            "target": call.target,
            "fields": call.fields,
            "length": call.body,
            "sha256": digest.hexdigest(),
        }
        kind = "content-type: application/json\r\n"
        return await self.whole(writer, json.dumps(facts).encode(), call, fields=kind)

    async def do_echo(self, call, query, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        async for part in self.body(call, reader):
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def do_down(self, call, query, reader, writer):
        size = int(query["size"])
        if "chunked" in query:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for at in range(0, size, 40_000):
            part = pattern(at, min(40_000, size - at))
            writer.write(b"%x\r\n%s\r\n" % (len(part), part) if "chunked" in query else part)
            await writer.drain()
        if "chunked" in query:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def do_events(self, call, query, reader, writer):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head)
        watch = asyncio.ensure_future(self.watch(call, reader))
        try:
            while (event := await call.go.get()) is not None:
                part = b"data: %s\n\n" % event
                writer.write(b"%x\r\n%s\r\n" % (len(part), part))
                await writer.drain()
        finally:
            watch.cancel()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return False

    async def do_page(self, call, query, reader, writer):
        page = b"""<!doctype html><title>page</title><p id=said></p><script>
            fetch("/facts", {method: "POST", body: "abc".repeat(1000)})
                .then((answer) => answer.json())
                .then((facts) => { said.textContent = `asked with ${facts.length} bytes`; });
            </script>"""
        return await self.whole(writer, page, call, fields="content-type: text/html\r\n")

    async def do_mirror(self, call, query, reader, writer):
        lines = [f"{name}: {value}\r\n" for name, value in call.fields if name.startswith("x-m-")]
        head = f"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{''.join(lines)}\r\n"
        writer.write(head.encode("latin-1"))
        await writer.drain()
        return True

    async def do_ws(self, call, query, reader, writer):
        """Echoes frames until a Close, which it answers."""
        secret = call.field("sec-websocket-key").encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(secret).digest()).decode()
        head = f"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
        writer.write(head.encode())
        opcode = None
        while opcode != 8:
            first, second = await reader.readexactly(2)
            opcode, length = first & 15, second & 127
            if length >= 126:
                length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
            mask = await reader.readexactly(4)
            masked = await reader.readexactly(length)
            payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
            call.body += length
            writer.write(websocket_frame(first, payload))
            await writer.drain()
        return False

    async def do_trailers(self, call, query, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n")
        writer.write(b"3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n")
        await writer.drain()
        return True

    async def do_interim(self, call, query, reader, writer):
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n")
        return await self.whole(writer, b"hello", call)

    async def do_status(self, call, query, reader, writer):
        status = call.target.split("/")[2]
        if status == "304":
            writer.write(b'HTTP/1.1 304 Not Modified\r\netag: "a"\r\ncontent-length: 5\r\n\r\n')
        else:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        return True

    async def do_early(self, call, query, reader, writer):
        await self.whole(writer, b"no", call, status="403 Forbidden", fields="connection: close\r\n")
        # What still comes is read, so that nothing is reset.
        while await reader.read(65536):
            pass
        return False

    async def do_silent(self, call, query, reader, writer):
        async for _ in self.body(call, reader):
            pass
        await self.watch(call, reader)
        return False

    async def do_die(self, call, query, reader, writer):
        if "chunked" in query:
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 500)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"x" * 500)
        await writer.drain()
        return False


def websocket_frame(first, payload):
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    if size < 65536:
        return bytes([first, 126]) + size.to_bytes(2, "big") + payload
    return bytes([first, 127]) + size.to_bytes(8, "big") + payload


def pattern(at, size):
    """Bytes that differ by where they stand."""
    block = bytes(range(251))
    shift = at % 251
    return (block * (size // 251 + 2))[shift : shift + size]
