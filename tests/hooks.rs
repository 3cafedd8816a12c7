//! Laws of hooks and synchronizers.
