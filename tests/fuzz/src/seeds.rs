//! Seeds of the corpora: the committed vectors, and the files of `seeds/`.

use std::fs;
use std::path::{Path, PathBuf};

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use puente_wire::proto::{self, Message as _};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Writes every target's seeds to `dir/<target>/`.
pub fn write(dir: &Path) {
    for (target, _) in crate::targets::ALL {
        fs::create_dir_all(dir.join(target)).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    }
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let file = dir.join(target).join(name);
        fs::write(&file, bytes).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    };
    let vectors = root().join("../vectors");
    for target in ["frame", "entry", "header", "payload", "explanation"] {
        for (name, text) in texts(&vectors.join("wire").join(target)) {
            let Some(bytes) = line(&text, "hex").and_then(|h| hex::decode(h).ok()) else { continue };
            // What is refused for its size only is no good start.
            if bytes.len() > 8 * 1024 {
                continue;
            }
            put(target, &name, &bytes);
            if target == "frame" {
                let prefix = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
                put("stream", &name, &[&[7], prefix.as_slice(), &bytes, &prefix, &bytes].concat());
            }
            if target == "entry" {
                let prefix = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
                put("bundle", &name, &[&[0], prefix.as_slice(), &bytes].concat());
            }
        }
    }
    for target in ["note", "checkpoint", "tlog-proof", "add-checkpoint"] {
        for (name, text) in texts(&vectors.join("audit-log").join(target)) {
            let Some((head, body)) = text.split_once("\n\n") else { continue };
            let bytes = match line(head, "encoding") {
                Some("text") => body.as_bytes().to_vec(),
                _ => STANDARD.decode(body.trim_end()).unwrap_or_default(),
            };
            put(target, &name, &bytes);
            for key in ["key", "witness"] {
                line(head, key).into_iter().for_each(|key| put("vkey", &name, key.as_bytes()));
            }
        }
    }
    evidence(&vectors.join("evidence"), &put);
    for (target, _) in crate::targets::ALL {
        let Ok(files) = fs::read_dir(root().join("seeds").join(target)) else { continue };
        for file in files.flatten() {
            let bytes = fs::read(file.path()).unwrap_or_else(|e| panic!("{}: {e}", file.path().display()));
            put(target, &file.file_name().to_string_lossy(), &bytes);
        }
    }
    // Seeds that take no file.
    for path in ["checkpoint", "tile/0/x001/234.p/7", "tile/entries/000", "tile/63/000"] {
        put("log-path", &path.replace('/', "-"), path.as_bytes());
    }
    ledger(&put);
    groups(&put);
    alerts(&put);
    put("datagrams", "three", &[&[3, 0, 1, 9, 0, 2, 8, 8, 5, 192][..], &[7; 1_472]].concat());
    put("tile", "two", &[1; 64]);
    put("multiproof", "two-of-eight", &[8, 2, 1, 4, 1, 4]);
    put("multiproof", "all-of-five", &[5, 5, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    put("consistency", "same", &[7, 7, 0]);
    put("consistency", "grown", &[[4, 7, 0].as_slice(), &[9; 96]].concat());
}

/// What members of a group say and keep about its order: one of every shape.
fn ledger(put: &dyn Fn(&str, &str, &[u8])) {
    use puente_audit_log::{Ed25519Signer, KeyKind};
    use puente_ledger::{Answer, Body, Draft, LedgerOrigin, LedgerReceipt, Message, Reason, Record, Refusal, Skip};
    use puente_model::{Digest, Millis, NodeUri, Secret32};

    let ledger: LedgerOrigin = "group/frontera/otay/ledger1".parse().unwrap();
    let (charter, node): (puente_model::CharterVector, NodeUri) =
        ("3.mx2.us5".parse().unwrap(), "puente://mx/fge-bc/n1".parse().unwrap());
    let signer = Ed25519Signer::new(&ledger.to_string(), KeyKind::Ed25519, &Secret32::new([7; 32])).unwrap();
    let held = std::iter::once((node.clone(), Digest([3; 32]))).collect();
    let commit = Body::Commit { epoch: 6, at: Millis(1_790_000_000_123), commit: Digest([4; 32]), held };
    let close = Body::Close { next: ledger.next().unwrap() };
    let mut signed = Vec::new();
    for (name, body) in [("commit", commit), ("close", close)] {
        let draft = Draft { ledger: ledger.clone(), index: 7, charter: charter.clone(), body };
        let entry = draft.sign(&signer).unwrap().as_bytes().to_vec();
        put("ledger-entry", name, &entry);
        signed.push(entry);
    }
    let (entry, what, index) = (signed.remove(0), Digest([5; 32]), 7);
    let head = b"group/frontera/otay/ledger1\n8\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n".to_vec();
    let receipt = LedgerReceipt { entry: entry.clone(), proof: b"c2sp.org/tlog-proof@v1\nindex 7\n\n".to_vec() };
    let bytes: std::sync::Arc<[u8]> = vec![9; 40].into();
    let place = || ledger.clone();
    let skip = Skip::CharterGoesBack { governing: charter.clone(), found: "1".parse().unwrap() };
    let messages = [
        ("submit", Message::Submit { epoch: 6, commit: bytes.clone() }),
        ("accepted", Message::Answer { commit: what, answer: Answer::Accepted(receipt.clone()) }),
        ("rejected", Message::Answer { commit: what, answer: Answer::Rejected(Reason::NotHeld(skip)) }),
        ("hold", Message::Hold { ledger: place(), index, charter, epoch: 6, at: Millis(1), commit: bytes.clone() }),
        ("held", Message::Held { ledger: place(), index, commit: what, leaf: what }),
        ("keep", Message::Keep { entry: entry.clone(), head: head.clone() }),
        ("kept", Message::Kept { leaf: what }),
        ("refused", Message::Refused { what, why: Refusal::Elsewhere { ledger: place(), size: 3 } }),
        ("receipt", Message::Receipt(receipt)),
        ("want", Message::Want { ledger: place(), from: 3, most: 64 }),
        ("entries", Message::Entries { ledger: place(), from: 7, entries: vec![entry.clone()], head: head.clone() }),
        ("want-kept", Message::WantKept { ledger: place(), index }),
        ("want-commit", Message::WantCommit(what)),
        ("commit", Message::Commit(bytes.clone())),
        ("premature", Message::Premature { close: signed.remove(0), head: head.clone(), before: head.clone() }),
        ("fresh", Message::Fresh { head: head.clone() }),
    ];
    messages.iter().for_each(|(name, message)| put("ledger-message", name, &message.encode()));
    let records = [
        ("commit", Record::Commit(bytes)),
        ("held", Record::Held { statement: what, leaf: what }),
        ("kept", Record::Kept { entry: entry.clone(), head: head.clone() }),
        ("accepted", Record::Accepted { entries: vec![entry], head }),
        ("settled", Record::Settled { index, roster: Some([node.clone()].into()) }),
        ("failed", Record::Settled { index, roster: None }),
        ("unseated", Record::Unseated(node)),
    ];
    records.iter().for_each(|(name, record)| put("ledger-record", name, &record.encode()));
}

/// An alert, and what carries it.
fn alerts(put: &dyn Fn(&str, &str, &[u8])) {
    use prost::Message as _;
    use puente_model::{AlertCategory, AlertCertainty, AlertSeverity, Handling, Lang, Millis};
    use puente_wire::proto::{self, said::Body};
    use puente_wire::{Alert, AlertText};

    let text = |lang| AlertText { lang, headline: "a pickup".to_owned(), action: "wait".to_owned() };
    let alert = Alert {
        group: "frontera/otay".to_owned(),
        category: AlertCategory::Security,
        severity: AlertSeverity::Severe,
        certainty: AlertCertainty::Observed,
        area: "Otay Mesa".to_owned(),
        observed_at: Millis(5),
        expires_at: Millis(6),
        handling: Handling::H1,
        texts: vec![text(Lang::En), text(Lang::Es)],
    };
    put("alert", "two-languages", &alert.encode());
    let signed = proto::AlertSigned { signed: None, detail_salt: vec![7; 32], alert: alert.encode() };
    let cancelled = proto::AlertCancelled { cancelled: None, detail_salt: vec![7; 32], reason: "mistaken".to_owned() };
    let ask = proto::GroupAsk { payload: vec![1; 40], asks: vec![proto::AskOf { query: None, salt: vec![7; 32] }; 2] };
    let bodies = [
        ("alert", Body::Alert(signed)),
        ("acknowledged", Body::Acknowledged(proto::AlertAcknowledged { acknowledged: None })),
        ("cancelled", Body::Cancelled(cancelled)),
        ("ask", Body::Ask(ask)),
    ];
    bodies.into_iter().for_each(|(name, body)| put("said", name, &proto::Said { body: Some(body) }.encode_to_vec()));
}

/// Good bytes of every entrance of a group, as they are and with a change; and what nodes say to each other about it.
fn groups(put: &dyn Fn(&str, &str, &[u8])) {
    use puente_corridor::{Genesis, Message, PostId, Welcome};

    for (target, good) in crate::groups::three().good() {
        put(target, "good", &[1]);
        put(target, "cut", &[1, 0, 90, 0]);
        put(target, "changed", &[1, 0, 8, 1, 1, 4, 128]);
        put(target, "bytes", &[&[0], good].concat());
    }
    let genesis = Genesis {
        id: puente_group::GroupId([1; 32]),
        founder: "puente://mx/fge-bc/n1".parse().unwrap(),
        charter: "3.mx2.us5".parse().unwrap(),
    };
    let ledger: puente_ledger::LedgerOrigin = "group/frontera/otay/ledger1".parse().unwrap();
    let want = puente_ledger::Message::Want { ledger: ledger.clone(), from: 3, most: 64 };
    let welcome = Welcome { genesis: genesis.clone(), ledger, index: 5, welcome: vec![9; 40] };
    let messages = [
        ("ledger", Message::Ledger(want)),
        ("want-key-package", Message::WantKeyPackage { suite: 1 }),
        ("key-package", Message::KeyPackage(vec![9; 40])),
        ("welcome", Message::Welcome(welcome)),
        ("joined", Message::Joined),
        ("want-info", Message::WantInfo),
        ("info", Message::Info { genesis, info: vec![9; 40] }),
        ("post", Message::Post { id: PostId([7; 16]), sealed: vec![9; 40] }),
        ("posted", Message::Posted(PostId([7; 16]))),
        ("unreadable", Message::Unreadable(PostId([7; 16]))),
    ];
    messages.iter().for_each(|(name, message)| put("corridor-message", name, &message.encode()));
}

fn evidence(folder: &Path, put: &dyn Fn(&str, &str, &[u8])) {
    for (name, text) in texts(folder) {
        let bytes = |key: &str| line(&text, key).and_then(|h| hex::decode(h.trim()).ok()).unwrap_or_default();
        if name == "sealed-body.txt" {
            put("body", &name, &bytes("body"));
            let sealed = proto::Sealed {
                tree_commitment: bytes("tree-commitment"),
                body: bytes("ciphertext"),
                key_hash: bytes("key-hash"),
            };
            put("sealed", &name, &sealed.encode_to_vec());
        }
        if name == "escrow.txt" {
            let escrow = proto::Escrow {
                seeds: bytes("seeds-leaf"),
                share_hash_1: bytes("share-hash-1"),
                share_hash_2: bytes("share-hash-2"),
                blob: bytes("blob"),
            };
            put("escrow", &name, &escrow.encode_to_vec());
        }
    }
    let entry = root().join("../vectors/wire/entry/answer-core-data.txt");
    let entry = fs::read_to_string(entry).unwrap_or_default();
    let disclosure = proto::Disclosure {
        v: 1,
        entry: line(&entry, "hex").and_then(|h| hex::decode(h).ok()).unwrap_or_default(),
        receipt: b"receipt".to_vec(),
        tree_root: vec![1; 32],
        leaf_count: 8,
        body_hash: vec![2; 32],
        key_hash: vec![3; 32],
        indices: vec![1, 4],
        leaves: vec![proto::Leaf { salt: vec![4; 32], path: "000/vehicle/vin".to_owned(), value: b"v".to_vec() }; 2],
        multiproof: vec![5; 128],
        ..proto::Disclosure::default()
    };
    put("disclosure", "shape", &disclosure.encode_to_vec());
}

fn texts(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let read = |file: fs::DirEntry| {
        let name = file.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(file.path()).ok()?;
        name.ends_with(".txt").then_some((name, text))
    };
    files.flatten().filter_map(read).collect()
}

fn line<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}
