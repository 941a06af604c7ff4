//! Labels as windows of time, by file: JSON as the Numenta Anomaly Benchmark writes it.

use std::collections::BTreeMap;
use std::path::Path;

use citytide_evaluate::time_us;

use super::error::EvaluateError;

/// Windows by the end of a file's path, microseconds, first and last inclusive.
#[derive(Debug)]
pub struct Windows {
    path: String,
    by_name: BTreeMap<String, Vec<(i64, i64)>>,
}

impl Windows {
    /// Reads `{"realTraffic/speed_6005.csv": [["2015-08-31 18:22:00", "2015-09-02 09:12:00"]]}`.
    pub fn read(path: &Path) -> Result<Windows, EvaluateError> {
        let bytes = std::fs::read(path).map_err(|reason| EvaluateError::read(path, &reason))?;
        let wrong = |why: String| EvaluateError::Windows { path: path.display().to_string(), why };
        let told: BTreeMap<String, Vec<[String; 2]>> =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        let mut by_name = BTreeMap::new();
        for (name, windows) in told {
            let at_us =
                |text: &String| time_us(text).ok_or_else(|| wrong(format!("{name}: {text:?} is not a time")));
            let read = |[first, last]: &[String; 2]| Ok((at_us(first)?, at_us(last)?));
            let windows = windows.iter().map(read).collect::<Result<Vec<_>, EvaluateError>>()?;
            by_name.insert(name, windows);
        }
        Ok(Windows { path: path.display().to_string(), by_name })
    }

    /// The windows of a file.
    pub fn of(&self, file: &Path) -> Result<&[(i64, i64)], EvaluateError> {
        let found = self.by_name.iter().find(|(name, _)| file.ends_with(name));
        let why = || format!("it has no windows of {}", file.display());
        found
            .map(|(_, windows)| &windows[..])
            .ok_or_else(|| EvaluateError::Windows { path: self.path.clone(), why: why() })
    }
}
