//! One HTTP/1.1 byte stream with its buffers and the framing of the message
//! that passes in each direction. Both sides of the edge are built on it.

use std::io;
use std::task::{Context, Poll, ready};

use meridian_wire::h1::{BodyDecoder, BodyEncoder, Step, Trailers};
use meridian_wire::{BodyFraming, Malformed};

use super::buffers::{Inbox, Outbox};
use super::io::Io;

/// Why a body could not be read to its end.
#[derive(Debug)]
pub enum BodyError {
    /// The peer closed or the connection broke before the end.
    Gone,
    /// The peer's framing is wrong.
    Malformed(Malformed),
}

/// What [`Line::poll_body`] found.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// [`Line::data`] is not empty.
    Data,
    /// The body has ended.
    End,
}

/// A byte stream, its buffers, and a message each way.
pub struct Line {
    /// The stream itself.
    pub io: Io,
    /// Bytes from the peer.
    pub inbox: Inbox,
    /// Bytes to the peer.
    pub outbox: Outbox,
    decoder: BodyDecoder,
    encoder: BodyEncoder,
    data: usize,
    body_done: bool,
    /// The outgoing message ends with the connection.
    until_close: bool,
    /// The peer has closed its sending side.
    pub ended: bool,
}

impl Line {
    /// A stream on which nothing was read or written.
    pub fn new(io: Io) -> Self {
        Self {
            io,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            decoder: BodyDecoder::new(BodyFraming::None),
            encoder: BodyEncoder::new(BodyFraming::None),
            data: 0,
            body_done: true,
            until_close: false,
            ended: false,
        }
    }

    /// The message that comes in has this framing.
    pub fn expect_body(&mut self, framing: BodyFraming) {
        self.decoder = BodyDecoder::new(framing);
        self.data = 0;
        self.body_done = matches!(framing, BodyFraming::None | BodyFraming::Length(0));
    }

    /// The message that goes out has this framing.
    pub fn begin_body(&mut self, framing: BodyFraming) {
        self.encoder = BodyEncoder::new(framing);
        self.until_close = matches!(framing, BodyFraming::UntilClose);
    }

    /// From here on there are no messages, only bytes up to the end.
    pub fn upgrade(&mut self) {
        self.expect_body(BodyFraming::UntilClose);
        self.begin_body(BodyFraming::UntilClose);
    }

    /// The outgoing message can't be completed. One that its connection's end
    /// would complete is ended by a reset.
    pub fn cut_short(&self) {
        if self.until_close {
            self.io.reset_at_end();
        }
    }

    /// True when the incoming message was read to its end.
    pub fn body_done(&self) -> bool {
        self.body_done
    }

    /// Decodes what is there; reads nothing.
    pub fn step(&mut self) -> Result<Option<Body>, BodyError> {
        if self.body_done {
            return Ok(Some(Body::End));
        }
        if self.data > 0 {
            return Ok(Some(Body::Data));
        }
        match self
            .decoder
            .step(self.inbox.unread())
            .map_err(BodyError::Malformed)?
        {
            Step::Data { skip, len } => {
                self.inbox.consume(skip);
                self.data = len;
                Ok(Some(Body::Data))
            }
            Step::NeedMore { skip } => {
                self.inbox.consume(skip);
                Ok(None)
            }
            Step::Done { skip } => {
                self.inbox.consume(skip);
                self.body_done = true;
                Ok(Some(Body::End))
            }
        }
    }

    /// Reads until data of the body is there or it has ended.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Body, BodyError>> {
        loop {
            if let Some(body) = self.step()? {
                return Poll::Ready(Ok(body));
            }
            if ready!(self.poll_fill(cx)).map_err(|_| BodyError::Gone)? == 0 {
                self.decoder.end_of_input().map_err(|_| BodyError::Gone)?;
                self.body_done = true;
            }
        }
    }

    /// Data of the body that was found by the last step.
    pub fn data(&self) -> &[u8] {
        self.inbox.unread().get(..self.data).unwrap_or_default()
    }

    /// The first `count` bytes of [`Line::data`] were used.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.data);
        self.data -= count;
        self.inbox.consume(count);
    }

    /// Trailers of the incoming message, after its end.
    pub fn trailers(&self) -> Option<&Trailers> {
        self.decoder.trailers()
    }

    /// Reads once; remembers the end of input.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = ready!(self.inbox.poll_fill(&mut self.io, cx))?;
        if count == 0 {
            self.ended = true;
        }
        Poll::Ready(Ok(count))
    }

    /// Frames `data` into the outbox.
    pub fn send(&mut self, data: &[u8]) -> Result<(), Malformed> {
        self.encoder.data(data, self.outbox.space())
    }

    /// Frames the end of the outgoing message.
    pub fn finish(&mut self, trailers: Option<&Trailers>) -> Result<(), Malformed> {
        self.encoder.finish(trailers, self.outbox.space())
    }

    /// Whether part of the outgoing message was not even framed.
    pub fn owes(&self) -> bool {
        self.encoder.is_owed()
    }

    /// Writes all that waits.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.outbox.poll_write(&mut self.io, cx)
    }
}
