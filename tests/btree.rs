//! Laws of trees.

mod bounds;
mod cost;
mod elements;
mod faults;
mod fills;
mod histories;
mod interleaving;
mod iteration;
mod kit;
mod merging;
mod model;
pub mod nodes;
