//! Names of people as keys: what two offices that write one name differently still share.

use crate::validate::fold;

/// Words that one office writes and another leaves out.
const PARTICLES: &[&str] =
    &["DA", "DAS", "DE", "DEL", "DER", "DI", "DO", "DOS", "E", "EL", "LA", "LAS", "LE", "LOS", "VAN", "VON", "Y"];
/// First names that are passed over before another, as in the CURP.
const COMMON_FIRST: &[&str] = &["MARIA", "MA", "M", "JOSE", "J"];

/// The words of a name, folded, without particles; a name of nothing but particles keeps them.
fn words(name: &str) -> Vec<String> {
    let split = |c: char| !c.is_alphanumeric() && c != '\'' && c != '\u{2019}';
    let all: Vec<String> = name.split(split).map(fold).filter(|w| !w.is_empty()).collect();
    let kept: Vec<String> = all.iter().filter(|w| !PARTICLES.contains(&w.as_str())).cloned().collect();
    if kept.is_empty() { all } else { kept }
}

/// A name as it is compared: its words joined.
pub(crate) fn name_key(name: &str) -> String {
    words(name).concat()
}

/// The given name that people go by.
pub(crate) fn first_name_key(name: &str) -> String {
    let words = words(name);
    let telling = words.iter().find(|w| !COMMON_FIRST.contains(&w.as_str()));
    telling.or(words.first()).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_name_meet() {
        for (a, b) in [
            ("De la Cruz", "CRUZ"),
            ("PEÑA NIETO", "pena-nieto"),
            ("Ortega y Gasset", "ORTEGA GASSET"),
            ("Muñoz de los Ríos", "MUNOZ RIOS"),
            ("O'Brien", "OBRIEN"),
            ("Güereña", "GUERENA"),
            ("Del Ángel", "ANGEL"),
        ] {
            assert_eq!(name_key(a), name_key(b), "{a}");
        }
        assert_ne!(name_key("PEREZ"), name_key("PERES"));
        // A surname that looks like a particle stays.
        assert_eq!(name_key("Le"), "LE");
        assert_eq!(first_name_key("María Guadalupe"), first_name_key("Ma. Guadalupe"));
        assert_eq!(first_name_key("María Guadalupe"), "GUADALUPE");
        assert_eq!(first_name_key("José"), "JOSE");
        assert_eq!(first_name_key("Juan Carlos"), "JUAN");
    }

    proptest! {
        #[test]
        fn accents_case_particles_and_punctuation_never_matter(
            words in proptest::collection::vec("[A-ZÁÉÍÓÚÑÜ]{3,8}", 1..4),
            particle in proptest::sample::select(PARTICLES),
            at in 0_usize..4,
            separator in "[ \\-.]",
        ) {
            let plain = words.join(" ");
            let mut more = words.clone();
            more.insert(at.min(words.len()), particle.to_owned());
            let more = more.join(&separator).to_lowercase();
            // A word that is itself a particle would be dropped from both alike, unless it stands alone.
            prop_assume!(words.iter().any(|w| !PARTICLES.contains(&fold(w).as_str())));
            prop_assert_eq!(name_key(&more), name_key(&plain));
        }

        #[test]
        fn a_key_is_a_fixed_point(name in "\\PC{0,30}") {
            let key = name_key(&name);
            prop_assert_eq!(name_key(&key), key);
        }
    }
}
