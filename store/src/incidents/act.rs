//! Calls the functions `citytide_incident_…` for a user.

use thiserror::Error;
use tokio_postgres::GenericClient;
use tokio_postgres::types::ToSql;

use crate::compare::interval;
use crate::postgres::DatabaseError;

/// An action of a user on an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Acknowledge,
    /// `None` removes the assignment.
    Assign(Option<String>),
    Comment,
    /// For this many microseconds.
    Shelve(i64),
    Unshelve,
    /// Marks the incident's subject as out of service, or back in service.
    Service {
        is_out: bool,
    },
}

/// Why an action failed.
#[derive(Debug, Error)]
pub enum ActError {
    /// The arguments are invalid: the server's message.
    #[error("{0}")]
    Refused(String),
    /// The incident does not exist, or has not opened yet: the server's message.
    #[error("{0}")]
    Missing(String),
    /// The role lacks the privilege.
    #[error(
        "{reason}; acting on incidents needs the role citytide_operator of sql/roles.sql: grant citytide_operator to …"
    )]
    Denied { reason: String },
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Records an action, in the name of `actor` or of the session's user.
///
/// # Errors
///
/// See [`ActError`].
pub async fn act(
    client: &impl GenericClient,
    incident: &str,
    action: &Action,
    comment: Option<&str>,
    actor: Option<&str>,
) -> Result<(), ActError> {
    let (name, own) = match action {
        Action::Acknowledge => ("acknowledge", String::new()),
        Action::Assign(_) => ("assign", "assignee => $3::text, ".to_owned()),
        Action::Comment => ("comment", String::new()),
        Action::Shelve(us) => ("shelve", format!("duration => {}, ", interval(*us))),
        Action::Unshelve => ("unshelve", String::new()),
        Action::Service { is_out } => ("service", format!("is_out => {is_out}, ")),
    };
    let assignee = match action {
        Action::Assign(assignee) => assignee.as_deref(),
        _ => None,
    };
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&incident, &comment];
    if matches!(action, Action::Assign(_)) {
        parameters.push(&assignee);
    }
    let mut by = String::new();
    if let Some(actor) = &actor {
        parameters.push(actor);
        by = format!(", actor => ${}::text", parameters.len());
    }
    let sql =
        format!("select citytide_incident_{name}(incident => $1::text, {own}comment => $2::text{by})::text");
    let Err(error) = client.query(&sql, &parameters).await else { return Ok(()) };
    let reason = || error.as_db_error().map_or(String::new(), |error| error.message().to_owned());
    match error.code().map(|code| code.code()) {
        Some("CT002") => Err(ActError::Missing(reason())),
        Some("CT003") => Err(ActError::Refused(reason())),
        Some("42501") => Err(ActError::Denied { reason: reason() }),
        _ => Err(DatabaseError::statement("acting on an incident", &error).into()),
    }
}
