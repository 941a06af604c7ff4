//! Where the database is, as every command that asks it is told.

use std::path::PathBuf;

use super::config;
use super::ending::Ending;
use crate::commit::postgres::{Database, DatabaseOptions};
use crate::launch::exit::Exit;

/// Where the database is.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// The database, postgresql://user@host:port/name
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: String,
    /// A file whose first line is the database's password; without it PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "FILE")]
    database_password_file: Option<PathBuf>,
}

/// The same for commands with commands below them, before or behind those; clap cannot require what is global.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Database")]
pub struct GlobalDatabaseArgs {
    /// The database, postgresql://user@host:port/name
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
    /// A file whose first line is the database's password; without it PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "FILE", global = true)]
    database_password_file: Option<PathBuf>,
}

impl DatabaseArgs {
    /// The database, with what the environment says as libpq's does: PGSSLMODE, PGSSLROOTCERT, PGSSLCERT, PGSSLKEY,
    /// PGPASSWORD, PGPASSFILE.
    ///
    /// # Errors
    ///
    /// When the address, a setting or a file cannot be used.
    pub fn database(&self) -> Result<Database, Ending> {
        let options = DatabaseOptions {
            password_file: self.database_password_file.clone(),
            ..DatabaseOptions::of_environment(|name| config::environment(name)?.into_string().ok())
        };
        Ok(Database::parse(&self.database_url, &options)?)
    }
}

impl GlobalDatabaseArgs {
    /// As [`DatabaseArgs::database`].
    ///
    /// # Errors
    ///
    /// As there, and when no database is named.
    pub fn database(&self) -> Result<Database, Ending> {
        let GlobalDatabaseArgs { database_url, database_password_file } = self.clone();
        let Some(database_url) = database_url else {
            let why = "no database is named; set DATABASE_URL or give --database-url, for example\n  \
                       export DATABASE_URL=postgresql://citytide@localhost:5432/citytide";
            return Err(Ending::new(Exit::Usage, why.to_owned()));
        };
        DatabaseArgs { database_url, database_password_file }.database()
    }
}
