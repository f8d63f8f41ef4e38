//! The text format of Prometheus, made from OpenMetrics, which is all that the library writes.
//!
//! For the types of metrics that the node has, the two differ in three points: OpenMetrics describes a
//! counter under its name without `_total`, may describe units, and ends in a line of its own.

/// `open_metrics` in the text format of Prometheus, version 0.0.4.
pub(super) fn classic(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help: Option<&str> = None;
    for line in open_metrics.lines() {
        match line.strip_prefix("# ") {
            // The type comes after the help and tells under which name to write both.
            Some(described) if described.starts_with("HELP ") => help = Some(described),
            Some(described) if described.starts_with("TYPE ") => {
                let total = if described.ends_with(" counter") { "_total" } else { "" };
                for described in help.take().into_iter().chain([described]) {
                    let mut words = described.splitn(3, ' ');
                    let mut word = || words.next().unwrap_or_default();
                    text.extend(["# ", word(), " ", word(), total, " ", word(), "\n"]);
                }
            }
            // The end, and units.
            Some(_) => {}
            None => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests;
