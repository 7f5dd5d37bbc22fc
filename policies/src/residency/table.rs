//! The published table, as it is published, held against the shipped policy.

use std::collections::BTreeSet;

use super::tests::{gate, with_consent};
use super::{Basis, DataClass, Obligation};
use crate::testing::{facts, head, shipped};
use crate::{Facts, RegionIndex, Snapshot};

/// Which regions serve, by the client's place and the class of the data. A
/// cell with `+` adds to the one before it, `the same` repeats it.
const TABLE: &str = "
| client in | tier_1_pii | tier_2_personal | tier_3_operational | tier_4_public |
|---|---|---|---|---|
| EU, EEA | europe-west1, europe-west4 | + europe-west2 (adequacy) | any | any |
| UK | europe-west2 | + europe-west1, europe-west4 | any | any |
| Switzerland | europe-west1, europe-west4 | + europe-west2 | any | any |
| US | us-central1, us-east1 | the same; elsewhere with consent | any | any |
| Brazil | southamerica-east1 | the same; elsewhere with safeguards (an obligation) | any | any |
| India | asia-south1 | the same; elsewhere with a local copy (an obligation) | any | any |
| Singapore | asia-southeast1 | asia-southeast1, asia-northeast1, asia-south1, australia-southeast1 | any | any |
| Japan | asia-northeast1 | the same; elsewhere with consent | any | any |
| Australia | australia-southeast1 | the same; elsewhere with consent | any | any |
| Israel | me-west1 | the same; elsewhere with consent | any | any |
| China, Russia | refused | refused | refused | any |
| anywhere else, unknown | refused | refused without consent | any | any |
";

/// Countries of a row: all of the unions, samples of the rest.
fn countries(place: &str) -> Vec<&'static str> {
    let eu = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE";
    match place {
        "EU" => eu.split(' ').collect(),
        "EEA" => vec!["IS", "LI", "NO"],
        "UK" => vec!["GB"],
        "Switzerland" => vec!["CH"],
        "US" => vec!["US", "PR", "VI", "GU", "AS", "MP"],
        "Brazil" => vec!["BR"],
        "India" => vec!["IN"],
        "Singapore" => vec!["SG"],
        "Japan" => vec!["JP"],
        "Australia" => vec!["AU"],
        "Israel" => vec!["IL"],
        "China" => vec!["CN"],
        "Russia" => vec!["RU"],
        "anywhere else" => vec![
            "CA", "MX", "AR", "ZA", "NG", "TR", "UA", "KR", "NZ", "HK", "TW",
        ],
        "unknown" => vec!["unknown"],
        other => panic!("no countries for `{other}`"),
    }
}

/// What a cell says.
#[derive(Clone, Debug, Default)]
struct Cell {
    /// Regions without a word of consent.
    regions: BTreeSet<String>,
    /// All the others once there is consent.
    consent: bool,
    /// All the others, with this to do.
    with: Option<Obligation>,
}

fn read(cell: &str, before: &Cell, all: &BTreeSet<String>) -> Cell {
    let names = |list: &str| -> BTreeSet<String> {
        let list = list.trim_end_matches("(adequacy)");
        list.split(',').map(|name| name.trim().to_owned()).collect()
    };
    let same = before.regions.clone();
    let (regions, consent, with) = match cell {
        "any" => (all.clone(), false, None),
        "refused" => (BTreeSet::new(), false, None),
        "refused without consent" => (BTreeSet::new(), true, None),
        "the same; elsewhere with consent" => (same, true, None),
        "the same; elsewhere with safeguards (an obligation)" => {
            (same, false, Some(Obligation::Safeguards))
        }
        "the same; elsewhere with a local copy (an obligation)" => {
            (same, false, Some(Obligation::LocalCopy))
        }
        list if list.starts_with("+ ") => (&same | &names(&list[2..]), false, None),
        list => (names(list), false, None),
    };
    Cell {
        regions,
        consent,
        with,
    }
}

struct Policy {
    snapshot: Snapshot,
    all: BTreeSet<String>,
}

impl Policy {
    fn id(&self, at: RegionIndex) -> String {
        self.snapshot.region(at).id.clone()
    }

    fn permitted(&self, facts: &Facts<'_>, class: DataClass) -> BTreeSet<String> {
        gate(&self.snapshot, facts, class)
            .map(|permitted| permitted.regions().iter().map(|at| self.id(at)).collect())
            .unwrap_or_default()
    }

    fn check(&self, country: &str, (class, cell): (DataClass, &Cell)) {
        let head = head("GET /v3/echo", &[]);
        let facts = facts(&head, country);
        let agreed = with_consent(&facts);
        let said = format!("{country} {class}");
        let without = self.permitted(&facts, class);
        let with = self.permitted(&agreed, class);
        match (cell.consent, cell.with) {
            (false, None) => {
                assert_eq!(without, cell.regions, "{said}");
                assert_eq!(with, cell.regions, "{said}: consent changes nothing");
            }
            (true, _) => {
                assert_eq!(without, cell.regions, "{said}");
                assert_eq!(with, self.all, "{said}: with consent");
                let permitted = gate(&self.snapshot, &agreed, class).unwrap();
                for at in permitted.regions().iter() {
                    let basis = self.snapshot.transfer_basis(&permitted, at);
                    let own = cell.regions.contains(&self.id(at));
                    assert_eq!(basis, (!own).then_some(Basis::Consent), "{said}");
                }
            }
            (false, Some(obligation)) => {
                assert_eq!(without, self.all, "{said}");
                let permitted = gate(&self.snapshot, &facts, class).unwrap();
                for at in permitted.regions().iter() {
                    let owed = permitted.obligations(at).contains(obligation);
                    assert_eq!(owed, !cell.regions.contains(&self.id(at)), "{said}");
                }
            }
        }
    }
}

#[test]
fn the_shipped_policy_gives_the_table_cell_by_cell() {
    let snapshot = shipped();
    let all: BTreeSet<String> = snapshot.regions().iter().map(|r| r.id.clone()).collect();
    assert_eq!(all.len(), 11);
    let policy = Policy { snapshot, all };
    let mut cells_checked = 0;
    for line in TABLE.trim().lines().skip(2) {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let places = cells.next().unwrap();
        let mut before = Cell::default();
        for (class, text) in [
            DataClass::Tier1Pii,
            DataClass::Tier2Personal,
            DataClass::Tier3Operational,
            DataClass::Tier4Public,
        ]
        .into_iter()
        .zip(cells)
        {
            before = read(text, &before, &policy.all);
            for country in places.split(", ").flat_map(countries) {
                policy.check(country, (class, &before));
                cells_checked += 1;
            }
        }
    }
    assert_eq!(
        cells_checked,
        4 * (27 + 3 + 1 + 1 + 6 + 1 + 1 + 1 + 3 + 2 + 12)
    );
}

/// Adequacy is what lets European data go to London, and nothing else does.
#[test]
fn what_goes_from_europe_to_london_goes_by_adequacy() {
    let snapshot = shipped();
    let head = head("GET /v3/echo", &[]);
    let facts = facts(&head, "DE");
    let permitted = gate(&snapshot, &facts, DataClass::Tier2Personal).unwrap();
    let london = snapshot.region_by_id("europe-west2").unwrap();
    let basis = snapshot.transfer_basis(&permitted, london);
    assert_eq!(basis, Some(Basis::Adequacy));
}
