//! A group that does not exist yet is made by the charter's convener, once no witness knows it.
//!
//! A convener that lost its disk would otherwise found its group a second time. Witnesses remember the ledger: while one of
//! them knows it, the way back is that of any member that lost its state.

use std::collections::BTreeSet;

use puente_group::{Group, Suite};
use puente_ledger::{GroupId, LedgerOrigin};
use puente_model::Millis;

use crate::api::{Alarm, Effect, Fault, Genesis};
use crate::corridor::{Corridor, Place, Shared};
use crate::inside;
use crate::joining::Joining;
use crate::kept::{self, Kind};

/// Which witnesses said that they know no ledger of the group.
#[derive(Debug, Default)]
pub(crate) struct Founding {
    none: BTreeSet<String>,
    /// When they are asked again.
    ask_at: Option<Millis>,
}

impl Founding {
    pub(crate) const fn deadline(&self) -> Option<Millis> {
        self.ask_at
    }
}

impl Corridor {
    /// Asks the witnesses whether they know the group, if it is this node's to make it.
    pub(crate) fn look_whether_to_found(&mut self, shared: &mut Shared) {
        let Place::Outside(founding) = &mut self.place else { return };
        let Ok(terms) = shared.charters.terms_now(&self.name) else {
            founding.ask_at = None;
            return;
        };
        let mine = terms.rules.seats().first().is_some_and(|seat| seat.node == shared.me);
        // With nobody else there is nothing to share.
        if !mine || !terms.members.contains(&shared.me) || terms.members.len() < 2 {
            founding.ask_at = None;
            return;
        }
        if founding.ask_at.is_some_and(|at| at > shared.now) {
            return;
        }
        founding.ask_at = Some(shared.now.plus(shared.tuning.again));
        let ledger = LedgerOrigin::first(self.name.clone());
        for key in terms.rules.quorum().keys() {
            if !founding.none.contains(key.name()) {
                let (group, witness) = (self.name.clone(), key.name().to_owned());
                shared.out.push(Effect::Read { group, witness, ledger: ledger.clone() });
            }
        }
    }

    /// What a witness knows of the group's first ledger, while this node is outside.
    pub(crate) fn witness_knows(
        &mut self,
        shared: &mut Shared,
        witness: &str,
        head: Option<Vec<u8>>,
    ) -> Result<(), Fault> {
        let founding = match &mut self.place {
            Place::Outside(founding) => founding,
            Place::Joining(joining) => {
                joining.witnessed(witness, head);
                return Ok(());
            }
            Place::Inside(_) => return Ok(()),
        };
        if founding.ask_at.is_none() {
            return Err(Fault::NotAwaited("a witness's head"));
        }
        if head.is_some() {
            let (group, witness) = (self.name.clone(), witness.to_owned());
            let mut joining = Joining::lost(shared.now);
            joining.witnessed(&witness, head);
            shared.out.alarm(Alarm::Forgotten { group, witness });
            self.place = Place::Joining(Box::new(joining));
            self.tick(shared);
            return Ok(());
        }
        founding.none.insert(witness.to_owned());
        let terms = shared.charters.terms_now(&self.name)?;
        if terms.rules.quorum().is_met_by(founding.none.iter().map(String::as_str)) {
            self.found(shared, &terms)?;
        }
        Ok(())
    }

    fn found(&mut self, shared: &mut Shared, terms: &crate::terms::Terms) -> Result<(), Fault> {
        let Some((charter, _)) = shared.charters.newest() else { return Err(Fault::UnknownGroup(self.name.clone())) };
        let vector = charter.vector();
        let trust = shared.charters.trust(&self.name, &vector)?;
        // Where the charter does not care, it is the one that this node's key fits.
        let fits = Suite::ALL.iter().copied().find(|suite| shared.identity.fits(*suite));
        let suite = terms.suite.or(fits).unwrap_or_default();
        let id = puente_group::GroupId(shared.random());
        let genesis = Genesis { id, founder: shared.me.clone(), charter: vector };
        let policy = policy(&self.name);
        let made = Group::create(id, suite, &policy, &shared.identity, &trust, shared.now)?;
        let (group, changes) = made;
        let mut puts = kept::state(&self.name, changes);
        puts.push((kept::key(&self.name, Kind::Genesis, b""), Some(genesis.encode())));
        let inside = inside::begin(shared, &self.name, genesis, Some(group), Vec::new())?;
        shared.out.write(&self.name, puts, None, Vec::new());
        self.place = Place::Inside(Box::new(inside));
        self.tick(shared);
        Ok(())
    }
}

/// What members agree on in the group's context: its name, so that no two groups of one node are taken for each other.
pub(crate) fn policy(group: &GroupId) -> Vec<u8> {
    group.as_str().as_bytes().to_vec()
}
