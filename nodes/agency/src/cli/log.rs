use std::path::{Path, PathBuf};

use puente_audit_log::{
    BundleId, ClaimedCheckpoint, ClaimedCoseReceipt, ClaimedReceipt, ReadError, SignedCheckpoint, TILE_WIDTH, TileId,
    TileReader, VerifierKey, cose_receipt, decode_bundle, leaf_hash, prove_inclusion,
};
use puente_model::{Digest, LeafIndex, Minute};
use puente_wire::proto::Message as _;
use puente_wire::{Entry, Pair, PairBody, SeedUse, proto};
use puente_words::{Clocks, Lang, say};
use serde_json::{Value, json};

use super::args::{Audience, LogCommand};
use super::output::{Failure, Report, wrap};
use super::peers::key_failure;
use super::{Context, client, load_failure};
use crate::config::NodeConfig;
use crate::control_api::{Answer, Command};
use crate::disk::{ExportAsides, NodeDisk};
use crate::files;
use crate::keys::KeyRoom;

pub(super) fn run(context: &Context, command: LogCommand) -> Result<Report, Failure> {
    match command {
        LogCommand::Show { from, limit } => show(context, &Log::open(context)?, from, limit),
        LogCommand::Prove { entry, out, cose } => {
            let log = Log::open(context)?;
            let proven = prove(&log, &entry, out.as_deref())?;
            match cose {
                Some(path) => Ok(proven.note(prove_as_cose(context, &log, &entry, &path)?)),
                None => Ok(proven),
            }
        }
        LogCommand::Resume => super::succession::resume(context),
        LogCommand::Successor => super::succession::successor(context),
        LogCommand::Abandon => super::succession::abandon(context),
        LogCommand::Switch => super::succession::switch(context),
        LogCommand::Export { folder, auditor, log: Some(k) } => export_closed(context, &folder, auditor, k),
        LogCommand::Export { folder, auditor, log: None } => export(context, &folder, auditor),
    }
}

/// The published log of a node's folder, its head's signature verified.
struct Log {
    files: Files,
    key: VerifierKey,
    head: SignedCheckpoint,
}

/// The log's files, read one at a time.
pub(crate) struct Files(pub(crate) PathBuf);

impl Files {
    /// The log in this folder.
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    fn file(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        match std::fs::read(self.0.join(name)) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(ReadError::NotFound),
            Err(error) => Err(ReadError::Io(error.to_string())),
        }
    }
}

impl TileReader for Files {
    fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        self.file(&puente_audit_log::LogPath::from(id).to_string())
    }

    fn bundle(&self, id: BundleId) -> Result<Vec<u8>, ReadError> {
        self.file(&puente_audit_log::LogPath::from(id).to_string())
    }
}

pub(crate) fn key(context: &Context) -> Result<VerifierKey, Failure> {
    let config = NodeConfig::load(&context.dir).map_err(|error| load_failure(error.into()))?;
    let origin = config.origin().map_err(|error| Failure::usage("config", error.to_string()))?;
    // The public key stands in the charter; before there is one, the private key tells.
    if let Ok(bearings) = crate::load::Bearings::load(&context.dir)
        && let Some(member) = bearings.charter.member(&config.node)
        && let Some(log) = member.logs.iter().find(|log| log.origin == origin)
    {
        return log
            .vkey
            .parse()
            .map_err(|error: puente_audit_log::KeyError| Failure::usage("log-key", error.to_string()));
    }
    let room = KeyRoom::open(context.vault.clone(), &config.keys).map_err(key_failure)?;
    let signer = room.log_signer(&context.dir, &origin, config.log).map_err(key_failure)?;
    Ok(signer.verifier().clone())
}

fn damaged(what: impl std::fmt::Display) -> Failure {
    Failure::findings("damaged", format!("the log is damaged: {what}"))
        .hint("stop the node, keep the folder as it is, and let puente-audit say what is wrong")
}

impl Log {
    fn open(context: &Context) -> Result<Self, Failure> {
        let key = key(context)?;
        // What is durable, not only what was published up to a second ago.
        if let Some(mut node) = client::connect(context)? {
            client::call(&mut node, Command::Publish, None)?;
        }
        let files = Files(context.dir.log());
        let note = files.file("checkpoint").map_err(|error| match error {
            ReadError::NotFound => Failure::usage("empty-log", "this node has published no log yet")
                .hint("run the node: its first entry is its start"),
            _ => damaged(format!("checkpoint: {error}")),
        })?;
        let head = ClaimedCheckpoint::parse(&note).and_then(|claimed| claimed.verify(&key)).map_err(damaged)?;
        Ok(Self { files, key, head })
    }

    /// The entries of one bundle, as they stand in the published tree.
    fn bundle(&self, index: u64) -> Result<Vec<Vec<u8>>, Failure> {
        let size = self.head.size().0;
        let width = (size - index * u64::from(TILE_WIDTH)).min(TILE_WIDTH.into());
        let width = u16::try_from(width).unwrap_or(TILE_WIDTH);
        let id = BundleId::new(index, width).map_err(damaged)?;
        // A partial bundle may have grown to a full one since the head was signed.
        let (bytes, found) = match self.files.bundle(id) {
            Err(ReadError::NotFound) if width < TILE_WIDTH => (self.files.bundle(id.widened()), TILE_WIDTH),
            other => (other, width),
        };
        let bytes = bytes.map_err(|error| damaged(format!("bundle {index}: {error}")))?;
        let entries = decode_bundle(&bytes, found).map_err(|error| damaged(format!("bundle {index}: {error}")))?;
        Ok(entries.into_iter().take(width.into()).map(<[u8]>::to_vec).collect())
    }
}

fn show(context: &Context, log: &Log, from: u64, limit: u64) -> Result<Report, Failure> {
    let size = log.head.size().0;
    let end = from.saturating_add(limit).min(size);
    let (mut rows, mut text) = (Vec::new(), String::new());
    let screen = Screen::of(context)?;
    let mut index = from;
    while index < end {
        let entries = log.bundle(index / u64::from(TILE_WIDTH))?;
        let first = index % u64::from(TILE_WIDTH);
        let skip = usize::try_from(first).unwrap_or(usize::MAX);
        for bytes in entries.iter().skip(skip) {
            if index >= end {
                break;
            }
            let (value, line) = screen.describe(index, bytes);
            rows.push(value);
            text.push_str(&line);
            index += 1;
        }
    }
    let value = json!({
        "origin": log.head.origin(),
        "size": size,
        "root": log.head.root().to_string(),
        "entries": rows,
    });
    let report =
        Report::new(value, text).note(format!("{} holds {size} entries; root {}", log.head.origin(), log.head.root()));
    Ok(if end < size { report.hint(format!("more with --from {end}")) } else { report })
}

/// Entries in words: in the reader's language, on the clocks of those whom they concern. Nothing here names a person:
/// entries hold commitments.
struct Screen {
    lang: Lang,
    config: NodeConfig,
    /// The clocks of entries without a partner.
    own: Clocks,
}

impl Screen {
    fn of(context: &Context) -> Result<Self, Failure> {
        let config = NodeConfig::load(&context.dir).map_err(|error| load_failure(error.into()))?;
        Ok(Self { lang: context.lang, config, own: context.clocks() })
    }

    fn describe(&self, index: u64, bytes: &[u8]) -> (Value, String) {
        let leaf = leaf_hash(bytes);
        let (mut value, words) = match Entry::decode(bytes) {
            Ok(Entry::Pair(pair)) => self.pair(&pair),
            Ok(Entry::Veiled(veiled)) => (
                json!({"type": "veiled", "stage": veiled.stage.as_str(), "minute": veiled.minute.to_string(),
                    "commitment": veiled.commitment.to_string()}),
                self.entry(veiled.minute, "veiled", &[veiled.stage.to_string()], &self.own),
            ),
            Ok(Entry::Seeds(seeds)) => {
                let auditors: Vec<&str> = seeds.seeds.iter().map(|s| s.auditor.as_str()).collect();
                let whom = auditors.join(", ");
                let (purpose, english) = match seeds.purpose {
                    SeedUse::Escrow => ("escrow", format!("seeds of openings in escrow, sealed to {whom}")),
                    SeedUse::Headers => ("headers", format!("seeds of sealed headers, sealed to {whom}")),
                };
                (
                    json!({"type": "seeds", "use": purpose, "minute": seeds.minute.to_string(), "auditors": auditors}),
                    self.entry(seeds.minute, "seeds", &[say(self.lang, &english).into_owned()], &self.own),
                )
            }
            Ok(Entry::Group(group)) => (
                json!({"type": "group", "kind": group.kind(), "group": group.group.as_str(),
                    "minute": group.minute.to_string(), "what": group.says()}),
                self.entry(group.minute, group.kind(), &[say(self.lang, &group.says()).into_owned()], &self.own),
            ),
            Err(error) => {
                let english = format!("undecodable: {error}");
                let words = format!("{}\n", say(self.lang, &english));
                (json!({"type": "undecodable", "error": error.to_string()}), words)
            }
        };
        if let Some(object) = value.as_object_mut() {
            object.insert("index".to_owned(), index.into());
            object.insert("leaf".to_owned(), leaf.to_string().into());
        }
        (value, format!("{index:>8}  {words}          {leaf}\n"))
    }

    /// When in UTC and what, then what else there is to say, and what the clocks showed.
    fn entry(&self, minute: Minute, kind: &str, lines: &[String], clocks: &Clocks) -> String {
        let mut out = format!("{minute}  {kind:<8} ");
        for (i, line) in lines.iter().enumerate() {
            out.push_str(&if i == 0 { format!("{line}\n") } else { format!("{:28}{line}\n", "") });
        }
        let local = clocks.local(minute.start());
        if !local.is_empty() {
            wrap(&local, 68).iter().for_each(|line| out.push_str(&format!("{:10}{line}\n", "")));
        }
        out
    }

    fn pair(&self, pair: &Pair) -> (Value, String) {
        let (from, to) = (pair.from.to_string(), pair.to.to_string());
        let (name, what) = match &pair.body {
            PairBody::Query { terms, .. } => {
                ("QUERY", format!("{} step {} for {}", terms.kind, terms.step, terms.purpose))
            }
            PairBody::Answer { outcome, count, .. } => ("ANSWER", format!("{outcome} ({count} records)")),
            PairBody::Refusal { reason, .. } => ("REFUSAL", reason.to_string()),
            PairBody::Release { .. } => ("RELEASE", "content key".to_owned()),
            PairBody::Void { voided, .. } => ("VOID", format!("number {voided}")),
            PairBody::Period(period) => (
                "PERIOD",
                format!("{} to {}, {} numbers, {} holes", period.first, period.last, period.count, period.holes.len()),
            ),
        };
        let mut value = json!({
            "type": "pair", "kind": name, "stage": pair.stage().as_str(), "from": from, "to": to, "seq": pair.seq.0,
            "minute": pair.minute.to_string(), "charter": pair.charter.to_string(),
            "policy_hash": pair.policy_hash.to_string(), "what": what,
            "exchange": pair.exchange().map(|x| x.to_string()),
            "quoted": pair.quoted().map(|d| d.to_string()),
        });
        if let (Some(object), Some(terms)) = (value.as_object_mut(), pair.terms()) {
            let terms = json!({"query": terms.kind.to_string(), "step": terms.step.as_str(),
                "purpose": terms.purpose.as_str(), "basis": terms.basis.to_string(),
                "handling": terms.handling.as_str(), "mode": terms.mode.as_str()});
            object.insert("terms".to_owned(), terms);
        }
        let what = say(self.lang, &what);
        let training = pair.terms().is_some_and(|terms| terms.mode == puente_model::Mode::Training);
        let what = if training { format!("{} {what}", crate::training::BANNER) } else { what.into_owned() };
        let short = |uri: &str| uri.trim_start_matches("puente://").to_owned();
        let parties = format!("{:>4}  {} → {}", pair.seq.to_string(), short(&from), short(&to));
        let partner = if pair.from == self.config.node { &pair.to } else { &pair.from };
        let clocks = self.config.time_zones.clocks(&self.config.node, &[partner], None);
        (value, self.entry(pair.minute, name, &[parties, what], &clocks))
    }
}

fn prove(log: &Log, entry: &str, out: Option<&Path>) -> Result<Report, Failure> {
    let (index, leaf) = find(log, entry)?;
    let hashes = prove_inclusion(&log.files, LeafIndex(index), log.head.size()).map_err(damaged)?;
    let mut text = format!("c2sp.org/tlog-proof@v1\nindex {index}\n");
    for hash in &hashes {
        use base64::Engine as _;
        text.push_str(&base64::engine::general_purpose::STANDARD.encode(hash.as_bytes()));
        text.push('\n');
    }
    text.push('\n');
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(log.head.note_bytes());
    // Nothing leaves that does not verify.
    ClaimedReceipt::parse(&bytes).and_then(|claimed| claimed.verify(&leaf, &log.key)).map_err(damaged)?;
    let proof = String::from_utf8(bytes).map_err(damaged)?;
    let value = json!({"index": index, "leaf": leaf.to_string(), "size": log.head.size().0, "vkey": log.key.to_string(), "proof": proof});
    let Some(path) = out else { return Ok(Report::new(value, proof)) };
    files::create(path, proof.as_bytes(), false).map_err(|error| Failure::file(path, &error))?;
    Ok(Report::new(value, format!("{}\n", path.display())).note(format!("entry {index} ({leaf}) stands in the log")))
}

/// The same proof as a COSE receipt. Its signature is over the root alone, so that the log's key signs once more what it has signed.
fn prove_as_cose(context: &Context, log: &Log, entry: &str, path: &Path) -> Result<String, Failure> {
    let (index, leaf) = find(log, entry)?;
    let hashes = prove_inclusion(&log.files, LeafIndex(index), log.head.size()).map_err(damaged)?;
    let config = NodeConfig::load(&context.dir).map_err(|error| load_failure(error.into()))?;
    let origin = config.origin().map_err(|error| Failure::usage("config", error.to_string()))?;
    let room = KeyRoom::open(context.vault.clone(), &config.keys).map_err(key_failure)?;
    let signer = room.log_signer(&context.dir, &origin, config.log).map_err(key_failure)?;
    let receipt = cose_receipt(&log.head, LeafIndex(index), &leaf, &hashes, &*signer).map_err(damaged)?;
    // Nothing leaves that does not verify.
    ClaimedCoseReceipt::parse(&receipt).and_then(|claimed| claimed.verify(&leaf, &log.key)).map_err(damaged)?;
    files::create(path, &receipt, false).map_err(|error| Failure::file(path, &error))?;
    Ok(format!("the COSE receipt is in {}", path.display()))
}

fn find(log: &Log, entry: &str) -> Result<(u64, Digest), Failure> {
    let size = log.head.size().0;
    let missing = |what: String| Failure::usage("no-such-entry", what).hint("'puente log show' lists entries");
    let wide = u64::from(TILE_WIDTH);
    if let Ok(index) = entry.parse::<u64>() {
        if index >= size {
            return Err(missing(format!("entry {index} is not in a log of {size} entries")));
        }
        let entries = log.bundle(index / wide)?;
        let at = usize::try_from(index % wide).unwrap_or(usize::MAX);
        return entries.get(at).map(|bytes| (index, leaf_hash(bytes))).ok_or_else(|| damaged("a bundle is short"));
    }
    let wanted: Digest = entry
        .parse()
        .map_err(|_| missing(format!("'{}' is neither an index nor a leaf hash", entry.escape_debug())))?;
    for bundle in 0..size.div_ceil(wide) {
        for (at, bytes) in log.bundle(bundle)?.iter().enumerate() {
            if leaf_hash(bytes) == wanted {
                return Ok((bundle * wide + at as u64, wanted));
            }
        }
    }
    Err(missing(format!("no entry of this log has the leaf hash {wanted}")))
}

/// True for records of the sidecar that auditors of another nation may see: not the veiled headers.
fn foreign_may_see(aside: &[u8]) -> bool {
    proto::Aside::decode(aside).is_ok_and(|a| !matches!(a.body, None | Some(proto::aside::Body::SealedHeader(_))))
}

/// Copies a log that was closed: it lies in `closed/` and nobody writes to it.
fn export_closed(context: &Context, folder: &Path, auditor: Audience, k: u32) -> Result<Report, Failure> {
    let from = context.dir.closed_logs().join(format!("log{k}"));
    if !from.is_dir() {
        return Err(Failure::usage("no-such-log", format!("this node has no closed log {k}"))
            .hint("leave --log away for the log that is open"));
    }
    export_still(&from, folder, auditor, k)
}

/// Copies a log to which nobody writes any more, as it lies in the clear.
fn export_still(from: &Path, folder: &Path, auditor: Audience, k: u32) -> Result<Report, Failure> {
    let own = auditor == Audience::Own;
    let copied = copy_folder(from, folder, own)?;
    let value = json!({"folder": folder.display().to_string(), "log": k, "files": copied,
        "auditor": if own { "own" } else { "foreign" }});
    Ok(Report::new(value, format!("{}\n", folder.display()))
        .hint(format!("an auditor checks it with: puente-audit verify {}", folder.display())))
}

fn copy_folder(from: &Path, to: &Path, own: bool) -> Result<u64, Failure> {
    files::make_dir(to).map_err(|error| Failure::file(to, &error))?;
    let mut copied = 0;
    for entry in std::fs::read_dir(from).map_err(|error| Failure::file(from, &error))? {
        let path = entry.map_err(|error| Failure::file(from, &error))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copied += copy_folder(&path, &target, own)?;
            continue;
        }
        if path.file_name().is_some_and(|name| name == "asides") && !own {
            let all = std::fs::read(&path).map_err(|error| Failure::file(&path, &error))?;
            let (mut rest, mut out) = (all.as_slice(), Vec::new());
            while let Some((aside, after)) = crate::disk::split_aside(rest) {
                if foreign_may_see(aside) {
                    let len = u32::try_from(aside.len()).map_err(damaged)?;
                    out.extend_from_slice(&len.to_be_bytes());
                    out.extend_from_slice(aside);
                }
                rest = after;
            }
            files::replace(&target, &out, false).map_err(|error| Failure::file(&target, &error))?;
        } else {
            std::fs::copy(&path, &target).map_err(|error| Failure::file(&target, &error))?;
        }
        copied += 1;
    }
    Ok(copied)
}

fn export(context: &Context, folder: &Path, auditor: Audience) -> Result<Report, Failure> {
    if !context.dir.store_key().exists() && client::connect(context)?.is_none() {
        // Journal and evidence stay closed for ever; what is published needs no key.
        let k = NodeConfig::load(&context.dir).map_err(|error| load_failure(error.into()))?.log;
        return export_still(&context.dir.log(), folder, auditor, k);
    }
    let key = key(context)?;
    let own = auditor == Audience::Own;
    files::make_dir(folder).map_err(|error| Failure::file(folder, &error))?;
    let folder = folder.canonicalize().map_err(|error| Failure::file(folder, &error))?;
    let (size, copied, asides) = match client::connect(context)? {
        Some(mut node) => match client::call(&mut node, Command::Export { to: folder.clone(), own }, None)? {
            Answer::Exported { size, files, asides } => (size, files, asides),
            _ => return Err(client::unexpected()),
        },
        None => {
            let path = context.dir.store_key();
            let store_key = context.vault.secret(&path).map_err(|error| Failure::file(&path, &error))?;
            let disk = |error: crate::disk::DiskError| Failure::unavailable("disk", error.to_string());
            let (node, _) = NodeDisk::open(context.dir.path(), &store_key, &key).map_err(disk)?;
            let which = if own { ExportAsides::All } else { ExportAsides::Only(&foreign_may_see) };
            let done = node.export(&folder, &which).map_err(disk)?;
            node.close().map_err(disk)?;
            (done.size, done.files, done.asides)
        }
    };
    let value = json!({"folder": folder.display().to_string(), "origin": key.name(), "vkey": key.to_string(),
        "size": size, "files": copied, "asides": asides, "auditor": if own { "own" } else { "foreign" }});
    Ok(Report::new(value, format!("{}\n", folder.display()))
        .note(format!("copied {size} entries of {} and {asides} records beside them", key.name()))
        .hint(format!("an auditor checks it with: puente-audit verify {}", folder.display())))
}
