use std::collections::BTreeSet;

use puente_model::{AgencyId, Handling, LegalBasisId, Mode, Purpose, QueryKind, Role, Step, Urgency};

/// The longest offence code that a rule may be asked about, in characters.
pub const OFFENCE_CHARS_MAX: usize = 64;

/// Which side of an exchange judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The asker's node: may this officer ask this. Cedar action `ask`.
    Outbound,
    /// The holder's node: may this be answered, with which fields. Cedar action `answer`.
    Inbound,
}

impl Direction {
    /// Both, outbound first.
    pub const ALL: &'static [Self] = &[Self::Outbound, Self::Inbound];

    /// The stable text: `outbound` or `inbound`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }

    pub(crate) const fn action(self) -> &'static str {
        match self {
            Self::Outbound => "ask",
            Self::Inbound => "answer",
        }
    }
}

/// Everything about a question that a rule may look at: codes only, never its parameters or the officer's identity.
///
/// It is the whole key of a decision: two equal requests judged between the same expiries get the same verdict.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// Which side judges.
    pub direction: Direction,
    /// The agency that asks.
    pub agency: AgencyId,
    /// Roles that the charter gives the asking agency; roles outside the vocabulary match no rule.
    pub agency_roles: BTreeSet<String>,
    /// The agency that holds the records.
    pub holder: AgencyId,
    /// Roles that the charter gives the holding agency.
    pub holder_roles: BTreeSet<String>,
    /// What is asked.
    pub kind: QueryKind,
    /// Hit or no hit, core data, or evidence.
    pub step: Step,
    /// Why it is asked.
    pub purpose: Purpose,
    /// The legal basis that the asker names.
    pub basis: LegalBasisId,
    /// The asking officer's role.
    pub officer_role: Role,
    /// How urgent it is.
    pub urgency: Urgency,
    /// The question's privacy mode.
    pub mode: Mode,
    /// The handling code that the question carries; an answer is never handled less strictly.
    pub handling: Handling,
    /// The offence code, at most [`OFFENCE_CHARS_MAX`] characters.
    pub offence: Option<String>,
    /// A statement of facts came with the question.
    pub facts_stated: bool,
    /// The question states its basis of suspicion (28 CFR 23.20).
    pub suspicion_stated: bool,
    /// The question names a case.
    pub case_stated: bool,
    /// The question names a court order.
    pub order_stated: bool,
    /// The question belongs to an epoch of a group that both are in: the content key opens only with that epoch's secret.
    pub bound: bool,
}

impl Request {
    /// Whether asker and holder belong to one nation.
    pub fn same_nation(&self) -> bool {
        self.agency.jurisdiction() == self.holder.jurisdiction()
    }
}
