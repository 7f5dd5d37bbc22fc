//! The client's side of an exchange, whatever the version.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use meridian_wire::h1::{ResponsePlan, Trailers};
use meridian_wire::{BodyFraming, Malformed, RequestHead, ResponseHead, Version};
use tokio::io::AsyncWrite as _;

use super::{h1, h2, h3};
use crate::engine::line::{Body, BodyError};

/// The client can't be written to any more.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Gone;

/// One request and its answer, toward the client.
pub enum Downstream<'a> {
    /// A message of an HTTP/1 connection.
    H1(&'a mut h1::Connection),
    /// A stream of an HTTP/2 connection.
    H2(&'a mut h2::Stream),
    /// A stream of an HTTP/3 connection.
    H3(&'a mut h3::Stream),
}

impl Downstream<'_> {
    /// Reads until data of the request's body is there or it has ended.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Body, BodyError>> {
        match self {
            Self::H1(connection) => connection.poll_body(cx),
            Self::H2(stream) => stream.poll_body(cx),
            Self::H3(stream) => stream.poll_body(cx),
        }
    }

    /// Data found by the last [`Downstream::poll_body`].
    pub fn data(&self) -> &[u8] {
        match self {
            Self::H1(connection) => connection.line.data(),
            Self::H2(stream) => stream.data(),
            Self::H3(stream) => stream.data(),
        }
    }

    /// The first `count` bytes of the data were used.
    pub fn consume(&mut self, count: usize) {
        match self {
            Self::H1(connection) => connection.line.consume(count),
            Self::H2(stream) => stream.consume(count),
            Self::H3(stream) => stream.consume(count),
        }
    }

    /// True when the request was read to its end.
    pub fn body_done(&self) -> bool {
        match self {
            Self::H1(connection) => connection.line.body_done(),
            Self::H2(stream) => stream.body_done(),
            Self::H3(stream) => stream.body_done(),
        }
    }

    /// Notices a client that leaves.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::H1(connection) => connection.poll_gone(cx),
            Self::H2(stream) => stream.poll_gone(cx),
            Self::H3(stream) => stream.poll_gone(cx),
        }
    }

    /// Passes an interim head on, to those who understand it.
    pub fn inform(&mut self, head: &ResponseHead, request: &RequestHead) {
        match self {
            Self::H1(connection) => {
                if request.version() != Version::Http10 {
                    let plan = interim(Version::Http11);
                    meridian_wire::h1::write_response(head, &plan, connection.line.outbox.space());
                }
            }
            Self::H2(stream) => stream.inform(head),
            Self::H3(stream) => stream.inform(head),
        }
    }

    /// Largest head of an answer that the client takes, counted as
    /// [`meridian_wire::section_fits`] does; `None`: it did not say.
    pub fn head_max(&self) -> Option<u64> {
        match self {
            Self::H1(_) => None,
            Self::H2(stream) => stream.head_max.map(u64::from),
            Self::H3(stream) => stream.head_max,
        }
    }

    /// Appends the head of the answer.
    pub fn respond(&mut self, head: &ResponseHead, plan: &ResponsePlan<'_>) {
        match self {
            Self::H1(connection) => connection.respond(head, plan),
            Self::H2(stream) => stream.respond(head, plan),
            Self::H3(stream) => stream.respond(head, plan),
        }
    }

    /// Appends data of the answer.
    pub fn send(&mut self, data: &[u8]) -> Result<(), Malformed> {
        match self {
            Self::H1(connection) => connection.line.send(data),
            Self::H2(stream) => stream.send(data),
            Self::H3(stream) => stream.send(data),
        }
    }

    /// Appends the end of the answer.
    pub fn finish(&mut self, trailers: Option<&Trailers>) -> Result<(), Malformed> {
        match self {
            Self::H1(connection) => connection.finish(trailers),
            Self::H2(stream) => stream.finish(trailers),
            Self::H3(stream) => stream.finish(trailers),
        }
    }

    /// True when the writer should wait before it appends more.
    pub fn is_full(&self) -> bool {
        match self {
            Self::H1(connection) => connection.line.outbox.is_full(),
            Self::H2(stream) => stream.is_full(),
            Self::H3(stream) => stream.is_full(),
        }
    }

    /// Writes all that waits, and holds no buffer after that.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        match self {
            Self::H1(connection) => {
                let written = ready!(connection.line.poll_flush(cx));
                connection.line.outbox.clear();
                Poll::Ready(written.map_err(|_| Gone))
            }
            Self::H2(stream) => stream.poll_flush(cx).map_err(|_| Gone),
            Self::H3(stream) => stream.poll_flush(cx).map_err(|_| Gone),
        }
    }

    /// The answer can't be completed: the client must not take it for whole.
    /// Over HTTP/1 the connection's end says so: by itself, or by a reset where
    /// a plain end would be that of the body.
    pub fn abort(&mut self) {
        match self {
            Self::H1(connection) => connection.line.cut_short(),
            Self::H2(stream) => stream.abort(),
            Self::H3(stream) => stream.abort(),
        }
    }

    /// Both sides agreed to speak something else: from here on bytes up to the
    /// end, both ways.
    pub fn upgrade(&mut self) {
        match self {
            Self::H1(connection) => connection.line.upgrade(),
            Self::H2(stream) => stream.upgrade(),
            Self::H3(stream) => stream.upgrade(),
        }
    }

    /// Whether it is one of several on a connection, which says whether it
    /// ended or broke.
    pub fn is_stream(&self) -> bool {
        match self {
            Self::H1(_) => false,
            Self::H2(_) | Self::H3(_) => true,
        }
    }

    /// Ends what is sent after an upgrade; the client may still speak.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        match self {
            Self::H1(connection) => {
                ready!(connection.line.poll_flush(cx)).map_err(|_| Gone)?;
                connection.line.outbox.clear();
                let ended = ready!(Pin::new(&mut connection.line.io).poll_shutdown(cx));
                Poll::Ready(ended.map_err(|_| Gone))
            }
            Self::H2(stream) => stream.poll_end(cx).map_err(|_| Gone),
            Self::H3(stream) => stream.poll_end(cx).map_err(|_| Gone),
        }
    }

    /// A tunnel breaks: the client must not take that for an end. Over HTTP/1
    /// the connection's end says so; the `h2` crate sends CANCEL (RFC 8441,
    /// section 5) for a stream that is dropped before its end, and over HTTP/3
    /// the stream does so itself (RFC 9220, section 3).
    pub fn break_off(&mut self) {
        match self {
            Self::H1(_) | Self::H2(_) => {}
            Self::H3(stream) => stream.break_off(),
        }
    }

    /// Nothing is to be done for now: holds no buffer.
    pub fn release(&mut self) {
        match self {
            Self::H1(_) | Self::H3(_) => {}
            Self::H2(stream) => stream.release(),
        }
    }

    /// How an answer of unknown length is framed.
    pub fn stream_framing(&self, request: &RequestHead) -> BodyFraming {
        match self {
            Self::H1(_) => h1::Connection::stream_framing(request),
            Self::H2(_) | Self::H3(_) => BodyFraming::Chunked,
        }
    }
}

fn interim(to: Version) -> ResponsePlan<'static> {
    ResponsePlan {
        to,
        drop: meridian_wire::KnownSet::EMPTY,
        append: &meridian_wire::NOTHING_ADDED,
        framing: BodyFraming::None,
        connection: meridian_wire::h1::Connection::KeepAlive,
    }
}
