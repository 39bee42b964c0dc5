//! The `.proto` files that every catalogue has, as text in the program.

pub(crate) const OPTIONS: &str = "puente/v1/catalogue_options.proto";

/// Path and text.
pub(crate) const FILES: &[(&str, &str)] = &[
    (OPTIONS, include_str!("../../../proto/puente/v1/catalogue_options.proto")),
    ("puente/v1/firearm.proto", include_str!("../../../proto/puente/v1/firearm.proto")),
    ("puente/v1/detention.proto", include_str!("../../../proto/puente/v1/detention.proto")),
    ("puente/v1/missing.proto", include_str!("../../../proto/puente/v1/missing.proto")),
    ("puente/v1/person.proto", include_str!("../../../proto/puente/v1/person.proto")),
    ("puente/v1/person_queries.proto", include_str!("../../../proto/puente/v1/person_queries.proto")),
    ("puente/v1/wanted.proto", include_str!("../../../proto/puente/v1/wanted.proto")),
    ("puente/v1/plate_read.proto", include_str!("../../../proto/puente/v1/plate_read.proto")),
    ("puente/v1/trace.proto", include_str!("../../../proto/puente/v1/trace.proto")),
    ("puente/v1/seizure.proto", include_str!("../../../proto/puente/v1/seizure.proto")),
    ("puente/v1/series.proto", include_str!("../../../proto/puente/v1/series.proto")),
    ("puente/v1/vehicle.proto", include_str!("../../../proto/puente/v1/vehicle.proto")),
    ("puente/v1/queries.proto", include_str!("../../../proto/puente/v1/queries.proto")),
];
