//! Values of the static file with a rule of their own, checked while they are
//! read, so that a fault has its place.

use std::net::IpAddr;
use std::time::Duration;

use meridian_geo::IpNet;
use meridian_policies::yaml::{ByteSize, Span};
use serde::{Deserialize, Deserializer, de::Error as _};

/// A string with something in it.
#[derive(Clone)]
pub(super) struct Filled(pub(super) String);

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.trim().is_empty() {
            return Err(D::Error::custom("may not be empty"));
        }
        Ok(Self(text))
    }
}

/// A whole number from `LOW` to `HIGH`.
#[derive(Copy, Clone)]
pub(super) struct Within<const LOW: u64, const HIGH: u64>(pub(super) u64);

impl<const LOW: u64, const HIGH: u64> Default for Within<LOW, HIGH> {
    fn default() -> Self {
        Self(LOW)
    }
}

impl<'de, const LOW: u64, const HIGH: u64> Deserialize<'de> for Within<LOW, HIGH> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(from)?;
        if !(LOW..=HIGH).contains(&number) {
            return Err(D::Error::custom(format!(
                "{number} is not within {LOW} to {HIGH}"
            )));
        }
        Ok(Self(number))
    }
}

/// A number of bytes from `LOW` to `HIGH`.
#[derive(Copy, Clone)]
pub(super) struct Size<const LOW: u64, const HIGH: u64>(pub(super) u64);

impl<'de, const LOW: u64, const HIGH: u64> Deserialize<'de> for Size<LOW, HIGH> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let ByteSize(bytes) = ByteSize::deserialize(from)?;
        if !(LOW..=HIGH).contains(&bytes) {
            return Err(D::Error::custom(format!(
                "{bytes} bytes are not within {LOW} to {HIGH}"
            )));
        }
        Ok(Self(bytes))
    }
}

/// A span of time that may not be 0.
#[derive(Copy, Clone)]
pub(super) struct Positive(pub(super) Duration);

impl<'de> Deserialize<'de> for Positive {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Span(span) = Span::deserialize(from)?;
        if span.is_zero() {
            return Err(D::Error::custom(
                "a deadline of 0 would end everything; leave the key out for the default",
            ));
        }
        Ok(Self(span))
    }
}

/// A list of at most `MOST`.
pub(super) struct Bounded<T, const MOST: usize>(pub(super) Vec<T>);

impl<T, const MOST: usize> Default for Bounded<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let list = Vec::deserialize(from)?;
        if list.len() > MOST {
            return Err(D::Error::custom(format!(
                "{} entries; at most {MOST}",
                list.len()
            )));
        }
        Ok(Self(list))
    }
}

/// A network, or one address.
pub(super) struct Net(pub(super) IpNet);

impl<'de> Deserialize<'de> for Net {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let one = |_| text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(one).map(Self).map_err(|_| {
            D::Error::custom(format!(
                "`{text}` is not a network; write for example 10.0.0.0/8 or 2001:db8::/32"
            ))
        })
    }
}

/// `on` or `off`.
#[derive(Copy, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnOff {
    On,
    Off,
}

/// `200`, `2xx` or `200-399`; any when left out.
pub(super) struct Statuses(pub(super) u16, pub(super) u16);

impl Default for Statuses {
    fn default() -> Self {
        Self(100, 599)
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        statuses(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is not a status; write \"200\", \"2xx\" or \"200-399\""
            ))
        })
    }
}

fn statuses(text: &str) -> Option<Statuses> {
    if let Some(class) = text.strip_suffix("xx") {
        let class: u16 = class.parse().ok()?;
        return (1..=5)
            .contains(&class)
            .then(|| Statuses(class * 100, class * 100 + 99));
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to): (u16, u16) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (100 <= from && from <= to && to <= 599).then_some(Statuses(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_one_a_class_or_a_range() {
        for (text, from, to) in [("200", 200, 200), ("2xx", 200, 299), ("400-599", 400, 599)] {
            let Statuses(low, high) = statuses(text).unwrap();
            assert_eq!((low, high), (from, to), "{text}");
        }
        for text in ["", "xx", "6xx", "99", "600", "300-200", "200-", "ok"] {
            assert!(statuses(text).is_none(), "{text}");
        }
    }
}
