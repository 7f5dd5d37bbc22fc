"""Clients that want to hurt: bounded memory, bounded work, bounded time."""

import asyncio
import time

from client import Raw, client, configuration, frame, head, varint
from edge import Edge

GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost")]
POST = [(b":method", b"POST")] + GET[1:]
MB = 1 << 20


async def served(edge):
    """A good client next to the bad one."""
    async with client(edge) as http:
        stream = await asyncio.wait_for(http.ask("GET", "/x"), 5)
        assert stream.data == b"hello"


async def frames_of_any_length_cost_bounded_memory():
    async with Edge() as edge:
        await served(edge)
        before, spent = edge.memory(), edge.processor_seconds()
        opened = [
            varint(1) + varint(1 << 40),
            varint(0x21) + varint(1 << 40),
            head(POST + [(b":path", b"/never")]) + varint(0x21) + varint(1 << 40),
            varint(1) + varint(60_000),
        ]
        for start in opened:
            async with client(edge, Raw) as raw:
                raw.open_control()
                number = raw.open(start)
                stream = raw.stream(number)
                for _ in range(300):
                    if stream.reset is not None or stream.stopped is not None or stream.heads or raw.terminated:
                        break
                    raw.more(number, b"x" * 10_000)
                    await asyncio.sleep(0)
                raw.reset(number)
                await raw.until(stream, lambda s: s.reset is not None or s.stopped is not None or s.heads or s.ended)
        grown, took = edge.memory() - before, edge.processor_seconds() - spent
        assert grown < 8 * MB, f"{grown / MB:.1f} MiB"
        assert took < 5, f"{took:.1f} s of processor"
        await served(edge)


async def a_flood_of_resets_closes_the_connection():
    async with Edge() as edge:
        async with client(edge, Raw) as raw:
            raw.open_control()
            request = head(GET + [(b":path", b"/silent")])
            for _ in range(3_000):
                await raw.room()
                if raw.terminated:
                    break
                number = raw.open(request)
                raw.reset(number)
                raw.stop(number)
            code = await raw.closed()
            assert code == 0x107, hex(code)
        assert len(edge.backend.calls) < 1_000, len(edge.backend.calls)
        await served(edge)


async def a_flood_of_malformed_requests_closes_the_connection():
    """And of streams that end before they say anything."""
    async with Edge() as edge:
        await served(edge)
        before = edge.memory()
        async with client(edge, Raw) as raw:
            raw.open_control()
            bad = head(GET + [(b":path", b"/never"), (b"Upper", b"1")])
            for _ in range(1_500):
                for message in (bad, b""):
                    await raw.room()
                    if raw.terminated is None:
                        raw.open(message, True)
            code = await raw.closed()
            assert code == 0x107, hex(code)
        grown = edge.memory() - before
        assert grown < 16 * MB, f"{grown / MB:.1f} MiB"
        assert edge.backend.paths() == ["/x"], edge.backend.paths()
        await served(edge)


async def flooded(say):
    """Says it to the edge over and over, without a request."""
    async with Edge() as edge:
        await served(edge)
        before = edge.memory()
        async with client(edge, Raw) as raw:
            raw.open_control()
            start = time.monotonic()
            while raw.terminated is None:
                assert time.monotonic() - start < 30, "the whole flood was taken"
                say(raw._quic)
                raw.transmit()
                await asyncio.sleep(0.001)
            code = await raw.closed()
            assert code == 0x107, hex(code)
        grown = edge.memory() - before
        assert grown < 8 * MB, f"{grown / MB:.1f} MiB"
        await served(edge)


async def a_flood_of_pings_closes_the_connection():
    await flooded(lambda quic: quic.send_ping(0))


async def a_flood_of_path_challenges_closes_the_connection():
    def challenge(quic):
        path = quic._network_paths[0]
        path.is_validated, path.local_challenge_sent = False, False
        path.validation_deadline = None

    await flooded(challenge)


async def a_flood_of_new_connection_ids_closes_the_connection():
    def renew(quic):
        for known in quic._host_cids[1:]:
            known.was_sent = False

    await flooded(renew)


async def empty_and_unknown_frames_without_end_are_cut_off():
    async with Edge() as edge, client(edge, Raw) as raw:
        raw.open_control()
        for useless in (frame(0, b""), frame(0x21, b""), frame(0x21, b"x" * 1_000)):
            number = raw.open(head(POST + [(b":path", b"/facts")]))
            raw.more(number, useless * 400)
            stream = raw.stream(number)
            await raw.until(stream, lambda s: s.reset is not None)
            assert stream.reset == 0x107, (useless[:4], stream.reset)
        assert raw.terminated is None
        await served(edge)


async def a_client_that_takes_nothing_is_let_go():
    """Windows of a few bytes, which never grow."""
    async with Edge(timeouts={"idle": "2s"}) as edge:
        settings = configuration(max_stream_data=200, max_data=10_000)
        async with client(edge, Raw, settings=settings) as raw:
            raw._quic._write_stream_limits = lambda *a, **k: None
            raw._quic._write_connection_limits = lambda *a, **k: None
            raw.open_control()
            start = time.monotonic()
            numbers = [raw.open(head(GET + [(b":path", b"/down?size=5000000")]), True) for _ in range(20)]
            before = edge.memory()
            pings = asyncio.ensure_future(keep_alive(raw))
            for number in numbers:
                stream = await raw.end(number)
                assert stream.reset is not None or raw.terminated, "cut"
            pings.cancel()
            took = time.monotonic() - start
            assert took < 8, f"{took:.1f} s"
            assert edge.memory() - before < 16 * MB
        await served(edge)


async def keep_alive(raw):
    """It does not look dead: only its windows stay shut."""
    while raw.terminated is None:
        raw._quic.send_ping(0)
        raw.transmit()
        await asyncio.sleep(0.3)


async def heads_and_bodies_that_drip_meet_their_deadline():
    async with Edge(timeouts={"head": "1s", "body_grace": "1s", "idle": "5s"}) as edge:

        async def drip(start, rest):
            async with client(edge, Raw) as raw:
                raw.open_control()
                began = time.monotonic()
                number = raw.open(start)
                stream = raw.stream(number)
                for byte in rest:
                    if stream.reset is not None or stream.stopped is not None or stream.heads or raw.terminated:
                        break
                    raw.more(number, bytes([byte]))
                    await asyncio.sleep(0.1)
                return time.monotonic() - began

        message = head(POST + [(b":path", b"/never"), (b"content-length", b"1000")])
        times = await asyncio.gather(
            drip(message[:5], message[5:] + bytes(100)),
            drip(message + b"\x00\x43\xe8", bytes(100)),
            served(edge),
        )
        assert times[0] < 3, f"head: {times[0]:.1f} s"
        assert times[1] < 4, f"body: {times[1]:.1f} s"
        assert not any(call.complete for call in edge.backend.calls if call.target == "/never")
