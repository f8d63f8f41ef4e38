//! Progress of a deployment: a bar, then a spinner. Without a terminal, lines.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{self, Output, time};

/// Time between two frames of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// The compiler reports no percentage. A spinner and the time show that it is alive.
const SPINNER: &str = "{spinner} {msg} {elapsed}";

/// How much of the component has been sent.
const UPLOAD: &str = "{msg} {bar:30} {percent}% {bytes_per_sec}";

/// Progress on standard error. Dropping it clears what it shows on a terminal.
pub(super) struct Progress {
    output: Output,
    bar: ProgressBar,
    step: String,
}

impl Progress {
    pub(super) fn new(output: Output) -> Self {
        let shown = output::stderr_is_terminal() && !output.is_json();
        let bar = if shown { ProgressBar::no_length() } else { ProgressBar::hidden() };
        bar.set_style(style(SPINNER));
        Self { output, bar, step: String::new() }
    }

    /// Shows that the module at `source` is pulled from a registry.
    pub(super) fn pull(&mut self, source: &str, bytes: u64) {
        let step = format!("pulling {} ({})", output::visible(last(source)), time::bytes(bytes));
        self.begin(&step, SPINNER);
        self.bar.enable_steady_tick(TICK);
    }

    /// Shows the upload of what is from `source`. Returns a function to call with the bytes of each piece
    /// sent.
    pub(super) fn upload(&mut self, source: &str, bytes: u64) -> Box<dyn Fn(u64) + Send> {
        let name = last(source);
        self.bar.set_length(bytes);
        self.begin(&format!("uploading {} ({})", output::visible(name), time::bytes(bytes)), UPLOAD);
        let bar = self.bar.clone();
        Box::new(move |sent| bar.inc(sent))
    }

    /// Shows the step that the node reports.
    pub(super) fn step(&mut self, stage: &str, done: u64, total: u64) {
        let text = match (done, total) {
            (_, 0) => stage.to_owned(),
            (0, total) => format!("{stage} {total} wasm functions"),
            (done, total) => format!("{stage} {done} of {total}"),
        };
        self.begin(&output::visible(&text), SPINNER);
        self.bar.enable_steady_tick(TICK);
    }

    fn begin(&mut self, step: &str, template: &str) {
        if self.step == step {
            return;
        }
        step.clone_into(&mut self.step);
        if self.bar.is_hidden() {
            self.output.talk(step);
        } else {
            // The style comes first; otherwise the next frame shows the new step in the old style.
            self.bar.set_style(style(template));
            self.bar.set_message(step.to_owned());
            self.bar.reset();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The last part of a path or of a reference.
fn last(source: &str) -> &str {
    source.rsplit('/').next().unwrap_or_default()
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants in this file")
}
