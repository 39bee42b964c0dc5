//! What may have happened in a lesson: one forgery by one agency, or nothing at all.

use std::fs;
use std::path::Path;

use puente_model::{Minute, Purpose};
use puente_wire::proto::aside::Body;
use puente_wire::{PairBody, PairKind};

use super::super::cast::{AGENCIES, Agency, CA_DOJ, FGE_BC, FGR, TX_DPS};
use super::super::copies::{Copy, Placed};
use super::super::tamper::{
    change_asides, first_file, flip_entry, flip_tile, nothing_to_change, other_answer, other_period, rewrite,
    second_history, show_instead, swap, take_out,
};
use super::prepared::Prepared;
use crate::cli::Failure;

/// How far back an entry is dated, in minutes.
const BACK_MINUTES: u64 = 3 * 24 * 60;

/// What an agency did to the copies in a folder.
type Deed = fn(&Prepared, &'static Agency, &Path) -> Result<(), Failure>;

/// One forgery: what is done, and who can have done it.
#[derive(Clone, Copy)]
pub(super) struct Forgery {
    /// Who does it, one at a time.
    by: &'static [&'static Agency],
    deed: Deed,
}

/// What happened in one lesson.
#[derive(Clone, Copy)]
pub(super) enum Event {
    /// Nothing.
    Honest,
    /// This forgery, by this agency.
    Forged(&'static Forgery, &'static Agency),
}

impl Event {
    /// Everything that these forgeries allow, in a fixed order.
    pub(super) fn of(forgeries: &[&'static Forgery]) -> Vec<Self> {
        forgeries.iter().flat_map(|f| f.by.iter().map(|by| Self::Forged(f, by))).collect()
    }

    /// Does it to the copies in this folder.
    pub(super) fn happens(self, prepared: &Prepared, copies: &Path) -> Result<(), Failure> {
        match self {
            Self::Honest => Ok(()),
            Self::Forged(forgery, by) => (forgery.deed)(prepared, by, copies),
        }
    }
}

impl std::fmt::Debug for Event {
    /// Nothing of it: what happened is for the learner to find.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Event")
    }
}

const EVERYBODY: &[&Agency] = &[FGE_BC, FGR, TX_DPS, CA_DOJ];

/// A bit of an entry is changed in the copy.
pub(super) const BIT_OF_ENTRY: Forgery =
    Forgery { by: EVERYBODY, deed: |_, by, copies| flip_entry(&copies.join(by.folder())) };
/// A bit of a tile is changed in the copy.
pub(super) const BIT_OF_TILE: Forgery =
    Forgery { by: EVERYBODY, deed: |_, by, copies| flip_tile(&copies.join(by.folder())) };
/// Two entries of the copy are exchanged.
pub(super) const SWAPPED: Forgery = Forgery { by: EVERYBODY, deed: |_, by, copies| swap(&copies.join(by.folder())) };
/// A file of the copy is not there: nobody's guilt.
pub(super) const FILE_LACKS: Forgery = Forgery {
    by: EVERYBODY,
    deed: |_, by, copies| {
        let path = first_file(&copies.join(by.folder()), "tile/entries")?;
        // Every width of the same bundle.
        let folder = path.parent().ok_or_else(|| nothing_to_change("file"))?;
        fs::remove_dir_all(folder).map_err(|e| Failure::file(folder, &e))
    },
};
/// An older head is shown, as if nothing had come after.
pub(super) const OLDER: Forgery = Forgery {
    by: EVERYBODY,
    deed: |prepared, by, copies| show_instead(&prepared.before(by), &copies.join(by.folder())),
};
/// The asker takes an answer that it read out of its log.
pub(super) const ANSWER_DENIED: Forgery = Forgery {
    by: &[FGE_BC, TX_DPS],
    deed: |prepared, by, copies| {
        let dir = copies.join(by.folder());
        let answers = |p: &Placed| p.pair.kind() == PairKind::Answer && p.pair.to.as_str() == by.uri();
        let last = one_exchange(&dir, answers)?;
        take_out(&prepared.key(by)?, &dir, |p| answers(p) && p.pair.exchange() == Some(last))
    },
};
/// The holder takes a question, and all that came of it, out of its log.
pub(super) const QUESTION_HIDDEN: Forgery = Forgery {
    by: &[FGR, TX_DPS, CA_DOJ],
    deed: |prepared, by, copies| {
        let dir = copies.join(by.folder());
        let questions = |p: &Placed| p.pair.kind() == PairKind::Query && p.pair.to.as_str() == by.uri();
        let last = one_exchange(&dir, questions)?;
        take_out(&prepared.key(by)?, &dir, |p| p.pair.exchange() == Some(last))
    },
};
/// A second history is signed and shown to one partner.
pub(super) const TWO_HISTORIES: Forgery = Forgery {
    by: EVERYBODY,
    deed: |prepared, by, copies| {
        // Whoever has most to do with the culprit keeps the other head.
        let partner = if by.id == FGE_BC.id { TX_DPS } else { FGE_BC };
        second_history(&prepared.key(by)?, &copies.join(by.folder()), &copies.join(partner.folder()))
    },
};
/// An answer says something else than it did.
pub(super) const ANSWER_CHANGED: Forgery = Forgery {
    by: &[FGR, TX_DPS, CA_DOJ],
    deed: |prepared, by, copies| other_answer(&prepared.key(by)?, by, &copies.join(by.folder())),
};
/// A question has another purpose than it had.
pub(super) const PURPOSE_CHANGED: Forgery = Forgery {
    by: &[FGE_BC, FGR, TX_DPS],
    deed: |prepared, by, copies| {
        let query = |body: &PairBody| matches!(body, PairBody::Query { .. });
        rewrite(&prepared.key(by)?, by, &copies.join(by.folder()), query, |pair| {
            if let PairBody::Query { terms, .. } = &mut pair.body {
                terms.purpose = Purpose::CriminalInvestigation;
            }
        })
    },
};
/// A question is dated days before it was asked.
pub(super) const BACK_DATED: Forgery = Forgery {
    by: &[FGE_BC, FGR, TX_DPS],
    deed: |prepared, by, copies| {
        let query = |body: &PairBody| matches!(body, PairBody::Query { .. });
        rewrite(&prepared.key(by)?, by, &copies.join(by.folder()), query, |pair| {
            pair.minute = Minute(pair.minute.0.saturating_sub(BACK_MINUTES));
        })
    },
};
/// The root of a closed period is another.
pub(super) const PERIOD_CHANGED: Forgery = Forgery {
    by: EVERYBODY,
    deed: |prepared, by, copies| other_period(&prepared.key(by)?, by, &copies.join(by.folder())),
};
/// Content went out, and no receipt of the asker is kept for it.
pub(super) const NO_RECEIPT: Forgery = Forgery {
    by: &[TX_DPS],
    deed: |_, by, copies| {
        let dir = copies.join(by.folder());
        let copy = Copy::read(&dir)?;
        let released = copy.pairs().into_iter().find_map(|p| match p.pair.body {
            PairBody::Release { quoted, .. } => Some(quoted),
            _ => None,
        });
        let released = released.ok_or_else(|| nothing_to_change("release"))?;
        let receipt = |body: &Option<Body>| matches!(body, Some(Body::PeerReceipt(_)));
        change_asides(&dir, |aside| aside.leaf_hash != released.0 || !receipt(&aside.body))
    },
};
/// A receipt of the partner is made up.
pub(super) const FORGED_RECEIPT: Forgery = Forgery {
    by: EVERYBODY,
    deed: |_, by, copies| {
        let mut done = false;
        change_asides(&copies.join(by.folder()), |aside| {
            if let (false, Some(Body::PeerReceipt(text))) = (done, &mut aside.body) {
                done = spoil_signature(text);
            }
            true
        })?;
        if done { Ok(()) } else { Err(nothing_to_change("receipt")) }
    },
};
/// The escrow that an entry commits to is not handed over.
pub(super) const NO_ESCROW: Forgery = Forgery {
    by: EVERYBODY,
    deed: |_, by, copies| {
        let mut done = false;
        change_asides(&copies.join(by.folder()), |aside| {
            let goes = !done && matches!(aside.body, Some(Body::Escrow(_)));
            done |= goes;
            !goes
        })?;
        if done { Ok(()) } else { Err(nothing_to_change("escrow")) }
    },
};

/// Every forgery.
pub(super) const ALL: &[&Forgery] = &[
    &BIT_OF_ENTRY,
    &BIT_OF_TILE,
    &SWAPPED,
    &FILE_LACKS,
    &OLDER,
    &ANSWER_DENIED,
    &QUESTION_HIDDEN,
    &TWO_HISTORIES,
    &ANSWER_CHANGED,
    &PURPOSE_CHANGED,
    &BACK_DATED,
    &PERIOD_CHANGED,
    &NO_RECEIPT,
    &FORGED_RECEIPT,
    &NO_ESCROW,
];

/// The exchange of the last such entry.
fn one_exchange(dir: &Path, wanted: impl Fn(&Placed) -> bool) -> Result<puente_model::ExchangeId, Failure> {
    let pairs = Copy::read(dir)?.pairs();
    let found = pairs.iter().rev().filter(|p| wanted(p)).find_map(|p| p.pair.exchange());
    found.ok_or_else(|| nothing_to_change("exchange"))
}

/// Changes the last character of a receipt's signature that carries bits of it.
fn spoil_signature(text: &mut [u8]) -> bool {
    let end = text.iter().rposition(|b| !matches!(b, b'\n' | b'='));
    // Well inside the last line, so that it stays Base64 of the same length.
    match end.and_then(|end| end.checked_sub(20)).and_then(|at| text.get_mut(at)) {
        Some(byte) => {
            *byte = if *byte == b'A' { b'B' } else { b'A' };
            true
        }
        None => false,
    }
}

/// Everybody whose log is copied, in the order in which commands name them.
pub(super) fn everybody() -> impl Iterator<Item = &'static Agency> {
    AGENCIES.iter()
}
