#!/bin/bash
# nginx, HAProxy and Meridian side by side: CPU time a request.
#
# The proxy runs on one core; load and an nginx upstream that answers 1 KiB on
# the other. Rounds interleave, so that a noisy neighbour hits everybody, and
# every ratio is against nginx (AGAINST) in the same round. CPU time is utime + stime of
# the proxy's processes over the requests answered. `nginx-again` is a second
# nginx with the same configuration: what it differs by is noise.
#
#   loadtest/compare.sh                      all proxies, h1, h1tls, h2
#   ROUNDS=7 SECONDS_EACH=6 loadtest/compare.sh
#   PROXIES="nginx minimal" MODES=h1 loadtest/compare.sh
#   PROXIES="minimal full" MODES="h2ml h3" loadtest/compare.sh
#                                            h2 and h3 from the same client, meridian-load
#   AGAINST=envoy PROXIES="envoy minimal" MODES="h2ml h3" loadtest/compare.sh
#                                            what compare-h3.sh runs
#   CHECK=1 loadtest/compare.sh              exit 1 when a limit is exceeded
#   KEEP=1 ...                               keep logs and raw.tsv
set -euo pipefail
source "$(dirname "$0")/compare/lib.sh"

ROUNDS=${ROUNDS:-5}
SECONDS_EACH=${SECONDS_EACH:-4}
PROXIES=${PROXIES:-nginx nginx-again haproxy minimal full}
MODES=${MODES:-h1 h1tls h2}
PROXY_CPU=${PROXY_CPU:-0}
LOAD_CPU=${LOAD_CPU:-1}
AGAINST=${AGAINST:-nginx}
LOADER=${LOADER:-$root/target/release/meridian-load}

declare -A http https main_pid

start_proxies() {
    local name config
    for name in $PROXIES; do
        free_port; http[$name]=$REPLY
        free_port; https[$name]=$REPLY
        case $name in
        nginx*)
            write_nginx_config "$name" "${http[$name]}" "${https[$name]}" "$upstream"
            start "$PROXY_CPU" "$name" nginx -c "$work/$name/nginx.conf" ;;
        haproxy)
            write_haproxy_config "${http[$name]}" "${https[$name]}" "$upstream"
            start "$PROXY_CPU" "$name" haproxy -db -f "$work/haproxy.cfg" ;;
        envoy)
            need_envoy
            write_envoy_config "${http[$name]}" "${https[$name]}" "$upstream"
            start "$PROXY_CPU" "$name" "$ENVOY" -c "$work/envoy.yaml" \
                --concurrency 1 --disable-hot-restart -l error ;;
        *)
            need_meridian
            free_port
            meridian_env "${http[$name]}" "${https[$name]}" "$REPLY" "$upstream"
            config=$root/conf/examples/$name/meridian.yaml
            [ -f "$config" ] || die "no $config"
            start "$PROXY_CPU" "$name" "$MERIDIAN" run --config "$config" ;;
        esac
        main_pid[$name]=$REPLY
        wait_for "http://127.0.0.1:${http[$name]}/" "$name"
        wait_for "https://127.0.0.1:${https[$name]}/" "$name"
    done
}

# family PID: it and its descendants.
family() {
    local pid children child
    for pid in "$@"; do
        echo "$pid"
        children=$(cat "/proc/$pid/task/"*/children 2>/dev/null || true)
        for child in $children; do family "$child"; done
    done
}

# cpu_ticks PID: "user system" of the family, ended children included.
cpu_ticks() {
    local pid
    for pid in $(family "$1"); do
        sed 's/.*) //' "/proc/$pid/stat"
    done | awk '{ user += $12 + $14; sys += $13 + $15 } END { print user, sys }'
}

# load MODE NAME SECONDS: prints the number of good answers.
load() {
    local log=$work/load.log
    case $1 in
    h1) taskset -c "$LOAD_CPU" wrk -t1 -c64 -d"$3s" "http://127.0.0.1:${http[$2]}/" ;;
    h1tls) taskset -c "$LOAD_CPU" wrk -t1 -c64 -d"$3s" "https://127.0.0.1:${https[$2]}/" ;;
    h2) taskset -c "$LOAD_CPU" h2load -t1 -c8 -m8 -D"$3" "https://127.0.0.1:${https[$2]}/" ;;
    h2ml|h3) taskset -c "$LOAD_CPU" "$LOADER" "https://127.0.0.1:${https[$2]}/" --insecure --protocol "${1%ml}" \
        -c 8 --streams 8 --closed --warm-up 0s --duration "$3s" --json ;;
    *) die "unknown mode $1" ;;
    esac > "$log" 2>&1 || die "load failed: $(tail -3 "$log")"
    if grep -qE 'Non-2xx|Socket errors' "$log"; then die "$2 $1: $(grep -E 'Non-2xx|Socket' "$log")"; fi
    if [ "$1" = h3 ] || [ "$1" = h2ml ]; then
        grep -q '"errors": *{}' "$log" || die "$2 $1: $(grep -A3 '"errors"' "$log")"
        sed -n 's/.*"answers": *\([0-9]*\).*/\1/p' "$log"
    elif [ "$1" = h2 ]; then
        grep -q 'Application protocol: h2' "$log" || die "$2 did not speak h2"
        awk '/^requests:/ { done = $6 } /^status codes:/ { good = $3 }
             END { if (good < done) exit 1; print done }' "$log" || die "$2 h2: $(grep '^status' "$log")"
    else
        awk '/requests in/ { print $1 }' "$log"
    fi
}

# measure ROUND MODE NAME: one line of raw.tsv, times in microseconds.
measure() {
    local before after count
    before=$(cpu_ticks "${main_pid[$3]}")
    count=$(load "$2" "$3" "$SECONDS_EACH")
    after=$(cpu_ticks "${main_pid[$3]}")
    echo "$before $after" | awk -v OFS='\t' -v round="$1" -v mode="$2" -v name="$3" \
        -v count="$count" -v hz="$(getconf CLK_TCK)" -v seconds="$SECONDS_EACH" '{
        us = 1e6 / hz / count
        print round, mode, name, ($3 - $1 + $4 - $2) * us, ($3 - $1) * us, ($4 - $2) * us, count / seconds }'
}

run_rounds() {
    local round mode name order
    for mode in $MODES; do
        for name in $PROXIES; do load "$mode" "$name" 1 > "$work/ignored"; done
    done
    for ((round = 1; round <= ROUNDS; round++)); do
        for mode in $MODES; do
            # Another one begins each round.
            order=$(echo "$PROXIES" | tr -s ' ' '\n' | awk -v by="$round" \
                '{ all[NR] = $0 } END { for (i = 0; i < NR; i++) print all[(i + by) % NR + 1] }')
            for name in $order; do measure "$round" "$mode" "$name" >> "$work/raw.tsv"; done
        done
        echo "round $round of $ROUNDS" >&2
    done
}

table() {
    awk -F'\t' -v modes="$MODES" -v proxies="$PROXIES" -v check="${CHECK:-}" -v against="$AGAINST" '
    function median(list,   values, n, i, j, hold) {
        n = split(list, values, " ")
        for (i = 2; i <= n; i++) for (j = i; j > 1 && values[j-1] + 0 > values[j] + 0; j--) {
            hold = values[j]; values[j] = values[j-1]; values[j-1] = hold }
        low = values[1]; high = values[n]
        return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
    }
    BEGIN {
        if (against == "envoy") { limit["h3", "minimal"] = 0.4; limit["h3", "full"] = 0.4 }
        else if (against == "nginx") {
        limit["h1", "minimal"] = 1.0;  limit["h1tls", "minimal"] = 0.9; limit["h2", "minimal"] = 1.1
        limit["h1", "full"] = 1.15;    limit["h1tls", "full"] = 1.0;    limit["h2", "full"] = 1.25
        }
    }
    {
        total[$2, $3] = total[$2, $3] " " $4; user[$2, $3] = user[$2, $3] " " $5
        kernel[$2, $3] = kernel[$2, $3] " " $6; rate[$2, $3] = rate[$2, $3] " " $7
        us[$1, $2, $3] = $4; if ($1 > rounds) rounds = $1
    }
    END {
        format = "%-6s %-12s %8s %8s %8s %9s %7s %17s %6s\n"
        printf format, "mode", "proxy", "us/req", "user", "kernel", "req/s", "ratio", "(range)", "limit"
        m = split(modes, mode, " "); p = split(proxies, proxy, " ")
        for (i = 1; i <= m; i++) for (j = 1; j <= p; j++) {
            key = mode[i] SUBSEP proxy[j]; ratios = ""
            for (r = 1; r <= rounds; r++) if (us[r, mode[i], against] > 0)
                ratios = ratios " " us[r, mode[i], proxy[j]] / us[r, mode[i], against]
            ratio = ratios == "" ? "-" : sprintf("%.2f", median(ratios))
            range = ratios == "" ? "" : sprintf("(%.2f - %.2f)", low, high)
            bound = key in limit ? limit[key] : ""
            mark = bound != "" && ratio != "-" && ratio + 0 > bound ? " !" : ""
            if (mark != "") bad = 1
            printf format, mode[i], proxy[j], sprintf("%.2f", median(total[key])), \
                sprintf("%.2f", median(user[key])), sprintf("%.2f", median(kernel[key])), \
                sprintf("%.0f", median(rate[key])), ratio, range, bound mark
        }
        for (j = 1; j <= p; j++) if (total["h2ml", proxy[j]] != "" && total["h3", proxy[j]] != "") {
            differences = ""
            for (r = 1; r <= rounds; r++)
                differences = differences " " us[r, "h3", proxy[j]] - us[r, "h2ml", proxy[j]]
            more = median(differences)
            mark = proxy[j] ~ /^(minimal|full)$/ ? (more > 12 ? "12 !" : "12") : ""
            if (mark ~ /!/) bad = 1
            printf format, "h3-h2", proxy[j], sprintf("%+.2f", more), "", "", "", "", \
                sprintf("(%+.2f - %+.2f)", low, high), mark
        }
        if (check != "" && bad) exit 1
    }' "$work/raw.tsv"
}

need nginx=nginx haproxy=haproxy h2load=nghttp2-client wrk=wrk openssl=openssl curl=curl taskset=util-linux
PATH=$PATH:/usr/sbin
[ "$(nproc)" -ge 2 ] || die "needs two cores"
make_certificate
free_port
upstream=127.0.0.1:$REPLY
write_upstream_config "$REPLY"
start "$LOAD_CPU" upstream nginx -c "$work/upstream/nginx.conf"
wait_for "http://$upstream/" upstream
start_proxies
run_rounds
table
