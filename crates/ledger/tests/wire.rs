//! Messages and records as bytes: what is written reads back, what reads has one form, and nothing else is read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use puente_audit_log::RECEIPT_BYTES_MAX;
use puente_charter::Charter;
use puente_ledger::*;
use puente_model::limits::{ENTRY_BYTES_MAX, NOTE_BYTES_MAX};
use puente_model::{CharterVector, Digest, Millis, NodeUri};
use world::charter::{BOTH, charter, signatures};
use world::*;

static CHARTER: OnceLock<Charter> = OnceLock::new();

fn digests() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..200)
}

fn nodes() -> impl Strategy<Value = NodeUri> {
    (0_u16..900).prop_map(|n| node(&format!("mx/a/n{n}")))
}

fn ledgers() -> impl Strategy<Value = LedgerOrigin> {
    (1..=LEDGER_NUMBER_MAX).prop_map(ledger)
}

fn vectors() -> impl Strategy<Value = CharterVector> {
    (0..9_u32, 1..90_u32).prop_map(|(common, mx)| vector(&format!("{common}.mx{mx}.us7")))
}

fn commits() -> impl Strategy<Value = Arc<[u8]>> {
    some_bytes().prop_map(Into::into)
}

fn receipts() -> impl Strategy<Value = LedgerReceipt> {
    (some_bytes(), some_bytes()).prop_map(|(entry, proof)| LedgerReceipt { entry, proof })
}

fn skips() -> impl Strategy<Value = Skip> {
    prop_oneof![
        Just(Skip::Malformed(EntryError::Elsewhere)),
        ledgers().prop_map(Skip::OtherLedger),
        any::<u64>().prop_map(Skip::OtherIndex),
        Just(Skip::NotAProposer),
        nodes().prop_map(Skip::NotTheConvener),
        any::<(u64, u64)>().prop_map(|(expected, found)| Skip::Epoch { expected, found }),
        Just(Skip::TimeGoesBack),
        (vectors(), vectors()).prop_map(|(governing, found)| Skip::CharterGoesBack { governing, found }),
        nodes().prop_map(Skip::HolderNotAMember),
        any::<(usize, usize)>().prop_map(|(holders, members)| Skip::NoMajority { holders, members }),
        Just(Skip::NoHolderIn("mx".parse().unwrap())),
        ledgers().prop_map(Skip::NotTheNext),
    ]
}

fn reasons() -> impl Strategy<Value = Reason> {
    prop_oneof![
        nodes().prop_map(Reason::NotAMember),
        nodes().prop_map(Reason::NotTheConvener),
        any::<(u64, u64)>().prop_map(|(expected, found)| Reason::Future { expected, found }),
        any::<usize>().prop_map(|found| Reason::TooLarge { found }),
        skips().prop_map(Reason::NotHeld),
        Just(Reason::Busy),
        Just(Reason::Spent),
    ]
}

fn refusals() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        nodes().prop_map(Refusal::NotTheConvener),
        nodes().prop_map(Refusal::Unseated),
        (ledgers(), any::<u64>()).prop_map(|(ledger, size)| Refusal::Elsewhere { ledger, size }),
        Just(Refusal::Unsettled),
        skips().prop_map(Refusal::Skip),
        vectors().prop_map(Refusal::Charter),
        any::<u64>().prop_map(|off| Refusal::Clock { off }),
        Just(Refusal::Head),
        Just(Refusal::NeverHeld),
        any::<u64>().prop_map(Refusal::NotSilent),
        any::<usize>().prop_map(|found| Refusal::TooLarge { found }),
    ]
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        receipts().prop_map(Answer::Accepted),
        receipts().prop_map(Answer::Stale),
        reasons().prop_map(Answer::Rejected)
    ]
}

fn pages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(some_bytes(), 0..6)
}

fn messages() -> impl Strategy<Value = Message> {
    let place = || (ledgers(), any::<u64>());
    let of_commits = prop_oneof![
        (any::<u64>(), commits()).prop_map(|(epoch, commit)| Message::Submit { epoch, commit }),
        (digests(), answers()).prop_map(|(commit, answer)| Message::Answer { commit, answer }),
        (place(), vectors(), any::<(u64, u64)>(), commits()).prop_map(
            |((ledger, index), charter, (epoch, at), commit)| {
                Message::Hold { ledger, index, charter, epoch, at: Millis(at), commit }
            }
        ),
        (place(), digests(), digests()).prop_map(|((ledger, index), commit, leaf)| Message::Held {
            ledger,
            index,
            commit,
            leaf
        }),
        digests().prop_map(Message::WantCommit),
        commits().prop_map(Message::Commit),
    ];
    let of_entries = prop_oneof![
        (some_bytes(), some_bytes()).prop_map(|(entry, head)| Message::Keep { entry, head }),
        digests().prop_map(|leaf| Message::Kept { leaf }),
        (digests(), refusals()).prop_map(|(what, why)| Message::Refused { what, why }),
        receipts().prop_map(Message::Receipt),
        (place(), 1..=u32::MAX).prop_map(|((ledger, from), most)| Message::Want { ledger, from, most }),
        (place(), pages(), some_bytes()).prop_map(|((ledger, from), entries, head)| Message::Entries {
            ledger,
            from,
            entries,
            head
        }),
        place().prop_map(|(ledger, index)| Message::WantKept { ledger, index }),
        (some_bytes(), some_bytes(), some_bytes()).prop_map(|(close, head, before)| Message::Premature {
            close,
            head,
            before
        }),
        some_bytes().prop_map(|head| Message::Fresh { head }),
    ];
    prop_oneof![of_commits, of_entries]
}

fn reboots() -> impl Strategy<Value = Reboot> {
    (any::<u64>(), digests(), select(vec![2_u32, 5, LEDGER_NUMBER_MAX])).prop_map(|(size, root, next)| {
        let (ledger, next) = (ledger(1), ledger(next));
        let terms = RebootTerms { ledger, size, root, next, convener: node(NODES[3]) };
        let signatures = signatures(&terms, &BOTH);
        Reboot::verify(terms, &signatures, CHARTER.get_or_init(|| charter(true))).unwrap()
    })
}

fn records() -> impl Strategy<Value = Record> {
    let roster = || proptest::collection::btree_set(nodes(), 0..9);
    let verified = (ledgers(), any::<u64>(), nodes(), pages(), some_bytes());
    let joined = (ledgers(), any::<(u64, u64, u64)>(), nodes(), vectors(), roster());
    let coming_in = prop_oneof![
        verified.prop_map(|(ledger, from, convener, entries, head)| {
            Record::Verified { ledger, from, convener, entries, head }
        }),
        joined.prop_map(|(ledger, (size, epoch, at), convener, charter, roster)| {
            Record::Joined { ledger, size, convener, charter, epoch, at: Millis(at), roster }
        }),
    ];
    prop_oneof![
        coming_in,
        commits().prop_map(Record::Commit),
        (digests(), digests()).prop_map(|(statement, leaf)| Record::Held { statement, leaf }),
        (some_bytes(), some_bytes()).prop_map(|(entry, head)| Record::Kept { entry, head }),
        (some_bytes(), some_bytes()).prop_map(|(entry, head)| Record::Staged { entry, head }),
        (pages(), some_bytes()).prop_map(|(entries, head)| Record::Accepted { entries, head }),
        (any::<u64>(), proptest::option::of(roster())).prop_map(|(index, roster)| Record::Settled { index, roster }),
        nodes().prop_map(Record::Unseated),
        reboots().prop_map(Record::Rebooted),
    ]
}

fn mutate(bytes: &mut Vec<u8>, cut: Option<Index>, changes: &[(Index, u8)]) {
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len() + 1));
    }
    for (at, to) in changes {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = *to;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn a_message_reads_as_it_was_written(message in messages()) {
        let bytes = message.encode();
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn a_record_reads_as_it_was_written(record in records()) {
        let bytes = record.encode();
        prop_assert_eq!(Record::decode(&bytes), Ok(record));
    }

    /// Bytes that were cut or changed never panic; those that read encode to what was read.
    #[test]
    fn what_reads_has_one_form(
        message in messages(),
        record in records(),
        cut in proptest::option::of(any::<Index>()),
        changes in proptest::collection::vec(any::<(Index, u8)>(), 0..4),
    ) {
        for mut bytes in [message.encode(), record.encode()] {
            mutate(&mut bytes, cut, &changes);
            if let Ok(read) = Message::decode(&bytes) {
                prop_assert_eq!(read.encode(), &bytes[..]);
            }
            if let Ok(read) = Record::decode(&bytes) {
                prop_assert_eq!(read.encode(), &bytes[..]);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in some_bytes()) {
        let _ = (Message::decode(&bytes), Record::decode(&bytes));
    }
}

fn read_of(message: &Message) -> Result<(), MessageError> {
    Message::decode(&message.encode()).map(drop)
}

fn too_many(outcome: Result<(), MessageError>) -> &'static str {
    match outcome {
        Err(MessageError::TooMany { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_field_has_its_limit() {
    let entries = |count: usize, each: usize| Message::Entries {
        ledger: ledger(1),
        from: 0,
        entries: vec![vec![7; each]; count],
        head: vec![7; NOTE_BYTES_MAX],
    };
    assert_eq!(read_of(&entries(ENTRIES_MAX, 1_024)), Ok(()));
    assert_eq!(too_many(read_of(&entries(ENTRIES_MAX + 1, 9))), "entries");
    assert_eq!(read_of(&entries(16, ENTRY_BYTES_MAX)), Ok(()));
    assert_eq!(too_many(read_of(&entries(17, ENTRIES_BYTES_MAX / 17 + 1))), "entries");
    assert_eq!(too_many(read_of(&entries(1, ENTRY_BYTES_MAX + 1))), "entry");
    let head = |length| Message::Fresh { head: vec![0; length] };
    assert_eq!(read_of(&head(NOTE_BYTES_MAX)), Ok(()));
    assert_eq!(too_many(read_of(&head(NOTE_BYTES_MAX + 1))), "head");
    let proof = |length| Message::Receipt(LedgerReceipt { entry: vec![], proof: vec![0; length] });
    assert_eq!(read_of(&proof(RECEIPT_BYTES_MAX)), Ok(()));
    assert_eq!(too_many(read_of(&proof(RECEIPT_BYTES_MAX + 1))), "proof");
    let commit = |length| {
        let (ledger, charter, commit) = (ledger(1), vector("1.mx1.us1"), vec![7; length].into());
        Message::Hold { ledger, index: 0, charter, epoch: 0, at: Millis(0), commit }
    };
    assert_eq!(read_of(&commit(COMMIT_BYTES_MAX)), Ok(()));
    assert_eq!(too_many(read_of(&commit(COMMIT_BYTES_MAX + 1))), "commit");
    assert!(matches!(read_of(&commit(MESSAGE_BYTES_MAX)), Err(MessageError::TooLong { .. })));
    let roster = |count: usize| {
        let roster: BTreeSet<NodeUri> = (0..count).map(|n| node(&format!("mx/a/n{n}"))).collect();
        Record::decode(&Record::Settled { index: 1, roster: Some(roster) }.encode()).map(drop)
    };
    assert_eq!(roster(ROSTER_MAX), Ok(()));
    assert!(matches!(roster(ROSTER_MAX + 1), Err(MessageError::TooMany { field: "roster", .. })));
}

/// Nothing large is allocated for what claims to be small: only what holds a commit may be as long as one.
#[test]
fn a_long_message_without_a_commit_is_not_even_parsed() {
    let empty = |count: usize| {
        let entries = vec![Vec::new(); count];
        Message::Entries { ledger: ledger(1), from: 0, entries, head: Vec::new() }.encode()
    };
    assert_eq!(
        Message::decode(&empty(PLAIN_BYTES_MAX / 2)),
        Err(MessageError::TooLong { found: empty(PLAIN_BYTES_MAX / 2).len(), max: PLAIN_BYTES_MAX })
    );
    // Nor can it hide behind a commit's field.
    let commit = Message::Commit(vec![1].into()).encode();
    let hidden = [commit.clone(), empty(3)].concat();
    assert_eq!(Message::decode(&hidden), Err(MessageError::Frame));
    assert_eq!(Message::decode(&[commit.as_slice(), &[0]].concat()), Err(MessageError::Frame));
}

#[test]
fn another_form_of_the_same_is_refused() {
    // A field that says its default, one too many, and two outcomes where one belongs.
    let want = Message::WantKept { ledger: ledger(1), index: 0 }.encode();
    let with = |more: &[u8]| {
        let mut bytes = want.clone();
        bytes[1] += more.len() as u8;
        bytes.extend_from_slice(more);
        Message::decode(&bytes)
    };
    assert!(with(&[]).is_ok());
    assert_eq!(with(&[0x10, 0]), Err(MessageError::NotCanonical));
    assert_eq!(with(&[0x18, 1]), Err(MessageError::NotCanonical));
    assert_eq!(Message::decode(&[0x9a, 0x06, 0]), Err(MessageError::Unknown));
    // Who asks for no entries asks for nothing.
    let mut none = Message::Want { ledger: ledger(1), from: 0, most: WANT_ENTRIES }.encode();
    *none.last_mut().unwrap() = 0;
    assert_eq!(Message::decode(&none), Err(MessageError::Missing("most")));
    let why = puente_model::DigestError.to_string();
    assert_eq!(Message::decode(&[0x32, 0]), Err(MessageError::Field { field: "leaf", why }));
    // A roster that is not in order.
    let settled = Record::Settled { index: 0, roster: Some(roster()) };
    let text = String::from_utf8_lossy(&settled.encode()).replace(NODES[0], "zz/z/n1");
    assert_eq!(Record::decode(text.as_bytes()), Err(MessageError::NotCanonical));
}

#[test]
fn a_reason_is_of_its_own_message_only() {
    let refused = Message::Refused { what: Digest::default(), why: Refusal::NeverHeld };
    let rejected = Message::Answer { commit: Digest::default(), answer: Answer::Rejected(Reason::Busy) };
    for (message, was, codes) in [(refused, 47, [24, 13, 0, 50]), (rejected, 24, [47, 13, 0, 26])] {
        let bytes = message.encode();
        let at = bytes.iter().rposition(|byte| *byte == was).unwrap();
        for code in codes {
            let mut bytes = bytes.clone();
            bytes[at] = code;
            assert_eq!(Message::decode(&bytes), Err(MessageError::Code(u32::from(code))));
        }
    }
}
