//! One stream of an HTTP/3 connection, from its first byte to its last.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use meridian_wire::h3::Code;
use meridian_wire::{BodyFraming, Method, RequestHead};

use super::super::{ConnectionInfo, GOODBYE, LINGER, OpenStream};
use crate::edge::Edge;
use crate::engine::deadlines::Deadline;
use crate::engine::downstream::h3::{NextHead, Stream};
use crate::engine::downstream::side::Downstream;
use crate::engine::exchange::{self, Arrival};
use crate::engine::scratch::Scratch;

/// The end of a request without a length is looked for so long before it
/// counts as one with a body.
const PEEK: Duration = Duration::from_millis(20);

/// Serves the request of a stream, if there is one.
pub(super) async fn serve_stream(open: OpenStream, info: Arc<ConnectionInfo>, mut stream: Stream) {
    let edge = &open.edge;
    let mut deadline = Deadline::new(&edge.clock);
    let mut armed = false;
    let begun = poll_fn(|cx| {
        let begun = stream.poll_begin(cx);
        within_head(edge, cx, (&mut deadline, &mut armed), begun)
    });
    if begun.await.is_none() {
        return stream.reset(Code::RequestIncomplete);
    }
    let mut scratch = Scratch::take();
    if let Some(arrival) = read_head(edge, &mut stream, (&mut scratch, &mut deadline)).await {
        let place = exchange::Place {
            edge,
            info: &info,
            last: false,
            ends: None,
        };
        let mut down = Downstream::H3(&mut stream);
        exchange::run(place, &mut down, (&mut scratch, &mut deadline), arrival).await;
    }
    scratch.give();
    if stream.is_malformed() {
        open.activity.malformed.fetch_add(1, Ordering::Relaxed);
    }
    settle(edge, &mut stream, &mut deadline).await;
    if open.activity.leaving.load(Ordering::Acquire) {
        arrive(edge, &mut stream, &mut deadline).await;
    }
}

/// What is ready, or `None` when it took too long. Only what waits looks at
/// the clock.
fn within_head<T>(
    edge: &Edge,
    cx: &Context<'_>,
    (deadline, armed): (&mut Deadline, &mut bool),
    read: Poll<T>,
) -> Poll<Option<T>> {
    if let Poll::Ready(read) = read {
        return Poll::Ready(Some(read));
    }
    if !*armed {
        *armed = true;
        deadline.arm(edge.clock.tick() + edge.settings.timeouts.head);
    }
    if deadline.expired(cx) || edge.lifecycle.cutting() {
        return Poll::Ready(None);
    }
    Poll::Pending
}

/// Reads the head; nothing when there is no request.
async fn read_head(
    edge: &Edge,
    stream: &mut Stream,
    (scratch, deadline): (&mut Scratch, &mut Deadline),
) -> Option<Arrival> {
    let mut armed = false;
    let head = &mut scratch.request;
    let read = poll_fn(|cx| {
        let read = stream.poll_head(cx, head);
        within_head(edge, cx, (deadline, &mut armed), read)
    });
    match read.await {
        Some(NextHead::Head) => {}
        Some(NextHead::Malformed(error)) => return Some(Arrival::Malformed(error)),
        Some(NextHead::Gone) => return None,
        None => return Some(Arrival::Late),
    }
    if !stream.body_done() && looks_bare(head) {
        let peek = tokio::time::timeout(PEEK, poll_fn(|cx| stream.poll_head(cx, head)));
        match peek.await {
            Ok(NextHead::Head) | Err(_) => {}
            Ok(NextHead::Malformed(error)) => return Some(Arrival::Malformed(error)),
            Ok(NextHead::Gone) => return None,
        }
    }
    Some(Arrival::Whole)
}

/// A request that has no body as a rule: its end may be in the next packet.
fn looks_bare(head: &RequestHead) -> bool {
    let bare = matches!(
        head.method(),
        Method::Get | Method::Head | Method::Options | Method::Delete | Method::Trace
    );
    bare && head.framing() == BodyFraming::Chunked
}

/// Waits for the end of a request that was answered on its last byte.
async fn settle(edge: &Edge, stream: &mut Stream, deadline: &mut Deadline) {
    let mut armed = false;
    poll_fn(|cx| {
        let rest = stream.poll_rest(cx);
        if rest.is_pending() && !armed {
            armed = true;
            deadline.arm(edge.clock.tick() + LINGER);
        }
        if rest.is_pending() && !deadline.expired(cx) && !edge.lifecycle.cutting() {
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

/// Waits until the client has what was sent, a moment at most.
async fn arrive(edge: &Edge, stream: &mut Stream, deadline: &mut Deadline) {
    deadline.arm(edge.clock.tick() + GOODBYE);
    poll_fn(|cx| {
        if deadline.expired(cx) || edge.lifecycle.cutting() {
            return Poll::Ready(());
        }
        stream.poll_acknowledged(cx)
    })
    .await;
}
