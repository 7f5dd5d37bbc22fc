//! The route table: what a request is for, and what is done with it.
//!
//! Promises: the most specific match wins (host before path before method),
//! whatever the order in the file; a lookup is a binary search. Refuses two
//! routes that could both win.

mod compiled;
pub(crate) mod matching;
mod raw;
mod table;

use std::time::Duration;

pub(crate) use compiled::compile;
pub(crate) use raw::RawRoutes;
pub(crate) use table::RouteTable;

use meridian_wire::RequestHead;
use serde::Serialize;

use crate::identity::Need;
use crate::residency::{DataClass, RegionSet};
use crate::{RouteIndex, Snapshot};

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its id in the file.
    pub id: String,
    /// What is done with a request.
    pub action: RouteAction,
    /// Class of the data it carries; `None` leaves it to `classify`.
    pub data_class: Option<DataClass>,
    /// Whether it is an MCP endpoint.
    pub mcp: McpRoute,
    /// Most bytes of a request body; default 10 MiB, 0 admits no body.
    pub body_limit: u64,
    /// Deadlines of one exchange.
    pub timeouts: RouteTimeouts,
    /// Regions that may serve it, besides what the law says; `None` is every
    /// region.
    pub regions: Option<RegionSet>,
    /// Whether the WAF inspects it.
    pub waf: RouteWaf,
    /// Whether rate limits count it.
    pub limits: RouteLimits,
    /// Whether WebSocket upgrades pass.
    pub websocket: WebSocket,
    /// Whether it needs a token; `None` leaves it to `authentication.default`.
    pub authentication: Option<Need>,
}

/// What is done with a request.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteAction {
    /// Sent to a region.
    Forward,
    /// Answered by the edge with its own health.
    Health,
    /// Answered by the edge.
    Respond {
        /// Status, 200 to 599.
        status: u16,
        /// Body, at most 64 KiB.
        body: String,
        /// Its media type.
        content_type: String,
    },
    /// Refused by the edge.
    Deny {
        /// Status, 400 to 599; default 403.
        status: u16,
    },
}

/// Deadlines of one exchange.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct RouteTimeouts {
    /// From the request's end (or first attempt) to the first byte of the
    /// answer; `None`: what the static file says, 30 s by default.
    pub first_byte: Option<Duration>,
    /// For the whole exchange; default none, as streams may last.
    pub total: Option<Duration>,
    /// Without a byte in either direction; default none.
    pub idle: Option<Duration>,
}

/// Whether a route is an MCP endpoint.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum McpRoute {
    /// Bodies are read ahead, refusals are JSON-RPC errors, sessions stick.
    On,
    /// Plain HTTP.
    Off,
}

/// Whether the WAF inspects a route.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteWaf {
    /// As the key `waf` says.
    On,
    /// Not at all.
    Off,
}

/// Whether rate limits count a route.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteLimits {
    /// As the key `rate_limiting` says.
    On,
    /// Not at all.
    Off,
}

/// Whether WebSocket upgrades pass a route.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum WebSocket {
    /// They become tunnels.
    On(WebSocketBounds),
    /// The request goes on without its upgrade; one that is nothing else (an
    /// extended CONNECT) is refused.
    Off,
}

/// How long a tunnel may last. What the key `websocket` leaves open is the
/// route's: its `timeouts.idle` and `timeouts.total`.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct WebSocketBounds {
    /// Without a byte in either direction; default none, never 0.
    pub idle: Option<Duration>,
    /// From the upgrade on; default none, never 0.
    pub max_lifetime: Option<Duration>,
}

impl Snapshot {
    /// The route of a request; `None` where no route matches (404), or where
    /// routes match but for the method ([`Snapshot::methods_elsewhere`]).
    #[inline]
    pub fn route(&self, head: &RequestHead) -> Option<(RouteIndex, &Route)> {
        self.routes.find(head)
    }

    /// The methods that routes of this host and path take, for `Allow` with a
    /// 405; empty where no route matches host and path.
    pub fn methods_elsewhere<'a>(&'a self, head: &'a RequestHead) -> Vec<&'a str> {
        self.routes.methods_elsewhere(head)
    }
}

#[cfg(test)]
mod tests;
