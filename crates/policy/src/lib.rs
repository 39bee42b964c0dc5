//! May this be asked, answered, shown.
//!
//! A node's policies are Cedar files, validated against a schema generated from the catalogue and the charter before
//! they load. [`PolicySet::judge`] turns one question into a [`Verdict`]: deny by default, forbid wins, an expired
//! grant or legal basis does not count, and a rule that cannot be evaluated refuses. A permit to answer names the
//! fields that may be revealed, the handling code and the obligations; a refusal names its reason in the field's terms
//! and in two languages. [`Judge`] remembers decisions, [`PolicySet::explain`] says what would have to differ, and
//! [`Cases`] judges a table of expectations.
//!
//! # Rules
//!
//! ```cedar
//! @id("answer-vehicle-core")
//! @expires("2027-06-30")                     // stands until this day begins, UTC; every permit has an end
//! @fields("status, theft_date")              // answers only; "" reveals the hit alone
//! @handling("H1")                            // at least this; codes combine to the strictest
//! @obligation("confirm-before-seizure")      // words that travel with the answer
//! @decide("human")                           // a person decides first; or roles: "prosecutor, analyst"
//! // @review("24h") instead of @decide: the answer goes out at once, and somebody looks at it by then
//! permit (principal, action == Action::"answer", resource == Kind::"vehicle.status")
//! when { context.step == Step::"2" && context.facts_stated };
//!
//! @id("bar-immigration")
//! @reason("human-rights")                    // a refusal reason of the protocol
//! @explain_en("...") @explain_es("...")
//! @appeal_en("...") @appeal_es("...")        // how to appeal; without them the agency's own words
//! forbid (principal, action, resource) when { context.purpose == Purpose::"immigration-enforcement" };
//!
//! @id("hide-year-abroad")
//! @hide("model_year")                        // withholds fields without refusing
//! forbid (principal, action == Action::"answer", resource == Kind::"vehicle.status") unless { context.same_nation };
//! ```
//!
//! A permit that names a sensitive or source-revealing field also says `@reveals("sensitive")` or
//! `@reveals("source-revealing")`; with `@reveals("match-key")` the asker learns under which keys records were found. At step 1 no field is revealed, whatever a rule says. Where several permits match,
//! the answer gets the fields and the obligations of all of them, under the strictest handling code.
//!
//! Cedar stays behind this crate: none of its types is public. The crate performs no IO and reads no clock.

mod cases;
mod date;
mod engine;
mod error;
mod explain;
mod judge;
mod load;
mod request;
mod rule;
mod scan;
mod set;
mod verdict;
mod vocabulary;

#[cfg(test)]
mod tests;

pub use cases::{CaseResult, Cases};
pub use error::{Finding, PolicyError};
pub use explain::{ALTERNATIVES_MAX, Alternative, Attribute, Change, Explanation};
pub use judge::Judge;
pub use load::{FILE_BYTES_MAX, FILES_MAX, RULES_MAX};
pub use request::{Direction, OFFENCE_CHARS_MAX, Request};
pub use set::PolicySet;
pub use verdict::{Grant, Refusal, Verdict};
pub use vocabulary::{BasisInfo, FieldInfo, KindInfo, Vocabulary};
