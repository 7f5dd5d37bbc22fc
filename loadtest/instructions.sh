#!/bin/bash
# User instructions a request, by callgrind: (10,000 requests less 2,000) over
# 8,000, so that start and end do not count. Does not depend on noise.
#
#   loadtest/instructions.sh                    minimal and full over h1
#   PROXIES="nginx minimal" MODES="h1 h1tls h2" loadtest/instructions.sh
#   MODES="h2ml h3" loadtest/instructions.sh    h2 and h3 from meridian-load
#   CHECK=1 loadtest/instructions.sh            exit 1 when a limit is exceeded
#   KEEP=1 ...                                  keep the profiles (callgrind_annotate)
#
# Limits: 15,000 for minimal and 24,000 for full over h1 (nginx: 20,000).
set -euo pipefail
source "$(dirname "$0")/compare/lib.sh"

PROXIES=${PROXIES:-minimal full}
MODES=${MODES:-h1}
LOADER=${LOADER:-$root/target/release/meridian-load}
SECONDS_TO_START=${SECONDS_TO_START:-120}
NGINX_EXTRA="master_process off;"
bad=0

# counted NAME MODE REQUESTS: instructions of a whole life with that many.
counted() {
    local name=$1 mode=$2 requests=$3 pid url command log=$work/load.log
    local out=$work/callgrind.$name.$mode.$requests
    free_port; local http=$REPLY
    free_port; local https=$REPLY
    free_port; local admin=$REPLY
    case $name in
    nginx)
        write_nginx_config nginx "$http" "$https" "$upstream"
        command=(nginx -c "$work/nginx/nginx.conf") ;;
    *)
        need_meridian
        meridian_env "$http" "$https" "$admin" "$upstream"
        # With it the process does not start itself once more, which valgrind
        # would not follow.
        export MIMALLOC_PURGE_DELAY=0
        command=("$MERIDIAN" run --config "$root/conf/examples/$name/meridian.yaml") ;;
    esac
    start 0 "$name" valgrind --tool=callgrind --callgrind-out-file="$out" "${command[@]}"
    pid=$REPLY
    wait_for "http://127.0.0.1:$http/" "$name"
    case $mode in
    h1) url=(--h1 -c64 "http://127.0.0.1:$http/") ;;
    h1tls) url=(--h1 -c64 "https://127.0.0.1:$https/") ;;
    h2) url=(-c8 -m8 "https://127.0.0.1:$https/") ;;
    h2ml|h3) url=("https://127.0.0.1:$https/" --insecure --protocol "${mode%ml}") ;;
    *) die "unknown mode $mode" ;;
    esac
    case $mode in
    h2ml|h3)
        taskset -c 1 "$LOADER" "${url[@]}" -c8 --streams 8 --closed --requests "$requests" \
            --duration 600s --warm-up 0s --json > "$log" 2>&1 || die "$(tail -3 "$log")"
        grep -q "\"200\": *$requests" "$log" || die "$name $mode: $(grep -A3 statuses "$log")" ;;
    *)
        taskset -c 1 h2load -t1 -n"$requests" "${url[@]}" > "$log" 2>&1 || die "$(tail -3 "$log")"
        grep -q "status codes: $requests 2xx" "$log" || die "$name $mode: $(grep '^status' "$log")" ;;
    esac
    stop "$pid"
    REPLY=$(awk '/^(summary|totals):/ { n = $2 } END { print n + 0 }' "$out")
    [ "$REPLY" -gt 0 ] || die "$name left no profile: it did not end gracefully"
}

need nginx=nginx h2load=nghttp2-client valgrind=valgrind openssl=openssl curl=curl taskset=util-linux
PATH=$PATH:/usr/sbin
make_certificate
free_port
upstream=127.0.0.1:$REPLY
NGINX_EXTRA='' write_upstream_config "$REPLY"
start 1 upstream nginx -c "$work/upstream/nginx.conf"
wait_for "http://$upstream/" upstream

printf '%-6s %-10s %12s %8s\n' mode proxy instr/req limit
for mode in $MODES; do
    for name in $PROXIES; do
        counted "$name" "$mode" 2000; few=$REPLY
        counted "$name" "$mode" 10000; many=$REPLY
        each=$(((many - few) / 8000))
        case $mode-$name in h1-minimal) limit=15000 ;; h1-full) limit=24000 ;; *) limit= ;; esac
        mark=
        if [ -n "$limit" ] && [ "$each" -gt "$limit" ]; then mark=' !'; bad=1; fi
        printf '%-6s %-10s %12s %8s%s\n' "$mode" "$name" "$each" "$limit" "$mark"
    done
done
[ -z "${CHECK:-}" ] || exit $bad
