//! A regional MCP server: what stands behind the edge in one region.
//!
//! It promises MCP of both eras on `/mcp` by the official SDK, a load report on
//! `/v3/health`, and a set of paths that show what arrived and stress what lies
//! between. It refuses to be an edge: no TLS, no authentication, and any `Host`
//! unless told otherwise, because the edge in front of it validates. Bind it to
//! addresses that only the edge can reach.
//!
//! ```text
//! meridian-backend --region europe-west1 --listen 127.0.0.1:9001 --delay 120
//! {"listening":"http://127.0.0.1:9001","region":"europe-west1"}
//! ```
//!
//! # Paths
//! HTTP/1.1 with keep-alive (idle 90 s) and HTTP/2 with prior knowledge on one
//! port. Every answer names its region in `x-backend-region`.
//!
//! | path | answer |
//! |---|---|
//! | `/mcp` | MCP: legacy sessions, SSE and resumption up to 2025-11-25; stateless 2026-07-28 |
//! | `/v3/health` | load report; 503 while draining or told to be unhealthy; never delayed |
//! | `/v3/echo` | any method: JSON of region, method, path, version, headers, body |
//! | `/v3/echo/body` | the request's body, byte for byte as it arrives |
//! | `/v3/ws/echo` | WebSocket echo, messages up to 1 MiB |
//! | `/v3/sse?n=5&ms=50` | `n` events, `ms` apart |
//! | `/v3/bytes?n=1024` | `n` bytes with `Content-Length` |
//! | `/v3/trailers` | two chunks and a trailer (HTTP/1.1: only for `TE: trailers`) |
//! | `/v3/status/404` | that status |
//! | `/v3/log` | with `--faults`: the last 1,024 requests and totals by data class; `DELETE` clears |
//! | `/fault` | with `--faults`: `GET`, `POST`, `DELETE` a [`Fault`] |
//!
//! # Try it
//! ```text
//! curl -s localhost:9001/v3/health
//! curl -s localhost:9001/v3/echo?x=1 -d hello
//! curl -N localhost:9001/v3/sse?n=3
//!
//! # MCP, 2026-07-28: one request, no session
//! curl -s localhost:9001/mcp -H 'content-type: application/json' \
//!   -H 'accept: application/json, text/event-stream' \
//!   -H 'mcp-protocol-version: 2026-07-28' \
//!   -H 'mcp-method: tools/call' -H 'mcp-name: echo' \
//!   -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo",
//!        "arguments":{"text":"hi"},"_meta":{
//!        "io.modelcontextprotocol/protocolVersion":"2026-07-28",
//!        "io.modelcontextprotocol/clientCapabilities":{}}}}'
//!
//! # MCP, legacy: the answer's Mcp-Session-Id goes with every later request
//! curl -si localhost:9001/mcp -H 'content-type: application/json' \
//!   -H 'accept: application/json, text/event-stream' \
//!   -d '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{
//!        "protocolVersion":"2025-11-25","capabilities":{},
//!        "clientInfo":{"name":"curl","version":"1"}}}'
//!
//! # Faults (with --faults): the next three requests fail, then all is well
//! curl -s localhost:9001/fault -d '{"error_rate":1,"status":500,"count":3}'
//! curl -s localhost:9001/fault -d '{"reset":"mid_body","path":"/mcp"}'
//! curl -s localhost:9001/fault -d '{"unhealthy":true}'
//! curl -s -X DELETE localhost:9001/fault
//! ```
//!
//! # As a library
//! [`run`] is the whole process; [`serve`] serves on a listener inside a
//! runtime; [`tool_table`] states what an edge may know about the tools.

mod args;
mod backend;
mod body;
mod data_class;
mod echo;
mod fault;
mod journal;
mod latency;
mod link;
mod load;
mod mcp;
mod options;
mod region;
mod run;
mod server;
mod sessions;
mod store;
mod streams;
mod tls;
mod tools;
mod ws;

pub use args::{ArgsError, BackendArgs};
pub use data_class::{DataClass, UnknownDataClass};
pub use fault::{Fault, FaultError, FaultReport, Reset};
pub use latency::{DELAY_MAX, LatencyError, LatencyMatrix};
pub use options::Options;
pub use region::{BadRegion, Region};
pub use run::run;
pub use server::{IDLE, ServeError, serve};
pub use store::{Record, StoreError};
pub use tls::{TlsError, TlsFiles};
pub use tools::{META_DATA_CLASS, META_SAFE_TO_RETRY, ToolTrait, tool_table};
