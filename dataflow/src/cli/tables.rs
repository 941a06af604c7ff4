//! The tables that a command works on: the domain file that describes them, and the database that holds them.

use std::path::{Path, PathBuf};

use citytide_domain::Domain;
use citytide_store::postgres::{Database, DatabaseOptions};

use super::exit_error::ExitError;
use super::settings;
use crate::runtime::exit::Exit;

#[derive(Debug, Clone, clap::Args)]
pub struct TablesArgs {
    /// Use this domain file; by default the built-in smart-city
    #[arg(long, value_name = "FILE", help_heading = "Domain")]
    domain: Option<PathBuf>,
    /// Connect to this database, postgresql://user@host:port/name
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, required = true)]
    #[arg(help_heading = "Database")]
    database_url: Option<String>,
    /// Read the database's password from the first line of this file; by default PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "FILE", help_heading = "Database")]
    database_password_file: Option<PathBuf>,
}

impl TablesArgs {
    pub fn read(&self) -> Result<(Domain, Database), ExitError> {
        Ok((self.domain()?, self.database()?))
    }

    pub fn domain(&self) -> Result<Domain, ExitError> {
        read_domain(self.domain.as_deref())
    }

    /// The database, with what the environment says as libpq's does: PGSSLMODE, PGSSLROOTCERT, PGSSLCERT, PGSSLKEY,
    /// PGPASSWORD, PGPASSFILE.
    ///
    /// # Errors
    ///
    /// When none is named, or the address, a setting or a file cannot be used.
    pub fn database(&self) -> Result<Database, ExitError> {
        let Some(database_url) = &self.database_url else {
            let why = "no database is named; give --database-url, set DATABASE_URL, or write url under [database] in \
                       citytide.toml, for example\n  \
                       export DATABASE_URL=postgresql://citytide@localhost:5432/citytide";
            return Err(ExitError::new(Exit::Usage, why));
        };
        let options = DatabaseOptions {
            password_file: self.database_password_file.clone(),
            ..DatabaseOptions::of_environment(|name| settings::environment(name)?.into_string().ok())
        };
        Ok(Database::parse(database_url, &options)?)
    }
}

/// Reads a domain file, or takes the built-in smart-city.
pub fn read_domain(file: Option<&Path>) -> Result<Domain, ExitError> {
    let Some(path) = file else { return Ok(Domain::smart_city()) };
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        ExitError::new(Exit::Config, format!("cannot read the domain file {shown}: {error}"))
    })?;
    Domain::parse(&shown, &text).map_err(|mistakes| {
        ExitError::new(Exit::Config, format!("the domain file cannot be used\n{mistakes}"))
    })
}
