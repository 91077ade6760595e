// SPDX-License-Identifier: MIT OR Apache-2.0

//! The page: for each scenario a plot of the resident memory over time and the table of its figures. A plot is
//! also a picture of its own.

use hakmem_reports::allocators::HAKMEM;
use hakmem_reports::page::{colour, document, escape};

use crate::run::{Figure, Run, Sample, Scenario};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

const LIVE_COLOUR: &str = "#999999";

pub(crate) fn render(machine: &[String], scenarios: &[Scenario]) -> String {
    let mut page = "<h1>Resident memory over time</h1>
<ul>
"
    .to_owned();
    for line in machine {
        page += &format!("<li>{}</li>\n", escape(line));
    }
    page += "</ul>\n<p class=\"note\">All allocators run with default options, preloaded into the same \
             programs. Each line is one run. Limits are those of hakmem: green held, red missed.</p>\n";
    for scenario in scenarios {
        page += &format!(
            "<h2 id=\"{}\">{}</h2>\n",
            scenario.name,
            escape(&scenario.title)
        );
        if has_plot(scenario) {
            page += &format!("<svg {}>\n{}</svg>\n", attributes(), plot(scenario));
        }
        page += &table(scenario);
    }
    document("hakmem: memory over time", &page)
}

// ---- Tables ---------------------------------------------------------------------------------------

fn table(scenario: &Scenario) -> String {
    let mut table = "<table>\n<tr><th></th>".to_owned();
    for run in &scenario.runs {
        table += &format!("<th>{}</th>", escape(&run.name));
    }
    table += "<th>at most</th></tr>\n";
    for name in scenario.figure_names() {
        let figures = scenario.runs.iter().map(|run| run.figure(&name));
        let label = figures
            .clone()
            .flatten()
            .next()
            .map_or(name.clone(), Figure::label);
        table += &format!("<tr><td>{}</td>", escape(&label));
        for (i, figure) in figures.enumerate() {
            let class = match figure.and_then(Figure::holds) {
                Some(true) if i == 0 => " class=\"good\"",
                Some(false) if i == 0 => " class=\"bad\"",
                _ => "",
            };
            let value = figure.map_or("–".to_owned(), |figure| grouped(figure.value));
            table += &format!("<td{class}>{value}</td>");
        }
        let limit = scenario.runs[0]
            .figure(&name)
            .and_then(|figure| figure.limit);
        table += &format!("<td>{}</td></tr>\n", limit.map_or(String::new(), grouped));
    }
    table + "</table>\n"
}

/// Digits in groups of three.
fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = if value < 0 {
        "−".to_owned()
    } else {
        String::new()
    };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

// ---- Plots ----------------------------------------------------------------------------------------

struct Scale {
    ms_max: f64,
    mib_max: f64,
}

impl Scale {
    fn x(&self, ms: f64) -> f64 {
        LEFT + ms / self.ms_max * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, mib: f64) -> f64 {
        HEIGHT - BOTTOM - mib / self.mib_max * (HEIGHT - TOP - BOTTOM)
    }
}

/// Steps of 1, 2 or 5 times a power of ten, about five up to `max`.
fn ticks(max: f64) -> (f64, usize) {
    let power = 10f64.powf((max / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = step
        .into_iter()
        .find(|step| max / step <= 5.5)
        .unwrap_or(power * 10.0);
    (step, (max / step) as usize)
}

pub(crate) fn has_plot(scenario: &Scenario) -> bool {
    scenario.runs.iter().any(|run| run.samples.len() > 1)
}

/// The plot as a file of its own, which follows the light or dark scheme of its reader.
pub(crate) fn picture(scenario: &Scenario) -> String {
    const STYLE: &str = "<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  [stroke='#000000'] { stroke: #e6edf3 }
  [stroke='#ddd'] { stroke: #333a44 }
}
</style>
";
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" {}>\n{STYLE}{}</svg>\n",
        attributes(),
        plot(scenario)
    )
}

fn attributes() -> String {
    format!(
        "viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"resident memory over time\""
    )
}

/// The content of the svg element.
fn plot(scenario: &Scenario) -> String {
    let samples = || scenario.runs.iter().flat_map(|run| &run.samples);
    let most = |values: &mut dyn Iterator<Item = u64>| values.max().unwrap_or(0).max(1) as f64;
    let scale = Scale {
        ms_max: most(&mut samples().map(|sample| sample.ms)),
        mib_max: most(&mut samples().map(|sample| sample.rss_kb)) / 1024.0 * 1.05,
    };
    let mut svg = axes(&scale);
    // The live bytes of the first run: those of the others are the same, but for their speed.
    let live = |run: &Run| run.samples.iter().any(|sample| sample.live_kb > 0);
    if let Some(run) = scenario.runs.first().filter(|run| live(run)) {
        let points = points(&scale, run, |sample| sample.live_kb);
        svg += &line(
            &points,
            LIVE_COLOUR,
            "live bytes",
            "stroke-width=\"1.4\" stroke-dasharray=\"4 3\"",
        );
    }
    for run in scenario.runs.iter().rev() {
        let width = if run.name == HAKMEM {
            "stroke-width=\"2.5\""
        } else {
            "stroke-width=\"1.4\""
        };
        let points = points(&scale, run, |sample| sample.rss_kb);
        svg += &line(&points, colour(&run.name), &run.name, width);
    }
    svg + &legend(scenario, scenario.runs.first().is_some_and(live))
}

fn axes(scale: &Scale) -> String {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let mut svg = String::new();
    let (step, count) = ticks(scale.mib_max);
    for tick in 0..=count {
        let mib = step * tick as f64;
        let y = scale.y(mib);
        svg += &format!(
            "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{mib}</text>\n",
            LEFT - 6.0,
            y + 4.0
        );
    }
    let (step, count) = ticks(scale.ms_max / 1000.0);
    for tick in 0..=count {
        let seconds = step * tick as f64;
        let x = scale.x(seconds * 1000.0);
        svg += &format!(
            "<path d=\"M{x:.1} {bottom}v4\" stroke=\"#888\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
            bottom + 17.0,
            (seconds * 1000.0).round() / 1000.0
        );
    }
    svg + &format!(
        "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">s</text>\
         <text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">MiB resident</text>\n",
        (LEFT + right) / 2.0,
        HEIGHT - 6.0,
        (TOP + bottom) / 2.0
    )
}

fn points(scale: &Scale, run: &Run, kb: impl Fn(&Sample) -> u64) -> String {
    let point = |sample: &Sample| {
        let (x, y) = (
            scale.x(sample.ms as f64),
            scale.y(kb(sample) as f64 / 1024.0),
        );
        format!("{x:.1},{y:.1}")
    };
    run.samples.iter().map(point).collect::<Vec<_>>().join(" ")
}

fn line(points: &str, colour: &str, name: &str, style: &str) -> String {
    format!(
        "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" {style}>\
         <title>{}</title></polyline>\n",
        escape(name)
    )
}

fn legend(scenario: &Scenario, live: bool) -> String {
    let names = scenario
        .runs
        .iter()
        .map(|run| (run.name.as_str(), colour(&run.name)));
    let live = live.then_some(("live bytes", LIVE_COLOUR));
    let mut svg = String::new();
    for (i, (name, colour)) in names.chain(live).enumerate() {
        let (x, y) = (WIDTH - RIGHT + 12.0, TOP + 12.0 + 20.0 * i as f64);
        svg += &format!(
            "<path d=\"M{x} {y}h16\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>\n",
            x + 22.0,
            y + 4.0,
            escape(name)
        );
    }
    svg
}
