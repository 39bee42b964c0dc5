//! A certificate's life: due, renewed, refused, ended.

use super::*;
use crate::keys::{PassphraseSource, Vault};
use crate::renewal::{Present, credentials};

const DAY: u64 = 86_400_000;
const LATER: Millis = Millis(NOW.0 + 11 * DAY);

fn plain() -> Vault {
    Vault::new(PassphraseSource::Ask)
}

fn renew_at(world: &World, line: &str, now: Millis) -> Result<Report, Failure> {
    puente_at(world.path(), &format!("--dir @/n1 node renew {line}"), now)
}

fn refused(world: &World, line: &str, now: Millis) -> &'static str {
    let before = files_of(world);
    let failure = renew_at(world, line, now).unwrap_err();
    assert!(failure.hint.is_some(), "{failure:?}");
    assert_eq!(files_of(world), before, "{line} changed something");
    failure.code
}

/// Certificate and key in force, and that they are each other's.
fn files_of(world: &World) -> (Vec<u8>, Vec<u8>) {
    let dir = NodeDir::new(world.file("n1"));
    let (chain, key) = credentials(&dir, &plain()).unwrap();
    let own = "puente://mx/fge-bc/n1".parse().unwrap();
    crate::net::Identity::from_pem(&own, &chain, &key).unwrap();
    (chain, key.to_vec())
}

fn copy(world: &World, from: &str, to: &str) {
    std::fs::copy(world.file(from), world.file(to)).unwrap();
}

#[test]
fn a_timer_renews_at_two_thirds_of_life_and_says_with_its_exit_code_what_it_did() {
    let world = World::new();
    let (old, old_key) = files_of(&world);
    let due = Present::read(&NodeDir::new(world.file("n1"))).unwrap().unwrap().due();
    let life = 14 * DAY;
    assert!(
        due.since(NOW) >= life / 3 * 2 - DAY / 24 && due.since(NOW) <= life / 4 * 3,
        "jitter stays within a twelfth"
    );
    for now in [NOW.plus(DAY), Millis(due.0 - 1)] {
        let report = renew_at(&world, "--if-due --ca @/ca-mx", now).unwrap();
        assert_eq!((report.exit as u8, &report.json["state"]), (5, &Value::from("not-due")));
    }
    assert_eq!(files_of(&world).0, old);
    let report = renew_at(&world, "--if-due --ca @/ca-mx", due).unwrap();
    assert_eq!((report.exit, &report.json["state"]), (Exit::Ok, &Value::from("renewed")));
    assert_eq!((&report.json["new_key"], &report.json["in_force"]), (&Value::from(true), &Value::from(false)));
    let (new, new_key) = files_of(&world);
    assert!(new != old && new_key != old_key, "a fresh key, too");
    assert!(!world.file("n1/keys/tls.next.key.pem").exists());
    assert_eq!(renew_at(&world, "--if-due --ca @/ca-mx", due).unwrap().exit, Exit::NotDue);
    // A loop is refused, by the node and by the authority, unless a person insists.
    assert_eq!(refused(&world, "--ca @/ca-mx", due), "just-renewed");
    copy(&world, "n1/keys/tls.cert.pem", "kept.pem");
    renew_at(&world, "--force --request @/again.pem", due).unwrap();
    let twice = puente_at(world.path(), "ca renew --ca @/ca-mx --request @/again.pem", due).unwrap_err();
    assert_eq!(twice.code, "just-renewed");
    renew_at(&world, "--ca @/ca-mx --force", due.plus(1_000)).unwrap();
    // Nothing older than what is there comes back.
    assert_eq!(refused(&world, "--install @/kept.pem", due.plus(2_000)), "other-key");
}

#[test]
fn a_request_is_carried_to_the_authority_and_its_answer_back() {
    let world = World::new();
    renew_at(&world, "--request @/request.pem", LATER).unwrap();
    // Asking again while none has come is the same key.
    let waiting = std::fs::read(world.file("n1/keys/tls.next.key.pem")).unwrap();
    renew_at(&world, "--request @/request.pem", LATER).unwrap();
    assert_eq!(std::fs::read(world.file("n1/keys/tls.next.key.pem")).unwrap(), waiting);
    let line = "ca renew --ca @/ca-mx --request @/request.pem --charter @/charter --out @/new.pem";
    let issued = puente_at(world.path(), line, LATER).unwrap();
    assert_eq!(issued.json["node"], "puente://mx/fge-bc/n1");
    let (_, old_key) = files_of(&world);
    let report = renew_at(&world, "--install @/new.pem", LATER).unwrap();
    assert_eq!(report.json["not_after"], LATER.plus(14 * DAY).to_string());
    let (new, new_key) = files_of(&world);
    assert!(new_key == waiting && new_key != old_key);
    // The same file once more is no newer than itself.
    assert_eq!(refused(&world, "--install @/new.pem", LATER), "not-newer");

    // A swap that was cut off between certificate and key holds together, and is ended by the next step.
    let later = LATER.plus(11 * DAY);
    renew_at(&world, "--request @/request.pem", later).unwrap();
    puente_at(world.path(), "ca renew --ca @/ca-mx --request @/request.pem --out @/new.pem", later).unwrap();
    copy(&world, "new.pem", "n1/keys/tls.cert.pem");
    let (cut, key) = files_of(&world);
    assert!(cut != new && key != new_key && world.file("n1/keys/tls.next.key.pem").exists());
    crate::renewal::settle(&NodeDir::new(world.file("n1")), &plain()).unwrap();
    assert_eq!(files_of(&world), (cut, key));
    assert!(!world.file("n1/keys/tls.next.key.pem").exists());
}

#[test]
fn a_key_under_a_passphrase_is_renewed_under_the_same_one() {
    let world = World::new();
    std::fs::write(world.file("passphrase"), "correct horse battery staple\n").unwrap();
    let at =
        |line: &str, now| puente_at(world.path(), &format!("--dir @/n1 --passphrase-file @/passphrase {line}"), now);
    at("keys protect --new-passphrase-file @/passphrase", NOW).unwrap();
    let report = at("node renew --ca @/ca-mx", LATER).unwrap();
    assert_eq!(report.json["new_key"], true);
    let key = std::fs::read_to_string(world.file("n1/keys/tls.key.pem")).unwrap();
    assert!(key.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"), "{key}");
    assert!(!world.file("n1/keys/tls.next.key.pem").exists());
    let vault = Vault::new(PassphraseSource::of(Some(world.file("passphrase")), None));
    let (chain, key) = credentials(&NodeDir::new(world.file("n1")), &vault).unwrap();
    crate::net::Identity::from_pem(&"puente://mx/fge-bc/n1".parse().unwrap(), &chain, &key).unwrap();
    // Another passphrase opens nothing, and changes nothing.
    std::fs::write(world.file("passphrase"), "another horse battery staple\n").unwrap();
    let failure = at("node renew --ca @/ca-mx --force", LATER.plus(9 * DAY)).unwrap_err();
    assert!(failure.message.contains("the passphrase is wrong"), "{failure:?}");
    assert!(!world.file("n1/keys/tls.next.key.pem").exists());
}

#[test]
fn only_the_nodes_own_newer_certificate_of_its_nation_is_taken() {
    let world = World::new();
    let at = world.path();
    renew_at(&world, "--request @/request.pem", LATER).unwrap();
    let issue = |line: &str, now: Millis| puente_at(at, line, now).unwrap();
    // Another node's, another key's, another nation's, one that has ended or begins later, one that is due at once.
    issue("ca issue --ca @/ca-mx --node puente://mx/fgr/n1 --out @/other", LATER);
    assert_eq!(refused(&world, "--install @/other/tls.cert.pem", LATER), "other-node");
    issue("ca issue --ca @/ca-mx --node puente://mx/fge-bc/n1 --out @/stolen", LATER);
    assert_eq!(refused(&world, "--install @/stolen/tls.cert.pem", LATER), "other-key");
    issue("ca init --jurisdiction mx --out @/false", NOW);
    issue("ca issue --ca @/false --csr @/request.pem --out @/false-leaf", LATER);
    assert_eq!(refused(&world, "--install @/false-leaf/tls.cert.pem", LATER), "not-accepted");
    issue("ca issue --ca @/ca-mx --csr @/request.pem --days 30 --out @/dated", LATER);
    assert_eq!(refused(&world, "--install @/dated/tls.cert.pem", Millis(LATER.0 - DAY)), "not-now");
    assert_eq!(refused(&world, "--install @/dated/tls.cert.pem", LATER.plus(31 * DAY)), "not-now");
    assert_eq!(refused(&world, "--install @/dated/tls.cert.pem", LATER.plus(29 * DAY)), "due-at-once");
    issue("ca issue --ca @/ca-mx --csr @/request.pem --days 1 --out @/short", LATER);
    assert_eq!(refused(&world, "--install @/short/tls.cert.pem", LATER), "not-newer");
    std::fs::write(world.file("junk.pem"), "no certificate").unwrap();
    assert_eq!(refused(&world, "--install @/junk.pem", LATER), "not-a-certificate");
    std::fs::write(world.file("large.pem"), "-".repeat(64 * 1024 + 1)).unwrap();
    assert_eq!(refused(&world, "--install @/large.pem", LATER), "not-a-certificate");
    // What was refused all along is taken as soon as it is right.
    renew_at(&world, "--install @/dated/tls.cert.pem", LATER).unwrap();
}

#[test]
fn the_authority_renews_only_what_a_certificate_in_force_vouches_for() {
    let world = World::new();
    let at = world.path();
    let renew = |request: &str, more: &str, now: Millis| {
        puente_at(at, &format!("ca renew --ca @/ca-mx --request @/{request} {more}"), now)
    };
    let code = |request: &str, more: &str, now: Millis| renew(request, more, now).unwrap_err().code;
    renew_at(&world, "--request @/request.pem", LATER).unwrap();
    let text = std::fs::read_to_string(world.file("request.pem")).unwrap();
    let blocks: Vec<&str> = text.split_inclusive("-----\n").collect();
    let [csr, certificate, signature] = [&blocks[..2], &blocks[2..4], &blocks[4..6]].map(<[&str]>::concat);
    let write = |name: &str, parts: &[&str]| std::fs::write(world.file(name), parts.concat()).unwrap();
    // Alone, cut, another's certificate or signature beside it: nobody vouches.
    write("alone.pem", &[&csr]);
    assert_eq!(code("alone.pem", "", LATER), "not-vouched");
    write("cut.pem", &[&csr, &certificate]);
    assert_eq!(code("cut.pem", "", LATER), "request");
    std::fs::write(world.file("large.pem"), "-".repeat(64 * 1024 + 1)).unwrap();
    assert_eq!(code("large.pem", "", LATER), "request");
    ok(at, "--dir @/n9 node init --uri puente://mx/sedena/n9 --ca @/ca-mx");
    puente_at(at, "--dir @/n9 node renew --request @/nine.pem", LATER).unwrap();
    let nine = std::fs::read_to_string(world.file("nine.pem")).unwrap();
    let theirs: Vec<&str> = nine.split_inclusive("-----\n").collect();
    write("mixed.pem", &[&csr, &theirs[2..4].concat(), &theirs[4..6].concat()]);
    assert_eq!(code("mixed.pem", "", LATER), "request", "a signature holds for its own request alone");
    write("borrowed.pem", &[&theirs[..2].concat(), &certificate, &signature]);
    assert_eq!(code("borrowed.pem", "", LATER), "request");
    // Its authority is the only one that renews it, and only while the certificate is in force.
    puente_at(at, "ca init --jurisdiction mx --out @/false", NOW).unwrap();
    let other = puente_at(at, "ca renew --ca @/false --request @/request.pem", LATER).unwrap_err();
    assert_eq!(other.code, "request");
    assert_eq!(code("request.pem", "", LATER.plus(4 * DAY)), "not-vouched");
    // With the charter, for active members only.
    assert_eq!(code("nine.pem", "--charter @/charter", LATER), "not-a-member");
    renew("nine.pem", "--out @/nine.cert.pem", LATER).unwrap();
    renew("request.pem", "--charter @/charter --out @/new.pem", LATER).unwrap();

    // Once the certificate has ended nothing vouches: a person issues on the request, and the node takes it.
    let ended = NOW.plus(15 * DAY);
    let report = renew_at(&world, "--request @/late.pem", ended).unwrap();
    assert_eq!(report.json["vouched"], false);
    assert_eq!(code("late.pem", "", ended), "not-vouched");
    puente_at(at, "ca issue --ca @/ca-mx --csr @/late.pem --out @/late", ended).unwrap();
    renew_at(&world, "--install @/late/tls.cert.pem", ended).unwrap();
    files_of(&world);
}

#[test]
fn nothing_is_renewed_under_a_charter_whose_grace_has_ended() {
    let world = World::new();
    let charter =
        crate::load::charter(&world.file("charter"), crate::load::charter_pin(&world.file("charter/pin")).unwrap())
            .unwrap();
    let end = charter.common().expires;
    let grace = u64::from(charter.common().grace_days) * DAY;
    // A certificate that is in force at that time.
    let issue = |now: Millis| {
        let line = "ca issue --ca @/ca-mx --csr @/late.pem --days 18 --out @/late";
        renew_at(&world, "--request @/late.pem --force", now).unwrap();
        puente_at(world.path(), line, now).unwrap();
        renew_at(&world, "--install @/late/tls.cert.pem", now).unwrap();
    };
    issue(Millis(end.0 - 10 * DAY));
    // In the charter's grace members go on, and so do their certificates.
    renew_at(&world, "--ca @/ca-mx", end.plus(DAY)).unwrap();
    assert_eq!(refused(&world, "--ca @/ca-mx", end.plus(grace + DAY / 2)), "not-a-member");
}

#[test]
fn a_command_reaches_an_authority_elsewhere() {
    let world = World::new();
    let exec = |command: &str, now: Millis| {
        // A command line of several words is one argument.
        let words = ["puente", "--dir", &world.file("n1").display().to_string(), "node", "renew", "--exec", command]
            .map(str::to_owned);
        run_at(words, now, puente_model::Lang::En)
    };
    let at = world.path().display();
    for (command, code) in [
        ("exit 3".to_owned(), "authority"),
        ("cat >/dev/null".to_owned(), "not-a-certificate"),
        (format!("cat {at}/n1/keys/tls.cert.pem"), "not-newer"),
    ] {
        // The command need not read its input, and what it prints is judged as any other paper.
        assert_eq!(exec(&command, LATER).unwrap_err().code, code, "{command}");
    }
    puente_at(world.path(), "--dir @/n1 node renew --request @/request.pem", LATER).unwrap();
    puente_at(world.path(), "ca renew --ca @/ca-mx --request @/request.pem --out @/new.pem", LATER).unwrap();
    let report = exec(&format!("cmp - {at}/request.pem >/dev/null || true; cat {at}/new.pem"), LATER).unwrap();
    assert_eq!(report.json["state"], "renewed");
}
