//! Who may stand in a group, as the charter says.

use puente_group::{LeafError, Trust};

use crate::sim::world::{Amendment, charter, uri};

#[test]
fn the_charter_says_who_may_stand_in_a_group() {
    let trust = Trust::of(&charter(Amendment { suspended: Some(1), ..Amendment::default() })).unwrap();
    assert_eq!(trust.active(&uri(0)), Ok(()));
    assert_eq!(trust.active(&uri(1)), Err(LeafError::Suspended(uri(1))));
    let stranger: puente_model::NodeUri = "puente://us/stranger/n1".parse().unwrap();
    assert_eq!(trust.active(&stranger), Err(LeafError::NotInCharter(stranger.clone())));
}
