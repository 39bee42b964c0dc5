//! `puente node formats`: whether this program can open what lies in the node's folder, before it is let at it.

use puente_exchange::MINOR;
use puente_words::say;
use serde_json::json;

use super::output::{Exit, Failure, Report, table};
use super::{Context, load_failure};
use crate::config::NodeConfig;
use crate::disk::{Format, Found, formats};
use crate::records::{POSTGRES_VERSION, tables_version};

/// The version of the protocol, and of the entries in the log.
const PROTOCOL: u32 = 1;

pub(super) fn run(context: &Context) -> Result<Report, Failure> {
    let config = NodeConfig::load(&context.dir).map_err(|error| load_failure(error.into()))?;
    let dir = &context.dir;
    let records = config.records.is_default().then(|| dir.records());
    let (training, imports) = (dir.training(), [dir.imports(), dir.training().imports()]);
    let mut found = formats(&dir.journal(), &dir.evidence(), records.as_deref(), &training.records(), &imports)
        .map_err(|error| Failure::file(dir.path(), &error))?;
    found.extend(tables(context, &config));
    let opens = found.iter().all(|found| matches!(found.format, Format::Read(_) | Format::Absent));
    let (mut rows, mut files) = (Vec::new(), Vec::new());
    for found in &found {
        let (code, version, why) = match &found.format {
            Format::Read(version) => ("read", Some(*version), ""),
            Format::Other(version) => ("other-version", Some(*version), ""),
            Format::Absent => ("absent", None, ""),
            Format::Foreign => ("foreign", None, ""),
            Format::Unreachable(why) => ("unreachable", None, why.as_str()),
        };
        let path = found.path.strip_prefix(dir.path()).unwrap_or(&found.path).display().to_string();
        // One line for all that is well.
        if code != "read" || !rows.iter().any(|(what, _): &(String, String)| what == found.what) {
            let stands = version.map_or_else(|| code.to_owned(), |version| format!("{code} {version}"));
            let english = format!("{stands}, reads {}  {path}", found.reads);
            let mut shown = say(context.lang, &english).into_owned();
            if !why.is_empty() {
                shown.push_str(&format!("  {}", say(context.lang, why)));
            }
            rows.push((found.what.to_owned(), shown));
        }
        let file = json!({
            "what": found.what, "file": path, "format": code, "version": version, "reads": found.reads, "why": why,
        });
        files.push(file);
    }
    rows.push(("protocol".to_owned(), format!("{PROTOCOL}.{MINOR}")));
    let value = json!({
        "opens": opens,
        "program": env!("CARGO_PKG_VERSION"),
        "protocol": {"version": PROTOCOL, "minor": MINOR},
        "files": files,
    });
    let report = Report::new(value, table(&rows));
    let unreachable = found.iter().any(|found| matches!(found.format, Format::Unreachable(_)));
    let other = found.iter().any(|found| matches!(found.format, Format::Other(_) | Format::Foreign));
    Ok(match opens {
        false if unreachable && !other => {
            report.exit(Exit::Unreachable).hint("start the database, then look again; nothing was changed")
        }
        true => report.note("this program opens this node's data"),
        false => report
            .exit(Exit::Findings)
            .hint("run the program that wrote it; nothing was changed. A newer program says here whether it reads it"),
    })
}

/// The node's own tables in PostgreSQL, if the records are there. An agency's own tables have no format of this
/// program's: 'puente records check' looks at them.
fn tables(context: &Context, config: &NodeConfig) -> Option<Found> {
    let format = match tables_version(&context.dir, &config.records) {
        Ok(None) => return None,
        Ok(Some(None)) => Format::Absent,
        Ok(Some(Some(POSTGRES_VERSION))) => Format::Read(POSTGRES_VERSION),
        Ok(Some(Some(version))) => Format::Other(version),
        Err(error) => Format::Unreachable(error.to_string()),
    };
    let path = format!("schema {}", config.records.schema).into();
    Some(Found { what: "records", path, format, reads: POSTGRES_VERSION })
}
