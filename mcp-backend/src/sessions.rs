//! Legacy MCP sessions. Promises at most a stated number of them, and that a
//! resumed stream goes on after the event its client names. Refuses to open
//! more; idle sessions end after five minutes.

use futures_util::{Stream, StreamExt, future::ready};
use rmcp::{
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::streamable_http_server::session::{
        RestoreOutcome, ServerSseMessage, SessionId, SessionManager,
        local::{LocalSessionManager, LocalSessionManagerError},
    },
};

/// The SDK's sessions, in memory, with a bound.
#[derive(Debug)]
pub(crate) struct Sessions {
    local: LocalSessionManager,
    max: usize,
}

/// Why a session did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// As many as are allowed are open.
    #[error("too many sessions")]
    Full,
    /// What the SDK says.
    #[error(transparent)]
    Local(#[from] LocalSessionManagerError),
}

type Result<T> = std::result::Result<T, SessionError>;

impl Sessions {
    /// None yet, and never more than `max`, but for those that open in the
    /// same instant.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            local: LocalSessionManager::default(),
            max,
        }
    }

    /// Those that are open now.
    pub(crate) async fn count(&self) -> usize {
        self.local.sessions.read().await.len()
    }

    /// Whether another one would be refused.
    pub(crate) async fn is_full(&self) -> bool {
        self.count().await >= self.max
    }
}

impl SessionManager for Sessions {
    type Error = SessionError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport)> {
        if self.is_full().await {
            return Err(SessionError::Full);
        }
        Ok(self.local.create_session().await?)
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage> {
        Ok(self.local.initialize_session(id, message).await?)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool> {
        Ok(self.local.has_session(id).await?)
    }

    async fn close_session(&self, id: &SessionId) -> Result<()> {
        Ok(self.local.close_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        Ok(self.local.create_stream(id, message).await?)
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<()> {
        Ok(self.local.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        Ok(self.local.create_standalone_stream(id).await?)
    }

    /// The SDK (3.11) begins with the very event that the client has; we
    /// leave that one out. Should the SDK mend it, this changes nothing.
    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static> {
        let stream = self.local.resume(id, last_event_id.clone()).await?;
        Ok(stream.skip_while(move |event| {
            ready(event.event_id.as_deref() == Some(last_event_id.as_str()))
        }))
    }

    async fn restore_session(&self, id: SessionId) -> Result<RestoreOutcome<Self::Transport>> {
        Ok(self.local.restore_session(id).await?)
    }
}
