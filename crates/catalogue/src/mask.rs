use std::fmt;

use crate::codec::FIELD_NUMBER_MAX;

/// A set of field numbers of one record type (1 to 127).
///
/// Which record type a mask belongs to is not part of it: build it with
/// [`RecordType::mask_of`](crate::RecordType::mask_of) and use it with that type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FieldMask(u128);

impl FieldMask {
    /// No field.
    pub const EMPTY: Self = Self(0);

    /// The set of these numbers; `None` if one is not 1 to 127.
    pub fn from_numbers(numbers: impl IntoIterator<Item = u32>) -> Option<Self> {
        numbers
            .into_iter()
            .try_fold(Self::EMPTY, |mask, n| (1..=FIELD_NUMBER_MAX).contains(&n).then(|| Self(mask.0 | 1_u128 << n)))
    }

    /// With this number added; other numbers than 1 to 127 change nothing.
    #[must_use]
    pub const fn with(self, number: u32) -> Self {
        if number == 0 || number > FIELD_NUMBER_MAX { self } else { Self(self.0 | 1_u128 << number) }
    }

    /// Whether the number is in the set.
    pub const fn contains(self, number: u32) -> bool {
        number <= FIELD_NUMBER_MAX && self.0 >> number & 1 == 1
    }

    /// Numbers that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Numbers that are in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Numbers that are in this set only.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every number of this set is in the other.
    pub const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// How many numbers are in the set.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The numbers, ascending.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        (1..=FIELD_NUMBER_MAX).filter(move |n| self.contains(*n))
    }
}

impl fmt::Debug for FieldMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FieldMask")?;
        f.debug_set().entries(self.numbers()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_a_set_of_small_numbers() {
        let mask = FieldMask::from_numbers([1, 64, 127]).unwrap();
        assert_eq!(mask.numbers().collect::<Vec<_>>(), [1, 64, 127]);
        assert_eq!(mask.len(), 3);
        assert!(mask.contains(127) && !mask.contains(2) && !mask.contains(128) && !mask.contains(u32::MAX));
        assert_eq!(FieldMask::from_numbers([0]), None);
        assert_eq!(FieldMask::from_numbers([128]), None);
        assert_eq!(mask.with(128).with(0), mask);
        assert!(mask.and(FieldMask::EMPTY.with(64)).is_subset_of(mask));
        assert_eq!(mask.without(mask), FieldMask::EMPTY);
        assert_eq!(format!("{:?}", FieldMask::EMPTY.with(3)), "FieldMask{3}");
    }
}
