//! Where the database is, as every command that asks it is told.

use std::path::PathBuf;

use super::ending::Ending;
use super::settings;
use crate::commit::postgres::{Database, DatabaseOptions};
use crate::launch::exit::Exit;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// The database, postgresql://user@host:port/name
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, required = true)]
    database_url: Option<String>,
    /// A file whose first line is the database's password; without it PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "FILE")]
    database_password_file: Option<PathBuf>,
}

impl DatabaseArgs {
    /// The database, with what the environment says as libpq's does: PGSSLMODE, PGSSLROOTCERT, PGSSLCERT, PGSSLKEY,
    /// PGPASSWORD, PGPASSFILE.
    ///
    /// # Errors
    ///
    /// When none is named, or the address, a setting or a file cannot be used.
    pub fn database(&self) -> Result<Database, Ending> {
        let Some(database_url) = &self.database_url else {
            let why = "no database is named; give --database-url, set DATABASE_URL, or write url under [database] in \
                       citytide.toml, for example\n  \
                       export DATABASE_URL=postgresql://citytide@localhost:5432/citytide";
            return Err(Ending::new(Exit::Usage, why.to_owned()));
        };
        let options = DatabaseOptions {
            password_file: self.database_password_file.clone(),
            ..DatabaseOptions::of_environment(|name| settings::environment(name)?.into_string().ok())
        };
        Ok(Database::parse(database_url, &options)?)
    }
}
