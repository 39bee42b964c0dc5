//! Catching up: several entries at once, whoever shows them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod world;

use std::collections::VecDeque;

use puente_audit_log::SignedCheckpoint;
use puente_charter::{Need, Witness, WitnessGroup, WitnessPolicy};
use puente_ledger::*;
use puente_model::{Digest, Millis};
use world::writer::*;
use world::*;

const CONVENER: &str = NODES[0];
const SUCCESSOR: &str = NODES[1];
const LATE: &str = NODES[3];
const MEMBER: &str = NODES[4];
/// The witnesses that a later charter wants, and none of those that cosign the rest.
const LATER: [&str; 2] = ["mx3", "us2"];

fn later() -> Rules {
    use puente_audit_log::Signer as _;
    let witness = |name: &&str| Witness {
        name: (*name).to_owned(),
        jurisdiction: name[..2].parse().unwrap(),
        vkey: witness_signer(name).verifier().to_string(),
        url: None,
    };
    let members = LATER.iter().map(|name| (*name).to_owned()).collect();
    let groups = [WitnessGroup { name: "both".to_owned(), need: Need::All, members }];
    let witnesses: Vec<Witness> = LATER.iter().map(witness).collect();
    let quorum = Quorum::of(&WitnessPolicy::new(&witnesses, &groups, "both").unwrap()).unwrap();
    Rules::new(vector("2.mx1.us1"), quorum, seats(&NODES[..3]), SILENCE).unwrap()
}

fn open(name: &str, records: &[Record]) -> Engine {
    let read = records.iter().map(|record| Record::decode(&record.encode()).unwrap()).collect();
    Engine::open(node(name), beginning(), vec![later()], read, None, Tuning::default(), NOW).unwrap()
}

/// A member, what it made durable, and what became of its own commits.
struct Kept {
    engine: Engine,
    records: Vec<Record>,
    concluded: Vec<Answer>,
    faults: Vec<Fault>,
}

impl Kept {
    fn new(name: &str) -> Self {
        Self { engine: open(name, &[]), records: Vec::new(), concluded: Vec::new(), faults: Vec::new() }
    }

    /// Tells it something, settles what is ordered, and returns what it says.
    fn tell(&mut self, input: Input) -> Vec<Message> {
        let (mut inputs, mut said) = (VecDeque::from([input]), Vec::new());
        while let Some(input) = inputs.pop_front() {
            self.engine.handle(NOW, input);
            while let Some(effect) = self.engine.poll_effect() {
                match effect {
                    Effect::Store { ticket, record } => {
                        self.records.push(record);
                        inputs.push_back(Input::Stored { ticket });
                    }
                    Effect::Ordered { ordered, .. } => {
                        inputs.push_back(Input::Settled { index: ordered.index(), roster: Some(roster()) });
                    }
                    Effect::Send { to, message } if to == node(MEMBER) => said.push(message),
                    Effect::Send { to, message } if to == node(LATE) => said.push(message),
                    Effect::Conclude { answer, .. } => self.concluded.push(answer),
                    Effect::Fault { fault, .. } => self.faults.push(fault),
                    _ => {}
                }
            }
        }
        said
    }

    fn hear(&mut self, from: &str, message: Message) -> Vec<Message> {
        self.tell(Input::Message { from: node(from), message })
    }

    /// Asks a member for what it lacks, up to so many entries. Returns how often it asked for entries.
    fn catch_up(&mut self, member: &mut Self, size: u64) -> usize {
        let mut questions: VecDeque<Message> = self.tell(Input::Tick).into();
        questions.extend(self.tell(Input::Reached(node(MEMBER))));
        let mut asked = 0;
        while let Some(question) = questions.pop_front() {
            asked += usize::from(matches!(question, Message::Want { .. }));
            for answer in member.hear(LATE, question) {
                assert!(answer.encode().len() <= PLAIN_BYTES_MAX);
                assert_eq!(Message::decode(&answer.encode()).as_ref(), Ok(&answer));
                questions.extend(self.hear(MEMBER, answer));
            }
            if self.engine.chain().size() >= size && self.engine.chain().unsettled().is_none() {
                break;
            }
        }
        asked
    }

    /// How many entries are kept, counted as often as they are.
    fn entries(&self) -> usize {
        let kept = |record: &Record| if let Record::Accepted { entries, .. } = record { entries.len() } else { 0 };
        self.records.iter().map(kept).sum()
    }
}

/// The group's order, and a member that was there.
struct Order {
    writer: Writer,
    member: Kept,
    entries: Vec<Vec<u8>>,
    heads: Vec<SignedCheckpoint>,
}

impl Order {
    fn new() -> Self {
        Self { writer: Writer::new(1), member: Kept::new(MEMBER), entries: Vec::new(), heads: Vec::new() }
    }

    fn stand(&mut self, by: &str, body: Body, charter: &str, witnesses: &[&str], at: Millis) {
        let chain = self.member.engine.chain();
        let (ledger, from) = (chain.ledger().clone(), chain.size());
        let draft = Draft { ledger: ledger.clone(), index: from, charter: vector(charter), body };
        let entry = signed(by, draft).as_bytes().to_vec();
        let head = cosigned(&self.writer.add(by, &entry), witnesses, at);
        let page = Message::Entries { ledger, from, entries: vec![entry.clone()], head: head.note_bytes().to_vec() };
        self.member.hear(CONVENER, page);
        self.member.hear(CONVENER, Message::Commit(commit_of(self.entries.len()).into()));
        self.entries.push(entry);
        self.heads.push(head);
    }

    fn commit(&mut self, charter: &str, witnesses: &[&str]) {
        let epoch = self.member.engine.chain().epoch();
        let commit = commit_hash(&commit_of(self.entries.len()));
        let body = Body::Commit { epoch, at: NOW, commit, held: holders(&NODES[..4]) };
        self.stand(CONVENER, body, charter, witnesses, NOW);
        assert_eq!(self.member.engine.chain().epoch(), epoch + 1);
    }

    fn of(commits: usize) -> Self {
        let mut order = Self::new();
        (0..commits).for_each(|_| order.commit("1.mx1.us1", &QUORUM));
        order
    }
}

fn same(one: &Engine, other: &Engine) {
    let place = |engine: &Engine| (engine.chain().ledger().clone(), engine.chain().size(), engine.chain().epoch());
    assert_eq!(place(one), place(other));
    assert!(one.chain() == other.chain());
}

fn commit_of(n: usize) -> Vec<u8> {
    format!("commit {n}").into_bytes()
}

#[test]
fn who_is_behind_is_shown_many_entries_at_once() {
    let mut order = Order::of(150);
    let mut late = Kept::new(LATE);
    late.tell(Input::Submit { epoch: 0, commit: b"mine".as_slice().into() });
    late.tell(Input::Submit { epoch: 9, commit: b"too early".as_slice().into() });
    let asked = late.catch_up(&mut order.member, u64::MAX);
    same(&late.engine, &order.member.engine);
    // The first, by itself: nothing before it says which charter governs it. Then 64, 64 and the rest; and nothing more.
    assert_eq!((asked, &late.faults), (5, &Vec::new()));
    assert_eq!(late.entries(), 150, "each entry is kept once");
    // It learns of its own commit, which lost its epoch, by a receipt that holds.
    let [Answer::Rejected(Reason::Future { .. }), Answer::Stale(receipt)] = &late.concluded[..] else {
        panic!("{:?}", late.concluded)
    };
    assert_eq!(receipt.entry, order.entries[0]);
    same(&open(LATE, &late.records), &order.member.engine);
    let pruned = late.engine.prune(late.records.clone(), NOW.plus(1)).unwrap();
    same(&open(LATE, &pruned), &order.member.engine);
    // Whoever comes in later is led by it as by anybody.
    let mut shown = Kept { engine: open(LATE, &pruned), ..Kept::new(LATE) };
    let mut joiner = Joiner::new(node("us/z/n1"), beginning(), vec![later()], Target::Place(ledger(1), 149));
    let mut pages = 0;
    while joiner.arrived().is_none() {
        for page in shown.hear(MEMBER, joiner.next_want()) {
            joiner.handle(page).unwrap();
            pages += 1;
        }
    }
    assert_eq!(pages, 4);
}

#[test]
fn a_commit_that_lost_within_a_piece_has_a_receipt_that_holds() {
    let mut order = Order::of(30);
    let mut late = Kept::new(LATE);
    late.catch_up(&mut order.member, 1);
    assert_eq!(late.engine.chain().size(), 1);
    late.tell(Input::Submit { epoch: 1, commit: b"mine".as_slice().into() });
    late.catch_up(&mut order.member, u64::MAX);
    let [Answer::Stale(receipt)] = &late.concluded[..] else { panic!("{:?}", late.concluded) };
    assert_eq!(receipt.entry, order.entries[1]);
    let claimed = puente_audit_log::ClaimedReceipt::parse(&receipt.proof).unwrap();
    assert_eq!(claimed.index().0, 1);
    claimed.verify_under(&puente_audit_log::leaf_hash(&receipt.entry), order.heads.last().unwrap()).unwrap();
}

/// Its process ends wherever it is in a piece.
#[test]
fn a_piece_is_gone_on_with_after_a_restart() {
    let mut order = Order::of(40);
    let mut late = Kept::new(LATE);
    late.catch_up(&mut order.member, u64::MAX);
    for end in 0..=late.records.len() {
        let mut again = Kept { engine: open(LATE, &late.records[..end]), ..Kept::new(LATE) };
        again.records = late.records[..end].to_vec();
        assert!(again.engine.chain().size() <= 40);
        again.catch_up(&mut order.member, u64::MAX);
        same(&again.engine, &order.member.engine);
        same(&open(LATE, &again.records), &again.engine);
    }
}

/// Stores of nodes that kept the rest of a piece again each time are read, too.
#[test]
fn the_rest_of_a_piece_may_be_kept_again() {
    let order = Order::of(3);
    let head = order.heads[2].note_bytes().to_vec();
    let mut records = Vec::new();
    for n in 0..3 {
        records.push(Record::Commit(commit_of(n).into()));
        records.push(Record::Accepted { entries: order.entries[n..].to_vec(), head: head.clone() });
        records.push(Record::Settled { index: n as u64, roster: Some(roster()) });
    }
    same(&open(LATE, &records), &order.member.engine);
    // Something else is not taken for it.
    records[4] = Record::Accepted { entries: vec![order.entries[0].clone()], head };
    let torn = Engine::open(node(LATE), beginning(), vec![], records, None, Tuning::default(), NOW);
    assert!(matches!(torn, Err(Fault::Chain(_))));
}

#[test]
fn a_piece_ends_where_the_charter_changes_and_before_a_close() {
    let mut order = Order::of(5);
    order.commit("2.mx1.us1", &QUORUM);
    (0..5).for_each(|_| order.commit("2.mx1.us1", &LATER));
    let close = Body::Close { next: ledger(2) };
    order.stand(SUCCESSOR, close, "2.mx1.us1", &LATER, NOW.plus(2 * SILENCE));
    order.writer = Writer::new(2);
    let chain = order.member.engine.chain();
    assert_eq!((chain.ledger(), chain.convener(), chain.epoch()), (&ledger(2), &node(SUCCESSOR), 11));
    let mut late = Kept::new(LATE);
    late.catch_up(&mut order.member, u64::MAX);
    same(&late.engine, &order.member.engine);
    assert_eq!(late.faults, []);
    assert!(!late.records.iter().any(|record| matches!(record, Record::Unseated(_))), "the successor waited");
    let pieces: Vec<usize> = late
        .records
        .iter()
        .filter_map(|record| if let Record::Accepted { entries, .. } = record { Some(entries.len()) } else { None })
        .collect();
    // One; up to the change; what follows it; the close.
    assert_eq!(pieces, [1, 5, 5, 1]);
}

/// Somebody shows entries in one piece whose head the witnesses of the first one's charter never saw.
#[test]
fn what_cannot_be_believed_in_one_piece_is_asked_for_one_by_one() {
    let mut order = Order::of(2);
    order.commit("2.mx1.us1", &QUORUM);
    (0..3).for_each(|_| order.commit("2.mx1.us1", &LATER));
    let head = order.heads.last().unwrap().note_bytes().to_vec();
    let piece = Message::Entries { ledger: ledger(1), from: 0, entries: order.entries.clone(), head };
    let one = Message::Want { ledger: ledger(1), from: 0, most: 1 };
    let mut late = Kept::new(LATE);
    assert_eq!(late.hear(MEMBER, piece.clone()), std::slice::from_ref(&one));
    let place = Target::Place(ledger(1), 5);
    let mut joiner = Joiner::new(node("us/z/n1"), beginning(), vec![later()], place);
    assert_eq!(joiner.handle(piece.clone()), Ok(()));
    assert_eq!(joiner.next_want(), one);
    let answer = order.member.hear(LATE, one).remove(0);
    assert!(matches!(&answer, Message::Entries { entries, .. } if entries.len() == 1));
    assert_eq!(joiner.handle(answer), Ok(()));
    assert_eq!(joiner.next_want(), Message::Want { ledger: ledger(1), from: 1, most: WANT_ENTRIES });
    // Whoever shows it again although it was asked for one is no guide.
    let mut second = Joiner::new(node("us/z/n1"), beginning(), vec![later()], Target::Place(ledger(1), 5));
    assert_eq!(second.handle(piece.clone()), Ok(()));
    assert!(matches!(second.handle(piece), Err(Fault::Chain(ChainError::NotCosigned(_)))));
}

/// What one message holds is bounded in bytes, too, whatever was asked for.
#[test]
fn a_piece_stays_below_its_bounds() {
    let mut order = Order::of(12);
    for most in [1, 2, 7, u32::MAX] {
        let want = Message::Want { ledger: ledger(1), from: 3, most };
        let [Message::Entries { entries, from, .. }] = &order.member.hear(LATE, want)[..] else { panic!() };
        assert_eq!((entries.len(), *from), (9.min(most as usize), 3));
    }
    let wide = Digest::of(b"leaf");
    let many = (0..HOLDERS_MAX).map(|n| (node(&format!("mx/{}/n{n}", "x".repeat(30))), wide)).collect::<Vec<_>>();
    let held = many.into_iter().chain(holders(&NODES[..4])).take(HOLDERS_MAX).collect();
    // They count for nothing, and are shown all the same, though each by itself.
    for _ in 0..40 {
        let epoch = order.member.engine.chain().epoch();
        let commit = commit_hash(&commit_of(order.entries.len()));
        let body = Body::Commit { epoch, at: NOW, commit, held: std::collections::BTreeMap::clone(&held) };
        order.stand(CONVENER, body, "1.mx1.us1", &QUORUM, NOW);
    }
    let want = Message::Want { ledger: ledger(1), from: 12, most: u32::MAX };
    let [shown @ Message::Entries { entries, .. }] = &order.member.hear(LATE, want)[..] else { panic!() };
    let bytes: usize = entries.iter().map(Vec::len).sum();
    assert!((2..40).contains(&entries.len()), "{}", entries.len());
    assert!(bytes <= ENTRIES_BYTES_MAX && bytes + entries[0].len() > ENTRIES_BYTES_MAX);
    assert!(shown.encode().len() <= PLAIN_BYTES_MAX);
}
