"""What is not served, and how far each fault reaches."""

import asyncio

from client import Raw, client, frame, head, section, varint
from edge import Edge

FIRST = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/never")]


def post(*more):
    return FIRST + list(more)


def instead(name, value):
    return [(n, value if n == name else v) for n, v in FIRST]


def without(name):
    return [(n, v) for n, v in FIRST if n != name]


BODY = frame(0, b"abc")

#: Each is a whole message but for its fault.
MALFORMED = {
    "connection": head(post((b"connection", b"close"))),
    "connection keep-alive": head(post((b"connection", b"keep-alive"))),
    "keep-alive": head(post((b"keep-alive", b"timeout=5"))),
    "proxy-connection": head(post((b"proxy-connection", b"close"))),
    "transfer-encoding": head(post((b"transfer-encoding", b"chunked"))) + BODY,
    "upgrade": head(post((b"upgrade", b"websocket"))),
    "te": head(post((b"te", b"gzip"))),
    "te list": head(post((b"te", b"trailers, gzip"))),
    "upper-case name": head(post((b"X-Upper", b"1"))),
    "empty name": head(post((b"", b"1"))),
    "space in a name": head(post((b"a b", b"1"))),
    "colon in a name": head(post((b"a:b", b"1"))),
    "line end in a name": head(post((b"a\r\nb", b"1"))),
    "8-bit name": head(post((b"a\xff", b"1"))),
    "CR in a value": head(post((b"a", b"b\rc"))),
    "LF in a value": head(post((b"a", b"b\nc"))),
    "CRLF in a value": head(post((b"a", b"b\r\nx-smuggled: 1"))),
    "NUL in a value": head(post((b"a", b"b\0c"))),
    "space before a value": head(post((b"a", b" b"))),
    "space after a value": head(post((b"a", b"b "))),
    "two :method": head(FIRST[:1] + FIRST),
    "two :scheme": head(FIRST[1:2] + FIRST),
    "two :authority": head([(b":authority", b"evil")] + FIRST),
    "two :path": head(FIRST[3:] + FIRST),
    "late :path": head(without(b":path") + [(b"a", b"b"), (b":path", b"/never")]),
    "late :authority": head(without(b":authority") + [(b"a", b"b"), (b":authority", b"localhost")]),
    "unknown pseudo-header": head(post((b":other", b"1"))),
    ":status": head(post((b":status", b"200"))),
    ":protocol": head(FIRST + [(b":protocol", b"websocket")]),
    "no :method": head(without(b":method")),
    "no :scheme": head(without(b":scheme")),
    "no :path": head(without(b":path")),
    "no authority": head(without(b":authority")),
    "no fields": head([]),
    "host differs": head(post((b"host", b"evil"))),
    "host with another port": head(post((b"host", b"localhost:444"))),
    "two hosts": head(post((b"host", b"localhost"), (b"host", b"localhost"))),
    "userinfo": head(instead(b":authority", b"user@localhost")),
    "userinfo with password": head(instead(b":authority", b"user:pass@localhost")),
    "authority with a path": head(instead(b":authority", b"localhost/x")),
    "authority with a line end": head(instead(b":authority", b"localhost\r\nx: y")),
    "empty authority": head(instead(b":authority", b"")),
    "scheme http": head(instead(b":scheme", b"http")),
    "scheme ftp": head(instead(b":scheme", b"ftp")),
    "absolute path": head(instead(b":path", b"https://localhost/never")),
    "path without slash": head(instead(b":path", b"never")),
    "empty path": head(instead(b":path", b"")),
    "asterisk": head(instead(b":path", b"*")),
    "space in the path": head(instead(b":path", b"/a b")),
    "line end in the path": head(instead(b":path", b"/a HTTP/1.1\r\nx: y")),
    "fragment": head(instead(b":path", b"/a#b")),
    "8-bit path": head(instead(b":path", b"/\xff")),
    "bad escape": head(instead(b":path", b"/%zz")),
    "encoded NUL": head(instead(b":path", b"/%00")),
    "method with a space": head(instead(b":method", b"GET /x")),
    "empty method": head(instead(b":method", b"")),
    "two content-lengths": head(post((b"content-length", b"3"), (b"content-length", b"3"))) + BODY,
    "differing content-lengths": head(post((b"content-length", b"3"), (b"content-length", b"4"))) + BODY,
    "content-length list": head(post((b"content-length", b"3, 3"))) + BODY,
    "content-length +3": head(post((b"content-length", b"+3"))) + BODY,
    "content-length -1": head(post((b"content-length", b"-1"))) + BODY,
    "content-length 0x3": head(post((b"content-length", b"0x3"))) + BODY,
    "empty content-length": head(post((b"content-length", b""))) + BODY,
    "content-length above 2^63": head(post((b"content-length", b"9223372036854775808"))) + BODY,
}

#: The head is fine, so it may have reached the backend; its end never does.
CUT_SHORT = {
    "longer than its length": head(post((b"content-length", b"2"))) + BODY,
    "longer by a frame": head(post((b"content-length", b"3"))) + BODY + BODY,
    "data where none was announced": head(post((b"content-length", b"0"))) + BODY,
    "shorter than its length": head(post((b"content-length", b"4"))) + BODY,
    "no data at all": head(post((b"content-length", b"4"))),
    "pseudo-header in trailers": head(post()) + BODY + head([(b":path", b"/x")]),
    "upper-case trailer": head(post()) + BODY + head([(b"X-Sum", b"1")]),
    "line end in a trailer": head(post()) + BODY + head([(b"x-sum", b"1\r\nx: y")]),
    "connection in trailers": head(post()) + BODY + head([(b"connection", b"close")]),
}

H3_MESSAGE_ERROR = 0x10E


async def alive(raw):
    get = [(b":method", b"GET")] + FIRST[1:3] + [(b":path", b"/alive")]
    stream = await raw.end(raw.open(head(get), True))
    assert stream.data == b"hello", "the connection goes on"


async def malformed_requests_are_reset_and_reach_no_backend():
    async with Edge() as edge, client(edge, Raw) as raw:
        raw.open_control()
        wrong = []
        for name, message in MALFORMED.items():
            stream = await raw.end(raw.open(message, True))
            if stream.reset != H3_MESSAGE_ERROR or raw.terminated:
                wrong.append((name, stream.reset, stream.heads, raw.terminated))
            if raw.terminated:
                break
        assert not wrong, wrong
        await alive(raw)
        assert edge.backend.paths() == ["/alive"], edge.backend.paths()


async def bodies_that_are_not_as_announced_are_never_taken_as_whole():
    async with Edge() as edge, client(edge, Raw) as raw:
        raw.open_control()
        for name, message in CUT_SHORT.items():
            stream = await raw.end(raw.open(message, True))
            assert stream.reset == H3_MESSAGE_ERROR, (name, stream.reset, stream.heads)
        await alive(raw)
        for call in edge.backend.calls[:-1]:
            assert not call.complete, call.target


async def a_message_cut_anywhere_is_never_whole():
    message = head(post((b"content-length", b"6"))) + BODY + frame(0x21, b"xy") + BODY + head([(b"x-sum", b"1")])
    whole = len(message)
    trailers = len(head([(b"x-sum", b"1")]))
    async with Edge() as edge:

        async def cut(at):
            async with client(edge, Raw) as raw:
                raw.open_control()
                stream = raw.stream(raw.open(message[:at], True))
                await raw.until(stream, lambda s: s.ended or s.reset is not None)
                complete = stream.ended and stream.heads and stream.status == 200
                assert bool(complete) == (at in (whole, whole - trailers)), (at, stream.heads, stream.reset)

        for at in range(0, whole + 1, 8):
            await asyncio.gather(*(cut(at) for at in range(at, min(at + 8, whole + 1))))
        complete = [call for call in edge.backend.calls if call.complete]
        assert len(complete) == 2, len(complete)


async def requests_that_are_not_served_get_a_status():
    connect = [(b":method", b"CONNECT"), (b":authority", b"localhost:443")]
    tunnel = [(b":method", b"CONNECT")] + FIRST[1:] + [(b":protocol", b"connect-udp")]
    table = {
        405: head(connect),
        501: head(tunnel),
        414: head(instead(b":path", b"/" + b"x" * 9_000)),
        417: head(post((b"expect", b"miracles"))),
        431: head(post((b"x-large", b"x" * 60_000), (b"x-more", b"x" * 6_000))),
    }
    async with Edge() as edge, client(edge, Raw) as raw:
        raw.open_control()
        for status, message in table.items():
            stream = await raw.end(raw.open(message, True))
            assert stream.heads and stream.status == status and stream.ended, (status, stream.heads, stream.reset)
        many = head(post(*[(b"x", b"y")] * 101))
        assert (await raw.end(raw.open(many, True))).status == 431
        # Its length alone: nothing of it comes.
        stream = raw.stream(raw.open(varint(1) + varint(1 << 40)))
        await raw.until(stream, lambda s: s.heads or s.reset is not None)
        assert stream.heads and stream.status == 431, stream.reset
        await alive(raw)
        assert edge.backend.paths() == ["/alive"]


async def faults_of_the_connection_close_it_with_their_code():
    control = b"\x00"
    settings = frame(4, b"")
    get = head([(b":method", b"GET")] + FIRST[1:])
    uni = {
        "settings twice": (control + settings + settings, 0x105),
        "no settings": (control + frame(7, b"\0"), 0x10A),
        "a setting twice": (control + frame(4, b"\x21\1\x21\1"), 0x109),
        "a setting of HTTP/2": (control + frame(4, b"\x02\1"), 0x109),
        "data on the control stream": (control + settings + frame(0, b"x"), 0x105),
        "a cut setting": (control + frame(4, b"\x06"), 0x106),
        "a push": (b"\x01\0", 0x103),
        "an entry for a dynamic table": (b"\x02\xc1\1a", 0x201),
        "an acknowledgement of nothing": (b"\x03\x80", 0x202),
        "unknown frames without end": (control + settings + frame(0x21, b"") * 3_000, 0x107),
    }
    streams = {
        "data first": (frame(0, b"x"), 0x105),
        "settings on a request stream": (get + settings, 0x105),
        "a push promise": (get + frame(5, b"\0" * 4), 0x105),
        "priority of HTTP/2": (frame(2, b"\0" * 5), 0x105),
        "a reference to a dynamic table": (frame(1, b"\x02\0\x80"), 0x200),
        "an unknown static entry": (frame(1, b"\0\0\xff\x24"), 0x200),
        "wrong padding": (frame(1, b"\0\0\x51\x81\0"), 0x200),
        "data after trailers": (get + head([(b"a", b"b")]) + frame(0, b"x"), 0x105),
    }
    async with Edge() as edge:
        for name, (data, code) in uni.items():
            async with client(edge, Raw) as raw:
                raw.open_control(data)
                closed = await raw.closed()
                assert closed == code, (name, hex(closed))
        for name, (data, code) in streams.items():
            async with client(edge, Raw) as raw:
                raw.open_control()
                raw.open(data)
                closed = await raw.closed()
                assert closed == code, (name, hex(closed))
        for again in (b"\x00", b"\x02", b"\x03"):
            async with client(edge, Raw) as raw:
                raw.open_control(again)
                raw.open_control(again)
                assert await raw.closed() == 0x103, again
            async with client(edge, Raw) as raw:
                number = raw.open_control(again)
                raw.more(number, b"", True)
                assert await raw.closed() == 0x104, again


async def unknown_streams_frames_and_settings_are_ignored():
    async with Edge() as edge, client(edge, Raw) as raw:
        raw.open_control(b"\x00" + frame(4, b"\x21\x01") + frame(0x40, b"grease") + frame(0xF0700, b"\0u=1"))
        raw.open_control(varint(0x21 + 31 * 7) + b"whatever")
        raw.open_control(b"\x02\x20")
        raw.open_control(b"\x03\x44")
        get = frame(0x21, b"xyz") + head([(b":method", b"GET")] + FIRST[1:3] + [(b":path", b"/alive")])
        stream = await raw.end(raw.open(get + frame(0x5F, b""), True))
        assert stream.data == b"hello" and raw.terminated is None
