//! One JSON text as it passes: whether it is an answer of JSON-RPC.

/// Longest key that is looked for.
const KEY_MAX: usize = 6;

/// Knows the keys of the outermost object. What is no JSON gives no answer, or
/// a wrong one; nothing but a word at the stream's end hangs on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Json {
    depth: u32,
    within: Within,
    /// The next string of the outermost object is a key.
    key: bool,
    text: [u8; KEY_MAX],
    length: usize,
    found: bool,
}

#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
enum Within {
    #[default]
    Structure,
    Text,
    /// Behind a backslash.
    Escape,
}

impl Json {
    /// The next bytes of the text.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match (self.within, byte) {
                (Within::Structure, byte) => self.structure(*byte),
                (Within::Text, b'"') => self.text_ends(),
                (Within::Text, b'\\') => {
                    self.within = Within::Escape;
                    self.text_byte(b'\\');
                }
                (Within::Text | Within::Escape, byte) => {
                    self.within = Within::Text;
                    self.text_byte(*byte);
                }
            }
        }
    }

    fn text_byte(&mut self, byte: u8) {
        if self.key && self.depth == 1 {
            if let Some(place) = self.text.get_mut(self.length) {
                *place = byte;
            }
            self.length = (self.length + 1).min(KEY_MAX + 1);
        }
    }

    fn text_ends(&mut self) {
        self.within = Within::Structure;
        if self.key && self.depth == 1 {
            self.key = false;
            let text = self.text.get(..self.length).unwrap_or_default();
            self.found |= matches!(text, b"result" | b"error");
        }
    }

    fn structure(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.within = Within::Text;
                self.length = 0;
            }
            b'{' => {
                self.depth = self.depth.saturating_add(1);
                self.key = self.depth == 1;
            }
            b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b',' if self.depth == 1 => self.key = true,
            _ => {}
        }
    }

    /// It was an object with a result or an error, to its end.
    pub(super) fn is_answer(&self) -> bool {
        self.found && self.depth == 0 && self.within == Within::Structure
    }
}
