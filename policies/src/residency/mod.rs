//! The gate before all preference: which regions the law allows.
//!
//! Promises: [`eligible`] is the only maker of [`Permitted`]; what is not
//! known is treated as the policy says of unknown places, never as the best
//! case; what a client says of itself can only make it stricter. Refuses: a
//! request for which no configured region is allowed, with the jurisdiction,
//! the rule and what would be needed.

mod build;
mod class;
mod classify;
mod compiled;
mod countries;
mod gate;
mod laws;
mod obligations;
mod raw;
mod set;
mod tiers;
mod transfer;
mod vouched;

pub(crate) use build::compile;
pub use class::DataClass;
pub use classify::{ClassSource, Classified, classify};
pub(crate) use classify::{CompiledClassify, compile_classify, header_class};
pub(crate) use compiled::CompiledResidency;
pub use compiled::{CrossBorder, Encryption, Jurisdiction, Storage};
pub(crate) use countries::CountrySet;
pub use gate::{Basis, Permitted, RefusalRule, ResidencyRefusal, Standing, eligible};
pub use obligations::{Obligation, Obligations};
pub(crate) use raw::{
    RawClassification, RawClassify, RawJurisdictions, RawKnownRegions, RawResidencySet, RawSwitch,
    RawUnknownLocation,
};
pub use set::RegionSet;
pub use transfer::{Transfer, TransferAsk, transfer};
pub use vouched::vouched;

#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
