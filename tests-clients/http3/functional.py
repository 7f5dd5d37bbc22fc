"""What a well-behaved client of HTTP/3 gets."""

import asyncio
import base64
import hashlib
import json
import os
import random
import tempfile
import time

import niquests
from aioquic.quic.logger import QuicLogger
from backend import pattern, websocket_frame
from client import Raw, client, configuration, frame, head, tls
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from edge import Edge

TEN_MB = 10_000_000
GOAWAY = 7
GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost")]


def same(what, is_so, expected):
    assert is_so == expected, f"{what}: {is_so!r}, not {expected!r}"


async def requests_arrive_as_they_were_sent():
    async with Edge() as edge, client(edge) as http:
        stream = await http.ask("GET", "/facts?a=b", fields=[("x-own", "1"), ("cookie", "a=1"), ("cookie", "b=2")])
        facts = json.loads(stream.data)
        fields = dict(facts["fields"])
        same("status", stream.status, 200)
        same("method and target", (facts["method"], facts["target"]), ("GET", "/facts?a=b"))
        same("host", fields["host"], "localhost")
        same("field", fields["x-own"], "1")
        same("cookies are one field", fields["cookie"], "a=1; b=2")
        same("scheme", fields["x-forwarded-proto"], "https")
        same("client", fields["x-forwarded-for"], "127.0.0.1")
        assert "transfer-encoding" not in fields and "content-length" not in fields, fields
        for length in (None, 0, 5):
            body = b"x" * (length or 0)
            told = [] if length is None else [("content-length", str(length))]
            stream = await http.ask("POST", "/facts", body or b"abc" * (length is None), told)
            facts = json.loads(stream.data)
            same("length", facts["length"], 3 if length is None else length)
            same("told length", dict(facts["fields"]).get("content-length"), None if length is None else str(length))
        for entry in await edge.access_log(4):
            same("protocol", entry["meridian"]["protocol"], "h3")


async def fields_of_any_text_arrive_both_ways():
    """As ls-qpack writes them, and as it reads ours."""
    draw = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
    values = bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))
    inner = values + b" \t"

    def any_value():
        size = draw.choice((0, 1, 2, 5, 30, 126, 127, 128, 300))
        text = bytes(draw.choice(inner) for _ in range(size))
        return text.strip() if size else b""

    async with Edge() as edge, client(edge) as http:
        for _ in range(100):
            names = ["x-m-" + "".join(draw.choices(letters, k=draw.choice((1, 3, 6, 20)))) for _ in range(20)]
            sent = [(name.encode(), any_value()) for name in names]
            number = http.begin_raw(b"GET", b"/mirror", sent)
            stream = await http.end(number)
            came = [field for field in stream.heads[0] if field[0].startswith(b"x-m-")]
            same("fields", came, sent)


async def a_websocket_is_carried_until_both_sides_have_closed():
    ask = [(b":method", b"CONNECT"), (b":protocol", b"websocket")] + GET[1:]
    ask += [(b"sec-websocket-version", b"13"), (b"origin", b"https://localhost")]
    mask = bytes(4)
    async with Edge() as edge, client(edge, Raw) as raw:
        raw.open_control()
        number = raw.open(head(ask[:2] + [(b":path", b"/ws")] + ask[2:]))
        stream = raw.stream(number)
        await raw.until(stream, lambda s: s.heads or s.reset is not None)
        same("opened", stream.status, 200)
        assert "sec-websocket-accept" not in dict(stream.heads[0]), stream.heads
        expected = b""
        for size in (0, 1, 125, 126, 1_000, 70_000):
            payload = pattern(size, size)
            sent = bytearray(websocket_frame(0x82, payload))
            sent[1] |= 0x80
            at = len(sent) - size
            sent[at:at] = mask
            # In two DATA frames, cut within the frame's head.
            raw.more(number, frame(0, bytes(sent[:1])) + frame(0, bytes(sent[1:])))
            expected += websocket_frame(0x82, payload)
            await raw.until(stream, lambda s: len(s.data) >= len(expected))
            same("echo", bytes(stream.data), expected)
        raw.more(number, frame(0, b"\x88\x82" + mask + b"\x03\xe8"), True)
        stream = await raw.end(number)
        same("close", bytes(stream.data), expected + b"\x88\x02\x03\xe8")
        same("ended", (stream.ended, stream.reset), (True, None))
        denied = await raw.end(raw.open(head(ask[:2] + [(b":path", b"/deny")] + ask[2:])))
        same("denied", denied.status, 403)
        call = await edge.backend.call("/ws")
        same("method", call.method, "GET")


async def answers_without_a_body_have_none():
    async with Edge() as edge, client(edge, Raw) as raw:
        raw.open_control()
        for method, path, status, length in (
            (b"HEAD", b"/x", 200, "5"),
            (b"GET", b"/status/204", 204, ""),
            (b"GET", b"/status/304", 304, "5"),
        ):
            fields = [(b":method", method)] + GET[1:] + [(b":path", path)]
            stream = await raw.end(raw.open(head(fields), True))
            same(path, (stream.status, stream.data, stream.ended), (status, b"", True))
            same(path, stream.field("content-length"), length)


async def interim_answers_and_trailers_are_passed_on():
    async with Edge() as edge, client(edge, Raw) as raw:
        raw.open_control()
        stream = await raw.end(raw.open(head(GET + [(b":path", b"/interim")]), True))
        same("heads", [dict(lines)[b":status"] for lines in stream.heads], [b"103", b"200"])
        same("link", dict(stream.heads[0])[b"link"], b"</style.css>")
        same("body", stream.data, b"hello")
        asks = GET + [(b":path", b"/trailers"), (b"te", b"trailers")]
        stream = await raw.end(raw.open(head(asks), True))
        same("body", stream.data, b"abc")
        same("trailers", stream.heads[1], [(b"x-sum", b"42")])


async def ten_megabytes_go_up_and_down_at_once():
    body = pattern(0, TEN_MB)
    async with Edge() as edge, client(edge) as http:
        stream = await http.ask("POST", "/echo", body)
        same("length", len(stream.data), TEN_MB)
        same("bytes", hashlib.sha256(stream.data).hexdigest(), hashlib.sha256(body).hexdigest())


async def every_event_is_passed_on_before_the_next_is_made():
    async with Edge() as edge, client(edge) as http:
        number = http.begin("GET", "/events", end=True)
        call = await edge.backend.call("/events")
        stream = http.stream(number)
        for event in range(20):
            call.go.put_nowait(b"%d" % event)
            expected = b"".join(b"data: %d\n\n" % at for at in range(event + 1))
            await http.until(stream, lambda s: s.data == expected)
            same("event", stream.data, expected)
        call.go.put_nowait(None)
        assert (await http.end(number)).ended


async def an_early_answer_arrives_whole_and_stops_the_upload():
    async with Edge() as edge, client(edge, Raw) as raw:
        raw.open_control()
        for path in (b"/early", b"/deny"):
            fields = [(b":method", b"POST")] + GET[1:] + [(b":path", path)]
            number = raw.open(head(fields) + b"\x00\x43\xe8" + b"x" * 1000)
            stream = await raw.end(number)
            same(path, (stream.status, stream.ended, stream.reset), (403, True, None))
            await raw.until(stream, lambda s: s.stopped is not None)
            same("H3_NO_ERROR", stream.stopped, 0x100)


async def a_hundred_streams_wait_at_once():
    async with Edge() as edge, client(edge) as http:
        paths = [f"/events?{at}" for at in range(100)]
        numbers = [http.begin("GET", path, end=True) for path in paths]
        for path in paths:
            (await edge.backend.call(path)).go.put_nowait(path.encode())
        for path, number in zip(paths, numbers):
            expected = b"data: %s\n\n" % path.encode()
            await http.until(http.stream(number), lambda s: s.data == expected)
            same(path, http.stream(number).data, expected)


async def two_thousand_requests_are_answered_with_400_outstanding():
    async with Edge() as edge, client(edge) as http:
        left = iter(range(2_000))

        async def worker():
            for at in left:
                stream = await http.ask("POST", f"/facts?{at}", b"%d" % at * 10)
                same(at, json.loads(stream.data)["target"], f"/facts?{at}")

        await asyncio.gather(*(worker() for _ in range(400)))
        same("calls", len(edge.backend.calls), 2_000)


async def a_client_that_leaves_is_felt_by_the_backend_at_once():
    """While it thinks, while it sends, while it reads, and by the end of all."""
    async with Edge() as edge:
        async with client(edge, Raw) as raw:
            raw.open_control()

            async def felt(path, leave, body=b"", end=True):
                method = b"POST" if body else b"GET"
                fields = [(b":method", method)] + GET[1:] + [(b":path", path)]
                number = raw.open(head(fields) + body, end)
                call = await edge.backend.call(path.decode())
                if path.startswith(b"/events"):
                    call.go.put_nowait(b"x")
                    await raw.until(raw.stream(number), lambda s: s.data)
                start = time.monotonic()
                leave(number)
                await asyncio.wait_for(call.gone.wait(), 5)
                took = time.monotonic() - start
                assert took < 0.5, f"{path}: {took:.2f} s"

            await felt(b"/silent?stop", raw.stop)
            await felt(b"/silent?upload", raw.reset, b"\x00\x43\xe8" + b"x" * 100, False)
            await felt(b"/events?stop", raw.stop)
            await felt(b"/events?close", lambda _: raw.close())


async def a_backend_that_dies_in_a_body_resets_the_stream():
    async with Edge() as edge, client(edge) as http:
        for path in ("/die", "/die?chunked=1"):
            stream = await http.ask("GET", path)
            assert stream.reset is not None and not stream.ended, path
        same("the connection goes on", (await http.ask("GET", "/x")).data, b"hello")


async def a_client_whose_address_changes_keeps_its_connection():
    """Another port, and another address, which later requests show."""
    async with Edge() as edge, client(edge) as http:
        loop = asyncio.get_running_loop()
        number = http.begin("GET", "/events", end=True)
        call = await edge.backend.call("/events")
        seen = []
        for at, address in enumerate(("127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.3")):
            old = http._transport
            # As a NAT that forgot: packets come from elsewhere, same ids.
            local = (f"::ffff:{address}", 0)
            await loop.create_datagram_endpoint(lambda: http, local_addr=local)
            stream = await http.ask("GET", f"/facts?{at}")
            seen.append(dict(json.loads(stream.data)["fields"])["x-forwarded-for"])
            call.go.put_nowait(b"%d" % at)
            await http.until(http.stream(number), lambda s: s.data.endswith(b"data: %d\n\n" % at))
            old.close()
        same("addresses", seen, ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.3"])


async def a_drain_says_goodbye_and_lets_streams_finish():
    async with Edge() as edge, client(edge, Raw) as raw:
        raw.open_control()
        number = raw.open(head(GET + [(b":path", b"/events")]), True)
        call = await edge.backend.call("/events")
        call.go.put_nowait(b"1")
        await raw.until(raw.stream(number), lambda s: s.data)
        edge.terminate()
        while GOAWAY not in raw.control_frames():
            raw.told.clear()
            await asyncio.wait_for(raw.told.wait(), 10)
        call.go.put_nowait(b"2")
        call.go.put_nowait(None)
        stream = await raw.end(number)
        same("the stream", (stream.data, stream.ended), (b"data: 1\n\ndata: 2\n\n", True))
        same("H3_NO_ERROR", await raw.closed(), 0x100)
        same("exit", await asyncio.wait_for(edge.process.wait(), 20), 0)


async def an_unknown_version_is_answered_with_those_that_are_served():
    async with Edge() as edge:
        loop = asyncio.get_running_loop()
        answers = asyncio.Queue()

        class Probe(asyncio.DatagramProtocol):
            def datagram_received(self, data, address):
                answers.put_nowait(data)

        transport, _ = await loop.create_datagram_endpoint(Probe, remote_addr=("127.0.0.1", edge.port))
        ids = b"\x08destinat\x06source"
        transport.sendto(b"\xc0\x1a\x2a\x3a\x4a" + ids + bytes(1_200))
        answer = await asyncio.wait_for(answers.get(), 10)
        transport.close()
        same("version 0 with the ids", answer[1:5] + answer[5:21], bytes(4) + b"\x06source\x08destinat")
        versions = [answer[at : at + 4] for at in range(21, len(answer), 4)]
        assert b"\x00\x00\x00\x01" in versions, versions


async def clients_prove_their_address_where_that_is_asked():
    async with Edge(limits={"quic_handshakes": 0}) as edge:
        logger = QuicLogger()
        async with client(edge, settings=configuration(quic_logger=logger)) as http:
            same("answer", (await http.ask("GET", "/x")).data, b"hello")
        events = json.dumps(logger.to_dict())
        assert '"packet_type": "retry"' in events, "no Retry came"


async def sessions_resume_and_early_data_is_refused():
    async with Edge() as edge:
        tickets = []
        async with client(edge, session_ticket_handler=tickets.append) as http:
            await http.ask("GET", "/x")
            while not tickets:
                await http.ping()
        same("no early data is offered", tickets[0].max_early_data_size or 0, 0)
        # A client that sends it all the same.
        tickets[0].max_early_data_size = 0xFFFFFFFF
        settings = configuration(session_ticket=tickets[0])
        async with client(edge, settings=settings, wait_connected=False) as http:
            number = http.begin("POST", "/facts?early", end=True)
            await http.wait_connected()
            assert http._quic.tls.session_resumed, "resumed"
            assert not http._quic.tls.early_data_accepted, "refused"
            stream = http.stream(number)
            if not (stream.ended or stream.reset is not None):
                try:
                    await asyncio.wait_for(http.end(number), 1)
                except asyncio.TimeoutError:
                    pass  # the client does not send it again by itself
            again = await http.ask("GET", "/x")
            same("the connection serves", again.data, b"hello")
        assert edge.backend.paths().count("/facts?early") <= 1


async def answers_over_tcp_say_where_http3_is():
    async with Edge() as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, ssl=tls(), server_hostname="localhost")
        writer.write(b"GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = (await reader.read()).decode().lower()
        writer.close()
        assert f'alt-svc: h3=":{edge.port}"' in answer, answer


async def niquests_is_served_and_finds_http3_by_itself():
    async with Edge() as edge:
        url = f"https://localhost:{edge.port}"

        def ask():
            with niquests.Session(happy_eyeballs=False) as session:
                versions = []
                for at in range(3):
                    answer = session.post(f"{url}/facts?{at}", data=b"abc" * 1000, verify=os.environ["TLS_CERT"])
                    same("length", answer.json()["length"], 3000)
                    versions.append(answer.http_version)
                return versions

        versions = await asyncio.to_thread(ask)
        same("over HTTP/3 in the end", versions[-1], 30)


async def chromium_is_served_over_http3():
    """A page, and what its script asks for."""
    with open(os.environ["TLS_CERT"], "rb") as file:
        key = x509.load_pem_x509_certificate(file.read()).public_key()
    info = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(info).digest()).decode()
    async with Edge() as edge:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            process = await asyncio.create_subprocess_exec(
                os.environ.get("CHROMIUM", "chromium"),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                f"--user-data-dir={profile}",
                f"--origin-to-force-quic-on=localhost:{edge.port}",
                f"--ignore-certificate-errors-spki-list={pin}",
                "--host-resolver-rules=MAP localhost 127.0.0.1",
                "--virtual-time-budget=20000",
                "--dump-dom",
                f"https://localhost:{edge.port}/page",
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, log = await asyncio.wait_for(process.communicate(), 60)
        page = out.decode()
        assert "asked with 3000 bytes" in page, f"{page}\n{log.decode()[-2000:]}"
        entries = await edge.access_log(2)
        versions = [entry["meridian"]["protocol"] for entry in entries]
        same("versions", set(versions), {"h3"})
