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
