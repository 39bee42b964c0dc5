//! The targets: what is decoded, and what must hold of whatever is accepted.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use prost::Message as _;
use puente_audit_log::witness::{ClaimedSubmission, LogRule, Remembered, Witness};
use puente_audit_log::{
    decode_bundle, decode_tile, encode_bundle, encode_tile, verify_consistency, ClaimedCheckpoint, ClaimedNote,
    ClaimedCoseReceipt, ClaimedReceipt, Ed25519Signer, KeyKind, LogPath, NoteSignature, Signer as _, VerifierKey,
};
use puente_catalogue::{Catalogue, Record};
use puente_charter::{certificate, parse_signatures, ClaimedPart, Officers, Part, PartBytes};
use puente_evidence::{disclosure, guard, AnswerTree, CheckedEscrow, CheckedSealed, Multiproof};
use puente_model::{Digest, LeafIndex, Millis, Mode, Secret32, TreeSize};
use puente_wire::{
    decode_frame, encode_datagram, explanation_from_bytes, proto, split_hashes, DatagramBuffer, Entry, FrameBuffer,
    Header, QueryPayload,
};

use crate::groups;

/// Every target.
pub const ALL: &[(&str, fn(&[u8]))] = &[
    ("frame", frame),
    ("stream", stream),
    ("datagrams", datagrams),
    ("entry", entry),
    ("header", header),
    ("payload", payload),
    ("explanation", explanation),
    ("note", note),
    ("checkpoint", checkpoint),
    ("tlog-proof", tlog_proof),
    ("cose-receipt", cose_receipt),
    ("add-checkpoint", add_checkpoint),
    ("consistency", consistency),
    ("log-path", log_path),
    ("tile", tile),
    ("bundle", bundle),
    ("vkey", vkey),
    ("charter", charter),
    ("charter-part", charter_part),
    ("charter-signatures", charter_signatures),
    ("officers", officers),
    ("certificate", certificate_),
    ("disclosure", disclosure_),
    ("multiproof", multiproof),
    ("body", body),
    ("sealed", sealed),
    ("escrow", escrow),
    ("record", record),
    ("row", row),
    ("params", params),
    ("params-from-pairs", params_from_pairs),
    ("ledger-entry", ledger_entry),
    ("ledger-message", ledger_message),
    ("ledger-record", ledger_record),
    ("said", said),
    ("alert", alert),
    ("group-commit", groups::commit),
    ("group-welcome", groups::welcome),
    ("group-key-package", groups::key_package),
    ("group-message", groups::message),
    ("group-info", groups::info),
    ("corridor-message", groups::corridor_message),
];

/// What travels inside a frame, decoded as a node decodes it before it believes anything.
fn proven(proven: Option<proto::Proven>) {
    let Some(proven) = proven else { return };
    entry(&proven.entry);
    header(&proven.header);
    tlog_proof(&proven.receipt);
    if let Some(escrow) = proven.escrow {
        let _ = CheckedEscrow::check(&escrow, Digest([0; 32]));
    }
}

fn relayed(node: &str, group: &str) {
    let _ = node.parse::<puente_model::NodeUri>();
    let _ = group.parse::<puente_ledger::GroupId>();
}

fn frame(data: &[u8]) {
    use proto::frame::Body;
    let Ok(body) = decode_frame(data) else { return };
    match body {
        Body::Ask(ask) => {
            payload(&ask.payload);
            proven(ask.query);
        }
        Body::Reply(reply) => {
            if let Some(proto::reply::Content::Plain(plain)) = &reply.content {
                explanation(&plain.payload);
            }
            proven(reply.answer);
        }
        Body::Release(release) => proven(release.release),
        Body::Deliver(deliver) => proven(deliver.entry),
        Body::Acknowledge(ack) => tlog_proof(&ack.receipt),
        Body::Delivered(delivered) => tlog_proof(&delivered.receipt),
        Body::Ready(ready) => {
            checkpoint(&ready.own_head);
            checkpoint(&ready.your_head);
        }
        Body::Head(head) => {
            checkpoint(&head.checkpoint);
            let _ = split_hashes(&head.proof);
        }
        Body::HeadProof(proof) => drop(split_hashes(&proof.proof)),
        Body::Have(have) => assert!(have.missing.len() <= puente_model::limits::HOLES_PER_PERIOD_MAX),
        Body::Pending(pending) => tlog_proof(&pending.receipt),
        Body::Lost(lost) => {
            checkpoint(&lost.head);
            proven(lost.entry);
        }
        Body::CharterPart(part) => match &part.part {
            Some(proto::charter_part::Part::Common(bytes)) => part_of(PartBytes::Common(bytes)),
            Some(proto::charter_part::Part::Annex(bytes)) => part_of(PartBytes::Annex(bytes)),
            None => {}
        },
        Body::Submit(submit) => add_checkpoint(&submit.submission),
        Body::AboutGroup(about) => groups::corridor_message(&about.part),
        Body::Relay(relay) => relayed(&relay.to, &relay.group),
        Body::Relayed(relayed_by) => relayed(&relayed_by.from, &relayed_by.group),
        Body::Probe(_)
        | Body::Seek(_)
        | Body::Sought(_)
        | Body::Judged(_)
        | Body::NeedHead(_)
        | Body::NeedPart(_)
        | Body::Fault(_) => {}
    }
}

fn ledger_entry(data: &[u8]) {
    if let Ok(entry) = puente_ledger::Entry::parse(data) {
        assert_eq!(entry.as_bytes(), data);
        assert!(entry.draft().to_string().len() < data.len());
    }
}

/// What members say to each other about a group's order, with what it holds.
fn ledger_message(data: &[u8]) {
    use puente_ledger::Message as M;
    let Ok(message) = M::decode(data) else { return };
    assert_eq!(message.encode(), data);
    match &message {
        M::Keep { entry, head } => {
            ledger_entry(entry);
            checkpoint(head);
        }
        M::Receipt(receipt) => {
            ledger_entry(&receipt.entry);
            tlog_proof(&receipt.proof);
        }
        M::Entries { entries, head, .. } => {
            entries.iter().for_each(|entry| ledger_entry(entry));
            checkpoint(head);
        }
        M::Fresh { head } => checkpoint(head),
        // A reason is read by people.
        M::Refused { why, .. } => assert!(!why.to_string().is_empty()),
        _ => {}
    }
}

fn ledger_record(data: &[u8]) {
    if let Ok(record) = puente_ledger::Record::decode(data) {
        assert_eq!(record.encode(), data);
    }
}

/// However a stream is cut, the same frames come out, and nothing is lost or invented.
fn stream(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    let frames = |chunk: usize| {
        let (mut buffer, mut out) = (FrameBuffer::default(), Vec::new());
        for part in data.chunks(chunk.max(1)) {
            buffer.push(part);
            loop {
                match buffer.next_frame() {
                    Ok(Some(frame)) => out.push(frame),
                    Ok(None) => break,
                    Err(_) => return (out, None),
                }
            }
        }
        (out, Some(buffer.pending()))
    };
    let (whole, pending) = frames(data.len());
    assert_eq!(frames(usize::from(*cut)), (whole.clone(), pending));
    if let Some(pending) = pending {
        assert_eq!(whole.iter().map(|f| f.len() + 4).sum::<usize>() + pending, data.len());
    }
}

/// The same of datagrams; what was accepted encodes to what was read.
fn datagrams(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    let datagrams = |chunk: usize| {
        let (mut buffer, mut out) = (DatagramBuffer::default(), Vec::new());
        for part in data.chunks(chunk.max(1)) {
            buffer.push(part);
            loop {
                match buffer.next_datagram() {
                    Ok(Some(datagram)) => out.push(datagram),
                    Ok(None) => break,
                    Err(_) => return (out, None),
                }
            }
        }
        (out, Some(buffer.pending()))
    };
    let (whole, pending) = datagrams(data.len());
    assert_eq!(datagrams(usize::from(*cut)), (whole.clone(), pending));
    let mut again = Vec::new();
    for datagram in &whole {
        assert!(encode_datagram(datagram, &mut again).is_ok());
    }
    assert!(data.starts_with(&again));
    if let Some(pending) = pending {
        assert_eq!(again.len() + pending, data.len());
    }
}

// What was read strictly must encode to the same bytes: canonical is what encoding again gives.

fn entry(data: &[u8]) {
    if let Ok(entry) = Entry::decode(data) {
        assert_eq!(entry.encode(), data);
    }
}

fn header(data: &[u8]) {
    if let Ok(header) = Header::decode(data) {
        assert_eq!(header.encode(), data);
    }
}

fn payload(data: &[u8]) {
    if let Ok(payload) = QueryPayload::decode(data) {
        assert_eq!(payload.encode(), data);
        assert!(payload.params.windows(2).all(|w| w[0].0 < w[1].0));
    }
}

fn explanation(data: &[u8]) {
    if let Ok(explanation) = explanation_from_bytes(data) {
        assert_eq!(explanation.encode(), data);
    }
}

fn note(data: &[u8]) {
    if let Ok(note) = ClaimedNote::parse(data) {
        assert_eq!(note.as_bytes(), data);
        assert!(!note.signatures().is_empty());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = NoteSignature::parse_lines(text);
    }
}

/// The key of the vectors' log: nobody who lacks its seed gets past it, so only seeds verify.
fn log_key() -> &'static VerifierKey {
    static KEY: OnceLock<VerifierKey> = OnceLock::new();
    KEY.get_or_init(|| {
        let text = "mx/fge-bc/n1/log1+7268c2dd+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    })
}

fn checkpoint(data: &[u8]) {
    if let Ok(claimed) = ClaimedCheckpoint::parse(data) {
        assert_eq!(claimed.note_bytes(), data);
        if let Ok(signed) = claimed.verify(log_key()) {
            assert_eq!(signed.origin(), log_key().name());
        }
    }
}

fn tlog_proof(data: &[u8]) {
    if let Ok(claimed) = ClaimedReceipt::parse(data) {
        assert_eq!(claimed.encode(), data);
        // An entry whose hash is all zeros stands in no log.
        assert!(claimed.verify(&Digest([0; 32]), log_key()).is_err());
    }
}

fn cose_receipt(data: &[u8]) {
    if let Ok(claimed) = ClaimedCoseReceipt::parse(data) {
        assert!(ClaimedCoseReceipt::is_like(data) && claimed.verify(&Digest([0; 32]), log_key()).is_err());
    }
}

/// The root over `n` leaves that are their own numbers.
fn numbered(n: u64) -> Digest {
    puente_audit_log::root_of_entries((0..n).map(|i| i.to_be_bytes()))
}

/// A submission has one encoding; whatever it says, a witness that judges it answers with a status of the protocol, and what
/// it is to remember is read back as it was written.
fn add_checkpoint(data: &[u8]) {
    let (witness, rule) = witnessing();
    let _ = Remembered::parse(data, rule);
    let Ok(submission) = ClaimedSubmission::parse(data) else { return };
    assert_eq!(submission.encode(), data);
    match witness.submit(Millis(1_700_000_000_000), &submission, Some(rule), None) {
        Ok(advance) => {
            let mut written = Vec::new();
            let remembered = advance.persist(|bytes| {
                written = bytes.to_vec();
                Ok::<_, ()>(())
            });
            assert_eq!(Remembered::parse(&written, rule).as_ref().ok(), remembered.as_ref().ok());
        }
        // 503: seeds hold cosignatures that this witness made.
        Err(refusal) => assert!([400, 403, 404, 409, 422, 503].contains(&refusal.status()), "{refusal}"),
    }
}

/// A witness that serves the log of the vectors.
fn witnessing() -> &'static (Witness, LogRule) {
    static MADE: OnceLock<(Witness, LogRule)> = OnceLock::new();
    MADE.get_or_init(|| {
        let signer = |name, kind, seed| Ed25519Signer::new(name, kind, &Secret32::new([seed; 32])).unwrap();
        let log = signer("mx/fge-bc/n1/log1", KeyKind::Ed25519, 7);
        let witness = signer("witness.example/w1", KeyKind::CosignatureV1, 8);
        let rule = LogRule::new("mx/fge-bc/n1/log1", vec![log.verifier().clone()]).unwrap().first_use(true);
        (Witness::new(witness.verifier().clone()).unwrap(), rule)
    })
}

/// No proof shows that a tree extends one that it does not extend.
fn consistency(data: &[u8]) {
    let Some((&[old, new, flip], rest)) = data.split_first_chunk::<3>() else { return };
    let Ok(hashes) = split_hashes(rest) else { return };
    let (old, new) = (u64::from(old), u64::from(new));
    let mut root = numbered(old);
    if flip > 0 && old > 0 {
        root.0[usize::from(flip) % 32] ^= 1;
    }
    let holds = verify_consistency(TreeSize(old), TreeSize(new), &root, &numbered(new), &hashes).is_ok();
    assert!(!holds || (old <= new && (flip == 0 || old == 0)));
    // And no inclusion proof puts another leaf there.
    let wrong = puente_audit_log::leaf_hash(b"another");
    let shown =
        puente_audit_log::verify_inclusion(LeafIndex(old), TreeSize(new), &wrong, &hashes, &numbered(new)).is_ok();
    assert!(!shown);
}

fn log_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(path) = text.parse::<LogPath>() {
        assert_eq!(path.to_string(), text);
        assert!(!text.contains("..") && !text.starts_with('/'));
    }
}

fn tile(data: &[u8]) {
    if let Some(hashes) = decode_tile(data) {
        assert_eq!(encode_tile(&hashes), data);
    }
}

fn bundle(data: &[u8]) {
    let Some((width, data)) = data.split_first() else { return };
    if let Ok(entries) = decode_bundle(data, u16::from(*width) + 1) {
        assert_eq!(encode_bundle(&entries).ok().as_deref(), Some(data));
    }
}

fn vkey(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
}

fn charter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(part) = Part::from_toml("part.toml", text) {
        let again = match &part {
            Part::Common(common) => common.to_toml(),
            Part::Annex(annex) => annex.to_toml(),
        };
        let again = again.unwrap_or_else(|e| panic!("{e}"));
        let again = Part::from_toml("again.toml", &again).unwrap_or_else(|e| panic!("{e}\n{again}"));
        assert_eq!(again.hash(), part.hash());
    }
}

/// A part that travelled says in TOML what it said in canonical bytes.
fn part_of(bytes: PartBytes<'_>) {
    let Ok(claimed) = ClaimedPart::from_canonical(bytes, &[]) else { return };
    let toml = match claimed.part() {
        Part::Common(common) => common.to_toml(),
        Part::Annex(annex) => annex.to_toml(),
    };
    let toml = toml.unwrap_or_else(|e| panic!("{e}"));
    let again = Part::from_toml("again.toml", &toml).unwrap_or_else(|e| panic!("{e}\n{toml}"));
    assert_eq!(again.hash(), claimed.hash());
}

fn charter_part(data: &[u8]) {
    part_of(PartBytes::Common(data));
    part_of(PartBytes::Annex(data));
}

fn charter_signatures(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for signature in parse_signatures("part.toml.sig", text).into_iter().flatten() {
        assert_eq!(signature.to_string().parse(), Ok(signature));
    }
}

fn officers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(officers) = Officers::parse("officers.toml", text) {
        let again = officers.to_toml().unwrap_or_else(|e| panic!("{e}"));
        assert!(Officers::parse("again.toml", &again).is_ok(), "{again}");
    }
}

fn certificate_(data: &[u8]) {
    if let Ok(names) = certificate::names(data) {
        assert_eq!(names.uri.as_str().parse().as_ref(), Ok(&names.uri));
    }
}

fn disclosure_(data: &[u8]) {
    let Ok(raw) = proto::Disclosure::decode(data) else { return };
    if let Ok(verified) = disclosure::verify(&raw) {
        assert_eq!(verified.fields.len(), raw.indices.len());
    }
}

/// Whatever the guard accepts is true: every shown leaf is the one that stands at its place.
fn multiproof(data: &[u8]) {
    let Some((&[n, k], rest)) = data.split_first_chunk::<2>() else { return };
    let (n, k) = (usize::from(n), usize::from(k));
    let Some((places, rest)) = rest.split_at_checked(k) else { return };
    let Some((shown, hashes)) = rest.split_at_checked(k) else { return };
    let leaf = |i: usize| guard::leaf_hash(&[i as u8]);
    let all: Vec<_> = (0..n).map(leaf).collect();
    let Some(root) = guard::root_of(&all) else { return };
    let places: Vec<usize> = places.iter().map(|p| usize::from(*p)).collect();
    let honest = Multiproof::prove(&all, &places).map(|p| p.to_bytes());
    // An empty rest takes the honest hashes, so that leaves and places are attacked on their own.
    let hashes = if hashes.is_empty() { honest.unwrap_or_default() } else { hashes.to_vec() };
    let Ok(proof) = Multiproof::new(n, places.clone(), &hashes) else { return };
    let shown: Vec<_> = shown.iter().map(|i| leaf(usize::from(*i))).collect();
    if proof.verify(root, &shown).is_ok() {
        assert!(places.iter().zip(&shown).all(|(place, hash)| all.get(*place) == Some(hash)));
    }
}

fn body(data: &[u8]) {
    let Ok(body) = proto::Body::decode(data) else { return };
    if let Ok(tree) = AnswerTree::from_leaves(&body.leaves) {
        assert!(tree.leaf_count().is_power_of_two());
        assert_eq!(tree.to_leaves(), body.leaves);
    }
}

fn sealed(data: &[u8]) {
    if let Ok(sealed) = proto::Sealed::decode(data) {
        for mode in Mode::ALL {
            assert!(CheckedSealed::check(*mode, &sealed, Digest([0; 32])).is_err());
        }
    }
}

fn escrow(data: &[u8]) {
    let Ok(escrow) = proto::Escrow::decode(data) else { return };
    let digest = |bytes: &[u8]| Digest::try_from(bytes).unwrap_or_default();
    let hashes = [digest(&escrow.share_hash_1), digest(&escrow.share_hash_2)];
    let hash = puente_evidence::escrow::escrow_hash(digest(&escrow.seeds), hashes, &escrow.blob);
    if let Ok(checked) = CheckedEscrow::check(&escrow, hash) {
        let zero = puente_model::Secret32::new([0; 32]);
        assert!(checked.open(&zero, &zero).is_err());
    }
}

fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(|| Catalogue::builtin().unwrap_or_else(|e| panic!("{e}")))
}

fn record(data: &[u8]) {
    for record_type in catalogue().record_types() {
        if let Ok(record) = Record::decode(record_type, data) {
            let all = record_type.mask(data, record_type.all_fields()).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(all, record.bytes());
            assert!(record_type.leaves(data).is_ok());
        }
        let _ = record_type.mask(data, record_type.all_fields());
        let _ = record_type.present(data);
        let _ = record_type.leaves(data);
    }
}

/// `name=value` lines.
fn cells(data: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(data).ok()?;
    Some(text.lines().filter_map(|l| l.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
}

/// A row that is read is a record that is read.
fn row(data: &[u8]) {
    let Some(cells) = cells(data) else { return };
    let cells: BTreeMap<_, _> = cells.into_iter().collect();
    for record_type in catalogue().record_types() {
        match record_type.parse_row(&cells) {
            Ok(row) => assert!(Record::decode(record_type, row.record.bytes()).is_ok(), "{cells:?}"),
            Err(findings) => assert!(!findings.is_empty()),
        }
    }
}

/// What a person's parameters are normalised to is what a peer accepts.
fn params(data: &[u8]) {
    let Some(cells) = cells(data) else { return };
    let cells: BTreeMap<_, _> = cells.into_iter().collect();
    for kind in catalogue().query_kinds() {
        if let Ok(params) = kind.parse_params(&cells) {
            let again = kind.params_from_pairs(params.pairs());
            assert!(again.is_ok(), "{cells:?} became {:?}: {again:?}", params.pairs());
        }
    }
}

fn params_from_pairs(data: &[u8]) {
    let Some(pairs) = cells(data) else { return };
    for kind in catalogue().query_kinds() {
        if let Ok(params) = kind.params_from_pairs(&pairs) {
            assert_eq!(params.pairs(), pairs.as_slice());
            assert!(kind.is_directed() || !kind.lookup_keys(&params).is_empty());
        }
    }
}

/// What a member says to a group.
fn said(data: &[u8]) {
    if let Ok(body) = puente_wire::decode_said(data) {
        assert_eq!(proto::Said { body: Some(body) }.encode_to_vec(), data);
    }
}

/// An alert, before its author's log is looked at.
fn alert(data: &[u8]) {
    if let Ok(alert) = puente_wire::Alert::decode(data) {
        assert!(alert.fault().is_none() && alert.encode() == data);
    }
}
