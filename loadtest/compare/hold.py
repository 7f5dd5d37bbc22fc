"""Holds connections open after one request each, and reads what they cost.

    hold.py KIND COUNT PORT PID BACKEND_PORT

Connects to the edge (process PID) at 127.0.0.1:PORT and serves its backend at
BACKEND_PORT. Prints one line: kind, connections, KiB of resident memory each,
share given back 10 s after all have closed, and the three readings in KiB.
"""

import asyncio
import os
import ssl
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n"
STREAM = b"GET /sse HTTP/1.1\r\nHost: edge\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
BODY = b"x" * 1024
EVENT = b"data: a\n\n"


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


async def serve(reader, writer):
    """The backend: 1 KiB, an event stream that stays open, or an upgrade."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b" /sse" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n" + EVENT + b"\r\n")
                await reader.read()
            elif b" /ws" in head:
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                )
                await reader.read()
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + BODY)
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        pass
    finally:
        writer.close()


def client_tls(*protocols):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


class Held:
    """An open connection. It refers to all of its parts: asyncio closes what nobody refers to."""

    def __init__(self, close, *parts):
        self.close, self.parts = close, parts


def http1(request, complete, context=None):
    """One request over HTTP/1.1; the answer is there when `complete(bytes)`."""

    async def hold(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(request)
        seen = b""
        while not complete(seen):
            more = await reader.read(4096)
            if not more:
                raise SystemExit(f"closed early: {seen!r}")
            seen += more
        return Held(writer.transport.abort, reader, writer)

    return hold


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def http2():
    """One request over HTTP/2: literal fields, both SETTINGS acknowledged."""
    context = client_tls("h2")
    # :method GET, :path /, :scheme https from the static table; :authority edge.
    fields = b"\x82\x84\x87\x41\x04edge"
    opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 5, 1, fields)

    async def hold(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(opening)
        received, ended = 0, False
        while not ended:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            kind, flags = head[3], head[4]
            if kind == 4 and not flags & 1:
                writer.write(frame(4, 1, 0))
            elif kind == 0:
                received += len(payload)
            elif kind in (3, 7):
                raise SystemExit(f"reset or sent away: {head!r} {payload!r}")
            ended = kind in (0, 1) and bool(flags & 1)
        if received != len(BODY):
            raise SystemExit(f"{received} bytes of body")
        return Held(writer.transport.abort, reader, writer)

    return hold


def http3():
    """One request over HTTP/3; aioquic is needed for this kind alone."""
    from aioquic.asyncio.client import connect
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.h3.connection import H3Connection
    from aioquic.h3.events import DataReceived
    from aioquic.quic.configuration import QuicConfiguration

    class Client(QuicConnectionProtocol):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.http = H3Connection(self._quic)
            self.received = 0
            self.answered = asyncio.get_running_loop().create_future()

        def quic_event_received(self, event):
            for part in self.http.handle_event(event):
                if isinstance(part, DataReceived):
                    self.received += len(part.data)
                    if part.stream_ended and not self.answered.done():
                        self.answered.set_result(self.received)

    fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"edge"), (b":path", b"/")]

    async def hold(port):
        configuration = QuicConfiguration(
            alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, server_name="edge", idle_timeout=600
        )
        manager = connect("127.0.0.1", port, configuration=configuration, create_protocol=Client)
        client = await manager.__aenter__()
        client.http.send_headers(client._quic.get_next_available_stream_id(), fields, end_stream=True)
        client.transmit()
        if await asyncio.wait_for(client.answered, 60) != len(BODY):
            raise SystemExit("another body")

        def close():
            client.close()
            client.transmit()

        return Held(close, manager)

    return hold


def whole(seen):
    return seen.endswith(BODY)


def event(seen):
    return EVENT in seen


def upgraded(seen):
    return seen.endswith(b"\r\n\r\n")


KINDS = {
    "idle": lambda: http1(REQUEST, whole),
    "tls": lambda: http1(REQUEST, whole, client_tls()),
    "h2": http2,
    "h3": http3,
    "sse": lambda: http1(STREAM, event),
    "sse-tls": lambda: http1(STREAM, event, client_tls()),
    "ws": lambda: http1(UPGRADE, upgraded),
    "ws-tls": lambda: http1(UPGRADE, upgraded, client_tls()),
}


async def main(kind, count, port, pid, backend):
    server = await asyncio.start_server(serve, "127.0.0.1", backend, backlog=4096)
    hold = KINDS[kind]()
    # Warm: what every process has after its first requests is not counted.
    for connection in [await hold(port) for _ in range(50)]:
        connection.close()
    await asyncio.sleep(5 if kind == "h3" else 1)
    before, files = resident(pid), descriptors(pid)
    held = []
    for at in range(0, count, 50):
        held += await asyncio.gather(*(hold(port) for _ in range(min(50, count - at))))
    await asyncio.sleep(3)
    during = resident(pid)
    for connection in held:
        connection.close()
    end = time.monotonic() + 30
    while descriptors(pid) > files + 300 and time.monotonic() < end:
        await asyncio.sleep(0.2)
    await asyncio.sleep(10)
    after = resident(pid)
    grown = max(during - before, 1)
    print(
        f"{kind:<8}{count:>7}{grown / count:>12.1f}{100 * (during - after) / grown:>12.0f} %"
        f"{before:>12}{during:>12}{after:>12}",
        flush=True,
    )
    server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:6])))
