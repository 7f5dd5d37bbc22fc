//! The engine between real sockets: an edge in this process, scripted byte
//! streams on both of its sides.
//!
//! Every wait has an upper bound and no port is fixed. An edge ends with its
//! test.

#![cfg(test)]

mod audit;
mod autobahn;
mod carried;
mod deadlines;
mod downgrade;
mod drain;
mod floods;
mod full_disk;
mod h3;
mod h3_connections;
mod harness;
mod identity;
mod limits;
mod mcp_streams;
mod places;
mod pool;
mod residency;
mod sessions;
mod slow;
mod slow_drips;
mod smuggling;
mod streaming;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod tls_hosts;
mod tokens;
mod upstream_tls;
mod upstreams;
mod websocket;
