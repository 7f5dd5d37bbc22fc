//! The words of a hand-over: a length of four bytes, then JSON. No I/O.
//!
//! Promises: every message has a bound; what does not fit the version is an
//! error, never a guess. Unknown members are skipped, so that a later version
//! may say more.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Bytes of a message. Names of all descriptors and long paths fit.
const MESSAGE_MAX: usize = 256 * 1024;

const LENGTH: usize = 4;

/// What is said between two processes, and by `meridian upgrade`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub(in crate::server) enum Message {
    /// Operator: start this binary with this file, and hand over to it.
    Upgrade {
        /// See [`super::VERSION`].
        version: u32,
        /// What to start.
        binary: PathBuf,
        /// Its static file.
        config: PathBuf,
        /// Where it finds the old process.
        socket: PathBuf,
    },
    /// New: let me have your sockets.
    Take {
        /// See [`super::VERSION`].
        version: u32,
    },
    /// Old: the descriptors beside this message have these names.
    Sockets {
        /// In the order of the descriptors.
        names: Vec<String>,
        /// Messages of this kind that follow.
        left: usize,
    },
    /// New: I accept and am ready.
    Serving {
        /// Number of its live generation.
        generation: u64,
    },
    /// New: I can't.
    Failed {
        /// For people.
        reason: String,
    },
    /// Old: I no longer accept; all is yours.
    Yours,
    /// Old, to the operator: it is done.
    Done {
        /// The new process.
        pid: u32,
        /// Its generation.
        generation: u64,
    },
    /// Old: no, and all stays as it is.
    Refused {
        /// For people.
        reason: String,
    },
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum Broken {
    /// Longer than any message is.
    #[error("a message of {0} bytes")]
    TooLong(usize),
    /// Not what this version says.
    #[error("a message that this version does not know: {0}")]
    Unknown(#[from] serde_json::Error),
}

/// A message as bytes.
pub(super) fn encode(message: &Message) -> Result<Vec<u8>, Broken> {
    let mut bytes = vec![0; LENGTH];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - LENGTH;
    let Some(prefix) = u32::try_from(length).ok().filter(|_| length <= MESSAGE_MAX) else {
        return Err(Broken::TooLong(length));
    };
    bytes.splice(..LENGTH, prefix.to_be_bytes());
    Ok(bytes)
}

/// The first message of what was read, taken out of it; `None`: more is
/// needed.
pub(super) fn decode(bytes: &mut Vec<u8>) -> Result<Option<Message>, Broken> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<LENGTH>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
    if length > MESSAGE_MAX {
        return Err(Broken::TooLong(length));
    }
    let Some(text) = rest.get(..length) else {
        return Ok(None);
    };
    let message = serde_json::from_slice(text)?;
    bytes.drain(..LENGTH + length);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples() -> Vec<Message> {
        vec![
            Message::Take { version: 1 },
            Message::Sockets {
                names: vec!["tcp 127.0.0.1:80 #0".to_owned()],
                left: 0,
            },
            Message::Serving { generation: 7 },
            Message::Yours,
            Message::Failed {
                reason: "ünreadable".to_owned(),
            },
        ]
    }

    #[test]
    fn messages_arrive_as_they_were_said_however_they_are_cut() {
        let mut wire = Vec::new();
        for message in samples() {
            wire.extend(encode(&message).unwrap());
        }
        for size in 1..=wire.len() {
            let (mut read, mut heard) = (Vec::new(), Vec::new());
            for piece in wire.chunks(size) {
                read.extend_from_slice(piece);
                while let Some(message) = decode(&mut read).unwrap() {
                    heard.push(message);
                }
            }
            assert_eq!(heard, samples());
            assert!(read.is_empty());
        }
    }

    #[test]
    fn a_later_version_may_say_more_but_not_something_else() {
        let frame = |text: &str| {
            let mut bytes = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
            bytes.extend_from_slice(text.as_bytes());
            bytes
        };
        let more = &mut frame(r#"{"say":"take","version":2,"hurry":true}"#);
        assert_eq!(decode(more).unwrap(), Some(Message::Take { version: 2 }));
        assert!(decode(&mut frame(r#"{"say":"dance"}"#)).is_err());
        assert!(decode(&mut frame("{")).is_err());
    }

    #[test]
    fn no_length_makes_anybody_wait_for_more_than_the_bound() {
        assert!(matches!(
            decode(&mut vec![0xff; 4]),
            Err(Broken::TooLong(_))
        ));
        let reason = "x".repeat(MESSAGE_MAX);
        assert!(encode(&Message::Refused { reason }).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&mut bytes);
        }
    }
}
