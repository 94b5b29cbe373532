//! What the product may be made of: every dependency comes from crates.io under a licence that an Apache-2.0 product
//! can carry, and some crates are kept out by name.

use serde_json::Value;

use crate::Failure;
use crate::run::{cargo, output};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The targets for which dependencies are looked at: those that the artifact is built for.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

const LICENCES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that must not come in, and why.
const BANNED: [(&str, &str); 4] = [
    ("aws-lc-sys", "TLS is ring here, which builds with a C compiler alone"),
    ("native-tls", "TLS is rustls here, so that the artifact links against glibc alone"),
    ("openssl-sys", "TLS is rustls here, so that the artifact links against glibc alone"),
    ("serde_yaml", "is deprecated; templates are read with saphyr"),
];

/// Looks at every dependency; all that is wrong is reported at once.
pub fn check() -> Result<(), Failure> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked"]);
    for target in TARGETS {
        metadata.args(["--filter-platform", target]);
    }
    let advice = "Commit Cargo.lock when dependencies change.";
    let (ok, json) = output(&mut metadata, advice)?;
    if !ok {
        return Err(Failure(format!("cargo metadata failed.\n{advice}")));
    }
    let metadata: Value =
        serde_json::from_str(&json).map_err(|error| Failure(format!("cargo metadata cannot be read: {error}")))?;
    let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
    let problems: Vec<String> = packages.iter().filter_map(|package| problem(package)).collect();
    if !problems.is_empty() {
        let advice = "Choose another crate, or weigh the licence and add it in xtask/src/dependencies.rs.";
        return Err(Failure(format!("{}\n{advice}", problems.join("\n"))));
    }
    println!("{} packages: licences, sources and banned crates checked.", packages.len());
    println!("Advisories are not checked: the RustSec database is not on crates.io.");
    Ok(())
}

fn problem(package: &Value) -> Option<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let version = package["version"].as_str().unwrap_or_default();
    if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| *banned == name) {
        return Some(format!("{name} {version} is banned: {reason}"));
    }
    match package["source"].as_str() {
        None | Some(CRATES_IO) => {}
        Some(source) => return Some(format!("{name} {version} comes from {source}, not from crates.io")),
    }
    match package["license"].as_str() {
        Some(licence) if is_allowed(licence) => None,
        licence => Some(format!("{name} {version} has the licence {}", licence.unwrap_or("(none named)"))),
    }
}

/// Whether an SPDX expression can be satisfied with allowed licences. The older `/` means `OR`. A nesting of
/// parentheses is not expected and is refused.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    split_outside_parentheses(&expression, " AND ").iter().all(|all| {
        let all = all.trim();
        let inner = all.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(all);
        inner.split(" OR ").any(|licence| LICENCES.contains(&licence.trim()))
    })
}

fn split_outside_parentheses<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for (index, _) in text.match_indices(separator) {
        let before = &text[..index];
        if before.matches('(').count() == before.matches(')').count() {
            parts.push(&text[begin..index]);
            begin = index + separator.len();
        }
    }
    parts.push(&text[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions() {
        for allowed in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 AND ISC",
        ] {
            assert!(is_allowed(allowed), "{allowed}");
        }
        for refused in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", "Proprietary"] {
            assert!(!is_allowed(refused), "{refused}");
        }
    }

    #[test]
    fn a_dependency_from_elsewhere_or_a_banned_one_is_named() {
        let package = |name: &str, source: &str| {
            serde_json::json!({
                "name": name, "version": "1.0.0", "license": "MIT", "source": source,
            })
        };
        assert_eq!(problem(&package("serde", CRATES_IO)), None);
        let elsewhere = problem(&package("serde", "git+https://example.com/serde")).unwrap_or_default();
        assert!(elsewhere.contains("serde 1.0.0 comes from git"), "{elsewhere}");
        let banned = problem(&package("openssl-sys", CRATES_IO)).unwrap_or_default();
        assert!(banned.contains("openssl-sys 1.0.0 is banned"), "{banned}");
    }
}
