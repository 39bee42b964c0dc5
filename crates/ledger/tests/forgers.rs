//! Forgers: whatever is wrong gets its own name, and nothing that is wrong is taken in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod world;

use std::sync::Arc;

use puente_audit_log::{Log, SignedCheckpoint};
use puente_ledger::*;
use puente_model::{Digest, Millis};
use world::writer::*;
use world::*;

const CONVENER: &str = NODES[0];
const SUCCESSOR: &str = NODES[1];
const SECOND: &str = NODES[2];
const PLAIN: &str = NODES[3];

fn commit_draft(index: u64, epoch: u64, commit: &[u8]) -> Draft {
    let body = Body::Commit { epoch, at: NOW, commit: commit_hash(commit), held: holders(&NODES[..3]) };
    Draft { ledger: ledger(1), index, charter: vector("1.mx1.us1"), body }
}

fn close_draft(index: u64) -> Draft {
    Draft { ledger: ledger(1), index, charter: vector("1.mx1.us1"), body: Body::Close { next: ledger(2) } }
}

fn member(name: &'static str, records: Vec<Record>) -> Engine {
    Engine::open(node(name), beginning(), vec![], records, keys(name), Tuning::default(), NOW).unwrap()
}

/// Everything that follows, disks being quick; what became durable comes too.
fn drive(engine: &mut Engine, now: Millis, input: Input) -> Vec<Effect> {
    engine.handle(now, input);
    let mut all = Vec::new();
    while let Some(effect) = engine.poll_effect() {
        if let Effect::Store { ticket, .. } = &effect {
            engine.handle(now, Input::Stored { ticket: *ticket });
        }
        all.push(effect);
    }
    all
}

fn tell(engine: &mut Engine, from: &str, message: Message) -> Vec<Effect> {
    drive(engine, NOW, Input::Message { from: node(from), message })
}

fn faults(effects: &[Effect]) -> Vec<&Fault> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Fault { fault, .. } = effect { Some(fault) } else { None })
        .collect()
}

fn ordered(effects: &[Effect]) -> Vec<&Ordered> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Ordered { ordered, .. } = effect { Some(ordered) } else { None })
        .collect()
}

fn only_fault(effects: &[Effect]) -> &Fault {
    assert!(ordered(effects).is_empty());
    let faults = faults(effects);
    assert_eq!(faults.len(), 1, "{effects:?}");
    faults[0]
}

#[test]
fn a_commit_without_receipt_is_never_ordered() {
    let mut engine = member(PLAIN, vec![]);
    let commit: Arc<[u8]> = b"c".as_slice().into();
    let told = tell(&mut engine, CONVENER, Message::Commit(Arc::clone(&commit)));
    assert_eq!(only_fault(&told), &Fault::UnwantedCommit);
    // Held, kept, and under a head that too few witnesses cosigned: one nation lacks its majority.
    let mut writer = Writer::new(1);
    let entry = signed(CONVENER, commit_draft(0, 0, &commit));
    let bare = writer.add(CONVENER, entry.as_bytes());
    for by in [&[][..], &["mx1", "mx2", "mx3", "us1"], &["us1", "us2"]] {
        let receipt = writer.receipt(entry.as_bytes(), &cosigned(&bare, by, NOW));
        let told = tell(&mut engine, CONVENER, Message::Receipt(receipt));
        assert!(
            matches!(only_fault(&told), Fault::Chain(ChainError::NotCosigned(NotCosigned::Missing(_)))),
            "{told:?}"
        );
    }
    // A line that a witness made of another head does not hold under this one.
    let other = Writer::new(1).add(CONVENER, b"other");
    let lines = cosigned(&other, &QUORUM, NOW).signatures()[1..].to_vec();
    let receipt = writer.receipt(entry.as_bytes(), &bare.with_signatures(&lines).unwrap());
    let told = tell(&mut engine, CONVENER, Message::Receipt(receipt));
    assert!(matches!(only_fault(&told), Fault::Chain(ChainError::NotCosigned(NotCosigned::Note(_)))), "{told:?}");
    assert_eq!(engine.chain().size(), 0);
}

#[test]
fn a_receipt_is_taken_once_and_the_commit_ordered_once() {
    let mut engine = member(PLAIN, vec![]);
    let mut writer = Writer::new(1);
    let entry = signed(CONVENER, commit_draft(0, 0, b"c"));
    let receipt = writer.stand(CONVENER, &entry);
    // The commit is not here: it is asked for, and ordered when it comes.
    let told = tell(&mut engine, CONVENER, Message::Receipt(receipt.clone()));
    assert!(ordered(&told).is_empty() && faults(&told).is_empty());
    let asked = |e: &Effect| matches!(e, Effect::Send { message: Message::WantCommit(_), .. });
    assert!(drive(&mut engine, NOW.plus(5_000), Input::Tick).iter().any(asked) || told.iter().any(asked));
    let other = tell(&mut engine, CONVENER, Message::Commit(b"d".as_slice().into()));
    assert_eq!(only_fault(&other), &Fault::UnwantedCommit);
    let told = tell(&mut engine, CONVENER, Message::Commit(b"c".as_slice().into()));
    assert_eq!(ordered(&told).len(), 1);
    // Repeated: nothing follows.
    for from in [CONVENER, SUCCESSOR] {
        let told = tell(&mut engine, from, Message::Receipt(receipt.clone()));
        assert!(ordered(&told).is_empty() && faults(&told).is_empty(), "{told:?}");
    }
    assert!(drive(&mut engine, NOW, Input::Settled { index: 0, roster: Some(roster()) }).len() == 1);
    let twice = drive(&mut engine, NOW, Input::Settled { index: 0, roster: Some(roster()) });
    assert_eq!(only_fault(&twice), &Fault::NotOrdered(0));
    assert_eq!((engine.chain().epoch(), engine.chain().size()), (1, 1));
}

#[test]
fn receipts_of_another_group_ledger_epoch_or_index_count_for_nothing() {
    let mut engine = member(PLAIN, vec![]);
    // Another group, by the same proposers and witnesses.
    let elsewhere: LedgerOrigin = "group/frontera/mexicali/ledger1".parse().unwrap();
    let mut writer =
        Writer { log: Log::empty(&elsewhere.to_string()).unwrap(), leaves: vec![], origin: elsewhere.clone() };
    let entry = signed(CONVENER, Draft { ledger: elsewhere, ..commit_draft(0, 0, b"c") });
    let receipt = writer.stand(CONVENER, &entry);
    assert!(matches!(only_fault(&tell(&mut engine, CONVENER, Message::Receipt(receipt))), Fault::OtherGroup { .. }));
    // Skipped, each with its name: the index is used up, and members go on.
    let mut writer = Writer::new(1);
    let chain = engine.chain().clone();
    let judged = |draft: Draft, by: &str| chain.judge(signed(by, draft).as_bytes(), &rules());
    assert_eq!(judged(commit_draft(0, 3, b"c"), CONVENER), Verdict::Skip(Skip::Epoch { expected: 0, found: 3 }));
    assert_eq!(judged(commit_draft(1, 0, b"c"), CONVENER), Verdict::Skip(Skip::OtherIndex(1)));
    let other = Draft { ledger: ledger(2), ..commit_draft(0, 0, b"c") };
    assert_eq!(judged(other, CONVENER), Verdict::Skip(Skip::OtherLedger(ledger(2))));
    let older = Draft { charter: vector("0.mx1.us1"), ..commit_draft(0, 0, b"c") };
    assert!(matches!(judged(older, CONVENER), Verdict::Skip(Skip::CharterGoesBack { .. })));
    let entry = signed(CONVENER, commit_draft(0, 3, b"c"));
    let told = tell(&mut engine, CONVENER, Message::Receipt(writer.stand(CONVENER, &entry)));
    assert!(ordered(&told).is_empty() && faults(&told).is_empty());
    assert_eq!((engine.chain().size(), engine.chain().epoch(), engine.chain().unsettled()), (1, 0, None));
    // A receipt whose proof is of another place than the entry says.
    let next = signed(CONVENER, commit_draft(7, 0, b"c"));
    let told = tell(&mut engine, CONVENER, Message::Receipt(writer.stand(CONVENER, &next)));
    assert_eq!(only_fault(&told), &Fault::OtherIndex { receipt: 1, entry: 7 });
}

#[test]
fn under_a_successors_key_only_close_counts() {
    let chain = member(PLAIN, vec![]).chain().clone();
    let judged = |draft: Draft, by: &str| chain.judge(signed(by, draft).as_bytes(), &rules());
    assert!(matches!(judged(commit_draft(0, 0, b"c"), CONVENER), Verdict::Commit { epoch: 0, .. }));
    assert_eq!(judged(commit_draft(0, 0, b"c"), SUCCESSOR), Verdict::Skip(Skip::NotTheConvener(node(SUCCESSOR))));
    assert_eq!(judged(close_draft(0), SECOND), Verdict::Close { by: node(SECOND) });
    assert_eq!(judged(close_draft(0), CONVENER), Verdict::Close { by: node(CONVENER) });
    // A member that is no proposer, whatever it signs; and a next ledger that is not the next.
    assert_eq!(judged(close_draft(0), PLAIN), Verdict::Skip(Skip::NotAProposer));
    let far = Draft { body: Body::Close { next: ledger(3) }, ..close_draft(0) };
    assert_eq!(judged(far, SUCCESSOR), Verdict::Skip(Skip::NotTheNext(ledger(3))));
    assert!(matches!(chain.judge(b"junk", &rules()), Verdict::Skip(Skip::Malformed(_))));
    // Who signed the head makes no difference: the proposer's signature stands in the entry.
    let mut writer = Writer::new(1);
    let mut engine = member(PLAIN, vec![]);
    let commit = signed(SUCCESSOR, commit_draft(0, 0, b"c"));
    let told = tell(&mut engine, CONVENER, Message::Receipt(writer.stand(CONVENER, &commit)));
    assert!(ordered(&told).is_empty());
    assert_eq!((engine.chain().size(), engine.chain().unsettled()), (1, None));
}

#[test]
fn a_commit_is_dated_near_the_clocks_of_its_holders() {
    const DAY: u64 = 86_400_000;
    let hold = |at: Millis| Message::Hold {
        ledger: ledger(1),
        index: 0,
        charter: vector("1.mx1.us1"),
        epoch: 0,
        at,
        commit: b"c".as_slice().into(),
    };
    for near in [NOW, Millis(NOW.0 - DAY), NOW.plus(DAY)] {
        let told = tell(&mut member(PLAIN, vec![]), CONVENER, hold(near));
        assert!(faults(&told).is_empty() && !told.is_empty(), "{told:?}");
    }
    for far in [Millis(NOW.0 - DAY - 1), NOW.plus(DAY + 1)] {
        let told = tell(&mut member(PLAIN, vec![]), CONVENER, hold(far));
        assert_eq!(only_fault(&told), &Fault::Refused(Refusal::Clock { off: DAY + 1 }));
    }
}

#[test]
fn the_dates_of_commits_never_go_back() {
    let mut engine = member(PLAIN, vec![]);
    let entry = signed(CONVENER, commit_draft(0, 0, b"c"));
    tell(&mut engine, CONVENER, Message::Receipt(Writer::new(1).stand(CONVENER, &entry)));
    tell(&mut engine, CONVENER, Message::Commit(b"c".as_slice().into()));
    drive(&mut engine, NOW, Input::Settled { index: 0, roster: Some(roster()) });
    assert_eq!(engine.chain().at(), NOW);
    let dated = |at: Millis| {
        let Body::Commit { epoch, commit, held, .. } = commit_draft(1, 1, b"d").body else { panic!() };
        let draft = Draft { body: Body::Commit { epoch, at, commit, held }, ..commit_draft(1, 1, b"d") };
        engine.chain().judge(signed(CONVENER, draft).as_bytes(), &rules())
    };
    assert!(matches!(dated(NOW), Verdict::Commit { at: NOW, .. }));
    assert_eq!(dated(Millis(NOW.0 - 1)), Verdict::Skip(Skip::TimeGoesBack));
}

#[test]
fn a_commit_is_held_by_a_majority_and_in_each_nation() {
    let chain = member(PLAIN, vec![]).chain().clone();
    let with = |names: &[&str]| {
        let Draft { body: Body::Commit { epoch, at, commit, .. }, .. } = commit_draft(0, 0, b"c") else { panic!() };
        let draft =
            Draft { body: Body::Commit { epoch, at, commit, held: holders(names) }, ..commit_draft(0, 0, b"c") };
        chain.judge(signed(CONVENER, draft).as_bytes(), &rules())
    };
    assert!(matches!(with(&NODES[..3]), Verdict::Commit { .. }));
    assert_eq!(with(&NODES[..2]), Verdict::Skip(Skip::NoMajority { holders: 2, members: 5 }));
    let one_nation = [NODES[0], NODES[2], NODES[4]];
    assert_eq!(with(&one_nation), Verdict::Skip(Skip::NoHolderIn("us".parse().unwrap())));
    let stranger = [NODES[0], NODES[1], "us/z/n9"];
    assert_eq!(with(&stranger), Verdict::Skip(Skip::HolderNotAMember(node("us/z/n9"))));
}

#[test]
fn nobody_submits_who_is_not_or_no_longer_a_member() {
    let mut engine = member(CONVENER, vec![]);
    let commit: Arc<[u8]> = b"c".as_slice().into();
    let submit = || Message::Submit { epoch: 0, commit: Arc::clone(&commit) };
    let rejected = |effects: &[Effect], who: &str| {
        let expected = Answer::Rejected(Reason::NotAMember(node(who)));
        effects
            .iter()
            .any(|e| matches!(e, Effect::Send { message: Message::Answer { answer, .. }, .. } if *answer == expected))
    };
    let told = tell(&mut engine, "us/z/n9", submit());
    assert!(rejected(&told, "us/z/n9"));
    assert_eq!(only_fault(&told), &Fault::NotAMember(node("us/z/n9")));
    // Epoch 1 begins without us/d.
    let mut writer = Writer::new(1);
    let receipt = writer.stand(CONVENER, &signed(CONVENER, commit_draft(0, 0, b"c")));
    tell(&mut engine, CONVENER, Message::Receipt(receipt));
    tell(&mut engine, PLAIN, Message::Commit(Arc::clone(&commit)));
    let mut left = roster();
    left.remove(&node(PLAIN));
    drive(&mut engine, NOW, Input::Settled { index: 0, roster: Some(left) });
    let told = tell(&mut engine, PLAIN, Message::Submit { epoch: 1, commit: Arc::clone(&commit) });
    assert!(rejected(&told, PLAIN));
    // A commit of an epoch that has not begun, one of an epoch that has ended, one that is too large.
    let told = tell(&mut engine, SUCCESSOR, Message::Submit { epoch: 9, commit: Arc::clone(&commit) });
    let future = Answer::Rejected(Reason::Future { expected: 1, found: 9 });
    assert!(
        told.iter()
            .any(|e| matches!(e, Effect::Send { message: Message::Answer { answer, .. }, .. } if *answer == future))
    );
    let told = tell(&mut engine, SUCCESSOR, Message::Submit { epoch: 0, commit });
    assert!(
        told.iter().any(|e| matches!(e, Effect::Send { message: Message::Entries { from: 0, .. }, .. })),
        "{told:?}"
    );
    let large: Arc<[u8]> = vec![0; COMMIT_BYTES_MAX + 1].into();
    let told = drive(&mut engine, NOW, Input::Submit { epoch: 1, commit: large });
    let answer = Answer::Rejected(Reason::TooLarge { found: COMMIT_BYTES_MAX + 1 });
    assert!(told.iter().any(|e| matches!(e, Effect::Conclude { answer: found, .. } if *found == answer)));
}

#[test]
fn held_is_said_after_it_is_recorded_and_only_to_the_convener() {
    let mut engine = member(PLAIN, vec![]);
    let commit: Arc<[u8]> = b"c".as_slice().into();
    let hold = |epoch: u64, index: u64, charter: &str| Message::Hold {
        ledger: ledger(1),
        index,
        charter: vector(charter),
        epoch,
        at: NOW,
        commit: Arc::clone(&commit),
    };
    let refusal = |told: &[Effect]| match only_fault(told) {
        Fault::Refused(why) => why.clone(),
        other => panic!("{other}"),
    };
    let not_convener = refusal(&tell(&mut engine, SUCCESSOR, hold(0, 0, "1.mx1.us1")));
    assert_eq!(not_convener, Refusal::NotTheConvener(node(SUCCESSOR)));
    let skip = refusal(&tell(&mut engine, CONVENER, hold(4, 0, "1.mx1.us1")));
    assert_eq!(skip, Refusal::Skip(Skip::Epoch { expected: 0, found: 4 }));
    assert!(matches!(
        refusal(&tell(&mut engine, CONVENER, hold(0, 2, "1.mx1.us1"))),
        Refusal::Elsewhere { size: 0, .. }
    ));
    let unknown = refusal(&tell(&mut engine, CONVENER, hold(0, 0, "2.mx1.us1")));
    assert_eq!(unknown, Refusal::Charter(vector("2.mx1.us1")));

    // Nothing is said before the commit is durable, nor before HELD is.
    engine.handle(NOW, Input::Message { from: node(CONVENER), message: hold(0, 0, "1.mx1.us1") });
    let Some(Effect::Store { ticket, record: Record::Commit(_) }) = engine.poll_effect() else { panic!() };
    assert_eq!(engine.poll_effect(), None);
    engine.handle(NOW, Input::Stored { ticket });
    let Some(Effect::RecordHeld { statement, .. }) = engine.poll_effect() else { panic!() };
    assert_eq!(Some(statement), held_statement(&commit_draft(0, 0, &commit)));
    let leaf = Digest::of(b"held");
    engine.handle(NOW, Input::HeldRecorded { statement, leaf });
    let Some(Effect::Store { ticket, record: Record::Held { .. } }) = engine.poll_effect() else { panic!() };
    assert_eq!(engine.poll_effect(), None);
    engine.handle(NOW, Input::Stored { ticket });
    let told = engine.poll_effect();
    assert!(matches!(told, Some(Effect::Send { message: Message::Held { leaf: said, .. }, .. }) if said == leaf));

    // An entry that quotes another HELD of this member than it made is not kept, and says so.
    let mut writer = Writer::new(1);
    let Draft { body: Body::Commit { epoch, at, commit: hash, mut held }, .. } = commit_draft(0, 0, &commit) else {
        panic!()
    };
    held.insert(node(PLAIN), Digest::of(b"invented"));
    let entry =
        signed(CONVENER, Draft { body: Body::Commit { epoch, at, commit: hash, held }, ..commit_draft(0, 0, &commit) });
    let head = writer.add(CONVENER, entry.as_bytes()).note_bytes().to_vec();
    let told = tell(&mut engine, CONVENER, Message::Keep { entry: entry.as_bytes().to_vec(), head });
    assert_eq!(refusal(&told), Refusal::NeverHeld);
}

#[test]
fn a_witness_that_signs_twice_proves_it_itself() {
    let mut engine = member(PLAIN, vec![]);
    let (mut one, mut other) = (Writer::new(1), Writer::new(1));
    let first = signed(CONVENER, commit_draft(0, 0, b"a"));
    let second = signed(CONVENER, commit_draft(0, 0, b"b"));
    tell(&mut engine, CONVENER, Message::Receipt(one.stand(CONVENER, &first)));
    // Another tree of that size, with cosignatures of two of the witnesses that signed the first.
    let head = cosigned(&other.add(CONVENER, second.as_bytes()), &["mx1", "us1", "us2"], NOW);
    let receipt = other.receipt(second.as_bytes(), &head);
    let told = tell(&mut engine, SUCCESSOR, Message::Receipt(receipt));
    assert_eq!(only_fault(&told), &Fault::Fork { size: 1 });
    let found =
        told.iter().find_map(|e| if let Effect::Convict(Evidence::DoubleSigned(d)) = e { Some(d) } else { None });
    let proof = found.expect("the proof");
    assert_eq!(proof.by(&witness_keys()), ["mx1", "us1"].map(String::from).into());
    // It proves nothing about others, nor if the heads agree.
    assert!(proof.by(&witness_keys()[1..3]).is_empty());
    let same = DoubleSigned { early: proof.late.clone(), ..proof.clone() };
    assert!(same.by(&witness_keys()).is_empty());
    // A later tree that began otherwise: the proof spans the sizes.
    let skipped = signed(CONVENER, commit_draft(1, 9, b"x"));
    tell(&mut engine, PLAIN, Message::Commit(b"a".as_slice().into()));
    drive(&mut engine, NOW, Input::Settled { index: 0, roster: None });
    tell(&mut engine, CONVENER, Message::Receipt(one.stand(CONVENER, &skipped)));
    assert_eq!(engine.chain().size(), 2);
    let told = tell(&mut engine, SUCCESSOR, Message::Fresh { head: head.note_bytes().to_vec() });
    assert!(
        told.iter().any(|e| matches!(e, Effect::Fault { fault: Fault::Chain(_) | Fault::Fork { .. }, .. })),
        "{told:?}"
    );
    let told = drive(
        &mut engine,
        NOW,
        Input::WitnessHead { witness: "mx1".to_owned(), ledger: ledger(1), head: Some(head.note_bytes().to_vec()) },
    );
    assert_eq!(only_fault(&told), &Fault::Fork { size: 1 });
    // A head that a proposer alone signed convicts nobody.
    let mut third = Writer::new(1);
    let lost = third.add(SUCCESSOR, signed(SUCCESSOR, close_draft(0)).as_bytes());
    let told = drive(
        &mut engine,
        NOW,
        Input::WitnessHead { witness: "mx3".to_owned(), ledger: ledger(1), head: Some(lost.note_bytes().to_vec()) },
    );
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_withheld_receipt_is_found_at_the_witnesses() {
    let mut engine = member(PLAIN, vec![]);
    let mut writer = Writer::new(1);
    let entry = signed(CONVENER, commit_draft(0, 0, b"c"));
    let head = writer.add(CONVENER, entry.as_bytes());
    // It adds a line that does not hold under a witness's name, so that the true one would not help.
    let other = Writer::new(1).add(CONVENER, b"other");
    let poisoned = head.with_signatures(&cosigned(&other, &QUORUM, NOW).signatures()[1..]).unwrap();
    let keep = Message::Keep { entry: entry.as_bytes().to_vec(), head: poisoned.note_bytes().to_vec() };
    let told = tell(&mut engine, CONVENER, keep);
    assert!(told.iter().any(|e| matches!(e, Effect::Send { message: Message::Kept { .. }, .. })));
    // The convener says nothing more: this member looks for itself.
    let late = NOW.plus(Tuning::default().patience + 10_000);
    let told = drive(&mut engine, late, Input::Tick);
    assert_eq!(told.iter().filter(|e| matches!(e, Effect::Read { .. })).count(), WITNESSES.len());
    for witness in QUORUM {
        assert_eq!(engine.chain().size(), 0);
        let shown = cosigned(&head, &[witness], NOW).note_bytes().to_vec();
        drive(
            &mut engine,
            late,
            Input::WitnessHead { witness: witness.to_owned(), ledger: ledger(1), head: Some(shown) },
        );
    }
    assert_eq!(engine.chain().size(), 1, "the quorum's lines were gathered one by one");
}

#[test]
fn a_convener_that_orders_nothing_is_named() {
    let mut engine = member(PLAIN, vec![]);
    let commit: Arc<[u8]> = b"c".as_slice().into();
    drive(&mut engine, NOW, Input::Submit { epoch: 0, commit: Arc::clone(&commit) });
    let late = NOW.plus(Tuning::default().patience + 1);
    let told = drive(&mut engine, late, Input::Tick);
    let named = Effect::Withheld { commit: commit_hash(&commit), convener: node(CONVENER) };
    assert!(told.contains(&named), "{told:?}");
}

#[test]
fn a_successor_that_does_not_wait_loses_its_place() {
    let mut engine = member(PLAIN, vec![]);
    let mut writer = Writer::new(1);
    let receipt = writer.stand(CONVENER, &signed(CONVENER, commit_draft(0, 7, b"x")));
    tell(&mut engine, CONVENER, Message::Receipt(receipt));
    let close = signed(SUCCESSOR, close_draft(1));
    let bare = writer.add(SUCCESSOR, close.as_bytes());
    // Its CLOSE is not kept while the convener was heard from lately …
    let keep = Message::Keep { entry: close.as_bytes().to_vec(), head: bare.note_bytes().to_vec() };
    assert!(matches!(only_fault(&tell(&mut engine, SUCCESSOR, keep.clone())), Fault::Refused(Refusal::NotSilent(0))));
    let waited = NOW.plus(SILENCE);
    let told = drive(&mut engine, waited, Input::Message { from: node(SUCCESSOR), message: keep });
    assert!(told.iter().any(|e| matches!(e, Effect::Send { message: Message::Kept { .. }, .. })));
    // … and if it gets it cosigned all the same, it stands, and its place is gone.
    let early = cosigned(&bare, &QUORUM, NOW.plus(SILENCE - 1_000));
    let told = tell(&mut engine, SUCCESSOR, Message::Receipt(writer.receipt(close.as_bytes(), &early)));
    assert_eq!(engine.chain().ledger(), &ledger(2));
    let found = told.iter().find_map(|e| if let Effect::Convict(Evidence::Premature(p)) = e { Some(p) } else { None });
    let proof = found.expect("the proof");
    assert_eq!(proof.by(&rules()), Some(node(SUCCESSOR)));
    let patient = Premature { head: cosigned(&bare, &QUORUM, NOW.plus(SILENCE)), ..proof.clone() };
    assert_eq!(patient.by(&rules()), None);
    // Enough witnesses saw the whole silence: a sign of life that reached one of the others convicts nobody.
    let mixed = cosigned(&cosigned(&bare, &QUORUM, NOW.plus(SILENCE)), &["mx3"], NOW);
    assert_eq!(Premature { head: mixed, ..proof.clone() }.by(&rules()), None);
    // Nobody holds a commit for it in the new ledger.
    let hold = Message::Hold {
        ledger: ledger(2),
        index: 0,
        charter: vector("1.mx1.us1"),
        epoch: 0,
        at: NOW,
        commit: b"c".as_slice().into(),
    };
    let told = tell(&mut engine, SUCCESSOR, hold);
    assert_eq!(only_fault(&told), &Fault::Refused(Refusal::Unseated(node(SUCCESSOR))));
    // Whoever did not see it is shown.
    let shown = told_of(proof);
    let mut other = member(NODES[4], vec![]);
    for (entry, head) in [(signed(CONVENER, commit_draft(0, 7, b"x")), None), (close, Some(patient.head))] {
        let mut again = Writer::new(1);
        let receipt = match head {
            None => again.stand(CONVENER, &entry),
            Some(head) => writer.receipt(entry.as_bytes(), &head),
        };
        tell(&mut other, CONVENER, Message::Receipt(receipt));
    }
    assert_eq!(other.chain().ledger(), &ledger(2));
    let told = tell(&mut other, PLAIN, shown);
    assert!(told.iter().any(|e| matches!(e, Effect::Store { record: Record::Unseated(_), .. })), "{told:?}");
}

fn told_of(proof: &Premature) -> Message {
    Message::Premature {
        close: proof.close.as_bytes().to_vec(),
        head: proof.head.note_bytes().to_vec(),
        before: proof.before.note_bytes().to_vec(),
    }
}

#[test]
fn entries_out_of_order_wait_for_those_before() {
    let mut engine = member(PLAIN, vec![]);
    let mut writer = Writer::new(1);
    let first = writer.stand(CONVENER, &signed(CONVENER, commit_draft(0, 5, b"x")));
    let second = writer.stand(CONVENER, &signed(CONVENER, commit_draft(1, 6, b"y")));
    let told = tell(&mut engine, CONVENER, Message::Receipt(second.clone()));
    let want = Message::Want { ledger: ledger(1), from: 0, most: WANT_ENTRIES };
    assert!(told.contains(&Effect::Send { to: node(CONVENER), message: want }), "{told:?}");
    assert_eq!(engine.chain().size(), 0);
    for receipt in [first, second] {
        assert!(faults(&tell(&mut engine, CONVENER, Message::Receipt(receipt))).is_empty());
    }
    assert_eq!(engine.chain().size(), 2);
    // A node that comes later is shown the same, and asks on until it has all.
    let Some(Effect::Send { message: shown, .. }) =
        tell(&mut engine, SECOND, Message::Want { ledger: ledger(1), from: 0, most: WANT_ENTRIES }).pop()
    else {
        panic!()
    };
    let mut late = member(SECOND, vec![]);
    let told = tell(&mut late, PLAIN, shown);
    let message = Message::Want { ledger: ledger(1), from: 1, most: WANT_ENTRIES };
    assert!(told.contains(&Effect::Send { to: node(PLAIN), message }));
    assert_eq!(late.chain().size(), 1);
}

#[test]
fn the_charter_that_governs_an_entry_is_named_by_the_one_before() {
    let mut engine = member(PLAIN, vec![]);
    let mut writer = Writer::new(1);
    let newer = Draft { charter: vector("2.mx1.us1"), ..commit_draft(0, 0, b"c") };
    let receipt = writer.stand(CONVENER, &signed(CONVENER, newer));
    let told = tell(&mut engine, CONVENER, Message::Receipt(receipt.clone()));
    let unknown = ChainError::UnknownCharter(vector("2.mx1.us1"));
    assert_eq!(only_fault(&told), &Fault::Chain(unknown));
    // In charter 2 another node convenes.
    let seats = seats(&[SECOND, SUCCESSOR]);
    let rules = Rules::new(vector("2.mx1.us1"), quorum(), seats, SILENCE).unwrap();
    drive(&mut engine, NOW, Input::Charter(rules.clone()));
    tell(&mut engine, CONVENER, Message::Receipt(receipt));
    assert_eq!((engine.chain().vector(), engine.chain().convener()), (&vector("2.mx1.us1"), &node(SECOND)));
    drive(&mut engine, NOW, Input::Settled { index: 0, roster: Some(roster()) });
    let next = |by: &str| signed(by, Draft { charter: vector("2.mx1.us1"), ..commit_draft(1, 1, b"d") });
    let chain = engine.chain().clone();
    assert_eq!(chain.judge(next(CONVENER).as_bytes(), &rules), Verdict::Skip(Skip::NotAProposer));
    let back = signed(SECOND, commit_draft(1, 1, b"d"));
    assert!(matches!(chain.judge(back.as_bytes(), &rules), Verdict::Skip(Skip::CharterGoesBack { .. })));
}

#[test]
fn records_that_do_not_follow_are_named() {
    let mut writer = Writer::new(1);
    let entry = signed(CONVENER, commit_draft(0, 0, b"c"));
    let bare = writer.add(CONVENER, entry.as_bytes());
    let accepted = |head: &SignedCheckpoint| Record::Accepted {
        entries: vec![entry.as_bytes().to_vec()],
        head: head.note_bytes().to_vec(),
    };
    let open = |records: Vec<Record>| {
        Engine::open(node(PLAIN), beginning(), vec![], records, None, Tuning::default(), NOW).map(|e| e.chain().size())
    };
    let good = accepted(&cosigned(&bare, &QUORUM, NOW));
    let settled = Record::Settled { index: 0, roster: None };
    assert_eq!(open(vec![good.clone(), settled.clone()]), Ok(1));
    assert_eq!(open(vec![settled]), Err(Fault::NotOrdered(0)), "a record before it is missing");
    assert!(matches!(
        open(vec![good.clone(), good]),
        Err(Fault::Chain(ChainError::Unsettled(0) | ChainError::Root { .. }))
    ));
    assert!(matches!(open(vec![accepted(&bare)]), Err(Fault::Chain(ChainError::NotCosigned(_)))));
    let torn = Record::Accepted { entries: vec![entry.as_bytes()[..90].to_vec()], head: bare.note_bytes().to_vec() };
    assert!(matches!(open(vec![torn]), Err(Fault::Chain(ChainError::Root { .. }))));
}

#[test]
fn what_is_ordered_and_not_settled_is_ordered_again_after_a_crash() {
    let mut writer = Writer::new(1);
    let entry = signed(CONVENER, commit_draft(0, 0, b"c"));
    let head = cosigned(&writer.add(CONVENER, entry.as_bytes()), &QUORUM, NOW);
    let accepted = Record::Accepted { entries: vec![entry.as_bytes().to_vec()], head: head.note_bytes().to_vec() };
    let held = Record::Commit(b"c".as_slice().into());
    // Once, whichever of the two was durable first.
    for records in [[held.clone(), accepted.clone()], [accepted.clone(), held.clone()]] {
        let mut engine = member(PLAIN, records.to_vec());
        let told = drive(&mut engine, NOW, Input::Tick);
        assert_eq!(ordered(&told).len(), 1);
        let told = tell(&mut engine, CONVENER, Message::Commit(b"c".as_slice().into()));
        assert_eq!((ordered(&told).len(), faults(&told).len()), (0, 0), "several may have been asked for it");
        let told = tell(&mut engine, CONVENER, Message::Commit(b"d".as_slice().into()));
        assert_eq!(only_fault(&told), &Fault::UnwantedCommit);
    }
    let mut engine = member(PLAIN, vec![held, accepted, Record::Settled { index: 0, roster: Some(roster()) }]);
    assert!(ordered(&drive(&mut engine, NOW, Input::Tick)).is_empty());
}
