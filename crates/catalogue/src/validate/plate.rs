use super::place::{is_country, lists};
use super::{Verdict, squeeze};
use crate::problem::Problem;

const PLATE_CHARS_MAX: usize = 10;

/// States, the district and the territories of the United States (USPS).
const US: &str = "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY \
    NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY AS GU MP PR VI";
/// States of Mexico (ISO 3166-2).
const MX: &str = "AGU BCN BCS CAM CHH CHP CMX COA COL DUR GRO GUA HID JAL MEX MIC MOR NAY NLE OAX PUE QUE ROO SIN SLP \
    SON TAB TAM TLA VER YUC ZAC";

/// A registration plate: upper case, letters and digits only. Look-alike
/// characters stay as they were read; folding them is for search keys only.
pub(super) fn plate(text: &str) -> Verdict {
    let plate = squeeze(text, &['-', '.', '·', '•', '_', '/']);
    if plate.bytes().any(|b| !b.is_ascii_uppercase() && !b.is_ascii_digit()) {
        return Verdict::reject(Problem::BadCharacter);
    }
    match plate.len() {
        0 => Verdict::reject(Problem::Missing),
        1..=PLATE_CHARS_MAX => Verdict::valid(plate),
        _ => Verdict::reject(Problem::BadLength),
    }
}

/// Who issued a plate: `US-TX`, `MX-BCN`, or a country alone where the nation issues plates.
pub(super) fn jurisdiction(text: &str) -> Verdict {
    let code = squeeze(text, &[]).replace(['_', ':', '/'], "-");
    let (country, state) = match code.split_once('-') {
        Some((country, state)) => (country, Some(state)),
        None => (code.as_str(), None),
    };
    if !is_country(country) {
        return Verdict::reject(Problem::BadPlace);
    }
    let known = match (country, state) {
        (_, None) => true,
        ("US", Some(state)) => lists(US, 2, state),
        ("MX", Some(state)) => lists(MX, 3, state),
        (_, Some(state)) => {
            (1..=3).contains(&state.len()) && state.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        }
    };
    if known { Verdict::valid(code) } else { Verdict::reject(Problem::BadPlace) }
}
