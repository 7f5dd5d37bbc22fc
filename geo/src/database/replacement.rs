//! May this database take the place of that one?

use super::{DatabaseInfo, Detail, Families};

/// A replacement has at least one part in this many of the old one's nodes: a
/// build that lost half of the world is a broken build.
const SHRINK_MAX: u32 = 2;

/// Why a database may not replace the one in use.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
pub enum ReplacementError {
    /// Built before the one in use.
    #[error("built {by} s before the database in use")]
    Older {
        /// Seconds between the builds.
        by: u64,
    },
    /// The one in use knows cities.
    #[error("knows {new:?} only, the database in use knows {old:?}")]
    LessDetail {
        /// What the database in use knows.
        old: Detail,
        /// What the replacement knows.
        new: Detail,
    },
    /// The one in use knows IPv6.
    #[error("has no IPv6 addresses, the database in use has")]
    FewerFamilies,
    /// Less than half of the one in use.
    #[error("has {new} nodes, less than half of the {old} in use")]
    Shrunk {
        /// Nodes in use.
        old: u32,
        /// Nodes of the replacement.
        new: u32,
    },
}

/// Whether `new`, already opened and probed, may replace `old`. The same
/// build again is fine (a reload of an unchanged file).
pub fn accept_replacement(old: &DatabaseInfo, new: &DatabaseInfo) -> Result<(), ReplacementError> {
    if new.built < old.built {
        return Err(ReplacementError::Older {
            by: old.built - new.built,
        });
    }
    if new.detail < old.detail {
        return Err(ReplacementError::LessDetail {
            old: old.detail,
            new: new.detail,
        });
    }
    if (old.families, new.families) == (Families::V4AndV6, Families::V4) {
        return Err(ReplacementError::FewerFamilies);
    }
    if new.nodes < old.nodes.div_ceil(SHRINK_MAX) {
        return Err(ReplacementError::Shrunk {
            old: old.nodes,
            new: new.nodes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Schema;

    fn city_database() -> DatabaseInfo {
        DatabaseInfo {
            name: "city".to_owned(),
            schema: Schema::Flat,
            detail: Detail::City,
            families: Families::V4AndV6,
            built: 1_700_000_000,
            max_age: None,
            nodes: 1_001,
            kind: String::new(),
            fingerprint: 1,
        }
    }

    #[test]
    fn a_newer_build_and_the_same_build_are_accepted() {
        let old = city_database();
        assert_eq!(accept_replacement(&old, &old), Ok(()));
        let newer = DatabaseInfo {
            built: old.built + 1,
            nodes: 501,
            ..old.clone()
        };
        assert_eq!(accept_replacement(&old, &newer), Ok(()));
    }

    #[test]
    fn an_older_build_is_refused() {
        let old = city_database();
        let older = DatabaseInfo {
            built: old.built - 5,
            ..old.clone()
        };
        assert_eq!(
            accept_replacement(&old, &older),
            Err(ReplacementError::Older { by: 5 })
        );
    }

    #[test]
    fn a_poorer_database_is_refused_however_new() {
        let old = city_database();
        let built = old.built + 86_400;
        let countries = DatabaseInfo {
            detail: Detail::Country,
            built,
            ..old.clone()
        };
        let v4_only = DatabaseInfo {
            families: Families::V4,
            built,
            ..old.clone()
        };
        let halved = DatabaseInfo {
            nodes: 500,
            built,
            ..old.clone()
        };
        assert_eq!(
            accept_replacement(&old, &countries),
            Err(ReplacementError::LessDetail {
                old: Detail::City,
                new: Detail::Country
            })
        );
        assert_eq!(
            accept_replacement(&old, &v4_only),
            Err(ReplacementError::FewerFamilies)
        );
        assert_eq!(
            accept_replacement(&old, &halved),
            Err(ReplacementError::Shrunk {
                old: 1_001,
                new: 500
            })
        );
    }
}
