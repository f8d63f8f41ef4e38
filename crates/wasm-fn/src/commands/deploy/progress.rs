//! What is seen while a deployment is under way: a bar, then a spinner; lines without a terminal.

use std::{path::Path, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{self, Output, time};

/// Time between two pictures of the spinner.
const TICK: Duration = Duration::from_millis(100);

/// The compiler gives no percentage: a spinner and the time say that it is alive.
const SPINNER: &str = "{spinner} {msg} {elapsed}";

/// What of the component has been sent.
const UPLOAD: &str = "{msg} {bar:30} {percent}% {bytes_per_sec}";

/// Progress on standard error; what a terminal shows is cleared when this is dropped.
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

    /// The upload of `file` begins; gives what is told how much was sent.
    pub(super) fn upload(&mut self, file: &Path, bytes: u64) -> Box<dyn Fn(u64) + Send> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        self.bar.set_length(bytes);
        self.begin(&format!("uploading {} ({})", output::visible(&name), time::bytes(bytes)), UPLOAD);
        let bar = self.bar.clone();
        Box::new(move |sent| bar.inc(sent))
    }

    /// The node says where it is.
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
            // The style first, or the next picture is the new step in the old one's.
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

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are written here")
}
