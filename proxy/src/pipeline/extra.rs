//! Fields that the edge adds to a message: text in one reused buffer.

/// Fields added to one message at most.
const FIELDS_MAX: usize = 16;

/// Names and values, in the order in which they were added.
#[derive(Default)]
pub struct Extra {
    text: Vec<u8>,
    fields: [(&'static str, u32); FIELDS_MAX],
    count: usize,
}

impl Extra {
    /// Forgets all fields; keeps the buffer up to 4 KiB.
    pub fn clear(&mut self) {
        self.count = 0;
        self.text.clear();
        self.text.shrink_to(4_096);
    }

    /// Adds a field whose value `write` appends. More than the bound: the
    /// field is left out (there are fewer kinds than that).
    pub fn add(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(field) = self.fields.get_mut(self.count) {
            write(&mut self.text);
            *field = (name, u32::try_from(self.text.len()).unwrap_or(u32::MAX));
            self.count += 1;
        }
    }

    /// The same, if `write` says that there is one; it appends nothing else.
    pub fn add_if(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        if let Some(field) = self.fields.get_mut(self.count)
            && write(&mut self.text)
        {
            *field = (name, u32::try_from(self.text.len()).unwrap_or(u32::MAX));
            self.count += 1;
        }
    }

    /// Adds a field with this value.
    pub fn push(&mut self, name: &'static str, value: &[u8]) {
        self.add(name, |text| text.extend_from_slice(value));
    }

    /// Gives the fields as slices to `read`.
    #[inline]
    pub fn with<R>(&self, read: impl FnOnce(&[(&'static str, &[u8])]) -> R) -> R {
        let mut slices: [(&'static str, &[u8]); FIELDS_MAX] = [("", &[]); FIELDS_MAX];
        let mut start = 0;
        for (slice, (name, end)) in slices.iter_mut().zip(&self.fields).take(self.count) {
            let end = *end as usize;
            *slice = (name, self.text.get(start..end).unwrap_or_default());
            start = end;
        }
        read(slices.get(..self.count).unwrap_or_default())
    }
}

/// Appends an unsigned number in decimal.
pub fn decimal(text: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        count += 1;
        if value == 0 {
            break;
        }
    }
    text.extend_from_slice(digits.get(20 - count..).unwrap_or_default());
}

/// Appends an address; IPv6 without brackets.
pub fn address(text: &mut Vec<u8>, ip: std::net::IpAddr) {
    match ip {
        std::net::IpAddr::V4(v4) => {
            for (place, octet) in v4.octets().into_iter().enumerate() {
                if place > 0 {
                    text.push(b'.');
                }
                decimal(text, u64::from(octet));
            }
        }
        std::net::IpAddr::V6(v6) => {
            use std::io::Write as _;
            // Writing to a Vec does not fail.
            let _ = write!(text, "{v6}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_what_display_says() {
        for value in [0, 7, 10, 999, u64::MAX] {
            let mut text = Vec::new();
            decimal(&mut text, value);
            assert_eq!(text, value.to_string().as_bytes());
        }
        for ip in ["0.0.0.0", "192.0.2.255", "2001:db8::1"] {
            let mut text = Vec::new();
            address(&mut text, ip.parse().unwrap());
            assert_eq!(text, ip.as_bytes());
        }
    }

    #[test]
    fn fields_come_back_in_order() {
        let mut extra = Extra::default();
        extra.push("a", b"1");
        extra.push("b", b"");
        extra.push("c", b"22");
        let expected: [(&str, &[u8]); 3] = [("a", b"1"), ("b", b""), ("c", b"22")];
        extra.with(|fields| assert_eq!(fields, &expected));
    }

    #[test]
    fn more_than_the_bound_is_left_out() {
        let mut extra = Extra::default();
        (0..=FIELDS_MAX).for_each(|_| extra.push("a", b"1"));
        extra.with(|fields| assert_eq!(fields.len(), FIELDS_MAX));
    }
}
