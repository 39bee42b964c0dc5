//! Who takes part: two nations, four agencies, their people, auditors and laws. All of it is invented
//! but the names of nations, agencies and instruments.

use std::fmt::Write as _;

use super::tables::{BAJA_CALIFORNIA, CALIFORNIA, MEXICO, Region, TEXAS};

/// An agency of the demo, with one node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agency {
    /// `jurisdiction/agency`.
    pub(super) id: &'static str,
    pub(super) name_en: &'static str,
    pub(super) name_es: &'static str,
    /// Its role in the charter.
    pub(super) role: &'static str,
    pub(super) region: Region,
    pub(super) case_prefix: &'static str,
    /// Its network lets nobody in: its node only calls others, and cannot meet another that only calls.
    pub(super) only_calls: bool,
    /// One file of this agency has rows that are wrong on purpose.
    pub(super) bad_rows: bool,
    /// Its people: id, name of the position, role.
    pub(super) officers: &'static [(&'static str, &'static str, &'static str)],
}

impl Agency {
    pub(super) fn nation(&self) -> &'static str {
        self.id.split('/').next().unwrap_or("")
    }

    pub(super) fn spanish(&self) -> bool {
        self.nation() == "mx"
    }

    /// `puente://mx/fge-bc/n1`.
    pub(super) fn uri(&self) -> String {
        format!("puente://{}/n1", self.id)
    }

    /// Its node's name as a witness.
    pub(super) fn witness(&self) -> String {
        format!("{}-n1", self.folder())
    }

    /// Name of its folders: `mx-fge-bc`.
    pub(super) fn folder(&self) -> String {
        self.id.replace('/', "-")
    }
}

pub(super) const FGE_BC: &Agency = &AGENCIES[0];
pub(super) const FGR: &Agency = &AGENCIES[1];
pub(super) const TX_DPS: &Agency = &AGENCIES[2];
pub(super) const CA_DOJ: &Agency = &AGENCIES[3];

pub(super) const AGENCIES: &[Agency; 4] = &[
    Agency {
        id: "mx/fge-bc",
        name_en: "State Prosecutor of Baja California",
        name_es: "Fiscalía General del Estado de Baja California",
        role: "state-prosecutor",
        region: BAJA_CALIFORNIA,
        case_prefix: "FGEBC",
        only_calls: false,
        bad_rows: false,
        officers: &[
            ("o-1042", "Agente del Ministerio Público 1042", "investigator"),
            ("o-2001", "Fiscal 2001", "prosecutor"),
        ],
    },
    Agency {
        id: "mx/fgr",
        name_en: "Federal Prosecutor of Mexico",
        name_es: "Fiscalía General de la República",
        role: "federal-prosecutor",
        region: MEXICO,
        case_prefix: "FGR",
        only_calls: true,
        bad_rows: false,
        officers: &[("o-3007", "Agente de investigación 3007", "investigator")],
    },
    Agency {
        id: "us/tx-dps",
        name_en: "Texas Department of Public Safety",
        name_es: "Departamento de Seguridad Pública de Texas",
        role: "state-police",
        region: TEXAS,
        case_prefix: "TXDPS",
        only_calls: false,
        bad_rows: true,
        officers: &[("o-77", "Special Agent 77", "investigator")],
    },
    Agency {
        id: "us/ca-doj",
        name_en: "California Department of Justice",
        name_es: "Departamento de Justicia de California",
        role: "state-police",
        region: CALIFORNIA,
        case_prefix: "CADOJ",
        only_calls: true,
        bad_rows: false,
        officers: &[("o-512", "Investigator 512", "investigator")],
    },
];

/// Name of the federation.
pub(super) const FEDERATION: &str = "frontera";
/// The corridor that all agencies are in.
pub(super) const CORRIDOR: &str = "tijuana-san-diego";

/// The nations: code, English name, Spanish name.
pub(super) const NATIONS: &[(&str, &str, &str); 2] =
    &[("mx", "Mexico", "México"), ("us", "United States of America", "Estados Unidos de América")];

/// The auditors: name and nation. Two of each: neither can open escrow alone.
pub(super) const AUDITORS: &[(&str, &str); 4] =
    &[("mx-auditor-a", "mx"), ("mx-auditor-b", "mx"), ("us-auditor-a", "us"), ("us-auditor-b", "us")];

/// Governance keys of each nation, and how many must sign.
pub(super) const GOVERNANCE_KEYS: usize = 3;
/// How many of them must sign.
pub(super) const THRESHOLD: usize = 2;

/// What the description of the federation needs that is made at run time.
#[derive(Debug, Clone, Default)]
pub(super) struct Made {
    /// Governance key name → public key (Base64), by nation.
    pub(super) governance: Vec<(String, String, String)>,
    /// Auditor → vkey of its log, quarter and public sealing key.
    pub(super) auditors: Vec<(String, String, String, String, String)>,
    /// The member of each node, as `puente node init` prints it.
    pub(super) members: Vec<String>,
    /// The same as a witness of its partners.
    pub(super) witnesses: Vec<String>,
}

/// Origin of an auditor's log.
pub(super) fn auditor_origin(name: &str, nation: &str) -> String {
    format!("{nation}/{name}/n1/log1")
}

/// The federation, as `puente charter create` reads it.
pub(super) fn description(made: &Made, valid_from: &str, expires: &str, corridor: bool) -> String {
    let mut out = format!(
        "# A federation of two nations, made by 'puente demo'.\nfederation = \"{FEDERATION}\"\n\
         valid_from = \"{valid_from}\"\nexpires = \"{expires}\"\naudit_hold_days = 365\nperiod_minutes = 60\nquorum = \"both-nations\"\n"
    );
    for (code, en, es) in NATIONS {
        let _ = write!(
            out,
            "\n[[jurisdiction]]\ncode = \"{code}\"\nname_en = \"{en}\"\nname_es = \"{es}\"\nthreshold = {THRESHOLD}\n\
             ca_root_files = [\"ca/{code}/root.cert.pem\"]\n"
        );
        for (_, name, key) in made.governance.iter().filter(|(nation, ..)| nation == code) {
            let _ = write!(out, "\n[[jurisdiction.governance_key]]\nname = \"{name}\"\nkey = \"{key}\"\n");
        }
    }
    // In a corridor those witness whom everybody reaches. All of them are needed: every two quorums share one of each nation.
    let witness = |agency: &&Agency| !(corridor && agency.only_calls);
    for (_, stanza) in AGENCIES.iter().zip(&made.witnesses).filter(|(agency, _)| witness(agency)) {
        let _ = write!(out, "\n{stanza}");
    }
    for (code, ..) in NATIONS {
        let names: Vec<String> = AGENCIES
            .iter()
            .filter(|agency| agency.nation() == *code && witness(agency))
            .map(|agency| format!("\"{}\"", agency.witness()))
            .collect();
        let _ =
            write!(out, "\n[[witness_group]]\nname = \"{code}\"\nneed = \"all\"\nmembers = [{}]\n", names.join(", "));
    }
    let nations: Vec<String> = NATIONS.iter().map(|(code, ..)| format!("\"{code}\"")).collect();
    let all = nations.join(", ");
    let _ = write!(out, "\n[[witness_group]]\nname = \"both-nations\"\nneed = \"all\"\nmembers = [{all}]\n");
    if corridor {
        let (convener, successor) = (FGE_BC.uri(), TX_DPS.uri());
        let _ = write!(
            out,
            "\n[[corridor]]\nname = \"{CORRIDOR}\"\nconvener = \"{convener}\"\nsuccessors = [\"{successor}\"]\n\
             members = [\"{}\", \"{}\"]\n",
            FGR.uri(),
            CA_DOJ.uri()
        );
    }
    for (agency, stanza) in AGENCIES.iter().zip(&made.members) {
        let silent = corridor && agency.only_calls;
        let kept = stanza.lines().filter(|line| !(silent && line.starts_with("endpoints")));
        let _ = kept.fold(writeln!(out), |done, line| done.and(writeln!(out, "{line}")));
    }
    for (name, nation, vkey, quarter, key) in &made.auditors {
        let origin = auditor_origin(name, nation);
        let _ = write!(
            out,
            "\n[[auditor]]\nname = \"{name}\"\njurisdiction = \"{nation}\"\norigin = \"{origin}\"\nvkey = \"{vkey}\"\n\
             \n[[auditor.seal_keys]]\nquarter = \"{quarter}\"\nkey = \"{key}\"\n"
        );
    }
    for (id, en, es, purposes, nations) in LEGAL_BASES {
        let _ = write!(
            out,
            "\n[[legal_basis]]\nid = \"{id}\"\ntitle_en = \"{en}\"\ntitle_es = \"{es}\"\npurposes = [{purposes}]\n\
             jurisdictions = [{nations}]\nexpires = \"2030-12-31T00:00:00Z\"\n"
        );
    }
    out
}

/// Id, titles, purposes, nations.
const LEGAL_BASES: &[(&str, &str, &str, &str, &str)] = &[
    (
        "mx-us-mlat-1987",
        "Mutual Legal Assistance Cooperation Treaty, 1987",
        "Tratado de Cooperación sobre Asistencia Jurídica Mutua, 1987",
        "\"criminal-investigation\", \"prosecution\", \"arms-trafficking\"",
        "\"mx\", \"us\"",
    ),
    (
        "mx-us-stolen-vehicles-1981",
        "Convention on the Recovery and Return of Stolen Vehicles and Aircraft, 1981",
        "Convenio sobre recuperación y devolución de vehículos y aeronaves robados, 1981",
        "\"vehicle-recovery\", \"criminal-investigation\"",
        "\"mx\", \"us\"",
    ),
    (
        "bicentennial-framework-2021",
        "Bicentennial Framework for Security, 2021",
        "Entendimiento Bicentenario sobre Seguridad, 2021",
        "\"arms-trafficking\", \"crime-prevention\"",
        "\"mx\", \"us\"",
    ),
    (
        "interpol-rpd-2011",
        "INTERPOL Rules on the Processing of Data, 2011 (Yellow Notices)",
        "Reglamento de INTERPOL sobre el Tratamiento de Datos, 2011 (notificaciones amarillas)",
        "\"missing-person\"",
        "\"mx\", \"us\"",
    ),
    (
        "mx-lgsnsp-2009",
        "General Law of the National Public Security System (Mexico)",
        "Ley General del Sistema Nacional de Seguridad Pública",
        "\"criminal-investigation\", \"vehicle-recovery\", \"crime-prevention\", \"missing-person\"",
        "\"mx\"",
    ),
    (
        "us-28cfr20",
        "28 CFR Part 20, criminal justice information systems (United States)",
        "28 CFR parte 20, sistemas de información de justicia penal (Estados Unidos)",
        "\"criminal-investigation\", \"vehicle-recovery\", \"crime-prevention\", \"missing-person\"",
        "\"us\"",
    ),
];
