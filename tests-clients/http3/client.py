"""Two clients on aioquic: its own HTTP/3, and streams of any bytes."""

import asyncio
import os
import ssl
from contextlib import asynccontextmanager

import pylsqpack
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import (
    ConnectionTerminated,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)

#: A test that waits longer than this has failed; large bodies take long here.
PATIENCE = 60


class Stream:
    """What came on one stream."""

    def __init__(self):
        self.heads = []
        self.data = bytearray()
        self.parts = 0
        self.ended = False
        self.reset = None
        self.stopped = None
        self.changed = asyncio.Event()

    @property
    def status(self):
        return int(dict(self.heads[-1 if len(self.heads) == 1 else 0])[b":status"])

    def field(self, name):
        return dict(self.heads[0]).get(name.encode(), b"").decode()


class Base(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.streams = {}
        self.terminated = None
        self.over = asyncio.Event()

    def stream(self, number):
        return self.streams.setdefault(number, Stream())

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.terminated = event
            self.over.set()
            for stream in self.streams.values():
                stream.changed.set()
        elif isinstance(event, StreamReset):
            stream = self.stream(event.stream_id)
            stream.reset = event.error_code
            stream.changed.set()
        elif isinstance(event, StopSendingReceived):
            stream = self.stream(event.stream_id)
            stream.stopped = event.error_code
            stream.changed.set()
        self.http_event_received(event)

    async def until(self, stream, done):
        """Waits for something on a stream, or for the connection's end."""

        async def wait():
            while not done(stream) and self.terminated is None:
                stream.changed.clear()
                await stream.changed.wait()
            return stream

        return await asyncio.wait_for(wait(), PATIENCE)

    async def end(self, number):
        """The stream once it has ended one way or the other."""
        stream = self.stream(number)
        return await self.until(stream, lambda s: s.ended or s.reset is not None)

    async def closed(self):
        """The code of the connection's end."""
        await asyncio.wait_for(self.over.wait(), PATIENCE)
        return self.terminated.error_code


class Http(Base):
    """aioquic's own HTTP/3."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)

    def http_event_received(self, event):
        for happened in self.http.handle_event(event):
            if isinstance(happened, (HeadersReceived, DataReceived)):
                stream = self.stream(happened.stream_id)
                if isinstance(happened, HeadersReceived):
                    stream.heads.append(happened.headers)
                else:
                    stream.data += happened.data
                    stream.parts += bool(happened.data)
                stream.ended |= happened.stream_ended
                stream.changed.set()

    def begin(self, method, path, fields=(), end=False):
        fields = [(name.encode(), value.encode()) for name, value in fields]
        return self.begin_raw(method.encode(), path.encode(), fields, end)

    def begin_raw(self, method, path, fields, end=True):
        number = self._quic.get_next_available_stream_id()
        head = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", path),
        ] + fields
        self.stream(number)
        self.http.send_headers(number, head, end)
        self.transmit()
        return number

    def send(self, number, data, end=False):
        self.http.send_data(number, data, end)
        self.transmit()

    async def ask(self, method, path, body=None, fields=()):
        number = self.begin(method, path, fields, body is None)
        if body is not None:
            self.send(number, body, True)
        return await self.end(number)


def varint(value):
    for bits, flags, size in ((6, 0, 1), (14, 0x40, 2), (30, 0x80, 4), (62, 0xC0, 8)):
        if value < 1 << bits:
            return bytes([value >> 8 * (size - 1) & 0xFF | flags]) + value.to_bytes(size, "big")[1:]
    raise ValueError(value)


def frame(kind, payload):
    return varint(kind) + varint(len(payload)) + payload


def prefixed(flags, bits, value):
    most = (1 << bits) - 1
    if value < most:
        return bytes([flags | value])
    out, value = [flags | most], value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + [value])


def section(fields):
    """Literals, so that anything can be said."""
    out = b"\0\0"
    for name, value in fields:
        out += prefixed(0x20, 3, len(name)) + name + prefixed(0, 7, len(value)) + value
    return out


def head(fields):
    return frame(1, section(fields))


class Raw(Base):
    """Streams of any bytes; answers are read by hand and by ls-qpack."""

    opening = b"\x00" + frame(4, b"")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.buffers = {}
        self.uni = {}
        self.told = asyncio.Event()

    def open_control(self, opening=None):
        number = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self._quic.send_stream_data(number, self.opening if opening is None else opening)
        self.transmit()
        return number

    def open(self, data=b"", end=False):
        number = self._quic.get_next_available_stream_id()
        self.stream(number)
        self.more(number, data, end)
        return number

    def more(self, number, data=b"", end=False):
        self._quic.send_stream_data(number, data, end)
        self.transmit()

    async def room(self):
        """Waits until the edge takes another stream."""
        number = self._quic.get_next_available_stream_id()
        while self._quic._remote_max_streams_bidi <= number // 4 and self.terminated is None:
            await asyncio.sleep(0.001)

    def reset(self, number, code=0x10C):
        self._quic.reset_stream(number, code)
        self.transmit()

    def stop(self, number, code=0x10C):
        self._quic.stop_stream(number, code)
        self.transmit()

    def http_event_received(self, event):
        if not isinstance(event, StreamDataReceived):
            return
        if event.stream_id % 4 == 3:
            self.uni[event.stream_id] = self.uni.get(event.stream_id, b"") + event.data
            self.told.set()
            return
        stream = self.stream(event.stream_id)
        buffer = self.buffers.get(event.stream_id, b"") + event.data
        self.buffers[event.stream_id] = self.parse(stream, buffer)
        stream.ended |= event.end_stream
        stream.changed.set()

    def control_frames(self):
        """Types of the frames on the edge's control stream."""
        streams = (data[1:] for data in self.uni.values() if data[:1] == b"\0")
        return [kind for data in streams for kind in frame_types(data)]

    def parse(self, stream, buffer):
        while True:
            parsed = read_varint(buffer)
            kind, at = parsed if parsed else (None, 0)
            length = read_varint(buffer[at:]) if parsed else None
            if length is None or len(buffer) < at + length[1] + length[0]:
                return buffer
            at += length[1]
            payload, buffer = buffer[at : at + length[0]], buffer[at + length[0] :]
            if kind == 1:
                stream.heads.append(pylsqpack.Decoder(0, 0).feed_header(0, payload)[1])
            elif kind == 0:
                stream.data += payload
                stream.parts += 1
            else:
                raise AssertionError(f"a frame of type {kind}")


def frame_types(data):
    """Of the whole frames at the front."""
    while (kind := read_varint(data)) and (length := read_varint(data[kind[1] :])):
        yield kind[0]
        data = data[kind[1] + length[1] + length[0] :]


def read_varint(data):
    if not data or len(data) < (size := 1 << (data[0] >> 6)):
        return None
    value = int.from_bytes(data[:size], "big") & ((1 << (8 * size - 2)) - 1)
    return value, size


def configuration(**values):
    made = QuicConfiguration(is_client=True, alpn_protocols=["h3"], server_name="localhost", **values)
    made.load_verify_locations(os.environ["TLS_CERT"])
    return made


@asynccontextmanager
async def client(edge, kind=Http, settings=None, **arguments):
    settings = settings or configuration()
    async with connect(
        "127.0.0.1", edge.port, configuration=settings, create_protocol=kind, **arguments
    ) as made:
        yield made


def tls():
    return ssl.create_default_context(cafile=os.environ["TLS_CERT"])
