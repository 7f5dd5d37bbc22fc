//! A client's streams over HTTP/3, on quinn.
//!
//! Promises: an answer that is not whole resets its stream, whatever ended it;
//! a client that stops listening is noticed while nothing is written. Refuses:
//! a request that breaks a rule of messages, by a reset alone.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use meridian_wire::h1::{ResponsePlan, Trailers};
use meridian_wire::h3::{BodyEncoder, Code, Fault, RequestReader, Scratch, Step};
use meridian_wire::h3::{write_interim, write_response};
use meridian_wire::{BodyFraming, HeadLimits, Malformed, RequestHead, ResponseHead};
use quinn::{Connection, RecvStream, SendStream, StoppedError, VarInt};

use crate::engine::buffers::{Inbox, Outbox};
use crate::engine::line::{Body, BodyError};

/// How much of the answer is still to be said.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Ending {
    /// More may come.
    Open,
    /// What is in the outbox is the last.
    Finished,
    /// The stream is finished or reset.
    Over,
}

/// What waiting for a head ended with.
#[derive(Debug)]
pub enum NextHead {
    /// A whole head, parsed.
    Head,
    /// The head is refused.
    Malformed(Malformed),
    /// The client took the request back, or never made it.
    Gone,
}

type Stopped = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send + Sync>>;

thread_local! {
    /// Room for the field line that is being decoded.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// An error code as quinn takes it.
pub fn code(code: Code) -> VarInt {
    // Every code is below 2^10.
    VarInt::from_u32(u32::try_from(code.value()).unwrap_or(u32::MAX))
}

/// One stream: a request and its answer.
pub struct Stream {
    connection: Connection,
    recv: RecvStream,
    send: SendStream,
    inbox: Inbox,
    outbox: Outbox,
    reader: RequestReader,
    encoder: BodyEncoder,
    data: usize,
    /// Of a declared length, what has not arrived.
    left: Option<u64>,
    body_done: bool,
    upgraded: bool,
    continue_due: bool,
    ending: Ending,
    /// The request broke a rule: no answer goes out.
    fault: Option<Code>,
    stopped: Option<Stopped>,
    /// Largest head of an answer that the client takes, if it said so.
    pub head_max: Option<u64>,
}

impl Stream {
    /// A stream as quinn hands it out.
    pub fn new(
        connection: &Connection,
        (send, recv): (SendStream, RecvStream),
        limits: &HeadLimits,
    ) -> Self {
        Self {
            connection: connection.clone(),
            recv,
            send,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            reader: RequestReader::new(*limits),
            encoder: BodyEncoder::new(BodyFraming::None),
            data: 0,
            left: None,
            body_done: false,
            upgraded: false,
            continue_due: false,
            ending: Ending::Open,
            fault: None,
            stopped: None,
            head_max: None,
        }
    }

    /// Returns when the first bytes are there, or the stream has ended.
    pub fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.inbox.is_empty() {
            // An error is found again by whoever reads on.
            let _ = ready!(self.inbox.poll_fill(&mut self.recv, cx));
        }
        Poll::Ready(())
    }

    /// Reads the head. A request that ends with its head is told from one with
    /// a body as far as the bytes that are there say so. Called again while
    /// nothing is known of a body, it waits for the first byte of one, or for
    /// the end.
    pub fn poll_head(&mut self, cx: &mut Context<'_>, head: &mut RequestHead) -> Poll<NextHead> {
        let again = self.reader.has_head();
        loop {
            if !self.inbox.is_empty() {
                match self.step(head) {
                    Ok(Step::Head { skip } | Step::NeedMore { skip }) => self.inbox.consume(skip),
                    Ok(Step::Data { skip, len }) => {
                        self.inbox.consume(skip);
                        let begun = self.begun(head);
                        self.found(len);
                        return Poll::Ready(begun);
                    }
                    Err(fault) => return Poll::Ready(self.refused(fault)),
                }
                continue;
            }
            match self.inbox.poll_fill(&mut self.recv, cx) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(match self.reader.finish_head(head) {
                        Ok(()) => {
                            self.body_done = true;
                            self.begun(head)
                        }
                        Err(fault) => self.refused(fault),
                    });
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(NextHead::Gone),
                Poll::Pending if self.reader.has_head() && !again => {
                    return Poll::Ready(self.begun(head));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn begun(&mut self, head: &RequestHead) -> NextHead {
        self.continue_due = head.expects_continue();
        self.left = match head.framing() {
            BodyFraming::Length(length) => Some(length),
            BodyFraming::None | BodyFraming::Chunked | BodyFraming::UntilClose => None,
        };
        NextHead::Head
    }

    fn found(&mut self, data: usize) {
        self.data = data;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(data as u64);
        }
    }

    fn step(&mut self, head: &mut RequestHead) -> Result<Step, Fault> {
        SCRATCH.with_borrow_mut(|scratch| self.reader.step(self.inbox.unread(), head, scratch))
    }

    /// A fault before any answer.
    fn refused(&mut self, fault: Fault) -> NextHead {
        match self.note(fault) {
            BodyError::Malformed(error) => NextHead::Malformed(error),
            BodyError::Gone => NextHead::Gone,
        }
    }

    /// Does to the stream or the connection what a fault calls for.
    fn note(&mut self, fault: Fault) -> BodyError {
        match fault {
            Fault::Message(error) => {
                if fault.answer().is_none() {
                    self.fault = Some(fault.code());
                }
                BodyError::Malformed(error)
            }
            Fault::Stream(reset) => {
                self.reset(reset);
                BodyError::Gone
            }
            Fault::Connection(close) => {
                self.connection.close(code(close), close.name().as_bytes());
                self.ending = Ending::Over;
                BodyError::Gone
            }
        }
    }

    /// The request broke a rule of messages: it gets no answer.
    pub fn is_malformed(&self) -> bool {
        self.fault.is_some()
    }

    /// True when the request was read to its end.
    pub fn body_done(&self) -> bool {
        self.body_done
    }

    /// Reads until data of the body is there or it has ended.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Body, BodyError>> {
        if self.continue_due {
            self.ask_for_body(cx);
        }
        loop {
            if self.data > 0 {
                return Poll::Ready(Ok(Body::Data));
            }
            if self.body_done {
                return Poll::Ready(Ok(Body::End));
            }
            if !self.inbox.is_empty() {
                // The head is complete: this one stays empty.
                match self.step(&mut RequestHead::new()) {
                    Ok(Step::Data { skip, len }) => {
                        self.inbox.consume(skip);
                        self.found(len);
                    }
                    Ok(Step::Head { skip } | Step::NeedMore { skip }) => self.inbox.consume(skip),
                    Err(fault) => return Poll::Ready(Err(self.note(fault))),
                }
                continue;
            }
            match ready!(self.inbox.poll_fill(&mut self.recv, cx)) {
                Ok(0) => match self.reader.finish() {
                    Ok(()) => self.body_done = true,
                    Err(fault) => return Poll::Ready(Err(self.note(fault))),
                },
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(BodyError::Gone)),
            }
        }
    }

    /// `100 Continue`, to those who wait for it.
    fn ask_for_body(&mut self, cx: &mut Context<'_>) {
        self.continue_due = false;
        if self.data == 0 && !self.body_done && self.inbox.is_empty() {
            let mut head = ResponseHead::new();
            head.begin(100);
            write_interim(&head, self.outbox.space());
            let _ = self.outbox.poll_write(&mut self.send, cx);
        }
    }

    /// Data found by the last [`Stream::poll_body`].
    pub fn data(&self) -> &[u8] {
        let unread = self.inbox.unread();
        unread.get(..self.data).unwrap_or(unread)
    }

    /// The first `count` bytes of the data were used.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.data);
        self.data -= count;
        self.inbox.consume(count);
        self.inbox.release();
    }

    /// Notices that the client takes no answer any more, has taken its request
    /// back though nobody reads it, or is gone.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.body_done {
            let reset = pin!(self.recv.received_reset()).poll(cx);
            if let Poll::Ready(Ok(Some(_)) | Err(_)) = reset {
                return Poll::Ready(());
            }
        }
        self.poll_stopped(cx)
    }

    /// Returns when the client has everything that was sent, or wants no more.
    fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let send = &self.send;
        let stopped = self.stopped.get_or_insert_with(|| Box::pin(send.stopped()));
        let _ = ready!(stopped.as_mut().poll(cx));
        self.stopped = None;
        Poll::Ready(())
    }

    /// Returns when the client has all of the answer, or takes no more of it.
    pub fn poll_acknowledged(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ending == Ending::Over {
            return self.poll_stopped(cx);
        }
        Poll::Ready(())
    }

    /// Appends an interim head (1xx).
    pub fn inform(&mut self, head: &ResponseHead) {
        write_interim(head, self.outbox.space());
    }

    /// Appends the head to what is sent.
    pub fn respond(&mut self, head: &ResponseHead, plan: &ResponsePlan<'_>) {
        self.continue_due = false;
        write_response(head, plan, self.outbox.space());
        self.encoder = BodyEncoder::new(plan.framing);
    }

    /// Appends data.
    pub fn send(&mut self, data: &[u8]) -> Result<(), Malformed> {
        self.encoder.data(data, self.outbox.space())
    }

    /// Appends the end of the answer.
    pub fn finish(&mut self, trailers: Option<&Trailers>) -> Result<(), Malformed> {
        self.encoder.finish(trailers, self.outbox.space())?;
        self.ending = Ending::Finished;
        Ok(())
    }

    /// True when the writer should wait before it appends more.
    pub fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    /// Hands to quinn what the client's windows allow; holds no buffer after
    /// that.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(reset) = self.fault {
            self.outbox.clear();
            self.reset(reset);
            return Poll::Ready(Ok(()));
        }
        let written = ready!(self.outbox.poll_write(&mut self.send, cx));
        self.outbox.clear();
        written?;
        if self.ending == Ending::Finished {
            self.ending = Ending::Over;
            let _ = self.send.finish();
            if !self.body_done && !self.upgraded && self.left != Some(0) {
                // The rest of the request is of no use (RFC 9114, 4.1).
                let _ = self.recv.stop(code(Code::NoError));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads the end of a request that is whole but for its end: a client that
    /// was told to stop there would take that for a failure.
    pub fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.body_done && self.left == Some(0) && self.fault.is_none() {
            let unread = self.data;
            self.consume(unread);
            if ready!(self.poll_body(cx)).is_err() {
                break;
            }
        }
        Poll::Ready(())
    }

    /// Ends both directions: nothing of this is a whole message.
    pub fn reset(&mut self, reason: Code) {
        self.ending = Ending::Over;
        let _ = self.send.reset(code(reason));
        if !self.body_done {
            let _ = self.recv.stop(code(reason));
        }
    }

    /// From here on bytes without a length, both ways.
    pub fn upgrade(&mut self) {
        self.upgraded = true;
        self.encoder = BodyEncoder::new(BodyFraming::Chunked);
    }

    /// Ends what is sent, once all of it is with quinn; the client may still
    /// speak.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.ending {
            Ending::Open => self.ending = Ending::Finished,
            Ending::Finished | Ending::Over => {}
        }
        self.poll_flush(cx)
    }

    /// A tunnel breaks.
    pub fn break_off(&mut self) {
        if self.ending != Ending::Over {
            self.reset(self.fault.unwrap_or(Code::RequestCancelled));
        }
    }

    /// The answer can't be completed: the client must not take it for whole.
    pub fn abort(&mut self) {
        if self.ending != Ending::Over {
            self.reset(self.fault.unwrap_or(Code::InternalError));
        }
    }
}

impl Drop for Stream {
    /// quinn would finish the stream: a cut answer would look whole.
    fn drop(&mut self) {
        self.break_off();
    }
}
