//! Units of work over any number of data managers.

mod data_manager;

pub use data_manager::{DataManager, Decision, Info, ManagerId, Participant, Prepared, Saved};
