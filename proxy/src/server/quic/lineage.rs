//! What one process gives the next: its sockets, its secret, and a way for
//! datagrams.
//!
//! Promises: a process that takes over reads the ids of the one before and
//! passes its datagrams on to it; one that fails to take over changes nothing.
//! Refuses: a successor that was told something else than a secret.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixDatagram;

use rustix::fs::MemfdFlags;
use rustix::net::{SocketType, sockopt};

use super::super::upgrade::{Named, Predecessor};
use super::Sockets;
use super::bind;
use super::cid::Identity;
use super::link::Links;

const IDENTITY: &str = "quic identity";

/// Who a process is among those that had and will have its sockets.
pub(in crate::server) struct Lineage {
    pub(super) identity: Identity,
    pub(super) links: Links,
}

impl Lineage {
    /// The first one, unless a predecessor says otherwise.
    pub(in crate::server) fn after(predecessor: Option<&mut Predecessor>) -> io::Result<Self> {
        let claimed = predecessor.and_then(|old| Some((old.claim(IDENTITY)?, old)));
        let mut links = Links::default();
        let Some((identity, predecessor)) = claimed else {
            let identity = Identity::first()?;
            return Ok(Self { identity, links });
        };
        let mut told = [0; 33];
        File::from(identity).read_exact_at(&mut told, 0)?;
        let identity = Identity::taken_over(&told);
        // From the oldest to the one just before.
        for back in (1..=u8::MAX).rev() {
            let generation = identity.generation().wrapping_sub(back);
            if let Some(link) = predecessor.claim(&link(generation)) {
                links.add_older(generation, UnixDatagram::from(link))?;
            }
        }
        Ok(Self { identity, links })
    }

    /// Adds what a successor is told. Whoever tries and fails has changed
    /// nothing: the next one is told the same.
    pub(in crate::server) fn give(&mut self, sockets: &mut Vec<Named>) -> io::Result<()> {
        let told = rustix::fs::memfd_create("identity", MemfdFlags::CLOEXEC)?;
        let mut told = File::from(told);
        told.write_all(&self.identity.successor())?;
        let (own, theirs) = UnixDatagram::pair()?;
        let mut add = |name: String, fd| sockets.push(Named { name, fd });
        add(IDENTITY.to_owned(), told.into());
        add(link(self.identity.generation()), theirs.into());
        for (generation, older) in self.links.older() {
            add(link(generation), older.try_clone()?.into());
        }
        self.links.set_newer(own)
    }
}

fn link(generation: u8) -> String {
    format!("quic link to generation {generation}")
}

fn name(listener: &str, number: usize) -> String {
    format!("udp {number} of {listener}")
}

impl Sockets {
    /// Those of the process before, and new ones until every thread has one.
    pub(in crate::server) fn after(
        predecessor: &mut Predecessor,
        (listener, address): (&str, SocketAddr),
        threads: usize,
    ) -> io::Result<Self> {
        let mut sockets = Vec::new();
        while let Some(fd) = predecessor.claim(&name(listener, sockets.len())) {
            sockets.push(udp(fd)?);
        }
        while sockets.len() < threads {
            sockets.push(bind::shared(address)?);
        }
        Ok(Self { address, sockets })
    }

    /// Adds them to what a successor gets.
    pub(in crate::server) fn give(
        &self,
        listener: &str,
        sockets: &mut Vec<Named>,
    ) -> io::Result<()> {
        for (number, socket) in self.sockets.iter().enumerate() {
            sockets.push(Named {
                name: name(listener, number),
                fd: socket.try_clone()?.into(),
            });
        }
        Ok(())
    }
}

fn udp(fd: OwnedFd) -> io::Result<UdpSocket> {
    if sockopt::socket_type(&fd)? == SocketType::DGRAM {
        Ok(UdpSocket::from(fd))
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}
