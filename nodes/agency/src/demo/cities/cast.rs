//! The police of fifty border municipalities, twin by twin, the eleven largest crossings first. The places are real,
//! their nodes, officers and records are invented.

use super::super::cast::{Agency, Cast, Corridor};
use super::super::tables::Region;

/// How plates look in the streets of a state.
type Plates = &'static [(&'static str, &'static str)];

const BAJA: Plates = &[("MX-BCN", "B[AZ]A000A"), ("MX-BCN", "A[GZ]A000A")];
const NORTH: Plates = &[("MX-CHH", "E[AS]A000A"), ("MX-COA", "F[AN]A000A"), ("MX-BCN", "C[AX]A000A")];
const CALIFORNIA: Plates = &[("US-CA", "[68]AAA000"), ("US-CA", "00000A0")];
const ARIZONA: Plates = &[("US-AZ", "AAA0000"), ("US-CA", "[68]AAA000")];
const NEW_MEXICO: Plates = &[("US-NM", "AAA000"), ("US-TX", "[BT]AA0000")];
const TEXAS: Plates = &[("US-TX", "[BT]AA0000")];

/// Who asks in the street, and who works on cases.
const OFFICERS: &[(&str, &str, &str)] =
    &[(PATROL, "Agente 11 / Officer 11", "patrol"), (INVESTIGATOR, "Agente 21 / Officer 21", "investigator")];
pub(super) const PATROL: &str = "o-11";
pub(super) const INVESTIGATOR: &str = "o-21";

macro_rules! mexican {
    ($id:literal, $name:literal, $place:literal, $plates:expr) => {
        Agency {
            id: concat!("mx/", $id),
            name_en: concat!("Municipal Police of ", $name),
            name_es: concat!("Policía Municipal de ", $name),
            role: "municipal-police",
            region: Region { places: &[concat!("MX-", $place)], plates: $plates },
            case_prefix: "PM",
            bad_rows: false,
            officers: OFFICERS,
        }
    };
}

macro_rules! american {
    ($id:literal, $name:literal, $place:literal, $plates:expr) => {
        Agency {
            id: concat!("us/", $id),
            name_en: concat!($name, " Police Department"),
            name_es: concat!("Departamento de Policía de ", $name),
            role: "municipal-police",
            region: Region { places: &[concat!("US-", $place)], plates: $plates },
            case_prefix: "PD",
            bad_rows: false,
            officers: OFFICERS,
        }
    };
}

const CITIES: &[Agency; 50] = &[
    mexican!("tijuana", "Tijuana", "02004", BAJA),
    american!("san-diego", "San Diego", "06073", CALIFORNIA),
    mexican!("mexicali", "Mexicali", "02002", BAJA),
    american!("calexico", "Calexico", "06025", CALIFORNIA),
    mexican!("san-luis-rc", "San Luis Río Colorado", "26055", NORTH),
    american!("san-luis", "San Luis", "04027", ARIZONA),
    mexican!("nogales", "Nogales", "26043", NORTH),
    american!("nogales", "Nogales", "04023", ARIZONA),
    mexican!("agua-prieta", "Agua Prieta", "26002", NORTH),
    american!("douglas", "Douglas", "04003", ARIZONA),
    mexican!("juarez", "Juárez", "08037", NORTH),
    american!("el-paso", "El Paso", "48141", TEXAS),
    mexican!("ojinaga", "Ojinaga", "08052", NORTH),
    american!("presidio", "Presidio", "48377", TEXAS),
    mexican!("acuna", "Acuña", "05002", NORTH),
    american!("del-rio", "Del Rio", "48465", TEXAS),
    mexican!("piedras-negras", "Piedras Negras", "05025", NORTH),
    american!("eagle-pass", "Eagle Pass", "48323", TEXAS),
    mexican!("nuevo-laredo", "Nuevo Laredo", "28027", NORTH),
    american!("laredo", "Laredo", "48479", TEXAS),
    mexican!("matamoros", "Matamoros", "28022", NORTH),
    american!("brownsville", "Brownsville", "48061", TEXAS),
    mexican!("reynosa", "Reynosa", "28032", NORTH),
    american!("mcallen", "McAllen", "48215", TEXAS),
    mexican!("tecate", "Tecate", "02003", BAJA),
    american!("chula-vista", "Chula Vista", "06073", CALIFORNIA),
    mexican!("rosarito", "Playas de Rosarito", "02005", BAJA),
    american!("imperial-beach", "Imperial Beach", "06073", CALIFORNIA),
    mexican!("ensenada", "Ensenada", "02001", BAJA),
    american!("national-city", "National City", "06073", CALIFORNIA),
    mexican!("puerto-penasco", "Puerto Peñasco", "26048", NORTH),
    american!("yuma", "Yuma", "04027", ARIZONA),
    mexican!("caborca", "Caborca", "26017", NORTH),
    american!("tucson", "Tucson", "04019", ARIZONA),
    mexican!("naco", "Naco", "26039", NORTH),
    american!("bisbee", "Bisbee", "04003", ARIZONA),
    mexican!("cananea", "Cananea", "26019", NORTH),
    american!("sierra-vista", "Sierra Vista", "04003", ARIZONA),
    mexican!("ascension", "Ascensión", "08005", NORTH),
    american!("deming", "Deming", "35029", NEW_MEXICO),
    mexican!("janos", "Janos", "08035", NORTH),
    american!("sunland-park", "Sunland Park", "35013", NEW_MEXICO),
    mexican!("guadalupe", "Guadalupe", "08028", NORTH),
    american!("socorro", "Socorro", "48141", TEXAS),
    mexican!("anahuac", "Anáhuac", "19005", NORTH),
    american!("alpine", "Alpine", "48043", TEXAS),
    mexican!("miguel-aleman", "Miguel Alemán", "28025", NORTH),
    american!("roma", "Roma", "48427", TEXAS),
    mexican!("rio-bravo", "Río Bravo", "28033", NORTH),
    american!("weslaco", "Weslaco", "48215", TEXAS),
];

pub(super) const TIJUANA: &Agency = &CITIES[0];
const SAN_DIEGO: &Agency = &CITIES[1];
pub(super) const JUAREZ: &Agency = &CITIES[10];
pub(super) const EL_PASO: &Agency = &CITIES[11];
pub(super) const OJINAGA: &Agency = &CITIES[12];
pub(super) const ACUNA: &Agency = &CITIES[14];
pub(super) const NUEVO_LAREDO: &Agency = &CITIES[18];
pub(super) const LAREDO: &Agency = &CITIES[19];

/// So many of the municipalities, those of the acts among them. Two of three witnesses of each nation are enough, so that
/// one may be away.
pub(in crate::demo) fn cast(cities: usize) -> Cast {
    Cast {
        agencies: CITIES.get(..cities).unwrap_or(CITIES),
        witnesses: &[TIJUANA, JUAREZ, NUEVO_LAREDO, SAN_DIEGO, EL_PASO, LAREDO],
        need: "2",
        only_call: &[],
        corridor: Some(Corridor { name: "safe-cities", convener: TIJUANA, successors: &[EL_PASO, JUAREZ] }),
    }
}
