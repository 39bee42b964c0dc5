use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use puente_charter::{
    AnnexPart, Charter, CharterError, CharterStatus, CommonPart, GovernanceKey, Offer, Part, PartSignature,
    parse_signatures, sign,
};
use puente_model::{Digest, Jurisdiction, NodeUri};
use puente_words::{Clocks, capital_zone, say, texts};
use serde_json::{Value, json};
use toml::value::{Table, Value as Toml};

use super::args::CharterCommand;
use super::output::{Exit, Failure, Report, table};
use super::{Context, client, keys};
use crate::control_api::{Answer, Command};
use crate::{ca, files, load, parts};

pub(super) fn run(context: &Context, command: CharterCommand) -> Result<Report, Failure> {
    match command {
        CharterCommand::Keygen { name, kind, out } => keys::generate(context, &name, kind, &out),
        CharterCommand::Propose(args) => super::propose::run(context, &args),
        CharterCommand::Adopt { folder } => adopt(context, &folder),
        CharterCommand::Create { description, out, catalogue_extra } => {
            create(&description, &out, catalogue_extra.as_deref())
        }
        CharterCommand::Leave(args) => super::leave::run(context, args),
        CharterCommand::Sign { file, key, name, before } => sign_part(&file, &key, name.as_deref(), before.as_deref()),
        CharterCommand::Verify { folder, pin } => {
            let charter = open(&folder, pin)?;
            Ok(report(context, &charter, false).note("every part, signature and version holds"))
        }
        CharterCommand::Show { folder, pin } => Ok(report(context, &open(&folder, pin)?, true)),
    }
}

impl From<load::LoadError> for Failure {
    fn from(error: load::LoadError) -> Self {
        let hint = error.mend();
        match &error {
            load::LoadError::File { path, error } => Self::file(path, error),
            load::LoadError::Charter(_) | load::LoadError::OtherCatalogue { .. } => {
                Self::findings(error.code(), error.to_string()).hint(hint)
            }
            _ => Self::usage(error.code(), error.to_string()).hint(hint),
        }
    }
}

fn open(folder: &Path, pin: Option<Digest>) -> Result<Charter, Failure> {
    let pin = match pin {
        Some(pin) => pin,
        None => load::charter_pin(&folder.join("pin"))
            .map_err(|error| Failure::from(error).hint("give the hash with --pin"))?,
    };
    Ok(load::charter(folder, pin)?)
}

fn bad(file: &Path, message: impl std::fmt::Display, hint: &str) -> Failure {
    Failure::usage("description", format!("{}: {message}", file.display())).hint(hint)
}

fn read_text(path: &Path) -> Result<String, Failure> {
    files::read_text(path).map_err(|error| Failure::file(path, &error))
}

pub(super) fn read_part(path: &Path) -> Result<Part, Failure> {
    let text = read_text(path)?;
    Part::from_toml(&path.display().to_string(), &text)
        .map_err(|error| Failure::usage("part", error.to_string()).hint("correct the part, then try again"))
}

pub(super) fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    files::create(path, text.as_bytes(), false).map_err(|error| Failure::file(path, &error))
}

/// Common part 1 and every annex 1 from one description.
fn create(description: &Path, out: &Path, catalogue_extra: Option<&Path>) -> Result<Report, Failure> {
    let text = read_text(description)?;
    let mut common: Table = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
        bad(description, format!("line {line}: {}", error.message()), "correct the TOML")
    })?;
    let federation = common.get("federation").and_then(Toml::as_str).unwrap_or_default().to_owned();
    common.entry("number").or_insert(Toml::Integer(1));
    if !common.contains_key("catalogue") {
        let digest = load::catalogue(catalogue_extra)?.digest();
        common.insert("catalogue".to_owned(), Toml::String(digest.to_string()));
    }
    let mut members = members_by_nation(description, common.remove("member"))?;
    let nations = match common.get_mut("jurisdiction") {
        Some(Toml::Array(nations)) if !nations.is_empty() => nations,
        _ => return Err(bad(description, "no [[jurisdiction]]", "samples/federation.toml shows a whole description")),
    };
    let base = description.parent().unwrap_or(Path::new("."));
    let mut parts: Vec<(PathBuf, String, Digest)> = Vec::new();
    for nation in nations.iter_mut() {
        let Toml::Table(nation) = nation else {
            return Err(bad(description, "'jurisdiction' is a list of tables", "write [[jurisdiction]]"));
        };
        embed_roots(nation, base)?;
        let code: Jurisdiction = match nation.get("code").and_then(Toml::as_str).map(str::parse) {
            Some(Ok(code)) => code,
            Some(Err(error)) => return Err(bad(description, error, "write code = \"mx\"")),
            None => return Err(bad(description, "a [[jurisdiction]] has no code", "write code = \"mx\"")),
        };
        let mut annex = Table::new();
        annex.insert("federation".to_owned(), Toml::String(federation.clone()));
        annex.insert("jurisdiction".to_owned(), Toml::String(code.to_string()));
        annex.insert("number".to_owned(), Toml::Integer(1));
        annex.insert("common".to_owned(), Toml::Integer(1));
        annex.insert("member".to_owned(), Toml::Array(members.remove(&code).unwrap_or_default()));
        let annex = match checked(description, &format!("annex of {code}"), annex)? {
            Part::Annex(annex) => annex,
            Part::Common(_) => return Err(bad(description, "the annex is no annex", "see samples/federation.toml")),
        };
        let pin = Table::from_iter([
            ("number".to_owned(), Toml::Integer(1)),
            ("hash".to_owned(), Toml::String(annex.hash().to_string())),
        ]);
        nation.insert("annex".to_owned(), Toml::Table(pin));
        parts.push((out.join(format!("annex-{code}-1.toml")), text_of(&annex_text(&annex)?), annex.hash()));
    }
    if let Some(code) = members.keys().next() {
        return Err(bad(description, format!("a member belongs to {code}, which has no [[jurisdiction]]"), "add it"));
    }
    let common = match checked(description, "common part", common)? {
        Part::Common(common) => common,
        Part::Annex(_) => return Err(bad(description, "the common part is an annex", "see samples/federation.toml")),
    };
    let pin = common.hash();
    parts.insert(0, (out.join("common-1.toml"), text_of(&common_text(&common)?), pin));
    files::make_dir(out).map_err(|error| Failure::file(out, &error))?;
    for (path, text, _) in &parts {
        write_new(path, text)?;
    }
    let pin_file = out.join("pin");
    write_new(&pin_file, &format!("{pin}\n"))?;
    let list: Vec<Value> = parts
        .iter()
        .map(|(path, _, hash)| json!({"file": path.display().to_string(), "hash": hash.to_string()}))
        .collect();
    let text: String = parts.iter().map(|(path, _, hash)| format!("{hash}  {}\n", path.display())).collect();
    Ok(Report::new(json!({"pin": pin.to_string(), "parts": list}), text)
        .note(format!("the pin of this federation is {pin}"))
        .hint("read the parts, then let every nation sign them: puente charter sign FILE --key KEY"))
}

/// Members stand together in a description; each goes to the annex of its own nation.
fn members_by_nation(file: &Path, members: Option<Toml>) -> Result<BTreeMap<Jurisdiction, Vec<Toml>>, Failure> {
    let mut out: BTreeMap<Jurisdiction, Vec<Toml>> = BTreeMap::new();
    let members = match members {
        None => return Ok(out),
        Some(Toml::Array(members)) => members,
        Some(_) => return Err(bad(file, "'member' is a list of tables", "write [[member]]")),
    };
    for member in members {
        let uri = member.get("uri").and_then(Toml::as_str).unwrap_or_default();
        let uri: NodeUri = uri.parse().map_err(|e| bad(file, e, "'puente node init' prints the member to paste"))?;
        out.entry(uri.jurisdiction()).or_default().push(member);
    }
    Ok(out)
}

/// Replaces `ca_root_files` (paths) with `ca_roots` (DER in Base64).
fn embed_roots(nation: &mut Table, base: &Path) -> Result<(), Failure> {
    let Some(paths) = nation.remove("ca_root_files") else { return Ok(()) };
    let mut roots = match nation.remove("ca_roots") {
        Some(Toml::Array(roots)) => roots,
        _ => Vec::new(),
    };
    for path in paths.as_array().map(Vec::as_slice).unwrap_or_default() {
        let path = base.join(path.as_str().unwrap_or_default());
        let shown = ca::show(&path)?;
        if !shown.authority {
            return Err(Failure::usage("not-a-root", format!("{} is not a root's certificate", path.display()))
                .hint("name the authority's root.cert.pem"));
        }
        roots.push(Toml::String(STANDARD.encode(&shown.der)));
    }
    nation.insert("ca_roots".to_owned(), Toml::Array(roots));
    Ok(())
}

fn checked(description: &Path, what: &str, part: Table) -> Result<Part, Failure> {
    let text = toml::to_string(&part).map_err(|error| bad(description, error, "correct the description"))?;
    Part::from_toml(what, &text).map_err(|error| {
        // Lines of the text made here would mislead.
        let mut message = error.to_string();
        if let puente_charter::CharterError::Toml { part, message: why, .. } = &error {
            message = format!("{part}: {why}");
        }
        bad(description, message, "samples/federation.toml shows a whole description")
    })
}

pub(super) fn common_text(part: &CommonPart) -> Result<String, Failure> {
    part.to_toml().map_err(|error| Failure::usage("part", error.to_string()))
}

pub(super) fn annex_text(part: &AnnexPart) -> Result<String, Failure> {
    part.to_toml().map_err(|error| Failure::usage("part", error.to_string()))
}

pub(super) fn text_of(body: &str) -> String {
    format!("# Made by 'puente charter create'. Layout and comments are free; every value is signed.\n\n{body}")
}

/// The governance keys of the common part that a draft follows: they must authorise what comes.
fn keys_before(draft: &CommonPart, before: Option<&Path>) -> Result<Vec<GovernanceKey>, Failure> {
    let Some(path) = before else { return Ok(Vec::new()) };
    match read_part(path)? {
        Part::Common(part) if draft.previous == Some(part.hash()) => {
            Ok(part.jurisdictions.into_iter().flat_map(|nation| nation.governance_keys).collect())
        }
        _ => Err(Failure::usage("not-before", format!("{} is not the part that this one follows", path.display()))
            .hint("name the common part in force, whose hash the draft gives as 'previous'")),
    }
}

fn sign_part(path: &Path, key_path: &Path, name: Option<&str>, before: Option<&Path>) -> Result<Report, Failure> {
    let part = read_part(path)?;
    let seed = keys::read(key_path)?;
    let key = keys::signing_key(&seed);
    let stem = key_path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.unwrap_or(&stem);
    if let Part::Common(common) = &part {
        let outgoing = keys_before(common, before)?;
        let known = common.jurisdictions.iter().flat_map(|j| &j.governance_keys).chain(&outgoing);
        let mut names: Vec<&str> = known.clone().map(|k| k.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let names = names.join(", ");
        let hint = format!(
            "the part's keys are: {names}; choose one with --name, or name the part in force with --before if the key is replaced"
        );
        let mut named = known.filter(|k| k.name == name).peekable();
        if named.peek().is_none() {
            return Err(Failure::usage("unknown-key", format!("'{name}' is no governance key of this part")).hint(hint));
        }
        if !named.any(|found| &found.key == key.verifying_key().as_bytes()) {
            let message = format!("{} is not the private half of '{name}'", key_path.display());
            return Err(Failure::usage("other-key", message).hint(hint));
        }
    }
    let hash = part.hash();
    let signature = sign(&hash, &key, name);
    // What is written must read back.
    let line = signature.to_string();
    let _: PartSignature = line.parse().map_err(|why| Failure::usage("name", format!("'{name}': {why}")))?;
    let target = PathBuf::from(format!("{}.sig", path.display()));
    let before = match files::read_text(&target) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::file(&target, &error)),
    };
    parse_signatures(&target.display().to_string(), &before).map_err(|error| {
        Failure::usage("signatures", error.to_string()).hint("correct or remove the signature file")
    })?;
    // A line of the same key over an earlier draft gives way.
    let mut text: String =
        before.lines().filter(|l| l.split_ascii_whitespace().next() != Some(name)).map(|l| format!("{l}\n")).collect();
    text.push_str(&line);
    text.push('\n');
    files::replace(&target, text.as_bytes(), false).map_err(|error| Failure::file(&target, &error))?;
    let value = json!({"file": target.display().to_string(), "key": name, "hash": hash.to_string()});
    Ok(Report::new(value, format!("{line}\n")).note(format!(
        "signed {} ({hash}) into {}",
        path.display(),
        target.display()
    )))
}

texts! {
    /// What came of an adoption.
    enum Text {
        InForce: "in force";
        Unchanged: "in force already; nothing changed";
        AtStart: "kept; no node runs here: it is recorded and in force when the node starts";
    }
}

texts! {
    /// Labels of a charter.
    enum Label {
        Federation: "federation";
        Versions: "versions";
        Status: "status";
        Pin: "pin";
        Hash: "hash";
        Members: "members";
        MembersAll: "Members";
        Suspended: "suspended";
        Bases: "Legal bases";
        Until: "until";
        Auditors: "Auditors";
    }
}

/// Adopts the newer parts of a folder, through the running node, or for its next start.
fn adopt(context: &Context, folder: &Path) -> Result<Report, Failure> {
    if let Some(mut node) = client::connect(context)? {
        let from = folder.canonicalize().map_err(|error| Failure::file(folder, &error))?;
        return match client::call(&mut node, Command::Adopt { from }, None)? {
            Answer::Adopted { vector, changed } => {
                let words = if changed { Text::InForce } else { Text::Unchanged }.get(context.lang);
                let value = json!({"vector": vector, "changed": changed, "in_force": true});
                Ok(Report::new(value, format!("{vector}  {words}\n")))
            }
            Answer::NotAdopted { code, message, hint } => {
                Err(Failure::findings("not-adopted", message).hint(hint).details(json!({"cause": code})))
            }
            Answer::Concluded(concluded) => Err(client::log_closed(&concluded)),
            _ => Err(client::unexpected()),
        };
    }
    let refused = |error: &CharterError| {
        Failure::findings("not-adopted", error.to_string()).hint(error.mend()).details(json!({"cause": error.code()}))
    };
    let bearings = load::Bearings::load(&context.dir)?;
    let offered = load::charter_parts(folder)?;
    let (charter, new) = match bearings.charter.offer(&offered, context.now).map_err(|error| refused(&error))? {
        Offer::Same => (None, Vec::new()),
        Offer::Next(next, new) => (Some(next), new),
    };
    let vector = charter.as_ref().map_or(bearings.charter.vector(), |next| next.vector()).to_string();
    if let Some(next) = &charter {
        if next.catalogue() != bearings.catalogue.digest() {
            let own = bearings.catalogue.digest();
            return Err(refused(&CharterError::OtherCatalogue { charter: next.catalogue(), own }));
        }
        parts::keep(&context.dir.charter(), &new).map_err(|error| Failure::file(&context.dir.charter(), &error))?;
    }
    let words = if charter.is_some() { Text::AtStart } else { Text::Unchanged }.get(context.lang);
    let value = json!({"vector": vector, "changed": charter.is_some(), "in_force": charter.is_none()});
    Ok(Report::new(value, format!("{vector}  {words}\n")))
}

/// Where the charter stands, in words, and how many days are left.
pub(super) fn status(status: CharterStatus) -> (&'static str, Option<u32>, String) {
    let (code, days_left) = match status {
        CharterStatus::NotYet => ("not-yet", None),
        CharterStatus::InForce { days_left, .. } => ("in-force", Some(days_left)),
        CharterStatus::Grace { days_left } => ("grace", Some(days_left)),
        CharterStatus::Expired => ("expired", None),
    };
    let days = days_left.unwrap_or_default();
    let words = match status {
        CharterStatus::NotYet => "not yet in force".to_owned(),
        CharterStatus::InForce { warn: false, .. } => format!("in force, {days} days left"),
        CharterStatus::InForce { warn: true, .. } => format!("in force, only {days} days left: adopt a new one"),
        CharterStatus::Grace { .. } => format!("ended; members exchange for {days} more days of grace"),
        CharterStatus::Expired => "ended, grace included: nothing is exchanged".to_owned(),
    };
    (code, days_left, words)
}

fn report(context: &Context, charter: &Charter, whole: bool) -> Report {
    let (code, days_left, words) = status(charter.status(context.now));
    let common = charter.common();
    let lang = context.lang;
    let rows = [
        (Label::Federation, charter.federation().to_owned()),
        (Label::Versions, charter.vector().to_string()),
        (Label::Status, say(lang, &words).into_owned()),
        (Label::Pin, charter.pin().to_string()),
        (Label::Hash, charter.hash().to_string()),
        (Label::Members, charter.members().len().to_string()),
    ]
    .map(|(label, value)| (label.get(lang).to_owned(), value));
    let mut value = json!({
        "ok": true,
        "federation": charter.federation(),
        "vector": charter.vector().to_string(),
        "status": code,
        "days_left": days_left,
        "pin": charter.pin().to_string(),
        "hash": charter.hash().to_string(),
    });
    let members: Vec<Value> = charter
        .members()
        .iter()
        .map(|m| {
            json!({
                "uri": m.uri.to_string(), "name_en": m.name_en, "name_es": m.name_es, "roles": m.roles,
                "endpoints": m.endpoints, "suspended": m.suspended,
                "logs": m.logs.iter().map(|l| json!({
                    "origin": l.origin.to_string(), "vkey": l.vkey, "closed_at": l.closed_at,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    let bases: Vec<Value> = charter
        .legal_bases()
        .iter()
        .map(|b| {
            json!({
                "id": b.id.to_string(), "title_en": b.title_en, "title_es": b.title_es,
                "purposes": b.purposes.iter().map(|p| p.as_str()).collect::<Vec<_>>(),
                "jurisdictions": b.jurisdictions.iter().map(Jurisdiction::to_string).collect::<Vec<_>>(),
                "expires": b.expires.to_string(),
            })
        })
        .collect();
    let auditors: Vec<Value> = common
        .auditors
        .iter()
        .map(|a| json!({"name": a.name, "jurisdiction": a.jurisdiction.to_string(), "origin": a.origin.to_string()}))
        .collect();
    if let Some(object) = value.as_object_mut() {
        object.insert("members".to_owned(), Value::Array(members));
        object.insert("legal_bases".to_owned(), Value::Array(bases));
        object.insert("auditors".to_owned(), Value::Array(auditors));
    }
    let mut text = table(&rows);
    if whole {
        // A folder of parts need not be a node's.
        let capitals = charter.jurisdictions().filter_map(|nation| capital_zone(nation.as_str()));
        let clocks =
            if context.dir.config().exists() { context.clocks() } else { Clocks::of(capitals, jiff::tz::db()) };
        text.push_str(&format!("\n{}\n", Label::MembersAll.get(lang)));
        for m in charter.members() {
            let suspended = format!(" ({})", Label::Suspended.get(lang));
            let state = if m.suspended { suspended.as_str() } else { "" };
            let label = if lang == puente_catalogue::Lang::Es { &m.name_es } else { &m.name_en };
            let about = format!("{label}{state}; {}; {}", m.roles.join(", "), m.endpoints.join(", "));
            text.push_str(&format!("  {}\n{}", m.uri, indented(&about)));
        }
        text.push_str(&format!("\n{}\n", Label::Bases.get(lang)));
        for b in charter.legal_bases() {
            let title = if lang == puente_catalogue::Lang::Es { &b.title_es } else { &b.title_en };
            let purposes: Vec<&str> = b.purposes.iter().map(|p| p.as_str()).collect();
            let about =
                format!("{title}; {} {}; {}", Label::Until.get(lang), clocks.instant(b.expires), purposes.join(", "));
            text.push_str(&format!("  {}\n{}", b.id, indented(&about)));
        }
        text.push_str(&format!("\n{}\n", Label::Auditors.get(lang)));
        for a in &common.auditors {
            text.push_str(&format!("  {} ({})\n", a.name, a.jurisdiction));
        }
    }
    let exit = if charter.status(context.now).may_exchange() { Exit::Ok } else { Exit::Findings };
    Report::new(value, text).exit(exit)
}

fn indented(text: &str) -> String {
    super::output::wrap(text, 74).iter().map(|line| format!("      {line}\n")).collect()
}
