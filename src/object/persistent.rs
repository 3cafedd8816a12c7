//! What a type must say of itself to be stored: [`Persistent`].
//!
//! Applications implement it, by hand and in one line. Connections use it for every object; the
//! codec below knows serde's traits only.
//!
//! # Invariants
//! - A stored type is known by [`Persistent::NAME`], never by its path in the program.

use crate::error::{CodecFailure, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// A type whose values can be objects of a database.
///
/// Most types need a name and nothing else:
///
/// ```
/// use perennial::Persistent;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Account { owner: String, cents: i64 }
/// impl Persistent for Account { const NAME: &'static str = "bank.Account"; }
/// ```
///
/// One whose fields have changed since it was first stored says how to read its past:
///
/// ```
/// use perennial::{Error, Persistent, Result, decode_as};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Account { owner: String, cents: i64 }
///
/// /// Before 2024, amounts were kept in euros.
/// #[derive(Deserialize)]
/// struct Account0 { owner: String, euros: i32 }
///
/// impl Persistent for Account {
///     const NAME: &'static str = "bank.Account";
///     const VERSION: u32 = 1;
///
///     fn upgrade(version: u32, state: &[u8]) -> Result<Self> {
///         match version {
///             0 => {
///                 let old: Account0 = decode_as(state)?;
///                 Ok(Account { owner: old.owner, cents: i64::from(old.euros) * 100 })
///             }
///             _ => Err(Error::other(format!("no account was ever of version {version}"))),
///         }
///     }
/// }
/// ```
///
/// What serde skips (`#[serde(skip)]`) is not part of the object. Neither is what changes inside
/// a cell, a lock or an atomic: an object changes by `modify` only.
///
/// Prefer ordered collections: a `HashMap` or `HashSet` encodes in another order every time, so
/// that a change which changed nothing is stored all the same.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an object of a database",
    label = "this type is not `Persistent`",
    note = "derive `Clone`, `serde::Serialize` and `serde::Deserialize`, and give it a name: \
            `impl Persistent for {Self} {{ const NAME: &'static str = \"app.Name\"; }}`"
)]
pub trait Persistent: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The name under which its values are stored, for ever: the Rust type may be renamed and
    /// moved. Dotted, by custom: `"bank.Account"`.
    const NAME: &'static str;

    /// Counts the changes of its fields, kinds and order of fields included. Older stored
    /// versions go through [`upgrade`](Persistent::upgrade).
    const VERSION: u32 = 0;

    /// Names that it was stored under in the past, and can still be read under.
    const ALIASES: &'static [&'static str] = &[];

    /// Reads a value that was stored as an older version.
    ///
    /// `state` is what [`decode_as`](crate::decode_as) takes. The result is stored in the new
    /// version when the object changes next.
    ///
    /// # Errors
    /// What the implementation says; the default knows no version but the present one.
    fn upgrade(version: u32, state: &[u8]) -> Result<Self> {
        let what = format!(
            "version {version} ({} bytes) cannot be upgraded to version {}: it has no upgrade",
            state.len(),
            Self::VERSION
        );
        Err(CodecFailure::new(Self::NAME, what).into())
    }

    /// The name in full: that of values of this very type. Only a generic type has to say it, since
    /// with other parameters it has other fields, and what is stored under one name has one shape.
    ///
    /// ```
    /// use perennial::Persistent;
    /// use serde::{Deserialize, Serialize};
    /// use std::borrow::Cow;
    ///
    /// #[derive(Clone, Serialize, Deserialize)]
    /// struct Draft<T> { text: T, ready: bool }
    ///
    /// impl<T: Persistent> Persistent for Draft<T> {
    ///     const NAME: &'static str = "press.Draft";
    ///
    ///     fn type_name() -> Cow<'static, str> {
    ///         format!("{}<{}>", Self::NAME, T::type_name()).into()
    ///     }
    /// }
    /// ```
    ///
    /// It is asked for when a database first meets the type, and for messages.
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed(Self::NAME)
    }

    /// Merges two changes that were made to one object at the same time: from `original`, others
    /// committed `committed` while this transaction wanted `mine`.
    ///
    /// `None` declines, and the transaction conflicts. It must depend on its arguments alone;
    /// references can be compared and copied here, not followed.
    fn resolve_conflict(original: &Self, committed: &Self, mine: &Self) -> Option<Self> {
        let _ = (original, committed, mine);
        None
    }
}
