//! Puente's hostile readers: a simulator of many nodes, forgers, crashes at every durable step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, unreachable_pub)]

mod alerts;
mod architecture;
mod binding;
mod casework;
mod catalogue;
mod charter_life;
mod corridors;
mod cosigning;
mod crashes;
mod documents;
mod exchange;
mod fates;
mod forgers;
mod group_questions;
mod groups;
mod inbox;
mod lost_tail;
mod promises;
mod scale;
mod sim;
mod simulator;
mod traces;
mod training;
mod witness;
mod words;
