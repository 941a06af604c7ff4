//! What people do with an incident, over HTTP: the same functions as on the command line.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use citytide_store::incidents::{ActError, Action, act, shown};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, answer};
use crate::problem::Problem;

/// The actions, as the last part of the path.
pub const ACTIONS: [&str; 7] = ["acknowledge", "assign", "comment", "shelve", "unshelve", "out", "in"];
/// Characters of a comment or a name at most.
const TEXT_MAX: usize = 2_000;
/// Minutes that are no more than any domain allows.
const MINUTES_MAX: i64 = 1_000_000;

/// What is said along.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// Why, or what there is to say; `comment` and `shelve` need it.
    comment: Option<String>,
    /// Who does it; by default the database role of this server.
    actor: Option<String>,
    /// Of `assign`: who takes care of it; without, nobody does.
    assignee: Option<String>,
    /// Of `shelve`: for how long.
    minutes: Option<i64>,
}

impl Said {
    fn read(body: &[u8]) -> Result<Said, Problem> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Said::default());
        }
        let said: Said = serde_json::from_slice(body)
            .map_err(|error| Problem::asked(format!("the body is no such object: {error}")))?;
        for text in [&said.comment, &said.actor, &said.assignee].into_iter().flatten() {
            if text.chars().count() > TEXT_MAX {
                return Err(Problem::asked(format!("a text is longer than {TEXT_MAX} characters")));
            }
        }
        Ok(Said {
            comment: some(said.comment),
            actor: some(said.actor),
            assignee: some(said.assignee),
            minutes: said.minutes,
        })
    }

    fn action(&self, name: &str) -> Result<Action, Problem> {
        Ok(match name {
            "acknowledge" => Action::Acknowledge,
            "assign" => Action::Assign(self.assignee.clone()),
            "comment" => Action::Comment,
            "shelve" => {
                let minutes = self.minutes.filter(|minutes| (1..=MINUTES_MAX).contains(minutes));
                let minutes = minutes.ok_or_else(|| Problem::asked("shelve needs minutes, 1 or more"))?;
                Action::Shelve(minutes * 60_000_000)
            }
            "unshelve" => Action::Unshelve,
            "out" | "in" => Action::Service { is_out: name == "out" },
            _ => return Err(Problem::missing(format!("no action {name}; there are {}", ACTIONS.join(", ")))),
        })
    }
}

/// What is blank says nothing.
fn some(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Problem {
        match error {
            ActError::Refused(why) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why),
            ActError::Missing(why) => Problem::missing(why),
            ActError::Denied { .. } => Problem::new(StatusCode::FORBIDDEN, error.to_string()),
            ActError::Database(error) => error.into(),
        }
    }
}

/// `POST /api/v1/incidents/ID/ACTION`: does it, and answers with the incident as it is then.
pub async fn post(
    State(api): State<Arc<Api>>,
    Path((id, action)): Path<(String, String)>,
    body: Bytes,
) -> Result<axum::response::Response, Problem> {
    let said = Said::read(&body)?;
    let action = said.action(&action)?;
    let session = api.pool.session().await?;
    act(&session.client, &id, &action, said.comment.as_deref(), said.actor.as_deref()).await?;
    let incident = shown::incident(&session.client, &id).await?;
    session.give_back();
    let incident = serde_json::to_value(incident).map_or(Value::Null, |incident| incident);
    Ok(answer(json!({ "incident": incident }).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_becomes_an_action() {
        let action = |name: &str, body: &str| {
            let said = Said::read(body.as_bytes()).map_err(|problem| problem.detail)?;
            said.action(name).map_err(|problem| problem.detail)
        };
        assert_eq!(action("acknowledge", ""), Ok(Action::Acknowledge));
        assert_eq!(
            action("shelve", r#"{"minutes":120,"comment":"works"}"#),
            Ok(Action::Shelve(7_200_000_000))
        );
        assert_eq!(action("assign", r#"{"assignee":" "}"#), Ok(Action::Assign(None)), "blank is nobody");
        assert_eq!(action("out", "{}"), Ok(Action::Service { is_out: true }));
        assert!(action("shelve", "{}").is_err(), "for how long");
        assert!(action("close", "{}").expect_err("no action").contains("unshelve"));
        assert!(action("comment", r#"{"coment":"x"}"#).expect_err("unknown").contains("coment"));
        assert!(action("comment", &format!("{{\"comment\":\"{}\"}}", "x".repeat(3_000))).is_err());
    }
}
