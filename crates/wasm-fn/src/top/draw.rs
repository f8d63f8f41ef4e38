//! The picture: a frame of the terminal, from the state alone.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span, Text},
    widgets::{Cell, Paragraph, Row as Cells, Table},
};
use wasm_fn_api as api;
use wasm_fn_rollout::Factor;

use super::state::{Row, Top, View};
use crate::{
    args::TopSort,
    output::{
        Look,
        rollout::{Actual, Drawn},
        tables, time, visible,
    },
};

/// Lines of the list's picture that are no rows of it: two above, and one below.
pub(super) const LIST_FRAME: u16 = 3;

/// Lines of a function's picture that are not about it.
pub(super) const FUNCTION_FRAME: u16 = 2;

/// Characters between the brackets of a bar.
const BAR: usize = 24;

/// Draws `top`.
pub(crate) fn draw(frame: &mut Frame<'_>, top: &Top) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)])
            .areas(frame.area());
    match &top.view {
        View::List => list(frame, top, head, body, foot),
        View::Function { name, status, scrolled, deleted } => {
            let state = if *deleted { "deleted" } else { "" };
            header(frame, top, head, &format!("{name}  {state}"));
            let text = match status {
                Some(status) => function(status, top),
                None if *deleted => Text::from("the function was deleted"),
                None => Text::from("asking the node…"),
            };
            let scrolled = u16::try_from(*scrolled).unwrap_or(u16::MAX);
            frame.render_widget(Paragraph::new(text).scroll((scrolled, 0)), body);
            footer(frame, foot, "Esc back   ↑↓ scroll   q quit");
        }
    }
}

fn header(frame: &mut Frame<'_>, top: &Top, area: Rect, what: &str) {
    let mut spans =
        vec![Span::styled("wasm-fn top", Modifier::BOLD), Span::raw(format!("  {}  {what}", top.node))];
    if let Some(why) = &top.away {
        spans.push(Span::styled(format!("  {}; retrying", visible(why)), top.paint(Color::Red)));
    }
    frame.render_widget(Line::from(spans), area);
}

fn footer(frame: &mut Frame<'_>, area: Rect, keys: &str) {
    frame.render_widget(Line::styled(keys.to_owned(), Modifier::DIM), area);
}

fn list(frame: &mut Frame<'_>, top: &Top, head: Rect, body: Rect, foot: Rect) {
    let shown = top.shown();
    let (all, sum) = (top.rows.len(), shown.iter().filter_map(|row| row.requests).sum::<f64>());
    let of = if shown.len() == all { String::new() } else { format!(" of {all}") };
    let functions = if all == 1 { "function" } else { "functions" };
    header(frame, top, head, &format!("{}{of} {functions}, {} requests/s", shown.len(), rate(Some(sum))));
    if shown.is_empty() {
        let text = match (top.heard, all) {
            (false, _) => "asking the node…".to_owned(),
            (true, 0) => "no functions yet; `wasm-fn deploy FILE` deploys one".to_owned(),
            (true, _) => format!("no function has {:?} in its name", top.filter),
        };
        frame.render_widget(Paragraph::new(text), body);
    } else {
        let cursor = top.cursor(&shown);
        let first = top.first(&shown);
        let rows = shown.iter().enumerate().skip(first).take(usize::from(body.height));
        let rows = rows.map(|(index, row)| cells(row, top, index == cursor));
        let widths = [
            Constraint::Fill(2),
            Constraint::Length(11),
            Constraint::Length(9),
            Constraint::Length(9),
            Constraint::Length(9),
            Constraint::Length(9),
            Constraint::Length(10),
            Constraint::Fill(1),
        ];
        frame.render_widget(Table::new(rows, widths).header(titles(top)).column_spacing(1), body);
    }
    if top.typing {
        frame.render_widget(Line::raw(format!("filter: {}▏  Enter keep   Esc clear", top.filter)), foot);
    } else {
        let keys = "Enter rollout   / filter   sort: n r e 5 9 i m   q quit";
        let filter = if top.filter.is_empty() { String::new() } else { format!("{:?}   ", top.filter) };
        footer(frame, foot, &format!("{filter}{keys}"));
    }
}

/// The columns' titles; the one that is sorted by is marked.
fn titles(top: &Top) -> Cells<'static> {
    let columns = [
        ("FUNCTION", Some(TopSort::Name), false),
        ("REQUESTS/S", Some(TopSort::Requests), true),
        ("ERRORS/S", Some(TopSort::Errors), true),
        ("P50", Some(TopSort::P50), true),
        ("P99", Some(TopSort::P99), true),
        ("INSTANCES", Some(TopSort::Instances), true),
        ("MEMORY", Some(TopSort::Memory), true),
        ("CANARY", None, false),
    ];
    let cells = columns.map(|(title, sort, right)| {
        let is_sorted = sort == Some(top.sort);
        let style = if is_sorted { Style::new().bold().underlined() } else { Style::new().bold() };
        let line = Line::styled(title, style);
        Cell::new(if right { line.right_aligned() } else { line })
    });
    Cells::new(cells)
}

fn cells(row: &Row, top: &Top, is_selected: bool) -> Cells<'static> {
    let number = |text: String| Cell::new(Line::raw(text).right_aligned());
    let details = &row.details;
    let errors = Line::raw(rate(row.errors)).right_aligned();
    let errors = if row.errors.is_some_and(|errors| errors > 0.0) {
        errors.style(top.paint(Color::Red))
    } else {
        errors
    };
    let cells = Cells::new([
        Cell::new(visible(&row.function)),
        number(rate(row.requests)),
        Cell::new(errors),
        number(time::latency(row.p50_ms)),
        number(time::latency(row.p99_ms)),
        number(details.instances.map_or("-".to_owned(), |instances| instances.to_string())),
        number(details.memory.map_or("-".to_owned(), time::bytes)),
        Cell::new(visible(&row.canaries.join(", "))),
    ]);
    if is_selected { cells.style(Modifier::REVERSED) } else { cells }
}

/// `0`, `0.3`, `12.5`, `1240`; `-` if it is not known yet.
fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(rate) if rate < 100.0 => format!("{rate:.1}"),
        Some(rate) => format!("{rate:.0}"),
    }
}

/// One function: its rollouts with all their evidence, then what `status` shows.
pub(super) fn function(status: &api::FunctionStatus, top: &Top) -> Text<'static> {
    let mut lines = Vec::new();
    for stage in &status.stages {
        let Some(rollout) = &stage.rollout else { continue };
        lines.push(steps(stage, rollout, top));
        if let Some(gate) = &rollout.gate {
            lines.push(verdict(gate, top));
            lines.extend(gate.evidence.signals.iter().map(|signal| evidence(signal, top)));
        }
        lines.push(Line::default());
    }
    let actual = |_: &str, rollout: &api::RolloutView| Actual::of(rollout);
    // Colours come from here, not from escape sequences.
    let text = tables::stages(status, Drawn::Bars, actual, top.now_ms, Look::default());
    lines.extend(text.lines().map(|line| Line::raw(line.to_owned())));
    Text::from(lines)
}

/// `steps    1% ✓  10% now  50%  100%`.
fn steps(stage: &api::StageStatus, rollout: &api::RolloutView, top: &Top) -> Line<'static> {
    let now = rollout.step.and_then(|step| usize::try_from(step).ok());
    // Without a number it is before the first step, or everybody is on the new version.
    let done = now.unwrap_or(if rollout.phase == "watching" { usize::MAX } else { 0 });
    let mut spans = vec![Span::raw(format!("{:<8}", stage.stage))];
    for (index, step) in rollout.steps.iter().enumerate() {
        let (number, step) = (index + 1, visible(step));
        spans.push(Span::raw(" "));
        spans.push(match now {
            Some(now) if now == number => Span::styled(format!("[{step}]"), Modifier::BOLD),
            _ if number < done => Span::styled(format!("{step} ✓"), top.paint(Color::Green)),
            _ => Span::styled(step, Modifier::DIM),
        });
    }
    let api::RolloutView { stable, canary, phase, .. } = rollout;
    spans.push(Span::raw(format!("  {stable} → {canary}, {phase}")));
    Line::from(spans)
}

/// `verdict  wait: no difference so far`.
fn verdict(gate: &api::GateView, top: &Top) -> Line<'static> {
    let colour = match gate.verdict.as_str() {
        "pass" => Color::Green,
        "fail" => Color::Red,
        _ => Color::Yellow,
    };
    let word = Span::styled(gate.verdict.clone(), top.paint(colour).bold());
    Line::from(vec![Span::raw("verdict  "), word, Span::raw(format!(": {}", visible(&gate.reason)))])
}

/// How close a signal is to its threshold, on a logarithmic scale.
fn evidence(signal: &api::SignalEvidenceView, top: &Top) -> Line<'static> {
    let api::SignalEvidenceView { signal: name, e_value, threshold, progress, .. } = signal;
    let full = (1..=BAR).take_while(|&mark| mark as f64 <= progress * BAR as f64 + 1e-9).count();
    let colour = if *progress >= 1.0 { Color::Red } else { Color::Yellow };
    Line::from(vec![
        Span::raw(format!("{:<18}[", visible(name))),
        Span::styled("=".repeat(full), top.paint(colour)),
        Span::raw(format!("{}] ", " ".repeat(BAR - full))),
        Span::raw(format!("{} of {}  {}", Factor(*e_value), Factor(*threshold), visible(&signal.text))),
    ])
}

impl Top {
    /// A style with `colour`, unless the user wants none.
    fn paint(&self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}

#[cfg(test)]
mod tests;
