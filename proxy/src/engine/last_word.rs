//! The last word of an MCP stream whose backend breaks off.
//!
//! Promises: a client that waits on an event stream for the answer to one
//! JSON-RPC request gets an error with its id as the last event, and then the
//! stream's end; without it most clients wait for a timeout of their own.
//! Refuses: every other answer, which ends as broken as it is; a stream that
//! has brought the answer; one that the client can resume, as long as its
//! endpoint takes connections.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use meridian_policies::regions::Choice;
use meridian_wire::events::Follower;
use meridian_wire::h1::Connection as Persistence;
use meridian_wire::{BodyFraming, Known};

use super::downstream::side::Downstream;
use super::exchange::Exchange;
use super::forward::{Forwarding, Served};
use super::pace::Late;
use super::relay::Broken;
use super::upstream::connect::connect;
use crate::pipeline::ids;
use crate::telemetry::Shape;

/// How long a connection lasts, if its endpoint lives.
const SETTLES: Duration = Duration::from_millis(250);
/// How long the client may take to read it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Follows an answer that may need a last word: events of unknown length, for
/// a request that has an id.
pub(super) fn watch(x: &Exchange<'_, '_>, work: &Forwarding<'_>) -> Option<Box<Follower>> {
    if x.record.shape != Shape::EventStream || work.message.is_none() {
        return None;
    }
    let plain = x.response.first(Known::ContentEncoding).is_none();
    let open = match x.response.framing() {
        BodyFraming::Chunked | BodyFraming::UntilClose => true,
        BodyFraming::None | BodyFraming::Length(_) => false,
    };
    (x.response.status() == 200 && plain && open).then(Box::default)
}

/// How the answer ends that broke, and could be followed.
pub(super) async fn say(
    x: &mut Exchange<'_, '_>,
    down: &mut Downstream<'_>,
    (work, choice, persistence): (&Forwarding<'_>, Choice, Persistence),
    (events, broken): (Box<Follower>, Broken),
) -> Served {
    let Some(text) = text(x, work, &broken).filter(|_| !events.has_answered()) else {
        return Served::Broken(broken);
    };
    if events.is_resumable() && takes_connections(x, choice).await {
        return Served::Broken(broken);
    }
    let mut last = Vec::with_capacity(text.len() + 64);
    events.append(&text, &mut last);
    if down.send(&last).is_err() || down.finish(None).is_err() {
        return Served::Broken(broken);
    }
    x.meter.bytes_out += last.len() as u64;
    let meter = &mut x.meter;
    meter.deadline.arm(meter.clock.tick() + PATIENCE);
    let told = poll_fn(|cx| match down.poll_flush(cx) {
        Poll::Ready(flushed) => Poll::Ready(flushed.is_ok()),
        Poll::Pending if meter.deadline.expired(cx) || meter.lifecycle.cutting() => {
            Poll::Ready(false)
        }
        Poll::Pending => Poll::Pending,
    });
    if told.await {
        Served::Told(broken, persistence)
    } else {
        Served::Broken(broken)
    }
}

/// The JSON-RPC error, if it was the backend that broke off. What was no number
/// or string would not be an id, and might not fit in a line.
fn text(x: &Exchange<'_, '_>, work: &Forwarding<'_>, broken: &Broken) -> Option<String> {
    match broken {
        Broken::Upstream
        | Broken::UpstreamMalformed(_)
        | Broken::Late(Late::Idle | Late::Total) => {}
        Broken::ClientGone
        | Broken::ClientMalformed(_)
        | Broken::TooLarge
        | Broken::Closed
        | Broken::Untrusted(_)
        | Broken::UnaskedUpgrade
        | Broken::WrongAccept
        | Broken::NotSwitched
        | Broken::Drained
        | Broken::Late(
            Late::BodyRate | Late::UpstreamWrite | Late::FirstByte | Late::ClientWrite,
        ) => return None,
    }
    let id = work
        .message
        .filter(|id| !id.get().starts_with(['{', '[']))?;
    let request = std::str::from_utf8(&x.record.id).unwrap_or_default();
    Some(broken.refusal()?.body(request, Some(id)).text)
}

/// Whether the endpoint is still there to be asked for the rest.
async fn takes_connections(x: &Exchange<'_, '_>, choice: Choice) -> bool {
    let Some(peer) = x.generation.snapshot.peer(&choice) else {
        return false;
    };
    let bound = x.place.edge.settings.timeouts.connect;
    let secured = x.generation.upstreams.secured(choice.endpoint());
    let connected = connect(peer.endpoint(), secured, (ids::draw(), bound));
    let Ok(mut connected) = Box::pin(connected).await else {
        return false;
    };
    // A process that dies may take one more, and then ends it.
    tokio::time::sleep(SETTLES).await;
    connected.io.is_quiet()
}
