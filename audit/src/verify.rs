//! The audit of one copied log: replay, rules, sidecar, files, remembered head.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use puente_audit_log::{
    BundleId, ClaimedCheckpoint, Divergence, LogPath, ReadError, ReplayError, SignedCheckpoint, TILE_WIDTH, TileReader,
    replay,
};
use puente_model::{Millis, NodeUri, Origin};
use puente_wire::ENTRY_VERSION;

use crate::aside::Asides;
use crate::class::Class;
use crate::dir::{Cached, LogDir};
use crate::evidence::Proof;
use crate::finding::{Blame, Cosigner, Counts, Finding, Findings, LogReport};
use crate::groups::Fact;
use crate::heads::{Relation, relate};
use crate::last;
use crate::numbering::{Numbered, Numbering, Track};
use crate::roster::HeadError;
use crate::rules::{Carry, Rules, Setting, Unreceipted};

/// Entries between two reports of progress.
const PROGRESS_ENTRIES: u64 = 50_000;
/// Entry findings that get an inclusion proof each.
const PROVEN_FINDINGS_MAX: usize = 50;

/// Where long work says how far it is: the log, entries done, entries in all.
pub(crate) type Progress<'p> = &'p dyn Fn(&str, u64, u64);

/// A log whose copy leads to its own signed head, and what the rules gathered from it.
pub(crate) struct Checked {
    pub(crate) dir: LogDir,
    pub(crate) origin: String,
    pub(crate) node: NodeUri,
    pub(crate) head: SignedCheckpoint,
    pub(crate) asides: Asides,
    pub(crate) tracks: BTreeMap<Numbering, Track>,
    pub(crate) peer_heads: Vec<SignedCheckpoint>,
    /// Heads of this log that others recorded, or were remembered.
    pub(crate) own_heads: Vec<SignedCheckpoint>,
    pub(crate) unreceipted: Vec<Unreceipted>,
    /// What it says of groups.
    pub(crate) groups: Vec<Fact>,
    /// Its numberings go on in the log that follows it, which is presented too.
    pub(crate) continues: bool,
    /// It goes on where the log before it ended, which is presented too.
    pub(crate) follows: bool,
    /// The size at which the charter closed it.
    pub(crate) closed_at: Option<u64>,
}

/// What came of one folder.
pub(crate) struct Audited {
    pub(crate) report: LogReport,
    pub(crate) findings: Findings,
    pub(crate) checked: Option<Checked>,
    /// What the log that follows goes on with.
    pub(crate) carry: Option<Carry>,
}

impl Audited {
    /// A log that could not be copied.
    pub(crate) fn unreachable(name: &str, why: &str) -> Self {
        let finding = Finding::new(Class::Unavailable, Blame::Unknown, name, why);
        Self::ended(&LogDir::new(Path::new(name)), None, finding)
    }

    fn ended(dir: &LogDir, origin: Option<&Origin>, finding: Finding) -> Self {
        let mut findings = Findings::default();
        findings.push(finding);
        let report = LogReport {
            dir: dir.path().display().to_string(),
            origin: origin.map(ToString::to_string).unwrap_or_default(),
            node: origin.map(|o| o.node().to_string()).unwrap_or_default(),
            entries: 0,
            closed_at: None,
            cosigned: None,
            root: String::new(),
            counts: Counts::default(),
            verdict: findings.conclusion(),
            cosigners: Vec::new(),
            figures: None,
        };
        Self { report, findings, checked: None, carry: None }
    }
}

/// Audits one folder. `remembered`: the largest head of that log that this auditor found sound; `copied`: a head of it
/// that was copied before; `before`: what the log that it follows leaves open; `continues`: another log follows.
pub(crate) fn verify(
    set: &Setting<'_>,
    path: &Path,
    remembered: &dyn Fn(&str) -> Option<Vec<u8>>,
    copied: Option<&[u8]>,
    progress: Progress<'_>,
    before: Option<Carry>,
    continues: bool,
) -> Audited {
    let dir = LogDir::new(path);
    // Before the head: where the log grows meanwhile, what is cosigned is never ahead of it.
    let cosigned = dir.cosigned();
    let (origin, head) = match open_head(set, &dir) {
        Ok(found) => found,
        Err(ended) => return *ended,
    };
    let node = origin.node();
    let mut findings = Findings::default();
    if let Some(name) = set.roster.unknown_signature(&head) {
        let detail = format!("a line by {name}");
        findings.push(Finding::new(Class::UnknownSignature, Blame::Unknown, origin.as_str(), detail));
    }
    let mut faults = Vec::new();
    let asides = match Asides::load(dir.asides(), set.roster, &mut faults) {
        Ok(asides) => asides,
        Err(error) => return Audited::ended(&dir, Some(&origin), unavailable(&origin, &format!("asides: {error}"))),
    };
    for fault in faults {
        findings.push(Finding::new(fault.class, Blame::Node(node.clone()), origin.as_str(), fault.detail));
    }
    let cosigned = cosigned_head(set, &origin, cosigned).unwrap_or_else(|why| {
        findings.push(unavailable(&origin, &format!("cosigned: {why}")));
        None
    });
    let mut rules = Rules::new(set, origin.as_str(), node.clone(), log_number(origin.as_str()), asides);
    rules.vouched = cosigned.as_ref().filter(|(_, quorum)| *quorum).map_or(0, |(head, _)| head.size().0);
    let follows = before.is_some();
    if let Some(before) = before {
        rules.follow(before);
    } else if log_number(origin.as_str()) > 1 {
        let detail = "give the log that it follows, too: exchanges and numbers go on from there";
        findings.push(unavailable(&origin, detail));
    }
    let size = head.size().0;
    let last = last::read(&dir, set.roster, origin.as_str(), &node).unwrap_or_else(|why| {
        findings.push(unavailable(&origin, &format!("final: {why}")));
        None
    });
    let mut opened = None;
    let replayed = replay(&head, &dir, |index, leaf, bytes| {
        if last.as_ref().is_some_and(|last| last.index == index.0 && last.leaf == *leaf) {
            opened = Some(index.0);
        }
        rules.entry(index.0, leaf, bytes);
        if index.0 % PROGRESS_ENTRIES == PROGRESS_ENTRIES - 1 {
            progress(origin.as_str(), index.0 + 1, size);
        }
        ControlFlow::Continue(())
    });
    match replayed {
        Ok(done) => {
            for tile in done.tiles_missing {
                findings.push(unavailable(&origin, &LogPath::Tile(tile).to_string()));
            }
        }
        Err(error) => {
            // What the rules saw of a damaged copy says nothing.
            findings.push(diverges(&origin, &head, &error));
            let mut ended = Audited::ended(&dir, Some(&origin), unavailable(&origin, ""));
            ended.report.entries = size;
            ended.report.verdict = findings.conclusion();
            ended.findings = findings;
            return ended;
        }
    }
    if let Some((index, version)) = rules.newer {
        let detail = format!("entry version {version}; this program reads versions up to {ENTRY_VERSION}");
        findings.push(Finding::new(Class::NewerVersion, Blame::Unknown, origin.as_str(), detail).at(index));
        // What the rules saw before it stands; what comes after is not known.
        findings.extend(std::mem::take(&mut rules.findings.list));
        let mut ended = Audited::ended(&dir, Some(&origin), unavailable(&origin, ""));
        (ended.report.entries, ended.report.root) = (size, head.root().to_string());
        ended.report.verdict = findings.conclusion();
        ended.findings = findings;
        return ended;
    }
    let carry = continues.then(|| rules.carry());
    rules.finish();
    let left = rules.closed(opened, size);
    if !rules.asides.present && rules.counts != Counts::default() && needs_asides(&rules.counts) {
        findings.push(unavailable(&origin, "asides: not found"));
    }
    findings.extend(std::mem::take(&mut rules.findings.list));
    findings.extend(other_files(&dir, &origin, size));
    if rules.groups.cut {
        findings.push(unavailable(&origin, "more entries about groups than are compared"));
    }
    let closed_at = set.roster.charter.member_by_origin(&origin).and_then(|(_, log)| log.closed_at);
    let cached = Cached::new(&dir);
    let mut known: Vec<SignedCheckpoint> = rules.own_heads.clone();
    known.extend(last.map(|last| last.head));
    match remembered(origin.as_str()).map(|note| set.roster.head(&note)) {
        Some(Ok(head)) => known.push(head),
        Some(Err(error)) => findings.push(unavailable(&origin, &format!("the remembered head: {error}"))),
        None => {}
    }
    // One that cannot be verified any more says nothing: what is remembered for certain stands above.
    let copied = copied.and_then(|note| set.roster.head(note).ok()).filter(|kept| kept.origin() == origin.as_str());
    known.extend(copied.filter(|kept| !known.contains(kept)));
    let mut cosigners = Vec::new();
    let cosigned = cosigned.map(|(head, quorum)| {
        let size = head.size().0;
        cosigners = set.roster.words_for(&head);
        if let Some(name) = set.roster.unknown_signature(&head) {
            let detail = format!("a line by {name}");
            findings.push(Finding::new(Class::UnknownSignature, Blame::Unknown, origin.as_str(), detail));
        }
        if !quorum {
            findings.push(unavailable(&origin, "cosigned: cosignatures of the charter's quorum are missing"));
        }
        known.push(head);
        if quorum { size } else { 0 }
    });
    let ended = left.is_some() || closed_at.is_some();
    findings.extend(freshness(set, &origin, &cosigners, &rules, ended));
    findings.extend(known.iter().filter_map(|kept| against_itself(&origin, &head, kept, &cached, closed_at)));
    prove_entries(&mut findings, &dir, &cached, &head);
    let report = LogReport {
        dir: path.display().to_string(),
        origin: origin.to_string(),
        node: node.to_string(),
        entries: size,
        closed_at: left.map(|last| last + 1).or_else(|| closed_by_charter(set, &origin)),
        cosigned: (!set.roster.charter.witness_policy().is_none()).then(|| cosigned.unwrap_or_default()),
        root: head.root().to_string(),
        counts: rules.counts,
        verdict: findings.conclusion(),
        cosigners,
        figures: rules.figures.take(),
    };
    let tracks = rules.take_tracks();
    let Rules { asides, peer_heads, unreceipted, groups, .. } = rules;
    let checked = Checked {
        dir,
        origin: origin.to_string(),
        node,
        head,
        asides,
        tracks,
        peer_heads,
        own_heads: known,
        unreceipted,
        groups: groups.facts,
        continues,
        follows,
        closed_at,
    };
    Audited { report, findings, checked: Some(checked), carry }
}

/// The head in the file `cosigned`, and whether it bears the quorum's cosignatures; none without the file.
///
/// # Errors
/// What is wrong with the file. It convicts nobody: whoever made the copy may have put it there.
fn cosigned_head(
    set: &Setting<'_>,
    origin: &Origin,
    note: Result<Vec<u8>, ReadError>,
) -> Result<Option<(SignedCheckpoint, bool)>, String> {
    let note = match note {
        Ok(note) => note,
        Err(ReadError::NotFound) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let head = set.roster.head(&note).map_err(|error| error.to_string())?;
    if head.origin() != origin.as_str() {
        return Err(format!("it is of log {}", head.origin()));
    }
    let policy = set.roster.charter.witness_policy();
    let by = set.roster.cosigners(&head);
    let by: BTreeSet<&str> = by.iter().map(|line| line.name.as_str()).collect();
    let quorum = policy.is_met_by(&by);
    Ok(Some((head, quorum)))
}

/// Whether the charter's quorum vouched for the log as lately as the charter wants. It convicts nobody: witnesses may have been
/// away.
fn freshness(
    set: &Setting<'_>,
    origin: &Origin,
    cosigners: &[Cosigner],
    rules: &Rules<'_>,
    ended: bool,
) -> Option<Finding> {
    let charter = set.roster.charter;
    let policy = charter.witness_policy();
    if policy.is_none() {
        return None;
    }
    let late = |at: Millis| at.plus(charter.cosign_bound_millis()) < set.now;
    let finding = |class, detail: String| Some(Finding::new(class, Blame::Unknown, origin.as_str(), detail));
    if let Some(oldest) = rules.unvouched.filter(|oldest| late(oldest.start())) {
        return finding(Class::CosignOverdue, format!("entries from {} on, dated {oldest}", rules.vouched));
    }
    // The latest time by which a whole quorum had seen no larger tree.
    let mut newest: Vec<&Cosigner> = cosigners.iter().filter(|by| by.at.is_some()).collect();
    newest.sort_by_key(|by| std::cmp::Reverse(by.at));
    let mut names = BTreeSet::new();
    let quorum = newest.into_iter().find_map(|by| {
        names.insert(&*by.witness);
        policy.is_met_by(&names).then_some(by.at).flatten()
    });
    let stale = quorum.filter(|at| late(*at) && !ended)?;
    finding(Class::HeadStale, format!("{} entries, cosigned at {stale}", rules.vouched))
}

const fn needs_asides(counts: &Counts) -> bool {
    let trained = &counts.training;
    counts.queries + counts.answers + counts.refusals + counts.releases > 0
        || trained.queries + trained.answers + trained.refusals + trained.releases > 0
}

fn unavailable(origin: &Origin, detail: &str) -> Finding {
    Finding::new(Class::Unavailable, Blame::Unknown, origin.as_str(), detail)
}

/// The log's name and its verified head.
fn open_head(set: &Setting<'_>, dir: &LogDir) -> Result<(Origin, SignedCheckpoint), Box<Audited>> {
    let end = |origin: Option<&Origin>, class, detail: String| {
        let log = origin.map_or_else(|| dir.path().display().to_string(), ToString::to_string);
        let blame = origin.map_or(Blame::Unknown, |o| Blame::Node(o.node()));
        let blame = if class == Class::Unavailable || class == Class::UnknownLog { Blame::Unknown } else { blame };
        Box::new(Audited::ended(dir, origin, Finding::new(class, blame, &log, detail)))
    };
    let note = match dir.checkpoint() {
        Ok(note) => note,
        Err(error) => return Err(end(None, Class::Unavailable, format!("checkpoint {error}"))),
    };
    let guess = set.roster.guess_origin(&note);
    let head = match ClaimedCheckpoint::parse(&note).map_err(HeadError::from).and_then(|c| set.roster.verify(c)) {
        Ok(head) => head,
        Err(HeadError::UnknownLog(name)) if guess.is_none() => {
            return Err(end(None, Class::UnknownLog, format!("the head is of log {name}")));
        }
        Err(error) => return Err(end(guess.as_ref(), Class::BadHead, error.to_string())),
    };
    let Ok(origin) = head.origin().parse::<Origin>() else {
        return Err(end(None, Class::UnknownLog, "the head names no log of this protocol".to_owned()));
    };
    let closed = closed_by_charter(set, &origin);
    if let Some(closed) = closed.filter(|closed| *closed < head.size().0) {
        let detail = format!("closed at {closed}, presented with {} entries", head.size());
        return Err(end(Some(&origin), Class::BeyondClosed, detail));
    }
    Ok((origin, head))
}

/// Entries at which the charter closed a log.
fn closed_by_charter(set: &Setting<'_>, origin: &Origin) -> Option<u64> {
    set.roster.charter.member_by_origin(origin).and_then(|(_, log)| log.closed_at)
}

fn diverges(origin: &Origin, head: &SignedCheckpoint, error: &ReplayError) -> Finding {
    let corrupt = |index: Option<u64>| {
        let finding = Finding::new(Class::Corrupt, Blame::Node(origin.node()), origin.as_str(), error.to_string());
        let finding = finding.with_proof(Proof::heads([head.clone()]));
        match index {
            Some(index) => finding.at(index),
            None => finding,
        }
    };
    match error {
        ReplayError::Unavailable { .. } | ReplayError::TileUnavailable { .. } | ReplayError::Stopped(_) => {
            unavailable(origin, &error.to_string())
        }
        ReplayError::Diverges(Divergence::Tile { first, .. }) => corrupt(Some(first.0)),
        ReplayError::Diverges(Divergence::Bundle(bundle)) => corrupt(Some(first_of(bundle))),
        ReplayError::Diverges(_) => corrupt(None),
        _ => unavailable(origin, &error.to_string()),
    }
}

/// The first entry that a bad bundle spoils.
fn first_of(error: &puente_audit_log::BundleReadError) -> u64 {
    use puente_audit_log::{BundleError, BundleReadError};
    match error {
        BundleReadError::Malformed { id, error } => {
            let at = match error {
                BundleError::Truncated { at } => *at,
                BundleError::TooFew { found, .. } => *found,
                BundleError::TooMany { expected } => *expected,
                _ => 0,
            };
            (id.index() << 8).saturating_add(at as u64)
        }
        BundleReadError::Unavailable { id, .. } => id.index() << 8,
        _ => 0,
    }
}

/// Files that the replay did not read: older partial ones must be the beginnings of those it did.
fn other_files(dir: &LogDir, origin: &Origin, size: u64) -> Vec<Finding> {
    let (files, _) = match dir.list() {
        Ok(listed) => listed,
        Err(error) => return vec![unavailable(origin, &format!("tile: {error}"))],
    };
    let mut found = Vec::new();
    let mut beyond = None;
    for path in files {
        let (level, index, width) = match path {
            LogPath::Tile(tile) => (tile.level(), tile.index(), tile.width()),
            LogPath::Bundle(bundle) => (0, bundle.index(), bundle.width()),
            LogPath::Checkpoint => continue,
        };
        let hashes = u32::from(level).checked_mul(8).and_then(|bits| size.checked_shr(bits)).unwrap_or(0);
        let there = hashes.saturating_sub(index.saturating_mul(256));
        let there = u16::try_from(there).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
        if there == width {
            continue;
        }
        if there < width {
            beyond.get_or_insert(path);
            continue;
        }
        match begins(dir, path, there) {
            Ok(true) => {}
            Ok(false) => {
                let detail = format!("{path} is not the beginning of the file that follows it");
                let first = index.saturating_mul(256) << (8 * u32::from(level)).min(32);
                let blame = Blame::Node(origin.node());
                found.push(Finding::new(Class::Corrupt, blame, origin.as_str(), detail).at(first));
            }
            Err(error) => found.push(unavailable(origin, &format!("{path} {error}"))),
        }
    }
    if let Some(path) = beyond {
        found.push(Finding::new(Class::BeyondHead, Blame::Unknown, origin.as_str(), path.to_string()));
    }
    found
}

/// The partial file holds the first entries or hashes of the one of width `there`.
fn begins(dir: &LogDir, path: LogPath, there: u16) -> Result<bool, ReadError> {
    let part = dir.file(path)?;
    let whole = match path {
        LogPath::Tile(tile) => match puente_audit_log::TileId::new(tile.level(), tile.index(), there) {
            Ok(id) => dir.tile(id).or_else(|_| dir.tile(id.widened()))?,
            Err(_) => return Ok(false),
        },
        LogPath::Bundle(bundle) => match BundleId::new(bundle.index(), there) {
            Ok(id) => dir.bundle(id).or_else(|_| dir.bundle(id.widened()))?,
            Err(_) => return Ok(false),
        },
        LogPath::Checkpoint => return Ok(true),
    };
    let complete = match path {
        LogPath::Tile(tile) => part.len() == 32 * usize::from(tile.width()),
        LogPath::Bundle(bundle) => puente_audit_log::decode_bundle(&part, bundle.width()).is_ok(),
        LogPath::Checkpoint => true,
    };
    Ok(complete && whole.starts_with(&part))
}

/// A head of this log that it signed before, against the one that it presents now.
fn against_itself(
    origin: &Origin,
    head: &SignedCheckpoint,
    kept: &SignedCheckpoint,
    tiles: &dyn TileReader,
    closed_at: Option<u64>,
) -> Option<Finding> {
    if closed_at.is_some_and(|closed| kept.size().0 > closed) {
        return Some(lost_tail(origin.as_str(), kept, closed_at.unwrap_or_default()));
    }
    let blame = || Blame::Node(origin.node());
    let sizes = format!("signed {} entries before, presents {} now", kept.size(), head.size());
    let finding = |class, detail: String| Finding::new(class, blame(), origin.as_str(), detail);
    let proof = Proof::heads([kept.clone(), head.clone()]);
    match relate(head, kept, tiles) {
        Relation::Consistent => None,
        Relation::Beyond => Some(finding(Class::Truncated, sizes).with_proof(proof)),
        Relation::Split => {
            Some(finding(Class::SplitView, format!("two roots at {} entries", head.size())).with_proof(proof))
        }
        Relation::Contradicts(prefix) => Some(finding(Class::Rewritten, sizes).with_proof(proof.with_prefix(prefix))),
        Relation::CouldNotTell(why) => Some(unavailable(origin, &why)),
    }
}

/// A head beyond the size at which its log was closed: it convicts nobody.
pub(crate) fn lost_tail(origin: &str, kept: &SignedCheckpoint, closed_at: u64) -> Finding {
    let detail = format!("closed at {closed_at}; a head over {} entries is kept", kept.size());
    Finding::new(Class::LostTail, Blame::Unknown, origin, detail).with_proof(Proof::heads([kept.clone()]))
}

/// Which log a folder claims to hold: its node and number.
pub(crate) fn place(set: &Setting<'_>, path: &Path) -> Option<(NodeUri, u32)> {
    let (origin, _) = open_head(set, &LogDir::new(path)).ok()?;
    Some((origin.node(), log_number(origin.as_str())))
}

/// Gives findings about entries an inclusion proof each, so that a third party can check them.
fn prove_entries(findings: &mut Findings, dir: &LogDir, tiles: &dyn TileReader, head: &SignedCheckpoint) {
    let mut proven = 0;
    for finding in &mut findings.list {
        let Some(index) = finding.index else { continue };
        if finding.severity != crate::class::Severity::Unsound
            || proven == PROVEN_FINDINGS_MAX
            || finding.class == Class::Corrupt
        {
            continue;
        }
        proven += 1;
        let places = finding.related.into_iter().chain([index]);
        finding.proof.entries.extend(places.filter_map(|at| crate::prove::proven_entry(dir, tiles, head, at)));
    }
}

/// All entries of one numbering, closed ones too, by a second pass over the log.
pub(crate) fn full_track(set: &Setting<'_>, logs: &[&Checked], numbering: &Numbering) -> BTreeMap<u64, Numbered> {
    let mut out = BTreeMap::new();
    for log in logs {
        out.extend(full_part(set, log, numbering));
    }
    out
}

fn full_part(set: &Setting<'_>, log: &Checked, numbering: &Numbering) -> BTreeMap<u64, Numbered> {
    let Ok(asides) = Asides::load(log.dir.asides(), set.roster, &mut Vec::new()) else { return BTreeMap::new() };
    let mut rules = Rules::new(set, &log.origin, log.node.clone(), log_number(&log.origin), asides);
    rules.keep = Some(numbering.clone());
    let replayed = replay(&log.head, &log.dir, |index, leaf, bytes| {
        rules.entry(index.0, leaf, bytes);
        ControlFlow::Continue(())
    });
    // The log was replayed before: it cannot fail now unless its files change under our hands.
    match (replayed, rules.take_tracks().remove(numbering)) {
        (Ok(_), Some(track)) => track.tail,
        _ => BTreeMap::new(),
    }
}

/// `k` of an origin `…/log<k>`.
pub(crate) fn log_number(origin: &str) -> u32 {
    origin.rsplit_once("/log").and_then(|(_, k)| k.parse().ok()).unwrap_or(1)
}
