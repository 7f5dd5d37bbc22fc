//! HTTP/2 as the `h2` crate speaks it, for what clients do all day.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};

use super::{PATIENCE, TestEdge, tls};

/// Runs a client with one connection.
pub(crate) fn with<F, Fut, T>(edge: &TestEdge, run: F) -> T
where
    F: FnOnce(Session) -> Fut,
    Fut: Future<Output = T>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tls::handshake(edge.tls, b"h2").await;
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let ran = tokio::time::timeout(3 * PATIENCE, run(Session { send })).await;
        ran.expect("the client did not come to its end")
    })
}

#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) send: SendRequest<Bytes>,
}

impl Session {
    /// Begins a request whose body is still to come.
    pub(crate) async fn begin(
        &mut self,
        method: &str,
        path: &str,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        self.start(request(method, path), false).await
    }

    pub(crate) async fn start(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        self.send = self.send.clone().ready().await.unwrap();
        self.send.send_request(request, end).unwrap()
    }

    /// A request without a body and its whole answer.
    pub(crate) async fn ask(&mut self, method: &str, path: &str) -> H2Answer {
        let (answer, _) = self.start(request(method, path), true).await;
        whole(answer).await.unwrap()
    }

    /// This request without a body and its whole answer.
    pub(crate) async fn ask_with(&mut self, request: Request<()>) -> H2Answer {
        let (answer, _) = self.start(request, true).await;
        whole(answer).await.unwrap()
    }

    /// A request without a body; its answer is still to come.
    pub(crate) async fn open(&mut self, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        self.start(request("GET", path), true).await
    }
}

pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("https://edge{path}"))
        .body(())
        .unwrap()
}

pub(crate) struct H2Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl H2Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Reads an answer to its end.
pub(crate) async fn whole(answer: ResponseFuture) -> Result<H2Answer, h2::Error> {
    let (parts, mut stream) = answer.await?.into_parts();
    let body = read(&mut stream).await?;
    let trailers = stream.trailers().await?;
    Ok(H2Answer {
        status: parts.status.as_u16(),
        fields: parts.headers,
        body,
        trailers,
    })
}

/// Reads a body to its end.
pub(crate) async fn read(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(body)
}

/// Sends a body as fast as the windows allow.
pub(crate) async fn write(send: &mut SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        send.reserve_capacity(body.len().min(64 * 1024));
        let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await;
        let room = room.ok_or(h2::Error::from(h2::Reason::CANCEL))??;
        let part = body.split_to(room.min(body.len()));
        send.send_data(part, false)?;
    }
    send.send_data(Bytes::new(), true)
}
