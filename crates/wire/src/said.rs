//! What members of a group say to all of them.

use std::fmt;

use prost::Message;
use puente_model::{AlertCategory, AlertCertainty, AlertSeverity, Handling, Lang, Millis, limits};

use crate::codec::{bounded, code};
use crate::scan::Repeated;
use crate::{WireError, proto};

/// Bytes of one [`Said`](proto::Said): what one MLS message holds.
pub const SAID_BYTES_MAX: usize = 128 * 1024;

/// The repeated fields of what is said.
pub(crate) const SAID_REPEATED: &[Repeated] =
    &[Repeated { path: &[4, 2], packed: false, max: limits::ASKS_PER_POST_MAX, name: "asks" }];
/// The repeated fields of alerts.
pub(crate) const ALERT_REPEATED: &[Repeated] =
    &[Repeated { path: &[9], packed: false, max: Lang::ALL.len(), name: "texts" }];

/// What happened, and what to do, in one language.
#[derive(Clone, PartialEq, Eq)]
pub struct AlertText {
    /// The language.
    pub lang: Lang,
    /// What happened.
    pub headline: String,
    /// What to do; may be empty.
    pub action: String,
}

/// An alert, after the Common Alerting Protocol 1.2.
#[derive(Clone, PartialEq, Eq)]
pub struct Alert {
    /// Name of the group that it is said to.
    pub group: String,
    /// What it is about.
    pub category: AlertCategory,
    /// How severe that is.
    pub severity: AlertSeverity,
    /// How certain.
    pub certainty: AlertCertainty,
    /// Where, in words.
    pub area: String,
    /// When it was seen.
    pub observed_at: Millis,
    /// Until when it stands.
    pub expires_at: Millis,
    /// How it is to be handled.
    pub handling: Handling,
    /// What happened and what to do, once a language.
    pub texts: Vec<AlertText>,
}

impl fmt::Debug for Alert {
    // Texts name persons, plates and places.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alert({} {} to {})", self.severity, self.category, self.group)
    }
}

impl Alert {
    /// What is wrong with it, in words; none if nothing is.
    pub fn fault(&self) -> Option<&'static str> {
        let bad = |text: &str, max| text.chars().count() > max || text.chars().any(char::is_control);
        let texts = &self.texts;
        let ascending = texts.windows(2).all(|two| two[0].lang.as_str() < two[1].lang.as_str());
        match () {
            () if self.area.trim().is_empty() => Some("an alert says where"),
            () if bad(&self.area, limits::HEADLINE_CHARS_MAX) => Some("the area is too long"),
            () if texts.is_empty() || texts.iter().any(|text| text.headline.trim().is_empty()) => {
                Some("an alert says what happened")
            }
            () if !ascending => Some("an alert says it once a language"),
            () if texts.iter().any(|text| bad(&text.headline, limits::HEADLINE_CHARS_MAX)) => {
                Some("the headline is too long")
            }
            () if texts.iter().any(|text| bad(&text.action, limits::ACTION_CHARS_MAX)) => {
                Some("what is to be done is too long")
            }
            () if self.expires_at <= self.observed_at => Some("an alert ends after what it is about was seen"),
            () => None,
        }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let text = |text: &AlertText| proto::AlertText {
            lang: text.lang.as_str().to_owned(),
            headline: text.headline.clone(),
            action: text.action.clone(),
        };
        proto::Alert {
            group: self.group.clone(),
            category: self.category.code(),
            severity: self.severity.code(),
            certainty: self.certainty.code(),
            area: self.area.clone(),
            observed_at: self.observed_at.0,
            expires_at: self.expires_at.0,
            handling: self.handling.code(),
            texts: self.texts.iter().map(text).collect(),
        }
        .encode_to_vec()
    }

    /// Decodes canonical bytes, within limits.
    ///
    /// # Errors
    /// Other bytes than those that its content encodes to; a code or language that is not known; a text over its limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        bounded(bytes, ALERT_REPEATED)?;
        let raw = proto::Alert::decode(bytes).map_err(|_| WireError::Undecodable("Alert"))?;
        let text = |text: proto::AlertText| {
            let lang = text.lang.parse().map_err(|_| WireError::Field("lang"))?;
            Ok(AlertText { lang, headline: text.headline, action: text.action })
        };
        let alert = Self {
            group: raw.group,
            category: code(AlertCategory::from_code(raw.category), "category")?,
            severity: code(AlertSeverity::from_code(raw.severity), "severity")?,
            certainty: code(AlertCertainty::from_code(raw.certainty), "certainty")?,
            area: raw.area,
            observed_at: Millis(raw.observed_at),
            expires_at: Millis(raw.expires_at),
            handling: code(Handling::from_code(raw.handling), "handling")?,
            texts: raw.texts.into_iter().map(text).collect::<Result<_, WireError>>()?,
        };
        match alert.fault() {
            Some(fault) => Err(WireError::Field(fault)),
            None if alert.encode() != bytes => Err(WireError::NotCanonical("alert")),
            None => Ok(alert),
        }
    }
}

/// Decodes what a member said.
///
/// # Errors
/// Too many bytes or parts; bytes that no content encodes to; nothing said that is known.
pub fn decode_said(bytes: &[u8]) -> Result<proto::said::Body, WireError> {
    if bytes.len() > SAID_BYTES_MAX {
        return Err(WireError::TooLarge { what: "what is said", bytes: bytes.len(), max: SAID_BYTES_MAX });
    }
    bounded(bytes, SAID_REPEATED)?;
    let raw = proto::Said::decode(bytes).map_err(|_| WireError::Undecodable("Said"))?;
    if raw.encode_to_vec() != bytes {
        return Err(WireError::NotCanonical("what is said"));
    }
    raw.body.ok_or(WireError::Field("said"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(lang: Lang) -> AlertText {
        AlertText { lang, headline: "stolen pickup, armed".to_owned(), action: String::new() }
    }

    fn alert() -> Alert {
        Alert {
            group: "frontera/otay".to_owned(),
            category: AlertCategory::Security,
            severity: AlertSeverity::Severe,
            certainty: AlertCertainty::Observed,
            area: "Otay Mesa".to_owned(),
            observed_at: Millis(5),
            expires_at: Millis(6),
            handling: Handling::H1,
            texts: vec![text(Lang::En), text(Lang::Es)],
        }
    }

    #[test]
    fn an_alert_is_read_as_it_was_written_and_in_no_other_bytes() {
        let bytes = alert().encode();
        assert_eq!(Alert::decode(&bytes), Ok(alert()));
        for end in 0..bytes.len() {
            // Without its last text it is another alert.
            let cut = Alert::decode(&bytes[..end]).ok();
            assert!(cut.is_none_or(|cut| cut.texts.len() == 1), "{end}");
        }
        let unknown_field = [bytes.as_slice(), &[0x50, 1]].concat();
        assert!(matches!(Alert::decode(&unknown_field), Err(WireError::NotCanonical(_))));
        assert!(!format!("{:?}", alert()).contains("pickup"));
    }

    #[test]
    fn what_is_wrong_with_an_alert_is_named() {
        let with = |spoil: &dyn Fn(&mut Alert)| {
            let mut alert = alert();
            spoil(&mut alert);
            (alert.fault().is_some(), Alert::decode(&alert.encode()).is_err())
        };
        let spoils: [&dyn Fn(&mut Alert); 9] = [
            &|a| a.area.clear(),
            &|a| a.area = "x".repeat(limits::HEADLINE_CHARS_MAX + 1),
            &|a| a.texts.clear(),
            &|a| a.texts.reverse(),
            &|a| a.texts = vec![text(Lang::En), text(Lang::En)],
            &|a| a.texts[0].headline = " ".to_owned(),
            &|a| a.texts[1].headline = "a\u{1b}[2J".to_owned(),
            &|a| a.texts[1].action = "x".repeat(limits::ACTION_CHARS_MAX + 1),
            &|a| a.expires_at = a.observed_at,
        ];
        for (at, spoil) in spoils.into_iter().enumerate() {
            assert_eq!(with(spoil), (true, true), "{at}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_has_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(alert) = Alert::decode(&bytes) {
                prop_assert_eq!(alert.encode(), bytes.clone());
            }
            if let Ok(body) = decode_said(&bytes) {
                prop_assert_eq!(proto::Said { body: Some(body) }.encode_to_vec(), bytes);
            }
        }
    }
}
