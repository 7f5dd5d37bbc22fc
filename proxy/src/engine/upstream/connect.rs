//! Names to addresses, addresses to connections.
//!
//! Promises: a name is asked for at most once in ten seconds, and an old answer
//! serves when the resolver fails; an endpoint that is spoken to over TLS is
//! never spoken to otherwise. Refuses: waiting in the request path for anything
//! but the connection itself once a name is known.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{LazyLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use meridian_policies::{Endpoint, TlsFault, Transport};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use crate::engine::io::Io;
use crate::server::tls::Secured;

/// How long a resolved name is believed.
const FRESH: Duration = Duration::from_secs(10);
/// Names remembered at most; there are never more than endpoints.
const NAMES_MAX: usize = 8_192;

struct Resolved {
    addresses: Vec<SocketAddr>,
    at: Instant,
}

static NAMES: LazyLock<RwLock<HashMap<String, Resolved>>> =
    LazyLock::new(|| RwLock::new(HashMap::new()));

/// A connection that may be used.
pub struct Connected {
    /// The connection, its handshake done.
    pub io: Io,
    /// Settings of TLS that it was made with; 0: plain text.
    pub print: u64,
}

/// Why there is none.
#[derive(Debug)]
pub enum Unconnected {
    /// No socket came about.
    Socket(io::Error),
    /// One did, but not TLS as it has to be.
    Tls(TlsFault),
}

/// Connects to the endpoint within `bound`, the handshake included; `draw`
/// chooses among several addresses, the others follow when one refuses.
pub async fn connect(
    endpoint: &Endpoint,
    secured: Option<&Secured>,
    (draw, bound): (u64, Duration),
) -> Result<Connected, Unconnected> {
    let ends = Instant::now() + bound;
    let socket = timeout_at(ends.into(), dial(endpoint, draw))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(Unconnected::Socket)?;
    match (endpoint.transport(), secured) {
        (Transport::Plain, _) => Ok(Connected {
            io: Io::Tcp(socket),
            print: 0,
        }),
        (Transport::Tls, Some(secured)) => timeout_at(ends.into(), secured.handshake(socket))
            .await
            .unwrap_or(Err(TlsFault::TimedOut))
            .map(|verified| Connected {
                io: Io::Dialled(Box::new(verified.stream)),
                print: verified.print,
            })
            .map_err(Unconnected::Tls),
        (Transport::Tls, None) => {
            let fault = "nothing says how TLS is spoken with the endpoint";
            Err(Unconnected::Socket(io::Error::other(fault)))
        }
    }
}

async fn dial(endpoint: &Endpoint, draw: u64) -> io::Result<TcpStream> {
    if let Ok(ip) = endpoint.host.parse::<IpAddr>() {
        return open(SocketAddr::new(ip, endpoint.port)).await;
    }
    let addresses = resolve(&endpoint.host, endpoint.port).await?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let first = usize::try_from(draw).unwrap_or(0) % addresses.len().max(1);
    for address in addresses
        .iter()
        .cycle()
        .skip(first)
        .take(addresses.len().min(3))
    {
        match open(*address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let name = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    let known = {
        let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
        names
            .get(name)
            .map(|found| (found.addresses.clone(), found.at.elapsed() < FRESH))
    };
    if let Some((addresses, true)) = known {
        return Ok(with_port(addresses, port));
    }
    match tokio::net::lookup_host((name, port)).await {
        Ok(found) => {
            let addresses: Vec<SocketAddr> = found.take(16).collect();
            let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
            if names.len() < NAMES_MAX {
                let resolved = Resolved {
                    addresses: addresses.clone(),
                    at: Instant::now(),
                };
                names.insert(name.to_owned(), resolved);
            }
            Ok(addresses)
        }
        Err(error) => known
            .map(|(addresses, _)| with_port(addresses, port))
            .ok_or(error),
    }
}

fn with_port(mut addresses: Vec<SocketAddr>, port: u16) -> Vec<SocketAddr> {
    for address in &mut addresses {
        address.set_port(port);
    }
    addresses
}

#[cfg(test)]
mod tests {
    use meridian_policies::{EdgePlace, References, Snapshot, SourceFile};
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_endpoint_with_tls_is_not_spoken_to_without_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let source = SourceFile {
            path: "p.yaml".to_owned(),
            text: format!(
                "upstream_tls: {{ ca: a.pem }}\nresidency: off\n\
                 regions: [{{ id: a, endpoints: ['https://{address}'] }}]\n"
            ),
        };
        let place = EdgePlace { region: "a" };
        let snapshot = Snapshot::compile(&[source], &References::NONE, &place).unwrap();
        let endpoint = snapshot.endpoints().first().unwrap();
        let connected = connect(endpoint, None, (0, Duration::from_secs(5))).await;
        assert!(matches!(connected, Err(Unconnected::Socket(_))));
        let (mut met, _) = listener.accept().await.unwrap();
        assert_eq!(met.read(&mut [0]).await.unwrap(), 0, "not a byte");
    }
}
