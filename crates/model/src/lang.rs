use std::fmt;
use std::str::FromStr;

/// A language that Puente speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Spanish.
    Es,
}

/// A language that Puente does not speak.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such language; use en or es")]
pub struct LangError;

impl Lang {
    /// Every language.
    pub const ALL: &'static [Self] = &[Self::En, Self::Es];

    /// The ISO 639-1 code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Es => "es",
        }
    }

    /// The language of a POSIX locale name, for example `es_MX.UTF-8`; none for those that Puente does not speak.
    pub fn of_locale(locale: &str) -> Option<Self> {
        let code = locale.split(['_', '.', '@', '-']).next().unwrap_or_default();
        match code {
            // POSIX's own locale speaks English.
            "C" | "POSIX" => Some(Self::En),
            code => code.to_ascii_lowercase().parse().ok(),
        }
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Lang {
    type Err = LangError;

    fn from_str(text: &str) -> Result<Self, LangError> {
        Self::ALL.iter().copied().find(|lang| lang.as_str() == text).ok_or(LangError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_name_languages() {
        for (locale, lang) in [
            ("es_MX.UTF-8", Some(Lang::Es)),
            ("es", Some(Lang::Es)),
            ("ES-mx", Some(Lang::Es)),
            ("en_US", Some(Lang::En)),
            ("C.UTF-8", Some(Lang::En)),
            ("POSIX", Some(Lang::En)),
            ("fr_FR.UTF-8", None),
            ("", None),
            ("español", None),
        ] {
            assert_eq!(Lang::of_locale(locale), lang, "{locale}");
        }
        for lang in Lang::ALL {
            assert_eq!(lang.to_string().parse(), Ok(*lang));
        }
    }
}
