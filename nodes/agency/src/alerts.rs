//! Alerts, as the control socket shows them.

use puente_exchange::alerts::{AlertDraft, Hop, Standing};
use puente_model::{
    AlertCategory, AlertCertainty, AlertSeverity, Digest, Handling, Lang, LegalBasisId, Millis, NodeUri, OfficerId,
    Purpose,
};
use puente_wire::{Alert, AlertText, Officer};
use serde::{Deserialize, Serialize};

use crate::control_api::text;

/// What happened and what to do, in one language.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// en or es.
    #[serde(with = "text")]
    pub lang: Lang,
    /// What happened.
    pub headline: String,
    /// What to do; may be empty.
    #[serde(default)]
    pub action: String,
}

/// An alert to be published.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wished {
    /// Name of the group.
    pub group: String,
    /// What it is about.
    #[serde(with = "text")]
    pub category: AlertCategory,
    /// How severe that is.
    #[serde(with = "text")]
    pub severity: AlertSeverity,
    /// How certain.
    #[serde(with = "text")]
    pub certainty: AlertCertainty,
    /// Where, in words.
    pub area: String,
    /// How long ago it was seen, in milliseconds before the node reads this.
    pub seen_millis_ago: u64,
    /// How long it stands, in milliseconds from when the node reads this.
    pub stands_millis: u64,
    /// How it is to be handled.
    #[serde(with = "text")]
    pub handling: Handling,
    /// What happened and what to do, once a language.
    pub texts: Vec<Words>,
    /// Why it is published.
    #[serde(with = "text")]
    pub purpose: Purpose,
    /// On which legal basis.
    #[serde(with = "text")]
    pub basis: LegalBasisId,
    /// Who.
    #[serde(with = "text")]
    pub officer: OfficerId,
}

impl std::fmt::Debug for Wished {
    // Texts name persons, plates and places.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wished({} {} to {})", self.severity, self.category, self.group)
    }
}

impl Wished {
    /// The alert as the engine takes it, by this officer.
    pub(crate) fn draft(self, officer: Officer, now: Millis) -> AlertDraft {
        let mut texts: Vec<AlertText> = self
            .texts
            .into_iter()
            .map(|words| AlertText { lang: words.lang, headline: words.headline, action: words.action })
            .collect();
        texts.sort_by_key(|text| text.lang.as_str());
        let alert = Alert {
            group: self.group,
            category: self.category,
            severity: self.severity,
            certainty: self.certainty,
            area: self.area,
            observed_at: Millis(now.0.saturating_sub(self.seen_millis_ago)),
            expires_at: now.plus(self.stands_millis),
            handling: self.handling,
            texts,
        };
        AlertDraft { alert, purpose: self.purpose, basis: self.basis, officer }
    }
}

/// A member that an alert of this node's was said to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownHop {
    /// Who.
    #[serde(with = "text")]
    pub node: NodeUri,
    /// When it said that it has it, by this node's clock.
    pub reached_at: Option<String>,
    /// How long after it was signed, in milliseconds.
    pub after_millis: Option<u64>,
    /// When an officer there acknowledged it, by that node's clock.
    pub acknowledged_at: Option<String>,
    /// With which role.
    pub role: Option<String>,
}

/// An alert, and what became of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its id.
    #[serde(with = "text")]
    pub id: Digest,
    /// Who made it; null: this node.
    pub from: Option<String>,
    /// Name of the group; empty as long as only its cancellation came, as everything else that it says.
    pub group: String,
    /// What it is about.
    pub category: String,
    /// How severe that is.
    pub severity: String,
    /// How certain.
    pub certainty: String,
    /// Where.
    pub area: String,
    /// How it is to be handled.
    pub handling: String,
    /// What happened and what to do.
    pub texts: Vec<Words>,
    /// Why it was made.
    pub purpose: Option<String>,
    /// On which legal basis.
    pub basis: Option<String>,
    /// When it was seen.
    pub observed_at: Option<String>,
    /// When it was signed, by its author's clock.
    pub signed_at: String,
    /// When it came here.
    pub delivered_at: Option<String>,
    /// How long after it was signed, in milliseconds; negative where clocks differ.
    pub delivered_after_millis: Option<i64>,
    /// Until when it stands.
    pub expires_at: Option<String>,
    /// It stands: neither over nor cancelled.
    pub stands: bool,
    /// When an officer of this node's acknowledged it.
    pub acknowledged_at: Option<String>,
    /// When it was cancelled.
    pub cancelled_at: Option<String>,
    /// Why.
    pub reason: String,
    /// This node's: the members that it was said to.
    pub hops: Vec<ShownHop>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shown({})", self.id)
    }
}

impl Shown {
    /// An alert as it is shown now.
    pub(crate) fn of(standing: &Standing, now: Millis) -> Self {
        let at = |at: Option<Millis>| at.map(|at| at.to_string());
        let said = standing.alert.as_ref();
        let signed = standing.signed_at;
        let hop = |hop: &Hop| ShownHop {
            node: hop.node.clone(),
            reached_at: at(hop.reached_at),
            after_millis: hop.reached_at.map(|at| at.since(signed)),
            acknowledged_at: at(hop.acknowledged_at),
            role: hop.role.map(|role| role.to_string()),
        };
        let words =
            |text: &AlertText| Words { lang: text.lang, headline: text.headline.clone(), action: text.action.clone() };
        let code = |code: &dyn Fn(&Alert) -> &'static str| said.map(code).unwrap_or_default().to_owned();
        Self {
            id: standing.id,
            from: standing.from.as_ref().map(ToString::to_string),
            group: said.map(|said| said.group.clone()).unwrap_or_default(),
            category: code(&|said| said.category.as_str()),
            severity: code(&|said| said.severity.as_str()),
            certainty: code(&|said| said.certainty.as_str()),
            area: said.map(|said| said.area.clone()).unwrap_or_default(),
            handling: code(&|said| said.handling.as_str()),
            texts: said.map(|said| said.texts.iter().map(words).collect()).unwrap_or_default(),
            purpose: standing.purpose.map(|purpose| purpose.to_string()),
            basis: standing.basis.as_ref().map(ToString::to_string),
            observed_at: at(said.map(|said| said.observed_at)),
            signed_at: signed.to_string(),
            delivered_at: at(standing.delivered_at),
            delivered_after_millis: standing
                .delivered_at
                .map(|at| at.0.cast_signed().wrapping_sub(signed.0.cast_signed())),
            expires_at: at(said.map(|said| said.expires_at)),
            stands: standing.cancelled_at.is_none() && said.is_some_and(|said| said.expires_at > now),
            acknowledged_at: at(standing.acknowledged_at),
            cancelled_at: at(standing.cancelled_at),
            reason: standing.reason.clone(),
            hops: standing.hops.iter().map(hop).collect(),
        }
    }
}
