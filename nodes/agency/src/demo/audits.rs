//! Auditors: a fresh process for each verdict, which gets copies, charter, pin and its own key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::cast::AUDITORS;
use super::stage::Stage;
use super::text_of;
use super::words::Text;
use crate::cli::{AUDIT_FILES, Failure};

/// What one audit said.
#[derive(Debug, Clone)]
pub(super) struct Audit {
    /// `sound`, `unsound` or `could-not-tell`.
    pub(super) verdict: String,
    /// The exit code that belongs to it.
    pub(super) code: i32,
    /// Everything that was found.
    pub(super) findings: Vec<Value>,
}

impl Audit {
    /// Sound, and nothing to remark.
    pub(super) fn clean(&self) -> bool {
        self.verdict == "sound" && self.code == 0 && self.findings.is_empty()
    }

    /// The findings that convict somebody: class and whom.
    pub(super) fn faults(&self) -> Vec<(&str, &str)> {
        let unsound = self.findings.iter().filter(|f| text_of(f, &["severity"]) == "unsound");
        unsound.map(|f| (text_of(f, &["class"]), text_of(f, &["attributed_to"]))).collect()
    }

    /// The findings in a line, for messages.
    pub(super) fn words(&self) -> String {
        let found: Vec<String> = self
            .findings
            .iter()
            .take(4)
            .map(|f| format!("[{}] {} ({})", text_of(f, &["class"]), text_of(f, &["en"]), text_of(f, &["detail"])))
            .collect();
        format!("{} {}", self.verdict, found.join("; "))
    }
}

impl Stage {
    /// Runs `puente-audit` in a fresh process: the program beside this one if it was built, else this one as it.
    fn auditor(&self, args: &[&str]) -> Result<(i32, Value), Failure> {
        let beside = self.program.path().with_file_name("puente-audit");
        let mut command = if beside.is_file() {
            Command::new(beside)
        } else {
            let mut command = Command::new(self.program.path());
            command.arg(AUDIT_FILES);
            command
        };
        // Nothing of this process's surroundings but what the arguments name.
        command.args(args).arg("--json").env_clear().current_dir(&self.root).stdin(Stdio::null());
        let failed = |what: String| Failure::unavailable("demo", format!("the auditor's process {what}"));
        let output = command.output().map_err(|e| failed(format!("could not be started: {e}")))?;
        let code = output.status.code().unwrap_or(-1);
        let value = serde_json::from_slice(&output.stdout).map_err(|_| {
            let words: String = String::from_utf8_lossy(&output.stderr).chars().take(2_000).collect();
            failed(format!("printed no JSON (exit code {code}): {}", words.trim()))
        })?;
        Ok((code, value))
    }

    /// Makes an auditor's folder from the charter alone.
    pub(super) fn auditor_init(&self, state: &str) -> Result<(), Failure> {
        let charter = self.at("charter");
        let (code, value) = self.auditor(&["init", "--state", state, "--charter", &charter, "--pin", &self.pin])?;
        if code == 0 {
            Ok(())
        } else {
            Err(Failure::unavailable("demo", format!("the auditor refuses the charter: {value}")))
        }
    }

    /// One audit of these folders by this auditor, with what it remembers in `state`.
    pub(super) fn audit(&self, command: &str, auditor: &str, state: &str, dirs: &[String]) -> Result<Audit, Failure> {
        let key = self.at(&format!("auditors/{auditor}/seal.key"));
        let mut args = vec![command, "--state", state, "--key", &key];
        args.extend(dirs.iter().map(String::as_str));
        let (code, value) = self.auditor(&args)?;
        let findings = value.get("findings").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(Audit { verdict: text_of(&value, &["verdict"]).to_owned(), code, findings })
    }

    /// Both nations' auditors verify each log and reconcile all of them.
    pub(super) fn audits(&mut self) -> Result<Value, Failure> {
        self.teller.act(Text::ActAudit);
        self.teller.say(Text::AuditStory, &[]);
        let mut out = Vec::new();
        for (name, nation) in AUDITORS {
            self.teller.doing(Text::DoingAudit, &[name]);
            let state = self.at(&format!("auditors/{name}/state"));
            self.auditor_init(&state)?;
            let dirs: Vec<String> = self.cast.agencies.iter().map(|a| self.copy_dir(nation, a)).collect();
            let mut clean = true;
            let mut why = String::new();
            for dir in &dirs {
                let verified = self.audit("verify", name, &state, std::slice::from_ref(dir))?;
                clean &= verified.clean();
                if !verified.clean() {
                    why = verified.words();
                }
            }
            let reconciled = self.audit("reconcile", name, &state, &dirs)?;
            if !reconciled.clean() {
                why = reconciled.words();
            }
            let findings = reconciled.findings.len().to_string();
            let ledgers =
                dirs.iter().map(|dir| super::copies::ledgers_below(dir.as_ref())).collect::<Result<Vec<_>, _>>()?;
            let ledgers: BTreeSet<PathBuf> = ledgers.into_iter().flatten().collect();
            let (logs, ledgers) = (dirs.len().to_string(), ledgers.len().to_string());
            let words = [*name, &reconciled.verdict, &logs, &ledgers, &findings];
            self.teller.expect(clean && reconciled.clean(), Text::AuditSound, &words, &why);
            out.push(json!({
                "auditor": name, "nation": nation, "verdict": reconciled.verdict, "findings": reconciled.findings,
            }));
        }
        Ok(Value::Array(out))
    }

    /// Audits tampered copies in a fresh process with a fresh auditor's folder.
    pub(super) fn audit_afresh(&self, auditor: &str, state: &Path, dirs: &[String]) -> Result<Audit, Failure> {
        let state = state.display().to_string();
        self.auditor_init(&state)?;
        self.audit("reconcile", auditor, &state, dirs)
    }
}
