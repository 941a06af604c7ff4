//! `citytide serve`: the page and the API, beside a run or without one; and `run --serve`, the same on a thread of the run's
//! supervisor.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use citytide_domain::Domain;
use citytide_serve::listen::{self, ListenAddress};
use citytide_serve::{ADDRESS, Token, purpose};
use citytide_store::postgres::Database;
use citytide_store::session;
use clap::Args as ClapArgs;

use super::exit_error::ExitError;
use super::settings::Relations;
use super::tables::TablesArgs;
use super::verify;
use crate::runtime::exit::Exit;
use crate::runtime::{output, panic};

/// What was typed.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "The page reads the database only; a run need not be here, nor be alive. Elsewhere than on the \
    loopback interface it is served only with a token.\n\n\
    Examples:\n  citytide serve\n  citytide serve --listen 0.0.0.0:8501 --token-file token"
)]
pub struct Args {
    #[command(flatten)]
    tables: TablesArgs,
    /// Serve at HOST:PORT, or at PORT of the loopback interface
    #[arg(id = "asked.listen", long = "listen", value_name = "[HOST:]PORT", default_value = ADDRESS)]
    listen: ListenAddress,
    #[command(flatten)]
    token: TokenArgs,
}

/// Who may look.
#[derive(Debug, Clone, ClapArgs)]
pub struct TokenArgs {
    /// Ask for the token in the first line of this file, as a bearer or in a login form
    #[arg(long, value_name = "FILE", help_heading = "Page")]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// Adds that an address that others reach needs a token.
    pub fn check(&self, address: &ListenAddress, flag: &str, wrong: &mut Vec<String>) {
        if self.token_file.is_none() && !address.is_loopback() {
            wrong.push(format!(
                "{flag} {address} is reached from other machines: give --token-file, or an address of the loopback \
                 interface, such as {ADDRESS}"
            ));
        }
    }

    fn token(&self) -> Result<Option<Token>, ExitError> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let refused = |why: String| {
            ExitError::new(Exit::Config, format!("cannot use the token file {}: {why}", path.display()))
        };
        let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        Token::new(&text).map(Some).map_err(refused)
    }
}

/// The page beside a run.
#[derive(Debug, Clone, ClapArgs)]
pub struct PageArgs {
    /// Also serve the page and the API at HOST:PORT, or at PORT of the loopback interface
    #[arg(long, value_name = "[HOST:]PORT", help_heading = "Page")]
    serve: Option<ListenAddress>,
    #[command(flatten)]
    token: TokenArgs,
}

impl PageArgs {
    /// Adds what does not fit together.
    pub fn check(&self, wrong: &mut Vec<String>) {
        if let Some(address) = &self.serve {
            self.token.check(address, "--serve", wrong);
        }
    }

    /// Serves the page, if that was asked for, on a thread of its own that the run never waits for.
    ///
    /// # Errors
    ///
    /// When nobody could ever reach it: the address or the token file cannot be used.
    pub fn start(&self, tables: &TablesArgs) -> Result<(), ExitError> {
        let Some(address) = &self.serve else { return Ok(()) };
        let page = Page::new(address, "--serve", &self.token, tables)?;
        let thread = std::thread::Builder::new().name(panic::PAGE.to_owned());
        let started = thread.spawn(move || {
            if let Err(error) = page.serve() {
                tracing::error!("the page has ended, the run goes on: {error}");
            }
        });
        started
            .map_err(|error| ExitError::new(Exit::Bug, format!("cannot start the page's thread: {error}")))?;
        Ok(())
    }
}

/// A page that is about to be served.
struct Page {
    listener: TcpListener,
    database: Database,
    domain: Domain,
    token: Option<Token>,
}

impl Page {
    fn new(
        address: &ListenAddress,
        flag: &'static str,
        token: &TokenArgs,
        tables: &TablesArgs,
    ) -> Result<Page, ExitError> {
        let (domain, database) = tables.read()?;
        let token = token.token()?;
        let listener = listen::listen(address, purpose(flag), Duration::ZERO)
            .map_err(|error| ExitError::new(Exit::Config, error))?;
        tracing::info!("the page is at http://{address}");
        Ok(Page { listener, database, domain, token })
    }

    fn serve(self) -> std::io::Result<()> {
        let Page { listener, database, domain, token } = self;
        session::runtime().block_on(citytide_serve::serve(listener, database, domain, token))
    }
}

impl Relations for Args {
    fn check(&self, wrong: &mut Vec<String>) {
        self.token.check(&self.listen, "--listen", wrong);
    }
}

/// Serves until it is killed; returns the exit code.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    let (domain, database) = args.tables.read()?;
    session::runtime().block_on(async {
        let client = database.connect("citytide:serve").await?;
        verify::check_fits(&client, &database, &domain).await.map_err(ExitError::from)
    })?;
    let page = Page::new(&args.listen, "--listen", &args.token, &args.tables)?;
    output::flush();
    page.serve().map_err(|error| ExitError::new(Exit::Bug, format!("the page has ended: {error}")))?;
    Ok(Exit::Done.code())
}
