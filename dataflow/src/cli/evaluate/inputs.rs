//! The files that are evaluated: those that were named, and the CSV files of directories.

use std::path::{Path, PathBuf};

use super::error::EvaluateError;

/// Most files of one call.
const FILES_MAX: usize = 10_000;

/// The files of what was typed; directories are walked, in the order of their names.
pub fn inputs(typed: &[PathBuf]) -> Result<Vec<PathBuf>, EvaluateError> {
    let mut files = Vec::new();
    for path in typed {
        let before = files.len();
        if path.is_dir() {
            walk(path, &mut files)?;
            if files.len() == before {
                return Err(EvaluateError::NoTables { path: path.display().to_string() });
            }
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), EvaluateError> {
    let failed = |reason| EvaluateError::read(directory, &reason);
    let entries = std::fs::read_dir(directory).map_err(failed)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(EvaluateError::TooManyTables { max: FILES_MAX });
        }
    }
    Ok(())
}
