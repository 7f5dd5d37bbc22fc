//! The two ends of a tunnel, seen alike.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite as _;

use crate::engine::downstream::side::{Downstream, Gone};
use crate::engine::line::{Body, BodyError, Line};

/// One end.
pub(super) enum Side<'a, 'd> {
    /// The client, over any version.
    Client(&'a mut Downstream<'d>),
    /// The backend, over HTTP/1.1.
    Backend(&'a mut Line),
}

impl Side<'_, '_> {
    /// Reads until bytes are there or the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Body, BodyError>> {
        match self {
            Self::Client(client) => client.poll_body(cx),
            Self::Backend(line) => line.poll_body(cx),
        }
    }

    /// Bytes found by the last [`Side::poll_read`].
    pub(super) fn data(&self) -> &[u8] {
        match self {
            Self::Client(client) => client.data(),
            Self::Backend(line) => line.data(),
        }
    }

    /// The first `count` of them were used.
    pub(super) fn consume(&mut self, count: usize) {
        match self {
            Self::Client(client) => client.consume(count),
            Self::Backend(line) => line.consume(count),
        }
    }

    /// Appends bytes to what is written. They have no announced length, so
    /// nothing can be too much.
    pub(super) fn send(&mut self, data: &[u8]) {
        let sent = match self {
            Self::Client(client) => client.send(data),
            Self::Backend(line) => line.send(data),
        };
        debug_assert!(sent.is_ok(), "a tunnel has no length");
    }

    /// True when more should wait.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Client(client) => client.is_full(),
            Self::Backend(line) => line.outbox.is_full(),
        }
    }

    /// Writes all that waits, and holds no buffer after that.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        match self {
            Self::Client(client) => client.poll_flush(cx),
            Self::Backend(line) => {
                let written = ready!(line.poll_flush(cx));
                line.outbox.clear();
                Poll::Ready(written.map_err(|_| Gone))
            }
        }
    }

    /// Ends what is sent to it.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        match self {
            Self::Client(client) => client.poll_end(cx),
            Self::Backend(line) => {
                let ended = ready!(Pin::new(&mut line.io).poll_shutdown(cx));
                Poll::Ready(ended.map_err(|_| Gone))
            }
        }
    }
}
