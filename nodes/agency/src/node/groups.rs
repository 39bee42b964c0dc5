//! This node in its groups: what it stands there with, and what an operator wants of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use puente_audit_log::{Signer, VerifierKey};
use puente_charter::{Charter, ClaimedPart, PartId};
use puente_corridor::{Setup, Tuning, Want};
use puente_exchange::api::{Conclusion, Input};
use puente_group::{Identity, LeafSigner, SignFailed, Trust};
use puente_ledger::{GroupId, Keys, LedgerOrigin};
use puente_model::Jurisdiction;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::SigningKey;
use serde_json::{Value, json};

use super::{Node, now};
use crate::config::NodeDir;
use crate::control::failure;
use crate::control_api::{Answer, GroupWant};
use crate::driver::DriverHandle;
use crate::files;
use crate::keys::{HeadKey, KeyRoom};
use crate::ledgers::{self, LEDGERS};
use crate::ops::check::{Check, State, w};

/// Versions of the charter that are known by name: whoever comes into a group later verifies its order under those of then.
const CHARTERS_MAX: usize = 256;

/// Signs leaves with the key of the node's certificate, wherever that is.
struct Leaf(Arc<dyn SigningKey>);

impl LeafSigner for Leaf {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFailed> {
        let signer = self.0.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]);
        signer.ok_or(SignFailed)?.sign(message).map_err(|_| SignFailed)
    }
}

/// Signs for ledgers with the log's key, under the ledger's name.
struct LedgerKeys(Arc<HeadKey>);

impl Keys for LedgerKeys {
    fn signer(&self, ledger: &LedgerOrigin) -> Option<Box<dyn Signer + Send>> {
        let verifier = ledger.key(self.0.verifier().public()).ok()?;
        Some(Box::new(LedgerSigner { key: Arc::clone(&self.0), verifier }))
    }
}

struct LedgerSigner {
    key: Arc<HeadKey>,
    verifier: VerifierKey,
}

impl Signer for LedgerSigner {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        Signer::sign(&*self.key, message)
    }

    fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }
}

/// Where this node is with its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// No charter in force named a corridor yet.
    NotWanted,
    /// The engine hosts them.
    Hosted,
    /// It cannot stand there, and why: an ended certificate, a suspension.
    Kept(String),
}

/// Has this node stand in its groups as soon as it can: from its start, or from the charter that names the first corridor,
/// ends its suspension, or from the certificate that others accept. Nothing else of the node waits for that.
pub(super) struct Hosting {
    dir: NodeDir,
    keys: Arc<KeyRoom>,
    signer: Arc<HeadKey>,
    standing: Mutex<Standing>,
}

impl Hosting {
    pub(super) fn new(dir: &NodeDir, keys: &Arc<KeyRoom>, signer: &Arc<HeadKey>) -> Self {
        let (keys, signer) = (Arc::clone(keys), Arc::clone(signer));
        Self { dir: dir.clone(), keys, signer, standing: Mutex::new(Standing::NotWanted) }
    }

    fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, standing: Standing) {
        if let Standing::Kept(why) = &standing {
            tracing::error!("this node stands in no group: {why}");
        }
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// What the groups start with; none while the charter names no corridor, or this node cannot stand there.
    pub(super) fn setup(&self, charter: &Arc<Charter>) -> Option<Setup> {
        if charter.corridors().is_empty() {
            return None;
        }
        let setup = || -> Result<Setup, String> {
            Ok(Setup {
                identity: self.identity(charter)?,
                keys: Arc::new(LedgerKeys(Arc::clone(&self.signer))),
                charters: versions(charter),
                rng: Box::new(ChaCha20Rng::from_seed(*files::fresh_secret().map_err(said)?.expose())),
                tuning: Tuning::default(),
                now: now(),
            })
        };
        let made = setup();
        self.set(made.as_ref().map_or_else(|why| Standing::Kept(why.clone()), |_| Standing::Hosted));
        made.ok()
    }

    /// What the node stands in groups with: its certificate and the key of it.
    fn identity(&self, charter: &Charter) -> Result<Identity, String> {
        let (chain, key) = self.keys.tls(&self.dir).map_err(said)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().map_err(said)?;
        let leaf = chain.first().ok_or("there is no certificate")?;
        let roots = charter.trust_for(&puente_charter::certificate::names(leaf).map_err(said)?.uri);
        let chain = chain.into_iter().map(|der| der.to_vec()).filter(|der| !roots.contains(der)).collect();
        Identity::new(chain, Arc::new(Leaf(key)), &Trust::of(charter).map_err(said)?, now()).map_err(said)
    }

    /// Another charter is in force.
    pub(super) async fn follow(&self, charter: &Arc<Charter>, driver: &DriverHandle) {
        if self.standing() == Standing::Hosted {
            return;
        }
        let Some(setup) = self.setup(charter).map(Box::new) else { return };
        match driver.wish(|ticket| Input::HostGroups { ticket, setup }).await {
            Ok(Conclusion::Hosted(Err(error))) => self.set(Standing::Kept(error.to_string())),
            Ok(_) => tracing::info!("this node stands in its groups from now on"),
            Err(gone) => self.set(Standing::Kept(gone.to_string())),
        }
    }

    /// The node has another certificate: what it stands in groups with follows.
    pub(super) async fn renewed(&self, charter: &Arc<Charter>, driver: &DriverHandle) {
        if self.standing() != Standing::Hosted {
            return self.follow(charter, driver).await;
        }
        match self.identity(charter) {
            Ok(identity) => {
                // The engine's task may be ending.
                let _ = driver.input_now(Input::GroupIdentity(Box::new(identity)));
            }
            Err(error) => tracing::error!(%error, "the renewed certificate cannot stand in groups"),
        }
    }

    /// Whether this node stands in its groups; none while no charter wants it.
    pub(super) fn check(&self) -> Option<Check> {
        let name = "groups";
        match self.standing() {
            Standing::NotWanted => None,
            Standing::Hosted => Some(Check::ok(name, w("this node stands in its groups"), "")),
            Standing::Kept(why) => {
                let cause = w("this node stands in no group: no alerts reach it, and exchanges are bound to no group");
                let fix = w("mend what is named (certificate, suspension); the node then enters by itself");
                Some(Check::not(State::Warn, name, "no-groups", cause, why, fix))
            }
        }
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Every version that the charter's history can have been in force as, the one in force last: any annexes of a nation with any
/// of another's, under each common part that admits them.
fn versions(charter: &Arc<Charter>) -> Vec<Arc<Charter>> {
    let parts = charter.parts();
    let mut newest: BTreeMap<Option<Jurisdiction>, u32> = BTreeMap::new();
    for PartId { nation, number } in parts.iter().map(ClaimedPart::id) {
        let most = newest.entry(nation).or_default();
        *most = number.max(*most);
    }
    let mut upto: Vec<BTreeMap<Option<Jurisdiction>, u32>> = vec![BTreeMap::new()];
    for (nation, most) in &newest {
        let with = |known: &BTreeMap<Option<Jurisdiction>, u32>| {
            let known = known.clone();
            (1..=*most).rev().map(move |number| {
                let mut next = known.clone();
                next.insert(nation.clone(), number);
                next
            })
        };
        upto = upto.iter().flat_map(with).take(CHARTERS_MAX).collect();
    }
    let mut out = vec![Arc::clone(charter)];
    for upto in upto {
        let chosen =
            parts.iter().filter(|part| upto.get(&part.id().nation).is_some_and(|most| part.id().number <= *most));
        if let Ok(version) = Charter::verify(chosen.cloned(), charter.pin())
            && out.iter().all(|known| known.vector() != version.vector())
        {
            out.push(Arc::new(version));
        }
    }
    out.reverse();
    out
}

/// The groups for status.
pub(super) fn show(groups: &[puente_exchange::GroupStanding]) -> Vec<Value> {
    let shown = |group: &puente_exchange::GroupStanding| {
        json!({
            "group": group.group.to_string(),
            "epoch": group.epoch,
            "members": group.members.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    groups.iter().map(shown).collect()
}

impl Node {
    /// What an operator wants of a group.
    pub(super) async fn want_of_group(&self, group: &str, want: GroupWant) -> Answer {
        let Ok(name) = group.parse::<GroupId>() else {
            return failure("group", format!("'{group}' is no group's name"), "'puente group list' names them");
        };
        let want = match want {
            GroupWant::Add { node } => Want::Add(node),
            GroupWant::Remove { node } => Want::Remove(node),
            GroupWant::Rekey => Want::Rekey,
        };
        match self.driver.wish(|ticket| Input::WantOfGroup { ticket, group: name, want }).await {
            Ok(Conclusion::Wanted { known: true }) => Answer::Done,
            Ok(Conclusion::Wanted { known: false }) => {
                failure("no-such-group", format!("this node is not in {group}"), "'puente group list' names its groups")
            }
            Ok(_) => failure("log", "the log takes no entries", "see 'puente node status'"),
            Err(gone) => failure("stopping", gone, "start the node, then try again"),
        }
    }

    /// The groups that this node is in.
    pub(super) async fn list_groups(&self) -> Answer {
        match self.driver.view().await {
            Ok(view) => Answer::Groups { groups: show(&view.groups) },
            Err(gone) => failure("stopping", gone, "start the node, then try again"),
        }
    }

    /// Writes the ledgers of this node's groups below copies of its log.
    pub(super) async fn export_ledgers(&self, copies: Vec<PathBuf>) -> Result<(), Answer> {
        let failed = |why: String| failure("ledgers", why, "free space, then try again");
        let standing =
            self.driver.ledgers().await.map_err(|gone| failure("stopping", gone, "start the node, then try again"))?;
        let write = move || copies.iter().try_for_each(|to| ledgers::write(&to.join(LEDGERS), &standing));
        let written = tokio::task::spawn_blocking(write).await;
        written.map_err(|error| failed(error.to_string()))?.map_err(failed)
    }
}
