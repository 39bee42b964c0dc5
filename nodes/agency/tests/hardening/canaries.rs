//! Texts that must not turn up anywhere but in the agency's own data, and the search for them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use puente_agency::control::ControlClient;
use puente_agency::control_api::Command;
use serde_json::Value;

use super::federation::{Federation, Node, ask, question, word};

/// Bytes of a pattern by which it is looked up.
const PREFIX: usize = 6;
/// Runs of zeros at least this long (the unwritten rest of a journal segment) are passed over.
const ZEROS: usize = 64;

#[derive(Default)]
pub(crate) struct Canaries(Vec<String>);

pub(crate) struct Searched {
    pub(crate) files: usize,
    pub(crate) bytes: usize,
    pub(crate) hits: Vec<String>,
}

/// Everything that a canary may look like: as typed, in capitals, in small letters; each as it is, as hexadecimal
/// digits, and within Base64 text at each of the three alignments.
fn forms(canary: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut out = Vec::new();
    for text in [canary.to_owned(), canary.to_uppercase(), canary.to_lowercase()] {
        let bytes = text.as_bytes();
        out.push(("raw", bytes.to_vec()));
        out.push(("hex", hex::encode(bytes).into_bytes()));
        out.push(("HEX", hex::encode_upper(bytes).into_bytes()));
        for (name, engine) in [("base64", &STANDARD_NO_PAD), ("base64url", &URL_SAFE_NO_PAD)] {
            for before in 0..3 {
                let mut padded = vec![0; before];
                padded.extend(bytes);
                let encoded = engine.encode(&padded).into_bytes();
                // Characters that depend on nothing but the canary.
                let (from, to) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
                out.push((name, encoded[from..to].to_vec()));
            }
        }
    }
    out.sort();
    out.dedup();
    out
}

type Patterns = HashMap<[u8; PREFIX], Vec<(String, Vec<u8>)>>;

impl Canaries {
    /// Takes a text among the canaries.
    pub(crate) fn add(&mut self, text: &str) -> String {
        assert!(text.len() >= PREFIX && !self.0.iter().any(|c| c == text), "{text}");
        self.0.push(text.to_owned());
        text.to_owned()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn table(&self) -> Patterns {
        let mut out = Patterns::new();
        for canary in &self.0 {
            for (form, pattern) in forms(canary) {
                let prefix = *pattern.first_chunk().unwrap();
                out.entry(prefix).or_default().push((format!("{canary} ({form})"), pattern));
            }
        }
        out
    }

    pub(crate) fn patterns(&self) -> usize {
        self.table().values().map(Vec::len).sum()
    }

    /// The canaries in some bytes, in whatever form.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        find(&self.table(), bytes)
    }

    /// Searches what both nodes said and wrote (but for their own records), exported copies and `shown`.
    pub(crate) fn search(&self, fed: &Federation, shown: &[(String, Vec<u8>)]) -> Searched {
        let table = self.table();
        // Every form of every canary is found where it is.
        for canary in &self.0 {
            for (form, pattern) in forms(canary) {
                assert!(!find(&table, &[b"...", &pattern[..], b"..."].concat()).is_empty(), "{canary} {form}");
            }
        }
        let mut searched = Searched { files: 0, bytes: 0, hits: Vec::new() };
        let mut look = |name: &str, bytes: &[u8]| {
            searched.files += 1;
            searched.bytes += bytes.len();
            searched.hits.extend(find(&table, bytes).into_iter().map(|hit| format!("{name}: {hit}")));
        };
        for (name, bytes) in shown {
            look(name, bytes);
        }
        for node in [&fed.mx, &fed.us] {
            look("stdout", &node.out.lock().unwrap());
            let words = node.err.lock().unwrap().clone();
            assert!(words.len() > 200, "a node that says everything says more than this");
            look("stderr", &words);
            let mut files = Vec::new();
            for place in [node.dir.join("log"), node.dir.join("journal"), node.dir.with_extension("export")] {
                assert!(place.is_dir(), "{}", place.display());
                below(&place, &mut files);
            }
            for entry in std::fs::read_dir(&node.dir).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name().to_str().unwrap().starts_with("evidence.db") {
                    files.push(entry.path());
                }
            }
            assert!(files.iter().any(|f| f.ends_with("asides")) && files.iter().any(|f| f.ends_with("evidence.db")));
            for file in files {
                look(&file.display().to_string(), &std::fs::read(&file).unwrap());
            }
        }
        searched
    }
}

fn below(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            below(&entry.path(), out);
        } else {
            out.push(entry.path());
        }
    }
}

fn find(table: &Patterns, bytes: &[u8]) -> Vec<String> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(window) = bytes.get(at..).and_then(<[u8]>::first_chunk::<PREFIX>) {
        if window[0] == 0 {
            if let Some(zeros) = bytes.get(at..at + ZEROS)
                && zeros == [0; ZEROS]
            {
                at += ZEROS;
                continue;
            }
        } else if let Some(candidates) = table.get(window) {
            let here = candidates.iter().filter(|(_, pattern)| bytes[at..].starts_with(pattern));
            out.extend(here.map(|(name, _)| name.clone()));
        }
        at += 1;
    }
    out.sort();
    out.dedup();
    out
}

/// What the imported records hold, for questions about them.
pub(crate) struct Records {
    vins: Vec<String>,
    serials: Vec<String>,
}

fn import_file(node: &Node, name: &str, of: &str, text: &str, more: &[&str]) -> Value {
    let path = node.dir.with_extension(name);
    std::fs::write(&path, text).unwrap();
    let mut args = vec!["import", path.to_str().unwrap(), "--type", of, "--json"];
    args.extend(more);
    let ran = node.run(&args);
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ran.stderr)))
}

/// Brings records into the node of the United States; every column that may name a person or a thing is a canary.
pub(crate) fn import(fed: &Federation, canaries: &mut Canaries) -> Records {
    let mut records = Records { vins: Vec::new(), serials: Vec::new() };
    let mut text = String::from(
        "vin,plate,plate_jurisdiction,make,model,status,theft_date,owner_applied_number,registry_number,\
         entering_agency,agency_case,entry_number,owner_name,informant,remarks\n",
    );
    for n in 1..=3 {
        let vin = canaries.add(&format!("WVWCNRYZZXP77310{n}"));
        let row = [
            vin.clone(),
            canaries.add(&format!("ZQX773{n}")),
            "US-TX".to_owned(),
            "Volkswagen".to_owned(),
            canaries.add(&format!("Modelo Canario {n}")),
            "stolen".to_owned(),
            "2025-02-03".to_owned(),
            canaries.add(&format!("OANCNRY440{n}")),
            canaries.add(&format!("NCICNRY550{n}")),
            "us/tx-dps".to_owned(),
            canaries.add(&format!("TXDPS/2026/CNRY{n}")),
            canaries.add(&format!("NICCNRY660{n}")),
            canaries.add(&format!("Propietaria Canaria {n}")),
            canaries.add(&format!("Denunciante Canario {n}")),
            canaries.add(&format!("seen at the canary cage number {n}")),
        ];
        text.push_str(&row.join(","));
        text.push('\n');
        records.vins.push(vin);
    }
    let authority = canaries.add("Registry of Canaries in Laredo");
    let done = import_file(&fed.us, "vehicles.csv", "Vehicle", &text, &["--authority", &authority]);
    assert_eq!((done["accepted"].as_u64(), done["rejected"].as_u64()), (Some(3), Some(0)), "{done}");

    let mut text = String::from(
        "firearm_id,serial,make,calibre,type,extra_marks,status,holder_agency,agency_case,possessor_name,informant,\
         remarks\n",
    );
    for n in 1..=2 {
        let serial = canaries.add(&format!("CNRY7705{n}"));
        let row = [
            canaries.add(&format!("FIDCNRY-{n}")),
            serial.clone(),
            "Glock".to_owned(),
            "9x19".to_owned(),
            "pistol".to_owned(),
            canaries.add(&format!("MARKCNRY{n}")),
            "stolen".to_owned(),
            "us/tx-dps".to_owned(),
            canaries.add(&format!("TXDPS/2026/ARMCNRY{n}")),
            canaries.add(&format!("Poseedor Canario {n}")),
            canaries.add(&format!("Fuente Canaria {n}")),
            canaries.add(&format!("hidden in the canary cellar {n}")),
        ];
        text.push_str(&row.join(","));
        text.push('\n');
        records.serials.push(serial);
    }
    let done = import_file(&fed.us, "firearms.csv", "Firearm", &text, &[]);
    assert_eq!((done["accepted"].as_u64(), done["rejected"].as_u64()), (Some(2), Some(0)), "{done}");

    // Rows that are refused leave no trace in the node either.
    let (vin, owner) = (canaries.add("1FTCNRYZZXP773104"), canaries.add("Rechazada Canaria"));
    let text = format!("vin,status,entering_agency,owner_name\n{vin},stolen,us/tx-dps,{owner}\n");
    let done = import_file(&fed.us, "rejected.csv", "Vehicle", &text, &[]);
    assert_eq!(done["rejected"].as_u64(), Some(1), "{done}");
    records
}

/// Questions of every kind and end: hits, core data, no hits, refusals, nonsense over the socket, an urgent one.
pub(crate) fn ask_everything(
    fed: &Federation,
    canaries: &mut Canaries,
    officers: &[(String, String, &str)],
    records: &Records,
    shown: &mut Vec<(String, Vec<u8>)>,
) {
    let (officer, prosecutor) = (officers[0].0.clone(), officers[1].0.clone());
    let vehicles = ["--purpose", "vehicle-recovery", "--basis", "mx-us-stolen-vehicles-1981"];
    let put = |kind: &str, officer: &str, params: &[String], more: &[&str]| -> Value {
        let mut args = vec!["query", kind, "--to", &fed.us.uri, "--officer", officer, "--due", "20s", "--json"];
        for param in params {
            args.extend(["--param", param]);
        }
        args.extend(more);
        let ran = fed.mx.run(&args);
        serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ran.stderr)))
    };
    let vin = [format!("vin={}", records.vins[0])];
    let case = canaries.add("FGEBC/2026/CNRYCASE1");
    let hit = put("vehicle.status", &officer, &vin, &[&vehicles[..], &["--case", &case]].concat());
    assert_eq!(hit["outcome"], "HIT_UNCONFIRMED", "{hit}");
    let leaf = hit["answer_leaf"].as_str().unwrap();
    let (case, facts) = (canaries.add("FGEBC/2026/CNRYCASE2"), canaries.add("the canary sang on the frame rail"));
    let offence = canaries.add("theft of canaries at night");
    let more = ["--case", &case, "--step", "2", "--confirms", leaf, "--facts", &facts, "--offence", &offence];
    let core = put("vehicle.status", &officer, &vin, &[&vehicles[..], &more].concat());
    assert_eq!(core["outcome"], "CORE_DATA", "{core}");
    assert!(core["fields"].to_string().contains(&records.vins[0]));

    let (case, urgent) = (canaries.add("FGEBC/2026/CNRYCASE3"), canaries.add("the canary leaves at dawn"));
    let unknown = [format!("vin={}", canaries.add("WVWCNRYZZXP990001"))];
    let more = ["--case", &case, "--urgent", &urgent];
    let none = put("vehicle.status", &prosecutor, &unknown, &[&vehicles[..], &more].concat());
    assert_eq!(none["outcome"], "NO_HIT", "{none}");

    let case = canaries.add("FGEBC/2026/CNRYCASE4");
    let params = [format!("serial={}", records.serials[0]), "make=Glock".to_owned(), "calibre=9x19".to_owned()];
    let more = ["--case", &case, "--purpose", "arms-trafficking", "--basis", "mx-us-mlat-1987"];
    let armed = put("firearm.status", &prosecutor, &params, &more);
    assert_eq!(armed["conclusion"], "answered", "{armed}");

    let case = canaries.add("FGEBC/2026/CNRYCASE5");
    let plate = [format!("plate={}", canaries.add("ZQY9912")), "plate_jurisdiction=US-TX".to_owned()];
    let plated = put("plate.status", &officer, &plate, &[&vehicles[..], &["--case", &case]].concat());
    assert!(plated["conclusion"].is_string(), "{plated}");

    // Past the command line's own checks: an officer nobody knows, a step nobody confirmed, a number that is none.
    let mut wrong = question(&fed.us.uri, &canaries.add("WVWCNRYZZXP990002"), 5_000);
    wrong.officer = canaries.add("o-cnry66001").parse().unwrap();
    wrong.case_ref = canaries.add("FGEBC/2026/CNRYCASE6");
    assert_eq!(word(&ask(&fed.mx, wrong.clone())), "officer");
    wrong.officer = officer.parse().unwrap();
    wrong.params.insert("vin".to_owned(), canaries.add("1FTCNRYZZXP990003"));
    assert!(word(&ask(&fed.mx, wrong.clone())).starts_with("Invalid"));
    wrong.params.insert(canaries.add("canaryparameter"), canaries.add("canary value of a parameter"));
    assert!(word(&ask(&fed.mx, wrong.clone())).starts_with("Invalid"));
    wrong.step = puente_model::Step::CoreData;
    wrong.params = question(&fed.us.uri, &records.vins[1], 1).params;
    wrong.facts_statement = canaries.add("a canary that no human confirmed");
    let unconfirmed = word(&ask(&fed.mx, wrong));
    assert!(!unconfirmed.starts_with("answered"), "{unconfirmed}");

    // Lines that are no commands.
    let (sender, noise) = (ControlClient::connect(&fed.us.socket()), canaries.add("canary in a broken line"));
    drop(sender);
    for line in [format!("{noise}\n"), format!("{{\"id\":1,\"command\":{{\"cmd\":\"{noise}\"}}}}\n")] {
        use std::io::{Read as _, Write as _};
        let mut socket = std::os::unix::net::UnixStream::connect(fed.us.socket()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.write_all(line.as_bytes()).unwrap();
        let mut answer = [0; 4_096];
        assert!(socket.read(&mut answer).unwrap() > 0);
    }
    fed.us.call(Command::ClosePeriods);
    fed.mx.call(Command::ClosePeriods);
    let list = fed.mx.run(&["node", "status", "--lang", "es", "--json"]);
    shown.push(("status".to_owned(), list.stdout));
}
