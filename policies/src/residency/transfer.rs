//! Whether data may be moved from one region to another: the question of
//! backends that copy, archive or move what they hold.
//!
//! Asked of the law under which the source region stands, not of a client.

use serde::Serialize;

use super::class::DataClass;
use super::compiled::{Cell, CrossBorder, Jurisdiction, Switch};
use super::obligations::{Obligation, Obligations};
use crate::facts::Vouched;
use crate::{RegionIndex, Snapshot};

/// A transfer to be judged.
#[derive(Copy, Clone, Debug)]
pub struct TransferAsk {
    /// Where the data is.
    pub source: RegionIndex,
    /// Where it is to go.
    pub destination: RegionIndex,
    /// What it is.
    pub class: DataClass,
    /// Whether the person's consent is vouched for.
    pub consent: Option<Vouched>,
}

/// The verdict; the seed's five outcomes of `enforce_policy`. Ordered by
/// strictness: of several laws the strictest verdict holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transfer {
    /// Go ahead.
    Allowed,
    /// Go ahead with safeguards.
    WithSafeguards,
    /// Go ahead and keep a copy at the source.
    ReplicateAndTransfer,
    /// The laws of the two places do not fit together.
    IncompatibleRegulations,
    /// The law or the class forbids it.
    CrossBorderProhibited,
}

impl Transfer {
    /// Whether the data may go.
    pub const fn may_go(self) -> bool {
        match self {
            Self::Allowed | Self::WithSafeguards | Self::ReplicateAndTransfer => true,
            Self::IncompatibleRegulations | Self::CrossBorderProhibited => false,
        }
    }

    /// Stable name, snake case as in the seed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::WithSafeguards => "with_safeguards",
            Self::ReplicateAndTransfer => "replicate_and_transfer",
            Self::IncompatibleRegulations => "incompatible_regulations",
            Self::CrossBorderProhibited => "cross_border_prohibited",
        }
    }
}

/// Judges a transfer between two regions.
///
/// Every jurisdiction that counts the source among its own is asked, and the
/// strictest answer holds. A source that no jurisdiction claims comes under
/// the one of unknown places. With residency off everything is allowed.
pub fn transfer(snapshot: &Snapshot, ask: TransferAsk) -> Transfer {
    let residency = &snapshot.residency;
    match residency.switch {
        Switch::Off => Transfer::Allowed,
        Switch::On if ask.source == ask.destination => Transfer::Allowed,
        Switch::On => {
            let laws = residency.jurisdictions.iter().map(AsRef::as_ref);
            let claiming = laws.filter(|law: &&Jurisdiction| law.claims(ask.source));
            let strictest = claiming.map(|law| law.judge(ask)).max();
            let unknown = || {
                residency
                    .jurisdiction(residency.unknown)
                    .map(|law| law.judge(ask))
            };
            strictest
                .or_else(unknown)
                .unwrap_or(Transfer::CrossBorderProhibited)
        }
    }
}

impl Snapshot {
    /// The law that answers [`transfer`]: of those that count the source among
    /// their own the strictest, else that of unknown places. `None` with
    /// residency off.
    pub fn law_of_region(&self, ask: &TransferAsk) -> Option<&Jurisdiction> {
        let residency = &self.residency;
        match residency.switch {
            Switch::Off => None,
            Switch::On => {
                let laws = residency.jurisdictions.iter().map(AsRef::as_ref);
                let claiming = laws.filter(|law: &&Jurisdiction| law.claims(ask.source));
                claiming
                    .max_by_key(|law| law.judge(*ask))
                    .or_else(|| residency.jurisdiction(residency.unknown).map(AsRef::as_ref))
            }
        }
    }
}

impl Snapshot {
    /// Whether a transfer leaves the regions of the law that answers it. False
    /// with residency off.
    pub fn crosses_border(&self, ask: &TransferAsk) -> bool {
        self.law_of_region(ask)
            .is_some_and(|law| !law.cell(ask.class).own.contains(ask.destination))
    }

    /// What must be done along with a transfer; nothing where it may not be.
    pub fn transfer_obligations(&self, ask: &TransferAsk, outcome: Transfer) -> Obligations {
        let Some(law) = self.law_of_region(ask).filter(|_| outcome.may_go()) else {
            return Obligations::NONE;
        };
        let cell = law.cell(ask.class);
        let mut owed = if cell.burdened.contains(ask.destination) {
            cell.always.and(cell.burden)
        } else {
            cell.always
        };
        if ask.consent.is_some() {
            owed = owed.without(Obligation::Consent);
        }
        owed
    }
}

impl Jurisdiction {
    fn claims(&self, region: RegionIndex) -> bool {
        self.cells.iter().any(|cell| cell.own.contains(region))
    }

    fn judge(&self, ask: TransferAsk) -> Transfer {
        let cell = self.cell(ask.class);
        let to = ask.destination;
        if cell.own.contains(to) || cell.free.contains(to) {
            Transfer::Allowed
        } else if cell.burdened.contains(to) {
            burdened(cell.burden)
        } else if cell.consent.contains(to) && ask.consent.is_some() {
            Transfer::Allowed
        } else if cell.consent.contains(to) || self.lets_nothing_out(cell) {
            Transfer::CrossBorderProhibited
        } else {
            Transfer::IncompatibleRegulations
        }
    }

    /// Nothing may leave at all, as against: not to that place.
    fn lets_nothing_out(&self, cell: &Cell) -> bool {
        let nowhere = cell.free.or(&cell.burdened).or(&cell.consent).is_empty();
        nowhere || self.cross_border == CrossBorder::Prohibited
    }
}

fn burdened(burden: Obligations) -> Transfer {
    if burden.contains(Obligation::LocalCopy) {
        Transfer::ReplicateAndTransfer
    } else {
        Transfer::WithSafeguards
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{shipped, snapshot};

    fn judge(snapshot: &Snapshot, (from, to): (&str, &str), class: DataClass) -> Transfer {
        let region = |id| snapshot.region_by_id(id).unwrap();
        let ask = TransferAsk {
            source: region(from),
            destination: region(to),
            class,
            consent: None,
        };
        transfer(snapshot, ask)
    }

    #[test]
    fn the_shipped_policy_knows_five_outcomes() {
        let snapshot = shipped();
        let personal = DataClass::Tier2Personal;
        for (from, to, class, expected) in [
            (
                "europe-west1",
                "europe-west4",
                DataClass::Tier1Pii,
                Transfer::Allowed,
            ),
            ("europe-west1", "europe-west2", personal, Transfer::Allowed),
            (
                "europe-west1",
                "us-central1",
                DataClass::Tier3Operational,
                Transfer::Allowed,
            ),
            (
                "southamerica-east1",
                "us-central1",
                personal,
                Transfer::WithSafeguards,
            ),
            (
                "asia-south1",
                "europe-west1",
                personal,
                Transfer::ReplicateAndTransfer,
            ),
            (
                "europe-west1",
                "us-central1",
                personal,
                Transfer::IncompatibleRegulations,
            ),
            (
                "asia-southeast1",
                "us-central1",
                personal,
                Transfer::IncompatibleRegulations,
            ),
            (
                "europe-west1",
                "europe-west2",
                DataClass::Tier1Pii,
                Transfer::CrossBorderProhibited,
            ),
            (
                "us-central1",
                "europe-west1",
                personal,
                Transfer::CrossBorderProhibited,
            ),
            (
                "asia-south1",
                "asia-south1",
                DataClass::Tier1Pii,
                Transfer::Allowed,
            ),
        ] {
            let got = judge(&snapshot, (from, to), class);
            assert_eq!(got, expected, "{from} to {to}, {class}");
            assert_eq!(serde_json::to_value(got).unwrap(), got.as_str());
        }
    }

    #[test]
    fn consent_opens_what_waits_for_it_and_nothing_else() {
        let snapshot = shipped();
        let region = |id| snapshot.region_by_id(id).unwrap();
        let ask = |from, to, class| {
            let consent = Some(Vouched::Token);
            let ask = TransferAsk {
                source: region(from),
                destination: region(to),
                class,
                consent,
            };
            transfer(&snapshot, ask).may_go()
        };
        assert!(ask("us-central1", "europe-west1", DataClass::Tier2Personal));
        assert!(!ask("us-central1", "europe-west1", DataClass::Tier1Pii));
        assert!(!ask(
            "europe-west1",
            "us-central1",
            DataClass::Tier2Personal
        ));
    }

    #[test]
    fn the_strictest_law_of_a_shared_region_holds_and_unclaimed_ones_are_unknown() {
        let snapshot = snapshot(
            "jurisdictions:
  - { id: lax, countries: [DE], own_regions: [europe-west1], cross_border: allowed }
  - { id: strict, countries: [FR], own_regions: [europe-west1], cross_border: prohibited }
  - { id: rest, countries: ['*'], cross_border: with_consent }
",
        );
        let personal = DataClass::Tier2Personal;
        let prohibited = Transfer::CrossBorderProhibited;
        assert_eq!(
            judge(&snapshot, ("europe-west1", "europe-west2"), personal),
            prohibited
        );
        assert_eq!(
            judge(&snapshot, ("us-central1", "europe-west2"), personal),
            prohibited
        );
        let operational = DataClass::Tier3Operational;
        assert_eq!(
            judge(&snapshot, ("us-central1", "europe-west2"), operational),
            Transfer::Allowed
        );
    }

    #[test]
    fn residency_off_moves_everything() {
        let snapshot = snapshot("residency: off\n");
        let moved = judge(
            &snapshot,
            ("us-central1", "europe-west1"),
            DataClass::Tier1Pii,
        );
        assert_eq!(moved, Transfer::Allowed);
    }
}
