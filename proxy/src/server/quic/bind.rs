//! The UDP sockets of a listener: one a thread, all on one port.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// What a socket may hold while its thread is busy. The kernel gives less
/// where `net.core.rmem_max` or `wmem_max` is lower.
const BUFFER: usize = 2 * 1024 * 1024;

/// Binds `count` sockets to one address, among which the kernel spreads
/// clients. The address must be free: another process's sockets are not
/// joined.
pub(super) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
    // Without sharing, a port in use is an error.
    drop(UdpSocket::bind(address)?);
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        sockets.push(shared(address)?);
    }
    Ok(sockets)
}

/// One more socket on an address that this process already has.
pub(super) fn shared(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    let _ = sockopt::set_socket_recv_buffer_size(&socket, BUFFER);
    let _ = sockopt::set_socket_send_buffer_size(&socket, BUFFER);
    rustix::net::bind(&socket, &address)?;
    Ok(UdpSocket::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sockets_of_a_listener_have_its_port() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = UdpSocket::bind(any).unwrap().local_addr().unwrap();
        let sockets = bind(first, 3).unwrap();
        assert_eq!(sockets.len(), 3);
        for socket in &sockets {
            assert_eq!(socket.local_addr().unwrap(), first);
        }
    }

    #[test]
    fn a_port_in_use_is_an_error_even_when_it_could_be_shared() {
        let socket = shared(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let taken = socket.local_addr().unwrap();
        assert_eq!(bind(taken, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
