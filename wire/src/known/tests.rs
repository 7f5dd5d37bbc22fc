use super::*;

#[test]
fn every_listed_name_is_found_by_its_text_and_nothing_else_is() {
    for known in Known::ALL {
        assert_eq!(Known::from_lower(known.as_str().as_bytes()), *known);
        let longer = format!("{}x", known.as_str());
        assert_eq!(Known::from_lower(longer.as_bytes()), Known::Other);
        let mut other = known.as_str().as_bytes().to_vec();
        for at in 0..other.len() {
            other[at] ^= 1;
            assert_ne!(Known::from_lower(&other), *known);
            other[at] ^= 1;
        }
    }
    assert_eq!(Known::from_lower(b""), Known::Other);
    assert_eq!(Known::Other.as_str(), "");
}

#[test]
fn a_set_holds_exactly_what_was_put_in() {
    let set = KnownSet::of(&[Known::Host, Known::RateLimitPolicy]);
    let inside: Vec<_> = Known::ALL
        .iter()
        .filter(|known| set.contains(**known))
        .collect();
    assert_eq!(inside, [&Known::Host, &Known::RateLimitPolicy]);
    assert!(set.meets(KnownSet::EMPTY.with(Known::Host)));
    assert!(!set.meets(KnownSet::of(&[Known::Via])) && !set.meets(KnownSet::EMPTY));
}

#[test]
fn a_look_at_a_line_finds_the_short_names_in_any_case_and_no_others() {
    use crate::names::look;
    for known in Known::ALL {
        let lower = known.as_str();
        for name in [lower.to_owned(), lower.to_ascii_uppercase()] {
            let line = format!("{name}: 0123456789abcdef\r\n");
            let found = look(line.as_bytes()).map(|found| (found.known, found.len));
            assert_eq!(
                found,
                (lower.len() < 16).then_some((*known, lower.len())),
                "{name}"
            );
            for (at, _) in name.char_indices() {
                for bit in 0..8 {
                    let mut other = line.clone().into_bytes();
                    other[at] ^= 1 << bit;
                    let same = other.eq_ignore_ascii_case(line.as_bytes());
                    let found = look(&other).is_some_and(|found| found.known == *known);
                    assert_eq!(found, same && lower.len() < 16, "{name} bit {bit} of {at}");
                }
            }
        }
    }
    for line in [
        ": 0123456789abcdef\r\n",
        "0123456789abcdefgh: i\r\n",
        "x: 0123456789abcdef\r\n",
    ] {
        assert!(look(line.as_bytes()).is_none(), "{line}");
    }
}
