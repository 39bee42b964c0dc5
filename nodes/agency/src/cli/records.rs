//! `puente records`: the record store, looked at before anybody depends on it.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Subcommand;
use puente_model::Millis;
use puente_words::{Lang, say, text};
use serde_json::{Value, json};

use super::heartbeat::Heartbeat;
use super::output::{Exit, Failure, Report, table};
use super::{Context, client, load_failure};
use crate::config::NodeConfig;
use crate::control_api::{Answer, Command};
use crate::load;
use crate::records::{self, Finding, RecordStore, RecordsError, Severity};
use crate::retention::{Last, Retention, RetentionError};

/// `puente records`.
#[derive(Debug, Subcommand)]
pub enum RecordsCommand {
    /// Check that the record store can be used: its mapping against the tables, rights, indexes.
    Check,
    /// Records that have been kept as long as they may be: how many there are. A running node erases them every day.
    Retention {
        /// Have the running node erase them now.
        #[arg(long)]
        erase: bool,
    },
}

pub(super) fn run(context: &Context, command: &RecordsCommand) -> Result<Report, Failure> {
    match command {
        RecordsCommand::Check => check(context),
        RecordsCommand::Retention { erase } => retention(context, *erase),
    }
}

/// Erasing and looking may take as long as reading the whole store takes.
const PATIENCE: Duration = Duration::from_secs(3_600);

fn retention(context: &Context, erase: bool) -> Result<Report, Failure> {
    let lang = context.lang;
    let config = NodeConfig::load(&context.dir).map_err(|error| load_failure(error.into()))?;
    let mapped = config.records.mapping.is_some();
    let what = if erase { "records that are due are erased" } else { "records that are due are looked for" };
    let beat = Heartbeat::of(context, what, "retention");
    let counts: BTreeMap<String, u64> = if erase {
        let mut node = client::running(context)?;
        let Answer::Retained { erased } = client::call(&mut node, Command::Retain, Some(PATIENCE))? else {
            return Err(client::unexpected());
        };
        erased
    } else {
        let extra = config.catalogue_extra.as_ref().map(|folder| context.dir.path().join(folder));
        let catalogue = load::catalogue(extra.as_deref()).map_err(load_failure)?;
        let job = Retention { dir: &context.dir, settings: &config.records, catalogue: &catalogue };
        let failed = |error: RetentionError| Failure::unavailable("retention", error.to_string()).hint(error.mend());
        let mut due = job.due(context.now).map_err(failed)?;
        due.extend(job.training_due(&config.training, context.now).map_err(failed)?);
        due
    };
    drop(beat);
    let last = Last::read(&context.dir);
    let mut rows: Vec<(String, String)> =
        counts.iter().map(|(record_type, count)| (record_type.clone(), count.to_string())).collect();
    if last.at > 0 {
        rows.push((text(lang, "last erased").to_owned(), context.clocks().instant(Millis(last.at))));
    }
    let value = json!({
        "mapped": mapped, "erase": erase, "records": counts,
        "last": (last.at > 0).then(|| Millis(last.at).to_string()), "erased_in_all": last.erased,
    });
    let report = Report::new(value, table(&rows));
    let report = match mapped {
        true => report.note("the records are the agency's own tables, read in place: this program never erases there"),
        false => report,
    };
    Ok(match erase {
        true => report.note("erased; the log says how many, and nothing of what they were"),
        false => report.note("nothing was changed: this many have been kept as long as they may be"),
    })
}

fn unusable(error: &RecordsError) -> Failure {
    Failure::unavailable("records", error.to_string()).hint(error.mend())
}

fn check(context: &Context) -> Result<Report, Failure> {
    let config = NodeConfig::load(&context.dir).map_err(|error| load_failure(error.into()))?;
    let kind = config.records.store.kind();
    if config.records.mapping.is_none() {
        let mut store = RecordStore::open_with(&context.dir, &config.records).map_err(|error| unusable(&error))?;
        let counts = store.counts().map_err(|error| unusable(&error))?;
        let value = json!({
            "ok": true,
            "store": kind,
            "mapped": false,
            "records": counts.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "findings": [],
        });
        let english = format!("{kind}: the store can be used");
        let mut text = format!("{}\n", say(context.lang, &english));
        for (record_type, count) in counts {
            text.push_str(&format!("  {count}  {record_type}\n"));
        }
        return Ok(Report::new(value, text));
    }
    let extra = config.catalogue_extra.as_ref().map(|folder| context.dir.path().join(folder));
    let catalogue = load::catalogue(extra.as_deref()).map_err(load_failure)?;
    let findings =
        records::check_mapping(&context.dir, &config.records, &catalogue).map_err(|error| unusable(&error))?;
    Ok(mapped(kind, &findings, context.lang))
}

fn mapped(kind: &str, findings: &[Finding], lang: Lang) -> Report {
    let ok = findings.iter().all(|finding| finding.severity < Severity::Error);
    let shown: Vec<Value> = findings
        .iter()
        .map(|f| {
            let severity = if f.severity == Severity::Error { "error" } else { "warning" };
            json!({"severity": severity, "code": f.code, "at": f.at, "message": f.message, "mend": f.mend})
        })
        .collect();
    let mut text = String::new();
    for Finding { at, message, mend, .. } in findings {
        text.push_str(&format!("{at}: {}; {}\n", say(lang, message), say(lang, mend)));
    }
    let english = match ok {
        true => format!("{kind}: the mapping fits the tables"),
        false => format!("{kind}: the mapping does not fit the tables; a node does not start on it"),
    };
    text.push_str(&format!("{}\n", say(lang, &english)));
    let report = Report::new(json!({"ok": ok, "store": kind, "mapped": true, "findings": shown}), text);
    if ok { report } else { report.exit(Exit::Findings) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_says_what_a_node_would_stumble_over() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().to_str().unwrap();
        let config = |records: &str| {
            let text = format!("node = \"puente://mx/fge-bc/n1\"\nlisten = \"127.0.0.1:7400\"\n{records}");
            std::fs::write(temp.path().join("node.toml"), text).unwrap();
        };
        let check = || super::super::run(["puente", "--dir", dir, "records", "check"]);
        config("");
        let report = check().unwrap();
        assert_eq!((report.exit, report.json["store"].as_str()), (Exit::Ok, Some("sqlite")));

        config("[records]\nstore = \"sqlite:agency.db\"\nmapping = \"mapping.toml\"\n");
        assert!(check().unwrap_err().message.contains("mapping.toml"));
        let sample = include_str!("../../samples/mapping.toml").replace("schema = \"padron\"\n", "");
        std::fs::write(temp.path().join("mapping.toml"), sample).unwrap();
        assert!(check().unwrap_err().message.contains("agency.db"));
        let database = rusqlite::Connection::open(temp.path().join("agency.db")).unwrap();
        database
            .execute_batch("CREATE TABLE robados (folio, num_serie, placas, entidad, modelo, fecha_robo, estatus)")
            .unwrap();
        let report = check().unwrap();
        assert_eq!(report.exit, Exit::Findings);
        assert!(report.text.contains("mapping.toml:18: there is no column 'marca'"), "{}", report.text);
        assert_eq!(report.json["findings"][0]["severity"], "error");
        database.execute_batch("ALTER TABLE robados ADD COLUMN marca").unwrap();
        let report = check().unwrap();
        assert_eq!(report.exit, Exit::Findings, "SQLite has no translate(): {}", report.text);
        let sample = std::fs::read_to_string(temp.path().join("mapping.toml")).unwrap();
        let sample = sample.replace("translate(placas, 'OQIBSZ', '001852')", "replace(placas, 'O', '0')");
        std::fs::write(temp.path().join("mapping.toml"), sample).unwrap();
        let report = check().unwrap();
        assert_eq!((report.exit, report.json["ok"].as_bool()), (Exit::Ok, Some(true)), "{}", report.text);
        assert!(report.text.contains("no index serves 'vehicle.vin'"), "{}", report.text);
    }
}
