// SPDX-License-Identifier: MIT OR Apache-2.0

//! The frame of a page: one HTML file without references to others.

/// Okabe and Ito's colours, which colour-blind readers can tell apart, and a dark red.
const COLOURS: [(&str, &str); 8] = [
    ("hakmem", "#d55e00"),
    ("system", "#000000"),
    ("jemalloc", "#0072b2"),
    ("tcmalloc", "#009e73"),
    ("mimalloc", "#cc79a7"),
    ("mimalloc2", "#882255"),
    ("snmalloc", "#e69f00"),
    ("rpmalloc", "#56b4e9"),
];
/// Of all other names.
const OTHER_COLOUR: &str = "#b3a100";

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
.good { color: #00664d; font-weight: 600; } .bad { color: #b00020; font-weight: 600; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: #444; }
ul { padding-left: 1.2rem; } .note { color: #555; } pre { background: #f5f5f5; padding: .5rem; }
";

/// The page of that title and content, which is HTML.
pub fn document(title: &str, content: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         {content}</body>\n</html>\n",
        title = escape(title)
    )
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The colour of an allocator in all plots.
pub fn colour(name: &str) -> &'static str {
    COLOURS
        .iter()
        .find(|(other, _)| *other == name)
        .map_or(OTHER_COLOUR, |(_, colour)| colour)
}
