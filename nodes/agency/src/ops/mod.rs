//! What an operator looks at: `/livez`, `/readyz` and `/metrics`, traces for a collector, and the checks that they, `status` and `doctor` share.
//!
//! Promise: ready means that a signed question to this node itself would succeed; each reason against it has its own
//! name. No answer holds an identifier of a person. Thief: whoever reaches the door learns how much the node
//! does, with which nations' nodes it cannot speak, and when its papers end; it can ask for nothing and change nothing.

pub mod check;
pub mod clock;
mod config;
mod door;
pub mod expiry;
pub mod growth;
pub mod meter;
pub mod probe;
pub mod recent;
mod steps;
mod traces;

pub use config::{DRAIN_SECONDS_MAX, OpsConfig, OpsConfigError};
pub use door::{Door, DoorError};
pub use steps::{Followed, Sink, Step, Steps};
pub use traces::{Counted, Traces};
