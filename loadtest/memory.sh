#!/usr/bin/env bash
# What a connection that waits costs, and what is given back when all of them
# have closed. For each kind a fresh process, COUNT connections held after one
# request each; resident memory before, with and after them.
#
#   loadtest/memory.sh [COUNT]      default 5000
#
#   MERIDIAN=PATH   binary (default target/release/meridian)
#   KINDS="..."     of: idle tls sse ws (default all)
#
# Environment for the process (LD_PRELOAD, MALLOC_*) is passed on.
set -euo pipefail
source "$(dirname "$0")/compare/lib.sh"

count=${1:-5000}
read -ra kinds <<<"${KINDS:-idle tls sse ws}"
[ -x "$MERIDIAN" ] || die "no binary at $MERIDIAN: cargo build --release"
ulimit -n "$(ulimit -Hn)"
need python3=python3 openssl=openssl

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj /CN=localhost -keyout "$work/tls.key" -out "$work/tls.pem" 2>/dev/null

cat >"$work/hold.py" <<'PY'
import asyncio, ssl, sys, time

kind, count, port, pid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
backend = int(sys.argv[5])

def resident():
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

def descriptors():
    import os
    return len(os.listdir(f"/proc/{pid}/fd"))

async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b" /sse" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n")
                await reader.read()
            elif b" /ws" in head:
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                             b"Upgrade: websocket\r\n"
                             b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
                await reader.read()
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024)
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        pass
    finally:
        writer.close()

HEADS = {
    "idle": b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n",
    "tls": b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n",
    "sse": b"GET /sse HTTP/1.1\r\nHost: edge\r\n\r\n",
    "ws": b"GET /ws HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
          b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
}
ENDS = {"idle": b"xxxx", "tls": b"xxxx", "sse": b"data: a\n\n\r\n", "ws": b"\r\n\r\n"}

async def hold(context):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(HEADS[kind])
    seen = b""
    want = 1024 if kind in ("idle", "tls") else 1
    while ENDS[kind] not in seen or (want > 1 and seen.count(b"x") < want):
        more = await reader.read(4096)
        if not more:
            raise SystemExit(f"{kind}: closed early: {seen!r}")
        seen += more
    return writer

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", backend, backlog=4096)
    context = None
    if kind == "tls":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # Warm: what every process has after its first requests is not counted.
    warm = [await hold(context) for _ in range(50)]
    for writer in warm:
        writer.close()
    await asyncio.sleep(1)
    before, files = resident(), descriptors()
    held = []
    for at in range(0, count, 100):
        held += await asyncio.gather(*(hold(context) for _ in range(min(100, count - at))))
    await asyncio.sleep(3)
    during = resident()
    for writer in held:
        writer.transport.abort() if kind == "tls" else writer.close()
    end = time.monotonic() + 30
    while descriptors() > files + 300 and time.monotonic() < end:
        await asyncio.sleep(0.2)
    await asyncio.sleep(10)
    after = resident()
    grown = max(during - before, 1)
    print(f"{kind:<6}{count:>7}{grown / count:>12.1f}{100 * (during - after) / grown:>12.0f} %"
          f"{before:>12}{during:>12}{after:>12}", flush=True)
    server.close()

asyncio.run(main())
PY

free_port; http=$REPLY
free_port; https=$REPLY
free_port; admin=$REPLY
free_port; backend=$REPLY
cp -r "$root/conf/examples/minimal" "$work/conf"
printf 'limits: { connections: 20000, connections_per_address: 20000 }\ntimeouts: { idle: 300s }\n' \
    >>"$work/conf/meridian.yaml"

printf '%-6s%7s%12s%14s%12s%12s%12s\n' kind held "KiB each" "given back" before during after
for kind in "${kinds[@]}"; do
    HTTP_PORT=$http HTTPS_PORT=$https ADMIN_PORT=$admin UPSTREAM=127.0.0.1:$backend \
        TLS_CERT=$work/tls.pem TLS_KEY=$work/tls.key \
        "$MERIDIAN" run --config "$work/conf/meridian.yaml" 2>"$work/log" &
    pid=$!
    pids+=("$pid")
    until curl -sf "http://127.0.0.1:$admin/readyz" >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || { cat "$work/log" >&2; die "it did not start"; }
        sleep 0.1
    done
    port=$http
    [ "$kind" = tls ] && port=$https
    env -u LD_PRELOAD python3 "$work/hold.py" "$kind" "$count" "$port" "$pid" "$backend"
    stop "$pid"
done
