//! `cargo xtask schema`: writes the published schemas of the resource beside the crate that they are made from.

use std::fs;

use crate::Failure;
use crate::run::in_repository;

/// Writes both schemas and names them.
pub fn write() -> Result<(), Failure> {
    for (name, content) in provider_schema::schema::files() {
        let path = in_repository("provider-schema").join(name);
        fs::write(&path, content).map_err(|error| Failure(format!("cannot write {}: {error}", path.display())))?;
        println!("provider-schema/{name}");
    }
    Ok(())
}

/// Fails when a committed schema is not what the types make.
pub fn check() -> Result<(), Failure> {
    for (name, content) in provider_schema::schema::files() {
        if fs::read_to_string(in_repository("provider-schema").join(name)).ok() != Some(content) {
            return Err(Failure(format!("provider-schema/{name} differs from the types.\nRun: cargo xtask schema")));
        }
    }
    Ok(())
}
