//! Random programs against a model of transactions.
