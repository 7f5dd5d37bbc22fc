//! The WebSocket echo. Promises every text and binary message back, in order,
//! and a close with code 1001 when the backend stops. Refuses messages above
//! [`MESSAGE_MAX`] (close code 1009). Speaks RFC 6455 over HTTP/1.1 only.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use http::{
    HeaderValue, Request, Response, StatusCode, Version,
    header::{
        ALLOW, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        error::{CapacityError, Error},
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use crate::{
    body::{Answer, empty, refusal},
    link::Link,
    load::Guard,
};

/// Longest message, in bytes (1 MiB).
pub(crate) const MESSAGE_MAX: usize = 1024 * 1024;

/// What a WebSocket keeps while it lives.
pub(crate) struct Held {
    pub(crate) link: Arc<Link>,
    pub(crate) guard: Guard,
    pub(crate) closing: CancellationToken,
}

/// Answers a handshake. The future runs the echo and is for a task; there is
/// none when the request is no handshake.
pub(crate) fn upgrade(
    mut request: Request<Incoming>,
    held: Held,
) -> (Answer, Option<impl Future<Output = ()> + Send>) {
    let accept = match accept_key(&request) {
        Ok(accept) => accept,
        Err(answer) => return (*answer, None),
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let mut answer = Response::new(crate::body::full(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    let task = async move {
        let Held {
            link,
            guard,
            closing,
        } = held;
        if let Ok(upgraded) = upgraded.await {
            let limits = WebSocketConfig::default()
                .max_message_size(Some(MESSAGE_MAX))
                .max_frame_size(Some(MESSAGE_MAX));
            let io = TokioIo::new(upgraded);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await;
            echo(socket, closing).await;
        }
        drop((guard, link));
    };
    (answer, Some(task))
}

/// The accept key of a valid handshake (RFC 6455 section 4.2.1), or what to
/// answer instead.
fn accept_key(request: &Request<Incoming>) -> Result<HeaderValue, Box<Answer>> {
    let has = |name, token: &str| {
        request
            .headers()
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| {
                value
                    .split(',')
                    .any(|item| item.trim().eq_ignore_ascii_case(token))
            })
    };
    if request.method() != http::Method::GET {
        let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
        answer
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET"));
        return Err(Box::new(answer));
    }
    let upgrades = has(CONNECTION, "upgrade") && has(UPGRADE, "websocket");
    if request.version() != Version::HTTP_11 || !upgrades || !has(SEC_WEBSOCKET_VERSION, "13") {
        let mut answer = refusal(
            StatusCode::UPGRADE_REQUIRED,
            "a WebSocket handshake was expected",
        );
        answer
            .headers_mut()
            .insert(UPGRADE, HeaderValue::from_static("websocket"));
        answer
            .headers_mut()
            .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(Box::new(answer));
    }
    let bad = |reason| Box::new(refusal(StatusCode::BAD_REQUEST, reason));
    let key = request
        .headers()
        .get(SEC_WEBSOCKET_KEY)
        .ok_or_else(|| bad("no Sec-WebSocket-Key"))?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| bad("bad key"))
}

async fn echo<S>(mut socket: WebSocketStream<S>, closing: CancellationToken)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        let message = tokio::select! {
            () = closing.cancelled() => return close(socket, CloseCode::Away).await,
            message = socket.next() => message,
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            // Pings are answered and closes confirmed by the library.
            Some(Ok(
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_),
            )) => {}
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                return close(socket, CloseCode::Size).await;
            }
            Some(Err(_)) | None => return,
        }
    }
}

async fn close<S>(mut socket: WebSocketStream<S>, code: CloseCode)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    // A peer that has gone needs no goodbye.
    let _ = socket
        .close(Some(CloseFrame {
            code,
            reason: "".into(),
        }))
        .await;
}
