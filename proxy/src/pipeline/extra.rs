//! Numbers and addresses as text, without `fmt`.

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
}
