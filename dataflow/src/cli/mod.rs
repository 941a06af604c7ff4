//! One file per command, and what they share: endings, the status line, what `--show` prints.
pub mod dead_letters;
pub mod ending;
pub mod log;
pub mod run;
pub mod show;
pub mod status;
pub mod verify;

use std::path::Path;

use citytide_domain::Domain;

use crate::launch::exit::Exit;
use ending::Ending;

/// Reads a domain file, or takes the built-in smart-city.
pub fn read_domain(file: Option<&Path>) -> Result<Domain, Ending> {
    let Some(path) = file else { return Ok(Domain::smart_city()) };
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Ending::new(Exit::Config, format!("cannot read the domain file {shown}: {error}"))
    })?;
    Domain::parse(&shown, &text)
        .map_err(|mistakes| Ending::new(Exit::Config, format!("the domain file cannot be used\n{mistakes}")))
}
