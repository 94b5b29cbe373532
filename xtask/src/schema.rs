//! `cargo xtask schema`: writes the published schemas of the resource beside the crate that they are made from.

use std::path::Path;

use crate::Failure;

/// The repository's root.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Writes both schemas and names them.
pub fn write() -> Result<(), Failure> {
    for (name, content) in provider_schema::schema::files() {
        let path = Path::new(ROOT).join("provider-schema").join(name);
        std::fs::write(&path, content).map_err(|error| Failure(format!("cannot write {}: {error}", path.display())))?;
        println!("provider-schema/{name}");
    }
    Ok(())
}
