//! The old process's side: it answers at the control socket until it drains.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::channel::AT_ONCE;
use super::{Channel, Message, Named, VERSION};
use crate::edge::{Edge, Phase};
use crate::pipeline::events::notice;

/// Conversations at once: the operator's, the new process's, and a stray one.
const CONVERSATIONS_MAX: usize = 4;

/// How long a conversation may go on once the drain has begun.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How often is looked whether a process that was started is still there.
const LOOK: Duration = Duration::from_millis(50);

/// How a hand-over ended: the generation of the new process, or why not.
type Outcome = Result<(u32, u64), String>;

/// Gives the sockets away, once.
pub(in crate::server) struct Giver {
    edge: Arc<Edge>,
    /// Longest time from a process's start to its word that it serves.
    patience: Duration,
    state: Mutex<State>,
    conversations: AtomicUsize,
}

struct State {
    /// What is handed over; gone once that is done or the drain has begun.
    sockets: Option<Arc<Vec<Named>>>,
    turn: Turn,
}

/// Whose turn it is.
enum Turn {
    /// Nobody asked.
    Nobody,
    /// A process was started and has not called yet; who hears of the end.
    Started(u32, SyncSender<Outcome>),
    /// A process has the sockets and has not said that it serves.
    Taking,
}

impl Giver {
    pub(in crate::server) fn new(edge: Arc<Edge>, sockets: Vec<Named>, patience: Duration) -> Self {
        Self {
            edge,
            patience,
            state: Mutex::new(State {
                sockets: Some(Arc::new(sockets)),
                turn: Turn::Nobody,
            }),
            conversations: AtomicUsize::new(0),
        }
    }

    /// Answers callers until the drain begins; then lets the sockets go.
    pub(in crate::server) async fn serve(
        self: Arc<Self>,
        listener: UnixListener,
    ) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        loop {
            let accepted = tokio::select! {
                () = self.edge.lifecycle.wait_drain() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => Arc::clone(&self).converse(stream)?,
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
        self.state().sockets = None;
        // The operator is told before this process ends.
        let late = Instant::now() + LAST_WORDS;
        while self.conversations.load(Ordering::Acquire) > 0 && Instant::now() < late {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// A panic while holding the lock left it whole: both members are replaced
    /// in single assignments.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn converse(self: Arc<Self>, stream: UnixStream) -> io::Result<()> {
        if self.conversations.fetch_add(1, Ordering::AcqRel) >= CONVERSATIONS_MAX {
            self.conversations.fetch_sub(1, Ordering::AcqRel);
            return Ok(());
        }
        std::thread::Builder::new()
            .name("upgrade".to_owned())
            .spawn(move || {
                // A caller that went away is nobody to tell.
                let _ = Channel::new(stream).and_then(|channel| self.answer(channel));
                self.conversations.fetch_sub(1, Ordering::AcqRel);
            })?;
        Ok(())
    }

    fn answer(&self, mut channel: Channel) -> io::Result<()> {
        let peer = channel.peer()?;
        let own = rustix::process::geteuid();
        if peer.uid != own && !peer.uid.is_root() {
            return refuse(&mut channel, "another user's process".to_owned());
        }
        match channel.receive()?.0 {
            Message::Upgrade { version, .. } | Message::Take { version } if version != VERSION => {
                let reason = format!("it speaks version {version}, this process {VERSION}");
                refuse(&mut channel, reason)
            }
            Message::Upgrade {
                binary,
                config,
                socket,
                ..
            } => match self.upgrade(&binary, &config, &socket) {
                Ok((pid, generation)) => channel.send(&Message::Done { pid, generation }, &[]),
                Err(reason) => refuse(&mut channel, reason),
            },
            Message::Take { .. } => {
                let pid = u32::try_from(peer.pid.as_raw_nonzero().get()).unwrap_or(0);
                self.take(&mut channel, pid)
            }
            Message::Sockets { .. }
            | Message::Serving { .. }
            | Message::Failed { .. }
            | Message::Yours
            | Message::Done { .. }
            | Message::Refused { .. } => refuse(&mut channel, "out of turn".to_owned()),
        }
    }

    /// Starts the new process and waits for what becomes of it.
    fn upgrade(&self, binary: &Path, config: &Path, socket: &Path) -> Outcome {
        let (mut child, ended) = {
            let mut state = self.state();
            self.may_begin(&state)?;
            let child = Command::new(binary)
                .arg("run")
                .arg("--config")
                .arg(config)
                .arg("--take-over")
                .arg(socket)
                .stdin(Stdio::null())
                .spawn()
                .map_err(|error| format!("{} can't be started: {error}", binary.display()))?;
            let (end, ended) = sync_channel(1);
            state.turn = Turn::Started(child.id(), end);
            (child, ended)
        };
        let outcome = self.await_end(&mut child, &ended);
        if outcome.is_err() {
            // It ends by itself, and if it does not, it is told to: what it
            // has accepted meanwhile may finish.
            let pid = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            std::thread::spawn(move || child.wait());
        }
        outcome
    }

    fn await_end(&self, child: &mut Child, ended: &Receiver<Outcome>) -> Outcome {
        let late = Instant::now() + self.patience;
        loop {
            match ended.recv_timeout(LOOK) {
                Ok(outcome) => return outcome,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("the hand-over broke off".to_owned());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Ok(Some(status)) = child.try_wait()
                && self.give_up_on(child.id())
            {
                return Err(format!(
                    "it ended before it served ({status}); its log says why"
                ));
            }
            if Instant::now() >= late && self.give_up_on(child.id()) {
                return Err(silent(self.patience));
            }
        }
    }

    /// Forgets a process that has not called. One that has is `give`'s, which
    /// has a bound of its own.
    fn give_up_on(&self, pid: u32) -> bool {
        let mut state = self.state();
        let waits = matches!(&state.turn, Turn::Started(started, _) if *started == pid);
        if waits {
            state.turn = Turn::Nobody;
        }
        waits
    }

    fn may_begin(&self, state: &State) -> Result<Arc<Vec<Named>>, String> {
        match state.turn {
            Turn::Nobody => {}
            Turn::Started(..) | Turn::Taking => {
                return Err("another upgrade is under way".to_owned());
            }
        }
        match (&state.sockets, self.edge.lifecycle.phase()) {
            (Some(sockets), Phase::Serving) => Ok(Arc::clone(sockets)),
            (_, phase) => Err(format!("the running process is {}", phase.as_str())),
        }
    }

    /// Gives the sockets to a process that calls, and gives them up when it
    /// serves.
    fn take(&self, channel: &mut Channel, pid: u32) -> io::Result<()> {
        let (sockets, end) = match self.turn_of(pid) {
            Ok(turn) => turn,
            Err(reason) => return refuse(channel, reason),
        };
        let outcome = self.give(channel, &sockets, pid);
        match &outcome {
            Ok((pid, generation)) => notice(
                "INFO",
                "another process has taken over; this one drains",
                &json!({ "pid": pid, "generation": generation }),
            ),
            Err(reason) => {
                notice(
                    "ERROR",
                    "another process did not take over; this one goes on",
                    &json!({ "pid": pid, "reason": reason }),
                );
                self.state().turn = Turn::Nobody;
                let _ = refuse(channel, reason.clone());
            }
        }
        if let Some(end) = end {
            // Whoever started it may have given up.
            let _ = end.send(outcome);
        }
        Ok(())
    }

    /// A process that was started here goes before all others.
    #[expect(clippy::type_complexity, reason = "what is given, and who hears of it")]
    fn turn_of(&self, pid: u32) -> Result<(Arc<Vec<Named>>, Option<SyncSender<Outcome>>), String> {
        let mut state = self.state();
        match std::mem::replace(&mut state.turn, Turn::Taking) {
            Turn::Started(expected, end) if expected == pid => {
                state.turn = Turn::Nobody;
                let sockets = self.may_begin(&state);
                state.turn = Turn::Taking;
                match sockets {
                    Ok(sockets) => Ok((sockets, Some(end))),
                    Err(reason) => {
                        let _ = end.send(Err(reason.clone()));
                        Err(reason)
                    }
                }
            }
            Turn::Nobody => {
                state.turn = Turn::Nobody;
                let sockets = self.may_begin(&state)?;
                state.turn = Turn::Taking;
                Ok((sockets, None))
            }
            busy @ (Turn::Started(..) | Turn::Taking) => {
                state.turn = busy;
                Err("another upgrade is under way".to_owned())
            }
        }
    }

    fn give(&self, channel: &mut Channel, sockets: &[Named], pid: u32) -> Outcome {
        send_sockets(channel, sockets).map_err(|error| error.to_string())?;
        let heard = channel
            .patience(Some(self.patience))
            .and_then(|()| channel.receive());
        let generation = match heard {
            Ok((Message::Serving { generation }, _)) => generation,
            Ok((Message::Failed { reason }, _)) => return Err(reason),
            Ok((
                Message::Upgrade { .. }
                | Message::Take { .. }
                | Message::Sockets { .. }
                | Message::Yours
                | Message::Done { .. }
                | Message::Refused { .. },
                _,
            )) => return Err("it spoke out of turn".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err("it ended before it served".to_owned());
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(silent(self.patience));
            }
            Err(error) => return Err(error.to_string()),
        };
        let phase = self.edge.lifecycle.phase();
        if phase != Phase::Serving {
            return Err(format!("the running process is {}", phase.as_str()));
        }
        self.edge.lifecycle.hand_over();
        // From here on there is no way back: it serves, and knows it or finds
        // this process gone.
        let _ = channel.send(&Message::Yours, &[]);
        Ok((pid, generation))
    }
}

fn send_sockets(channel: &mut Channel, sockets: &[Named]) -> io::Result<()> {
    let mut left = sockets.chunks(AT_ONCE).len();
    for some in sockets.chunks(AT_ONCE) {
        left -= 1;
        let names = some.iter().map(|named| named.name.clone()).collect();
        let fds: Vec<_> = some.iter().map(|named| named.fd.as_fd()).collect();
        channel.send(&Message::Sockets { names, left }, &fds)?;
    }
    Ok(())
}

fn silent(patience: Duration) -> String {
    format!("it did not serve within {} s", patience.as_secs_f32())
}

fn refuse(channel: &mut Channel, reason: String) -> io::Result<()> {
    channel.send(&Message::Refused { reason }, &[])
}
