use proptest::prelude::*;

use super::*;
use crate::h3::testing::{FORMS, Form, field};

/// Name and value of each field.
#[derive(Debug, Default, Eq, PartialEq)]
struct Lines(Vec<(Vec<u8>, Vec<u8>)>);

impl Sink for Lines {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        self.0.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

fn read(input: &[u8], most: usize) -> Result<Lines, Fault> {
    let mut lines = Lines::default();
    section(input, most, &mut Scratch::default(), &mut lines)?;
    Ok(lines)
}

/// RFC 9204 B.1: a literal with a name of the static table.
#[test]
fn the_example_of_the_rfc_reads_as_stated() {
    let bytes = b"\0\0\x51\x0b/index.html";
    let lines = read(bytes, 100).unwrap();
    assert_eq!(lines.0, [(b":path".to_vec(), b"/index.html".to_vec())]);
}

#[test]
fn every_entry_of_the_static_table_is_read() {
    for (index, (name, value)) in table::ENTRIES.iter().enumerate() {
        let mut bytes = vec![0, 0];
        prefix::write(0xc0, 6, index, &mut bytes);
        prefix::write(0x50, 4, index, &mut bytes);
        bytes.extend_from_slice(&[1, b'v']);
        // The bit that forbids to index it further says nothing here.
        prefix::write(0x70, 4, index, &mut bytes);
        bytes.push(0);
        let name = name.as_bytes().to_vec();
        assert_eq!(
            read(&bytes, 1_000).unwrap().0,
            [
                (name.clone(), value.as_bytes().to_vec()),
                (name.clone(), b"v".to_vec()),
                (name, vec![]),
            ]
        );
    }
}

#[test]
fn the_size_of_a_section_counts_32_for_each_field() {
    let bytes = b"\0\0\x51\x01/\xd1";
    let most = (5 + 1 + 32) + (7 + 3 + 32);
    assert_eq!(read(bytes, most).unwrap().0.len(), 2);
    assert_eq!(read(bytes, most - 1), Err(Malformed::HeadTooLarge.into()));
}

#[test]
fn large_fields_do_not_stay_in_memory() {
    let mut bytes = vec![0, 0];
    field(b"x", &[b'a'; 10_000], Form::Coded, &mut bytes);
    let (mut scratch, mut lines) = (Scratch::default(), Lines::default());
    section(&bytes, 65_536, &mut scratch, &mut lines).unwrap();
    assert!(scratch.name.capacity() + scratch.value.capacity() <= 2 * KEPT);
}

fn vec() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..20)
}

proptest! {
    #[test]
    fn fields_read_as_written_in_every_form(
        fields in prop::collection::vec((vec(), vec()), 0..6),
    ) {
        for form in FORMS {
            let mut bytes = vec![0, 0];
            for (name, value) in &fields {
                field(name, value, form, &mut bytes);
            }
            prop_assert_eq!(read(&bytes, 1 << 20).map(|lines| lines.0), Ok(fields.clone()));
            // Cut anywhere it says less or nothing, and never something else.
            for len in 0..bytes.len() {
                if let Ok(lines) = read(&bytes[..len], 1 << 20) {
                    prop_assert!(fields.starts_with(&lines.0));
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes: Vec<u8>, most in 0_usize..1_000) {
        bytes.splice(..0, [0, 0]);
        if let Ok(lines) = read(&bytes, most) {
            let size: usize = lines.0.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
            prop_assert!(size <= most);
        }
    }
}
