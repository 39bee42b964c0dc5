//! Dishonest operators: each changes a copy of a copy, with the log's own key where that helps.

use std::fs;
use std::path::{Path, PathBuf};

use puente_audit_log::LogPath;
use puente_model::{Digest, Secret32};
use puente_wire::proto::{self, Message as _};
use puente_wire::{Entry, Pair, PairBody, PairKind};
use serde_json::{Value, json};

use super::cast::{AGENCIES, Agency, CA_DOJ, FGE_BC, FGR, TX_DPS};
use super::copies::{Copy, Placed, copy_folder, files_below, replace_log, sign_anew};
use super::stage::Stage;
use super::words::Text;
use crate::cli::Failure;

/// One way to be dishonest.
#[derive(Debug, Clone, Copy)]
struct Tampering {
    /// Stable name.
    kind: &'static str,
    text: Text,
    /// Who does it.
    culprit: &'static Agency,
    /// Whose copy is changed: the culprit's own, but for what it showed to a partner.
    changed: &'static Agency,
    /// Classes of which one must be found.
    classes: &'static [&'static str],
    how: fn(&Stage, &Path) -> Result<(), Failure>,
}

const TAMPERINGS: &[Tampering] = &[
    Tampering {
        kind: "flipped-byte-in-entry",
        text: Text::TamperFlip,
        culprit: TX_DPS,
        changed: TX_DPS,
        classes: &["corrupt"],
        how: |_, dir| flip_entry(dir),
    },
    Tampering {
        kind: "dropped-last-entries",
        text: Text::TamperDrop,
        culprit: CA_DOJ,
        changed: CA_DOJ,
        classes: &["truncated"],
        how: show_older,
    },
    Tampering {
        kind: "rewritten-suffix",
        text: Text::TamperRewrite,
        culprit: FGR,
        changed: FGR,
        classes: &["rewritten", "split-view"],
        how: rewrite_suffix,
    },
    Tampering {
        kind: "answer-never-logged",
        text: Text::TamperUnlogged,
        culprit: FGE_BC,
        changed: FGE_BC,
        classes: &["never-logged"],
        how: deny_answer,
    },
    Tampering {
        kind: "forked-log",
        text: Text::TamperFork,
        culprit: TX_DPS,
        changed: FGE_BC,
        classes: &["split-view"],
        how: fork,
    },
    Tampering {
        kind: "flipped-byte-in-tile",
        text: Text::TamperTile,
        culprit: FGE_BC,
        changed: FGE_BC,
        classes: &["corrupt"],
        how: |_, dir| flip_tile(dir),
    },
    Tampering {
        kind: "swapped-entries",
        text: Text::TamperSwap,
        culprit: CA_DOJ,
        changed: CA_DOJ,
        classes: &["corrupt"],
        how: |_, dir| swap(dir),
    },
    Tampering {
        kind: "forged-period-root",
        text: Text::TamperPeriod,
        culprit: TX_DPS,
        changed: TX_DPS,
        classes: &["period-mismatch", "rewritten", "split-view"],
        how: forge_period,
    },
];

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Failure + '_ {
    |error| Failure::file(path, &error)
}

pub(super) fn nothing_to_change(what: &str) -> Failure {
    Failure::unavailable("demo", format!("there is no {what} to tamper with"))
}

/// Changes one bit in the middle of a file.
fn flip(path: &Path) -> Result<(), Failure> {
    let mut bytes = fs::read(path).map_err(io(path))?;
    let middle = bytes.len() / 2;
    match bytes.get_mut(middle) {
        Some(byte) => *byte ^= 1,
        None => return Err(nothing_to_change("byte")),
    }
    fs::write(path, bytes).map_err(io(path))
}

pub(super) fn first_file(dir: &Path, below: &str) -> Result<PathBuf, Failure> {
    files_below(&dir.join(below))?.into_iter().next().ok_or_else(|| nothing_to_change("file"))
}

/// Changes one bit of an entry.
pub(super) fn flip_entry(dir: &Path) -> Result<(), Failure> {
    flip(&first_file(dir, "tile/entries")?)
}

/// Changes one bit of a tile.
pub(super) fn flip_tile(dir: &Path) -> Result<(), Failure> {
    flip(&first_file(dir, "tile/0")?)
}

fn show_older(stage: &Stage, dir: &Path) -> Result<(), Failure> {
    show_instead(stage.at("copies/earlier/us-ca-doj").as_ref(), dir)
}

/// Puts an earlier copy in place of this one.
pub(super) fn show_instead(earlier: &Path, dir: &Path) -> Result<(), Failure> {
    fs::remove_dir_all(dir).map_err(io(dir))?;
    copy_folder(earlier, dir)
}

/// Exchanges two entries that stand next to each other.
pub(super) fn swap(dir: &Path) -> Result<(), Failure> {
    let path = first_file(dir, "tile/entries")?;
    let copy = Copy::read(dir)?;
    let mut entries: Vec<Vec<u8>> = copy.entries.into_iter().take(256).collect();
    let count = entries.len();
    // Two that differ, next to each other.
    let at = (0..count.saturating_sub(1)).rev().find(|i| entries.get(*i) != entries.get(i + 1));
    entries.swap(at.ok_or_else(|| nothing_to_change("entry"))?, at.unwrap_or(0) + 1);
    let bundle = puente_audit_log::encode_bundle(&entries)
        .map_err(|error| Failure::unavailable("demo", format!("a bundle cannot be written: {error}")))?;
    fs::write(&path, bundle).map_err(io(&path))
}

fn key_of(stage: &Stage, agency: &Agency) -> Result<Secret32, Failure> {
    log_key(&stage.root, agency)
}

/// The key with which an agency of the cast in this folder signs its log.
pub(super) fn log_key(root: &Path, agency: &Agency) -> Result<Secret32, Failure> {
    let path = root.join("nodes").join(agency.folder()).join("keys/log.key");
    crate::files::read_secret(&path).map_err(io(&path))
}

/// Changes the last entry by the agency that is `wanted`, and what stands after it stays; signed with the log's own key.
pub(super) fn rewrite(
    key: &Secret32,
    agency: &Agency,
    dir: &Path,
    wanted: fn(&PairBody) -> bool,
    change: fn(&mut Pair),
) -> Result<(), Failure> {
    let mut copy = Copy::read(dir)?;
    let own = copy.pairs().into_iter().rev().find(|p| p.pair.from.as_str() == agency.uri() && wanted(&p.pair.body));
    let mut placed = own.ok_or_else(|| nothing_to_change("entry"))?;
    change(&mut placed.pair);
    if let Some(bytes) = copy.entries.get_mut(placed.index) {
        *bytes = Entry::Pair(placed.pair).encode();
    }
    replace_log(dir, &sign_anew(&copy.origin, &copy.entries, key)?)
}

/// Spoils what the agency's last answer committed to.
pub(super) fn other_answer(key: &Secret32, agency: &Agency, dir: &Path) -> Result<(), Failure> {
    let answer = |body: &PairBody| matches!(body, PairBody::Answer { .. });
    rewrite(key, agency, dir, answer, |pair| {
        if let PairBody::Answer { commitment, .. } = &mut pair.body {
            spoil(commitment);
        }
    })
}

/// Spoils the root of the agency's last period.
pub(super) fn other_period(key: &Secret32, agency: &Agency, dir: &Path) -> Result<(), Failure> {
    let period = |body: &PairBody| matches!(body, PairBody::Period(_));
    rewrite(key, agency, dir, period, |pair| {
        if let PairBody::Period(period) = &mut pair.body {
            spoil(&mut period.root);
        }
    })
}

fn spoil(digest: &mut Digest) {
    digest.0[0] ^= 1;
}

fn rewrite_suffix(stage: &Stage, dir: &Path) -> Result<(), Failure> {
    other_answer(&key_of(stage, FGR)?, FGR, dir)
}

fn forge_period(stage: &Stage, dir: &Path) -> Result<(), Failure> {
    other_period(&key_of(stage, TX_DPS)?, TX_DPS, dir)
}

/// The asker takes the answer that it read out of its log, and what it kept beside it.
fn deny_answer(stage: &Stage, dir: &Path) -> Result<(), Failure> {
    let released = |p: &Placed| {
        p.pair.kind() == PairKind::Answer && p.pair.exchange().is_some_and(|x| x.to_string() == stage.released)
    };
    take_out(&key_of(stage, FGE_BC)?, dir, released)
}

/// Takes these entries out of the log, and what was kept beside them; signed with the log's own key.
pub(super) fn take_out(key: &Secret32, dir: &Path, gone: impl Fn(&Placed) -> bool) -> Result<(), Failure> {
    let copy = Copy::read(dir)?;
    let taken: Vec<Placed> = copy.pairs().into_iter().filter(gone).collect();
    if taken.is_empty() {
        return Err(nothing_to_change("entry"));
    }
    let stays = |i: &usize| taken.iter().all(|p| p.index != *i);
    let entries: Vec<Vec<u8>> =
        copy.entries.iter().enumerate().filter(|(i, _)| stays(i)).map(|(_, e)| e.clone()).collect();
    replace_log(dir, &sign_anew(&copy.origin, &entries, key)?)?;
    change_asides(dir, |aside| taken.iter().all(|p| aside.leaf_hash != p.leaf.0))
}

/// Goes through what is kept beside the log; what `keep` says no to goes.
pub(super) fn change_asides(dir: &Path, mut keep: impl FnMut(&mut proto::Aside) -> bool) -> Result<(), Failure> {
    let path = dir.join("asides");
    let kept = fs::read(&path).map_err(io(&path))?;
    let mut out = Vec::new();
    for bytes in asides(&kept) {
        let mut aside = proto::Aside::decode(bytes).map_err(|_| nothing_to_change("receipt"))?;
        if keep(&mut aside) {
            out.extend(framed(&aside.encode_to_vec()));
        }
    }
    fs::write(&path, out).map_err(io(&path))
}

/// The culprit signs a second history and shows it to this partner, who keeps the head.
fn fork(stage: &Stage, dir: &Path) -> Result<(), Failure> {
    let own = stage.copy_dir(FGE_BC.nation(), TX_DPS);
    second_history(&key_of(stage, TX_DPS)?, own.as_ref(), dir)
}

/// Signs a second history of the log in `own`, and leaves its head with the partner whose copy `partner` is.
pub(super) fn second_history(key: &Secret32, own: &Path, partner: &Path) -> Result<(), Failure> {
    let mut copy = Copy::read(own)?;
    let count = copy.entries.len();
    if count < 2 {
        return Err(nothing_to_change("entry"));
    }
    copy.entries.swap(count - 2, count - 1);
    let files = sign_anew(&copy.origin, &copy.entries, key)?;
    let head = files.into_iter().find(|f| f.path == LogPath::Checkpoint).ok_or_else(|| nothing_to_change("head"))?;
    let aside = proto::Aside {
        leaf_hash: Digest::of(&head.bytes).0.to_vec(),
        body: Some(proto::aside::Body::PeerHead(head.bytes)),
    };
    let path = partner.join("asides");
    let mut kept = fs::read(&path).map_err(io(&path))?;
    kept.extend(framed(&aside.encode_to_vec()));
    fs::write(&path, kept).map_err(io(&path))
}

/// The records of a sidecar: each after its length, 32 bits, big-endian.
fn asides(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut out = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some(aside) = rest.get(..length) else { break };
        out.push(aside);
        bytes = rest.get(length..).unwrap_or_default();
    }
    out
}

fn framed(aside: &[u8]) -> Vec<u8> {
    let length = u32::try_from(aside.len()).unwrap_or(u32::MAX);
    [length.to_be_bytes().as_slice(), aside].concat()
}

impl Stage {
    /// Every way to be dishonest, each caught and attributed by a fresh process.
    pub(super) fn tamperings(&mut self) -> Result<Value, Failure> {
        self.teller.act(Text::ActTamper);
        self.teller.say(Text::TamperStory, &[]);
        let mut out = Vec::new();
        for tampering in TAMPERINGS {
            let what = tampering.text.get(self.teller.lang);
            self.teller.doing(Text::DoingTamper, &[what]);
            // The auditor of the culprit's own nation sees most of it.
            let nation = tampering.culprit.nation();
            let place = self.root.join("tampered").join(tampering.kind);
            let changed = place.join(tampering.changed.folder());
            copy_folder(self.copy_dir(nation, tampering.changed).as_ref(), &changed)?;
            (tampering.how)(self, &changed)?;
            let dirs: Vec<String> = AGENCIES
                .iter()
                .map(|a| match a.id == tampering.changed.id {
                    true => changed.display().to_string(),
                    false => self.copy_dir(nation, a),
                })
                .collect();
            let audit = self.audit_afresh(Self::auditor_of(nation), &place.join("auditor"), &dirs)?;
            let culprit = tampering.culprit.uri();
            let faults = audit.faults();
            let named = faults.iter().find(|(class, who)| tampering.classes.contains(class) && *who == culprit);
            let others = faults.iter().any(|(_, who)| *who != culprit && *who != "unknown");
            let caught = audit.verdict == "unsound" && audit.code == 1 && !faults.is_empty();
            let attributed = if others { None } else { named.map(|_| culprit.clone()) };
            let class = named.map_or("", |(class, _)| class).to_owned();
            let words = [what, &class, tampering.culprit.id];
            self.teller.expect(caught && attributed.is_some(), Text::Caught, &words, &audit.words());
            out.push(json!({"kind": tampering.kind, "caught": caught, "attributed_to": attributed}));
        }
        Ok(Value::Array(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sidecar_records_are_framed_and_split() {
        let all = [framed(b"one"), framed(b""), framed(b"three")].concat();
        assert_eq!(asides(&all), [b"one".as_slice(), b"", b"three"]);
        assert_eq!(asides(&all[..all.len() - 1]).len(), 2);
    }
}
