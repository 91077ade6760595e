//! Compares the declarations in `src/lib.rs` with `hakmem.h`. The test translates the Rust
//! declarations to C, and the C compiler compares them with the header.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use syn::{Fields, ForeignItem, Item, ReturnType, Type};

const DECLARATIONS: &str = include_str!("../src/lib.rs");
const INCLUDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/c/include");

/// Macros of the header that are attributes, not values.
const ATTRIBUTE_MACROS: [&str; 7] = [
    "HAKMEM_H",
    "HAK_API",
    "HAK_ALLOCATES",
    "HAK_ALLOCATES_ARRAY",
    "HAK_REALLOCATES",
    "HAK_REALLOCATES_ARRAY",
    "HAK_NOEXCEPT",
];

/// Names of the header that Rust programs define rather than use.
const DEFINED_BY_PROGRAMS: [&str; 1] = ["hak_conf"];

/// All declarations of the crate, with types in C syntax.
#[derive(Default)]
struct Declared {
    functions: BTreeMap<String, Function>,
    structs: BTreeMap<String, Vec<(String, String)>>,
    /// Structs that only the library can look into.
    opaque: BTreeSet<String>,
    enums: BTreeSet<String>,
    constants: BTreeMap<String, String>,
}

struct Function {
    result: String,
    parameters: Vec<String>,
}

impl Declared {
    fn parse(source: &str) -> Self {
        let mut declared = Self::default();
        for item in syn::parse_file(source).expect("lib.rs is Rust").items {
            match item {
                Item::ForeignMod(block) => {
                    for item in block.items {
                        let ForeignItem::Fn(function) = item else {
                            panic!("not a function")
                        };
                        let parameters = function.sig.inputs.iter().map(|input| match input {
                            syn::FnArg::Typed(parameter) => c_type(&parameter.ty),
                            syn::FnArg::Receiver(_) => panic!("a method"),
                        });
                        let result = match &function.sig.output {
                            ReturnType::Default => "void".to_owned(),
                            ReturnType::Type(_, result) => c_type(result),
                        };
                        declared.functions.insert(
                            function.sig.ident.to_string(),
                            Function {
                                result,
                                parameters: parameters.collect(),
                            },
                        );
                    }
                }
                Item::Struct(item) => {
                    let Fields::Named(fields) = &item.fields else {
                        panic!("not a C struct")
                    };
                    let names = fields.named.iter().filter_map(|field| field.ident.as_ref());
                    if names.clone().any(|name| name == "_opaque") {
                        declared.opaque.insert(item.ident.to_string());
                        continue;
                    }
                    let repr = item.attrs.iter().any(|attribute| {
                        attribute.path().is_ident("repr")
                            && attribute
                                .parse_args::<syn::Ident>()
                                .is_ok_and(|repr| repr == "C")
                    });
                    assert!(repr, "{} is not repr(C)", item.ident);
                    let fields = fields.named.iter().map(|field| {
                        let name = field.ident.as_ref().expect("a named field").to_string();
                        (name, c_type(&field.ty))
                    });
                    declared
                        .structs
                        .insert(item.ident.to_string(), fields.collect());
                }
                Item::Type(item) => {
                    assert_eq!(c_type(&item.ty), "unsigned int", "{}", item.ident);
                    declared.enums.insert(item.ident.to_string());
                }
                Item::Const(item) => {
                    let value = match &*item.expr {
                        syn::Expr::Lit(literal) => match &literal.lit {
                            syn::Lit::Int(value) => value.to_string(),
                            syn::Lit::CStr(value) => {
                                format!("{:?}", value.value().to_str().expect("ASCII"))
                            }
                            _ => panic!("{} is neither a number nor text", item.ident),
                        },
                        _ => panic!("{} is not a literal", item.ident),
                    };
                    declared.constants.insert(item.ident.to_string(), value);
                }
                _ => {}
            }
        }
        declared
    }

    fn names(&self) -> BTreeSet<&str> {
        let names = self
            .functions
            .keys()
            .chain(self.structs.keys())
            .chain(&self.opaque)
            .chain(&self.enums);
        names
            .chain(self.constants.keys())
            .map(String::as_str)
            .collect()
    }

    /// Returns a C file that compiles only if the declarations match the header.
    fn to_c(&self) -> String {
        let mut c = String::from("#include <hakmem.h>\n");
        let mut line = |text: String| writeln!(c, "{text}").expect("a String takes all text");
        for (name, function) in &self.functions {
            let parameters = match function.parameters.as_slice() {
                [] => "void".to_owned(),
                parameters => parameters.join(", "),
            };
            let signature = format!("{} (*)({parameters})", function.result);
            line(same_type(&format!("&{name}"), &signature, name));
        }
        for (name, fields) in &self.structs {
            line(format!("struct rust_{name} {{"));
            for (field, kind) in fields {
                line(format!("    __typeof__({kind}) {field};"));
            }
            line("};".to_owned());
            for (field, kind) in fields {
                let what = format!("{name}.{field}");
                line(same_type(
                    &format!("((struct {name} *)0)->{field}"),
                    kind,
                    &what,
                ));
                line(format!(
                    "_Static_assert(offsetof(struct {name}, {field}) == \
                     offsetof(struct rust_{name}, {field}), \"offset of {what}\");"
                ));
            }
            line(format!(
                "_Static_assert(sizeof(struct {name}) == sizeof(struct rust_{name}), \
                 \"size of {name}\");"
            ));
        }
        for name in &self.enums {
            line(format!(
                "_Static_assert(sizeof(enum {name}) == sizeof(unsigned int) && \
                 (enum {name})-1 > 0, \"{name}\");"
            ));
        }
        for (name, value) in &self.constants {
            line(if value.starts_with('"') {
                format!("_Static_assert(__builtin_strcmp({name}, {value}) == 0, \"{name}\");")
            } else {
                format!("_Static_assert(({name}) == {value}, \"{name}\");")
            });
        }
        c
    }
}

fn same_type(expression: &str, kind: &str, what: &str) -> String {
    format!(
        "_Static_assert(__builtin_types_compatible_p(__typeof__({expression}), {kind}), \
         \"{what}\");"
    )
}

/// Returns the C equivalent of a Rust type in the declarations.
fn c_type(kind: &Type) -> String {
    match kind {
        Type::Ptr(pointer) => {
            let target = c_type(&pointer.elem);
            let constant = if matches!(pointer.mutability, syn::PointerMutability::Const(_)) {
                "const "
            } else {
                ""
            };
            format!("{constant}{target} *")
        }
        // An optional function pointer. Function pointers in C may be null.
        Type::Path(path) if path.path.segments[0].ident == "Option" => {
            let syn::PathArguments::AngleBracketed(inner) = &path.path.segments[0].arguments else {
                panic!("Option of what?")
            };
            let syn::GenericArgument::Type(Type::FnPtr(function)) = &inner.args[0] else {
                panic!("an Option of something else than a function")
            };
            let result = match &function.output {
                ReturnType::Default => "void".to_owned(),
                ReturnType::Type(_, result) => c_type(result),
            };
            let parameters: Vec<_> = function
                .inputs
                .iter()
                .map(|parameter| c_type(&parameter.ty))
                .collect();
            format!("{result} (*)({})", parameters.join(", "))
        }
        Type::Array(array) => {
            let syn::Expr::Lit(syn::ExprLit {
                lit: syn::Lit::Int(length),
                ..
            }) = &array.len
            else {
                panic!("the length of an array is not a literal")
            };
            format!("{}[{length}]", c_type(&array.elem))
        }
        Type::Path(path) => {
            let name = path.path.get_ident().expect("a plain name").to_string();
            match name.as_str() {
                "c_void" => "void".to_owned(),
                "c_char" => "char".to_owned(),
                "c_int" => "int".to_owned(),
                "c_uint" => "unsigned int".to_owned(),
                "usize" => "size_t".to_owned(),
                "u64" => "uint64_t".to_owned(),
                "hak_stats"
                | "hak_class_stats"
                | "hak_option_info"
                | "hak_profile_options"
                | "hak_thread_counters"
                | "hak_limit"
                | "hak_heap"
                | "hak_heap_options"
                | "hak_heap_stats" => {
                    format!("struct {name}")
                }
                "hak_prewarm_set" | "hak_report_format" | "hak_profile_format"
                | "hak_limit_kind" | "hak_heap_purge" => {
                    format!("enum {name}")
                }
                _ => panic!("{name} has no C counterpart here"),
            }
        }
        _ => panic!("a type without a C counterpart here"),
    }
}

fn compiler() -> Command {
    let mut compiler = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    compiler.args(["-std=gnu11", "-I", INCLUDE, "-x", "c", "-"]);
    compiler
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    compiler
}

/// Compiles `source`. Returns the compiler's output, or its error messages on failure.
fn run(compiler: &mut Command, source: &str) -> Result<String, String> {
    let mut child = compiler.spawn().expect("a C compiler runs");
    let mut input = child.stdin.take().expect("a piped input");
    input
        .write_all(source.as_bytes())
        .expect("the compiler reads all of its input");
    drop(input);
    let output = child.wait_with_output().expect("the compiler ends");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).expect("text"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn check(declarations: &str) -> Result<String, String> {
    run(
        compiler().arg("-fsyntax-only"),
        &Declared::parse(declarations).to_c(),
    )
}

/// Returns the words of `text` that start with `prefix`.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with(prefix))
        .collect()
}

#[test]
fn every_declaration_has_the_type_and_value_of_the_header() {
    if let Err(complaints) = check(DECLARATIONS) {
        panic!("the declarations differ from hakmem.h:\n{complaints}");
    }
}

#[test]
fn every_name_of_the_header_is_declared_and_no_other() {
    let code = run(compiler().args(["-E", "-P"]), "#include <hakmem.h>\n").expect("it compiles");
    let macros = run(compiler().args(["-E", "-dM"]), "#include <hakmem.h>\n").expect("it compiles");
    let macros = macros
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split([' ', '(']).next())
        .filter(|name| name.starts_with("HAK"));
    let header = words(&code, "hak_")
        .into_iter()
        .chain(words(&code, "HAK_"))
        .chain(macros)
        .filter(|name| !ATTRIBUTE_MACROS.contains(name) && !DEFINED_BY_PROGRAMS.contains(name))
        .collect::<BTreeSet<_>>();
    assert_eq!(Declared::parse(DECLARATIONS).names(), header);
}

#[test]
fn a_changed_declaration_is_found() {
    for (from, to) in [
        (
            "pub safe fn hak_malloc(size: usize)",
            "pub safe fn hak_malloc(size: c_uint)",
        ),
        (
            "pub fn hak_dealloc(ptr: *mut c_void, size: usize",
            "pub fn hak_dealloc(size: usize",
        ),
        (
            "hak_usable_size(ptr: *const c_void)",
            "hak_usable_size(ptr: *mut c_void)",
        ),
        ("hak_trim() -> usize", "hak_trim() -> c_int"),
        (
            "hak_trim() -> usize",
            "hak_trim(set: hak_prewarm_set) -> usize",
        ),
        (
            "text: *const c_char, bytes: usize)",
            "text: *const c_char, bytes: c_int)",
        ),
        ("pub fn hak_free(", "pub fn hak_release("),
        ("pub bytes_live: u64", "pub bytes_alive: u64"),
        ("pub heaps: u64", "pub heaps: c_uint"),
        (
            "pub threads: u64",
            "pub bytes_of_threads: u64,\n pub threads: u64",
        ),
        ("pub blocks_free: u64,", ""),
        ("pub help: *const c_char", "pub help: *mut c_char"),
        ("pub is_size: c_int", "pub is_size: u64"),
        ("hak_prewarm_set = 2", "hak_prewarm_set = 3"),
        (
            "HAK_VERSION_MINOR: c_int = 1",
            "HAK_VERSION_MINOR: c_int = 9",
        ),
        ("c\"0.1.0\"", "c\"0.1.9\""),
        ("pub name: [c_char; 32]", "pub name: [c_char; 31]"),
        (
            "heap: *mut hak_heap, bytes: usize) -> c_int",
            "heap: *mut hak_heap, bytes: usize)",
        ),
        (
            "hak_heap_of(ptr: *const c_void) -> *mut hak_heap",
            "hak_heap_of(ptr: *const c_void) -> *mut c_void",
        ),
    ] {
        assert!(
            DECLARATIONS.contains(from),
            "{from} is not in lib.rs any more"
        );
        let changed = DECLARATIONS.replacen(from, to, 1);
        assert!(check(&changed).is_err(), "{to} passes");
    }
}
