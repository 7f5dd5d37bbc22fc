"""Carries WebSocket connections of HTTP/1.1 clients to an edge over HTTP/2 or HTTP/3.

    websocket_bridge.py EDGE h2=ADDRESS:PORT h3=ADDRESS:PORT

Each accepted connection becomes an extended CONNECT (RFC 8441, RFC 9220) on a
connection of its own to EDGE, whose certificate is not checked. Bytes pass as
they are in both directions; an end is an end, a reset is a reset.
"""

import asyncio
import base64
import hashlib
import ssl
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def connect_fields(fields):
    """The extended CONNECT for an upgrade's fields."""
    passed = [
        (name, value)
        for name, value in fields.items()
        if name.startswith(b"sec-websocket-") and name != b"sec-websocket-key"
    ]
    return [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":authority", fields[b"host"]),
        (b":path", fields[b":target"]),
    ] + passed


class Incoming:
    """What comes back on the one stream: a head, bytes, an end or a reset."""

    def __init__(self):
        self.parts = asyncio.Queue()

    def head(self, fields):
        self.parts.put_nowait(("head", dict(fields)))

    def data(self, data):
        if data:
            self.parts.put_nowait(("data", data))

    def over(self, how):
        self.parts.put_nowait((how, None))


class Http3(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.incoming = Incoming()
        self.number = None

    def quic_event_received(self, event):
        if isinstance(event, (ConnectionTerminated, StreamReset)):
            self.incoming.over("reset")
        for part in self.http.handle_event(event):
            if part.stream_id != self.number:
                continue
            if isinstance(part, HeadersReceived):
                self.incoming.head(part.headers)
            elif isinstance(part, DataReceived):
                self.incoming.data(part.data)
            if part.stream_ended:
                self.incoming.over("end")

    def open(self, fields):
        self.number = self._quic.get_next_available_stream_id()
        self.http.send_headers(self.number, fields)
        self.transmit()

    async def send(self, data, end):
        self.http.send_data(self.number, data, end)
        self.transmit()

    def abort(self):
        self._quic.reset_stream(self.number, 0x010C)
        self.transmit()


async def over_h3(address, port, serve):
    configuration = QuicConfiguration(alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, server_name="localhost")
    async with connect(address, port, configuration=configuration, create_protocol=Http3) as client:
        await serve(client)


class Http2:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.incoming = Incoming()
        self.settled, self.window = asyncio.Event(), asyncio.Event()
        self.http.initiate_connection()
        self.flush()

    def flush(self):
        self.writer.write(self.http.data_to_send())

    async def read(self):
        """Until the connection ends."""
        while data := await self.reader.read(65536):
            for event in self.http.receive_data(data):
                self.handle(event)
            self.flush()
        self.incoming.over("reset")

    def handle(self, event):
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.settled.set()
            self.window.set()
        elif isinstance(event, h2.events.WindowUpdated):
            self.window.set()
        elif isinstance(event, h2.events.ResponseReceived):
            self.incoming.head((bytes(name), bytes(value)) for name, value in event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.incoming.data(event.data)
        elif isinstance(event, h2.events.StreamEnded):
            self.incoming.over("end")
        elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
            self.incoming.over("reset")

    def open(self, fields):
        self.http.send_headers(1, fields)
        self.flush()

    async def send(self, data, end):
        while data:
            room = min(self.http.local_flow_control_window(1), self.http.max_outbound_frame_size)
            if room <= 0:
                self.window.clear()
                await self.window.wait()
                continue
            self.http.send_data(1, data[:room])
            data = data[room:]
            self.flush()
        if end:
            self.http.end_stream(1)
            self.flush()
        await self.writer.drain()

    def abort(self):
        self.http.reset_stream(1, 8)
        self.flush()


async def over_h2(address, port, serve):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(address, port, ssl=context)
    client = Http2(reader, writer)
    reading = asyncio.create_task(client.read())
    try:
        # RFC 8441: not before the server has said that it may be.
        await asyncio.wait_for(client.settled.wait(), 10)
        if not client.http.remote_settings.enable_connect_protocol:
            raise ConnectionError("no extended CONNECT")
        await serve(client)
    finally:
        reading.cancel()
        writer.close()


async def carry(carrier, edge, reader, writer):
    """One connection, to its end."""

    async def serve(client):
        head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        lines = (line.partition(b":") for line in head[1:] if line)
        fields = {name.strip().lower(): value.strip() for name, _, value in lines}
        fields[b":target"] = head[0].split(b" ")[1]
        client.open(connect_fields(fields))
        await pump(client, fields, reader, writer)

    try:
        await carrier(*edge, serve)
    except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as why:
        print(f"bridge: {why!r}", file=sys.stderr)
    finally:
        writer.close()


async def pump(client, fields, reader, writer):
    kind, answer = await asyncio.wait_for(client.incoming.parts.get(), 10)
    if kind != "head" or answer[b":status"] != b"200":
        writer.write(b"HTTP/1.1 502 Refused\r\nContent-Length: 0\r\n\r\n")
        return
    accept = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + GUID).digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    for name, value in answer.items():
        if name.startswith(b"sec-websocket-"):
            writer.write(name + b": " + value + b"\r\n")
    writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")

    async def up():
        try:
            while data := await reader.read(65536):
                await client.send(data, False)
            await client.send(b"", True)
        except ConnectionError:
            client.abort()

    upward = asyncio.create_task(up())
    try:
        while True:
            kind, data = await client.incoming.parts.get()
            if kind == "data":
                writer.write(data)
                await writer.drain()
                continue
            if kind == "reset":
                writer.transport.abort()
            return
    finally:
        upward.cancel()


async def main(edge, *listeners):
    address, _, port = edge.rpartition(":")
    servers = []
    for listener in listeners:
        protocol, _, at = listener.partition("=")
        carrier = {"h2": over_h2, "h3": over_h3}[protocol]
        host, _, number = at.rpartition(":")

        def accept(reader, writer, carrier=carrier):
            return carry(carrier, (address, int(port)), reader, writer)

        servers.append(await asyncio.start_server(accept, host, int(number)))
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
