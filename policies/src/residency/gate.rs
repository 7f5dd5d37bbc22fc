//! The gate itself.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::class::DataClass;
use super::classify::Classified;
use super::compiled::{Cell, CrossBorder, Jurisdiction, Switch};
use super::obligations::{Obligation, Obligations};
use super::set::RegionSet;
use crate::regions::Exposed;
use crate::stamp::Stamp;
use crate::{Facts, JurisdictionIndex, RegionIndex, Route, Snapshot};

/// The regions that may serve one request. Only [`eligible`] makes one, only
/// from it comes a choice of region, and only with the snapshot that made it.
///
/// It can be asked and copied:
///
/// ```
/// use meridian_policies::residency::{Permitted, RegionSet};
/// use meridian_policies::{DataClass, Snapshot};
///
/// fn law(permit: &Permitted, _: &Snapshot, _: DataClass) -> RegionSet {
///     let copy: Permitted = *permit;
///     *copy.law()
/// }
/// ```
///
/// It cannot be made of parts, widened, or taken from a default:
///
/// ```compile_fail,E0451
/// use meridian_policies::residency::{Permitted, RegionSet};
///
/// fn widened(permit: Permitted) -> Permitted {
///     Permitted { law: RegionSet::first(512), ..permit }
/// }
/// ```
///
/// ```compile_fail,E0616
/// use meridian_policies::residency::{Permitted, RegionSet};
///
/// fn widened(mut permit: Permitted) -> Permitted {
///     permit.law = RegionSet::first(512);
///     permit
/// }
/// ```
///
/// ```compile_fail,E0624
/// use meridian_policies::residency::Permitted;
/// use meridian_policies::DataClass;
///
/// fn made(of: &Permitted) -> Permitted {
///     Permitted::nothing(todo!(), of.class())
/// }
/// ```
///
/// ```compile_fail,E0277
/// use meridian_policies::residency::Permitted;
///
/// fn by_default<T: Default>() -> T {
///     T::default()
/// }
/// let _: Permitted = by_default();
/// ```
///
/// ```compile_fail,E0277
/// use meridian_policies::residency::Permitted;
///
/// fn read<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Option<T> {
///     serde_json::from_str(text).ok()
/// }
/// let _: Option<Permitted> = read("{}");
/// ```
#[derive(Copy, Clone, Debug)]
pub struct Permitted {
    stamp: Stamp,
    law: RegionSet,
    own: RegionSet,
    conditional: RegionSet,
    route: Option<RegionSet>,
    always: Obligations,
    burdened: RegionSet,
    burden: Obligations,
    class: DataClass,
    jurisdiction: Option<JurisdictionIndex>,
}

/// How a region stands to the client's jurisdiction.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// One of the jurisdiction's own.
    Own,
    /// Across the border, without a condition.
    Allowed,
    /// Across the border, by consent or with an obligation.
    Conditional,
}

impl Permitted {
    /// What the law allows, before the route's own constraint and before
    /// health.
    pub fn law(&self) -> &RegionSet {
        &self.law
    }

    /// What law and route allow.
    pub fn regions(&self) -> RegionSet {
        self.route.map_or(self.law, |route| self.law.and(&route))
    }

    /// Whether the law allows a region.
    #[inline]
    pub fn allows(&self, region: RegionIndex) -> bool {
        self.law.contains(region)
    }

    /// Whether the route takes a region; it says nothing of the law.
    #[inline]
    pub fn in_route(&self, region: RegionIndex) -> bool {
        self.route.is_none_or(|route| route.contains(region))
    }

    /// How a region stands to the client's jurisdiction; `None` where the law
    /// does not allow it. With residency off, every region is `Own`.
    #[inline]
    pub fn standing(&self, region: RegionIndex) -> Option<Standing> {
        if !self.law.contains(region) {
            None
        } else if self.own.contains(region) {
            Some(Standing::Own)
        } else if self.conditional.contains(region) {
            Some(Standing::Conditional)
        } else {
            Some(Standing::Allowed)
        }
    }

    /// Whether serving from a region carries data across a border. A client
    /// of a jurisdiction without own regions is always served across one.
    pub fn crosses_border(&self, region: RegionIndex) -> bool {
        self.jurisdiction.is_some() && !self.own.contains(region)
    }

    /// What must be done when a region serves.
    pub fn obligations(&self, region: RegionIndex) -> Obligations {
        if self.burdened.contains(region) {
            self.always.and(self.burden)
        } else {
            self.always
        }
    }

    /// Whether the data must be encrypted in transit, wherever it goes.
    #[inline]
    pub fn must_be_encrypted(&self) -> bool {
        self.always.contains(Obligation::EncryptionInTransit)
    }

    /// Whether it was made by this snapshot: only there does it say anything.
    #[inline]
    pub fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.stamp == snapshot.stamp
    }

    /// The class of the data.
    pub fn class(&self) -> DataClass {
        self.class
    }

    /// The client's jurisdiction; `None` with residency off.
    pub fn jurisdiction(&self) -> Option<JurisdictionIndex> {
        self.jurisdiction
    }
}

/// What lets data cross a border.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The law does not speak of data of this class.
    NotProtected,
    /// The law of the other place was found adequate.
    Adequacy,
    /// The law lets it go, as far as the class goes.
    Allowed,
    /// The person consented.
    Consent,
    /// Safeguards: an obligation.
    Safeguards,
    /// A copy stays at home: an obligation.
    LocalCopy,
}

impl Basis {
    /// Stable name, for the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotProtected => "not_protected",
            Self::Adequacy => "adequacy",
            Self::Allowed => "allowed",
            Self::Consent => "consent",
            Self::Safeguards => "safeguards",
            Self::LocalCopy => "local_copy",
        }
    }
}

/// Why no region may serve.
#[derive(Clone, Debug)]
pub struct ResidencyRefusal {
    /// The client's jurisdiction.
    pub jurisdiction: JurisdictionIndex,
    /// The class of the data.
    pub class: DataClass,
    /// The rule that leaves no region.
    pub rule: RefusalRule,
    law: Arc<Jurisdiction>,
}

/// The rule that leaves no region.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalRule {
    /// Data may not leave, and none of the jurisdiction's own regions is
    /// configured.
    NoOwnRegion,
    /// Data may not leave, and the jurisdiction has no region at all.
    Prohibited,
    /// Data may leave with consent, and none was given.
    ConsentMissing,
    /// Regions that the law would allow are not configured.
    NotConfigured,
    /// The route's `regions` and the law have none in common.
    RouteConstraint,
    /// The data must be encrypted in transit, and every region that it may go
    /// to is spoken to in plain text.
    Plaintext,
}

impl RefusalRule {
    /// Stable name, for receipts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoOwnRegion => "no_own_region",
            Self::Prohibited => "prohibited",
            Self::ConsentMissing => "consent_missing",
            Self::NotConfigured => "not_configured",
            Self::RouteConstraint => "route_constraint",
            Self::Plaintext => "plaintext",
        }
    }
}

impl ResidencyRefusal {
    /// What would make it pass, one phrase.
    pub fn needed(&self) -> String {
        let own = self.law.own_names.join(" or ");
        match self.rule {
            RefusalRule::NoOwnRegion => format!("a configured region among {own}"),
            RefusalRule::Prohibited => {
                format!("data of a class laxer than {}", self.law.protects.as_str())
            }
            RefusalRule::ConsentMissing if own.is_empty() => {
                "consent, vouched for by a verified token or a trusted hop".to_owned()
            }
            RefusalRule::ConsentMissing => format!(
                "consent, vouched for by a verified token or a trusted hop, or a configured region among {own}"
            ),
            RefusalRule::NotConfigured => "a configured region that the law allows".to_owned(),
            RefusalRule::RouteConstraint => {
                "a region that both the route and the law allow".to_owned()
            }
            RefusalRule::Plaintext => {
                "an `https://` endpoint, or its network in `plaintext_upstreams.mesh`".to_owned()
            }
        }
    }

    /// The law, e.g. `GDPR`; the jurisdiction's id where it has no name.
    pub fn regulation(&self) -> &str {
        self.law.regulation.as_deref().unwrap_or(&self.law.id)
    }
}

impl fmt::Display for ResidencyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, law) = (self.class.as_str(), &self.law);
        write!(f, "{class} from jurisdiction `{}`", law.id)?;
        if let Some(regulation) = &law.regulation {
            write!(f, " ({regulation})")?;
        }
        match self.rule {
            RefusalRule::NoOwnRegion => {
                write!(
                    f,
                    " may be processed only in {}, not configured here",
                    law.own_names.join(", ")
                )
            }
            RefusalRule::Prohibited => f.write_str(" may not be processed in any region"),
            RefusalRule::ConsentMissing => f.write_str(" may not leave it without consent"),
            RefusalRule::NotConfigured => f.write_str(" may go to no region configured here"),
            RefusalRule::RouteConstraint => f.write_str(" may go to no region of this route"),
            RefusalRule::Plaintext => {
                f.write_str(" must be encrypted in transit, and no endpoint that it may go to is")
            }
        }
    }
}

impl std::error::Error for ResidencyRefusal {}

/// Which regions the law allows for this request: the intersection of what the
/// client's jurisdiction and the data class allow.
///
/// # Errors
/// Law (and route) leave no region: status 451.
#[inline]
pub fn eligible(
    snapshot: &Snapshot,
    route: &Route,
    facts: &Facts<'_>,
    classified: Classified,
) -> Result<Permitted, ResidencyRefusal> {
    let residency = &snapshot.residency;
    let class = classified.class;
    match residency.switch {
        Switch::Off => Ok(Permitted {
            law: residency.every_region,
            own: residency.every_region,
            route: route.regions,
            ..Permitted::nothing(snapshot.stamp, class)
        }),
        Switch::On => {
            let index = residency.of(facts.location.country);
            let Some(law) = residency.jurisdiction(index) else {
                // A snapshot with residency on has at least one jurisdiction,
                // and every index is one of them.
                return Ok(Permitted::nothing(snapshot.stamp, class));
            };
            let exposed = snapshot.regions.exposed.as_deref();
            let nothing = Permitted::nothing(snapshot.stamp, class);
            by_law(&nothing, (index, law), facts).restricted(route, law, exposed)
        }
    }
}

fn by_law(
    nothing: &Permitted,
    (index, law): (JurisdictionIndex, &Jurisdiction),
    facts: &Facts<'_>,
) -> Permitted {
    let cell = law.cell(nothing.class);
    let claims = &facts.claims;
    let mut conditional = cell.burdened;
    if claims.consent.is_some() {
        conditional = conditional.or(&cell.consent);
    }
    Permitted {
        law: cell.own.or(&cell.free).or(&conditional),
        own: cell.own,
        conditional,
        always: met(cell.always, facts),
        burdened: cell.burdened,
        burden: met(cell.burden, facts),
        jurisdiction: Some(index),
        ..*nothing
    }
}

/// What is still to be done: what a token or a trusted hop vouches for is
/// done.
fn met(mut obligations: Obligations, facts: &Facts<'_>) -> Obligations {
    let claims = &facts.claims;
    if claims.consent.is_some() {
        obligations = obligations.without(Obligation::Consent);
    }
    if claims.safeguards.is_some() {
        obligations = obligations.without(Obligation::Safeguards);
    }
    if claims.purpose.is_some() {
        obligations = obligations.without(Obligation::Purpose);
    }
    obligations
}

impl Permitted {
    /// Permits no region.
    fn nothing(stamp: Stamp, class: DataClass) -> Self {
        Self {
            stamp,
            law: RegionSet::EMPTY,
            own: RegionSet::EMPTY,
            conditional: RegionSet::EMPTY,
            route: None,
            always: Obligations::NONE,
            burdened: RegionSet::EMPTY,
            burden: Obligations::NONE,
            class,
            jurisdiction: None,
        }
    }

    /// Whether data that must be encrypted could go in plain text only.
    fn is_exposed(&self, exposed: &Exposed) -> bool {
        let regions = self.regions();
        self.must_be_encrypted()
            && regions.without(&exposed.unsealed).is_empty()
            && !regions.and(&exposed.bare).is_empty()
    }

    fn restricted(
        mut self,
        route: &Route,
        law: &Arc<Jurisdiction>,
        exposed: Option<&Exposed>,
    ) -> Result<Self, ResidencyRefusal> {
        self.route = route.regions;
        let rule = if self.law.is_empty() {
            law.refusal_rule(self.class)
        } else if self.regions().is_empty() {
            RefusalRule::RouteConstraint
        } else if exposed.is_some_and(|exposed| self.is_exposed(exposed)) {
            RefusalRule::Plaintext
        } else {
            return Ok(self);
        };
        Err(ResidencyRefusal {
            // Made by a law: there is one.
            jurisdiction: self.jurisdiction.unwrap_or(JurisdictionIndex(0)),
            class: self.class,
            rule,
            law: Arc::clone(law),
        })
    }
}

impl Jurisdiction {
    #[expect(clippy::indexing_slicing, reason = "four classes, four cells")]
    pub(super) fn cell(&self, class: DataClass) -> &Cell {
        &self.cells[class.index()]
    }

    /// Why a class may go to no region.
    fn refusal_rule(&self, class: DataClass) -> RefusalRule {
        let prohibited = class >= self.protects && self.cross_border == CrossBorder::Prohibited;
        if !self.cell(class).consent.is_empty() {
            RefusalRule::ConsentMissing
        } else if prohibited && self.own_names.is_empty() {
            RefusalRule::Prohibited
        } else if self.own_names.is_empty() {
            RefusalRule::NotConfigured
        } else {
            RefusalRule::NoOwnRegion
        }
    }
}

impl Snapshot {
    /// What lets data go to a region across the border. `None`: the region is
    /// the jurisdiction's own, or not permitted, or residency is off.
    pub fn transfer_basis(&self, permitted: &Permitted, region: RegionIndex) -> Option<Basis> {
        if !permitted.allows(region) || !permitted.crosses_border(region) {
            return None;
        }
        let law = self.residency.jurisdiction(permitted.jurisdiction?)?;
        Some(if permitted.class < law.protects {
            Basis::NotProtected
        } else if permitted.burdened.contains(region) {
            if law
                .cell(permitted.class)
                .burden
                .contains(Obligation::LocalCopy)
            {
                Basis::LocalCopy
            } else {
                Basis::Safeguards
            }
        } else if permitted.conditional.contains(region) {
            Basis::Consent
        } else if law.cross_border == CrossBorder::WithAdequacy {
            Basis::Adequacy
        } else {
            Basis::Allowed
        })
    }

    /// Appends the value of `x-residency-obligations`: a dictionary (RFC 9651)
    /// of what is to be done when a region serves, e.g.
    /// `jurisdiction="eu", encryption_in_transit, retention="90_days"`.
    /// Appends nothing with residency off.
    pub fn write_obligations(&self, permitted: &Permitted, region: RegionIndex, out: &mut Vec<u8>) {
        let law = permitted
            .jurisdiction
            .and_then(|index| self.residency.jurisdiction(index));
        if let Some(law) = law {
            law.write_duties(permitted.class, permitted.obligations(region), out);
        }
    }
}
