//! Groups' ledgers among the files: who signed and cosigned them, which entries count, and what members made of them.
//!
//! Entries are read by `puente-ledger`. What is judged here is what a stranger to the group can judge: everything but who
//! was a member when, so whether a majority held a commit is not told. Whether a commit that counts failed the group's own
//! checks shows in the epochs that follow it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use puente_audit_log::{ClaimedCheckpoint, ReplayError, SignedCheckpoint, replay};
use puente_charter::Charter;
use puente_ledger::{Body, Entry, GroupId, LedgerOrigin, Rules, Skip, held_statement, proposers};
use puente_model::{CharterVector, Digest, Millis, NodeUri};
use puente_wire::{GroupEvent, LedgerPlace};

use crate::class::Class;
use crate::dir::{Cached, LogDir};
use crate::evidence::{Proof, ProvenEntry};
use crate::finding::{Blame, Conclusion, Counts, Finding, Findings, LogReport};
use crate::groups::{Fact, short};
use crate::heads::{Relation, relate};
use crate::prove::proven_entry;
use crate::roster::{HeadError, Roster};
use crate::verify::Checked;

/// Folders between `ledgers/` and a ledger: `group`, the group's name in its parts, the ledger.
const BESIDE_DEPTH_MAX: usize = 16;
/// Ledgers beside one log that are looked at.
const BESIDE_MAX: usize = 4_096;

/// Entries of one ledger that are judged: one a commit.
const ENTRIES_MAX: u64 = 200_000;

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// It orders a commit.
    Commit { epoch: u64, commit: Digest, statement: Option<Digest>, held: BTreeMap<NodeUri, Digest> },
    /// It ends the ledger.
    Close,
    /// It counts for nothing.
    Skip(String),
    /// Not judged: a charter, or the ledger before, is missing.
    Unknown,
}

/// One ledger, as it was found.
pub(crate) struct Ledger {
    pub(crate) dir: LogDir,
    pub(crate) origin: LedgerOrigin,
    pub(crate) head: SignedCheckpoint,
    pub(crate) rulings: Vec<Ruling>,
    entries: Vec<Vec<u8>>,
}

/// What came of one folder.
pub(crate) struct Judged {
    pub(crate) report: LogReport,
    pub(crate) findings: Findings,
    pub(crate) ledger: Option<Ledger>,
}

/// The ledger that a folder claims to hold.
pub(crate) fn origin_of(dir: &Path) -> Option<LedgerOrigin> {
    let note = LogDir::new(dir).checkpoint().ok()?;
    // What follows the first line may be damaged: that is judged, not passed over.
    std::str::from_utf8(note.split(|byte| *byte == b'\n').next()?).ok()?.parse().ok()
}

/// Audits these folders, the ledgers of one group in their order.
pub(crate) fn verify_all(
    roster: &Roster<'_>,
    dirs: &[(&Path, LedgerOrigin)],
    remembered: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Vec<Judged> {
    let mut order: Vec<usize> = (0..dirs.len()).collect();
    order.sort_by(|a, b| dirs[*a].1.cmp(&dirs[*b].1));
    let mut done: Vec<(usize, Judged)> = Vec::new();
    let mut before: Option<Standing> = None;
    for at in order {
        let (dir, origin) = &dirs[at];
        let mut judged = open(roster, dir, origin, remembered);
        if let Some(ledger) = &mut judged.ledger {
            let mut laws = Laws::new(roster.charter, origin);
            let mut standing = Standing::at(origin, before.take(), &mut judged.findings);
            standing.walk(&mut laws, ledger, &mut judged.findings);
            judged.report.counts.groups =
                ledger.rulings.iter().filter(|ruling| matches!(ruling, Ruling::Commit { .. })).count() as u64;
            before = Some(standing);
        }
        judged.report.verdict = judged.findings.conclusion();
        done.push((at, judged));
    }
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, judged)| judged).collect()
}

/// Folders of ledgers that lie beside a copied log, below `ledgers/`, each with the name that it, or else its place, claims.
pub(crate) fn beside(dir: &Path) -> Vec<(PathBuf, LedgerOrigin)> {
    let (mut found, mut folders) = (Vec::new(), vec![(dir.join("ledgers"), 0)]);
    while let Some((folder, depth)) = folders.pop() {
        if folder.join("checkpoint").is_file() {
            found.push(folder);
        } else if depth < BESIDE_DEPTH_MAX && found.len() + folders.len() < BESIDE_MAX {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            folders.extend(inner.take(BESIDE_MAX).map(|entry| (entry.path(), depth + 1)));
        }
    }
    found.sort();
    let placed = |folder: &Path| folder.strip_prefix(dir.join("ledgers")).ok()?.to_str()?.parse().ok();
    let named = |folder: PathBuf| Some((origin_of(&folder).or_else(|| placed(&folder))?, folder));
    found.into_iter().filter_map(named).map(|(origin, folder)| (folder, origin)).collect()
}

/// The head, the files under it, and what was remembered of it.
fn open(
    roster: &Roster<'_>,
    path: &Path,
    origin: &LedgerOrigin,
    remembered: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Judged {
    let (dir, name) = (LogDir::new(path), origin.to_string());
    let mut report = LogReport {
        dir: path.display().to_string(),
        origin: name.clone(),
        node: String::new(),
        entries: 0,
        closed_at: None,
        cosigned: None,
        root: String::new(),
        counts: Counts::default(),
        verdict: Conclusion::CouldNotTell,
        cosigners: Vec::new(),
        figures: None,
    };
    let mut findings = Findings::default();
    let finding = |class, detail: String| Finding::new(class, Blame::Unknown, &name, detail);
    let claimed = dir.checkpoint().map_err(|error| error.to_string());
    let head =
        claimed.map(|note| ClaimedCheckpoint::parse(&note).map_err(HeadError::from).and_then(|c| roster.verify(c)));
    let head = match head {
        Ok(Ok(head)) => head,
        Ok(Err(HeadError::UnknownLog(name))) => {
            findings.push(finding(Class::UnknownLog, format!("the charter names no corridor of {name}")));
            return Judged { report, findings, ledger: None };
        }
        Ok(Err(error)) => {
            findings.push(finding(Class::BadHead, error.to_string()));
            return Judged { report, findings, ledger: None };
        }
        Err(error) => {
            findings.push(finding(Class::Unavailable, format!("checkpoint {error}")));
            return Judged { report, findings, ledger: None };
        }
    };
    (report.entries, report.root) = (head.size().0, head.root().to_string());
    report.cosigners = roster.words_for(&head);
    if let Some(name) = roster.unknown_signature(&head) {
        findings.push(finding(Class::UnknownSignature, format!("a line by {name}")));
    }
    if head.size().0 > ENTRIES_MAX {
        findings.push(finding(Class::Unavailable, format!("a ledger of more than {ENTRIES_MAX} entries is not read")));
        return Judged { report, findings, ledger: None };
    }
    let mut entries = Vec::new();
    let replayed = replay(&head, &dir, |_, _, bytes| {
        entries.push(bytes.to_vec());
        ControlFlow::Continue(())
    });
    match replayed {
        Ok(done) => {
            for tile in done.tiles_missing {
                findings.push(finding(Class::Unavailable, puente_audit_log::LogPath::Tile(tile).to_string()));
            }
        }
        Err(error @ ReplayError::Diverges(_)) => {
            findings.push(finding(Class::Corrupt, error.to_string()).with_proof(Proof::heads([head])));
            return Judged { report, findings, ledger: None };
        }
        Err(error) => {
            findings.push(finding(Class::Unavailable, error.to_string()));
            return Judged { report, findings, ledger: None };
        }
    }
    match remembered(&name).map(|note| roster.head(&note)) {
        Some(Ok(kept)) => findings.extend(against(&name, &head, &kept, &dir)),
        Some(Err(error)) => findings.push(finding(Class::Unavailable, format!("the remembered head: {error}"))),
        None => {}
    }
    let ledger = Ledger { dir, origin: origin.clone(), head, rulings: Vec::new(), entries };
    Judged { report, findings, ledger: Some(ledger) }
}

/// A head of a ledger against another that was seen before, or lies in another copy.
fn against(name: &str, head: &SignedCheckpoint, kept: &SignedCheckpoint, dir: &LogDir) -> Option<Finding> {
    let sizes = format!("a head of {} entries is kept, {} are presented", kept.size(), head.size());
    let finding = |class, proof| Finding::new(class, Blame::Unknown, name, sizes.clone()).with_proof(proof);
    let proof = Proof::heads([kept.clone(), head.clone()]);
    match relate(head, kept, &Cached::new(dir)) {
        Relation::Consistent => None,
        // Whoever gave the copy may have given an older one: nobody signs that it is the newest.
        Relation::Beyond => Some(finding(Class::LedgerMissing, proof)),
        Relation::Split => Some(finding(Class::SplitView, proof)),
        Relation::Contradicts(prefix) => Some(finding(Class::SplitView, proof.with_prefix(prefix))),
        Relation::CouldNotTell(why) => Some(Finding::new(Class::Unavailable, Blame::Unknown, name, why)),
    }
}

/// What every version of the charter says of one group.
struct Laws<'c> {
    charter: &'c Charter,
    group: GroupId,
    known: BTreeMap<String, Option<Arc<Rules>>>,
}

impl<'c> Laws<'c> {
    fn new(charter: &'c Charter, ledger: &LedgerOrigin) -> Self {
        Self { charter, group: ledger.group().clone(), known: BTreeMap::new() }
    }

    fn at(&mut self, vector: &CharterVector) -> Option<Arc<Rules>> {
        let (charter, group) = (self.charter, &self.group);
        self.known.entry(vector.to_string()).or_insert_with(|| rules_at(charter, group, vector).map(Arc::new)).clone()
    }
}

/// The rules of a group under an earlier version of the charter, or the one in force.
fn rules_at(charter: &Charter, group: &GroupId, vector: &CharterVector) -> Option<Rules> {
    if charter.vector() == *vector {
        return Rules::of_group(charter, group)?.ok();
    }
    let parts = charter.parts().iter().filter(|part| {
        let id = part.id();
        id.number
            <= match &id.nation {
                None => vector.common,
                Some(nation) => vector.annexes.get(nation).copied().unwrap_or_default(),
            }
    });
    let earlier = Charter::verify(parts.cloned(), charter.pin()).ok().filter(|earlier| earlier.vector() == *vector)?;
    Rules::of_group(&earlier, group)?.ok()
}

/// Where a group stands while its ledgers are gone through.
struct Standing {
    origin: LedgerOrigin,
    /// Who convenes; none where nothing says so.
    convener: Option<NodeUri>,
    /// The charter that governs the next entry; none before the first.
    vector: Option<CharterVector>,
    /// The epoch that the last commit which counted ended.
    ended: Option<u64>,
    /// What the last commit that counts states as its time.
    at: Millis,
    next: Option<LedgerOrigin>,
}

impl Standing {
    /// At the beginning of a ledger, after the one before it.
    fn at(origin: &LedgerOrigin, before: Option<Self>, findings: &mut Findings) -> Self {
        let before = before.filter(|before| before.origin.group() == origin.group());
        let follows = before.filter(|before| before.next.as_ref() == Some(origin));
        if let Some(before) = follows {
            return Self { origin: origin.clone(), next: None, ..before };
        }
        if origin.number() > 1 {
            let detail =
                "no CLOSE leads to it: give the ledger before it too, or the reboot that the governance bodies signed";
            findings.push(Finding::new(Class::Unavailable, Blame::Unknown, &origin.to_string(), detail));
        }
        Self { origin: origin.clone(), convener: None, vector: None, ended: None, at: Millis(0), next: None }
    }

    /// Judges every entry of a ledger.
    fn walk(&mut self, laws: &mut Laws<'_>, ledger: &mut Ledger, findings: &mut Findings) {
        let name = self.origin.to_string();
        let finding = |class, detail: String| Finding::new(class, Blame::Unknown, &name, detail);
        let mut cosigned: BTreeSet<String> = BTreeSet::new();
        for (index, bytes) in ledger.entries.iter().enumerate() {
            let index = index as u64;
            let governing = self.vector.clone().or_else(|| Some(Entry::parse(bytes).ok()?.draft().charter.clone()));
            // Before the first entry that can be read nothing counts.
            let Some(governing) = governing else {
                let why = Entry::parse(bytes).map_or_else(|error| error.to_string(), |_| String::new());
                findings.push(finding(Class::LedgerSkipped, why.clone()).at(index));
                ledger.rulings.push(Ruling::Skip(why));
                continue;
            };
            let Some(rules) = laws.at(&governing) else {
                findings.push(finding(Class::CharterUnknown, format!("charter {governing}")).at(index));
                break;
            };
            if self.vector.is_none() && self.origin.number() == 1 {
                // The group began with the charter's first seat as its convener.
                self.convener = rules.seats().first().map(|seat| seat.node.clone());
            }
            if cosigned.insert(governing.to_string())
                && let Err(error) = rules.quorum().check(&ledger.head)
            {
                findings.push(finding(Class::LedgerUncosigned, error.to_string()));
            }
            let ruling = match self.judge(bytes, index, &governing, &rules) {
                Ok(ruling) => ruling,
                Err(skip) => {
                    findings.push(finding(Class::LedgerSkipped, skip.to_string()).at(index));
                    ledger.rulings.push(Ruling::Skip(skip.to_string()));
                    continue;
                }
            };
            if !self.take(bytes, &ruling, laws, &rules) {
                findings.push(finding(Class::CharterUnknown, "the charter that it names".to_owned()).at(index));
                break;
            }
            ledger.rulings.push(ruling);
        }
        ledger.rulings.resize(ledger.entries.len(), Ruling::Unknown);
    }

    /// As members judge it, but for who is in the group.
    fn judge(&self, bytes: &[u8], index: u64, governing: &CharterVector, rules: &Rules) -> Result<Ruling, Skip> {
        let entry = Entry::parse(bytes)?;
        let draft = entry.draft();
        // After CLOSE the group is elsewhere.
        if draft.ledger != self.origin || self.next.is_some() {
            return Err(Skip::OtherLedger(self.next.clone().unwrap_or_else(|| draft.ledger.clone())));
        }
        if draft.index != index {
            return Err(Skip::OtherIndex(draft.index));
        }
        let keys = rules.keys(&self.origin);
        let by = entry.signed_by(keys.iter().map(|(node, key)| (key, node))).ok_or(Skip::NotAProposer)?;
        if !draft.charter.covers(governing) {
            return Err(Skip::CharterGoesBack { governing: governing.clone(), found: draft.charter.clone() });
        }
        match &draft.body {
            Body::Close { next } if Some(next) == self.origin.next().as_ref() => Ok(Ruling::Close),
            Body::Close { next } => Err(Skip::NotTheNext(next.clone())),
            Body::Commit { .. } if self.convener.as_ref().is_some_and(|convener| convener != by) => {
                Err(Skip::NotTheConvener(by.clone()))
            }
            Body::Commit { epoch, at, commit, held } => {
                // The commit before may have failed the group's checks; then its epoch goes on.
                if let Some(ended) = self.ended.filter(|ended| *epoch != *ended && *epoch != ended.saturating_add(1)) {
                    return Err(Skip::Epoch { expected: ended.saturating_add(1), found: *epoch });
                }
                if *at < self.at {
                    return Err(Skip::TimeGoesBack);
                }
                if held.is_empty() {
                    return Err(Skip::NoMajority { holders: 0, members: 1 });
                }
                let statement = held_statement(draft);
                Ok(Ruling::Commit { epoch: *epoch, commit: *commit, statement, held: held.clone() })
            }
        }
    }

    /// Goes on after an entry that counts; false if the charter that it names is not known.
    fn take(&mut self, bytes: &[u8], ruling: &Ruling, laws: &mut Laws<'_>, old: &Rules) -> bool {
        let Ok(entry) = Entry::parse(bytes) else { return false };
        let Some(new) = laws.at(&entry.draft().charter) else { return false };
        let nodes = |rules: &Rules| rules.seats().iter().map(|seat| seat.node.clone()).collect::<Vec<_>>();
        if nodes(old) != nodes(&new) {
            self.convener = new.seats().first().map(|seat| seat.node.clone());
        }
        self.vector = Some(new.vector().clone());
        match ruling {
            Ruling::Commit { epoch, .. } => {
                self.ended = Some(*epoch);
                if let Body::Commit { at, .. } = entry.draft().body {
                    self.at = at;
                }
            }
            Ruling::Close => {
                let keys = old.keys(&self.origin);
                let by = entry.signed_by(keys.iter().map(|(node, key)| (key, node)));
                if let Some(by) = by.filter(|by| nodes(&new).contains(by)) {
                    self.convener = Some(by.clone());
                }
                self.next = self.origin.next();
            }
            Ruling::Skip(_) | Ruling::Unknown => {}
        }
        true
    }
}

/// Copies of one ledger against each other.
pub(crate) fn copies(ledgers: &[&Ledger], findings: &mut Findings) {
    for (at, one) in ledgers.iter().enumerate() {
        for other in ledgers[at + 1..].iter().filter(|other| other.origin == one.origin) {
            let (older, newer) = if one.head.size() <= other.head.size() { (one, other) } else { (other, one) };
            findings.extend(against(&one.origin.to_string(), &newer.head, &older.head, &newer.dir));
        }
    }
}

/// What members recorded, against what their groups' ledgers order.
pub(crate) fn compare(roster: &Roster<'_>, ledgers: &[&Ledger], logs: &[&Checked], findings: &mut Findings) {
    let mut known: BTreeMap<String, &Ledger> = BTreeMap::new();
    for ledger in ledgers {
        let longest = known.entry(ledger.origin.to_string()).or_insert(ledger);
        if longest.head.size() < ledger.head.size() {
            *longest = ledger;
        }
    }
    let mut missing: BTreeSet<String> = BTreeSet::new();
    for (log, fact) in logs.iter().flat_map(|log| log.groups.iter().map(move |fact| (*log, fact))) {
        let GroupEvent::Epoch { epoch, commit, ordered, .. } = fact.entry.what else { continue };
        let Some(place) = ordered else {
            let first = LedgerPlace::new(1, 0).and_then(|place| place.origin(&fact.entry.group).parse().ok());
            if first.is_some_and(|ledger: LedgerOrigin| proposers(roster.charter, ledger.group()).is_some()) {
                let detail = format!("epoch {epoch} of {}: no place in a ledger is named", fact.entry.group);
                findings.push(unordered(log, fact, detail, None));
            }
            continue;
        };
        let origin = place.origin(&fact.entry.group);
        let Some(ledger) = known.get(&origin) else {
            if missing.insert(origin.clone()) {
                let detail = format!("{origin}: give its copy, too");
                findings.push(Finding::new(Class::LedgerMissing, Blame::Unknown, &origin, detail));
            }
            continue;
        };
        let at = usize::try_from(place.index()).unwrap_or(usize::MAX);
        let stands = match ledger.rulings.get(at) {
            Some(Ruling::Unknown) => continue,
            Some(Ruling::Commit { epoch: ended, commit: found, .. })
                if ended.checked_add(1) == Some(epoch) && *found == commit =>
            {
                continue;
            }
            Some(Ruling::Commit { epoch: ended, .. }) => format!("there stands the commit that ends epoch {ended}"),
            Some(Ruling::Close) => "there stands CLOSE".to_owned(),
            Some(Ruling::Skip(why)) if orders(ledger, at, epoch, commit) => {
                // It is the commit, and whether it counts hangs on how the group began and who was in it: nobody is convicted.
                if missing.insert(format!("{origin} {at}")) {
                    let detail = format!("epoch {epoch} of {}, index {at} of {origin}: {why}", fact.entry.group);
                    findings
                        .push(Finding::new(Class::GroupDisputed, Blame::Unknown, &log.origin, detail).at(fact.index));
                }
                continue;
            }
            Some(Ruling::Skip(why)) => format!("that entry counts for nothing: {why}"),
            None => {
                if missing.insert(origin.clone()) {
                    let detail = format!(
                        "{} entries are presented, and {} names index {}",
                        ledger.head.size(),
                        short(&log.node),
                        place.index()
                    );
                    findings.push(Finding::new(Class::LedgerMissing, Blame::Unknown, &origin, detail));
                }
                continue;
            }
        };
        let detail = format!("epoch {epoch} of {}, index {} of {origin}: {stands}", fact.entry.group, place.index());
        let shown = proven_entry(&ledger.dir, &Cached::new(&ledger.dir), &ledger.head, place.index());
        findings.push(unordered(log, fact, detail, shown));
    }
    for ledger in known.values() {
        holders(ledger, logs, findings);
    }
}

/// Whether the entry at an index is, as it says, the commit with which an epoch begins.
fn orders(ledger: &Ledger, at: usize, began: u64, hash: Digest) -> bool {
    let entry = ledger.entries.get(at).and_then(|bytes| Entry::parse(bytes).ok());
    entry.is_some_and(|entry| match &entry.draft().body {
        Body::Commit { epoch, commit, .. } => {
            (&entry.draft().ledger, entry.draft().index) == (&ledger.origin, at as u64)
                && epoch.checked_add(1) == Some(began)
                && *commit == hash
        }
        Body::Close { .. } => false,
    })
}

fn unordered(log: &Checked, fact: &Fact, detail: String, shown: Option<ProvenEntry>) -> Finding {
    let own = proven_entry(&log.dir, &Cached::new(&log.dir), &log.head, fact.index);
    let proof = Proof::default().with_entry(own).with_entry(shown);
    Finding::new(Class::GroupUnordered, Blame::Node(log.node.clone()), &log.origin, detail)
        .at(fact.index)
        .with_proof(proof)
}

/// What one holder's logs say of a group.
#[derive(Default)]
struct Holder<'l> {
    /// HELD, by leaf hash.
    said: BTreeMap<Digest, &'l Fact>,
    /// The last place in a ledger that they know of.
    reached: Option<(u32, u64)>,
    /// One of them was closed: it may have lost its tail.
    closed: bool,
}

/// Every HELD that a ledger quotes, in the logs of the holders that are presented.
fn holders(ledger: &Ledger, logs: &[&Checked], findings: &mut Findings) {
    let of_group = |fact: &&Fact| fact.entry.group.as_str() == ledger.origin.group().as_str();
    let mut held: BTreeMap<&NodeUri, Holder<'_>> = BTreeMap::new();
    for log in logs {
        let Holder { said, reached, closed } = held.entry(&log.node).or_default();
        *closed |= log.closed_at.is_some();
        for fact in log.groups.iter().filter(of_group) {
            let place = match fact.entry.what {
                GroupEvent::Held { place, .. } => {
                    said.insert(fact.leaf, fact);
                    Some(place)
                }
                GroupEvent::Epoch { ordered, .. } => ordered,
                GroupEvent::Left { .. } => None,
            };
            *reached = (*reached).max(place.map(|place| (place.number(), place.index())));
        }
    }
    for (index, ruling) in ledger.rulings.iter().enumerate() {
        let Ruling::Commit { statement, held: quoted, .. } = ruling else { continue };
        let place = (ledger.origin.number(), index as u64);
        for (node, leaf) in quoted {
            let Some(Holder { said, reached, closed }) = held.get(node) else { continue };
            let wrong = match said.get(leaf).map(|fact| fact.entry.what) {
                Some(GroupEvent::Held { place: of, statement: states }) => {
                    ((of.number(), of.index()) != place || Some(states) != *statement).then_some(true)
                }
                // A copy of the holder's log that is older than the commit says nothing.
                _ => Some(!closed && reached.is_some_and(|reached| reached > place)),
            };
            let Some(certain) = wrong else { continue };
            let detail = format!("{}, index {index}: {}", ledger.origin, short(node));
            let shown = proven_entry(&ledger.dir, &Cached::new(&ledger.dir), &ledger.head, index as u64);
            let finding = Finding::new(Class::HeldMissing, Blame::Unknown, &ledger.origin.to_string(), detail);
            let finding = finding.at(index as u64).with_proof(Proof::default().with_entry(shown));
            findings.push(if certain { finding } else { finding.soften() });
        }
    }
}
