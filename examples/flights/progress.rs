//! A bar for what takes long, drawn on a terminal only.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that is full at `length`.
pub fn bar(what: &'static str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(what);
    match ProgressStyle::with_template("{msg:16} {wide_bar} {percent:>3} %") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
