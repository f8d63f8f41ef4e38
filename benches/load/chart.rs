//! The chart of the README: server CPU per hello request, by system.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Color as _, DrawingArea, IntoDrawingArea as _, IntoFont as _, RGBColor, Rectangle,
        SVGBackend, Text, WHITE,
    },
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{guests::Guest, results::Results};

const WIDTH: u32 = 860;

/// Height of a bar with its gap, pixels.
const BAR: u32 = 34;

/// Room for the title above the bars and the axis below, pixels.
const AROUND: u32 = 110;

/// Room for the systems' names, pixels.
const NAMES: u32 = 300;

const OURS: RGBColor = RGBColor(0x2f, 0x6f, 0xde);
const OTHERS: RGBColor = RGBColor(0xa8, 0xad, 0xb4);
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);

/// One bar.
#[derive(Debug, Clone, PartialEq)]
struct Bar {
    name: String,
    ours: bool,
    cost_us: f64,
}

/// Draws the chart of `results` into the file `path`.
///
/// # Errors
///
/// There is nothing to draw, or the file cannot be written.
pub(crate) fn write(results: &Results, path: &Path) -> Result<()> {
    let svg = draw(&bars(results), &results.machine.date)?;
    fs::write(path, svg).with_context(|| format!("{} cannot be written", path.display()))
}

/// The systems that answer hello, cheapest first.
fn bars(results: &Results) -> Vec<Bar> {
    let hello = results.rows.iter().filter(|row| matches!(row.guest, Guest::Native | Guest::Hello02));
    let mut bars: Vec<_> = hello
        .filter_map(|row| Some(Bar { name: row.system.clone(), ours: row.ours, cost_us: row.cost()?.median }))
        .collect();
    bars.sort_by(|bar, other| bar.cost_us.total_cmp(&other.cost_us));
    bars
}

fn draw(bars: &[Bar], date: &str) -> Result<String> {
    let most = bars.last().context("no system has a figure to draw")?.cost_us;
    let count = u32::try_from(bars.len())?;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, count * BAR + AROUND)).into_drawing_area();
        plot(&area, bars, most, date).map_err(|error| anyhow!("the chart cannot be drawn: {error}"))?;
    }
    Ok(svg)
}

fn plot(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    bars: &[Bar],
    most: f64,
    date: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let (right, bottom) = (most * 1.12, bars.len() as f64);
    let title = format!("Server CPU per hello request, µs, on one core ({date}; shorter is better)");
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(30)
        .y_label_area_size(NAMES)
        // The first bar is the uppermost.
        .build_cartesian_2d(0.0..right, bottom..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .y_labels(0)
        .max_light_lines(0)
        .axis_style(OTHERS)
        .bold_line_style(OTHERS.mix(0.4))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .x_label_formatter(&|cost| format!("{cost:.0}"))
        .draw()?;
    let color = |bar: &Bar| if bar.ours { OURS } else { OTHERS };
    let places = || bars.iter().zip(0_u32..).map(|(bar, place)| (bar, f64::from(place)));
    chart.draw_series(places().map(|(bar, place)| {
        Rectangle::new([(0.0, place + 0.15), (bar.cost_us, place + 0.85)], color(bar).filled())
    }))?;
    let font = || ("sans-serif", 14).into_font().color(&INK);
    // Names stand left of the axis, where the mesh would only write numbers, and figures behind their bars.
    let write = |text: String, (x, y): (i32, i32), side| {
        area.draw(&Text::new(text, (x, y), font().pos(Pos::new(side, VPos::Center))))
    };
    for (bar, place) in places() {
        let (left, y) = chart.backend_coord(&(0.0, place + 0.5));
        let (right, _) = chart.backend_coord(&(bar.cost_us, place + 0.5));
        write(bar.name.clone(), (left - 8, y), HPos::Right)?;
        write(format!("{:.1}", bar.cost_us), (right + 6, y), HPos::Left)?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests;
