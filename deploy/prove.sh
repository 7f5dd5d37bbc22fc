#!/bin/bash
# Proves Dockerfile and compose.yaml on a Debian machine without any image
# registry: builds the base images from Debian's packages and the toolchain
# that is installed, builds both images in containers, brings the services up
# with podman-compose, checks what a user would, and takes everything down.
#
#   sudo deploy/prove.sh
#   sudo deploy/prove.sh base                     only the base images
#   STATE=/var/tmp/x sudo -E deploy/prove.sh      where base images are kept
#   HTTP_PORT=8080 HTTPS_PORT=8443 ADMIN_PORT=9090 ...   otherwise free ones
#   KEEP=1 ...                                    leave the services running
#
# Needs root, network to Debian's mirror and the crates registry, 6 GB, and
# about 15 minutes the first time.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
STATE=${STATE:-/var/tmp/meridian-prove}
ADMIN_TOKEN=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
export ADMIN_TOKEN
mkdir -p "$STATE"

# A port nobody listens on, below the kernel's range for clients.
free_port() {
    local port
    while port=$((10000 + RANDOM % 20000)); (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do :; done
    echo "$port"
}
export HTTP_PORT=${HTTP_PORT:-$(free_port)} HTTPS_PORT=${HTTPS_PORT:-$(free_port)}
export ADMIN_PORT=${ADMIN_PORT:-$(free_port)}

say() { echo "== $*" >&2; }
die() { echo "prove.sh: $*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || die "needs root (podman with bridges)"

install_tools() {
    local missing=() tool
    for tool in podman podman-compose debootstrap curl openssl; do
        command -v "$tool" > /dev/null || missing+=("$tool")
    done
    command -v runc > /dev/null || missing+=(runc)
    [ -x /usr/lib/podman/netavark ] || missing+=(netavark)
    [ -x /usr/lib/podman/aardvark-dns ] || missing+=(aardvark-dns)
    command -v iptables > /dev/null || missing+=(iptables)
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" > /dev/null
}

# Also runs where the machine is itself a container: no raised limits, no
# journal, no systemd.
write_podman_config() {
    cat > "$STATE/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1024:2048"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
events_logger = "file"
cgroup_manager = "cgroupfs"
[network]
network_backend = "netavark"
CONF
    export CONTAINERS_CONF=$STATE/containers.conf
}

make_base_images() {
    if ! podman image exists localhost/debian-base:bookworm; then
        say "base image: debootstrap"
        rm -rf "$STATE/rootfs"
        debootstrap --variant=minbase bookworm "$STATE/rootfs" > "$STATE/debootstrap.log"
        tar -C "$STATE/rootfs" -c . | podman import - localhost/debian-base:bookworm > /dev/null
        rm -rf "$STATE/rootfs"
    fi
    if ! podman image exists localhost/rust-base:bookworm; then
        say "build image: a C compiler and the place for the toolchain"
        podman build --tag localhost/rust-base:bookworm --file - "$STATE" <<'FILE'
FROM localhost/debian-base:bookworm
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev ca-certificates
ENV PATH=/usr/local/rust/bin:/usr/local/bin:/usr/bin:/bin CARGO_HOME=/usr/local/cargo
FILE
    fi
}

build() {
    say "building target $1"
    podman build --target "$1" --tag "localhost/meridian-$1:dev" \
        --build-arg BUILD_IMAGE=localhost/rust-base:bookworm \
        --build-arg RUN_IMAGE=localhost/debian-base:bookworm \
        --volume "$(cd "$root" && rustc --print sysroot):/usr/local/rust:ro" \
        --volume /etc/ssl/certs:/etc/ssl/certs:ro \
        "$root"
}

compose() { (cd "$root/deploy" && podman-compose -f compose.yaml "$@"); }

# shellcheck disable=SC2317  # called by trap
finish() {
    local code=$?
    if [ -n "${KEEP:-}" ]; then
        say "left running: http://127.0.0.1:$HTTP_PORT, token $ADMIN_TOKEN"
    else
        [ "$code" -eq 0 ] || compose logs edge 2>&1 | tail -20 >&2 || true
        compose down --volumes > "$STATE/down.log" 2>&1 || true
    fi
}

failed=0
# expect NAME WANTED GOT
expect() {
    if [ "$2" = "$3" ]; then echo "ok    $1"; else echo "FAIL  $1: wanted $2, got $3"; failed=1; fi
}

region_for() {
    curl -sk --max-time 10 -o /dev/null -D - -H "X-Forwarded-For: $1" "$2/v3/echo" \
        | tr -d '\r' | awk -F': ' 'tolower($1) == "x-meridian-region" { print $2 }'
}

status_of() { curl -sk --max-time 10 -o /dev/null -w '%{http_code}' "$@"; }

check_routing() {
    local http=http://127.0.0.1:$HTTP_PORT https=https://127.0.0.1:$HTTPS_PORT base
    for base in "$http" "$https"; do
        expect "Germany, ${base%%:*}" europe-west1 "$(region_for 91.64.0.1 "$base")"
        expect "United States, ${base%%:*}" us-central1 "$(region_for 8.8.8.8 "$base")"
        expect "Singapore, ${base%%:*}" asia-southeast1 "$(region_for 203.116.1.1 "$base")"
    done
    expect "h2 by ALPN" 2 "$(curl -sk --http2 -o /dev/null -w '%{http_version}' "$https/v3/echo")"
    expect "an injection" 403 "$(status_of "$http/v3/echo?q=1%27%20OR%20%271%27=%271")"
    expect "a climbing path" 403 "$(status_of --path-as-is "$http/v3/echo/../../etc/passwd")"
    expect "Indian personal data" 451 \
        "$(status_of -H 'X-Forwarded-For: 49.36.1.1' -H 'x-data-class: tier_1_pii' "$http/v3/echo")"
    expect "an MCP client" 200 "$(status_of -X POST "$https/mcp" -H 'content-type: application/json' \
        -H 'accept: application/json, text/event-stream' \
        -d '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"prove","version":"1"}}}')"
}

check_containers() {
    local admin=http://127.0.0.1:$ADMIN_PORT name container pid
    expect "admin without the token" 401 "$(status_of "$admin/regions")"
    expect "admin with it" 200 "$(status_of -H "Authorization: Bearer $ADMIN_TOKEN" "$admin/regions")"
    for name in edge us-central1; do
        container=$(container_of "$name")
        pid=$(podman inspect --format '{{.State.Pid}}' "$container")
        expect "$name is not root" 10001 "$(awk '/^Uid:/ { print $2 }' "/proc/$pid/status")"
        expect "$name has no capabilities" 0000000000000000 "$(awk '/^CapEff:/ { print $2 }' "/proc/$pid/status")"
        expect "$name has a read-only root" true "$(podman inspect --format '{{.HostConfig.ReadonlyRootfs}}' "$container")"
    done
}

container_of() {
    podman ps --all --filter "label=io.podman.compose.project=deploy" \
        --filter "label=com.docker.compose.service=$1" --format '{{.Names}}' | head -1
}

# A region that ends is left; nobody notices.
check_failover() {
    local _ answers=0
    podman stop --time 20 "$(container_of us-central1)" > /dev/null
    for _ in 1 2 3 4 5; do
        [ "$(status_of -H 'X-Forwarded-For: 8.8.8.8' "http://127.0.0.1:$HTTP_PORT/v3/echo")" = 200 ] \
            && answers=$((answers + 1))
    done
    expect "answers while us-central1 is down" 5 "$answers"
}

check_stop() {
    local edge began
    edge=$(container_of edge)
    began=$SECONDS
    podman stop --time 20 "$edge" > /dev/null
    expect "the edge stops within 10 s" yes "$([ $((SECONDS - began)) -lt 10 ] && echo yes || echo no)"
    expect "the edge's exit code" 0 "$(podman inspect --format '{{.State.ExitCode}}' "$edge")"
}

wait_until_ready() {
    local end=$((SECONDS + 60))
    until [ "$(status_of "http://127.0.0.1:$ADMIN_PORT/readyz" || true)" = 200 ]; do
        [ $SECONDS -lt $end ] || die "the edge is not ready after a minute"
        sleep 0.5
    done
}

install_tools
write_podman_config
make_base_images
[ "${1:-}" = base ] && exit 0
build backend
build edge
"$root/deploy/certificate.sh"
trap finish EXIT
say "services up"
compose up -d --no-build > "$STATE/up.log" 2>&1 || true
for name in us-central1 europe-west1 asia-southeast1 edge; do
    running=$(podman inspect --format '{{.State.Running}}' "$(container_of "$name")" || true)
    [ "$running" = true ] || { grep -i error "$STATE/up.log" >&2; die "$name is not running"; }
done
wait_until_ready
check_routing
check_containers
check_failover
check_stop
exit $failed
