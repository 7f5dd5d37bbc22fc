//! The MCP endpoint: both eras of Streamable HTTP by the SDK. Promises an
//! answer in JSON where one message is all, events where there are more, and
//! that a modern call whose client leaves is cancelled (so no event store:
//! with one, the SDK lets such calls run on).

use std::sync::Arc;

use http::{Method, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use crate::{
    body::{Answer, no_room},
    options::Options,
    sessions::Sessions,
    tools::Regional,
};

/// Serves `/mcp`.
pub(crate) struct Mcp {
    service: StreamableHttpService<Regional, Sessions>,
    sessions: Arc<Sessions>,
}

impl Mcp {
    /// Serves `server` until `closing`, which ends its sessions and streams.
    pub(crate) fn new(options: &Options, server: Regional, closing: CancellationToken) -> Self {
        let sessions = Arc::new(Sessions::new(options.sessions_max));
        let config = StreamableHttpServerConfig::default()
            .with_allowed_hosts(options.allowed_hosts.clone())
            .with_json_response(true)
            .with_cancellation_token(closing);
        let service =
            StreamableHttpService::new(move || Ok(server.clone()), Arc::clone(&sessions), config);
        Self { service, sessions }
    }

    /// Legacy sessions that are open now.
    pub(crate) async fn sessions(&self) -> usize {
        self.sessions.count().await
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Answer {
        // Modern requests carry `Mcp-Method` and open no session. One that
        // lies about it meets the same bound inside, as a 500.
        let may_open = request.method() == Method::POST
            && !request.headers().contains_key("mcp-session-id")
            && !request.headers().contains_key("mcp-method");
        if may_open && self.sessions.is_full().await {
            return no_room("as many sessions as this server takes");
        }
        let answer = self.service.handle(request).await;
        answer.map(|body| body.map_err(|never| match never {}).boxed_unsync())
    }
}
