//! The backend over real sockets and as a process. Every server listens on a
//! free port of loopback; nothing here sleeps.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests too"
)]

mod common;
mod faults;
mod http;
mod mcp;
mod process;
mod ws;
