//! The head of an answer: of an upstream, or made by the edge.

use crate::bytes::{content_len, is_token, trim};
use crate::fields::{Field, Fields};
use crate::known::{Known, KnownSet};
use crate::malformed::Malformed;
use crate::rules::{Answer, BodyFraming, Upgrade, keep_alive, names_websocket, response_framing};
use crate::version::Version;

/// One answer's head, in the same storage as [`crate::RequestHead`].
#[derive(Clone, Debug)]
pub struct ResponseHead {
    pub(crate) fields: Fields,
    pub(crate) version: Version,
    pub(crate) status: u16,
    pub(crate) framing: BodyFraming,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: Upgrade,
    pub(crate) head_bytes: usize,
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseHead {
    /// An empty head; nothing is allocated.
    pub fn new() -> Self {
        Self {
            fields: Fields::default(),
            version: Version::Http11,
            status: 0,
            framing: BodyFraming::None,
            keep_alive: true,
            upgrade: Upgrade::None,
            head_bytes: 0,
        }
    }

    /// Empties the head. Buffers stay, up to 16 KiB.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.version = Version::Http11;
        self.status = 0;
        self.framing = BodyFraming::None;
        self.keep_alive = true;
        self.upgrade = Upgrade::None;
        self.head_bytes = 0;
    }

    /// Empties the head and begins an answer of the edge.
    pub fn begin(&mut self, status: u16) {
        self.clear();
        self.status = status;
    }

    /// Adds a field to an answer of the edge. The name is a lower-case token,
    /// the value is field content without white space around it: anything else
    /// is a fault of the caller and is left out.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        let fits = lower
            && is_token(name.as_bytes())
            && content_len(value) == value.len()
            && trim(value).len() == value.len();
        debug_assert!(fits, "a field of ours must be well-formed: {name}");
        if fits {
            self.fields.push(name.as_bytes(), value);
        }
    }

    /// Sets how the body ends, for answers of the edge.
    pub fn set_framing(&mut self, framing: BodyFraming) {
        self.framing = framing;
    }

    /// The version it came in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// 100 to 599; 0 while empty.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Every field in the order received.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.fields.iter()
    }

    /// The first value of this name; a miss costs one bit test.
    pub fn first(&self, known: Known) -> Option<&[u8]> {
        self.fields.first(known)
    }

    /// The first value of a name in lower case, also one that is not listed.
    pub fn first_named(&self, name: &str) -> Option<&[u8]> {
        self.fields.first_named(name)
    }

    /// How many field lines have this name.
    pub fn count(&self, known: Known) -> usize {
        self.fields.count(known)
    }

    /// Every value of this name, in the order received.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.fields.all(known)
    }

    /// Whether a field has this name: one bit test.
    pub fn has(&self, known: Known) -> bool {
        self.fields.has(known)
    }

    /// Every name that is present.
    pub fn present(&self) -> KnownSet {
        self.fields.present()
    }

    /// How the body ends, resolved against status and request method.
    pub fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// Whether the connection may be used again after the body. Never when
    /// only its end ends the body.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive && self.framing != BodyFraming::UntilClose
    }

    /// [`Upgrade::WebSocket`] for a 101 whose fields name that protocol.
    /// Whether anyone asked for it, the caller knows.
    pub fn upgrade(&self) -> Upgrade {
        self.upgrade
    }

    /// Bytes of the head as received, its empty line included.
    pub fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// Rules of the whole head, once status and fields are there.
    pub(crate) fn settle_h1(&mut self, of: Answer) -> Result<(), Malformed> {
        self.framing = response_framing(&self.fields, of)?;
        let options = self.fields.connection()?;
        self.keep_alive = keep_alive(of.version, options);
        if self.status == 101 && options.upgrade && names_websocket(&self.fields) {
            self.upgrade = Upgrade::WebSocket;
        }
        Ok(())
    }
}
