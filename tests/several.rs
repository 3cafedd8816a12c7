//! Transactions of several databases: both or neither, whatever happens, and never half.

mod crashes;
mod doubts;
mod forged;
mod jobs;
mod kit;
mod looking;
mod reopened;
mod snapshots;
