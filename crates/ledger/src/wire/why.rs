//! Reasons: stable codes, each with the fields that it carries.
//!
//! One table for both messages that give reasons, so that no code means two things; a [`Skip`] stands in either.

use pb::Why;

use super::*;
use crate::api::{Reason, Refusal};
use crate::chain::Skip;
use crate::entry::EntryError;

fn number(found: usize) -> u64 {
    found as u64
}

impl Why {
    fn code(code: u32) -> Self {
        Self { code, ..Self::default() }
    }

    fn named(code: u32, name: &impl ToString) -> Self {
        Self { code, name: name.to_string(), ..Self::default() }
    }

    fn counted(code: u32, expected: u64, found: u64) -> Self {
        Self { code, expected, found, ..Self::default() }
    }

    fn name<T>(&self) -> Read<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        name("why", &self.name)
    }

    fn size(&self, value: u64) -> Read<usize> {
        usize::try_from(value).map_err(|why| MessageError::Field { field: "why", why: why.to_string() })
    }
}

impl From<&Skip> for Why {
    fn from(skip: &Skip) -> Self {
        match skip {
            Skip::Malformed(_) => Self::code(1),
            Skip::OtherLedger(ledger) => Self::named(2, ledger),
            Skip::OtherIndex(index) => Self::counted(3, 0, *index),
            Skip::NotAProposer => Self::code(4),
            Skip::NotTheConvener(node) => Self::named(5, node),
            Skip::Epoch { expected, found } => Self::counted(6, *expected, *found),
            Skip::TimeGoesBack => Self::code(7),
            Skip::CharterGoesBack { governing, found } => {
                Self { code: 8, name: governing.to_string(), found_name: found.to_string(), ..Self::default() }
            }
            Skip::HolderNotAMember(node) => Self::named(9, node),
            Skip::NoMajority { holders, members } => Self::counted(10, number(*members), number(*holders)),
            Skip::NoHolderIn(nation) => Self::named(11, nation),
            Skip::NotTheNext(ledger) => Self::named(12, ledger),
        }
    }
}

impl TryFrom<&Why> for Skip {
    type Error = MessageError;

    fn try_from(why: &Why) -> Read<Self> {
        Ok(match why.code {
            1 => Self::Malformed(EntryError::Elsewhere),
            2 => Self::OtherLedger(why.name()?),
            3 => Self::OtherIndex(why.found),
            4 => Self::NotAProposer,
            5 => Self::NotTheConvener(why.name()?),
            6 => Self::Epoch { expected: why.expected, found: why.found },
            7 => Self::TimeGoesBack,
            8 => Self::CharterGoesBack { governing: why.name()?, found: name("why", &why.found_name)? },
            9 => Self::HolderNotAMember(why.name()?),
            10 => Self::NoMajority { holders: why.size(why.found)?, members: why.size(why.expected)? },
            11 => Self::NoHolderIn(why.name()?),
            12 => Self::NotTheNext(why.name()?),
            code => return Err(MessageError::Code(code)),
        })
    }
}

impl From<&Reason> for Why {
    fn from(reason: &Reason) -> Self {
        match reason {
            Reason::NotHeld(skip) => skip.into(),
            Reason::NotAMember(node) => Self::named(20, node),
            Reason::NotTheConvener(node) => Self::named(21, node),
            Reason::Future { expected, found } => Self::counted(22, *expected, *found),
            Reason::TooLarge { found } => Self::counted(23, 0, number(*found)),
            Reason::Busy => Self::code(24),
            Reason::Spent => Self::code(25),
        }
    }
}

impl TryFrom<&Why> for Reason {
    type Error = MessageError;

    fn try_from(why: &Why) -> Read<Self> {
        Ok(match why.code {
            20 => Self::NotAMember(why.name()?),
            21 => Self::NotTheConvener(why.name()?),
            22 => Self::Future { expected: why.expected, found: why.found },
            23 => Self::TooLarge { found: why.size(why.found)? },
            24 => Self::Busy,
            25 => Self::Spent,
            _ => Self::NotHeld(why.try_into()?),
        })
    }
}

impl From<&Refusal> for Why {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Skip(skip) => skip.into(),
            Refusal::NotTheConvener(node) => Self::named(40, node),
            Refusal::Unseated(node) => Self::named(41, node),
            Refusal::Elsewhere { ledger, size } => Self { expected: *size, ..Self::named(42, ledger) },
            Refusal::Unsettled => Self::code(43),
            Refusal::Charter(vector) => Self::named(44, vector),
            Refusal::Clock { off } => Self::counted(45, 0, *off),
            Refusal::Head => Self::code(46),
            Refusal::NeverHeld => Self::code(47),
            Refusal::NotSilent(millis) => Self::counted(48, 0, *millis),
            Refusal::TooLarge { found } => Self::counted(49, 0, number(*found)),
        }
    }
}

impl TryFrom<&Why> for Refusal {
    type Error = MessageError;

    fn try_from(why: &Why) -> Read<Self> {
        Ok(match why.code {
            40 => Self::NotTheConvener(why.name()?),
            41 => Self::Unseated(why.name()?),
            42 => Self::Elsewhere { ledger: why.name()?, size: why.expected },
            43 => Self::Unsettled,
            44 => Self::Charter(why.name()?),
            45 => Self::Clock { off: why.found },
            46 => Self::Head,
            47 => Self::NeverHeld,
            48 => Self::NotSilent(why.found),
            49 => Self::TooLarge { found: why.size(why.found)? },
            _ => Self::Skip(why.try_into()?),
        })
    }
}
