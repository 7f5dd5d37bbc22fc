//! Between the processes of two generations: datagrams on their way to the
//! process that has their connection.
//!
//! Promises: a datagram comes out as it went in, with where it came from and
//! where it was sent to. Refuses: waiting; what does not fit is lost, as in a
//! network.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use quinn::udp::{EcnCodepoint, RecvMeta};

use super::socket::Router;

/// Listener, marks, port, scope, source and destination address.
const HEAD: usize = 4 + 1 + 2 + 4 + 16 + 16;
/// Longest datagram.
const DATAGRAM_MAX: usize = 65_535;
/// Bits of the marks: two of ECN, and what addresses there are.
const ECN: u8 = 0b11;
const SOURCE_V4: u8 = 1 << 2;
const HAS_DESTINATION: u8 = 1 << 3;
const DESTINATION_V4: u8 = 1 << 4;

/// Processes before this one that may still live; older ones are forgotten,
/// and their clients are reset.
const OLDER_MAX: usize = 16;

/// The ways to the processes before and to the one after this.
#[derive(Default)]
pub(super) struct Links {
    /// By generation; the newest last.
    older: Vec<(u8, UnixDatagram)>,
    newer: Option<UnixDatagram>,
}

impl Links {
    /// Another process before this one, newer than those that are known.
    pub(super) fn add_older(&mut self, generation: u8, link: UnixDatagram) -> io::Result<()> {
        link.set_nonblocking(true)?;
        if self.older.len() == OLDER_MAX {
            self.older.remove(0);
        }
        self.older.push((generation, link));
        Ok(())
    }

    /// The way to the process after this one.
    pub(super) fn set_newer(&mut self, link: UnixDatagram) -> io::Result<()> {
        link.set_nonblocking(true)?;
        self.newer = Some(link);
        Ok(())
    }

    /// Those that still live, for a successor.
    pub(super) fn older(&self) -> impl Iterator<Item = (u8, &UnixDatagram)> {
        let live = |link: &UnixDatagram| match link.send(&[]) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        let all = self
            .older
            .iter()
            .map(|(generation, link)| (*generation, link));
        all.filter(move |(_, link)| live(link))
    }

    /// Where others send to this process.
    pub(super) fn receivers(&self) -> impl Iterator<Item = UnixDatagram> {
        let older = self.older.iter().map(|(_, link)| link);
        older
            .chain(&self.newer)
            .filter_map(|link| link.try_clone().ok())
    }

    /// Sends a packed datagram on its way to `generation`, or to the process
    /// after this one. False when there is no such process.
    pub(super) fn send(&self, generation: u8, packed: &[u8]) -> bool {
        let known = self.older.iter().find(|(older, _)| *older == generation);
        let link = known.map_or(self.newer.as_ref(), |(_, link)| Some(link));
        link.is_some_and(|link| match link.send(packed) {
            Ok(_) => true,
            // Lost on the way: the client sends it again.
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        })
    }
}

/// What a listener is called in both processes: a hash of where it listens
/// (FNV-1a; they have 64 at most).
pub(super) fn key(address: SocketAddr) -> u32 {
    let text = address.to_string();
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// One datagram with its facts.
pub(super) fn pack(listener: u32, meta: &RecvMeta, datagram: &[u8]) -> Vec<u8> {
    let mut marks = meta.ecn.map_or(0, |ecn| ecn as u8) & ECN;
    let (source, scope) = match meta.addr {
        SocketAddr::V4(v4) => {
            marks |= SOURCE_V4;
            (v4.ip().to_ipv6_mapped(), 0)
        }
        SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
    };
    let destination = match meta.dst_ip {
        Some(IpAddr::V4(v4)) => {
            marks |= HAS_DESTINATION | DESTINATION_V4;
            v4.to_ipv6_mapped()
        }
        Some(IpAddr::V6(v6)) => {
            marks |= HAS_DESTINATION;
            v6
        }
        None => Ipv6Addr::UNSPECIFIED,
    };
    let mut packed = Vec::with_capacity(HEAD + datagram.len());
    packed.extend_from_slice(&listener.to_be_bytes());
    packed.push(marks);
    packed.extend_from_slice(&meta.addr.port().to_be_bytes());
    packed.extend_from_slice(&scope.to_be_bytes());
    packed.extend_from_slice(&source.octets());
    packed.extend_from_slice(&destination.octets());
    packed.extend_from_slice(datagram);
    packed
}

/// What was packed; `None` for anything else.
pub(super) fn unpack(packed: &[u8]) -> Option<(u32, RecvMeta, &[u8])> {
    let (listener, rest) = packed.split_first_chunk()?;
    let (marks, rest) = rest.split_first()?;
    let (port, rest) = rest.split_first_chunk()?;
    let (scope, rest) = rest.split_first_chunk()?;
    let (source, rest) = rest.split_first_chunk::<16>()?;
    let (destination, datagram) = rest.split_first_chunk::<16>()?;
    let (port, scope) = (u16::from_be_bytes(*port), u32::from_be_bytes(*scope));
    let (source, destination) = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
    let addr = match source.to_ipv4_mapped() {
        Some(v4) if marks & SOURCE_V4 != 0 => SocketAddr::from((v4, port)),
        Some(_) | None => SocketAddrV6::new(source, port, 0, scope).into(),
    };
    let dst_ip = match destination.to_ipv4_mapped() {
        _ if marks & HAS_DESTINATION == 0 => None,
        Some(v4) if marks & DESTINATION_V4 != 0 => Some(IpAddr::V4(v4)),
        Some(_) | None => Some(IpAddr::V6(destination)),
    };
    let meta = RecvMeta {
        addr,
        len: datagram.len(),
        stride: datagram.len(),
        ecn: EcnCodepoint::from_bits(marks & ECN),
        dst_ip,
    };
    Some((u32::from_be_bytes(*listener), meta, datagram))
}

/// Takes what another process sends. An empty datagram asks whether this one
/// is still there.
pub(super) async fn receive(link: UnixDatagram, routers: Arc<[Arc<Router>]>) -> io::Result<()> {
    let link = tokio::net::UnixDatagram::from_std(link)?;
    let mut buffer = vec![0; HEAD + DATAGRAM_MAX];
    loop {
        let count = link.recv(&mut buffer).await?;
        let packed = buffer.get(..count).unwrap_or_default();
        if let Some((listener, meta, datagram)) = unpack(packed)
            && let Some(router) = routers.iter().find(|router| router.key == listener)
        {
            router.received(&meta, datagram);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_comes_out_as_it_went_in() {
        for (addr, dst_ip, ecn) in [
            ("192.0.2.1:443", Some("198.51.100.7"), None),
            (
                "[2001:db8::1]:9",
                Some("2001:db8::2"),
                Some(EcnCodepoint::Ce),
            ),
            ("[fe80::1%7]:9", None, Some(EcnCodepoint::Ect0)),
            (
                "[::ffff:192.0.2.1]:9",
                Some("::ffff:192.0.2.2"),
                Some(EcnCodepoint::Ect1),
            ),
        ] {
            let meta = RecvMeta {
                addr: addr.parse().unwrap(),
                len: 3,
                stride: 3,
                ecn,
                dst_ip: dst_ip.map(|ip| ip.parse().unwrap()),
            };
            let packed = pack(5, &meta, b"abc");
            let (listener, out, datagram) = unpack(&packed).unwrap();
            assert_eq!((listener, datagram), (5, &b"abc"[..]));
            assert_eq!(
                (out.addr, out.dst_ip, out.ecn),
                (meta.addr, meta.dst_ip, ecn)
            );
            assert_eq!((out.len, out.stride), (3, 3));
            for cut in 0..HEAD {
                assert!(unpack(&packed[..cut]).is_none());
            }
        }
    }
}
