//! Messages with descriptors over a unix socket. Blocking, with bounds.

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, UCred, recvmsg, sendmsg, sockopt,
};

use super::DESCRIPTORS_MAX;
use super::message::{self, Message};

/// For a word that the other side only has to write.
const PROMPT: Duration = Duration::from_secs(10);

/// Descriptors of one message; the kernel takes at most 253.
pub(super) const AT_ONCE: usize = 64;

/// One end of a conversation.
pub(in crate::server) struct Channel {
    stream: UnixStream,
    read: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Channel {
    /// A stream that blocks, with ten seconds for each read and write.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(PROMPT))?;
        let mut channel = Self {
            stream,
            read: Vec::new(),
            fds: Vec::new(),
        };
        channel.patience(Some(PROMPT))?;
        Ok(channel)
    }

    /// Calls the process that listens there.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        Self::new(UnixStream::connect(path)?)
    }

    /// How long the next messages may take; `None`: for ever.
    pub(super) fn patience(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(patience)
    }

    /// Who is at the other end, by the kernel's word.
    pub(super) fn peer(&self) -> io::Result<UCred> {
        Ok(sockopt::socket_peercred(&self.stream)?)
    }

    /// Says something; at most [`AT_ONCE`] descriptors go with it.
    pub(super) fn send(&mut self, message: &Message, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = message::encode(message).map_err(io::Error::other)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut with = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !with.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::other("too many descriptors in one message"));
        }
        let sent = rustix::io::retry_on_intr(|| {
            let first = [IoSlice::new(&bytes)];
            sendmsg(&self.stream, &first, &mut with, SendFlags::NOSIGNAL)
        })?;
        self.stream.write_all(bytes.get(sent..).unwrap_or_default())
    }

    /// Waits for the next message and what came with it.
    pub(super) fn receive(&mut self) -> io::Result<(Message, Vec<OwnedFd>)> {
        loop {
            if let Some(message) = message::decode(&mut self.read).map_err(io::Error::other)? {
                return Ok((message, std::mem::take(&mut self.fds)));
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut with = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::io::retry_on_intr(|| {
            let into = &mut [IoSliceMut::new(&mut bytes)];
            recvmsg(&self.stream, into, &mut with, RecvFlags::CMSG_CLOEXEC)
        });
        let got = match got {
            Ok(got) => got.bytes,
            Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error.into()),
        };
        for part in with.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = part {
                self.fds.extend(fds);
            }
        }
        if self.fds.len() > DESCRIPTORS_MAX {
            return Err(io::Error::other("more descriptors than anybody has"));
        }
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read
            .extend_from_slice(bytes.get(..got).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd as _;

    use super::*;

    fn pair() -> (Channel, Channel) {
        let (a, b) = UnixStream::pair().unwrap();
        (Channel::new(a).unwrap(), Channel::new(b).unwrap())
    }

    #[test]
    fn a_listening_socket_that_changed_hands_is_the_same_socket() {
        let (mut old, mut new) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let said = Message::Sockets {
            names: vec!["one".to_owned()],
            left: 0,
        };
        old.send(&said, &[listener.as_fd()]).unwrap();
        let (heard, mut fds) = new.receive().unwrap();
        assert_eq!(heard, said);
        let address = listener.local_addr().unwrap();
        drop(listener);
        let taken = TcpListener::from(fds.pop().unwrap());
        assert_eq!(taken.local_addr().unwrap(), address);
        assert!(fds.is_empty());
    }

    #[test]
    fn silence_is_an_error_in_time_and_the_end_is_another() {
        let (mut old, new) = pair();
        old.patience(Some(Duration::from_millis(20))).unwrap();
        let silent = old.receive().unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        drop(new);
        let gone = old.receive().unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_other_end_is_known_by_the_kernels_word() {
        let (old, _new) = pair();
        let peer = old.peer().unwrap();
        assert_eq!(peer.uid, rustix::process::geteuid());
        assert_eq!(peer.pid, rustix::process::getpid());
    }
}
