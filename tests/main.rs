//! Every test of the library, in one binary: it links once. tests/tidy.rs checks that no file is
//! forgotten here.

mod codec;
mod shapes;
