//! The peer's unidirectional streams, and our control stream (RFC 9114 6.2).
//!
//! Promises: a few bytes of state a stream; bounded work: whatever carries no
//! request is paid from a budget that requests refill.
//!
//! Refuses: a second stream of a kind, the end of a critical one, push.

use crate::h3::code::{Code, Fault};
use crate::h3::frame;
use crate::h3::instructions::{self, DecoderReader};
use crate::h3::settings::{self, PeerSettings, SettingsReader};
use crate::h3::varint::{self, VarintReader};
use crate::limits::HeadLimits;

/// What a peer may spend before its first request, in instructions and frames.
const BUDGET: u64 = 1_024;
/// What a request adds.
const PER_REQUEST: u64 = 4;
/// Bytes of an unknown frame that cost as much as the frame.
const BYTES_A_UNIT: u64 = 64;
/// What a stream of an unknown type costs.
const UNKNOWN_STREAM: u64 = 8;

const TYPE_CONTROL: u64 = 0x00;
const TYPE_PUSH: u64 = 0x01;
const TYPE_ENCODER: u64 = 0x02;
const TYPE_DECODER: u64 = 0x03;

const ID_ERROR: Fault = Fault::Connection(Code::IdError);

/// What becomes of a stream.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Uni {
    /// All input was used; more may come.
    Reading,
    /// Nobody knows its type: `STOP_SENDING` with
    /// [`Code::StreamCreationError`], and forget it.
    Ignored,
}

/// One unidirectional stream of the peer.
#[derive(Debug)]
pub struct UniStream {
    kind: Kind,
    varint: VarintReader,
}

#[derive(Debug)]
enum Kind {
    /// The type has not come yet.
    New,
    Control(Place),
    Encoder,
    Decoder(DecoderReader),
    Unknown,
}

/// Where on the control stream the reader is.
#[derive(Debug)]
enum Place {
    Type,
    Length {
        kind: u64,
    },
    Settings(Box<SettingsReader>),
    /// A frame whose payload is one integer, which has to end with it.
    Id {
        kind: u64,
        left: u64,
    },
    Unknown {
        left: u64,
    },
}

impl Default for UniStream {
    fn default() -> Self {
        Self::new()
    }
}

impl UniStream {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self {
            kind: Kind::New,
            varint: VarintReader::default(),
        }
    }
}

/// What the peer's unidirectional streams say: one for each connection.
#[derive(Debug)]
pub struct Control {
    /// Types that came already, one bit each.
    opened: u8,
    settings: Option<PeerSettings>,
    goaway: Option<u64>,
    max_push: Option<u64>,
    budget: u64,
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// At the start of a connection.
    pub fn new() -> Self {
        Self {
            opened: 0,
            settings: None,
            goaway: None,
            max_push: None,
            budget: BUDGET,
        }
    }

    /// The peer's settings, once they came.
    pub fn settings(&self) -> Option<PeerSettings> {
        self.settings
    }

    /// The id of the peer's GOAWAY: it is about to go.
    pub fn goaway(&self) -> Option<u64> {
        self.goaway
    }

    /// A request stream began: it pays for frames that carry none.
    pub fn request_began(&mut self) {
        self.budget = BUDGET.min(self.budget + PER_REQUEST);
    }

    /// Reads the next bytes of a stream.
    ///
    /// # Errors
    /// Always [`Fault::Connection`].
    pub fn read(&mut self, stream: &mut UniStream, mut input: &[u8]) -> Result<Uni, Fault> {
        let UniStream { kind, varint } = stream;
        if let Kind::New = kind {
            let Some(number) = varint.read(&mut input) else {
                return Ok(Uni::Reading);
            };
            *kind = self.open(number)?;
        }
        match kind {
            Kind::New => Ok(Uni::Reading),
            Kind::Unknown => Ok(Uni::Ignored),
            Kind::Control(place) => self.control(place, varint, input),
            Kind::Encoder => {
                let count = instructions::encoder(input)?;
                self.spend(count)
            }
            Kind::Decoder(reader) => {
                let count = reader.read(input)?;
                self.spend(count)
            }
        }
    }

    /// The peer ended or reset a stream.
    ///
    /// # Errors
    /// [`Code::ClosedCriticalStream`] for those that a connection needs.
    pub fn ended(&mut self, stream: &UniStream) -> Result<(), Fault> {
        match stream.kind {
            Kind::Control(_) | Kind::Encoder | Kind::Decoder(_) => {
                Err(Fault::Connection(Code::ClosedCriticalStream))
            }
            Kind::New => self.spend(UNKNOWN_STREAM).map(|_| ()),
            Kind::Unknown => Ok(()),
        }
    }

    fn open(&mut self, kind: u64) -> Result<Kind, Fault> {
        let (bit, kind) = match kind {
            TYPE_CONTROL => (1, Kind::Control(Place::Type)),
            TYPE_ENCODER => (2, Kind::Encoder),
            TYPE_DECODER => (4, Kind::Decoder(DecoderReader::default())),
            TYPE_PUSH => return Err(Fault::Connection(Code::StreamCreationError)),
            _ => {
                self.spend(UNKNOWN_STREAM)?;
                return Ok(Kind::Unknown);
            }
        };
        if self.opened & bit != 0 {
            return Err(Fault::Connection(Code::StreamCreationError));
        }
        self.opened |= bit;
        Ok(kind)
    }

    fn spend(&mut self, units: u64) -> Result<Uni, Fault> {
        self.budget = self
            .budget
            .checked_sub(units)
            .ok_or(Fault::Connection(Code::ExcessiveLoad))?;
        Ok(Uni::Reading)
    }

    fn control(
        &mut self,
        place: &mut Place,
        varint: &mut VarintReader,
        mut input: &[u8],
    ) -> Result<Uni, Fault> {
        loop {
            match place {
                Place::Type => match varint.read(&mut input) {
                    Some(kind) => *place = Place::Length { kind },
                    None => return Ok(Uni::Reading),
                },
                Place::Length { kind } => match varint.read(&mut input) {
                    Some(length) => *place = self.begin(*kind, length)?,
                    None => return Ok(Uni::Reading),
                },
                Place::Settings(reader) => match reader.read(&mut input)? {
                    Some(settings) => {
                        self.settings = Some(settings);
                        *place = Place::Type;
                    }
                    None => return Ok(Uni::Reading),
                },
                Place::Id { kind, left } => {
                    let mut part = cut(&mut input, left);
                    let id = varint.read(&mut part);
                    // The integer and the frame end together.
                    let ends = *left == 0 && part.is_empty();
                    let Some(id) = id.filter(|_| ends) else {
                        if id.is_some() || *left == 0 {
                            return Err(Fault::Connection(Code::FrameError));
                        }
                        return Ok(Uni::Reading);
                    };
                    self.take_id(*kind, id)?;
                    *place = Place::Type;
                }
                Place::Unknown { left } => {
                    cut(&mut input, left);
                    if *left > 0 {
                        return Ok(Uni::Reading);
                    }
                    *place = Place::Type;
                }
            }
        }
    }

    /// A frame begins: whether it may stand here and be so long.
    fn begin(&mut self, kind: u64, length: u64) -> Result<Place, Fault> {
        let settled = self.settings.is_some();
        match kind {
            frame::SETTINGS if !settled => {
                let reader = SettingsReader::new(length)?;
                Ok(Place::Settings(Box::new(reader)))
            }
            _ if !settled => Err(Fault::Connection(Code::MissingSettings)),
            frame::GOAWAY | frame::MAX_PUSH_ID | frame::CANCEL_PUSH => {
                self.spend(1)?;
                if !(1..=8).contains(&length) {
                    return Err(Fault::Connection(Code::FrameError));
                }
                Ok(Place::Id { kind, left: length })
            }
            frame::SETTINGS | frame::DATA | frame::HEADERS | frame::PUSH_PROMISE => {
                Err(Fault::Connection(Code::FrameUnexpected))
            }
            kind if frame::is_reserved(kind) => Err(Fault::Connection(Code::FrameUnexpected)),
            _ => {
                self.spend(1 + length / BYTES_A_UNIT)?;
                Ok(Place::Unknown { left: length })
            }
        }
    }

    fn take_id(&mut self, kind: u64, id: u64) -> Result<(), Fault> {
        match kind {
            // It may be repeated with an id that is not above the last one.
            frame::GOAWAY => {
                if self.goaway.is_some_and(|before| id > before) {
                    return Err(ID_ERROR);
                }
                self.goaway = Some(id);
                Ok(())
            }
            frame::MAX_PUSH_ID => {
                if self.max_push.is_some_and(|before| id < before) {
                    return Err(ID_ERROR);
                }
                self.max_push = Some(id);
                Ok(())
            }
            // Nothing was promised that could be cancelled.
            _ => Err(ID_ERROR),
        }
    }
}

/// Takes what of `left` bytes is there.
fn cut<'a>(input: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let len = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    let (part, rest) = input.split_at(len);
    *input = rest;
    *left -= len as u64;
    part
}

/// Appends what our control stream begins with: its type and our settings.
pub fn write_control_opening(limits: &HeadLimits, out: &mut Vec<u8>) {
    varint::write(TYPE_CONTROL, out);
    settings::write(limits, out);
}

/// Appends a GOAWAY: no request stream with this id or a higher one is or will
/// be handled. A later one may only have a lower id.
pub fn write_goaway(stream: u64, out: &mut Vec<u8>) {
    let mut id = Vec::with_capacity(8);
    varint::write(stream, &mut id);
    varint::write(frame::GOAWAY, out);
    varint::write(id.len() as u64, out);
    out.extend_from_slice(&id);
}

#[cfg(test)]
mod tests;
