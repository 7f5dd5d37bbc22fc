#!/bin/bash
# Certificates for deploy/compose.yaml, valid for a month: a self-signed one for
# clients of the edge, and an authority with one for each backend and one for
# the edge, by which they know each other. Kept if they are there. The keys are
# readable by the containers' users, who are not you: for trials only.
set -euo pipefail
dir=$(cd "$(dirname "$0")" && pwd)/compose/tls
[ -f "$dir/edge.pem" ] && exit 0
mkdir -p "$dir"
cd "$dir"

new=(-newkey ec -pkeyopt "ec_paramgen_curve:prime256v1" -nodes)
openssl req -x509 "${new[@]}" -days 30 -subj /CN=localhost \
    -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" \
    -keyout key.pem -out cert.pem 2>/dev/null
openssl req -x509 "${new[@]}" -days 30 -subj "/CN=compose" \
    -addext "basicConstraints=critical,CA:TRUE" \
    -keyout internal-ca.key -out internal-ca.pem 2>/dev/null

# signed NAME: NAME.pem and NAME.key for the host NAME.
signed() {
    openssl req "${new[@]}" -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    openssl x509 -req -in "$1.csr" -days 30 -CA internal-ca.pem -CAkey internal-ca.key \
        -extfile <(echo "subjectAltName=DNS:$1") -out "$1.pem" 2>/dev/null
    rm "$1.csr"
}
for name in us-central1 europe-west1 asia-southeast1 edge; do
    signed "$name"
done
rm internal-ca.key
chmod 755 .
chmod 644 -- *.pem *.key
