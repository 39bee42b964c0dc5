//! What officers ask.

use puente_exchange::api::Draft;
use puente_model::{Digest, Handling, Mode, Purpose, Role, Step, Urgency};

use super::Sim;
use super::world::{self, uri};

/// A step-1 question by VIN.
pub fn hit_question(sim: &Sim, from: usize, to: usize, vin: &str) -> Draft {
    let domestic = world::nation_of(from) == world::nation_of(to);
    let basis = match (domestic, world::nation_of(from).as_str()) {
        (false, _) => "mx-us-stolen-vehicles-1981",
        (true, "mx") => "mx-lgsnsp-2009",
        _ => "us-28cfr20",
    };
    Draft {
        to: uri(to),
        kind: "vehicle.status".parse().unwrap(),
        step: Step::HitNoHit,
        purpose: Purpose::VehicleRecovery,
        basis: basis.parse().unwrap(),
        handling: Handling::H3,
        officer: world::officer(Role::Investigator),
        case_ref: "C-1/2026".to_owned(),
        params: vec![("vin".to_owned(), vin.to_owned())],
        due_at: sim.clock(from).plus(60_000),
        urgency: Urgency::Routine,
        justification: String::new(),
        facts_statement: String::new(),
        offence: String::new(),
        confirms: None,
        mode: Mode::Open,
        stays: false,
        half: None,
    }
}

/// The step-2 question that follows a confirmed hit.
pub fn core_question(sim: &Sim, from: usize, to: usize, vin: &str, confirms: Digest) -> Draft {
    Draft {
        step: Step::CoreData,
        facts_statement: "seen at the crossing with these plates".to_owned(),
        offence: "vehicle theft".to_owned(),
        confirms: Some(confirms),
        ..hit_question(sim, from, to, vin)
    }
}

/// A question by plate to California from abroad: barred by statute.
pub fn barred_question(sim: &Sim, from: usize, to: usize) -> Draft {
    Draft {
        kind: "plate.status".parse().unwrap(),
        params: vec![("plate".to_owned(), "ABC0001".to_owned())],
        ..hit_question(sim, from, to, "")
    }
}
