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
        bad_rows: false,
        officers: &[("o-512", "Investigator 512", "investigator")],
    },
];

/// Who plays, and how they stand to each other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cast {
    /// Each with one node.
    pub(super) agencies: &'static [Agency],
    /// Those whose nodes witness the others' logs and the ledger of the corridor.
    pub(super) witnesses: &'static [&'static Agency],
    /// How many witnesses of each nation a head needs. Every two such quorums share one of each nation.
    pub(super) need: &'static str,
    /// Those whose networks let nobody in: their nodes only call others, and never meet another that only calls.
    pub(super) only_call: &'static [&'static Agency],
    /// The corridor that all agencies are in.
    pub(super) corridor: Option<Corridor>,
}

/// Who keeps the members of a corridor together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Corridor {
    pub(super) name: &'static str,
    pub(super) convener: &'static Agency,
    pub(super) successors: &'static [&'static Agency],
}

/// The demo's: whom nobody reaches cannot witness, so both who can are needed.
pub(super) const DEMO: Cast = Cast {
    agencies: AGENCIES,
    witnesses: &[FGE_BC, TX_DPS],
    need: "all",
    only_call: &[FGR, CA_DOJ],
    corridor: Some(Corridor { name: "tijuana-san-diego", convener: FGE_BC, successors: &[TX_DPS] }),
};

/// The lessons': the same agencies, before there were corridors.
pub(super) const TRAINING: Cast =
    Cast { witnesses: &[FGE_BC, FGR, TX_DPS, CA_DOJ], only_call: &[], corridor: None, ..DEMO };

impl Cast {
    fn among(agency: &Agency, some: &[&Agency]) -> bool {
        some.iter().any(|one| one.id == agency.id)
    }
}

/// Name of the federation.
pub(super) const FEDERATION: &str = "frontera";

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
pub(super) fn description(cast: &Cast, made: &Made, valid_from: &str, expires: &str) -> String {
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
    let witness = |agency: &&Agency| Cast::among(agency, cast.witnesses);
    for (_, stanza) in cast.agencies.iter().zip(&made.witnesses).filter(|(agency, _)| witness(agency)) {
        let _ = write!(out, "\n{stanza}");
    }
    let quoted = |names: Vec<String>| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    for (code, ..) in NATIONS {
        let own = cast.agencies.iter().filter(|agency| agency.nation() == *code && witness(agency));
        let (need, names) = (cast.need, quoted(own.map(Agency::witness).collect()));
        let _ = write!(out, "\n[[witness_group]]\nname = \"{code}\"\nneed = \"{need}\"\nmembers = [{names}]\n");
    }
    let nations = quoted(NATIONS.iter().map(|(code, ..)| (*code).to_owned()).collect());
    let _ = write!(out, "\n[[witness_group]]\nname = \"both-nations\"\nneed = \"all\"\nmembers = [{nations}]\n");
    if let Some(Corridor { name, convener, successors }) = &cast.corridor {
        let led = |agency: &&Agency| agency.id == convener.id || Cast::among(agency, successors);
        let others = quoted(cast.agencies.iter().filter(|agency| !led(agency)).map(Agency::uri).collect());
        let (convener, successors) = (convener.uri(), quoted(successors.iter().map(|agency| agency.uri()).collect()));
        let _ = write!(
            out,
            "\n[[corridor]]\nname = \"{name}\"\nconvener = \"{convener}\"\nsuccessors = [{successors}]\nmembers = [{others}]\n"
        );
    }
    for (agency, stanza) in cast.agencies.iter().zip(&made.members) {
        let silent = Cast::among(agency, cast.only_call);
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
