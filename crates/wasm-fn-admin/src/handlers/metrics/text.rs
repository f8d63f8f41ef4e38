//! The text formats: that of Prometheus is made from OpenMetrics, which is all that the library writes, and
//! OpenMetrics gets the exemplars, of which the library lets nobody make one.
//!
//! For the types of metrics that the node has, the two differ in three points: OpenMetrics describes a
//! counter under its name without `_total`, may describe units, and ends in a line of its own.

use std::{collections::HashMap, fmt};

use bytes::{Bytes, BytesMut};

/// Bytes of a piece of the text. Each is made once it is needed: a text of many megabytes is not moved.
const PIECE_BYTES: usize = 64 << 10;

/// How the text is written.
pub(super) enum TextFormat {
    /// The text format of Prometheus, version 0.0.4.
    Classic,
    /// OpenMetrics, with what is to be behind the samples of these series.
    OpenMetrics(HashMap<String, String>),
}

/// A text under way. What is written to it is OpenMetrics.
pub(super) struct Text {
    format: TextFormat,
    /// What came of a line so far.
    line: String,
    /// The help of a metric, until its type is known.
    help: Option<String>,
    pieces: Vec<Bytes>,
    piece: BytesMut,
}

impl Text {
    pub(super) fn new(format: TextFormat) -> Self {
        let (pieces, piece) = (Vec::new(), BytesMut::with_capacity(PIECE_BYTES));
        Self { format, line: String::new(), help: None, pieces, piece }
    }

    /// The whole text, in order.
    pub(super) fn into_pieces(mut self) -> Vec<Bytes> {
        self.pieces.push(self.piece.freeze());
        self.pieces
    }

    fn add(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.piece.len() == PIECE_BYTES {
                let next = BytesMut::with_capacity(PIECE_BYTES);
                self.pieces.push(std::mem::replace(&mut self.piece, next).freeze());
            }
            let (now, later) = rest.split_at(rest.len().min(PIECE_BYTES - self.piece.len()));
            self.piece.extend_from_slice(now);
            rest = later;
        }
    }

    /// Ends the line.
    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        match &self.format {
            TextFormat::OpenMetrics(behind) => {
                let series = line.find("} ").map(|end| &line[..=end]).filter(|_| !behind.is_empty());
                let behind = series.and_then(|series| behind.get(series)).cloned();
                self.add(&line);
                self.add(behind.as_deref().unwrap_or_default());
                self.add("\n");
            }
            TextFormat::Classic => self.end_classic(&line),
        }
        line.clear();
        // Its memory serves the next line.
        self.line = line;
    }

    fn end_classic(&mut self, line: &str) {
        match line.strip_prefix("# ") {
            // The type comes after the help and tells under which name to write both.
            Some(described) if described.starts_with("HELP ") => self.help = Some(described.to_owned()),
            Some(described) if described.starts_with("TYPE ") => {
                let total = if described.ends_with(" counter") { "_total" } else { "" };
                let help = self.help.take();
                for described in help.as_deref().into_iter().chain([described]) {
                    let mut words = described.splitn(3, ' ');
                    let mut word = || words.next().unwrap_or_default();
                    for part in ["# ", word(), " ", word(), total, " ", word(), "\n"] {
                        self.add(part);
                    }
                }
            }
            // The end, and units.
            Some(_) => {}
            None => {
                self.add(line);
                self.add("\n");
            }
        }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            match part.strip_suffix('\n') {
                Some(end) => {
                    self.line.push_str(end);
                    self.end_line();
                }
                None => self.line.push_str(part),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
