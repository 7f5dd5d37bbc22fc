// The official TypeScript clients against an MCP endpoint.
//
//   mcp_npm.mjs URL v2-auto|v2-legacy|v1
//
// NODE_EXTRA_CA_CERTS names the edge's certificate, MERIDIAN_NODE the folder
// that has node_modules, MERIDIAN_BACKENDS the processes that are killed at last. Exits 0 when everything is answered as without a proxy
// between, else says what was not.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

const [url, mode] = process.argv.slice(2);
const require = createRequire(path.join(process.env.MERIDIAN_NODE, 'x.js'));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);

const TOOLS = ['echo', 'region_info', 'slow', 'records_put', 'records_get', 'records_search'];

function check(what, holds) {
  if (!holds) {
    console.error(`not as expected: ${what}`);
    process.exit(1);
  }
}

async function connect() {
  const info = { name: 'test', version: '1' };
  if (mode === 'v1') {
    const { Client } = await load('@modelcontextprotocol/sdk/client/index.js');
    const { StreamableHTTPClientTransport } = await load(
      '@modelcontextprotocol/sdk/client/streamableHttp.js',
    );
    const client = new Client(info);
    await client.connect(new StreamableHTTPClientTransport(new URL(url)));
    return client;
  }
  const { Client, StreamableHTTPClientTransport } = await load('@modelcontextprotocol/client');
  const client = new Client(info, { versionNegotiation: { mode: mode.slice('v2-'.length) } });
  await client.connect(new StreamableHTTPClientTransport(new URL(url)));
  return client;
}

function call(client, request, options) {
  return mode === 'v1'
    ? client.callTool(request, undefined, options)
    : client.callTool(request, options);
}

const client = await connect();

const { tools } = await client.listTools();
const names = tools.map((tool) => tool.name);
for (const name of TOOLS) check(`tool ${name} is listed`, names.includes(name));

let answer = await call(client, { name: 'echo', arguments: { text: 'grüße' } });
check(`echo: ${JSON.stringify(answer)}`, JSON.stringify(answer).includes('grüße'));

const record = { key: 'k', value: 'v', class: 'tier_2_personal' };
answer = await call(client, { name: 'records_put', arguments: record });
check(`records_put: ${JSON.stringify(answer)}`, !answer.isError);
answer = await call(client, { name: 'records_get', arguments: { key: 'k' } });
check(`records_get: ${JSON.stringify(answer)}`, !answer.isError);

const seen = [];
answer = await call(
  client,
  { name: 'slow', arguments: { steps: 4, step_ms: 150 } },
  { onprogress: () => seen.push(Date.now()) },
);
check(`slow: ${JSON.stringify(answer)}`, !answer.isError);
check(`progress: ${seen.length} steps`, seen.length >= 3);
check('progress is streamed, not held back', seen.at(-1) - seen[0] > 200);

const stop = new AbortController();
let ended = false;
try {
  await call(
    client,
    { name: 'slow', arguments: { steps: 600, step_ms: 100 } },
    { signal: stop.signal, onprogress: () => stop.abort() },
  );
} catch {
  ended = true;
}
check('a cancelled call ends', ended);
answer = await call(client, { name: 'echo', arguments: { text: 'still here' } });
check('the client goes on after a cancel', !answer.isError);

// Every backend dies within a stream: the call ends at once, not by a timeout.
const backends = process.env.MERIDIAN_BACKENDS.split(',').map(Number);
let failure;
let died;
try {
  await call(
    client,
    { name: 'slow', arguments: { steps: 600, step_ms: 100 } },
    {
      onprogress: () => {
        died ??= Date.now();
        for (const backend of backends.splice(0)) process.kill(backend, 'SIGKILL');
      },
    },
  );
} catch (error) {
  failure = error;
}
const waited = Date.now() - died;
check(`a call whose backend died ends with the edge's error: ${failure}`, failure?.code === 502);
check(`a call whose backend died ends at once: ${waited} ms`, waited < 10_000);

process.exit(0);
