//! Keys, authorities, charter, nodes, people, records.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use puente_charter::quarter_of;
use puente_model::Millis;
use serde_json::Value;

use super::cast::{AUDITORS, GOVERNANCE_KEYS, Made, NATIONS, THRESHOLD, auditor_origin, description};
use super::process::Starting;
use super::stage::Stage;
use super::text_of;
use super::words::Text;
use crate::cli::{Failure, now};

const DAY: u64 = 86_400_000;

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|a| (*a).to_owned()).collect()
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|e| Failure::file(parent, &e))?;
    }
    std::fs::write(path, text).map_err(|e| Failure::file(path, &e))
}

/// A socket whose port is free over TCP, too.
fn free_socket() -> io::Result<UdpSocket> {
    for _ in 0..32 {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        if TcpListener::bind(socket.local_addr()?).is_ok() {
            return Ok(socket);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// The day of an instant: `2026-12-31`.
pub(super) fn day(at: Millis) -> String {
    at.to_string().get(..10).unwrap_or_default().to_owned()
}

impl Stage {
    /// Keys, authorities, nodes and the signed charter.
    pub(super) fn found(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActFound);
        self.teller.doing(Text::DoingKeys, &[]);
        let mut made = self.keys()?;
        let foreign = self.make_nodes(&mut made)?;
        self.teller.doing(Text::DoingCharter, &[]);
        let signatures = self.charter(&made)?.to_string();
        self.teller.say(Text::Founded, &["frontera", &signatures]);
        let pin = self.pin.clone();
        self.teller.plain(&format!("     {pin}"));
        let verify: Vec<Vec<String>> = self
            .cast
            .agencies
            .iter()
            .map(|a| words(&["charter", "verify", &format!("{}/charter", self.node_dir(a)), "--pin", &pin]))
            .collect();
        let verified = self.program.all(&verify)?;
        let holds = verified.iter().all(|ran| ran.code == 0 && text_of(&ran.value, &["pin"]) == pin);
        self.teller.expect(holds, Text::CharterHolds, &[], "");
        self.teller.expect(foreign, Text::ForeignRoot, &[], "");
        Ok(())
    }

    fn keys(&self) -> Result<Made, Failure> {
        let mut jobs = Vec::new();
        for (code, ..) in NATIONS {
            jobs.push(words(&["ca", "init", "--jurisdiction", code, "--out", &self.at(&format!("ca/{code}"))]));
        }
        let mut keygen = |name: &str, kind: &str, file: String| {
            jobs.push(words(&["charter", "keygen", "--name", name, "--kind", kind, "--out", &file]));
        };
        for (code, ..) in NATIONS {
            for i in 1..=GOVERNANCE_KEYS {
                let name = format!("{code}-gov-{i}");
                keygen(&name, "governance", self.at(&format!("governance/{name}.key")));
            }
        }
        for (name, nation) in AUDITORS {
            keygen(&auditor_origin(name, nation), "log", self.at(&format!("auditors/{name}/log.key")));
            keygen(name, "seal", self.at(&format!("auditors/{name}/seal.key")));
        }
        let values =
            self.program.all(&jobs)?.into_iter().map(super::process::Ran::done).collect::<Result<Vec<_>, _>>()?;
        let public = |name: &str| {
            let found = values.iter().find(|v| text_of(v, &["name"]) == name);
            found.map(|v| text_of(v, &["public"]).to_owned()).unwrap_or_default()
        };
        let mut made = Made::default();
        for (code, ..) in NATIONS {
            for i in 1..=GOVERNANCE_KEYS {
                let name = format!("{code}-gov-{i}");
                let key = public(&name);
                made.governance.push(((*code).to_owned(), name, key));
            }
        }
        let quarter = quarter_of(now()).to_string();
        for (name, nation) in AUDITORS {
            let vkey = public(&auditor_origin(name, nation));
            made.auditors.push(((*name).to_owned(), (*nation).to_owned(), vkey, quarter.clone(), public(name)));
        }
        Ok(made)
    }

    /// Makes the nodes; true if a foreign authority refused to vouch for one.
    fn make_nodes(&mut self, made: &mut Made) -> Result<bool, Failure> {
        // Held until every node has its own: the system gives each port once.
        let mut held = Vec::new();
        let mut jobs = Vec::new();
        for agency in self.cast.agencies {
            let socket = free_socket();
            let address =
                socket.as_ref().map_err(|e| e.to_string()).and_then(|s| s.local_addr().map_err(|e| e.to_string()));
            let address = address.map_err(|e| Failure::unavailable("demo", format!("no free port: {e}")))?.to_string();
            held.push(socket);
            let ca = self.at(&format!("ca/{}", agency.nation()));
            jobs.push(words(&[
                "--dir",
                &self.node_dir(agency),
                "node",
                "init",
                "--uri",
                &agency.uri(),
                "--listen",
                &address,
                "--name-en",
                agency.name_en,
                "--name-es",
                agency.name_es,
                "--role",
                agency.role,
                "--ca",
                &ca,
            ]));
        }
        let ran = self.program.all(&jobs)?;
        for (agency, ran) in self.cast.agencies.iter().zip(ran) {
            let value = ran.done()?;
            self.vkeys.insert(agency.id, text_of(&value, &["vkey"]).to_owned());
            made.witnesses.push(text_of(&value, &["witness"]).to_owned());
            made.members.push(text_of(&value, &["stanza"]).to_owned());
        }
        let spoiled = self.at("nodes/foreign");
        let ca = self.at("ca/mx");
        let refused =
            self.program.run(&["--dir", &spoiled, "node", "init", "--uri", "puente://us/tx-dps/n9", "--ca", &ca])?;
        // What the refused command may have begun is of no use to whoever explores the folder.
        let _ = std::fs::remove_dir_all(&spoiled);
        Ok(refused.code != 0 && text_of(&refused.value, &["error", "code"]) == "other-nation")
    }

    /// Writes, signs and hands out the charter; how many signatures it has.
    fn charter(&mut self, made: &Made) -> Result<usize, Failure> {
        let at = now();
        let from = Millis(at.0.saturating_sub(DAY));
        let text = description(&self.cast, made, &from.to_string(), &at.plus(180 * DAY).to_string());
        let path = self.root.join("federation.toml");
        write(&path, &text)?;
        let folder = self.at("charter");
        let created = self.program.json(&["charter", "create", &path.display().to_string(), "--out", &folder])?;
        self.pin = text_of(&created, &["pin"]).to_owned();
        // One line at a time into each signature file: common part by both nations, each annex by its own.
        let key = |nation: &str, i: usize| self.at(&format!("governance/{nation}-gov-{i}.key"));
        let mut rounds: Vec<Vec<Vec<String>>> = Vec::new();
        let mut common = Vec::new();
        for (nation, ..) in NATIONS {
            for i in 1..=THRESHOLD {
                common.push(words(&["charter", "sign", &format!("{folder}/common-1.toml"), "--key", &key(nation, i)]));
            }
        }
        for (round, sign) in common.into_iter().enumerate() {
            let mut jobs = vec![sign];
            if round < THRESHOLD {
                for (nation, ..) in NATIONS {
                    let annex = format!("{folder}/annex-{nation}-1.toml");
                    // Another pair of keys than the common part's: any two of three will do.
                    jobs.push(words(&["charter", "sign", &annex, "--key", &key(nation, round + 2)]));
                }
            }
            rounds.push(jobs);
        }
        let mut signatures = 0;
        for jobs in rounds {
            signatures += jobs.len();
            for ran in self.program.all(&jobs)? {
                ran.done()?;
            }
        }
        for agency in self.cast.agencies {
            super::copies::copy_folder(folder.as_ref(), format!("{}/charter", self.node_dir(agency)).as_ref())?;
        }
        Ok(signatures)
    }

    /// People, running nodes, invented records, `puente import`.
    pub(super) fn bring_in_records(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActData);
        let expires = day(now().plus(90 * DAY));
        let mut officers = Vec::new();
        for agency in self.cast.agencies {
            for (id, name, role) in agency.officers {
                let dir = self.node_dir(agency);
                officers.push(words(&[
                    "--dir",
                    &dir,
                    "officer",
                    "add",
                    id,
                    "--name",
                    name,
                    "--role",
                    role,
                    "--expires",
                    &expires,
                ]));
            }
        }
        // One file of officers an agency: one after the other.
        for job in &officers {
            self.program.begin(job)?.wait()?.done()?;
        }
        self.teller.doing(Text::DoingStart, &[]);
        let starting = self.nodes.values_mut().map(|node| node.begin()).collect::<Result<Vec<Starting>, _>>()?;
        self.teller.doing(Text::DoingGenerate, &[]);
        for agency in self.cast.agencies {
            let holdings = self.source.holdings(agency, self.records, &self.catalogue).ok_or_else(|| {
                Failure::unavailable("demo", "the catalogue lacks a column that the invented records have")
            })?;
            for file in &holdings.files {
                write(&self.root.join("data").join(agency.folder()).join(&file.name), &file.text)?;
            }
            self.holdings.insert(agency.id, holdings);
        }
        for node in starting {
            node.ready()?;
        }
        self.import()
    }

    fn import(&mut self) -> Result<(), Failure> {
        let first = self.cast.agencies.first().map_or("", |agency| agency.id);
        let kinds = self.holdings.values().map(|h| h.files.len()).max().unwrap_or(0);
        let (mut all_in, mut wrong) = (true, 0_u64);
        let mut errors: Vec<(String, String)> = Vec::new();
        let mut totals: Vec<(u64, u64)> = vec![(0, 0); self.cast.agencies.len()];
        for k in 0..kinds {
            let mut jobs = Vec::new();
            for agency in self.cast.agencies {
                let Some(file) = self.holdings.get(agency.id).and_then(|h| h.files.get(k)) else { continue };
                let path = self.at(&format!("data/{}/{}", agency.folder(), file.name));
                let lang = if self.teller.lang == puente_catalogue::Lang::Es { "es" } else { "en" };
                let (dir, of) = (self.node_dir(agency), file.record_type);
                let authority = format!("{} (invented)", agency.name_en);
                let mut job =
                    words(&["--dir", &dir, "--lang", lang, "import", &path, "--type", of, "--authority", &authority]);
                if self.training {
                    job.push("--training".to_owned());
                }
                jobs.push(job);
                if k == 0 || agency.id == first {
                    self.teller.doing(Text::DoingImport, &[&path]);
                }
            }
            let ran = self.program.all(&jobs)?;
            for ((agency, ran), total) in self.cast.agencies.iter().zip(ran).zip(&mut totals) {
                let Some(file) = self.holdings.get(agency.id).and_then(|h| h.files.get(k)) else { continue };
                let count = |name: &str| ran.value.get(name).and_then(Value::as_u64).unwrap_or(0);
                let listed = ran.value.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let mut lines: Vec<u64> = listed.iter().filter_map(|e| e.get("line")?.as_u64()).collect();
                lines.dedup();
                let recorded = text_of(&ran.value, &["collect", "state"]) == "recorded";
                let expected_code = i32::from(!file.bad_lines.is_empty());
                all_in &= count("accepted") == file.good
                    && lines == file.bad_lines
                    && recorded
                    && ran.code == expected_code
                    && listed.iter().all(|e| !text_of(e, &["mend"]).is_empty());
                wrong += count("rejected");
                total.0 += count("accepted");
                total.1 += count("rejected");
                for e in listed {
                    let line = e.get("line").and_then(Value::as_u64).unwrap_or(0).to_string();
                    let label = self.teller.text(Text::Line, &[&line, text_of(e, &["column"])]);
                    errors.push((label, format!("{}; {}", text_of(e, &["message"]), text_of(e, &["mend"]))));
                }
            }
        }
        for (agency, (accepted, rejected)) in self.cast.agencies.iter().zip(totals) {
            let text = self.teller.text(Text::Imported, &[&accepted.to_string(), &rejected.to_string()]);
            self.teller.row(agency.id, &text);
        }
        for (label, text) in &errors {
            self.teller.row(label, text);
        }
        let text = if wrong == 0 { Text::AllIn } else { Text::AllImported };
        self.teller.expect(all_in, text, &[&wrong.to_string()], "");
        Ok(())
    }
}
