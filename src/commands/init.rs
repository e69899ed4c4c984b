//! `dirvol init DIR`

use crate::cli::Init;
use crate::config;
use crate::store;

use super::Failure;

/// Makes a directory a root, and prints which one it is. A root stays as it is.
///
/// # Errors
/// The directory is not empty, or the disk refuses; nothing is changed then.
pub fn init(args: &Init) -> Result<(), Failure> {
    let path = std::path::absolute(&args.dir)
        .map_err(|error| Failure::Usage(format!("{}: {error}", args.dir.display())))?;
    let id = store::init(&path, config::scope(&args.scope))
        .map_err(|error| Failure::Failed(error.to_string()))?;
    println!("{} is root {id}", path.display());
    Ok(())
}
