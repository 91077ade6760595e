//! Compares the lists in the documentation with the code.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

const OPTIONS: &str = include_str!("../src/options.rs");
const OPTIONS_OF_THE_CORE: &str = include_str!("../../c/src/core/options.def");
const README: &str = include_str!("../README.md");
const README_OF_THE_PROJECT: &str = include_str!("../../README.md");
const MANIFEST: &str = include_str!("../Cargo.toml");

/// One row of the core's table of options.
struct Row {
    name: String,
    default: String,
    values: String,
    when: &'static str,
    kind: &'static str,
}

fn core_rows() -> Vec<Row> {
    let rows = OPTIONS_OF_THE_CORE.split("\nOPTION(").skip(1).map(|row| {
        let fields: Vec<&str> = row.splitn(7, ',').map(str::trim).collect();
        let [name, default, least, most, choices, when, _help] = fields[..] else {
            panic!("not a row: {row}")
        };
        let (kind, default, values) = match (choices, least, most) {
            ("NULL", "0", "1") => ("bool", default.to_owned(), "0, 1".to_owned()),
            ("NULL", _, _) => ("u64", default.to_owned(), format!("{least} to {most}")),
            ("\"%\"", _, _) => ("u64", default.to_owned(), "bytes".to_owned()),
            _ => {
                let names = choices.trim_matches('"').split('|');
                let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
                let default: usize = default.parse().expect("the number of a choice");
                ("an enum", names[default].clone(), names.join(", "))
            }
        };
        let when = match when {
            "START" => "at start",
            "ANYTIME" => "any time",
            _ => panic!("when is {when}?"),
        };
        Row {
            name: name.to_owned(),
            default,
            values,
            when,
            kind,
        }
    });
    rows.collect()
}

/// A constant of the crate: `    HEAPS: u64 = c"heaps";`, or with ` in KIB` before the semicolon.
struct Constant {
    name: &'static str,
    kind: &'static str,
    option: &'static str,
    unit: &'static str,
}

fn constants() -> Vec<Constant> {
    let constants = OPTIONS.lines().filter_map(|line| {
        let (name, rest) = line.strip_suffix(';')?.split_once(": ")?;
        let (kind, rest) = rest.split_once(" = c\"")?;
        let (option, unit) = rest.split_once('"')?;
        Some(Constant {
            name: name.trim(),
            kind,
            option,
            unit: unit.strip_prefix(" in ").unwrap_or("1"),
        })
    });
    constants.collect()
}

#[test]
fn the_constants_are_the_options_of_the_core_in_name_order_type_and_unit() {
    let constants = constants();
    assert_eq!(constants.len(), core_rows().len());
    for (constant, row) in constants.iter().zip(core_rows()) {
        assert_eq!(constant.option, row.name);
        let (name, kind, unit) = match &*row.name {
            name if name.contains("_kb") => (name.replace("_kb", "_bytes"), row.kind, "KIB"),
            name if name.contains("_mb") => (name.replace("_mb", "_bytes"), row.kind, "MIB"),
            name if name.contains("_ms") => (name.replace("_ms", ""), "Duration", "MILLISECOND"),
            name => (name.to_owned(), row.kind, "1"),
        };
        assert_eq!(constant.name, name.to_uppercase());
        assert_eq!(constant.unit, unit, "{name}");
        match kind {
            "an enum" => assert!(!["u64", "bool", "Duration"].contains(&constant.kind)),
            kind => assert_eq!(constant.kind, kind, "{name}"),
        }
    }
}

#[test]
fn the_table_of_options_says_what_the_core_does() {
    let table: Vec<_> = OPTIONS
        .lines()
        .filter(|line| line.starts_with("//! | [`"))
        .collect();
    let expected = constants().into_iter().zip(core_rows());
    let expected: Vec<_> = expected
        .map(|(constant, row)| {
            let (name, option) = (constant.name, constant.option);
            let Row {
                default,
                values,
                when,
                ..
            } = row;
            format!("//! | [`{name}`] | `{option}` | {default} | {values} | {when} |")
        })
        .collect();
    assert_eq!(table, expected);
}

/// The crate `hakmem` on crates.io is not ours. Instructions with that name would install other
/// code.
#[test]
fn the_documentation_adds_this_package_and_no_other() {
    let package = env!("CARGO_PKG_NAME");
    let added: Vec<_> = README_OF_THE_PROJECT
        .split("cargo add ")
        .skip(1)
        .filter_map(|rest| rest.split([' ', '\n', '`']).next())
        .collect();
    assert_eq!(added, [package, "--path"]);
    let dependencies = README
        .split("[dependencies]\n")
        .nth(1)
        .expect("a dependency");
    let dependency = dependencies
        .lines()
        .next()
        .and_then(|l| l.split_once(" = "));
    let (version, _) = env!("CARGO_PKG_VERSION").rsplit_once('.').expect("a patch");
    assert_eq!(dependency, Some((package, &*format!("\"{version}\""))));
}

#[test]
fn the_table_of_features_lists_those_of_the_manifest() {
    let features = MANIFEST
        .split("[features]\n")
        .nth(1)
        .expect("a table of features");
    let features = features.split("\n\n").next().expect("an end of the table");
    let features: Vec<_> = features
        .lines()
        .filter_map(|line| line.split_once(" = ["))
        .collect();
    let features: Vec<_> = features.into_iter().map(|(name, _)| name).collect();
    let table = README
        .split("## Features")
        .nth(1)
        .expect("a section of features");
    let table = table.split("\n## ").next().expect("an end of the section");
    let documented: Vec<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(documented, features);
}
