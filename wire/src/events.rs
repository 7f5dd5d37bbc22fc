//! Event streams (`text/event-stream`) as they pass: where a word may be added
//! when their source breaks off.
//!
//! Promises: a few bytes of state, linear time, the same however the bytes are
//! cut. What is appended never becomes part of an event that was begun, and
//! that one is never taken for a whole message. Refuses: to change a byte that
//! has passed.

mod json;

use self::json::Json;

/// Longest name of a field that has a meaning.
const NAME_MAX: usize = 5;

/// Follows one stream of JSON-RPC messages in events.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    place: Place,
    name: ([u8; NAME_MAX], usize),
    /// A field of the next event has come.
    begun: bool,
    id: bool,
    json: Json,
    answered: bool,
}

/// Where in a line the stream is.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
enum Place {
    /// Nothing of the line has come.
    #[default]
    Start,
    /// The same, and a line feed would belong to the last line.
    AfterCr,
    /// In the name of a field.
    Name,
    /// In a message.
    Data,
    /// Before the id of an event: its value, or the space before it.
    Id,
    /// In what has no meaning here.
    Other,
}

impl Follower {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes of the stream.
    pub fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            match self.place {
                Place::Data | Place::Other => {
                    let line = bytes.iter().position(|byte| is_end(*byte));
                    let (part, rest) = bytes.split_at(line.unwrap_or(bytes.len()));
                    if self.place == Place::Data {
                        self.json.read(part);
                    }
                    bytes = rest.split_first().map_or(rest, |(end, rest)| {
                        self.line_ends(*end);
                        rest
                    });
                }
                Place::Start | Place::AfterCr | Place::Name | Place::Id => {
                    self.byte(*first);
                    bytes = rest;
                }
            }
        }
    }

    fn byte(&mut self, byte: u8) {
        match self.place {
            Place::AfterCr if byte == b'\n' => self.place = Place::Start,
            Place::Start | Place::AfterCr if is_end(byte) => {
                self.event_ends();
                self.place = after(byte);
            }
            Place::Start | Place::AfterCr => {
                self.name = ([0; NAME_MAX], 0);
                self.place = Place::Name;
                self.name_byte(byte);
            }
            Place::Name if is_end(byte) => {
                // A field without a value.
                self.begin_value();
                self.line_ends(byte);
            }
            Place::Name => self.name_byte(byte),
            Place::Id if byte == b' ' => {}
            Place::Id if is_end(byte) => self.line_ends(byte),
            Place::Id => {
                self.id = true;
                self.place = Place::Other;
            }
            Place::Data | Place::Other => {}
        }
    }

    fn name_byte(&mut self, byte: u8) {
        let (name, length) = &mut self.name;
        if byte == b':' {
            self.begin_value();
        } else if let Some(place) = name.get_mut(*length) {
            *place = byte;
            *length += 1;
        } else {
            self.place = Place::Other;
        }
    }

    /// The name is complete.
    fn begin_value(&mut self) {
        let (name, length) = &self.name;
        self.place = match name.get(..*length).unwrap_or_default() {
            b"data" => Place::Data,
            b"id" => Place::Id,
            _ => Place::Other,
        };
        // A line that begins with a colon is a comment.
        self.begun |= *length > 0;
    }

    fn line_ends(&mut self, end: u8) {
        self.begun |= self.place == Place::Other && self.name.1 > 0;
        self.place = after(end);
    }

    fn event_ends(&mut self) {
        self.answered |= self.json.is_answer();
        self.json = Json::default();
        self.begun = false;
    }

    /// An event had an id: the client can ask for the rest elsewhere.
    pub fn is_resumable(&self) -> bool {
        self.id
    }

    /// A whole message was an answer: there is nothing left to wait for.
    pub fn has_answered(&self) -> bool {
        self.answered
    }

    /// Appends one message, after giving what was begun a type that no client
    /// of JSON-RPC reads. `message` has no line end.
    pub fn append(&self, message: &str, out: &mut Vec<u8>) {
        match self.place {
            Place::Start | Place::AfterCr => {}
            Place::Name | Place::Data | Place::Id | Place::Other => out.push(b'\n'),
        }
        let within = !matches!(self.place, Place::Start | Place::AfterCr);
        if self.begun || within {
            out.extend_from_slice(b"event: interrupted\n\n");
        }
        out.extend_from_slice(b"event: message\ndata: ");
        out.extend_from_slice(message.as_bytes());
        out.extend_from_slice(b"\n\n");
    }
}

const fn is_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

const fn after(end: u8) -> Place {
    if end == b'\r' {
        Place::AfterCr
    } else {
        Place::Start
    }
}

#[cfg(test)]
mod tests;
