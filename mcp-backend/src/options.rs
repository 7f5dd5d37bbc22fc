//! What a backend is told at its start. Promises sensible values for all but
//! the region's name.

use std::{path::PathBuf, time::Duration};

use crate::{region::Region, tls::TlsFiles};

/// Options of one backend; see [`Options::new`] for the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which region this is.
    pub region: Region,
    /// Added to every answer but those of `/v3/health`, `/v3/log` and
    /// `/fault`: half before the request is handled, half after. Zero: none.
    pub delay: Duration,
    /// `Host` values that `/mcp` accepts. Empty: any, because the edge in
    /// front validates; name them where no edge stands in front.
    pub allowed_hosts: Vec<String>,
    /// Requests at a time. More are answered 503 at once; `/v3/health`
    /// reports the share in use.
    pub capacity: usize,
    /// TCP connections at a time. More wait in the listener's queue.
    pub connections_max: usize,
    /// Legacy MCP sessions at a time. Opening more is answered 503; idle ones
    /// end after five minutes.
    pub sessions_max: usize,
    /// How long a stop waits for what is in flight.
    pub drain: Duration,
    /// File behind the records. `None`: they end with the process.
    pub store: Option<PathBuf>,
    /// Gets one JSON line for every request before it is handled, so that not
    /// even a kill loses one. `None`: no file.
    pub log: Option<PathBuf>,
    /// Opens `/fault` and `/v3/log`. Never where strangers can reach them.
    pub faults: bool,
    /// Serves over TLS alone. `None`: in plain text.
    pub tls: Option<TlsFiles>,
}

impl Options {
    /// No delay, any host, 10,000 requests, connections and sessions at a time,
    /// 10 s of drain, records in memory, no faults.
    pub fn new(region: Region) -> Self {
        Self {
            region,
            delay: Duration::ZERO,
            allowed_hosts: Vec::new(),
            capacity: 10_000,
            connections_max: 10_000,
            sessions_max: 10_000,
            drain: Duration::from_secs(10),
            store: None,
            log: None,
            faults: false,
            tls: None,
        }
    }
}
