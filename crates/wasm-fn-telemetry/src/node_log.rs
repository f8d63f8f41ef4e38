//! The node's own log, as its parts write it with `tracing`.

use std::{cell::Cell, fmt, sync::Arc};

use opentelemetry::logs::AnyValue;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::{
    clock::Anchor,
    queue::Queue,
    records::{LogLine, NodeLine},
};

/// Most bytes of a message, and of a field.
const TEXT_BYTES_MAX: usize = 8 << 10;

thread_local! {
    /// Whether this thread sends telemetry. What it logs about that would never end.
    static SENDS: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as one that sends telemetry.
pub(crate) fn mute_this_thread() {
    SENDS.with(|sends| sends.set(true));
}

/// Hands what the node logs to the queue of logs.
#[derive(Debug)]
pub struct NodeLog {
    pub(crate) queue: Arc<Queue<LogLine>>,
}

impl<S: Subscriber> Layer<S> for NodeLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if SENDS.with(Cell::get) {
            return;
        }
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = NodeLine {
            at: Anchor::now().time(),
            level: *metadata.level(),
            target: metadata.target(),
            message: fields.message,
            fields: fields.rest,
        };
        self.queue.offer(LogLine::Node(Box::new(line)));
    }
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, AnyValue)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: AnyValue) {
        self.rest.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = format!("{value:?}");
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = value[..value.floor_char_boundary(TEXT_BYTES_MAX)].to_owned();
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, text.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, AnyValue::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, i64::try_from(value).map_or_else(|_| value.to_string().into(), AnyValue::Int));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, AnyValue::Double(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, AnyValue::Boolean(value));
    }
}
