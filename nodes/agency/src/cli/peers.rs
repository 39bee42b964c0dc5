//! `puente peer list` and `test`: who is in the charter, and which step towards one of them fails.

use puente_catalogue::Lang;
use puente_model::NodeUri;
use puente_words::say;
use serde_json::{Value, json};

use super::output::{Exit, Failure, Report, table};
use super::{Context, client};
use crate::control_api::{Answer, Command};
use crate::keys::{KeyRoom, RoomError};
use crate::load::Bearings;
use crate::net::{Probed, probe};
use crate::ops::check::{Words, w};

const CONNECTED: Words = w("connected");
const OVER_TCP: Words = w("connected over TCP, UDP is blocked");
const NOT_CONNECTED: Words = w("not connected");
const NOT_RUNNING: Words = w("this node is not running");
const SUSPENDED: Words = w("suspended");
const UNREACHABLE: Words = w("unreachable");
const OWN: Words = w("this node");
const WELL: Words = w("every step succeeded");
const WELL_OVER_TCP: Words = w("every step succeeded, over TCP: UDP is blocked");

/// What to do when a step towards a peer fails.
pub(crate) fn remedy(step: &str) -> Words {
    match step {
        "member" => w("ask your governance body whether the annex lists it, and is adopted here"),
        "dns" => w("check DNS, and the endpoint in the annex"),
        "udp" => w("let UDP through to and from that address; ask the peer whether its node runs"),
        "tcp" => w("let UDP, or at least TCP, through to and from that address; ask the peer whether its node runs"),
        "tls" => w("the peer may not accept this node: compare certificates, clocks and charters"),
        "certificate" => w("the peer has to renew or mend its certificate"),
        "ready" => w("ask the peer to look at 'puente node status'"),
        "charter" => w("both need the same newest charter"),
        "catalogue" => w("both need the catalogue that the charter names"),
        _ => w("run 'puente policy check' and mend the rules"),
    }
}

pub(super) fn list(context: &Context) -> Result<Report, Failure> {
    let bearings = Bearings::load(&context.dir)?;
    let status = match client::connect(context)? {
        Some(mut node) => match client::call(&mut node, Command::Status, None)? {
            Answer::Status { status } => Some(status),
            _ => return Err(client::unexpected()),
        },
        None => None,
    };
    let mut rows = Vec::new();
    for member in bearings.charter.members() {
        let (uri, shown) = (member.uri.as_str(), shown(&member.uri, status.as_ref()));
        let own = member.uri == bearings.config.node;
        let state = match (own, member.suspended, &status) {
            (true, ..) => OWN.get(context.lang).to_owned(),
            (_, true, _) => SUSPENDED.get(context.lang).to_owned(),
            (.., None) => NOT_RUNNING.get(context.lang).to_owned(),
            _ => connection(&shown, context.lang),
        };
        rows.push((uri.to_owned(), format!("{state}; {}", member.endpoints.join(", "))));
    }
    let members = members(&bearings, status.as_ref());
    Ok(Report::new(json!({"running": status.is_some(), "peers": members}), table(&rows)))
}

/// What a status says of a peer; null if nothing.
fn shown(peer: &NodeUri, status: Option<&Value>) -> Value {
    let peers = status.and_then(|status| status["peers"].as_array());
    peers.and_then(|peers| peers.iter().find(|one| one["peer"] == peer.as_str())).cloned().unwrap_or(Value::Null)
}

/// The members of the charter, for programs; with their connections where there is a status.
pub(crate) fn members(bearings: &Bearings, status: Option<&Value>) -> Vec<Value> {
    let one = |member: &puente_charter::Member| {
        let (uri, shown) = (member.uri.as_str(), shown(&member.uri, status));
        json!({
            "peer": uri,
            "own": member.uri == bearings.config.node,
            "name_en": member.name_en,
            "name_es": member.name_es,
            "roles": member.roles,
            "endpoints": member.endpoints,
            "suspended": member.suspended,
            "connections": shown["connections"],
            "over": shown["over"],
            "rtt_millis": shown["rtt_millis"],
            "unreachable": shown["unreachable"],
        })
    };
    bearings.charter.members().iter().map(one).collect()
}

fn connection(peer: &Value, lang: Lang) -> String {
    let connected = if peer["over"] == "tcp" { OVER_TCP } else { CONNECTED };
    match (peer["connections"].as_u64(), peer["rtt_millis"].as_f64(), peer["unreachable"].as_str()) {
        (Some(1..), Some(rtt), _) => format!("{}, {rtt:.1} ms", connected.get(lang)),
        (Some(1..), None, _) => connected.get(lang).to_owned(),
        (_, _, Some(class)) => format!("{}: {class}", UNREACHABLE.get(lang)),
        _ => NOT_CONNECTED.get(lang).to_owned(),
    }
}

/// Tries peers from a socket of their own, one after the other.
pub(crate) fn probe_all(context: &Context, bearings: &Bearings, peers: &[NodeUri]) -> Result<Vec<Probed>, Failure> {
    let keys = KeyRoom::open(context.vault.clone(), &bearings.config.keys).map_err(key_failure)?;
    let own = &bearings.config.node;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unavailable("system", error.to_string()))?;
    let mut out = Vec::new();
    for peer in peers {
        let identity = keys.identity(&context.dir, own).map_err(key_failure)?;
        let probed = runtime.block_on(probe(own, &bearings.charter, identity, peer));
        out.push(probed.map_err(|error| Failure::unavailable("network", error.to_string()))?);
    }
    Ok(out)
}

/// Why a private key cannot be used, and what to do.
pub(super) fn key_failure(error: RoomError) -> Failure {
    match error {
        RoomError::Token(error) => Failure::unavailable("token", error.to_string()).hint(error.mend()),
        RoomError::Pin(error) => Failure::usage("token", error.to_string()),
        RoomError::Identity(error) => Failure::usage("certificate", error.to_string()),
        RoomError::Log(error) => Failure::usage("log-key", error.to_string()),
        RoomError::File { path, error } => Failure::file(std::path::Path::new(&path), &error),
    }
}

pub(super) fn test(context: &Context, peer: &NodeUri) -> Result<Report, Failure> {
    let bearings = Bearings::load(&context.dir)?;
    let probed = probe_all(context, &bearings, std::slice::from_ref(peer))?;
    let Some(probed) = probed.first() else { return Err(client::unexpected()) };
    let (mut rows, mut steps) = (Vec::new(), Vec::new());
    let mut row = |name: &str, millis: f64, found: &Result<String, (&'static str, String)>| {
        let (ok, code, words) = match found {
            Ok(words) => (true, "ok", words),
            Err((code, words)) => (false, *code, words),
        };
        rows.push((name.to_owned(), format!("{millis:.1} ms  {code}  {}", say(context.lang, words))));
        let fix = (!ok).then(|| remedy(name).get(context.lang));
        steps.push(json!({"step": name, "ok": ok, "code": code, "millis": millis, "found": words, "fix": fix}));
    };
    for step in &probed.steps {
        row(step.name, step.took.as_secs_f64() * 1e3, &step.found);
    }
    let mut well = probed.is_well();
    if well {
        let began = std::time::Instant::now();
        let policies = bearings.policies(&context.dir);
        let found = match &policies {
            Ok(policies) => Ok(format!("{} rules", policies.rules().count())),
            Err(error) => Err((error.code(), error.to_string())),
        };
        well = found.is_ok();
        row("policy", began.elapsed().as_secs_f64() * 1e3, &found);
    }
    let skew = probed.ready.as_ref().map(|ready| ready.skew_millis);
    let over = probed.ready.as_ref().map(|_| if probed.over_tcp() { "tcp" } else { "udp" });
    let value = json!({"peer": peer.as_str(), "well": well, "over": over, "clock_skew_millis": skew, "steps": steps});
    let report = Report::new(value, table(&rows));
    if well {
        let note = if probed.over_tcp() { WELL_OVER_TCP } else { WELL };
        return Ok(report.note(note.get(context.lang)));
    }
    let fix = steps.last().and_then(|step| step["fix"].as_str()).unwrap_or_default().to_owned();
    Ok(report.exit(Exit::Unreachable).hint(fix))
}
