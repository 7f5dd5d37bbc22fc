//! HTTP/3 as the `h3` crate speaks it, and quinn below it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3_quinn::{BidiStream, OpenStreams};
use http::{HeaderMap, Request, Response};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, TransportConfig};

use super::{PATIENCE, TestEdge, tls};

pub(crate) type Exchange = RequestStream<BidiStream<Bytes>, Bytes>;
pub(crate) type Reading = RequestStream<h3_quinn::RecvStream, Bytes>;
pub(crate) type StreamError = h3::error::StreamError;

/// Lets the client's own tasks run until it is so; how long that took.
pub(crate) async fn eventually(what: &str, so: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    start.elapsed()
}

/// Runs something that speaks QUIC, on a runtime of its own.
pub(crate) fn run<Fut: Future>(client: Fut) -> Fut::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(3 * PATIENCE, client)
            .await
            .expect("the client did not come to its end")
    })
}

/// Runs a client with one connection.
pub(crate) fn with<F, Fut, T>(edge: &TestEdge, client: F) -> T
where
    F: FnOnce(Session) -> Fut,
    Fut: Future<Output = T>,
{
    run(async { client(Session::connect(edge.tls).await).await })
}

/// One socket, from any port.
pub(crate) fn endpoint() -> Endpoint {
    Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
}

/// QUIC with these windows and bounds.
pub(crate) fn config(transport: TransportConfig) -> ClientConfig {
    let crypto = QuicClientConfig::try_from(tls::client(b"h3")).unwrap();
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    config
}

/// A QUIC connection of a client of its own kind, which says hello to `host`.
pub(crate) async fn call(
    to: SocketAddr,
    host: &str,
    mut config: rustls::ClientConfig,
) -> Result<Connection, quinn::ConnectionError> {
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols = vec![b"h3".to_vec()];
    }
    let crypto = QuicClientConfig::try_from(config).unwrap();
    let config = ClientConfig::new(Arc::new(crypto));
    endpoint().connect_with(config, to, host).unwrap().await
}

/// A QUIC connection without HTTP.
pub(crate) async fn quic(to: SocketAddr) -> (Endpoint, Connection) {
    let endpoint = endpoint();
    let config = config(TransportConfig::default());
    let connecting = endpoint.connect_with(config, to, "localhost").unwrap();
    let connection = connecting.await.unwrap();
    (endpoint, connection)
}

#[derive(Clone)]
pub(crate) struct Session {
    _endpoint: Endpoint,
    pub(crate) quic: Connection,
    pub(crate) send: SendRequest<OpenStreams, Bytes>,
}

impl Session {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let (endpoint, quic) = quic(to).await;
        Self::over(endpoint, quic).await
    }

    pub(crate) async fn over(endpoint: Endpoint, quic: Connection) -> Self {
        let carrier = h3_quinn::Connection::new(quic.clone());
        let (mut driver, send) = h3::client::new(carrier).await.unwrap();
        tokio::spawn(async move {
            std::future::poll_fn(|cx| driver.poll_close(cx)).await;
        });
        Self {
            _endpoint: endpoint,
            quic,
            send,
        }
    }

    /// Begins a request whose body is still to come.
    pub(crate) async fn begin(&mut self, method: &str, path: &str) -> Exchange {
        self.send.send_request(request(method, path)).await.unwrap()
    }

    /// A request without a body; its answer is still to come.
    pub(crate) async fn open(&mut self, path: &str) -> Exchange {
        let mut exchange = self.begin("GET", path).await;
        exchange.finish().await.unwrap();
        exchange
    }

    /// A request without a body and its whole answer.
    pub(crate) async fn ask(&mut self, method: &str, path: &str) -> H3Answer {
        self.ask_with(request(method, path)).await
    }

    /// This request without a body and its whole answer.
    pub(crate) async fn ask_with(&mut self, request: Request<()>) -> H3Answer {
        let mut exchange = self.send.send_request(request).await.unwrap();
        exchange.finish().await.unwrap();
        whole(&mut exchange).await.unwrap()
    }

    /// A request with a body and its whole answer.
    pub(crate) async fn post(&mut self, request: Request<()>, body: Bytes) -> H3Answer {
        let exchange = self.send.send_request(request).await.unwrap();
        let (mut writing, mut reading) = exchange.split();
        let write = async {
            writing.send_data(body).await?;
            writing.finish().await
        };
        let (sent, answer) = tokio::join!(write, whole(&mut reading));
        sent.unwrap();
        answer.unwrap()
    }
}

pub(crate) fn request(method: &str, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("https://edge{path}"))
        .body(())
        .unwrap()
}

#[derive(Debug)]
pub(crate) struct H3Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl H3Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Where an answer is read: a whole stream, or half of one.
pub(crate) trait Answering {
    async fn head(&mut self) -> Result<Response<()>, StreamError>;
    async fn piece(&mut self) -> Result<Option<Bytes>, StreamError>;
    async fn trailers(&mut self) -> Result<Option<HeaderMap>, StreamError>;
}

macro_rules! answering {
    ($stream:ty) => {
        impl Answering for $stream {
            async fn head(&mut self) -> Result<Response<()>, StreamError> {
                self.recv_response().await
            }
            async fn piece(&mut self) -> Result<Option<Bytes>, StreamError> {
                let piece = self.recv_data().await?;
                Ok(piece.map(|mut piece| piece.copy_to_bytes(piece.remaining())))
            }
            async fn trailers(&mut self) -> Result<Option<HeaderMap>, StreamError> {
                self.recv_trailers().await
            }
        }
    };
}
answering!(Exchange);
answering!(Reading);

/// Reads an answer to its end.
pub(crate) async fn whole(exchange: &mut impl Answering) -> Result<H3Answer, StreamError> {
    let (parts, ()) = exchange.head().await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = exchange.piece().await? {
        body.extend_from_slice(&piece);
    }
    let trailers = exchange.trailers().await?;
    Ok(H3Answer {
        status: parts.status.as_u16(),
        fields: parts.headers,
        body,
        trailers,
    })
}

/// A connection on which every byte is the test's.
pub(crate) struct Raw {
    endpoint: Endpoint,
    pub(crate) quic: Connection,
    _control: quinn::SendStream,
}

impl Raw {
    /// With a control stream and SETTINGS.
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let (endpoint, quic) = quic(to).await;
        let mut control = quic.open_uni().await.unwrap();
        control.write_all(&[0, 4, 0]).await.unwrap();
        Self {
            endpoint,
            quic,
            _control: control,
        }
    }

    /// Says goodbye, and waits until that is on its way.
    pub(crate) async fn leave(self) {
        self.quic.close(0x100_u32.into(), b"");
        self.endpoint.wait_idle().await;
    }

    /// A stream on which a head was sent; `fields` are pairs of name and value.
    pub(crate) async fn begin(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> (quinn::SendStream, quinn::RecvStream) {
        let (mut send, recv) = self.quic.open_bi().await.unwrap();
        send.write_all(&head(method, path, fields)).await.unwrap();
        (send, recv)
    }
}

/// A HEADERS frame in QPACK's plainest form: literals, and names of the static
/// table where those are shorter.
pub(crate) fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0, 0];
    let length = |block: &mut Vec<u8>, bits: u8, text: &str| {
        let most = (1 << bits) - 1;
        let first = block.pop().unwrap();
        match u8::try_from(text.len()) {
            Ok(length) if length < most => block.push(first | length),
            _ => {
                block.push(first | most);
                let mut rest = text.len() - usize::from(most);
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                block.push(u8::try_from(rest).unwrap());
            }
        }
        block.extend_from_slice(text.as_bytes());
    };
    let pseudo = [
        (":method", method),
        (":scheme", "https"),
        (":authority", "edge"),
        (":path", path),
    ];
    for (name, value) in pseudo.iter().chain(fields) {
        block.push(0x20);
        length(&mut block, 3, name);
        block.push(0);
        length(&mut block, 7, value);
    }
    let size = u16::try_from(block.len()).unwrap() | 0x4000;
    let mut frame = vec![1];
    frame.extend_from_slice(&size.to_be_bytes());
    frame.append(&mut block);
    frame
}
