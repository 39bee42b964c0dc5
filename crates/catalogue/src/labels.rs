use puente_model::Lang;

/// A text for people, in English and in Spanish.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// English.
    pub en: String,
    /// Spanish.
    pub es: String,
}

impl Labels {
    /// The text in a language.
    pub fn get(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Es => &self.es,
        }
    }
}
