//! Certificate, charter, policies, officers.

use puente_model::Millis;

use super::Patient;
use crate::api::keys::KeyBook;
use crate::ca;
use crate::files;
use crate::init;
use crate::load::Bearings;
use crate::net::certified;
use crate::node::{certificate_check, charter_check};
use crate::officers::{self, OfficerBook};
use crate::ops::check::{Check, State, Words, w};
use crate::ops::expiry::endings;
use crate::renewal::Life;

const DAY: u64 = 86_400_000;
/// Days before the end from which grants and bases are told.
const SOON: u64 = 14 * DAY;

/// Looks at something that needs the charter.
type Look = fn(&Patient<'_>, &Bearings) -> Check;

pub(super) fn checks(patient: &Patient<'_>) -> Vec<Check> {
    let mut out = vec![certificate(patient), certificate_fits(patient), certificate_chain(patient), verified(patient)];
    let names: [(&'static str, Look); 9] = [
        ("charter", |p, b| charter_check(b.charter.status(p.context.now))),
        ("nation-roots", roots),
        ("charter-member", member),
        ("charter-endpoint", endpoint),
        ("charter-log", own_log),
        ("auditors", auditors),
        ("legal-bases", bases),
        ("policies", policies),
        ("policies-expiry", grants),
    ];
    for (name, check) in names {
        out.push(match &patient.bearings {
            Ok(bearings) => check(patient, bearings),
            Err(_) => Check::not(
                State::Unknown,
                name,
                "no-charter",
                w("configuration or charter cannot be read"),
                "",
                w("mend what is named above first"),
            ),
        });
    }
    out.extend(officers(patient));
    out.push(api_keys(patient));
    out
}

const ISSUE: Words =
    w("renew it ('puente node renew'), or have it issued anew by your nation's authority ('puente ca issue')");

fn certificate(patient: &Patient<'_>) -> Check {
    match ca::show(&patient.context.dir.tls_cert()) {
        Ok(shown) => {
            certificate_check(Some(Life { begin: shown.not_before, end: shown.not_after }), patient.context.now)
        }
        Err(error) => Check::not(
            State::Fail,
            "certificate",
            "certificate-unread",
            w("the certificate cannot be read"),
            error.to_string(),
            ISSUE,
        ),
    }
}

/// The self-test of a fresh node knows names and keys.
fn certificate_fits(patient: &Patient<'_>) -> Check {
    let name = "certificate-fits";
    let tests = init::self_test(&patient.context.dir);
    match tests.into_iter().find(|(what, _)| *what == "certificate") {
        Some((_, Ok(words))) => Check::ok(name, w("it names this node and belongs to its key"), words),
        Some((_, Err(words))) => {
            Check::not(State::Fail, name, "certificate", w("it is not this node's, or not its key's"), words, ISSUE)
        }
        None => Check::not(State::Unknown, name, "certificate", w("it could not be looked at"), "", ISSUE),
    }
}

fn certificate_chain(patient: &Patient<'_>) -> Check {
    let name = "certificate-chain";
    let Ok(bearings) = &patient.bearings else {
        return Check::not(State::Unknown, name, "no-charter", w("without a charter no root is known"), "", ISSUE);
    };
    let chain = files::read(&patient.context.dir.tls_cert()).map_err(|error| error.to_string());
    match chain.and_then(|chain| certified(&bearings.config.node, &bearings.charter, &chain, patient.context.now)) {
        Ok(()) => Check::ok(name, w("peers will accept it: it ends in a root of its own nation"), ""),
        Err(why) => Check::not(State::Fail, name, "certificate-chain", w("peers will refuse it"), why, ISSUE),
    }
}

fn verified(patient: &Patient<'_>) -> Check {
    let name = "charter-verified";
    match &patient.bearings {
        Ok(bearings) => {
            Check::ok(name, w("pin, signatures, versions and catalogue verify"), bearings.charter.vector().to_string())
        }
        Err(why) => Check::not(
            State::Fail,
            name,
            "charter",
            w("configuration, charter or catalogue are not accepted"),
            why.clone(),
            w("the charter folder needs every version of every part, with signatures, and the pin"),
        ),
    }
}

/// No certificate outlives its root, and another root takes a common part.
fn roots(patient: &Patient<'_>, bearings: &Bearings) -> Check {
    let (name, now) = ("nation-roots", patient.context.now);
    let all = endings(&bearings.charter, &bearings.config.node.jurisdiction(), None, now);
    let ends: Vec<_> = all.iter().filter(|ending| ending.what == "root").collect();
    let shown = ends.iter().map(|ending| ending.end.to_string()).collect::<Vec<_>>().join(", ");
    if ends.iter().all(|ending| ending.stage(now).is_none()) {
        return Check::ok(name, w("no root of this nation ends within a month"), shown);
    }
    Check::not(
        State::Warn,
        name,
        "root-ends",
        w("a root of this nation has ended or ends soon"),
        shown,
        w("make the next root ('puente ca init') and have the next common part name both"),
    )
}

fn member(_: &Patient<'_>, bearings: &Bearings) -> Check {
    let (name, node) = ("charter-member", &bearings.config.node);
    if bearings.charter.member(node).is_some_and(puente_charter::Member::is_active) {
        return Check::ok(name, w("the charter lists this node"), node.to_string());
    }
    Check::not(
        State::Fail,
        name,
        "not-a-member",
        w("the charter does not admit this node"),
        node.to_string(),
        w("ask your governance body about the annex"),
    )
}

/// The port that peers dial is the port that the node listens on; a router between may make them differ.
fn endpoint(_: &Patient<'_>, bearings: &Bearings) -> Check {
    let (name, listen) = ("charter-endpoint", bearings.config.listen);
    let endpoints =
        bearings.charter.member(&bearings.config.node).map(|member| member.endpoints.clone()).unwrap_or_default();
    let shown = format!("{} / {listen}", endpoints.join(", "));
    let port = |endpoint: &String| endpoint.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    if endpoints.is_empty() {
        return Check::ok(name, w("the charter gives no address: this node only calls"), shown);
    }
    if endpoints.iter().any(|endpoint| port(endpoint) == Some(listen.port())) {
        return Check::ok(name, w("peers dial the port that is listened on"), shown);
    }
    Check::not(
        State::Warn,
        name,
        "other-port",
        w("peers dial another port than the one listened on"),
        shown,
        w("mend 'listen' or the annex, unless a router maps the port"),
    )
}

fn own_log(patient: &Patient<'_>, bearings: &Bearings) -> Check {
    let name = "charter-log";
    let open = bearings.charter.member(&bearings.config.node).and_then(|member| member.open_log().cloned());
    let own = crate::cli::log::key(patient.context).map(|key| key.to_string()).map_err(|failure| failure.message);
    match (open, own) {
        (Some(log), Ok(own)) if log.vkey == own => {
            Check::ok(name, w("the charter names this node's log and key"), log.origin.to_string())
        }
        (Some(log), Ok(own)) => Check::not(
            State::Fail,
            name,
            "other-log",
            w("the charter names another log or key"),
            format!("{} / {own}", log.vkey),
            w("check keys/log.key, 'log' in node.toml and the annex"),
        ),
        (None, _) => Check::not(
            State::Fail,
            name,
            "no-log",
            w("the charter names no open log of this node"),
            "",
            w("ask your governance body about the annex"),
        ),
        (_, Err(why)) => {
            Check::not(State::Fail, name, "log-key", w("the log's key cannot be used"), why, w("restore keys/log.key"))
        }
    }
}

fn auditors(patient: &Patient<'_>, bearings: &Bearings) -> Check {
    let name = "auditors";
    let now = patient.context.now;
    let without = |at: Millis| {
        let all = bearings.charter.jurisdictions().flat_map(|code| bearings.charter.auditors(code));
        all.filter(|auditor| auditor.seal_key(at).is_none()).map(|auditor| auditor.name.clone()).collect::<Vec<_>>()
    };
    let fix = w("ask your governance body for a common part with the auditors' next keys");
    let (today, soon) = (without(now), without(now.plus(SOON)));
    match (today.is_empty(), soon.is_empty()) {
        (true, true) => Check::ok(name, w("every auditor has a sealing key"), ""),
        (true, false) => Check::not(
            State::Warn,
            name,
            "no-next-key",
            w("auditors without a sealing key in two weeks: escrow would stop"),
            soon.join(", "),
            fix,
        ),
        (false, _) => Check::not(
            State::Warn,
            name,
            "no-seal-key",
            w("auditors without a sealing key for this quarter"),
            today.join(", "),
            fix,
        ),
    }
}

fn bases(patient: &Patient<'_>, bearings: &Bearings) -> Check {
    let name = "legal-bases";
    let until = patient.context.now.plus(SOON);
    let ending: Vec<_> = bearings
        .charter
        .legal_bases()
        .iter()
        .filter(|base| base.expires < until)
        .map(|base| base.id.to_string())
        .collect();
    if ending.is_empty() {
        return Check::ok(name, w("no legal basis ends within two weeks"), "");
    }
    Check::not(
        State::Warn,
        name,
        "bases-end",
        w("legal bases have ended or end within two weeks"),
        ending.join(", "),
        w("ask your governance body"),
    )
}

fn policies(patient: &Patient<'_>, bearings: &Bearings) -> Check {
    let name = "policies";
    match bearings.policies(&patient.context.dir) {
        Ok(policies) => Check::ok(name, w("the rules validate"), format!("{} rules", policies.rules().count())),
        Err(error) => Check::not(
            State::Fail,
            name,
            "policies-broken",
            w("the rules do not validate: the node would not start"),
            error.to_string(),
            w("run 'puente policy check' and mend the rules"),
        ),
    }
}

fn grants(patient: &Patient<'_>, bearings: &Bearings) -> Check {
    let name = "policies-expiry";
    let Ok(policies) = bearings.policies(&patient.context.dir) else {
        return Check::not(
            State::Unknown,
            name,
            "policies-broken",
            w("the rules do not validate"),
            "",
            w("mend the rules first"),
        );
    };
    let until = patient.context.now.plus(SOON);
    let ending: Vec<_> = policies
        .grants_by_expiry()
        .into_iter()
        .filter(|(end, _)| *end < until)
        .map(|(_, rule)| rule.to_owned())
        .collect();
    if ending.is_empty() {
        return Check::ok(name, w("no rule ends within two weeks"), "");
    }
    Check::not(
        State::Warn,
        name,
        "grants-end",
        w("rules have ended or end within two weeks"),
        ending.join(", "),
        w("renew or remove them"),
    )
}

/// Counts only: whose they are is shown by 'puente api-key list'.
fn api_keys(patient: &Patient<'_>) -> Check {
    let (name, now) = ("api-keys-expiry", patient.context.now);
    let Ok(book) = KeyBook::open(&patient.context.dir) else {
        let (cause, fix) = (w("the API keys' files cannot be read: no program is let in"), w("mend api-keys.toml"));
        return Check::not(State::Fail, name, "api-keys", cause, "", fix);
    };
    match book.endings(now).iter().filter(|key| key.stage(now).is_some()).count() {
        0 => Check::ok(name, w("no API key ends soon"), ""),
        ending => {
            let fix = w("'puente api-key list' names them; make each program's next key with 'puente api-key add'");
            Check::not(
                State::Warn,
                name,
                "api-key-ends",
                w("API keys end soon, or have ended"),
                ending.to_string(),
                fix,
            )
        }
    }
}

/// Counts only: who they are is shown by 'puente officer list'.
fn officers(patient: &Patient<'_>) -> Vec<Check> {
    let now = patient.context.now;
    let book = match OfficerBook::open(&patient.context.dir) {
        Ok(book) => book,
        Err(_) => {
            return vec![Check::not(
                State::Fail,
                "officers",
                "officers",
                w("the officers' files cannot be read"),
                "",
                w("mend officers.toml"),
            )];
        }
    };
    let active: Vec<_> = book.in_force().iter().filter(|o| o.revoked.is_none() && o.expires > now).collect();
    let ending = officers::told(book.in_force(), now);
    let waiting = book.changes(now).len();
    let officers = match (active.len(), waiting) {
        (0, 0) => Check::not(
            State::Warn,
            "officers",
            "nobody",
            w("nobody may ask through this node"),
            "",
            w("add people with 'puente officer add'"),
        ),
        (n, 0) => Check::ok("officers", w("people may ask; every grant is recorded"), n.to_string()),
        (_, n) => Check::not(
            State::Warn,
            "officers",
            "unrecorded",
            w("changes are not in the log yet: they are not in force"),
            n.to_string(),
            w("start the node, which records them"),
        ),
    };
    let expiry = if ending == 0 {
        Check::ok("officers-expiry", w("no grant of an officer ends soon"), "")
    } else {
        Check::not(
            State::Warn,
            "officers-expiry",
            "officer-grants-end",
            w("grants of officers end soon, or have ended"),
            ending.to_string(),
            w("'puente officer list' names them; grant anew with 'puente officer add', under another id"),
        )
    };
    vec![officers, expiry]
}
