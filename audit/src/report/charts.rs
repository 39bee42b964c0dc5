//! Charts as SVG, drawn by plotters: black on white, told apart by marks and numbers, never by colour alone.

use plotters::coord::ranged1d::IntoSegmentedCoord as _;
use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;
use puente_model::Minute;

use crate::figures::Growth;

/// Width of every chart, in pixels of its own: pages make it smaller or larger.
const WIDTH: u32 = 720;
const HEIGHT: u32 = 340;
/// Height of one bar that lies, with its gap.
const BAR: u32 = 34;
/// Logs that get a line each; of more there is one line for all.
pub(super) const LINES_MAX: usize = 6;
const FONT: (&str, i32) = ("sans-serif", 14);
const INK: RGBColor = RGBColor(0x1b, 0x1f, 0x24);
const BAR_INK: RGBColor = RGBColor(0x2f, 0x5d, 0x8a);
const FAINT: RGBColor = RGBColor(0xd5, 0xda, 0xe0);
/// Days from which dates are shown instead of times of the day.
const DATES_FROM_MINUTES: u64 = 2 * 1_440;

/// The mark of the `nth` line, in the chart's coordinates or the legend's.
macro_rules! mark {
    ($nth:expr, $at:expr) => {{
        let (at, line, full) = ($at, INK.stroke_width(2), INK.filled());
        match $nth % LINES_MAX {
            0 => Circle::new(at, 4, full).into_dyn(),
            1 => TriangleMarker::new(at, 5, full).into_dyn(),
            2 => Cross::new(at, 4, line).into_dyn(),
            3 => Circle::new(at, 5, line).into_dyn(),
            4 => TriangleMarker::new(at, 6, line).into_dyn(),
            _ => Cross::new(at, 7, line).into_dyn(),
        }
    }};
}

/// Draws into a text. Nothing can fail but a range that plotters refuses: then there is no chart, and the table beside it stands.
fn drawn(
    height: u32,
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Option<()>,
) -> Option<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE).ok()?;
        draw(&area)?;
        area.present().ok()?;
    }
    Some(svg)
}

/// Points of one line: minute, and how much there is by then.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(u64, u64)>,
}

/// Entries by then, out of entries in each step.
pub(super) fn cumulated(growth: &Growth) -> Vec<(u64, u64)> {
    let mut sum = 0;
    let by_then = |(minute, count): (&u64, &u64)| {
        sum += count;
        (minute + growth.step, sum)
    };
    let first = growth.entries.keys().next().map(|minute| (*minute, 0));
    first.into_iter().chain(growth.entries.iter().map(by_then).collect::<Vec<_>>()).collect()
}

/// Lines over time, each with a mark of its own.
pub(super) fn over_time(lines: &[Line], unit: &str) -> Option<String> {
    let minutes = || lines.iter().flat_map(|line| line.points.iter().map(|(minute, _)| *minute));
    let (from, to) = (minutes().min()?, minutes().max()?);
    // One instant is no course: the table says as much.
    (from < to).then_some(())?;
    let most = lines.iter().flat_map(|line| line.points.iter().map(|(_, count)| *count)).max()?;
    let dates = to - from >= DATES_FROM_MINUTES;
    drawn(HEIGHT, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_right(36)
            .x_label_area_size(36)
            .y_label_area_size(72)
            .build_cartesian_2d(from..to, 0..most.max(1) + most / 20)
            .ok()?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(6)
            .light_line_style(WHITE)
            .bold_line_style(FAINT)
            .axis_style(INK)
            .label_style(FONT.into_font().color(&INK))
            .x_label_formatter(&|minute| clock(*minute, dates))
            .y_desc(unit)
            .draw()
            .ok()?;
        for (nth, line) in lines.iter().enumerate() {
            let points = || line.points.iter().copied();
            // Marks of lines that begin together do not all lie on each other.
            let every = (line.points.len() / 8).max(1);
            let marked = || points().skip(nth % every).step_by(every);
            let drawn = chart.draw_series(LineSeries::new(points(), INK.stroke_width(1))).ok()?;
            drawn.label(line.name.clone()).legend(move |(x, y)| mark!(nth, (x + 9, y)));
            chart.draw_series(marked().map(|at| mark!(nth, at))).ok()?;
        }
        if lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE)
                .border_style(FAINT)
                .label_font(FONT.into_font().color(&INK))
                .draw()
                .ok()?;
        }
        Some(())
    })
}

fn clock(minute: u64, dates: bool) -> String {
    let text = Minute(minute).to_string();
    let part = if dates { text.get(..10) } else { text.get(11..16) };
    part.unwrap_or(&text).to_owned()
}

/// Bars that stand, for what has an order.
pub(super) fn standing(bars: &[(String, u64)], unit: &str) -> Option<String> {
    let most = bars.iter().map(|(_, count)| *count).max().filter(|most| *most > 0)?;
    let last = i32::try_from(bars.len()).ok()? - 1;
    drawn(HEIGHT, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(72)
            .build_cartesian_2d((0..last).into_segmented(), 0..most + most / 8 + 1)
            .ok()?;
        let name = |at: &SegmentValue<i32>| match at {
            SegmentValue::CenterOf(at) => usize::try_from(*at).ok().and_then(|at| bars.get(at)),
            _ => None,
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(bars.len())
            .light_line_style(WHITE)
            .bold_line_style(FAINT)
            .axis_style(INK)
            .label_style(FONT.into_font().color(&INK))
            .x_label_formatter(&|at| name(at).map(|(name, _)| name.clone()).unwrap_or_default())
            .y_desc(unit)
            .draw()
            .ok()?;
        let bar = |(at, (_, count)): (i32, &(String, u64))| {
            let mut bar =
                Rectangle::new([(SegmentValue::Exact(at), 0), (SegmentValue::Exact(at + 1), *count)], BAR_INK.filled());
            bar.set_margin(0, 0, 8, 8);
            bar
        };
        chart.draw_series((0..).zip(bars).map(bar)).ok()?;
        let number = |(at, (_, count)): (i32, &(String, u64))| {
            let style = FONT.into_font().color(&INK).pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Center,
                plotters::style::text_anchor::VPos::Bottom,
            ));
            Text::new(count.to_string(), (SegmentValue::CenterOf(at), *count), style)
        };
        chart.draw_series((0..).zip(bars).filter(|(_, (_, count))| *count > 0).map(number)).ok()?;
        Some(())
    })
}

/// Bars that lie, for what has names.
pub(super) fn lying(bars: &[(String, u64)]) -> Option<String> {
    let most = bars.iter().map(|(_, count)| *count).max().filter(|most| *most > 0)?;
    let longest = bars.iter().map(|(name, _)| name.chars().count()).max()?;
    let (left, height) = (u32::try_from(longest).ok()?.min(30) * 8 + 16, u32::try_from(bars.len()).ok()? * BAR + 16);
    drawn(height, |area| {
        let room = WIDTH.saturating_sub(left + 80);
        let lines = || std::iter::successors(Some(8_i32), |y| Some(y + BAR as i32)).zip(bars);
        let style = FONT.into_font().color(&INK);
        for (y, (name, count)) in lines() {
            let length = u32::try_from(u64::from(room) * count / most).ok()?.max(1);
            let (x, middle) = (left as i32, y + BAR as i32 / 2 - 7);
            area.draw(&Rectangle::new([(x, y), (x + length as i32, y + BAR as i32 - 8)], BAR_INK.filled())).ok()?;
            area.draw(&Text::new(name.clone(), (8, middle), style.clone())).ok()?;
            area.draw(&Text::new(count.to_string(), (x + length as i32 + 6, middle), style.clone())).ok()?;
        }
        Some(())
    })
}
