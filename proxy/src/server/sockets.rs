//! Every socket of the process, bound or taken over before anything starts.
//!
//! Promises: all or nothing; what the process before has is claimed by the
//! name that both know it by. Refuses: retries of a bind.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::quic::{self, Lineage};
use super::upgrade::{Named, Predecessor};
use crate::admin::AdminListener;
use crate::settings::{AdminBind, Listener, Settings, Switch};

/// Connections that may wait to be accepted; the kernel has its own bound.
const BACKLOG: i32 = 65_535;

/// A socket that could not be bound, or a certificate that could not be used.
#[derive(Debug)]
pub struct BindError {
    what: String,
    error: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.what, self.error)?;
        let kind = self.error.kind();
        if kind == io::ErrorKind::AddrInUse {
            f.write_str("; stop what uses the port, or choose another")?;
        } else if kind == io::ErrorKind::PermissionDenied {
            f.write_str("; choose a port above 1023, or give the process CAP_NET_BIND_SERVICE")?;
        }
        Ok(())
    }
}

impl std::error::Error for BindError {}

/// Every socket of the process, bound and listening.
pub struct BoundSockets {
    pub(super) listeners: Vec<Bound>,
    pub(super) admin: Option<AdminListener>,
    pub(super) control: Option<UnixListener>,
    pub(super) predecessor: Option<Predecessor>,
    pub(super) lineage: Lineage,
}

/// The sockets of one listener.
pub(super) struct Bound {
    pub(super) listener: Listener,
    pub(super) tcp: TcpListener,
    /// Where it speaks HTTP/3.
    pub(super) udp: Option<quic::Sockets>,
}

impl BoundSockets {
    /// Binds all or nothing.
    pub fn bind(settings: &Settings) -> Result<Self, BindError> {
        Self::bind_beside(settings, None)
    }

    /// The same; what a running process has already is taken from there.
    pub fn bind_beside(
        settings: &Settings,
        mut predecessor: Option<&mut Predecessor>,
    ) -> Result<Self, BindError> {
        let mut listeners = Vec::new();
        for (place, listener) in settings.listeners.iter().enumerate() {
            let name = name_of(settings, place);
            let failed = |error| BindError {
                what: listener.address.to_string(),
                error,
            };
            let old = predecessor.as_deref_mut();
            let (tcp, udp) = bind_listener(settings, (listener, &name), old).map_err(failed)?;
            listeners.push(Bound {
                listener: listener.clone(),
                tcp,
                udp,
            });
        }
        let lineage = Lineage::after(predecessor.as_deref_mut()).map_err(|error| BindError {
            what: "QUIC".to_owned(),
            error,
        })?;
        let admin = match &settings.admin {
            Some(admin) => Some(bind_admin(&admin.bind, predecessor.as_deref_mut())?),
            None => None,
        };
        let control = match &settings.upgrade {
            Some(upgrade) => Some(bind_control(&upgrade.socket, predecessor.as_deref_mut())?),
            None => None,
        };
        if let Some(predecessor) = predecessor {
            predecessor.let_go();
        }
        Ok(Self {
            listeners,
            admin,
            control,
            predecessor: None,
            lineage,
        })
    }

    /// The process whose sockets these were; it hears when they are served.
    #[must_use]
    pub fn after(mut self, predecessor: Option<Predecessor>) -> Self {
        self.predecessor = predecessor;
        self
    }

    /// What a successor gets; nothing without a control socket.
    pub(super) fn offer(&mut self, settings: &Settings) -> io::Result<Vec<Named>> {
        let (Some(control), Some(upgrade)) = (&self.control, &settings.upgrade) else {
            return Ok(Vec::new());
        };
        let named = |name: String, fd: OwnedFd| Named { name, fd };
        let mut sockets = Vec::new();
        for (place, bound) in self.listeners.iter().enumerate() {
            let name = name_of(settings, place);
            if let Some(udp) = &bound.udp {
                udp.give(&name, &mut sockets)?;
            }
            sockets.push(named(name, bound.tcp.try_clone()?.into()));
        }
        self.lineage.give(&mut sockets)?;
        if let (Some(listener), Some(admin)) = (&self.admin, &settings.admin) {
            let fd = match listener {
                AdminListener::Tcp(socket) => socket.try_clone()?.into(),
                AdminListener::Unix(socket) => socket.try_clone()?.into(),
            };
            sockets.push(named(name_of_admin(&admin.bind), fd));
        }
        sockets.push(named(
            name_of_control(&upgrade.socket),
            control.try_clone()?.into(),
        ));
        Ok(sockets)
    }

    /// Where each public listener really listens, in the order of the file.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|bound| bound.tcp.local_addr().ok())
            .collect()
    }

    /// Where the admin side listens, if it does so on TCP.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        match &self.admin {
            Some(AdminListener::Tcp(socket)) => socket.local_addr().ok(),
            Some(AdminListener::Unix(_)) | None => None,
        }
    }
}

/// TCP, and UDP where HTTP/3 is spoken: what the process before has of them,
/// and the rest.
fn bind_listener(
    settings: &Settings,
    (listener, name): (&Listener, &str),
    mut predecessor: Option<&mut Predecessor>,
) -> io::Result<(TcpListener, Option<quic::Sockets>)> {
    let threads = settings.threads;
    let taken = predecessor.as_mut().and_then(|old| old.claim_tcp(name));
    let (tcp, udp) = match (taken, predecessor, listener.protocols.h3) {
        (Some(tcp), Some(old), Switch::On) => {
            let place = (name, tcp.local_addr()?);
            let udp = quic::Sockets::after(old, place, threads)?;
            return Ok((tcp, Some(udp)));
        }
        (Some(tcp), _, _) => return Ok((tcp, None)),
        (None, _, Switch::Off) => (TcpListener::bind(listener.address)?, None),
        (None, _, Switch::On) => {
            let (tcp, udp) = quic::bind_both(listener.address, threads)?;
            (tcp, Some(udp))
        }
    };
    tcp.set_nonblocking(true)?;
    rustix::net::listen(&tcp, BACKLOG)?;
    Ok((tcp, udp))
}

/// What a listener's socket is called between two processes: its address as
/// the file has it, and which of those with the same (port 0) it is.
fn name_of(settings: &Settings, place: usize) -> String {
    let before = settings.listeners.get(..place).unwrap_or_default();
    let Some(listener) = settings.listeners.get(place) else {
        return String::new();
    };
    let address = listener.address;
    let same = before.iter().filter(|other| other.address == address);
    format!("tcp {address} #{}", same.count())
}

fn name_of_admin(bind: &AdminBind) -> String {
    match bind {
        AdminBind::Tcp(address) => format!("admin {address}"),
        AdminBind::Unix(path) => format!("admin unix:{}", path.display()),
    }
}

fn name_of_control(path: &Path) -> String {
    format!("control {}", path.display())
}

fn bind_admin(
    bind: &AdminBind,
    predecessor: Option<&mut Predecessor>,
) -> Result<AdminListener, BindError> {
    let name = name_of_admin(bind);
    match bind {
        AdminBind::Tcp(address) => {
            if let Some(socket) = predecessor.and_then(|old| old.claim_tcp(&name)) {
                return Ok(AdminListener::Tcp(socket));
            }
            let failed = |error| BindError {
                what: format!("{address} (admin)"),
                error,
            };
            let socket = TcpListener::bind(address).map_err(failed)?;
            socket.set_nonblocking(true).map_err(failed)?;
            Ok(AdminListener::Tcp(socket))
        }
        AdminBind::Unix(path) => {
            let taken = predecessor.and_then(|old| old.claim_unix(&name));
            taken
                .map_or_else(|| bind_unix(path), Ok)
                .map(AdminListener::Unix)
        }
    }
}

/// For this user alone. Who calls is checked as well.
fn bind_control(
    path: &Path,
    predecessor: Option<&mut Predecessor>,
) -> Result<UnixListener, BindError> {
    let name = name_of_control(path);
    if let Some(socket) = predecessor.and_then(|old| old.claim_unix(&name)) {
        return Ok(socket);
    }
    let socket = bind_unix(path)?;
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, own).map_err(|error| BindError {
        what: path.display().to_string(),
        error,
    })?;
    Ok(socket)
}

/// A socket file left behind by a process that is gone is replaced; one that
/// answers is in use.
fn bind_unix(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |error| BindError {
        what: path.display().to_string(),
        error,
    };
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(failed(io::ErrorKind::AddrInUse.into()));
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    let socket = UnixListener::bind(path).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}
