use super::*;

fn parsed(text: &str) -> Vec<Route> {
    parse(Path::new("/etc/citytide.toml"), text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn mistakes(text: &str) -> Vec<String> {
    let mistakes = parse(Path::new("citytide.toml"), text).expect_err("it has mistakes");
    mistakes.list.iter().map(|one| format!("{}: {}", one.line, one.sentence)).collect()
}

#[test]
fn a_route_of_each_kind_is_read() {
    let routes = parsed(
        r#"
[database]
url = "postgresql://x@y/z"

[routes.duty]
kind = "webhook"
url = "https://duty.example/hook"
secret_file = "duty.key"
severity = "high"
zones = ["Downtown"]
kinds = ["rule"]
hours = ["mon-fri 08:00-18:00"]
time_zone = "Europe/Berlin"
repeat_every = "4h"
group_wait = "0s"

[routes.room]
kind = "chat"
url_env = "ROOM_URL"

[routes.mail]
kind = "email"
server = "mail.example"
user = "citytide"
password_env = "MAIL_PASSWORD"
from = "citytide <citytide@example.org>"
to = ["duty@example.org"]

[routes.phone]
kind = "sms"
url = "https://sms.example/send?to=49123"
headers = { Content-Type = "application/json", Authorization = "Bearer {secret}" }
body = '{"text": "{text}"}'
secret_env = "SMS_TOKEN"
"#,
    );
    let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["duty", "mail", "phone", "room"]);
    let duty = &routes[0];
    assert_eq!((duty.line, duty.receiver.kind()), (5, "webhook"));
    assert_eq!(duty.pace.repeat_every, Some(Duration::from_secs(4 * 3600)));
    assert_eq!(duty.pace.group_wait, Duration::ZERO);
    let key = Secret::File("/etc/duty.key".into());
    assert_eq!(duty.receiver.secrets()[1], &key, "beside the file");
    assert!(matches!(&routes[1].receiver, Receiver::Email(email) if email.port == 587));
    assert_eq!(routes[3].receiver.secrets(), [&Secret::Variable("ROOM_URL".to_owned())]);
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let found = mistakes(
        r#"[routes.a]
kind = "webhok"
[routes.b]
kind = "webhook"
severty = "high"
kinds = ["rules"]
hours = ["mon-fri 8-18"]
[routes.c]
kind = "chat"
url = "ftp://x"
tries_max = 0
time_zone = "Berlin"
[routes.d]
kind = "email"
server = "x"
from = "nobody"
to = []
user = "u"
[routes.e]
kind = "sms"
url = "https://x/{txt}"
body = "x"
[routes."e f"]
kind = "chat"
url = "https://x"
url_env = "X"
"#,
    );
    let expected = [
        "2: `kind` in a route is one of webhook, chat, email, sms; did you mean \"webhook\"?",
        "3: `url` is missing in a route; or give `url_env` or `url_file`",
        "5: unknown key `severty` in a route; did you mean `severity`?",
        "6: there is no kind of incident `rules`; did you mean `rule`?",
        "7: `hours` in a route: \"mon-fri 8-18\" is not like \"mon-fri 08:00-18:00\"",
        "10: `url` in a route must begin with https:// or http:// and name a host",
        "11: `tries_max` in a route must be a whole number from 1 to 50",
        "12: `time_zone` in a route is not a time zone; write it like Europe/Berlin",
        "13: `user` and `password_env` or `password_file` belong together in a route",
        "16: `from` in a route is not a mail address",
        "17: `to` in a route names nobody",
        "19: `headers` in a route needs Content-Type, which says how values are escaped in `body`",
        "19: `url`, `headers` and `body` of a route have no {text}: the message would be empty",
        "21: `url` in a route: there is no placeholder {txt}; did you mean {text}?",
        "23: a route's name has letters, digits, - and _, and at most 64 of them",
        "23: `url` and `url_env` or `url_file` are both set in a route: set only one of them",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_file_without_routes_has_none() {
    assert_eq!(parsed("[run]\nworkers = 2\n"), []);
    assert_eq!(mistakes("routes = 3\n"), ["1: `routes` must be a table of routes, [routes.duty]"]);
}
