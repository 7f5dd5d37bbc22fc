//! The WebSocket echo, over real sockets.

use crate::common::{Server, options, start, within};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};

async fn open(server: &Server) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let url = format!("ws://{}/v3/ws/echo", server.address);
    let (socket, answer) = within(client_async(url, stream)).await.unwrap();
    assert_eq!(answer.headers()["x-backend-region"], "europe-west1");
    socket
}

#[tokio::test]
async fn messages_come_back_in_order_and_of_their_kind() {
    let server = start(options()).await;
    let mut socket = open(&server).await;
    let sent = [
        Message::text("one"),
        Message::binary(vec![0, 159, 146]),
        Message::text(""),
    ];
    for message in &sent {
        socket.send(message.clone()).await.unwrap();
    }
    for message in sent {
        assert_eq!(within(socket.next()).await.unwrap().unwrap(), message);
    }
    assert_eq!(server.health().await.1["streams"], 1);
    socket.close(None).await.unwrap();
    while within(socket.next()).await.is_some() {}
    server.until("streams", 0).await;
}

#[tokio::test]
async fn pings_are_answered() {
    let server = start(options()).await;
    let mut socket = open(&server).await;
    socket.send(Message::Ping("x".into())).await.unwrap();
    assert_eq!(
        within(socket.next()).await.unwrap().unwrap(),
        Message::Pong("x".into())
    );
}

#[tokio::test]
async fn a_message_above_the_bound_closes_with_its_code() {
    let server = start(options()).await;
    let mut socket = open(&server).await;
    let size = 1024 * 1024;
    socket.send(Message::binary(vec![7; size])).await.unwrap();
    assert_eq!(within(socket.next()).await.unwrap().unwrap().len(), size);
    // The peer may stop reading before all of it is sent.
    let _ = socket.send(Message::binary(vec![7; size + 1])).await;
    match within(socket.next()).await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(frame.code, CloseCode::Size),
        Some(Err(_)) | None => {}
        other => panic!("{other:?}"),
    }
    server.until("streams", 0).await;
}

#[tokio::test]
async fn a_stop_says_goodbye() {
    let mut server = start(options()).await;
    let mut socket = open(&server).await;
    server.stop();
    match within(socket.next()).await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(frame.code, CloseCode::Away),
        other => panic!("{other:?}"),
    }
    server.stopped().await;
}

#[tokio::test]
async fn what_is_no_handshake_is_refused() {
    let server = start(options()).await;
    let plain = server.ask("GET", "/v3/ws/echo", "").await;
    assert_eq!(plain.status, StatusCode::UPGRADE_REQUIRED);
    assert_eq!(plain.headers["sec-websocket-version"], "13");
    let post = server.ask("POST", "/v3/ws/echo", "").await;
    assert_eq!(post.status, StatusCode::METHOD_NOT_ALLOWED);
    server.until("streams", 0).await;
}
