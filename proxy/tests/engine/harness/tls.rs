//! TLS for clients that speak plain bytes: a local pair of sockets with a
//! pump behind it. A TLS stream that breaks off comes out as a reset.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

struct Pair {
    dir: TempDir,
    der: CertificateDer<'static>,
}

static PAIR: LazyLock<Pair> = LazyLock::new(|| {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tls.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    Pair {
        dir,
        der: made.cert.der().clone(),
    }
});

/// Certificate and key of every edge in this process.
pub(crate) fn files() -> (PathBuf, PathBuf) {
    (
        PAIR.dir.path().join("tls.pem"),
        PAIR.dir.path().join("tls.key"),
    )
}

/// What a client trusts and speaks.
pub(crate) fn client(alpn: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(PAIR.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

pub(crate) fn connector(alpn: &[u8]) -> TlsConnector {
    TlsConnector::from(Arc::new(client(alpn)))
}

pub(crate) async fn handshake(to: SocketAddr, alpn: &[u8]) -> TlsStream<tokio::net::TcpStream> {
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = connector(alpn).connect(name, stream).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(alpn));
    tls
}

/// A socket whose bytes travel in TLS to the edge.
pub(crate) fn connect(to: SocketAddr, alpn: &'static [u8]) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = super::client::connect(listener.local_addr().unwrap());
    let (far, _) = listener.accept().unwrap();
    far.set_nodelay(true).unwrap();
    far.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let tls = handshake(to, alpn).await;
            pump(tokio::net::TcpStream::from_std(far).unwrap(), tls).await;
        });
    });
    near
}

/// Moves bytes until both directions have ended, or one has broken: then both
/// sockets end by a reset. An edge that reads no more may still have something
/// to say.
async fn pump(mut near: tokio::net::TcpStream, mut tls: TlsStream<tokio::net::TcpStream>) {
    let moved = {
        let (near_read, near_write) = near.split();
        let (tls_read, tls_write) = tokio::io::split(&mut tls);
        let up = async {
            match direction(near_read, tls_write).await {
                Err(Broke::Source) => Err(()),
                Ok(()) | Err(Broke::Sink) => Ok(()),
            }
        };
        let down = async { direction(tls_read, near_write).await.map_err(|_| ()) };
        tokio::try_join!(up, down)
    };
    if moved.is_err() {
        near.set_zero_linger().unwrap();
        tls.get_ref().0.set_zero_linger().unwrap();
    }
}

enum Broke {
    Source,
    Sink,
}

async fn direction<R, W>(mut from: R, mut to: W) -> Result<(), Broke>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await.map_err(|_| Broke::Source)?;
        if count == 0 {
            return to.shutdown().await.map_err(|_| Broke::Sink);
        }
        to.write_all(&buffer[..count])
            .await
            .map_err(|_| Broke::Sink)?;
        to.flush().await.map_err(|_| Broke::Sink)?;
    }
}
