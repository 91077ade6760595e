// SPDX-License-Identifier: MIT OR Apache-2.0

//! Progress on standard error: a bar on a terminal, and a line for each step elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

/// Shows the current step, and how long the rest may take.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Progress of so many steps.
    pub(crate) fn new(steps: usize) -> Self {
        let template = "[{pos}/{len}] {msg}, about {eta} left";
        // The template is a constant, so it has no error.
        let style = ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(steps as u64).with_style(style) }
    }

    /// Corrects the number of steps.
    pub(crate) fn expect(&self, steps: usize) {
        self.bar.set_length(steps as u64);
    }

    /// Begins a step.
    pub(crate) fn step(&self, name: &str) {
        self.bar.inc(1);
        self.bar.set_message(name.to_owned());
        if self.bar.is_hidden() {
            let (step, steps) = (self.bar.position(), self.bar.length().unwrap_or_default());
            eprintln!("[{step}/{steps}] {name}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
