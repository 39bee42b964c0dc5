//! Groups of nodes of two nations, with real certificates, kept on disks that lose whatever was not written.

mod corridor;
mod forgers;
mod hostile;
mod life;
mod order;
mod storage;
mod walks;
mod world;
