//! Coming in: whoever was not there verifies the order from its genesis, and stands where the members stand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod world;

use proptest::prelude::*;
use puente_audit_log::SignedCheckpoint;
use puente_charter::{Need, Witness, WitnessGroup, WitnessPolicy};
use puente_ledger::*;
use puente_model::{Digest, Millis};
use world::writer::*;
use world::*;

const CONVENER: &str = NODES[0];
const SUCCESSOR: &str = NODES[1];
const MEMBER: &str = NODES[3];
const ME: &str = "us/z/n1";
/// The witnesses that a later charter wants, and none of those that cosign the rest.
const LATER: [&str; 2] = ["mx3", "us2"];

/// What a guide has to show: every entry a page of its own.
#[derive(Default)]
struct Guide {
    pages: Vec<Message>,
    heads: Vec<SignedCheckpoint>,
}

impl Guide {
    fn stand(&mut self, writer: &mut Writer, by: &str, bytes: &[u8], witnesses: &[&str], at: Millis) {
        let head = cosigned(&writer.add(by, bytes), witnesses, at);
        let from = writer.leaves.len() as u64 - 1;
        let (entries, note) = (vec![bytes.to_vec()], head.note_bytes().to_vec());
        self.pages.push(Message::Entries { ledger: writer.origin.clone(), from, entries, head: note });
        self.heads.push(head);
    }

    fn answer(&self, want: &Message) -> Option<Message> {
        let Message::Want { ledger, from, .. } = want else { panic!("{want:?}") };
        let there =
            |page: &&Message| matches!(page, Message::Entries { ledger: l, from: f, .. } if l == ledger && f == from);
        self.pages.iter().find(there).cloned()
    }

    /// Shows everything that the joiner asks for.
    fn lead(&self, joiner: &mut Joiner) -> Result<(), Fault> {
        while joiner.arrived().is_none() {
            let want = joiner.next_want();
            let Some(page) = self.answer(&want) else {
                let Message::Want { ledger, from, .. } = want else { panic!() };
                return joiner.handle(Message::Entries { ledger, from, entries: vec![], head: vec![] });
            };
            joiner.handle(page)?;
        }
        Ok(())
    }
}

fn commit(ledger: &LedgerOrigin, index: u64, epoch: u64, bytes: &[u8]) -> Draft {
    let body = Body::Commit { epoch, at: NOW, commit: commit_hash(bytes), held: holders(&NODES[..4]) };
    Draft { ledger: ledger.clone(), index, charter: vector("1.mx1.us1"), body }
}

fn close(index: u64, next: u32) -> Draft {
    Draft { ledger: ledger(1), index, charter: vector("1.mx1.us1"), body: Body::Close { next: ledger(next) } }
}

fn joiner(target: Target) -> Joiner {
    Joiner::new(node(ME), beginning(), vec![later()], target)
}

fn at(number: u32, index: u64) -> Target {
    Target::Place(ledger(number), index)
}

fn with_me() -> Roster {
    roster().into_iter().chain([node(ME)]).collect()
}

fn enter(joiner: Joiner) -> (Engine, Vec<Record>) {
    joiner.enter(with_me(), None, Tuning::default(), NOW).unwrap()
}

/// A later charter, with other witnesses.
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

/// Three commits that counted.
fn three() -> (Guide, Writer) {
    let (mut guide, mut writer) = (Guide::default(), Writer::new(1));
    for n in 0..3 {
        let entry = signed(CONVENER, commit(&ledger(1), n, n, &[n as u8]));
        guide.stand(&mut writer, CONVENER, entry.as_bytes(), &QUORUM, NOW);
    }
    (guide, writer)
}

/// A member that was there, and took in every page.
struct Witnessed(Engine);

impl Witnessed {
    fn new() -> Self {
        let charters = vec![later()];
        Self(Engine::open(node(MEMBER), beginning(), charters, vec![], None, Tuning::default(), NOW).unwrap())
    }

    /// What was ordered by it is settled: with a new epoch if it counts.
    fn take(&mut self, page: &Message, commit: &[u8], roster: Option<Roster>) {
        let from = node(CONVENER);
        let mut inputs = vec![
            Input::Message { from: from.clone(), message: page.clone() },
            Input::Message { from, message: Message::Commit(commit.into()) },
        ];
        while !inputs.is_empty() {
            self.0.handle(NOW, inputs.remove(0));
            while let Some(effect) = self.0.poll_effect() {
                match effect {
                    Effect::Store { ticket, .. } => self.0.handle(NOW, Input::Stored { ticket }),
                    Effect::Ordered { ordered, .. } => {
                        inputs.insert(0, Input::Settled { index: ordered.index(), roster: roster.clone() });
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Whatever a joiner made durable gives the same again.
fn reopens(engine: &Engine, records: &[Record]) {
    let read: Vec<Record> = records.iter().map(|record| Record::decode(&record.encode()).unwrap()).collect();
    assert_eq!(read, records);
    let again = Engine::open(node(ME), beginning(), vec![later()], read, None, Tuning::default(), NOW).unwrap();
    assert_eq!(again.chain(), engine.chain());
}

#[test]
fn a_joiner_stands_where_the_members_stand_and_goes_on_with_them() {
    let (guide, mut writer) = three();
    let mut member = Witnessed::new();
    for (n, page) in guide.pages.iter().enumerate() {
        member.take(page, &[n as u8], Some(with_me()));
    }
    let mut new = joiner(at(1, 2));
    guide.lead(&mut new).unwrap();
    let ordered = new.arrived().unwrap();
    assert_eq!((ordered.ledger(), ordered.index(), ordered.epoch()), (&ledger(1), 2, 2));
    assert_eq!((ordered.commit_hash(), ordered.charter(), ordered.at()), (commit_hash(&[2]), rules().vector(), NOW));
    assert_eq!(new.holders(), Some(&holders(&NODES[..4])));
    let (engine, records) = enter(new);
    assert_eq!(engine.chain(), member.0.chain());
    reopens(&engine, &records);

    // It takes in the next one like everybody, and leads others in.
    let entry = signed(CONVENER, commit(&ledger(1), 3, 3, b"next"));
    let mut more = Guide::default();
    more.stand(&mut writer, CONVENER, entry.as_bytes(), &QUORUM, NOW);
    let mut joined = Witnessed(engine);
    joined.take(&more.pages[0], b"next", Some(with_me()));
    member.take(&more.pages[0], b"next", Some(with_me()));
    assert_eq!((joined.0.chain().epoch(), joined.0.chain()), (4, member.0.chain()));
    let mut second = joiner(at(1, 3));
    while second.arrived().is_none() {
        joined.0.handle(NOW, Input::Message { from: node("us/y/n1"), message: second.next_want() });
        while let Some(effect) = joined.0.poll_effect() {
            if let Effect::Send { message, .. } = effect {
                second.handle(message).unwrap();
            }
        }
    }
}

/// What is settled takes no more room than its entries; commits go once nobody needs them.
#[test]
fn what_is_settled_is_pruned() {
    let (guide, _) = three();
    let mut member = Witnessed::new();
    let mut records = Vec::new();
    for (n, page) in guide.pages.iter().enumerate() {
        let Message::Entries { entries, head, .. } = page.clone() else { panic!() };
        let commit = [n as u8];
        member.take(page, &commit, Some(with_me()));
        records.push(Record::Accepted { entries, head });
        records.push(Record::Commit(commit.as_slice().into()));
        records.push(Record::Settled { index: n as u64, roster: Some(with_me()) });
    }
    let open = |records: Vec<Record>| {
        Engine::open(node(MEMBER), beginning(), vec![later()], records, None, Tuning::default(), NOW).unwrap()
    };
    let engine = open(records.clone());
    assert_eq!(engine.chain(), member.0.chain());
    let commits = |records: &[Record]| records.iter().filter(|record| matches!(record, Record::Commit(_))).count();
    // Members that are not far behind still get the commits; those that are enter anew.
    for (since, left) in [(NOW, 3), (NOW.plus(1), 0)] {
        let kept = engine.prune(records.clone(), since).unwrap();
        assert_eq!((commits(&kept), kept.iter().any(|record| matches!(record, Record::Settled { .. }))), (left, false));
        let again = open(kept.clone());
        assert_eq!(again.chain(), engine.chain());
        assert_eq!(again.prune(kept.clone(), since), Some(kept), "what was pruned stays as it is");
    }
    // Not while a commit waits to be settled.
    let waits = open(records[..2].to_vec());
    assert_eq!((waits.chain().unsettled(), waits.prune(records[..2].to_vec(), NOW)), (Some(0), None));
}

/// A node that lost everything is shown the group in an epoch: it stands there once the order is verified to its end.
#[test]
fn whoever_lost_everything_verifies_to_the_end() {
    let (guide, _) = three();
    let mut shown = joiner(Target::Epoch(3));
    for page in &guide.pages {
        shown.handle(page.clone()).unwrap();
        assert_eq!(shown.arrived(), None, "there may be more");
    }
    guide.lead(&mut shown).unwrap();
    assert_eq!(shown.arrived().map(Ordered::index), Some(2));
    let (engine, records) = enter(shown);
    assert_eq!((engine.chain().epoch(), engine.chain().size()), (3, 3));
    reopens(&engine, &records);
    // The group went on since it was shown: it stands where it was shown, and catches up from there.
    let mut earlier = joiner(Target::Epoch(2));
    guide.lead(&mut earlier).unwrap();
    assert_eq!(earlier.arrived().map(Ordered::index), Some(1));
    let (engine, records) = enter(earlier);
    assert_eq!((engine.chain().epoch(), engine.chain().size()), (2, 2));
    reopens(&engine, &records);
    // An epoch that the order does not lead to.
    let mut beyond = joiner(Target::Epoch(4));
    guide.lead(&mut beyond).unwrap();
    assert_eq!(beyond.arrived(), None);
    let nowhere = beyond.enter(with_me(), None, Tuning::default(), NOW);
    assert!(matches!(nowhere, Err(Fault::NotAwaited(_))));
}

#[test]
fn only_a_member_comes_in() {
    let (guide, _) = three();
    let mut stranger = joiner(at(1, 2));
    guide.lead(&mut stranger).unwrap();
    assert_eq!(stranger.enter(roster(), None, Tuning::default(), NOW).unwrap_err(), Fault::NotAMember(node(ME)));
    let early = joiner(at(1, 2)).enter(with_me(), None, Tuning::default(), NOW);
    assert!(matches!(early, Err(Fault::NotAwaited(_))));
}

fn page(from: u64, entries: &[&[u8]], head: &SignedCheckpoint) -> Message {
    let entries = entries.iter().map(|entry| entry.to_vec()).collect();
    Message::Entries { ledger: ledger(1), from, entries, head: head.note_bytes().to_vec() }
}

fn bytes(guide: &Guide, index: usize) -> &[u8] {
    let Message::Entries { entries, .. } = &guide.pages[index] else { panic!() };
    &entries[0]
}

#[test]
fn entries_that_are_missing_or_swapped_lead_nowhere() {
    let (guide, _) = three();
    let (zero, one, two) = (bytes(&guide, 0), bytes(&guide, 1), bytes(&guide, 2));
    let last = &guide.heads[2];
    let root = Err(Fault::Chain(ChainError::Root { size: 3 }));
    for wrong in
        [vec![zero, two], vec![zero, two, one], vec![one, two], vec![zero, zero, two], vec![zero, one, two, two]]
    {
        assert_eq!(joiner(at(1, 2)).handle(page(0, &wrong, last)), root);
    }
    // One that begins after what is there, and one that is there already.
    let mut new = joiner(at(1, 2));
    assert!(matches!(new.handle(guide.pages[1].clone()), Err(Fault::NotAwaited(_))));
    for _ in 0..2 {
        assert_eq!(new.handle(guide.pages[0].clone()), Ok(()));
    }
    assert_eq!(new.next_want(), Message::Want { ledger: ledger(1), from: 1, most: WANT_ENTRIES });
    // In one piece they lead to the same place, and what overlaps is passed over.
    new.handle(page(0, &[zero, one, two], last)).unwrap();
    assert_eq!(new.arrived().map(Ordered::index), Some(2));
    let (engine, records) = enter(new);
    assert_eq!(engine.chain().size(), 3);
    reopens(&engine, &records);
}

#[test]
fn pages_of_another_group_or_origin_or_without_quorum_count_for_nothing() {
    let (guide, mut writer) = three();
    let mut new = joiner(at(1, 2));
    let Message::Entries { entries, head, .. } = &guide.pages[0] else { panic!() };
    let other: LedgerOrigin = "group/frontera/nogales/ledger1".parse().unwrap();
    for ledger in [other, ledger(2)] {
        let page = Message::Entries { ledger, from: 0, entries: entries.clone(), head: head.clone() };
        assert!(matches!(new.handle(page), Err(Fault::NotAwaited(_))));
    }
    // A head of another ledger, with the same entry under it.
    let mut second = Writer::new(2);
    let elsewhere = cosigned(&second.add(CONVENER, &entries[0]), &QUORUM, NOW);
    let refused = new.handle(page(0, &[&entries[0]], &elsewhere));
    assert!(matches!(refused, Err(Fault::Chain(ChainError::OtherLedger { .. }))), "{refused:?}");
    // One that nobody signed who may propose.
    let stranger = Writer::new(1).add(NODES[4], &entries[0]);
    let refused = new.handle(page(0, &[&entries[0]], &stranger));
    assert!(matches!(refused, Err(Fault::Head(_))), "{refused:?}");
    let entry = signed(CONVENER, commit(&ledger(1), 3, 3, b"d"));
    let bare = writer.add(CONVENER, entry.as_bytes());
    let mut new = joiner(at(1, 3));
    assert_eq!(guide.lead(&mut new), Ok(()));
    for by in [&[][..], &["mx1", "mx2", "mx3", "us1"], &["us1", "us2"]] {
        let refused = new.handle(page(3, &[entry.as_bytes()], &cosigned(&bare, by, NOW)));
        assert!(matches!(refused, Err(Fault::Chain(ChainError::NotCosigned(_)))), "{refused:?}");
    }
    assert_eq!(new.arrived(), None);
    new.handle(page(3, &[entry.as_bytes()], &cosigned(&bare, &QUORUM, NOW))).unwrap();
    assert!(new.arrived().is_some());
}

/// The founder of another genesis is in no roster of this one's first epoch.
#[test]
fn a_genesis_with_another_founder_leads_nowhere() {
    let (guide, _) = three();
    let other = Beginning { roster: [node(SUCCESSOR)].into(), ..beginning() };
    let mut new = Joiner::new(node(ME), other, vec![], at(1, 0));
    let refused = guide.lead(&mut new).unwrap_err();
    assert_eq!(refused, Fault::Refused(Refusal::Skip(Skip::HolderNotAMember(node(CONVENER)))));
    // A convener that the charter did not name.
    let seats = seats(&[SUCCESSOR, CONVENER]);
    let rules = Rules::new(vector("1.mx1.us1"), quorum(), seats, SILENCE).unwrap();
    let mut new = Joiner::new(node(ME), Beginning { rules, ..beginning() }, vec![], at(1, 0));
    let refused = guide.lead(&mut new).unwrap_err();
    assert_eq!(refused, Fault::Refused(Refusal::Skip(Skip::NotTheConvener(node(CONVENER)))));
}

#[test]
fn a_forged_close_is_passed_over() {
    let (mut guide, mut writer) = three();
    // By a member that may not propose, and of one that may to a ledger that does not follow.
    let forged = signed(MEMBER, close(3, 2));
    guide.stand(&mut writer, CONVENER, forged.as_bytes(), &QUORUM, NOW);
    let astray = signed(SUCCESSOR, close(4, 3));
    guide.stand(&mut writer, SUCCESSOR, astray.as_bytes(), &QUORUM, NOW);
    let entry = signed(CONVENER, commit(&ledger(1), 5, 3, b"d"));
    guide.stand(&mut writer, CONVENER, entry.as_bytes(), &QUORUM, NOW);
    let mut new = joiner(at(1, 5));
    guide.lead(&mut new).unwrap();
    assert_eq!(enter(new).0.chain().epoch(), 4);
    // The place of an entry that orders nothing brings nobody in.
    let mut wrong = joiner(at(1, 4));
    assert_eq!(guide.lead(&mut wrong), Err(Fault::Refused(Refusal::Skip(Skip::NotTheNext(ledger(3))))));
}

/// The group went on in another ledger, after a silence or without one.
fn taken_over(waited: u64) -> Guide {
    let (mut guide, mut writer) = three();
    let entry = signed(SUCCESSOR, close(3, 2));
    guide.stand(&mut writer, SUCCESSOR, entry.as_bytes(), &QUORUM, NOW.plus(waited));
    let mut second = Writer::new(2);
    let entry = signed(SUCCESSOR, commit(&ledger(2), 0, 3, b"d"));
    guide.stand(&mut second, SUCCESSOR, entry.as_bytes(), &QUORUM, NOW.plus(waited + 1));
    guide
}

#[test]
fn a_joiner_follows_into_the_next_ledger_and_convicts_who_did_not_wait() {
    let guide = taken_over(SILENCE);
    let mut new = joiner(at(2, 0));
    guide.lead(&mut new).unwrap();
    assert_eq!(new.evidence(), []);
    let (engine, records) = enter(new);
    assert_eq!((engine.chain().ledger(), engine.chain().size(), engine.chain().epoch()), (&ledger(2), 1, 4));
    assert_eq!(engine.chain().convener(), &node(SUCCESSOR));
    assert!(!records.contains(&Record::Unseated(node(SUCCESSOR))));
    reopens(&engine, &records);

    let guide = taken_over(SILENCE / 2);
    let mut new = joiner(at(2, 0));
    guide.lead(&mut new).unwrap();
    let [Evidence::Premature(proof)] = &new.evidence()[..] else { panic!("{:?}", new.evidence()) };
    assert_eq!(proof.by(&rules()), Some(node(SUCCESSOR)));
    let (engine, records) = enter(new);
    assert!(records.contains(&Record::Unseated(node(SUCCESSOR))));
    reopens(&engine, &records);
    // A place in the ledger that was closed, and will not have that index.
    let refused = guide.lead(&mut joiner(at(1, 9))).unwrap_err();
    assert_eq!(refused, Fault::Refused(Refusal::Elsewhere { ledger: ledger(2), size: 0 }));
}

#[test]
fn a_joiner_follows_a_reboot_only_from_where_it_was_signed() {
    use world::charter::{BOTH, charter, signatures};
    let (mut guide, writer) = three();
    let root = guide.heads[2].root();
    let mut third = Writer::new(3);
    let entry = signed(SUCCESSOR, commit(&ledger(3), 0, 3, b"d"));
    guide.stand(&mut third, SUCCESSOR, entry.as_bytes(), &QUORUM, NOW);
    let charter = charter(true);
    let reboot = |size, root| {
        let terms = RebootTerms { ledger: ledger(1), size, root, next: ledger(3), convener: node(SUCCESSOR) };
        let signatures = signatures(&terms, &BOTH);
        Reboot::verify(terms, &signatures, &charter).unwrap()
    };
    let mut new = joiner(at(3, 0)).with_reboots(vec![reboot(3, root)]);
    guide.lead(&mut new).unwrap();
    let (engine, records) = enter(new);
    assert_eq!((engine.chain().ledger(), engine.chain().convener()), (&ledger(3), &node(SUCCESSOR)));
    reopens(&engine, &records);
    for wrong in [reboot(2, root), reboot(3, Digest::of(b"another"))] {
        let mut new = joiner(at(3, 0)).with_reboots(vec![wrong]);
        guide.lead(&mut new).unwrap();
        assert_eq!(new.arrived(), None);
        assert_eq!(
            new.next_want(),
            Message::Want { ledger: ledger(1), from: writer.leaves.len() as u64, most: WANT_ENTRIES }
        );
    }
}

#[test]
fn what_is_shown_extends_what_the_node_knew() {
    let (guide, _) = three();
    let knowing = |head: &SignedCheckpoint, target| joiner(target).with_heads(&[head.note_bytes().to_vec()]).unwrap();
    for head in &guide.heads {
        assert_eq!(guide.lead(&mut knowing(head, at(1, 2))), Ok(()));
    }
    // It was a member when something else stood there: whoever cosigned both proves it.
    let mut other = Writer::new(1);
    let zero = signed(CONVENER, commit(&ledger(1), 0, 0, &[0]));
    other.add(CONVENER, zero.as_bytes());
    let fork = signed(CONVENER, commit(&ledger(1), 1, 1, b"another"));
    let mine = cosigned(&other.add(CONVENER, fork.as_bytes()), &["mx1", "mx3", "us1", "us2"], NOW);
    let mut new = knowing(&mine, at(1, 2));
    assert_eq!(guide.lead(&mut new), Err(Fault::Fork { size: 2 }));
    let [Evidence::DoubleSigned(proof)] = &new.evidence()[..] else { panic!("{:?}", new.evidence()) };
    assert_eq!(proof.by(&witness_keys()).into_iter().collect::<Vec<_>>(), ["mx1", "us1"]);
    assert_eq!(
        (new.arrived(), new.next_want()),
        (None, Message::Want { ledger: ledger(1), from: 1, most: WANT_ENTRIES })
    );
    // A Welcome from before what it knew is an old one.
    let behind = guide.lead(&mut knowing(&guide.heads[2], at(1, 1)));
    assert_eq!(behind, Err(Fault::Behind { ledger: ledger(1), size: 3 }));
    // What is no head of this group is not compared with it.
    let elsewhere = "group/frontera/nogales/ledger1".parse::<LedgerOrigin>().unwrap();
    let note = format!("{elsewhere}\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— {elsewhere} AAAAAAAA\n");
    assert!(joiner(at(1, 2)).with_heads(&[note.into_bytes()]).is_err());
}

/// Witnesses that a later charter does not name any more lead nobody on, whatever the entries look like.
#[test]
fn witnesses_that_were_dismissed_count_for_nothing() {
    let (mut guide, mut writer) = three();
    let change = Draft { charter: vector("2.mx1.us1"), ..commit(&ledger(1), 3, 3, b"change") };
    let change = signed(CONVENER, change);
    guide.stand(&mut writer, CONVENER, change.as_bytes(), &QUORUM, NOW);
    // The convener gives the old ones entries as if the change had not counted, or had not been held.
    for (epoch, charter) in [(3, "1.mx1.us1"), (3, "2.mx1.us1"), (4, "2.mx1.us1")] {
        let draft = Draft { charter: vector(charter), ..commit(&ledger(1), 4, epoch, b"e") };
        let entry = signed(CONVENER, draft);
        let mut fork = Writer::new(1);
        for n in 0..4 {
            fork.add(CONVENER, bytes(&guide, n));
        }
        let mut shown = Guide { pages: guide.pages.clone(), heads: vec![] };
        shown.stand(&mut fork, CONVENER, entry.as_bytes(), &QUORUM, NOW);
        let refused = shown.lead(&mut joiner(at(1, 4))).unwrap_err();
        assert!(matches!(refused, Fault::Chain(ChainError::NotCosigned(NotCosigned::Missing(_)))), "{refused:?}");
    }
    let draft = Draft { charter: vector("2.mx1.us1"), ..commit(&ledger(1), 4, 4, b"e") };
    guide.stand(&mut writer, CONVENER, signed(CONVENER, draft).as_bytes(), &LATER, NOW);
    let mut new = joiner(at(1, 4));
    guide.lead(&mut new).unwrap();
    assert_eq!(enter(new).0.chain().epoch(), 5);
    // A charter that is not known here stops it there, by its name.
    let mut unaware = Joiner::new(node(ME), beginning(), vec![], at(1, 4));
    let stopped = guide.lead(&mut unaware).unwrap_err();
    assert_eq!(stopped, Fault::Chain(ChainError::UnknownCharter(vector("2.mx1.us1"))));
}

/// What may stand in a ledger.
#[derive(Debug, Clone, Copy)]
enum Stands {
    /// A commit that ends its epoch.
    Counted,
    /// One that fails the group's own checks.
    Failed,
    /// One that too few hold.
    Unheld,
    /// The convener names another epoch.
    OtherEpoch(i8),
    /// A successor would like to order one.
    BySuccessor(i8),
    Junk,
    /// The successor closes, after the silence or not; its own ledger follows.
    Closed(bool),
}

fn stands() -> impl Strategy<Value = Stands> {
    prop_oneof![
        6 => Just(Stands::Counted),
        2 => Just(Stands::Failed),
        2 => Just(Stands::Unheld),
        1 => (-2_i8..3).prop_map(Stands::OtherEpoch),
        1 => (-2_i8..3).prop_map(Stands::BySuccessor),
        1 => Just(Stands::Junk),
        1 => any::<bool>().prop_map(Stands::Closed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    /// However a convener and a successor misbehave, a joiner comes to stand where a member stands that was there.
    #[test]
    fn a_joiner_and_a_member_that_was_there_agree(ops in proptest::collection::vec(stands(), 1..14)) {
        let (mut guide, mut writer, mut member) = (Guide::default(), Writer::new(1), Witnessed::new());
        let (mut places, mut commits, mut now) = (Vec::new(), Vec::new(), NOW);
        let order = |chain: &Chain| if *chain.convener() == node(CONVENER) { [CONVENER, SUCCESSOR] } else { [SUCCESSOR, CONVENER] };
        for op in ops {
            let chain = member.0.chain();
            let ([convener, successor], origin) = (order(chain), chain.ledger().clone());
            let (index, epoch) = (chain.size(), chain.epoch());
            let bytes = [epoch as u8, index as u8];
            let draft = |epoch: u64| commit(&origin, index, epoch, &bytes);
            let other = |by: i8| epoch.checked_add_signed(by.into()).unwrap_or(9);
            now = now.plus(1_000);
            commits.push(bytes);
            let (by, entry) = match op {
                Stands::Counted | Stands::Failed => (convener, signed(convener, draft(epoch))),
                Stands::Unheld => {
                    let mut draft = draft(epoch);
                    let Body::Commit { held, .. } = &mut draft.body else { unreachable!() };
                    *held = holders(&[convener]);
                    (convener, signed(convener, draft))
                }
                // One that ends the group's epoch counts, whatever its convener meant by it.
                Stands::OtherEpoch(0) | Stands::Junk => (convener, signed(NODES[4], draft(epoch))),
                Stands::OtherEpoch(by) => (convener, signed(convener, draft(other(by)))),
                Stands::BySuccessor(by) => (convener, signed(successor, draft(other(by)))),
                Stands::Closed(waited) => {
                    now = now.plus(if waited { 2 * SILENCE } else { 0 });
                    let body = Body::Close { next: origin.next().unwrap() };
                    (successor, signed(successor, Draft { body, ..draft(epoch) }))
                }
            };
            guide.stand(&mut writer, by, entry.as_bytes(), &QUORUM, now);
            let roster = (!matches!(op, Stands::Failed)).then(with_me);
            member.take(guide.pages.last().unwrap(), &bytes, roster);
            let chain = member.0.chain();
            if matches!(op, Stands::Counted) {
                prop_assert_eq!(chain.epoch(), epoch + 1);
                places.push((origin.number(), index, chain.clone()));
            } else {
                prop_assert_eq!(chain.epoch(), epoch);
            }
            if matches!(op, Stands::Closed(_)) {
                writer = Writer::new(chain.ledger().number());
            }
        }
        for (number, index, chain) in &places {
            let mut new = joiner(at(*number, *index));
            guide.lead(&mut new).unwrap();
            let (engine, records) = enter(new);
            prop_assert_eq!(engine.chain(), chain);
            reopens(&engine, &records);
        }
        // Whoever was shown the group as it is now stands in the same epoch, and takes the rest in like everybody.
        if let Some((.., last)) = places.last() {
            let mut shown = joiner(Target::Epoch(last.epoch()));
            guide.lead(&mut shown).unwrap();
            let (engine, _) = enter(shown);
            let mut engine = Witnessed(engine);
            for _ in 0..guide.pages.len() {
                let (ledger, from) = (engine.0.chain().ledger().clone(), engine.0.chain().size());
                let Some(page) = guide.answer(&Message::Want { ledger, from, most: 1 }) else { break };
                let at = guide.pages.iter().position(|other| *other == page).unwrap();
                engine.take(&page, &commits[at], None);
            }
            prop_assert_eq!(engine.0.chain().ledger(), member.0.chain().ledger());
            prop_assert_eq!(engine.0.chain().root(), member.0.chain().root());
        }
    }
}
