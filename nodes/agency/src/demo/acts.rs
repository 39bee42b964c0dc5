//! The questions: a stolen vehicle, two firearms, a statute, nonsense, a domestic one.

use puente_catalogue::Lang;
use puente_model::Step;
use puente_wire::{Entry, PairKind};
use serde_json::Value;

use super::cast::{CA_DOJ, FGE_BC, FGR, TX_DPS};
use super::records::{Firearm, Vehicle, break_check_digit, with_gap};
use super::stage::{Question, Stage};
use super::text_of;
use super::words::Text;
use crate::cli::Failure;

/// Outcomes, as `puente query` names them.
const HIT: &str = "HIT_UNCONFIRMED";
const NO_HIT: &str = "NO_HIT";

const VEHICLES_1981: &str = "mx-us-stolen-vehicles-1981";
const MLAT_1987: &str = "mx-us-mlat-1987";
const LGSNSP_2009: &str = "mx-lgsnsp-2009";

/// The question of the first act, whatever its VIN.
pub(super) fn about_vehicle<'q>(params: &'q [(&'q str, &'q str)]) -> Question<'q> {
    Question {
        asker: FGE_BC,
        holder: TX_DPS,
        kind: "vehicle.status",
        step: "1",
        purpose: "vehicle-recovery",
        basis: VEHICLES_1981,
        officer: "o-1042",
        params,
        more: &[],
    }
}

/// A firearm question under the treaty of 1987.
fn about_firearm<'q>(params: &'q [(&'q str, &'q str)]) -> Question<'q> {
    Question { kind: "firearm.status", purpose: "arms-trafficking", basis: MLAT_1987, ..about_vehicle(params) }
}

impl Stage {
    /// A vehicle that this agency seeks.
    pub(super) fn vehicle(&self, agency: &str, n: usize) -> Result<Vehicle, Failure> {
        let vehicles = self.holdings.get(agency).map(|h| h.vehicles.as_slice()).unwrap_or_default();
        let missing = || Failure::unavailable("demo", format!("{agency} has no vehicle to ask about"));
        vehicles.get(n % vehicles.len().max(1)).cloned().ok_or_else(missing)
    }

    fn firearm(&self, agency: &str) -> Result<Firearm, Failure> {
        let firearms = self.holdings.get(agency).and_then(|h| h.firearms.first()).cloned();
        firearms.ok_or_else(|| Failure::unavailable("demo", format!("{agency} has no firearm to ask about")))
    }

    /// Hit, confirmation by a person, core data.
    pub(super) fn stolen_vehicle(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActVehicle);
        let vin = self.vehicle(TX_DPS.id, 0)?.vin;
        let (asker, holder) = (self.name(FGE_BC), self.name(TX_DPS));
        self.teller.say(Text::VehicleStory, &[&asker, &holder, &vin]);
        let params = [("vin", vin.as_str())];
        let hit = self.ask(&about_vehicle(&params))?;
        let holds = hit.conclusion() == "answered" && hit.outcome() == HIT && hit.fields().is_empty();
        self.teller.expect(holds, Text::HitNothing, &[], &hit.why());
        self.expect_both(FGE_BC, TX_DPS, hit.exchange(), &[PairKind::Query, PairKind::Answer], Text::BothLogs)?;

        self.teller.say(Text::Confirmed, &[]);
        let confirms = hit.text(&["answer_leaf"]).to_owned();
        let facts = "Vehicle found abandoned in Tijuana; the VIN was read on the frame and on the door plate.";
        let more = ["--confirms", &confirms, "--facts", facts, "--offence", "vehicle theft"];
        let core = self.ask(&Question { step: "2", more: &more, ..about_vehicle(&params) })?;
        for (name, value) in core.fields() {
            let field = self.catalogue.record_type("Vehicle").and_then(|t| t.field(name));
            let label = field.map_or(name, |f| f.labels.get(self.teller.lang)).to_owned();
            let value = field.map_or_else(|| value.to_owned(), |f| f.display(value, self.teller.lang));
            self.teller.row(&label, &value);
        }
        let mut names: Vec<&str> = core.fields().into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        let expected = self.core_fields(&vin)?;
        let right = core.conclusion() == "answered"
            && !names.is_empty()
            && names == expected.iter().map(String::as_str).collect::<Vec<_>>()
            && core.fields().contains(&("vin", vin.as_str()));
        self.teller.expect(right, Text::CoreReleased, &[&names.len().to_string()], &core.why());
        let kept = core.ran.value.to_string();
        let withheld =
            right && !["theft_place", "agency_case", "US-48", TX_DPS.case_prefix].iter().any(|w| kept.contains(w));
        self.teller.expect(withheld, Text::Withheld, &[], "");
        let kinds = [PairKind::Query, PairKind::Answer, PairKind::Release];
        self.expect_both(FGE_BC, TX_DPS, core.exchange(), &kinds, Text::BothLogs)?;
        self.released = core.exchange().to_owned();
        Ok(())
    }

    /// The fields that the record in the holder's own file has and that step 2 reveals at most, sorted.
    fn core_fields(&self, vin: &str) -> Result<Vec<String>, Failure> {
        let missing = || Failure::unavailable("demo", "the vehicle is not in the file that was imported");
        let of = self.catalogue.record_type("Vehicle").ok_or_else(missing)?;
        let file = self.holdings.get(TX_DPS.id).and_then(|h| h.files.first()).ok_or_else(missing)?;
        let mut lines = file.text.lines();
        let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let row: Vec<&str> = lines.find(|l| l.starts_with(vin)).ok_or_else(missing)?.split(',').collect();
        let allowed = of.names_of(of.default_mask(Step::CoreData));
        let mut out: Vec<String> = header
            .iter()
            .zip(row)
            .filter(|(_, value)| !value.is_empty())
            .filter_map(|(column, _)| of.field_of_column(column).map(|f| f.name.clone()))
            .filter(|name| allowed.contains(&name.as_str()))
            .collect();
        out.sort_unstable();
        Ok(out)
    }

    /// A no-hit abroad, and a hit on a number with a gap in the other direction.
    pub(super) fn firearms(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActFirearms);
        let unknown = self.source.unknown_firearm();
        let (asker, holder) = (self.name(FGE_BC), self.name(CA_DOJ));
        self.teller.say(Text::NoHitStory, &[&asker, &holder, &unknown.make, &unknown.serial]);
        let params = [("serial", unknown.serial.as_str()), ("make", &unknown.make), ("calibre", &unknown.calibre)];
        let none = self.ask(&Question { holder: CA_DOJ, officer: "o-2001", ..about_firearm(&params) })?;
        let holds = none.conclusion() == "answered" && none.outcome() == NO_HIT && none.fields().is_empty();
        self.teller.expect(holds, Text::NoHit, &[], &none.why());
        self.expect_both(FGE_BC, CA_DOJ, none.exchange(), &[PairKind::Query, PairKind::Answer], Text::BothLogs)?;

        let known = self.firearm(FGR.id)?;
        let gap = with_gap(&known.serial);
        let (asker, holder) = (self.name(TX_DPS), self.name(FGR));
        self.teller.say(Text::GapStory, &[&asker, &known.make, &gap, &holder]);
        let params = [("serial", gap.as_str()), ("make", &known.make), ("calibre", &known.calibre)];
        let question = Question { asker: TX_DPS, holder: FGR, officer: "o-77", ..about_firearm(&params) };
        let near = self.ask(&question)?;
        let holds = near.conclusion() == "answered" && near.outcome() == HIT && near.fields().is_empty();
        self.teller.expect(holds, Text::GapHit, &[], &near.why());
        self.expect_both(TX_DPS, FGR, near.exchange(), &[PairKind::Query, PairKind::Answer], Text::BothLogs)
    }

    /// A refusal that a statute demands.
    pub(super) fn statutory_refusal(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActRefusal);
        let vehicle = self.vehicle(CA_DOJ.id, 0)?;
        // In a corridor the federal prosecutor only calls, and never meets California.
        let (by, officer) = if self.training { (FGR, "o-3007") } else { (FGE_BC, "o-1042") };
        let (asker, holder) = (self.name(by), self.name(CA_DOJ));
        self.teller.say(Text::RefusalStory, &[&asker, &holder]);
        let params = [("plate", vehicle.plate.as_str()), ("plate_jurisdiction", &vehicle.plate_jurisdiction)];
        let question = Question { asker: by, holder: CA_DOJ, kind: "plate.status", officer, ..about_vehicle(&params) };
        let refused = self.ask(&question)?;
        let (reason, rule) = (refused.text(&["reason"]).to_owned(), refused.text(&["explanation", "rule"]).to_owned());
        let words = [("en", "text_en"), ("es", "text_es")]
            .map(|(lang, key)| (lang, refused.text(&["explanation", key]).to_owned()));
        let holds = refused.conclusion() == "refused"
            && reason == "statutory-bar"
            && rule == "bar-plates-abroad"
            && !refused.exchange().is_empty()
            && words.iter().all(|(_, text)| text.contains("1798.90.5"));
        self.teller.expect(holds, Text::RefusedStatute, &[&reason, &rule], &refused.why());
        for (lang, text) in &words {
            self.teller.row(lang, text);
        }
        let kinds = [PairKind::Query, PairKind::Refusal];
        self.expect_both(by, CA_DOJ, refused.exchange(), &kinds, Text::BothLogsRefusal)?;
        // As the log is now, for the operator who will show it again when it is old.
        let (live, kept) = (self.at("copies/live/us-ca-doj"), self.at("copies/earlier/us-ca-doj"));
        super::copies::copy_folder(live.as_ref(), kept.as_ref())
    }

    /// Nonsense that never leaves the building.
    pub(super) fn malformed(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActMalformed);
        let before = [self.pairs_between(FGE_BC, TX_DPS)?.len(), self.pairs_between(TX_DPS, FGE_BC)?.len()];
        let vin = self.vehicle(TX_DPS.id, 0)?.vin;
        let misread = break_check_digit(&vin);
        let params = [("vin", misread.as_str())];
        let bad_vin = self.ask(&about_vehicle(&params))?;
        let right = [("vin", vin.as_str())];
        let bad_purpose = self.ask(&Question { purpose: "arms-trafficking", ..about_vehicle(&right) })?;
        let mut holds = true;
        for (label, asked) in [(Text::BadVin, &bad_vin), (Text::BadPurpose, &bad_purpose)] {
            let error = asked.ran.value.get("error").unwrap_or(&Value::Null);
            let details =
                error.get("details").and_then(Value::as_array).and_then(|d| d.first()).unwrap_or(&Value::Null);
            let mend = match text_of(details, &["mend"]) {
                "" => text_of(error, &["hint"]),
                mend => mend,
            };
            let message = match text_of(details, &["message"]) {
                "" => text_of(error, &["message"]),
                message => message,
            };
            holds &= asked.ran.code == 2 && !mend.is_empty() && !message.is_empty();
            let (label, told) = (self.teller.text(label, &[]), format!("{message}; {mend}"));
            self.teller.row(&label, &told);
        }
        let after = [self.pairs_between(FGE_BC, TX_DPS)?.len(), self.pairs_between(TX_DPS, FGE_BC)?.len()];
        let why = format!("{}; {}", bad_vin.why(), bad_purpose.why());
        self.teller.expect(holds && before == after, Text::NothingSent, &[], &why);
        Ok(())
    }

    /// An exchange that the other nation's auditors see as commitments only.
    pub(super) fn domestic(&mut self) -> Result<(), Failure> {
        self.teller.act(Text::ActDomestic);
        let vin = self.vehicle(FGR.id, 0)?.vin;
        let (asker, holder) = (self.name(FGE_BC), self.name(FGR));
        self.teller.say(Text::DomesticStory, &[&asker, &holder]);
        let before = [self.copy(FGE_BC)?.entries.len(), self.copy(FGR)?.entries.len()];
        let params = [("vin", vin.as_str())];
        let hit = self.ask(&Question { holder: FGR, basis: LGSNSP_2009, ..about_vehicle(&params) })?;
        let mut veiled = true;
        for (agency, before) in [FGE_BC, FGR].into_iter().zip(before) {
            let copy = self.copy(agency)?;
            let new = copy.entries.get(before..).unwrap_or_default();
            let names = |bytes: &[u8]| [FGE_BC.id, FGR.id].iter().any(|id| contains(bytes, id.as_bytes()));
            let hidden = |bytes: &Vec<u8>| matches!(Entry::decode(bytes), Ok(Entry::Veiled(_))) && !names(bytes);
            veiled &= new.iter().filter(|b| hidden(b)).count() >= 2
                // Epochs of groups begin whoever asks whom.
                && new.iter().all(|b| hidden(b) || matches!(Entry::decode(b), Ok(Entry::Seeds(_) | Entry::Group(_))));
        }
        let holds = hit.conclusion() == "answered" && hit.outcome() == HIT && veiled;
        self.teller.expect(holds, Text::DomesticHit, &[], &hit.why());
        Ok(())
    }

    /// How to ask a served node.
    pub(super) fn sample_question(&self) -> String {
        let [asker, .., holder] = self.cast.agencies else { return String::new() };
        let vin = self.vehicle(holder.id, 1).map(|v| v.vin).unwrap_or_default();
        let officer = asker.officers.first().map_or("", |(id, ..)| id);
        let params = [("vin", vin.as_str())];
        let question = Question { asker, holder, officer, ..about_vehicle(&params) };
        let args = question.args(&self.node_dir(asker));
        let lang = if self.teller.lang == Lang::Es { " --lang es" } else { "" };
        let line = args.join(" ").replace(" --to", " \\\n     --to").replace(" --purpose", " \\\n     --purpose");
        let line = line.replace(" --officer", " \\\n     --officer").replace(" query", " \\\n     query");
        format!("   {}{lang} {line}", self.program.path().display())
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|w| w == part)
}
