//! The job's handler: tells the receiver of an alert.

use crate::http;
use crate::model::{Alert, Delivery, Webhook};
use perennial::{Context, Failure, Policy, Ref, Result, View};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How webhooks are run: several at once, and retried soon, for an example that ends soon.
pub fn policy() -> Policy {
    Policy {
        concurrency: 4,
        backoff: Duration::from_millis(50),
        backoff_cap: Duration::from_secs(1),
        // A receiver that is down is tried by one job at a time, at first after this time.
        probe: Duration::from_millis(50),
        probe_cap: Duration::from_millis(500),
        // The process may die as often as it likes: it is not the webhooks that kill it.
        max_crashes: u32::MAX,
        ..Policy::default()
    }
}

/// Pushes one webhook. It runs after the transaction that asked for it, at least once; the key
/// that it carries is the same at every attempt, so that the receiver can tell.
///
/// One that leaves the machine would carry a signature of key, time and body, too.
pub fn push(ctx: &Context<'_>, job: Webhook, receiver: SocketAddr) -> Result<(), Failure> {
    let key = ctx.idempotency_key();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().to_string();
    let body = ctx.view(|view| message(view, job.alert))?;
    let headers =
        [("content-type", "application/json"), ("webhook-id", &*key), ("webhook-timestamp", &*now)];
    match http::post(receiver, &headers, &body)? {
        200..=299 => {}
        // It will never be taken: a person must look.
        status @ (400 | 401 | 403 | 404 | 410 | 422) => {
            return Err(Failure::permanent(format!("the receiver answered {status}")));
        }
        status => return Err(format!("the receiver answered {status}").into()),
    }
    // That the alert is delivered is written, and the job removed, in one transaction.
    let delivery = Delivery { key, attempt: ctx.attempt() };
    ctx.complete(|conn| conn.modify(job.alert, |alert| alert.delivered = Some(delivery.clone())))?;
    Ok(())
}

/// The message, made from the objects that the alert refers to.
fn message(view: &View, alert: Ref<Alert>) -> Result<String> {
    let flight = view.get(view.get(alert)?.flight)?;
    let (origin, destination) = (view.get(flight.origin)?, view.get(flight.destination)?);
    let message = serde_json::json!({
        "type": "flight.late",
        "flight": flight.number,
        "time": flight.time.to_string(),
        "minutes_late": flight.delay,
        "from": { "iata": origin.iata, "city": origin.city },
        "to": { "iata": destination.iata, "city": destination.city },
    });
    Ok(message.to_string())
}
