#!/bin/bash
# A self-signed certificate for deploy/compose.yaml, valid for a month. Kept if
# it is there. The key is readable by the container's user, who is not you:
# for trials only.
set -euo pipefail
dir=$(cd "$(dirname "$0")" && pwd)/compose/tls
[ -f "$dir/cert.pem" ] && exit 0
mkdir -p "$dir"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
    -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
chmod 755 "$dir"
chmod 644 "$dir/key.pem" "$dir/cert.pem"
