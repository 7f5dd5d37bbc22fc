//! Clients of every kind at once, each of which knows what it has lost.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::edge::{ACCEPT, EVENTS, PIECE, PIECES, answer};
use crate::support::PATIENCE;

/// What became of all requests.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) done: AtomicU64,
    pub(crate) h2_done: AtomicU64,
    pub(crate) h3_done: AtomicU64,
    pub(crate) streams_done: AtomicU64,
    /// Connections that were not taken.
    pub(crate) refused: AtomicU64,
    /// Kept HTTP/1 connections that ended before a request's first byte could
    /// have been read.
    pub(crate) races: AtomicU64,
    /// Streams that GOAWAY named as not processed: every client sends them
    /// again by itself.
    pub(crate) unprocessed: AtomicU64,
    pub(crate) lost: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Tally {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }

    fn lost(&self, what: impl Into<String>) {
        self.lost.lock().unwrap().push(what.into());
    }

    fn connect(&self, address: SocketAddr) -> Option<TcpStream> {
        let Ok(stream) = TcpStream::connect(address) else {
            self.refused.fetch_add(1, Ordering::AcqRel);
            return None;
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(stream)
    }
}

/// Running clients.
pub(crate) struct Load {
    pub(crate) tally: Arc<Tally>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(
        plain: SocketAddr,
        tls: SocketAddr,
        trust: &CertificateDer<'static>,
    ) -> Self {
        let tally = Arc::new(Tally::default());
        let mut clients = Vec::new();
        let kinds: [fn(&Tally, SocketAddr); 6] = [kept, kept, fresh, events, socket, upload];
        for kind in kinds {
            let tally = Arc::clone(&tally);
            clients.push(std::thread::spawn(move || {
                while tally.goes_on() {
                    kind(&tally, plain);
                }
            }));
        }
        let config = h3_config(trust.clone());
        let (of, trust) = (Arc::clone(&tally), trust.clone());
        clients.push(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let connector = connector(trust);
            while of.goes_on() {
                runtime.block_on(h2(&of, tls, &connector));
            }
        }));
        for long in [false, true] {
            let (of, config) = (Arc::clone(&tally), config.clone());
            clients.push(std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                while of.goes_on() {
                    runtime.block_on(h3(&of, tls, (&config, long)));
                }
            }));
        }
        Self { tally, clients }
    }

    /// Lets every client finish what it has begun.
    pub(crate) fn finish(self) -> Arc<Tally> {
        self.tally.stop.store(true, Ordering::Release);
        for client in self.clients {
            client.join().unwrap();
        }
        self.tally
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n";

/// One request after the other on a connection, as long as it is kept.
fn kept(tally: &Tally, address: SocketAddr) {
    let Some(mut stream) = tally.connect(address) else {
        return;
    };
    let mut first = true;
    while tally.goes_on() {
        let sent = stream.write_all(GET);
        let mut byte = [0; 1];
        let begun = sent.and_then(|()| stream.peek(&mut byte));
        if !matches!(begun, Ok(1)) {
            if first {
                tally.lost(format!("a first request: {begun:?}"));
            } else {
                tally.races.fetch_add(1, Ordering::AcqRel);
            }
            return;
        }
        let Some(answer) = answer(&mut stream).filter(|answer| answer.ends_with("\r\nok")) else {
            return tally.lost("an answer that had begun");
        };
        tally.done.fetch_add(1, Ordering::AcqRel);
        if answer.to_lowercase().contains("connection: close") {
            return;
        }
        first = false;
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A connection for each request.
fn fresh(tally: &Tally, address: SocketAddr) {
    let Some(mut stream) = tally.connect(address) else {
        return;
    };
    let sent = stream.write_all(b"GET / HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n");
    match sent.ok().and_then(|()| answer(&mut stream)) {
        Some(answer) if answer.ends_with("\r\nok") => {
            tally.done.fetch_add(1, Ordering::AcqRel);
        }
        other => tally.lost(format!("a request of its own connection: {other:?}")),
    }
    std::thread::park_timeout(Duration::from_millis(5));
}

/// A stream of numbered events, to its end.
fn events(tally: &Tally, address: SocketAddr) {
    let Some(mut stream) = tally.connect(address) else {
        return;
    };
    let head = b"GET /events HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n";
    let mut text = String::new();
    let read = stream
        .write_all(head)
        .and_then(|()| stream.read_to_string(&mut text));
    let whole = (0..EVENTS).all(|number| text.contains(&format!("data: {number}\n")))
        && text.ends_with("0\r\n\r\n");
    if read.is_ok() && whole {
        tally.streams_done.fetch_add(1, Ordering::AcqRel);
    } else {
        tally.lost(format!("an event stream: {read:?}, {} bytes", text.len()));
    }
}

/// Words that come back, for a while, and a clean end.
fn socket(tally: &Tally, address: SocketAddr) {
    let Some(mut stream) = tally.connect(address) else {
        return;
    };
    let head = "GET /socket HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let upgraded = stream
        .write_all(head.as_bytes())
        .ok()
        .and_then(|()| answer(&mut stream))
        .is_some_and(|answer| answer.starts_with("HTTP/1.1 101") && answer.contains(ACCEPT));
    if !upgraded {
        return tally.lost("a handshake of a socket");
    }
    for _ in 0..EVENTS {
        // A masked ping of the application: "hello".
        let word = b"\x81\x85\x00\x00\x00\x00hello";
        let mut back = [0; 11];
        let echoed = stream
            .write_all(word)
            .and_then(|()| stream.read_exact(&mut back));
        if echoed.is_err() || back != *word {
            return tally.lost(format!("a word in a socket: {echoed:?}"));
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    tally.streams_done.fetch_add(1, Ordering::AcqRel);
}

/// A body that comes slowly, counted by the backend.
fn upload(tally: &Tally, address: SocketAddr) {
    let Some(mut stream) = tally.connect(address) else {
        return;
    };
    let length = PIECE * PIECES;
    let head = format!("PUT /count HTTP/1.1\r\nHost: edge\r\nContent-Length: {length}\r\n\r\n");
    let mut sent = stream.write_all(head.as_bytes());
    for _ in 0..PIECES {
        sent = sent.and_then(|()| stream.write_all(&vec![b'x'; PIECE]));
        std::thread::park_timeout(Duration::from_millis(50));
    }
    match sent.as_ref().ok().and_then(|()| answer(&mut stream)) {
        Some(answer) if answer.ends_with(&format!("\r\n{length}")) => {
            tally.streams_done.fetch_add(1, Ordering::AcqRel);
        }
        other => tally.lost(format!("an upload: {sent:?} {other:?}")),
    }
}

fn trusting(trust: CertificateDer<'static>, alpn: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trust).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

fn connector(trust: CertificateDer<'static>) -> TlsConnector {
    TlsConnector::from(Arc::new(trusting(trust, b"h2")))
}

/// Requests four at a time on a connection, until it is told to go away.
async fn h2(tally: &Tally, address: SocketAddr, connector: &TlsConnector) {
    let Ok(stream) = tokio::net::TcpStream::connect(address).await else {
        tally.refused.fetch_add(1, Ordering::AcqRel);
        return;
    };
    let name = ServerName::try_from("localhost").unwrap();
    let tls = match connector.connect(name, stream).await {
        Ok(tls) => tls,
        Err(error) => return tally.lost(format!("a handshake: {error}")),
    };
    let (send, connection) = match h2::client::handshake(tls).await {
        Ok(both) => both,
        Err(error) => return tally.lost(format!("a preface: {error}")),
    };
    let driver = tokio::spawn(connection);
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(h2_client(tally, send.clone()));
    }
    drop(send);
    let [a, b, c, d] = clients.try_into().ok().unwrap();
    tokio::join!(a, b, c, d);
    driver.abort();
}

async fn h2_client(tally: &Tally, mut send: h2::client::SendRequest<Bytes>) {
    while tally.goes_on() {
        // After GOAWAY there is no further stream; none was begun.
        let Ok(ready) = send.ready().await else {
            return;
        };
        send = ready;
        let request = http::Request::get("https://edge/").body(()).unwrap();
        let Ok((response, _)) = send.send_request(request, true) else {
            return;
        };
        let whole = async {
            let mut body = response.await?.into_body();
            let mut length = 0;
            while let Some(data) = body.data().await {
                let data = data?;
                length += data.len();
                body.flow_control().release_capacity(data.len())?;
            }
            Ok::<_, h2::Error>(length)
        };
        match whole.await {
            Ok(2) => {
                tally.h2_done.fetch_add(1, Ordering::AcqRel);
            }
            Err(error) if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) => {
                tally.unprocessed.fetch_add(1, Ordering::AcqRel);
                return;
            }
            other => return tally.lost(format!("a stream: {other:?}")),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn h3_config(trust: CertificateDer<'static>) -> quinn::ClientConfig {
    let config = trusting(trust, b"h3");
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    quinn::ClientConfig::new(Arc::new(crypto))
}

type H3 = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;

/// Requests side by side on one connection, or events and an upload, until it
/// is told to go away.
async fn h3(tally: &Tally, address: SocketAddr, (config, long): (&quinn::ClientConfig, bool)) {
    let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let connecting = endpoint.connect_with(config.clone(), address, "localhost");
    let connection = match connecting.unwrap().await {
        Ok(connection) => connection,
        Err(quinn::ConnectionError::ConnectionClosed(_)) => {
            tally.refused.fetch_add(1, Ordering::AcqRel);
            return;
        }
        Err(error) => return tally.lost(format!("a QUIC handshake: {error}")),
    };
    let carrier = h3_quinn::Connection::new(connection.clone());
    let Ok((mut driver, send)) = h3::client::new(carrier).await else {
        return tally.lost("an HTTP/3 connection");
    };
    let driver =
        tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
    if long {
        let events = h3_stream(tally, send.clone(), "/events");
        tokio::join!(events, h3_stream(tally, send, "/count"));
    } else {
        tokio::join!(h3_client(tally, send.clone()), h3_client(tally, send));
    }
    driver.abort();
    connection.close(0x100_u32.into(), b"");
}

/// How a stream of HTTP/3 ended.
enum Ended {
    Whole(Vec<u8>),
    /// Before it was begun, or rejected: every client asks again.
    Unprocessed,
    Broken(String),
}

async fn h3_client(tally: &Tally, mut send: H3) {
    while tally.goes_on() {
        match h3_ask(&mut send, "/").await {
            Ended::Whole(body) if body == b"ok" => {
                tally.h3_done.fetch_add(1, Ordering::AcqRel);
            }
            Ended::Whole(body) => return tally.lost(format!("an answer over h3: {body:?}")),
            Ended::Unprocessed => return,
            Ended::Broken(why) => return tally.lost(format!("a stream over h3: {why}")),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Events or an upload, each to its end.
async fn h3_stream(tally: &Tally, mut send: H3, path: &str) {
    while tally.goes_on() {
        let whole = match h3_ask(&mut send, path).await {
            Ended::Whole(body) if path == "/events" => {
                let text = String::from_utf8(body).unwrap();
                (0..EVENTS).all(|number| text.contains(&format!("data: {number}\n")))
            }
            Ended::Whole(body) => body == (PIECE * PIECES).to_string().as_bytes(),
            Ended::Unprocessed => return,
            Ended::Broken(why) => return tally.lost(format!("{path} over h3: {why}")),
        };
        if !whole {
            return tally.lost(format!("{path} over h3 is not whole"));
        }
        tally.streams_done.fetch_add(1, Ordering::AcqRel);
    }
}

async fn h3_ask(send: &mut H3, path: &str) -> Ended {
    use bytes::Buf as _;
    use h3::error::{Code, StreamError};
    let uri = format!("https://edge{path}");
    let method = if path == "/count" { "PUT" } else { "GET" };
    let request = http::Request::builder().method(method).uri(uri);
    let mut request = request.body(()).unwrap();
    if path == "/count" {
        let length = (PIECE * PIECES).into();
        request.headers_mut().insert("content-length", length);
    }
    let whole = async {
        let mut stream = send.send_request(request).await?;
        if path == "/count" {
            for _ in 0..PIECES {
                stream.send_data(Bytes::from(vec![b'x'; PIECE])).await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        stream.finish().await?;
        stream.recv_response().await?;
        let mut body = Vec::new();
        while let Some(mut data) = stream.recv_data().await? {
            body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        Ok::<_, StreamError>(body)
    };
    match whole.await {
        Ok(body) => Ended::Whole(body),
        // The variant can't be named outside of its crate.
        Err(error) if format!("{error:?}").starts_with("RemoteClosing") => Ended::Unprocessed,
        Err(StreamError::RemoteTerminate { code, .. }) if code == Code::H3_REQUEST_REJECTED => {
            Ended::Unprocessed
        }
        Err(error) => Ended::Broken(format!("{error:?}")),
    }
}
