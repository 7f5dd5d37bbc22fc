//! The operator's side: health, metrics, explanations, reload, drain.
//!
//! Promises: it lives on a listener of its own and is never reachable from
//! the public ones; connections, bodies, heads and lifetimes have bounds;
//! every refusal is `application/problem+json`. Refuses: callers without the
//! token where one is set, names that are not this machine's where none is
//! (DNS rebinding), and changes asked for by another site's page.

mod answer;
pub(crate) mod explain;
mod guard;
mod handlers;
mod query;
mod residency;
mod routes;

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use self::answer::Body;
use self::guard::{Guard, Place};
use crate::edge::Edge;

/// Connections at once. Others wait in the listener's queue.
const CONNECTIONS_MAX: usize = 64;

/// A request's head, and the wait for it on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// After this a connection gets no further request.
const CONNECTION_AGE: Duration = Duration::from_mins(1);

/// What a connection has left to finish after that, or at the end.
const CONNECTION_GRACE: Duration = Duration::from_secs(10);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Pause when the machine refuses to hand out a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that is already bound.
#[derive(Debug)]
pub enum AdminListener {
    /// Loopback, or elsewhere with a token.
    Tcp(std::net::TcpListener),
    /// A socket file; its permissions guard it.
    Unix(std::os::unix::net::UnixListener),
}

/// The same on a runtime.
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl AdminListener {
    fn place(&self) -> Place {
        match self {
            Self::Tcp(listener) => Place::Tcp(listener.local_addr().ok()),
            Self::Unix(_) => Place::Unix,
        }
    }

    fn listen(self) -> io::Result<Listening> {
        match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Listening::Tcp)
            }
            Self::Unix(listener) => {
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener).map(Listening::Unix)
            }
        }
    }
}

/// Answers until `stop`; then lets open requests finish, for ten seconds at
/// most. The drain of the edge does not end it: `/readyz` is asked until the
/// very end.
pub async fn serve(edge: Arc<Edge>, listener: AdminListener, stop: impl Future<Output = ()>) {
    let admin = edge.settings.admin.as_ref();
    let token = admin
        .and_then(|admin| admin.token.as_ref())
        .map(|token| token.reveal().to_owned());
    let guard = Arc::new(Guard::new(listener.place(), token));
    let listener = match listener.listen() {
        Ok(listener) => listener,
        Err(error) => {
            // Nobody is left to tell but the log of the process.
            let _ = writeln!(
                io::stderr(),
                "meridian: the admin side cannot listen: {error}"
            );
            return;
        }
    };
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (ending, _) = watch::channel(false);
    let side = Side {
        edge,
        guard,
        ending: ending.clone(),
    };
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((Stream::Tcp(stream), slot)) => {
                drop(tokio::spawn(connection(side.clone(), stream, slot)));
            }
            Ok((Stream::Unix(stream), slot)) => {
                drop(tokio::spawn(connection(side.clone(), stream, slot)));
            }
            // Out of descriptors, or a connection that was gone already.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    // A connection that a successor's caller has just opened gets its answer
    // all the same; it is the last on it.
    if !side.edge.lifecycle.handed_over() {
        ending.send_replace(true);
    }
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    // What is still open after the grace ends with the runtime.
    let _ = tokio::time::timeout(CONNECTION_GRACE, slots.acquire_many(all)).await;
}

/// What every connection needs.
#[derive(Clone)]
struct Side {
    edge: Arc<Edge>,
    guard: Arc<Guard>,
    ending: watch::Sender<bool>,
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

async fn accept(
    listener: &Listening,
    slots: &Arc<Semaphore>,
) -> io::Result<(Stream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let stream = match listener {
        Listening::Tcp(listener) => Stream::Tcp(listener.accept().await?.0),
        Listening::Unix(listener) => Stream::Unix(listener.accept().await?.0),
    };
    Ok((stream, slot))
}

async fn connection<S>(side: Side, stream: S, slot: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut ending = side.ending.subscribe();
    let service = service_fn(|request| answer_one(side.clone(), request));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let finished = tokio::select! {
        // Its faults are the caller's: there is nobody left to tell.
        _ = &mut connection => true,
        () = tokio::time::sleep(CONNECTION_AGE) => false,
        _ = ending.wait_for(|ending| *ending) => false,
    };
    if !finished {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(CONNECTION_GRACE, connection).await;
    }
    drop(slot);
}

async fn answer_one(side: Side, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let succeeded = Arc::clone(&side.edge);
    let mut answer = match routes::find(&parts.method, parts.uri.path()) {
        Ok(route) => match side.guard.admit(&parts, &route) {
            Ok(caller) => {
                handlers::answer(handlers::Call {
                    edge: side.edge,
                    route,
                    caller,
                    parts,
                    body,
                })
                .await
            }
            Err(denied) => answer::denied(denied),
        },
        Err(missing) => answer::missing(&missing),
    };
    if succeeded.lifecycle.handed_over() {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
    }
    Ok(answer)
}
