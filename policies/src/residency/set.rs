//! A set of regions: eight words.

use crate::RegionIndex;
use crate::compile::CompileContext;
use crate::regions::CompiledRegions;
use crate::yaml::Spanned;

/// A set of regions of one snapshot, of at most 512.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Hash)]
pub struct RegionSet([u64; 8]);

impl RegionSet {
    /// No region.
    pub const EMPTY: Self = Self([0; 8]);

    /// The first `count` regions, at most 512.
    pub fn first(count: usize) -> Self {
        (0_u16..512).take(count).map(RegionIndex).collect()
    }

    /// Adds a region; one past the bound is left out.
    pub fn insert(&mut self, region: RegionIndex) {
        if let Some(word) = self.0.get_mut(region.index() / 64) {
            *word |= 1 << (region.0 % 64);
        }
    }

    /// Whether it holds a region.
    #[inline]
    pub fn contains(&self, region: RegionIndex) -> bool {
        self.0
            .get(region.index() / 64)
            .is_some_and(|word| word >> (region.0 % 64) & 1 == 1)
    }

    /// Regions of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// Regions of either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// Regions of this and not of the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    /// Whether it holds none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// In the order of indices.
    pub fn iter(&self) -> impl Iterator<Item = RegionIndex> + '_ {
        (0_u16..512)
            .map(RegionIndex)
            .filter(|region| self.contains(*region))
    }

    fn zip(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        let mut out = *self;
        for (word, other) in out.0.iter_mut().zip(&other.0) {
            *word = join(*word, *other);
        }
        out
    }

    /// Reads a list of ids.
    pub(crate) fn compile(
        names: &[Spanned<String>],
        regions: &CompiledRegions,
        ctx: &mut CompileContext<'_>,
    ) -> Self {
        let mut set = Self::EMPTY;
        for name in names {
            match regions.index_of(&name.value) {
                Some(region) => set.insert(region),
                None => ctx.unknown(name.at, ("region", &name.value), regions.ids()),
            }
        }
        set
    }

    /// The ids, in the order of indices.
    pub(crate) fn names<'a>(&self, regions: &'a CompiledRegions) -> Vec<&'a str> {
        self.iter()
            .filter_map(|i| regions.all.get(i.index()))
            .map(|r| r.id.as_str())
            .collect()
    }
}

impl FromIterator<RegionIndex> for RegionSet {
    fn from_iter<I: IntoIterator<Item = RegionIndex>>(regions: I) -> Self {
        let mut set = Self::EMPTY;
        regions.into_iter().for_each(|region| set.insert(region));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_put_in_up_to_its_bound() {
        let set: RegionSet = [0, 63, 64, 511, 512, 9_999]
            .into_iter()
            .map(RegionIndex)
            .collect();
        assert_eq!(
            set.iter().map(|r| r.0).collect::<Vec<_>>(),
            [0, 63, 64, 511]
        );
        assert_eq!(set.len(), 4);
        assert!(!set.contains(RegionIndex(512)) && !set.contains(RegionIndex(65)));
        let low = RegionSet::first(64);
        assert_eq!(set.and(&low).len(), 2);
        assert_eq!(set.without(&low).len(), 2);
        assert_eq!(set.or(&low).len(), 66);
        assert!(RegionSet::EMPTY.is_empty() && RegionSet::first(0).is_empty());
        assert_eq!(RegionSet::first(9_999).len(), 512);
    }
}
