//! One process takes the sockets of another over, and nobody is refused.
//!
//! Promises: the listening sockets never close; the old process stops
//! accepting only after the new one has said that it serves; a new process
//! that fails, ends or stays silent leaves the old one serving. Refuses:
//! callers of another user, a second upgrade beside the first, and a process
//! that already drains.
//!
//! ```text
//! meridian upgrade    old process                    new process
//!    upgrade  ------->  starts it  ----------------->  run --take-over SOCKET
//!                                  <--- take --------
//!                                  ---- sockets ---->  compiles, binds what is
//!                                                      new, accepts
//!                                  <--- serving -----
//!                       stops
//!                       accepting  ---- yours ------>  writes its pid file
//!             <-- done  drains
//! ```

mod channel;
mod giver;
mod message;
mod taker;

use std::os::fd::OwnedFd;

pub(super) use self::channel::Channel;
pub(super) use self::giver::Giver;
pub(super) use self::message::Message;
pub use self::taker::Predecessor;

/// Version of the conversation. A process that speaks another one is refused
/// with a reason, and then the old way of a restart is left.
pub(super) const VERSION: u32 = 1;

/// Most descriptors that change hands: 64 listeners with a TCP socket and a
/// UDP socket for each of 256 threads, the admin side, the control socket, and
/// two about QUIC.
const DESCRIPTORS_MAX: usize = 64 * 257 + 4;

/// A descriptor and what it is for.
#[derive(Debug)]
pub struct Named {
    /// The same in both processes: kind, configured address, and which of
    /// those with the same address.
    pub name: String,
    /// The descriptor.
    pub fd: OwnedFd,
}

/// Starts an upgrade at a running process and waits for its end: the new
/// process and its generation, or why there is none.
pub fn request(
    socket: &std::path::Path,
    binary: &std::path::Path,
    config: &std::path::Path,
) -> anyhow::Result<Result<(u32, u64), String>> {
    use anyhow::{Context as _, bail};
    let mut channel = Channel::connect(socket)
        .with_context(|| format!("no running process answers at {}", socket.display()))?;
    channel.send(
        &Message::Upgrade {
            version: VERSION,
            binary: binary.to_path_buf(),
            config: config.to_path_buf(),
            socket: socket.to_path_buf(),
        },
        &[],
    )?;
    // The running process has a bound of its own and always answers.
    channel.patience(None)?;
    match channel.receive().context("the running process has ended")? {
        (Message::Done { pid, generation }, _) => Ok(Ok((pid, generation))),
        (Message::Refused { reason }, _) => Ok(Err(reason)),
        (
            Message::Upgrade { .. }
            | Message::Take { .. }
            | Message::Sockets { .. }
            | Message::Serving { .. }
            | Message::Failed { .. }
            | Message::Yours,
            _,
        ) => bail!("the running process answered out of turn"),
    }
}
