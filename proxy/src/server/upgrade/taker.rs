//! The new process's side.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use rustix::net::{SocketType, sockopt};

use super::{Channel, DESCRIPTORS_MAX, Message, Named, VERSION};

/// For the last word of the old process. It only has to stop its accept
/// loops.
const LAST_WORD: Duration = Duration::from_secs(30);

/// The process whose sockets are taken over, until it has given them up.
pub struct Predecessor {
    channel: Channel,
    sockets: Vec<Named>,
}

impl Predecessor {
    /// Asks for the sockets. Nothing changes for the old process by that.
    pub fn ask(socket: &Path) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        let mut channel = Channel::connect(socket)
            .with_context(|| format!("no running process answers at {}", socket.display()))?;
        channel.send(&Message::Take { version: VERSION }, &[])?;
        let mut predecessor = Self {
            channel,
            sockets: Vec::new(),
        };
        while predecessor.hear_sockets()? > 0 {}
        Ok(predecessor)
    }

    fn hear_sockets(&mut self) -> anyhow::Result<usize> {
        match self.channel.receive()? {
            (Message::Sockets { names, left }, fds) => {
                anyhow::ensure!(names.len() == fds.len(), "names without descriptors");
                let named = names.into_iter().zip(fds);
                self.sockets
                    .extend(named.map(|(name, fd)| Named { name, fd }));
                anyhow::ensure!(
                    self.sockets.len() <= DESCRIPTORS_MAX,
                    "more descriptors than anybody has"
                );
                Ok(left)
            }
            (Message::Refused { reason }, _) => anyhow::bail!("{reason}"),
            (
                Message::Upgrade { .. }
                | Message::Take { .. }
                | Message::Serving { .. }
                | Message::Failed { .. }
                | Message::Yours
                | Message::Done { .. },
                _,
            ) => anyhow::bail!("the old process answered out of turn"),
        }
    }

    /// The descriptor of this name, once.
    pub(in crate::server) fn claim(&mut self, name: &str) -> Option<OwnedFd> {
        let place = self.sockets.iter().position(|named| named.name == name)?;
        Some(self.sockets.swap_remove(place).fd)
    }

    /// The same as a TCP listener, if it is one.
    pub(in crate::server) fn claim_tcp(&mut self, name: &str) -> Option<TcpListener> {
        self.claim(name).filter(listens).map(TcpListener::from)
    }

    /// The same as a listening socket file, if it is one.
    pub(in crate::server) fn claim_unix(&mut self, name: &str) -> Option<UnixListener> {
        self.claim(name).filter(listens).map(UnixListener::from)
    }

    /// Closes what nobody claimed.
    pub(in crate::server) fn let_go(&mut self) {
        self.sockets.clear();
    }

    /// Says that this process can't. The old one goes on.
    pub fn failed(mut self, reason: &str) {
        let reason = reason.chars().take(4_096).collect();
        // If it can't be told, it sees the end of this process.
        let _ = self.channel.send(&Message::Failed { reason }, &[]);
    }

    /// Says that this process serves, and waits until the old one has stopped
    /// accepting. An error: the old one keeps its sockets.
    pub(in crate::server) fn serving(mut self, generation: u64) -> Result<(), String> {
        let told = self
            .channel
            .send(&Message::Serving { generation }, &[])
            .and_then(|()| self.channel.patience(Some(LAST_WORD)))
            .and_then(|()| self.channel.receive());
        match told {
            Ok((Message::Yours, _)) => Ok(()),
            Ok((Message::Refused { reason }, _)) => Err(reason),
            Ok((
                Message::Upgrade { .. }
                | Message::Take { .. }
                | Message::Sockets { .. }
                | Message::Serving { .. }
                | Message::Failed { .. }
                | Message::Done { .. },
                _,
            )) => Err("the old process answered out of turn".to_owned()),
            // It died: nobody else serves.
            Err(error) if gone(&error) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn listens(fd: &OwnedFd) -> bool {
    sockopt::socket_type(fd) == Ok(SocketType::STREAM) && sockopt::socket_acceptconn(fd) == Ok(true)
}

fn gone(error: &io::Error) -> bool {
    [
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
    ]
    .contains(&error.kind())
}
