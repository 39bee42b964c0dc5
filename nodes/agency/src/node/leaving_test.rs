//! A real node leaves: its partner goes on, its history is verified offline, and it never starts again.

use puente_audit::{Auditor, Class, Conclusion as Verdict, load_charter};
use puente_charter::{Part, sign};

use super::rules_test::{next_annex, outcome};
use super::tests::{US, enlist, federation, keep_vehicle, key, question, status};
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_leaves_for_good_and_its_history_is_verified_offline() {
    let (root, mx, us) = federation();
    enlist(&mx);
    enlist(&us);
    keep_vehicle(&us);
    let leaver = Node::start(us.clone(), |_| {}).await.unwrap();
    let stayer = Node::start(mx.clone(), |_| {}).await.unwrap();
    assert_eq!(outcome(&stayer).await, "HIT_UNCONFIRMED");
    let leave = |to: std::path::PathBuf| Command::Leave { reason: "the agreement ended".to_owned(), to };
    // A place that is taken changes nothing.
    let refused = leaver.carry_out(leave(root.path().to_owned())).await;
    assert!(matches!(&refused, Answer::Error { code, .. } if code == "path"), "{refused:?}");
    assert_eq!(outcome(&stayer).await, "HIT_UNCONFIRMED");

    let to = root.path().join("handover");
    let answer = leaver.carry_out(leave(to.clone())).await;
    let Answer::Left { index, entries, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(entries, index + 1, "nothing stands after the final entry");
    // Nothing more is recorded, asked or answered.
    let event = Command::Block { peer: super::tests::MX.parse().unwrap(), reason: "too late".to_owned() };
    let late = leaver.carry_out(event).await;
    assert!(matches!(&late, Answer::Concluded(c) if matches!(**c, Concluded::LogUnavailable)), "{late:?}");
    assert_ne!(outcome(&stayer).await, "HIT_UNCONFIRMED");
    leaver.shut_down(false).await.unwrap();
    drop(leaver);
    assert_eq!(Node::start(us.clone(), |_| {}).await.unwrap_err().code(), "left");

    // Offline, with what everybody gets and without any key.
    let pin = std::fs::read_to_string(to.join("everyone/charter/pin")).unwrap().trim().parse().unwrap();
    let charter = |folder: &std::path::Path| load_charter(folder, pin).unwrap();
    let log = to.join("everyone/log");
    let verdict = Auditor::new(charter(&to.join("everyone/charter")), now()).without_headers().verify(&log).unwrap();
    assert_eq!((verdict.verdict, verdict.logs[0].closed_at), (Verdict::Sound, Some(entries)), "{verdict:?}");
    assert!(std::fs::read_to_string(to.join("README.txt")).unwrap().contains("puente-audit"));
    assert!(
        to.join("own-auditors/log/asides").metadata().unwrap().len() > log.join("asides").metadata().unwrap().len()
    );

    // The nation signs the annex that lies ready; the partner adopts it and says why it asks no more.
    let name = "annex-us-2.toml";
    let text = std::fs::read_to_string(to.join("draft").join(name)).unwrap();
    let Part::Annex(annex) = Part::from_toml(name, &text).unwrap() else { panic!("{text}") };
    assert_eq!(annex.members[0].logs[0].closed_at, Some(entries));
    let line = format!("{}\n", sign(&annex.hash(), &key("us"), "us-gov"));
    std::fs::write(to.join("draft").join(format!("{name}.sig")), line).unwrap();
    let adopted = stayer.carry_out(Command::Adopt { from: to.join("draft") }).await;
    assert!(matches!(adopted, Answer::Adopted { changed: true, .. }), "{adopted:?}");
    let shown = status(&stayer);
    assert_eq!((&shown["peers"][0]["peer"], &shown["peers"][0]["suspended"]), (&US.into(), &true.into()), "{shown}");
    let Command::Query(asked) = question("o-1042") else { unreachable!() };
    let refused = stayer.carry_out(Command::Query(asked)).await;
    assert!(format!("{refused:?}").contains("left the federation"), "{refused:?}");
    let verdict = Auditor::new(charter(&mx.charter()), now()).without_headers().verify(&log).unwrap();
    assert_eq!((verdict.verdict, verdict.logs[0].closed_at), (Verdict::Sound, Some(entries)));
    assert!(verdict.findings.iter().all(|finding| finding.class != Class::AfterFinal));
    stayer.shut_down(true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_with_nobody_there_ends_when_a_node_leaves() {
    let (root, mx, _us) = federation();
    enlist(&mx);
    let leaver = Node::start(mx.clone(), |_| {}).await.unwrap();
    // Asked of a node that does not run: the question stays in the outbox.
    let Command::Query(mut open) = question("o-1042") else { unreachable!() };
    (open.due_in_millis, open.stays) = (3_600_000, true);
    let asked = leaver.carry_out(Command::Query(open)).await;
    assert!(matches!(&asked, Answer::Concluded(c) if matches!(**c, Concluded::Asked { .. })), "{asked:?}");
    let to = root.path().join("handover");
    let answer = leaver.carry_out(Command::Leave { reason: "over".to_owned(), to: to.clone() }).await;
    let Answer::Left { entries, unasked, .. } = answer else { panic!("{answer:?}") };
    let named: Vec<_> = unasked.iter().map(|one| (one.peer.as_str(), one.why.as_str())).collect();
    assert_eq!(named, [(US, "unreachable")]);
    leaver.shut_down(true).await.unwrap();
    let pin = std::fs::read_to_string(mx.charter_pin()).unwrap().trim().parse().unwrap();
    let charter = load_charter(&mx.charter(), pin).unwrap();
    let log = to.join("everyone/log");
    let verdict = Auditor::new(charter, now()).without_headers().verify(&log).unwrap();
    assert_eq!((verdict.verdict, verdict.logs[0].closed_at), (Verdict::Sound, Some(entries)), "{verdict:?}");
    assert_eq!((verdict.logs[0].counts.queries, verdict.logs[0].counts.voids), (1, 1), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_closing_annex_follows_one_that_only_a_partner_knew() {
    let (root, mx, us) = federation();
    // The nation signs an annex while its node is down; a partner adopts it.
    let stayer = Node::start(mx.clone(), |_| {}).await.unwrap();
    let unseen = next_annex(&us, "us", "us", |annex| annex.members[0].name_en = "Another name".to_owned());
    let adopted = stayer.carry_out(Command::Adopt { from: unseen.path().to_owned() }).await;
    assert!(matches!(adopted, Answer::Adopted { changed: true, .. }), "{adopted:?}");
    let leaver = Node::start(us.clone(), |_| {}).await.unwrap();
    assert_eq!(status(&leaver)["charter"]["vector"], "1.mx1.us1", "nothing told it so far");

    let to = root.path().join("handover");
    let answer = leaver.carry_out(Command::Leave { reason: "over".to_owned(), to: to.clone() }).await;
    let Answer::Left { draft, unasked, entries, .. } = answer else { panic!("{answer:?}") };
    assert_eq!((draft.as_str(), unasked), ("annex-us-3.toml", vec![]));
    leaver.shut_down(true).await.unwrap();
    assert!(to.join("everyone/charter/annex-us-2.toml").exists());
    let text = std::fs::read_to_string(to.join("draft").join(&draft)).unwrap();
    let Part::Annex(annex) = Part::from_toml(&draft, &text).unwrap() else { panic!("{text}") };
    assert_eq!((annex.number, annex.members[0].name_en.as_str()), (3, "Another name"));
    assert_eq!(annex.members[0].logs[0].closed_at, Some(entries));
    // Signed, it convicts nobody: the partner takes it up.
    let line = format!("{}\n", sign(&annex.hash(), &key("us"), "us-gov"));
    std::fs::write(to.join("draft").join(format!("{draft}.sig")), line).unwrap();
    let adopted = stayer.carry_out(Command::Adopt { from: to.join("draft") }).await;
    assert!(matches!(&adopted, Answer::Adopted { vector, changed: true } if vector == "1.mx1.us3"), "{adopted:?}");
    stayer.shut_down(true).await.unwrap();
}
