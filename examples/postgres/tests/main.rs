//! Rows of PostgreSQL and objects of Perennial, together: on a cluster that is made for these tests
//! and goes away with them.
#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod alone;
mod cluster;
mod resolving;
mod savepoints;
mod scene;
#[path = "../../../tests/support/third.rs"]
mod third;
mod together;
