//! The simulated disk of the library's own tests, and files as maps of bytes.

#![allow(dead_code, reason = "a target needs less of it than the tests do")]
#![allow(missing_debug_implementations)]

#[path = "../../tests/support/faults.rs"]
pub mod faults;
#[path = "../../tests/support/files.rs"]
pub mod files;
#[path = "../../tests/support/platter.rs"]
pub mod platter;
#[path = "../../tests/support/rng.rs"]
pub mod rng;
#[path = "../../tests/support/sim.rs"]
pub mod sim;
#[path = "../../tests/support/sparse.rs"]
pub mod sparse;
