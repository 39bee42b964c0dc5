//! Whose clock shows what: the zones in which people read times beside UTC.

use std::collections::BTreeMap;

use puente_charter::Charter;
use puente_model::{AgencyId, Jurisdiction, NodeUri};
use puente_words::{Clocks, capital_zone};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most entries of `[time_zones]`.
const ZONES_MAX: usize = 1_000;

/// `[time_zones]` of node.toml: the IANA zone of a nation, an agency or a node. The most exact entry counts; a nation
/// without one has the zone of its capital.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimeZones(BTreeMap<String, String>);

impl TimeZones {
    /// Nobody's zone is named.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }

    /// The zone of a node's clock, if any is known.
    pub fn of_node(&self, node: &NodeUri) -> Option<&str> {
        let own = self.0.get(node.as_str()).or_else(|| self.0.get(node.agency().as_str()));
        own.map(String::as_str).or_else(|| self.of_nation(&node.jurisdiction()))
    }

    fn of_nation(&self, nation: &Jurisdiction) -> Option<&str> {
        self.0.get(nation.as_str()).map(String::as_str).or_else(|| capital_zone(nation.as_str()))
    }

    /// The clocks that a time shows which concerns a node and its partners; without partners, the other nations of the
    /// charter.
    pub fn clocks(&self, own: &NodeUri, partners: &[&NodeUri], charter: Option<&Charter>) -> Clocks {
        let partners: Vec<&str> = partners.iter().filter_map(|partner| self.of_node(partner)).collect();
        let others: Vec<&str> = match charter {
            Some(charter) if partners.is_empty() => {
                let others = charter.jurisdictions().filter(|nation| **nation != own.jurisdiction());
                others.filter_map(|nation| self.of_nation(nation)).collect()
            }
            _ => partners,
        };
        Clocks::of(self.of_node(own).into_iter().chain(others), jiff::tz::db())
    }
}

impl<'de> Deserialize<'de> for TimeZones {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let zones = BTreeMap::<String, Zone>::deserialize(from)?;
        if zones.len() > ZONES_MAX {
            return Err(D::Error::custom(format!("[time_zones] has more than {ZONES_MAX} entries")));
        }
        for whose in zones.keys() {
            let known = whose.parse::<Jurisdiction>().is_ok()
                || whose.parse::<AgencyId>().is_ok()
                || whose.parse::<NodeUri>().is_ok();
            if !known {
                let shown = whose.escape_debug();
                return Err(D::Error::custom(format!("'{shown}' is neither a nation nor an agency nor a node")));
            }
        }
        Ok(Self(zones.into_iter().map(|(whose, Zone(zone))| (whose, zone)).collect()))
    }
}

impl Serialize for TimeZones {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

/// The name of a zone that exists.
struct Zone(String);

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        match jiff::tz::db().get(&name) {
            Ok(_) => Ok(Self(name)),
            Err(_) => Err(D::Error::custom(format!("'{}' is no IANA time zone", name.escape_debug()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NodeConfig;
    use puente_model::Millis;

    fn config(zones: &str) -> Result<NodeConfig, crate::config::ConfigError> {
        let text = "node = \"puente://mx/fge-bc/n1\"\nlisten = \"127.0.0.1:1\"\n[time_zones]\n";
        NodeConfig::parse("node.toml", &format!("{text}{zones}"))
    }

    #[test]
    fn the_most_exact_entry_counts() {
        let named = "mx = \"America/Monterrey\"\n\"us/tx-dps\" = \"America/Chicago\"\n\
                     \"puente://us/tx-dps/n2\" = \"America/Denver\"\n";
        let zones = config(named).unwrap().time_zones;
        let of = |uri: &str| zones.of_node(&uri.parse().unwrap()).map(str::to_owned);
        assert_eq!(of("puente://mx/fge-bc/n1").as_deref(), Some("America/Monterrey"));
        assert_eq!(of("puente://us/tx-dps/n1").as_deref(), Some("America/Chicago"));
        assert_eq!(of("puente://us/tx-dps/n2").as_deref(), Some("America/Denver"));
        assert_eq!(of("puente://us/ca-doj/n1").as_deref(), Some("America/New_York"), "the capital's");
        assert_eq!(of("puente://gt/mp/n1"), None, "UTC alone rather than a guess");
        let own: NodeUri = "puente://mx/fge-bc/n1".parse().unwrap();
        let peer: NodeUri = "puente://us/tx-dps/n1".parse().unwrap();
        assert_eq!(
            zones.clocks(&own, &[&peer], None).instant(Millis(1_800_036_000_000)),
            "2027-01-15 18:00 UTC (12:00 America/Monterrey -06:00, 12:00 America/Chicago -06:00)"
        );
    }

    #[test]
    fn wrong_names_are_refused_with_their_place() {
        let error = config("mx = \"America/Tihuana\"\n").unwrap_err();
        assert_eq!(error.at, Some((4, 6)), "{error}");
        assert!(error.to_string().contains("'America/Tihuana' is no IANA time zone"), "{error}");
        assert!(error.mend.contains("America/Tijuana"), "{error:?}");
        let error = config("Mexico = \"America/Tijuana\"\n").unwrap_err();
        assert!(error.to_string().contains("'Mexico' is neither a nation"), "{error}");
        let many: String = (0..=ZONES_MAX).map(|n| format!("\"mx/a{n}\" = \"America/Tijuana\"\n")).collect();
        assert!(config(&many).unwrap_err().to_string().contains("more than 1000"));
        assert!(config(&many.replacen("\"mx/a0\" = \"America/Tijuana\"\n", "", 1)).is_ok());
    }
}
