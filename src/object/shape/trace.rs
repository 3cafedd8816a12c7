//! Finding the shape of a type: [`trace`].
//!
//! Serde describes a type only by asking for its parts. So values are made up and deserialized,
//! again and again, each time another variant of the enums that are not known yet, and what is
//! asked for is noted in a [`Sketch`], which becomes the shape in the end.
//!
//! # Invariants
//! - The number of values made up is bounded ([`MAX_PASSES`]), whatever the type.
//! - The same type gives the same shape in every process.

use super::Shape;
use super::dummy::Dummy;
use super::sketch::Sketch;
use crate::object::codec::Fault;
use serde::de::DeserializeOwned;

/// How many values are made up for a type, at most.
const MAX_PASSES: usize = 4096;

/// How many values may teach nothing before the rest is given up as opaque, for every variant
/// that is known: this is how long it takes to come round to another choice everywhere.
const PATIENCE: usize = 64;

/// The shape of `T`.
///
/// # Errors
/// For a type that cannot be read from bytes without names.
pub(super) fn trace<T: DeserializeOwned>() -> Result<Shape, Fault> {
    let mut sketch = Sketch::default();
    let root = sketch.node();
    let mut idle = 0;
    for _ in 0..MAX_PASSES {
        let before = sketch.learned;
        // What went wrong with a value is noted in the sketch; the value itself is of no interest.
        let _ = T::deserialize(Dummy::new(&mut sketch, root));
        if let Some(refusal) = sketch.refusal.take() {
            return Err(Fault::new(refusal));
        }
        if sketch.is_complete(root) {
            break;
        }
        idle = if sketch.learned == before { idle + 1 } else { 0 };
        if idle > PATIENCE + sketch.variants() {
            break;
        }
    }
    Ok(sketch.shape(root))
}
