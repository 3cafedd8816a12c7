//! Names: of objects ([`Oid`]), of committed transactions ([`Tid`]), of databases ([`DatabaseId`])
//! and of transactions that span several of them ([`GlobalId`]).
//!
//! The lowest room: every layer speaks these words, and this module knows none of the others.
//!
//! # Invariants
//! - A `Tid` orders like the time it was given at, and its number never runs backwards.
//!
//! Format: docs/format.md, "Numbers".

mod random;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An `Oid` names one object, for ever: it is never given to another object,
/// also after the first one was removed.
///
/// ```
/// use perennial::Oid;
/// assert_eq!(Oid::new(7).to_string(), "7");
/// assert_eq!(Oid::ROOT, Oid::new(0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(u64);

impl Oid {
    /// The object that holds the named roots.
    pub const ROOT: Oid = Oid(0);

    /// The greatest number an object can have; asking for one more is an error, never a wrap.
    pub const MAX: Oid = Oid((1 << 48) - 1);

    /// The oid with this number.
    pub const fn new(number: u64) -> Oid {
        Oid(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oid({})", self.0)
    }
}

/// A `Tid` names a committed transaction.
///
/// Its number is the time of the commit in microseconds since 1970 (UTC), or the last tid plus
/// one where the clock did not advance: tids strictly increase, whatever the clock does.
///
/// ```
/// use perennial::Tid;
/// let tid = Tid::new(1_000_000);
/// assert_eq!(tid.to_string(), "1970-01-01T00:00:01.000000Z");
/// assert!(Tid::ZERO < tid);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(u64);

impl Tid {
    /// Before every transaction: the last tid of an empty database.
    pub const ZERO: Tid = Tid(0);

    /// The greatest tid; nothing can be committed after it.
    pub const MAX: Tid = Tid(u64::MAX);

    /// The tid with this number of microseconds.
    pub const fn new(micros: u64) -> Tid {
        Tid(micros)
    }

    /// Microseconds since 1970 (UTC).
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The tid that a transaction committed at `now` gets when `self` is the last one;
    /// `None` when no tid is left.
    ///
    /// ```
    /// use perennial::Tid;
    /// use std::time::{Duration, UNIX_EPOCH};
    /// let last = Tid::new(500);
    /// assert_eq!(last.next(UNIX_EPOCH + Duration::from_micros(900)), Some(Tid::new(900)));
    /// assert_eq!(last.next(UNIX_EPOCH), Some(Tid::new(501)), "the clock ran backwards");
    /// assert_eq!(Tid::MAX.next(UNIX_EPOCH), None);
    /// ```
    pub fn next(self, now: SystemTime) -> Option<Tid> {
        let clock = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = u64::try_from(clock.as_micros()).unwrap_or(u64::MAX);
        self.0.checked_add(1).map(|least| Tid(clock.max(least)))
    }

    /// The time this tid stands for; `None` beyond what the system's clock can express.
    pub fn time(self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_micros(self.0))
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

impl fmt::Debug for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tid({})", self.0)
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
///
/// Counted from 0000-03-01, so that the leap day is the last day of a year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The digits of sixteen bytes, put into `room`: at once, since every transaction that changes
/// something names its database.
fn hexadecimal<'a>(bytes: &[u8; 16], room: &'a mut [u8; 32]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in room.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    str::from_utf8(room).expect("digits are ASCII")
}

/// Sixteen random bytes, shown as hexadecimal digits.
macro_rules! sixteen_bytes {
    ($(#[$doc:meta])* $name:ident from $source:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id with these bytes.
            pub const fn new(bytes: [u8; 16]) -> $name {
                $name(bytes)
            }

            /// A new id from the system's source of random numbers.
            ///
            /// # Errors
            /// What the system says when it has none to give.
            pub fn random() -> std::io::Result<$name> {
                $source().map($name)
            }

            /// Its bytes.
            pub const fn bytes(self) -> [u8; 16] {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(hexadecimal(&self.0, &mut [0; 32]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

sixteen_bytes! {
    /// A `DatabaseId` names a database: drawn at its creation, kept by its copies.
    DatabaseId from random::fresh
}

sixteen_bytes! {
    /// A `GlobalId` names a transaction in every database and data manager that takes part in it.
    GlobalId from random::stocked
}
