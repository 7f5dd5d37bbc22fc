//! Short texts that need no memory of their own.

/// A request id: at most 64 bytes.
pub type ShortId = ShortText<64>;

/// A rule's name: at most 32 bytes.
pub type ShortName = ShortText<32>;

/// At most `N` bytes of text, in place. `N` is at most 255.
#[derive(Copy, Clone, Eq, PartialEq, Hash)]
pub struct ShortText<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Default for ShortText<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }
}

impl<const N: usize> ShortText<N> {
    /// The text, cut at the last whole character that fits.
    pub fn new(text: &str) -> Self {
        let mut short = Self::default();
        let len = text.floor_char_boundary(N.min(255));
        for (slot, byte) in short.bytes.iter_mut().zip(text.bytes().take(len)) {
            *slot = byte;
        }
        short.len = u8::try_from(len).unwrap_or(0);
        short
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl<const N: usize> std::fmt::Debug for ShortText<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_comes_back_as_it_was() {
        assert_eq!(
            ShortId::new("4bf92f3577b34da6").as_str(),
            "4bf92f3577b34da6"
        );
        assert_eq!(ShortId::new("").as_str(), "");
    }

    #[test]
    fn a_longer_one_is_cut_between_characters() {
        let long = "é".repeat(40);
        assert_eq!(ShortName::new(&long).as_str(), "é".repeat(16));
        assert_eq!(ShortText::<3>::new("aéé").as_str(), "aé");
        assert_eq!(ShortText::<2>::new("aéé").as_str(), "a");
    }
}
