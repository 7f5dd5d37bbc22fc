//! Connections that a load balancer carries: the PROXY protocol's header in
//! front of everything else, TLS included.
//!
//! Promises: nothing behind the header is read. Refuses: anything else in its
//! place; a peer that may carry must say whom it carries.

use std::io;
use std::net::SocketAddr;

use meridian_wire::proxy_protocol::{Carried, Progress, read};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The client of a connection from this peer, canonical. Without a bound of
/// time of its own; bytes have one.
pub(super) async fn client(stream: &mut TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
    let mut seen = Vec::new();
    loop {
        match read(&seen).map_err(|refused| io::Error::other(refused.as_str()))? {
            Progress::Needs(missing) => {
                let known = seen.len();
                seen.resize(known + missing, 0);
                let more = seen.get_mut(known..).unwrap_or_default();
                stream.read_exact(more).await?;
            }
            Progress::Whole { carried, .. } => {
                return Ok(match carried {
                    Carried::Own => peer,
                    Carried::Client { source, .. } => {
                        SocketAddr::new(source.ip().to_canonical(), source.port())
                    }
                });
            }
        }
    }
}
