// What `meridian demo` promises, under load, as k6 sees it.
//
//   cargo run --release -- demo                       (in one terminal)
//   k6 run loadtest/k6/demo.js                        (in another)
//   k6 run -e RATE=500 -e DURATION=1m -e HTTPS=https://127.0.0.1:8443 loadtest/k6/demo.js
//
// Constant arrival rate: like meridian-load, k6 then starts requests on time
// whatever the server does. Addresses from all over are named in
// X-Forwarded-For, which the demo believes from loopback.
import http from 'k6/http';
import { check } from 'k6';
import { Counter } from 'k6/metrics';

const HTTP = __ENV.HTTP || 'http://127.0.0.1:8080';
const HTTPS = __ENV.HTTPS || 'https://127.0.0.1:8443';
const RATE = Number(__ENV.RATE || 200);
const DURATION = __ENV.DURATION || '30s';

const served = new Counter('served_by_region');

// An address, and the region the demo's policy chooses for it. Many hosts of
// each network, so that no single address meets its own limit.
const PLACES = [
  { network: '91.64.0', region: 'europe-west1' },
  { network: '8.8.8', region: 'us-central1' },
  { network: '203.116.1', region: 'asia-southeast1' },
];

function scenario(exec, share) {
  return {
    executor: 'constant-arrival-rate',
    exec,
    rate: Math.max(1, Math.round(RATE * share)),
    timeUnit: '1s',
    duration: DURATION,
    preAllocatedVUs: 50,
    maxVUs: 500,
  };
}

export const options = {
  insecureSkipTLSVerify: true, // the demo's certificate is self-signed
  scenarios: {
    routed: scenario('routed', 0.6),
    tools: scenario('tools', 0.2),
    attacks: scenario('attacks', 0.1),
    refused: scenario('refused', 0.1),
  },
  thresholds: {
    checks: ['rate>0.999'],
    dropped_iterations: ['count==0'],
    'http_req_duration{scenario:attacks}': ['p(99)<20'],
  },
};

function address(place) {
  return `${place.network}.${1 + Math.floor(Math.random() * 254)}`;
}

// A request goes to the region nearest to its place, over h1 and over h2.
export function routed() {
  const place = PLACES[Math.floor(Math.random() * PLACES.length)];
  const base = Math.random() < 0.5 ? HTTP : HTTPS;
  const answer = http.get(`${base}/v3/echo?page=2`, {
    headers: { 'X-Forwarded-For': address(place) },
    tags: { name: 'routed' },
  });
  served.add(1, { region: answer.headers['X-Meridian-Region'] || 'none' });
  check(answer, {
    'is answered': (r) => r.status === 200,
    'is served by its region': (r) => r.headers['X-Meridian-Region'] === place.region,
    'says its request id': (r) => Boolean(r.headers['X-Request-Id']),
  });
}

// An MCP call of the stateless era: one POST, one answer.
export function tools() {
  const id = __ITER + 1;
  const call = {
    jsonrpc: '2.0',
    id,
    method: 'initialize',
    params: {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'k6', version: '1' },
    },
  };
  const answer = http.post(`${HTTPS}/mcp`, JSON.stringify(call), {
    headers: {
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
      'X-Forwarded-For': address(PLACES[0]),
    },
    tags: { name: 'tools' },
  });
  check(answer, {
    'MCP answers': (r) => r.status === 200 && String(r.body).includes(`"id":${id}`),
  });
}

// Attacks end at the edge.
export function attacks() {
  const answer = http.get(`${HTTP}/v3/echo?q=1%27%20OR%20%271%27=%271`, {
    headers: { 'X-Forwarded-For': address(PLACES[1]) },
    responseCallback: http.expectedStatuses(403),
    tags: { name: 'attacks' },
  });
  check(answer, { 'an injection is 403': (r) => r.status === 403 });
}

// Personal data from a country without a region of its own stays where it is.
export function refused() {
  const answer = http.get(`${HTTPS}/v3/echo`, {
    headers: {
      'X-Forwarded-For': address({ network: '49.36.1' }),
      'X-Data-Class': 'tier_1_pii',
    },
    responseCallback: http.expectedStatuses(451),
    tags: { name: 'refused' },
  });
  check(answer, { 'residency refuses with 451': (r) => r.status === 451 });
}
