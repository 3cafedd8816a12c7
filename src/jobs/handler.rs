//! The application's closure for one kind of jobs, its type forgotten: [`Handler`].
//!
//! The runner's builder makes one; `work` calls it with a payload. It decodes, and contains panics.
//!
//! # Invariants
//! - A payload that its type cannot read never reaches the closure.

use super::context::Context;
use super::job::{Failure, Job, panicked};
use super::policy::Policy;
use super::record::{Body, Head};
use crate::error::{CodecFailure, Error, Result};
use crate::object::{codec, shape::Shape};
use std::panic::{AssertUnwindSafe, catch_unwind};
use xxhash_rust::xxh3::xxh3_64;

/// Runs the jobs of one kind.
pub(super) struct Handler {
    pub kind: &'static str,
    aliases: &'static [&'static str],
    pub policy: Policy,
    call: Box<Call>,
}

type Call = dyn Fn(&Context<'_>, &Head, &Body) -> Result<Result<(), Failure>> + Send + Sync;

impl Handler {
    pub fn new<J: Job>(
        policy: Policy,
        handle: impl Fn(&Context<'_>, J) -> Result<(), Failure> + Send + Sync + 'static,
    ) -> Handler {
        let call = Box::new(move |context: &Context<'_>, head: &Head, body: &Body| {
            let job = contained(|| decode::<J>(context.database().tag(), head, body))?;
            // What the closure leaves half done is the application's to judge, as in any thread.
            let ran = catch_unwind(AssertUnwindSafe(|| handle(context, job)));
            Ok(ran.unwrap_or_else(|payload| Err(panicked(&*payload))))
        });
        Handler { kind: J::KIND, aliases: J::ALIASES, policy, call }
    }

    /// Runs a job.
    ///
    /// # Errors
    /// Outside, that the payload cannot be read; inside, the handler's.
    pub fn run(
        &self,
        context: &Context<'_>,
        head: &Head,
        body: &Body,
    ) -> Result<Result<(), Failure>> {
        (self.call)(context, head, body)
    }

    /// The kind and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.kind).chain(self.aliases.iter().copied())
    }
}

/// The job in these bytes.
pub(super) fn decode<J: Job>(tag: u32, head: &Head, body: &Body) -> Result<J> {
    let refuse = |what: String| Error::from(CodecFailure::new(J::KIND, what));
    if head.version > J::VERSION {
        let (stored, here) = (head.version, J::VERSION);
        return Err(refuse(format!("the job is of version {stored}, and here is {here}")));
    }
    if head.version < J::VERSION {
        return J::upgrade(head.version, &body.bytes);
    }
    if head.shape != fingerprint::<J>()? {
        return Err(refuse("its fields changed; give it a new VERSION and an upgrade".into()));
    }
    codec::decode(J::KIND, &body.bytes, tag)
}

/// Reads a job; that runs foreign code, whose panic says no more than an error.
pub(super) fn contained<J>(read: impl FnOnce() -> Result<J>) -> Result<J> {
    let panic = |_| Err(Error::Panicked("reading the job panicked".into()));
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(panic)
}

/// A hash of the shape of a kind: bytes alone would not tell that two fields were swapped.
pub(super) fn fingerprint<J: Job>() -> Result<u64> {
    Ok(xxh3_64(Shape::of::<J>(J::KIND)?.to_string().as_bytes()))
}
