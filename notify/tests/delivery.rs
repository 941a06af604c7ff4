//! Notifying from a real database to real receivers on this machine, which fail, hang, ask to be left alone, and answer
//! twice. `DATABASE_URL` names a server on which databases can be made.

#[path = "delivery/city.rs"]
mod city;
#[path = "delivery/receiver.rs"]
mod receiver;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use city::{City, with_city};
use citytide_notify::routes::{Route, parse};
use citytide_notify::{Ends, NotifyError, run};
use citytide_store::postgres::Database;
use hmac::{Hmac, KeyInit, Mac};
use receiver::{Http, Reply, Smtp};
use serde_json::Value;

const KEY: &[u8] = b"a key of a receiver";

fn routes(toml: &str) -> Vec<Route> {
    let mut routes = parse(Path::new("citytide.toml"), toml).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let environment = |name: &str| match name {
        "KEY" => Some(format!("whsec_{}", STANDARD.encode(KEY))),
        "TOKEN" => Some("s3cret&".to_owned()),
        _ => None,
    };
    citytide_notify::routes::read_secrets(&mut routes, "citytide.toml", &environment).expect("secrets");
    routes
}

/// A webhook that is told at once and incident by incident.
fn webhook(name: &str, port: u16, more: &str) -> String {
    format!(
        "[routes.{name}]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/hook\"\nsecret_env = \"KEY\"\n\
         group_wait = \"0s\"\n{more}\n"
    )
}

/// Notifies until everything is delivered or given up.
async fn notify(database: &Database, toml: &str) {
    let ends = Ends { until_caught_up: true, stop: Arc::new(|| false) };
    run(database, routes(toml), &ends).await.expect("it catches up");
}

/// The keys of the notifications of a request.
fn keys(body: &str) -> Vec<String> {
    let body: Value = serde_json::from_str(body).expect("JSON");
    let all = body["data"]["notifications"].as_array().expect("a list");
    all.iter().map(|one| one["key"].as_str().expect("a key").to_owned()).collect()
}

/// The events and incidents of all requests, in their order.
fn told(http: &Http) -> Vec<String> {
    let mut told = Vec::new();
    for request in http.requests() {
        let body: Value = serde_json::from_str(&request.body).expect("JSON");
        for one in body["data"]["notifications"].as_array().expect("a list") {
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            told.push(format!("{} {}", text(&one["event"]), text(&one["incident"]["incident_id"])));
        }
    }
    told
}

#[test]
fn the_first_start_tells_what_is_open_in_one_message_and_mails_no_history() {
    with_city(async |city: &mut City| {
        city.commit(&["old open high 1", "old cleared high 2", "a open high 1", "b open low 1"]).await;
        let http = Http::start(|_, _| Reply::status(200));
        let toml = webhook("duty", http.port, "");
        notify(&city.database, &toml).await;
        notify(&city.database, &toml).await;
        let requests = http.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        let request = &requests[0];
        assert_eq!(keys(&request.body), ["duty/a/1", "duty/b/1"]);
        assert_eq!(request.header("webhook-id"), "duty/a/1+1");
        // As a receiver checks it.
        let signed = format!("duty/a/1+1.{}.{}", request.header("webhook-timestamp"), request.body);
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(KEY).expect("a key");
        mac.update(signed.as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(request.header("webhook-signature"), expected);
        assert_eq!(city.states().await, "duty a/1 sent 1, duty b/1 sent 1");
    });
}

#[test]
fn what_happens_while_nobody_notifies_is_told_later_once_and_in_order() {
    with_city(async |city: &mut City| {
        let http = Http::start(|_, _| Reply::status(200));
        let toml = webhook("duty", http.port, "group_max = 1\nseverity = \"medium\"");
        notify(&city.database, &toml).await;
        city.commit(&["a open medium 1"]).await;
        city.commit(&["a open high 2", "mild open low 1"]).await;
        city.commit(&["a cleared high 3", "mild cleared low 2", "b pending high 1"]).await;
        city.commit(&["b open high 2", "c open high 1"]).await;
        city.commit(&["b superseded high 3", "c withdrawn high 2", "a open high 4"]).await;
        notify(&city.database, &toml).await;
        notify(&city.database, &toml).await;
        let mut found = told(&http);
        found.sort();
        let mut expected = [
            "opened a",
            "escalated a",
            "cleared a",
            "reopened a",
            "opened b",
            "superseded b",
            "opened c",
            "withdrawn c",
        ];
        expected.sort_unstable();
        assert_eq!(found, expected);
        let of_a: Vec<String> = told(&http).into_iter().filter(|told| told.ends_with('a')).collect();
        assert_eq!(of_a, ["opened a", "escalated a", "cleared a", "reopened a"]);
    });
}

#[test]
fn what_people_took_care_of_is_not_told_and_is_once_that_ends() {
    with_city(async |city: &mut City| {
        let http = Http::start(|_, _| Reply::status(200));
        let toml = webhook("duty", http.port, "");
        notify(&city.database, &toml).await;
        city.commit(&["a open high 1", "b open high 1", "c open high 1"]).await;
        city.execute("select citytide_incident_shelve('a', '1 hour', 'works')").await;
        city.execute("select citytide_incident_service('b', true, 'replaced')").await;
        notify(&city.database, &toml).await;
        assert_eq!(told(&http), ["opened c"]);
        city.execute("select citytide_incident_unshelve('a')").await;
        city.commit(&["b cleared high 2", "c cleared high 2"]).await;
        notify(&city.database, &toml).await;
        let mut found = told(&http);
        found.sort();
        assert_eq!(found, ["cleared c", "opened a", "opened c"]);
    });
}

#[test]
fn a_receiver_that_fails_every_other_time_takes_everything_once() {
    with_city(async |city: &mut City| {
        let http = Http::start(|number, _| Reply::status(if number % 2 == 0 { 503 } else { 200 }));
        let toml = webhook("duty", http.port, "group_max = 1");
        let names: Vec<String> = (0..6).map(|number| format!("i{number} open low 1")).collect();
        city.commit(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        notify(&city.database, &toml).await;
        let requests = http.requests();
        assert_eq!(requests.len(), 12);
        for (failed, taken) in requests.iter().step_by(2).zip(requests.iter().skip(1).step_by(2)) {
            assert_eq!(failed.header("webhook-id"), taken.header("webhook-id"));
            assert_eq!(failed.body, taken.body, "the same content");
        }
        let mut all: Vec<String> =
            requests.iter().skip(1).step_by(2).flat_map(|one| keys(&one.body)).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
        assert_eq!(
            city.value("select count(*) from notifications where state = 'sent' and tries = 2").await,
            6
        );
    });
}

#[test]
fn a_receiver_that_hangs_holds_up_nobody_else_and_is_given_up() {
    with_city(async |city: &mut City| {
        let (hangs, works) = (Http::start(|_, _| Reply::Hang), Http::start(|_, _| Reply::status(204)));
        let toml = webhook("hangs", hangs.port, "group_max = 1\ntimeout = \"1s\"\ntries_max = 2")
            + &webhook("works", works.port, "group_max = 1");
        city.commit(&["a open low 1", "b open low 1", "c open low 1"]).await;
        let ends = Ends { until_caught_up: true, stop: Arc::new(|| false) };
        let (database, routes) = (city.database.clone(), routes(&toml));
        let notifying =
            tokio::spawn(
                async move { run(&database, routes, &ends).await.map_err(|error| error.to_string()) },
            );
        // Told by the table, not by the clock: the one is through while the other has not given up its first message.
        city.until("select count(*) = 3 from notifications where route = 'works' and state = 'sent'").await;
        assert_eq!(city.value("select count(*) from notification_failures").await, 0);
        notifying.await.expect("no panic").expect("it catches up");
        assert_eq!(works.requests().len(), 3);
        assert_eq!(
            city.value("select count(*) from notification_failures where route = 'hangs' and tries = 2")
                .await,
            3
        );
        let reason = city.text("select min(reason) from notification_failures").await;
        assert_eq!(reason, "no answer within 1 s");
    });
}

#[test]
fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    with_city(async |city: &mut City| {
        let http = Http::start(|number, _| match number {
            0 => Reply::Status(429, "Retry-After: 2\r\n".to_owned()),
            _ => Reply::status(200),
        });
        city.commit(&["a open low 1"]).await;
        notify(&city.database, &webhook("duty", http.port, "")).await;
        assert_eq!(http.requests().len(), 2);
        let waited = "select count(*) from notifications where state = 'sent' \
                      and claimed_at >= filed_at + interval '2 s'";
        assert_eq!(city.value(waited).await, 1);
    });
}

#[test]
fn an_answer_that_comes_twice_answers_one_message() {
    with_city(async |city: &mut City| {
        let http = Http::start(|number, _| if number == 0 { Reply::Twice } else { Reply::status(500) });
        city.commit(&["a open low 1", "b open low 1"]).await;
        notify(&city.database, &webhook("duty", http.port, "group_max = 1\ntries_max = 1")).await;
        assert_eq!(http.requests().len(), 2);
        // The second answer of the first message is none of the second, which failed.
        assert_eq!(city.states().await, "duty a/1 sent 1, duty b/1 given_up 1");
    });
}

#[test]
fn what_a_receiver_will_never_take_is_given_up_at_once() {
    with_city(async |city: &mut City| {
        let http = Http::start(|_, _| Reply::status(404));
        city.commit(&["a open low 1", "b open low 1"]).await;
        notify(&city.database, &webhook("duty", http.port, "")).await;
        assert_eq!(http.requests().len(), 1);
        let failure = city
            .text(
                "select concat_ws('|', route, message_id, notifications, incidents, tries, reason) \
                                 from notification_failures",
            )
            .await;
        assert_eq!(failure, "duty|duty/a/1+1|2|[\"a\", \"b\"]|1|404 Not Found: no");
        let summary =
            citytide_store::notifications::summary(&city.client).await.expect("asked").expect("in use");
        assert_eq!((summary.waiting, summary.given_up), (0, 1));
    });
}

#[test]
fn who_ends_between_sending_and_marking_sends_the_same_message_again() {
    with_city(async |city: &mut City| {
        let holds = Arc::new(AtomicBool::new(true));
        let held = holds.clone();
        let http = Http::start(
            move |_, _| if held.load(Ordering::Relaxed) { Reply::Hang } else { Reply::status(200) },
        );
        city.commit(&["a open low 1", "b open low 1"]).await;
        let toml = webhook("duty", http.port, "timeout = \"60s\"");
        let ends = Ends { until_caught_up: true, stop: Arc::new(|| false) };
        {
            let mut notifying = std::pin::pin!(run(&city.database, routes(&toml), &ends));
            while http.requests().is_empty() {
                let ended = tokio::time::timeout(Duration::from_millis(20), notifying.as_mut()).await;
                assert!(ended.is_err(), "the receiver does not answer");
            }
            // Dropped with the answer under way, and all of its sessions with it.
        }
        holds.store(false, Ordering::Relaxed);
        // One more opened meanwhile: it is no part of the message that was begun.
        city.commit(&["c open low 1"]).await;
        city.until(
            "select count(*) = 0 from pg_stat_activity where datname = current_database() \
                    and application_name = 'citytide:notify'",
        )
        .await;
        notify(&city.database, &toml).await;
        let requests = http.requests();
        assert_eq!(requests.len(), 3);
        assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
        assert_eq!(requests[0].body, requests[1].body);
        assert_eq!(keys(&requests[2].body), ["duty/c/1"]);
    });
}

#[test]
fn of_two_notifiers_the_second_is_refused_while_the_first_lives() {
    with_city(async |city: &mut City| {
        let http = Http::start(|_, _| Reply::status(200));
        let toml = webhook("duty", http.port, "");
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let ends = Ends { until_caught_up: false, stop: Arc::new(move || asked.load(Ordering::Relaxed)) };
        let (database, first) = (city.database.clone(), routes(&toml));
        let first =
            tokio::spawn(
                async move { run(&database, first, &ends).await.map_err(|error| error.to_string()) },
            );
        city.until("select count(*) = 1 from notification_routes").await;
        let caught_up = Ends { until_caught_up: true, stop: Arc::new(|| false) };
        let second = run(&city.database, routes(&toml), &caught_up).await;
        assert!(matches!(second, Err(NotifyError::Held)), "{second:?}");
        // The first is woken by a commit.
        city.commit(&["a open low 1"]).await;
        city.until("select count(*) = 1 from notifications where state = 'sent'").await;
        stop.store(true, Ordering::Relaxed);
        first.await.expect("no panic").expect("it ends in peace");
        notify(&city.database, &toml).await;
        assert_eq!(told(&http), ["opened a"]);
    });
}

#[test]
fn a_route_that_is_gone_from_the_file_leaves_nothing_waiting() {
    with_city(async |city: &mut City| {
        let http = Http::start(|_, _| Reply::status(200));
        city.commit(&["a open low 1"]).await;
        let slow = webhook("old", http.port, "").replace("0s", "1h");
        let ends = Ends { until_caught_up: false, stop: Arc::new(|| true) };
        run(&city.database, routes(&slow), &ends).await.expect("it files and stops");
        assert_eq!(city.states().await, "old a/1 waiting 0");
        notify(&city.database, &webhook("new", http.port, "")).await;
        assert_eq!(city.states().await, "new a/1 sent 1, old a/1 given_up 0");
        let reason = city.text("select reason from notification_failures").await;
        assert_eq!(reason, "its route is no longer in the configuration file");
    });
}

#[test]
fn a_chat_gets_a_text_and_an_sms_a_request_of_its_provider() {
    with_city(async |city: &mut City| {
        let (chat, sms) = (Http::start(|_, _| Reply::status(200)), Http::start(|_, _| Reply::status(201)));
        city.commit(&["a open high 1"]).await;
        let toml = format!(
            "[routes.chat]\nkind = \"chat\"\nurl = \"http://127.0.0.1:{}/\"\ngroup_wait = \"0s\"\n\
             [routes.sms]\nkind = \"sms\"\nurl = \"http://127.0.0.1:{}/send?key={{secret}}\"\ngroup_wait = \"0s\"\n\
             headers = {{ Content-Type = \"application/x-www-form-urlencoded\" }}\nbody = \"to=49&text={{text}}\"\n\
             secret_env = \"TOKEN\"\nuser = \"me\"\npassword_env = \"TOKEN\"\n",
            chat.port, sms.port
        );
        notify(&city.database, &toml).await;
        let text = "opened · high · Downtown since 12:00 UTC: aqi 318 AQI, above the bound of 300; 3 sensors";
        let said: Value = serde_json::from_str(&chat.requests()[0].body).expect("JSON");
        assert_eq!(said, serde_json::json!({ "text": text }));
        let request = &sms.requests()[0];
        assert!(request.line.starts_with("POST /send?key=s3cret%26 "), "{}", request.line);
        assert!(request.body.starts_with("to=49&text=opened%20%C2%B7%20high"), "{}", request.body);
        assert_eq!(request.header("authorization"), format!("Basic {}", STANDARD.encode("me:s3cret&")));
    });
}

#[test]
fn a_mail_server_that_is_busy_is_tried_again_and_one_that_refuses_is_not() {
    with_city(async |city: &mut City| {
        let busy = Smtp::start(|number| if number == 0 { "451 busy" } else { "250 taken" });
        let refuses = Smtp::start(|_| "554 no such user");
        city.commit(&["a open high 1", "b open low 1"]).await;
        let mail = |name: &str, port: u16| {
            format!(
                "[routes.{name}]\nkind = \"email\"\nserver = \"127.0.0.1\"\nport = {port}\nencryption = \"none\"\n\
                 from = \"citytide <citytide@example.org>\"\nto = [\"duty@example.org\", \"boss@example.org\"]\n\
                 group_wait = \"0s\"\n"
            )
        };
        notify(&city.database, &(mail("busy", busy.port) + &mail("refuses", refuses.port))).await;
        let mails = busy.mails();
        assert_eq!((mails.len(), refuses.mails().len()), (2, 1));
        let header = |mail: &str, name: &str| {
            let line = mail
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_else(|| panic!("{name} in {mail}"));
            line.to_owned()
        };
        assert_eq!(header(&mails[0], "Message-ID:"), header(&mails[1], "Message-ID:"), "a mailbox can tell");
        assert_eq!(header(&mails[1], "Subject:"), "Subject: [high] incidents: 2 opened");
        assert_eq!(header(&mails[1], "To:"), "To: duty@example.org, boss@example.org");
        assert!(mails[1].contains("citytide incidents show a"), "{}", mails[1]);
        let reason = city.text("select reason from notification_failures where route = 'refuses'").await;
        assert!(reason.contains("554") || reason.contains("no such user"), "{reason}");
        let sent =
            city.value("select count(*) from notifications where route = 'busy' and state = 'sent'").await;
        assert_eq!(sent, 2);
    });
}
