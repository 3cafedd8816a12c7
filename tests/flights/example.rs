//! The parts of the example that store flights, to be run within a test.
#![allow(dead_code, reason = "what the example asks and prints is not wanted here")]

#[path = "../../examples/flights/importing.rs"]
pub mod importing;
#[path = "../../examples/flights/model.rs"]
pub mod model;
#[path = "../../examples/flights/reading.rs"]
pub mod reading;
