//! HTTP/3: the `h3` crate on quinn.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use h3::client::SendRequest;
use h3::error::StreamError;
use h3_quinn::OpenStreams;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint};
use tokio_rustls::rustls::ClientConfig;

use crate::record::{Answer, Failure};
use crate::run::RunError;

/// Opens QUIC connections, each from a socket of its own, as different clients
/// do.
#[derive(Clone)]
pub(crate) struct Connector {
    config: quinn::ClientConfig,
    host: String,
}

/// One connection's sending half.
#[derive(Clone)]
pub(crate) struct Sender {
    send: SendRequest<OpenStreams, Bytes>,
    quic: Connection,
    _endpoint: Endpoint,
}

impl Connector {
    pub(crate) fn new(tls: &ClientConfig, host: &str) -> Result<Self, RunError> {
        let crypto = QuicClientConfig::try_from(tls.clone())
            .map_err(|error| RunError::Tls(error.to_string()))?;
        Ok(Self {
            config: quinn::ClientConfig::new(Arc::new(crypto)),
            host: host.to_owned(),
        })
    }

    /// The first address that answers.
    pub(crate) async fn connect(&self, addresses: &[SocketAddr]) -> Result<Sender, Failure> {
        let mut failure = Failure::Connect;
        for address in addresses {
            match self.try_connect(*address).await {
                Ok(sender) => return Ok(sender),
                Err(why) => failure = why,
            }
        }
        Err(failure)
    }

    async fn try_connect(&self, address: SocketAddr) -> Result<Sender, Failure> {
        let any = match address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let endpoint = Endpoint::client(any).map_err(|_| Failure::Connect)?;
        let connecting = endpoint
            .connect_with(self.config.clone(), address, &self.host)
            .map_err(|_| Failure::Tls)?;
        let quic = match connecting.await {
            Ok(quic) => quic,
            Err(error) => return Err(why(&error)),
        };
        let carrier = h3_quinn::Connection::new(quic.clone());
        let (mut driver, send) = h3::client::new(carrier)
            .await
            .map_err(|_| Failure::Broken)?;
        tokio::spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        Ok(Sender {
            send,
            quic,
            _endpoint: endpoint,
        })
    }
}

/// TLS alerts are transport errors from 0x100 to 0x1ff (RFC 9000, 20.1).
fn why(error: &ConnectionError) -> Failure {
    let code = match error {
        ConnectionError::TransportError(error) => u64::from(error.code),
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        ConnectionError::ApplicationClosed(_)
        | ConnectionError::VersionMismatch
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => 0,
    };
    match code {
        0x100..=0x1ff => Failure::Tls,
        _ => Failure::Connect,
    }
}

impl Sender {
    pub(crate) fn is_open(&self) -> bool {
        self.quic.close_reason().is_none()
    }

    /// Sends `request` and reads the whole answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failure> {
        let (parts, body) = request.into_parts();
        let Ok(body) = body.collect().await;
        let (head, body) = (Request::from_parts(parts, ()), body.to_bytes());
        let begin = async {
            let mut stream = self.send.send_request(head).await?;
            if !body.is_empty() {
                stream.send_data(body).await?;
            }
            stream.finish().await?;
            let status = stream.recv_response().await?.status().as_u16();
            Ok::<_, StreamError>((stream, status))
        };
        let (mut stream, status) = begin.await.map_err(|_| Failure::Broken)?;
        let mut body_bytes = 0;
        while let Some(data) = stream.recv_data().await.map_err(|_| Failure::Truncated)? {
            body_bytes += data.remaining() as u64;
        }
        Ok(Answer { status, body_bytes })
    }
}
