//! Error codes, explained.

use super::{
    Look,
    tables::{fit, row, table},
};
use crate::explain::{Explanation, Plane};

/// Columns of the labels, with the blanks after them.
const LABEL: usize = 9;

/// One code: what it means, and what to do.
pub(crate) fn one(explanation: &Explanation, look: Look) -> String {
    let Explanation { code, plane, meaning, remedy, page, .. } = explanation;
    let who = match plane {
        Plane::Data => "answered to a call of a function",
        Plane::Admin => "answered by the admin API",
    };
    let mut text = format!("{code}  {}, {who}", statuses(explanation));
    let labelled = |label: &str, body: &str| {
        let body = look.below(LABEL, body);
        format!("\n{label:<LABEL$}{}", body.trim_start())
    };
    text += &labelled("meaning", meaning);
    text += &labelled("remedy", remedy);
    if let Some(page) = page {
        text += &labelled("more", &format!("docs/{page}"));
    }
    text
}

/// All codes, as a table.
pub(crate) fn list(explanations: &[Explanation], look: Look) -> String {
    let mut table = table(&["CODE", "STATUS", "FROM", "MEANING"], &[]);
    for one in explanations {
        let plane = match one.plane {
            Plane::Data => "function",
            Plane::Admin => "admin API",
        };
        let cells = [one.code.to_owned(), statuses(one), plane.to_owned(), one.meaning.to_owned()];
        row(&mut table, cells);
    }
    fit(table, look)
}

/// `404`, `404 or 422`.
fn statuses(explanation: &Explanation) -> String {
    explanation.statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests;
