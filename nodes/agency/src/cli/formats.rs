//! `puente node formats`: whether this program can open what lies in the node's folder, before it is let at it.

use puente_exchange::MINOR;
use serde_json::json;

use super::output::{Exit, Failure, Report, table};
use super::{Context, load_failure};
use crate::config::NodeConfig;
use crate::disk::{Format, formats};

/// The version of the protocol, and of the entries in the log.
const PROTOCOL: u32 = 1;

pub(super) fn run(context: &Context) -> Result<Report, Failure> {
    let config = NodeConfig::load(&context.dir).map_err(|error| load_failure(error.into()))?;
    let dir = &context.dir;
    let records = config.records.is_default().then(|| dir.records());
    let found = formats(&dir.journal(), &dir.evidence(), records.as_deref())
        .map_err(|error| Failure::file(dir.path(), &error))?;
    let opens = found.iter().all(|found| matches!(found.format, Format::Read(_) | Format::Absent));
    let (mut rows, mut files) = (Vec::new(), Vec::new());
    for found in &found {
        let (code, version) = match found.format {
            Format::Read(version) => ("read", Some(version)),
            Format::Other(version) => ("other-version", Some(version)),
            Format::Absent => ("absent", None),
            Format::Foreign => ("foreign", None),
        };
        let path = found.path.strip_prefix(dir.path()).unwrap_or(&found.path).display().to_string();
        // One line for all that is well.
        if code != "read" || !rows.iter().any(|(what, _): &(String, String)| what == found.what) {
            let version = version.map(|version| format!(" {version}")).unwrap_or_default();
            rows.push((found.what.to_owned(), format!("{code}{version}, reads {}  {path}", found.reads)));
        }
        let file = json!({"what": found.what, "file": path, "format": code, "version": version, "reads": found.reads});
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
    Ok(match opens {
        true => report.note("this program opens this node's data"),
        false => report
            .exit(Exit::Findings)
            .hint("run the program that wrote it; nothing was changed. A newer program says here whether it reads it"),
    })
}
