#!/bin/bash
# CPU time of each thread while requests come over one protocol: whether work is
# spread over the threads. QUIC connections belong to the thread that their id
# names.
#
#   loadtest/threads.sh                      h3, two threads, 64 connections, 5 s
#   PROTOCOL=h2 THREADS=4 CONNECTIONS=8 SECONDS_EACH=10 loadtest/threads.sh
set -euo pipefail
source "$(dirname "$0")/compare/lib.sh"

PROTOCOL=${PROTOCOL:-h3}
THREADS=${THREADS:-2}
CONNECTIONS=${CONNECTIONS:-64}
SECONDS_EACH=${SECONDS_EACH:-5}
LOADER=${LOADER:-$root/target/release/meridian-load}
every="0-$(($(nproc) - 1))"

need nginx=nginx openssl=openssl curl=curl taskset=util-linux
PATH=$PATH:/usr/sbin
need_meridian
[ -x "$LOADER" ] || die "no $LOADER: cargo build --release --workspace, or set LOADER"
make_certificate
free_port; upstream=127.0.0.1:$REPLY
write_upstream_config "$REPLY"
start "$every" upstream nginx -c "$work/upstream/nginx.conf"
wait_for "http://$upstream/" upstream
cp -r "$root/conf/examples/minimal" "$work/conf"
sed -i "s/^threads: .*/threads: $THREADS/" "$work/conf/meridian.yaml"
free_port; http=$REPLY
free_port; https=$REPLY
free_port; meridian_env "$http" "$https" "$REPLY" "$upstream"
start "$every" meridian "$MERIDIAN" run --config "$work/conf/meridian.yaml"
pid=$REPLY
wait_for "https://127.0.0.1:$https/" meridian

# CPU milliseconds of every thread: "id name ms".
threads() {
    local task
    for task in "/proc/$pid/task"/*; do
        printf '%s %s %s\n' "${task##*/}" "$(tr ' ' _ < "$task/comm")" "$(sed 's/.*) //' "$task/stat" |
            awk -v hz="$(getconf CLK_TCK)" '{ print ($12 + $13) * 1000 / hz }')"
    done
}

threads > "$work/before"
"$LOADER" "https://127.0.0.1:$https/" --insecure --protocol "$PROTOCOL" -c "$CONNECTIONS" \
    --closed --warm-up 0s --duration "${SECONDS_EACH}s" > "$work/load.log" || die "$(cat "$work/load.log")"
threads > "$work/after"
awk 'NR == FNR { before[$1] = $3; next }
     { ms = $3 - before[$1]; if (ms > 0) { name[$1] = $2; cpu[$1] = ms; sum += ms } }
     END { printf "%-10s%-18s%10s%8s\n", "thread", "name", "CPU ms", "share"
           for (id in cpu) printf "%-10s%-18s%10d%7.0f%%\n", id, name[id], cpu[id], 100 * cpu[id] / sum }' \
    "$work/before" "$work/after"
grep -E 'answers|status|errors' "$work/load.log"
