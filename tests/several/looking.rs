//! Who looks at several databases at once sees all of a transaction, or nothing.
