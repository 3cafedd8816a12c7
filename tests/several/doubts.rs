//! Promises in doubt: who is asked, who is not, and what holds meanwhile.
