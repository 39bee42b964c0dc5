//! Two agencies of two nations, made with the `puente` command as their operators would, each node its own process.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use puente_model::Millis;
use serde_json::Value;

use crate::Failure;
use crate::cage::Cage;

/// Officers of the asking agency: an officer may ask 600 questions a minute.
pub const OFFICERS: usize = 800;
/// Records that the holder has.
pub const RECORDS: u64 = 10_000;
/// The asking node.
pub const ASKER: &str = "puente://mx/fge-bc/n1";
/// The holding node.
pub const HOLDER: &str = "puente://us/tx-dps/n1";

/// The program under measurement.
#[derive(Debug, Clone)]
pub struct Puente(PathBuf);

impl Puente {
    /// The program at `path`; else the one built beside this one, brought up to date by cargo if cargo runs us.
    ///
    /// # Errors
    /// There is none.
    pub fn find(path: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = path {
            return Ok(Self(path.canonicalize()?));
        }
        let beside = std::env::current_exe()?.with_file_name("puente");
        if let Some(cargo) = std::env::var_os("CARGO") {
            let mut build = Command::new(cargo);
            build.args(["build", "-q", "-p", "puente-agency", "--bin", "puente"]);
            if !cfg!(debug_assertions) {
                build.arg("--release");
            }
            if !build.status()?.success() {
                return Err("the puente program does not build".into());
            }
        }
        if beside.exists() { Ok(Self(beside)) } else { Err("no 'puente' beside this program: give --puente".into()) }
    }

    /// The program's file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Runs one command; its JSON.
    pub(crate) fn run(&self, dir: &Path, arguments: &[&str]) -> Result<Value, Failure> {
        let output = Command::new(&self.0).arg("--dir").arg(dir).arg("--json").args(arguments).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(format!("puente {}: {text}{words}", arguments.join(" ")).into());
        }
        Ok(serde_json::from_str(&text)?)
    }
}

/// Who cosigns the two agencies' logs, and whether they are in groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Nobody cosigns.
    #[default]
    None,
    /// Each is a witness of both, and both must have cosigned.
    Witnesses,
    /// The same, and one corridor holds both: they are in a group of two, too, and nothing else is answered.
    Corridor,
}

/// How the two agencies are founded.
#[derive(Debug, Default)]
pub struct Founding<'a> {
    /// More members, as the federation's description lists them.
    pub members: &'a str,
    /// Witnesses and groups.
    pub order: Order,
    /// What the holder's processes may use.
    pub cage: Option<&'a Cage>,
}

/// A node that runs until this value is dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    /// Its folder.
    pub dir: PathBuf,
}

impl Node {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection to its control socket.
    ///
    /// # Errors
    /// It does not listen.
    pub fn control(&self) -> Result<UnixStream, Failure> {
        Ok(UnixStream::connect(self.dir.join("control.sock"))?)
    }

    /// One command over the control socket.
    ///
    /// # Errors
    /// It does not answer.
    pub fn command(&self, command: &Value) -> Result<Value, Failure> {
        let mut stream = self.control()?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        let mut line = Vec::new();
        let mut chunk = [0; 4096];
        while line.last() != Some(&b'\n') {
            let read = stream.read(&mut chunk)?;
            if read == 0 {
                return Err("the node closed its control socket".into());
            }
            line.extend_from_slice(&chunk[..read]);
        }
        Ok(serde_json::from_slice(&line)?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What it has not published is in its journal; nobody looks at it any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both nodes, running and acquainted.
#[derive(Debug)]
pub struct World {
    /// The program.
    pub puente: Puente,
    /// Everything's folder.
    pub folder: PathBuf,
    /// The asking node.
    pub asker: Node,
    /// The holding node.
    pub holder: Node,
    /// Where the holder listens.
    pub holder_port: u16,
}

/// The wall clock.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn day(at: Millis) -> String {
    at.to_string().chars().take(10).collect()
}

/// `2026Q4`.
fn quarter(at: Millis) -> Result<String, Failure> {
    let day = day(at);
    let (year, month) = (day.get(..4).ok_or("no year")?, day.get(5..7).ok_or("no month")?.parse::<u32>()?);
    Ok(format!("{year}Q{}", month.div_ceil(3)))
}

/// A port that nobody uses now.
fn free_port() -> Result<u16, Failure> {
    // Nodes listen over TCP, too.
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let at = socket.local_addr()?;
        if std::net::TcpListener::bind(at).is_ok() {
            return Ok(at.port());
        }
    }
}

/// A North American vehicle number with its check digit.
pub fn vin(number: u64) -> String {
    const WEIGHTS: [u64; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let mut vin: Vec<u8> = format!("1FTFW1E8_KF{:06}", number % 1_000_000).into_bytes();
    // The seventh million and later differ in the fourth to eighth place.
    let series = number / 1_000_000;
    vin[4] = b"WXYZABCDEF"[usize::try_from(series % 10).unwrap_or(0)];
    let value = |c: u8| match c {
        b'0'..=b'9' => u64::from(c - b'0'),
        b'A'..=b'H' => u64::from(c - b'A' + 1),
        b'J'..=b'R' => u64::from(c - b'J' + 1),
        b'S'..=b'Z' => u64::from(c - b'S' + 2),
        _ => 0,
    };
    let sum: u64 = vin.iter().zip(WEIGHTS).map(|(c, w)| value(*c) * w).sum();
    vin[8] = match sum % 11 {
        10 => b'X',
        digit => b'0' + u8::try_from(digit).unwrap_or(0),
    };
    String::from_utf8(vin).unwrap_or_default()
}

const NATIONS: [(&str, &str, &str, &str); 2] =
    [("mx", "mx-fge-bc", ASKER, "state-prosecutor"), ("us", "us-tx-dps", HOLDER, "state-police")];

impl World {
    /// Makes and starts it.
    ///
    /// # Errors
    /// A command fails: what it said.
    pub fn start(puente: Puente, folder: &Path) -> Result<Self, Failure> {
        let world = Self::found(puente, folder, &Founding::default())?;
        world.import()?;
        Ok(world)
    }

    /// The same as said, and without records yet.
    ///
    /// # Errors
    /// A command fails: what it said.
    pub fn found(puente: Puente, folder: &Path, founding: &Founding<'_>) -> Result<Self, Failure> {
        let members = founding.members;
        let at = now();
        let mut nations = String::new();
        let mut auditors = String::new();
        let mut ports = Vec::new();
        for (nation, name, uri, role) in NATIONS {
            let path = |tail: &str| folder.join(tail).display().to_string();
            let run = |arguments: &[&str]| puente.run(folder, arguments);
            let text = |value: &Value, field: &str| -> Result<String, Failure> {
                let text = value.get(field).and_then(Value::as_str);
                text.map(str::to_owned).ok_or_else(|| format!("no '{field}' in {value}").into())
            };
            let authority = path(&format!("ca/{nation}"));
            run(&["ca", "init", "--jurisdiction", nation, "--out", &authority])?;
            let (key_name, key_file) = (format!("{nation}-gov"), path(&format!("keys/{nation}-gov.key")));
            let made = run(&["charter", "keygen", "--name", &key_name, "--out", &key_file])?;
            let governance = text(&made, "public")?;
            for letter in ["a", "b"] {
                let auditor = format!("{nation}-auditor-{letter}");
                let origin = format!("{nation}/{auditor}/n1/log1");
                let file = path(&format!("keys/{auditor}.log.key"));
                let log = run(&["charter", "keygen", "--kind", "log", "--name", &origin, "--out", &file])?;
                let file = path(&format!("keys/{auditor}.seal.key"));
                let seal = run(&["charter", "keygen", "--kind", "seal", "--name", &auditor, "--out", &file])?;
                write!(
                    auditors,
                    "\n[[auditor]]\nname = \"{auditor}\"\njurisdiction = \"{nation}\"\norigin = \"{origin}\"\n\
                     vkey = \"{}\"\n\n[[auditor.seal_keys]]\nquarter = \"{}\"\nkey = \"{}\"\n",
                    text(&log, "public")?,
                    quarter(at)?,
                    text(&seal, "public")?,
                )?;
            }
            let port = free_port()?;
            ports.push(port);
            let listen = format!("127.0.0.1:{port}");
            let dir = folder.join(name);
            let made = puente
                .run(&dir, &["node", "init", "--uri", uri, "--listen", &listen, "--role", role, "--ca", &authority])?;
            let origin = uri.trim_start_matches("puente://").to_owned() + "/log1";
            write!(
                nations,
                "\n[[jurisdiction]]\ncode = \"{nation}\"\nname_en = \"{nation}\"\nname_es = \"{nation}\"\nthreshold = 1\n\
                 ca_root_files = [\"ca/{nation}/root.cert.pem\"]\n\n[[jurisdiction.governance_key]]\n\
                 name = \"{key_name}\"\nkey = \"{governance}\"\n\n[[member]]\nuri = \"{uri}\"\nname_en = \"{name}\"\n\
                 name_es = \"{name}\"\nroles = [\"{role}\"]\nendpoints = [\"{listen}\"]\n\n[[member.log]]\n\
                 origin = \"{origin}\"\nvkey = \"{}\"\n",
                text(&made, "vkey")?
            )?;
            if founding.order != Order::None {
                nations += &text(&made, "witness")?;
            }
        }
        let quorum = if founding.order == Order::None { "" } else { "quorum = \"both\"\n" };
        let order = match founding.order {
            Order::None => "",
            Order::Witnesses => WITNESSES,
            Order::Corridor => &[WITNESSES, CORRIDOR].concat(),
        };
        let description = format!(
            "federation = \"bench\"\nvalid_from = \"{}\"\nexpires = \"{}\"\naudit_hold_days = 365\n\
             {quorum}{nations}{members}{auditors}{BASES}{order}",
            day(Millis(at.0.saturating_sub(86_400_000))),
            day(at.plus(100 * 86_400_000)),
        );
        fs::write(folder.join("federation.toml"), description)?;
        let charter = folder.join("charter");
        let file = |name: &str| charter.join(name).display().to_string();
        puente.run(
            folder,
            &[
                "charter",
                "create",
                &folder.join("federation.toml").display().to_string(),
                "--out",
                &charter.display().to_string(),
            ],
        )?;
        for (part, nations) in [("common-1", &["mx", "us"][..]), ("annex-mx-1", &["mx"]), ("annex-us-1", &["us"])] {
            for nation in nations {
                let key = folder.join(format!("keys/{nation}-gov.key")).display().to_string();
                puente.run(folder, &["charter", "sign", &file(&format!("{part}.toml")), "--key", &key])?;
            }
        }
        for (_, name, ..) in NATIONS {
            let into = folder.join(name).join("charter");
            fs::create_dir_all(&into)?;
            for entry in fs::read_dir(&charter)? {
                let entry = entry?;
                fs::copy(entry.path(), into.join(entry.file_name()))?;
            }
        }
        fs::write(folder.join("mx-fge-bc/officers.toml"), officers(at)?)?;
        let rule = match founding.order {
            Order::None => None,
            Order::Witnesses => Some(rule("when")),
            Order::Corridor => Some(rule("unless")),
        };
        if let Some(rule) = rule {
            fs::write(folder.join("us-tx-dps/policies/bound.cedar"), rule)?;
        }
        let asker = start(&puente, folder, "mx-fge-bc", None)?;
        let holder = start(&puente, folder, "us-tx-dps", founding.cage)?;
        Ok(Self { puente, folder: folder.to_owned(), asker, holder, holder_port: ports[1] })
    }

    /// Brings [`RECORDS`] records of the holder's in.
    ///
    /// # Errors
    /// The import fails: what it said.
    pub fn import(&self) -> Result<(), Failure> {
        let file = self.write_records(RECORDS)?;
        self.puente.run(&self.holder.dir, &["import", &file.display().to_string(), "--type", "Vehicle"])?;
        Ok(())
    }

    /// Writes so many vehicles as CSV.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_records(&self, count: u64) -> Result<PathBuf, Failure> {
        let path = self.folder.join("vehicles.csv");
        let mut csv = std::io::BufWriter::new(fs::File::create(&path)?);
        writeln!(csv, "vin,make,model,model_year,colour,status,theft_date,entering_agency")?;
        for number in 0..count {
            writeln!(csv, "{},FORD,F-150,2019,BLUE,active,2025-03-01,us/tx-dps", vin(number))?;
        }
        csv.flush()?;
        Ok(path)
    }
}

const WITNESSES: &str = r#"
[[witness_group]]
name = "mx"
need = "all"
members = ["mx-fge-bc-n1"]

[[witness_group]]
name = "us"
need = "all"
members = ["us-tx-dps-n1"]

[[witness_group]]
name = "both"
need = "all"
members = ["mx", "us"]
"#;

const CORRIDOR: &str = r#"
[[corridor]]
name = "bench"
convener = "puente://mx/fge-bc/n1"
successors = ["puente://us/tx-dps/n1"]
silence_seconds = 60
"#;

/// What belongs to a group, or what does not, is refused: a measurement of something else would be worth nothing. Either side
/// has a rule more for it, so that neither pays for it alone.
fn rule(condition: &str) -> String {
    format!(
        r#"
@id("bench-bound")
@reason("scope")
@explain_en("what is measured is exchanges of the other kind")
@explain_es("se miden intercambios de la otra clase")
forbid (principal, action == Action::"answer", resource) {condition} {{ context.bound }};
"#
    )
}

const BASES: &str = r#"
[[legal_basis]]
id = "mx-us-stolen-vehicles-1981"
title_en = "Convention on stolen vehicles, 1981"
title_es = "Convenio sobre vehículos robados, 1981"
purposes = ["vehicle-recovery", "criminal-investigation"]
jurisdictions = ["mx", "us"]
expires = "2030-12-31"

[[legal_basis]]
id = "mx-us-mlat-1987"
title_en = "Mutual Legal Assistance Cooperation Treaty, 1987"
title_es = "Tratado de Cooperación sobre Asistencia Jurídica Mutua, 1987"
purposes = ["criminal-investigation", "prosecution", "arms-trafficking"]
jurisdictions = ["mx", "us"]
expires = "2030-12-31"

[[legal_basis]]
id = "bicentennial-framework-2021"
title_en = "Bicentennial Framework for Security, 2021"
title_es = "Entendimiento Bicentenario sobre Seguridad, 2021"
purposes = ["arms-trafficking", "crime-prevention"]
jurisdictions = ["mx", "us"]
expires = "2030-12-31"

[[legal_basis]]
id = "mx-lgsnsp-2009"
title_en = "General Law of the National Public Security System (Mexico)"
title_es = "Ley General del Sistema Nacional de Seguridad Pública"
purposes = ["criminal-investigation", "vehicle-recovery", "crime-prevention", "missing-person"]
jurisdictions = ["mx"]
expires = "2030-12-31"

[[legal_basis]]
id = "us-28cfr20"
title_en = "28 CFR Part 20 (United States)"
title_es = "28 CFR parte 20 (Estados Unidos)"
purposes = ["criminal-investigation", "vehicle-recovery", "crime-prevention", "missing-person"]
jurisdictions = ["us"]
expires = "2030-12-31"
"#;

/// Half of them investigators, half analysts.
fn officers(at: Millis) -> Result<String, Failure> {
    let (granted, expires) = (day(Millis(at.0.saturating_sub(86_400_000))), day(at.plus(30 * 86_400_000)));
    let mut text = String::new();
    for number in 0..OFFICERS {
        let role = if number.is_multiple_of(2) { "investigator" } else { "analyst" };
        writeln!(
            text,
            "[[officer]]\nid = \"o-{number}\"\nname = \"Officer {number}\"\nrole = \"{role}\"\ngranted = \"{granted}\"\n\
             expires = \"{expires}\"\n"
        )?;
    }
    Ok(text)
}

fn start(puente: &Puente, folder: &Path, name: &str, cage: Option<&Cage>) -> Result<Node, Failure> {
    let dir = folder.join(name);
    let words = fs::File::create(folder.join(format!("{name}.stderr")))?;
    let child = cage
        .map_or_else(|| Command::new(&puente.0), |cage| cage.command(&puente.0))
        .arg("--dir")
        .arg(&dir)
        .args(["node", "run"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(words)
        .spawn()?;
    let mut node = Node { child, dir };
    let began = Instant::now();
    while node.control().is_err() {
        if let Some(status) = node.child.try_wait()? {
            let words = fs::read_to_string(folder.join(format!("{name}.stderr"))).unwrap_or_default();
            return Err(format!("{name} ended at once ({status}): {words}").into());
        }
        if began.elapsed() > Duration::from_secs(60) {
            return Err(format!("{name} does not open its control socket").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_check_digits_and_differ() {
        assert_eq!(vin(0).len(), 17);
        assert_ne!(vin(1), vin(1_000_001));
        // A published number with its check digit.
        assert_eq!(quarter(Millis(1_795_000_000_000)).unwrap(), "2026Q4");
    }
}
