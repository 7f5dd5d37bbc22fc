//! SETTINGS (RFC 9114 7.2.4, RFC 9204 5, RFC 9220 3).
//!
//! Promises: read as it comes, in bounded memory. Refuses: a setting twice,
//! settings of HTTP/2, values that have no meaning.

use crate::h3::code::{Code, Fault};
use crate::h3::frame;
use crate::h3::varint::{self, VarintReader};
use crate::limits::HeadLimits;

/// Bytes of the frame.
pub(super) const LENGTH_MAX: u64 = 1_024;
/// Settings in it, unknown ones included.
const COUNT_MAX: usize = 32;

const QPACK_TABLE: u64 = 0x01;
const MAX_FIELD_SECTION: u64 = 0x06;
const QPACK_BLOCKED: u64 = 0x07;
const CONNECT_PROTOCOL: u64 = 0x08;
const DATAGRAM: u64 = 0x33;

const WRONG: Fault = Fault::Connection(Code::SettingsError);

/// What the peer's settings say to us.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct PeerSettings {
    /// Largest field section that it takes, counted as RFC 9114 4.2.2 does;
    /// `None`: it did not say.
    pub max_field_section: Option<u64>,
    /// Largest dynamic table that we might use, in bytes; we use none.
    pub qpack_table: u64,
    /// Streams that we might block; we block none.
    pub qpack_blocked: u64,
}

/// Reads the payload of one SETTINGS frame.
#[derive(Clone, Debug)]
pub(super) struct SettingsReader {
    left: u64,
    id: Option<u64>,
    varint: VarintReader,
    seen: [u64; COUNT_MAX],
    count: usize,
    settings: PeerSettings,
}

impl SettingsReader {
    /// A payload of so many bytes.
    pub(super) fn new(length: u64) -> Result<Self, Fault> {
        if length > LENGTH_MAX {
            return Err(Fault::Connection(Code::ExcessiveLoad));
        }
        Ok(Self {
            left: length,
            id: None,
            varint: VarintReader::default(),
            seen: [0; COUNT_MAX],
            count: 0,
            settings: PeerSettings::default(),
        })
    }

    /// Takes what belongs to the payload; the settings once it is complete.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<Option<PeerSettings>, Fault> {
        let part = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(input.len());
        let (mut payload, rest) = input.split_at(part);
        *input = rest;
        self.left -= part as u64;
        while let Some(number) = self.varint.read(&mut payload) {
            match self.id.take() {
                None => self.id = Some(number),
                Some(id) => self.take(id, number)?,
            }
        }
        if self.left > 0 {
            return Ok(None);
        }
        if self.id.is_some() || !self.varint.is_empty() {
            return Err(Fault::Connection(Code::FrameError));
        }
        Ok(Some(self.settings))
    }

    fn take(&mut self, id: u64, value: u64) -> Result<(), Fault> {
        let before = self.seen.get(..self.count).unwrap_or(&[]);
        if before.contains(&id) {
            return Err(WRONG);
        }
        let Some(place) = self.seen.get_mut(self.count) else {
            return Err(Fault::Connection(Code::ExcessiveLoad));
        };
        *place = id;
        self.count += 1;
        match id {
            QPACK_TABLE => self.settings.qpack_table = value,
            MAX_FIELD_SECTION => self.settings.max_field_section = Some(value),
            QPACK_BLOCKED => self.settings.qpack_blocked = value,
            CONNECT_PROTOCOL | DATAGRAM if value > 1 => return Err(WRONG),
            // Settings of HTTP/2 without a meaning here (RFC 9114 7.2.4.1).
            0x00 | 0x02..=0x05 => return Err(WRONG),
            _ => {}
        }
        Ok(())
    }
}

/// Appends our SETTINGS frame: no dynamic table, no blocked streams, the
/// largest head that is read, extended CONNECT.
pub(super) fn write(limits: &HeadLimits, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(16);
    for (id, value) in [
        (QPACK_TABLE, 0),
        (MAX_FIELD_SECTION, limits.head_bytes() as u64),
        (QPACK_BLOCKED, 0),
        (CONNECT_PROTOCOL, 1),
    ] {
        varint::write(id, &mut payload);
        varint::write(value, &mut payload);
    }
    varint::write(frame::SETTINGS, out);
    varint::write(payload.len() as u64, out);
    out.extend_from_slice(&payload);
}
