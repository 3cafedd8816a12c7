//! The crash points.
