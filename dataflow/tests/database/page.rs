//! The page and the API against a database that a real run has filled: every figure is found again by SQL that is
//! written another way.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use citytide_store::clock::instant;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::incidents::fill;
use super::program::{Living, citytide, hours_ago};
use super::scratch::{Scratch, execute, number, with_database};

/// For everything that must happen some time.
const LIMIT: Duration = Duration::from_secs(60);

/// An answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.to_lowercase().starts_with(&format!("{name}:"));
        self.head.lines().find(named).map(|line| line.split_once(':').expect("a colon").1.trim())
    }
}

/// A page over a database; it ends when this is dropped.
struct Page {
    port: u16,
    program: Living,
}

impl Page {
    fn serve(scratch: &Scratch, more: &str) -> Page {
        Page::start(scratch, &format!("serve {more} --listen"))
    }

    /// The program with these arguments and a free port behind them.
    fn start(scratch: &Scratch, arguments: &str) -> Page {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
        let program = Living::run(scratch, &format!("{arguments} {}", free.port()));
        let page = Page { port: free.port(), program };
        let until = instant() + LIMIT;
        while TcpStream::connect(("127.0.0.1", page.port)).is_err() {
            assert!(instant() < until, "the page never listened");
            std::thread::sleep(Duration::from_millis(20));
        }
        page
    }

    fn send(&self, request: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the page");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        let host = if headers.contains("Host:") {
            String::new()
        } else {
            format!("Host: localhost:{}\r\n", self.port)
        };
        let length = format!("Content-Length: {}\r\n", body.len());
        let text = format!("{request} HTTP/1.1\r\n{host}{headers}{length}Connection: close\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).expect("the page reads");
        stream
    }

    fn ask(&self, request: &str, headers: &str, body: &str) -> Answer {
        let mut text = Vec::new();
        self.send(request, headers, body).read_to_end(&mut text).expect("an answer");
        let text = String::from_utf8(text).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", "")
    }

    fn act(&self, path: &str, headers: &str, body: &str) -> Answer {
        self.ask(&format!("POST /api/v1/incidents/{path}"), headers, body)
    }

    fn rows(&self, list: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v1/{list}"));
        assert_eq!(answer.status, 200, "{list}: {}", answer.body);
        answer.json()["rows"].as_array().expect("rows").clone()
    }

    /// The first event of the stream: everything that Now shows.
    fn now(&self, headers: &str) -> (String, Value) {
        let mut stream = self.send("GET /api/v1/stream", headers, "");
        let mut text = String::new();
        let mut bytes = [0; 65_536];
        loop {
            let read = stream.read(&mut bytes).expect("an event");
            assert!(read > 0, "the stream ended: {text}");
            text += &String::from_utf8_lossy(&bytes[..read]);
            // Chunks' sizes stand on lines of their own.
            let Some(at) = text.find("data: ") else { continue };
            let whole: String =
                text[at + 6..].split("\r\n").filter(|part| !is_size(part)).collect::<Vec<_>>().concat();
            if let Some((data, _)) = whole.split_once("\n\n") {
                let id = text.split_once("id: ").expect("an id").1.lines().next().expect("a line").to_owned();
                return (id, serde_json::from_str(data).expect("JSON"));
            }
        }
    }
}

fn is_size(part: &str) -> bool {
    !part.is_empty() && part.len() < 9 && part.chars().all(|digit| digit.is_ascii_hexdigit())
}

/// Twenty-seven hours of a city: now has a yesterday.
fn filled(scratch: &Scratch) {
    let since = hours_ago(27);
    let arguments = format!(
        "run --no-supervise --source simulation --sensors 40 --partitions 2 --rate 1 --start {since} \
         --duration 97200 --until-caught-up"
    );
    let told = citytide(scratch, &arguments);
    assert_eq!(told.code, Some(0), "{}", told.err);
}

async fn text(client: &Client, query: &str) -> Value {
    let row = client.query_one(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    serde_json::from_str(row.get(0)).expect("JSON")
}

/// Equal, numbers within 10⁻⁹.
fn same(one: &Value, other: &Value, what: &str) {
    match (one.as_f64(), other.as_f64()) {
        (Some(a), Some(b)) => assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{what}: {a} and {b}"),
        _ => assert_eq!(one, other, "{what}"),
    }
}

#[test]
fn every_figure_of_now_is_found_again_by_sql() {
    with_database(async |scratch: &Scratch| {
        let client = scratch.open().await;
        filled(scratch);
        let page = Page::serve(scratch, "");
        let (_, event) = page.now("");
        let sections = &event["sections"];
        assert_eq!(event["as_of"], number(&client, "select max(epoch) from commits").await);

        let status = &sections["status"];
        assert_eq!(status["phase"], "no_run");
        let sums = "select json_build_object('accepted', count(*) filter (where not is_late), 'late', count(*) filter \
                    (where is_late), 'partitions', count(distinct kafka_partition))::text from sensor_data";
        let sums = text(&client, sums).await;
        for name in ["accepted", "late", "partitions"] {
            same(&status[name], &sums[name], name);
        }
        assert_eq!((&status["unaccounted"], &status["lost"]), (&json!([]), &json!(0)));

        // The zones: from the readings themselves, in the five minutes before W.
        let zones = &sections["zones"];
        let sql = "with newest as (select date_bin('1 minute', max(watermark), 'epoch') - interval '5 minutes' as start \
                                   from commits) \
                   select json_object_agg(zone, figures)::text from (select zone, json_build_array(count(*), \
                   avg(temperature), min(temperature), max(temperature), avg(traffic_flow), max(traffic_flow)) as figures \
                   from sensor_data, newest where not is_late and recorded_at >= start \
                   and recorded_at < start + interval '5 minutes' group by zone) as zones";
        let expected = text(&client, sql).await;
        let rows = zones["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 8);
        for row in rows {
            let zone = row["zone"].as_str().expect("a name");
            let Some(expected) = expected.get(zone) else {
                assert_eq!(row["readings"], 0, "{zone}");
                continue;
            };
            let shown = [
                &row["readings"],
                &row["avg"][0],
                &row["min"][0],
                &row["max"][0],
                &row["avg"][4],
                &row["max"][4],
            ];
            for (index, shown) in shown.into_iter().enumerate() {
                same(shown, &expected[index], &format!("{zone}, figure {index}"));
            }
        }

        // Typical: the windows of the same hour a day before.
        let sql = "with newest as (select date_bin('1 minute', max(watermark), 'epoch') - interval '5 minutes' as start \
                                   from commits), \
                   hour as (select extract(hour from start) as hour, start::date as day from newest) \
                   select json_object_agg(zone, json_build_array(mean, spread))::text from (select zone, \
                   sum(avg_aqi) / count(*) as mean, sqrt(var_samp(avg_aqi)) as spread from metrics_5min, hour \
                   where extract(hour from window_start) = hour and window_start::date < day group by zone \
                   having count(avg_aqi) >= 20) as usual";
        let typical = text(&client, sql).await;
        assert!(typical.as_object().is_some_and(|typical| !typical.is_empty()), "there was a day before");
        for row in rows {
            let expected = typical.get(row["zone"].as_str().expect("a name"));
            for part in 0..2 {
                let expected = expected.map_or(&Value::Null, |pair| &pair[part]);
                same(&row["typical"][2][part], expected, "typical");
            }
        }

        // The strip: over all zones, from the readings.
        let sql = "with newest as (select date_bin('1 minute', max(watermark), 'epoch') - interval '5 minutes' as start \
                                   from commits), \
                   five as (select *, recorded_at >= start as is_now from sensor_data, newest where not is_late and \
                   (recorded_at >= start and recorded_at < start + interval '5 minutes' or recorded_at >= start \
                    - interval '1 hour' and recorded_at < start - interval '55 minutes')) \
                   select json_build_array(avg(humidity) filter (where is_now), max(humidity) filter (where is_now), \
                   avg(humidity) filter (where is_now) - avg(humidity) filter (where not is_now))::text from five";
        let expected = text(&client, sql).await;
        let strip = &sections["metrics"]["rows"][1];
        // A window's average is weighted by its readings: here every reading has the metric but a few.
        let nulls = number(&client, "select count(*) from sensor_data where humidity is null").await;
        same(&strip["max"], &expected[1], "max");
        if nulls == 0 {
            same(&strip["value"], &expected[0], "value");
            same(&strip["change"], &expected[2], "change");
        }
        let last = "select (array_agg(value order by minute))::text from (select date_bin('1 minute', recorded_at, 'epoch') \
                    as minute, avg(aqi) as value from sensor_data where not is_late group by 1 \
                    order by 1 desc limit 60) as minutes";
        let last: String = client.query_one(last, &[]).await.expect("minutes").get(0);
        let last: Vec<f64> =
            last.trim_matches(['{', '}']).split(',').map(|value| value.parse().expect("a number")).collect();
        let spark = sections["metrics"]["rows"][2]["spark"].as_array().expect("values");
        assert_eq!(spark.len(), last.len());

        // Incidents and anomalies.
        let incidents = &sections["incidents"];
        let open = "select count(*) from incident_states where condition = 'open'";
        same(&incidents["open"], &number(&client, open).await.into(), "open");
        let cleared = "select count(*) from incidents, (select max(watermark) as w from commits) as newest \
                       where condition = 'cleared' and w - cleared_at < interval '1 hour'";
        same(&incidents["cleared"], &number(&client, cleared).await.into(), "cleared");
        let newest = "select json_agg(kafka_offset order by recorded_at desc, kafka_partition, kafka_offset)::text from \
                      (select * from sensor_readings where is_anomaly order by recorded_at desc, kafka_partition, \
                       kafka_offset limit 12) as newest";
        let newest = text(&client, newest).await;
        let shown: Vec<&Value> = sections["anomalies"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|anomaly| &anomaly["kafka_offset"])
            .collect();
        assert_eq!(json!(shown), newest);
    });
}

#[test]
fn an_incident_and_a_sensor_are_shown_as_the_tables_have_them() {
    with_database(async |scratch: &Scratch| {
        let client = scratch.open().await;
        filled(scratch);
        let page = Page::serve(scratch, "");
        let sql = "select incident_id, sensor_id from incidents where condition = 'cleared' and sensor_id is not null \
                   order by opened_at desc limit 1";
        let row = client.query_one(sql, &[]).await.expect("a day brings incidents of sensors");
        let (id, sensor): (String, String) = (row.get(0), row.get(1));
        let shown = page.get(&format!("/api/v1/incidents/{id}")).json();
        for (part, table) in [("changes", "incident_transitions"), ("evidence", "(evidence)")] {
            let sql = match table {
                "(evidence)" => format!(
                    "select least(20, count(*)) from sensor_data join incident_states as i using (zone) \
                     where incident_id = '{id}' and sensor_data.sensor_id = i.sensor_id and is_anomaly \
                     and recorded_at between opened_at and last_seen_at \
                     and exists (select from jsonb_array_elements(reasons) as r where r ->> 'metric' = i.peak_metric)"
                ),
                table => format!("select count(*) from {table} where incident_id = '{id}'"),
            };
            let rows = shown[part].as_array().expect("rows");
            assert!(!rows.is_empty(), "{part}");
            assert_eq!(rows.len() as i64, number(&client, &sql).await, "{part}");
        }
        let metric = shown["incident"]["metric"].as_str().expect("a metric");
        let sql = format!(
            "select json_object_agg(to_char(minute at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
             json_build_array(average, least, greatest))::text from (select date_bin('1 minute', recorded_at, 'epoch') \
             as minute, avg({metric}) as average, min({metric}) as least, max({metric}) as greatest from sensor_data \
             where not is_late and zone = (select zone from incidents where incident_id = '{id}') group by 1) as minutes"
        );
        let expected = text(&client, &sql).await;
        let rows = shown["chart"]["rows"].as_array().expect("rows");
        assert!(rows.len() > 20, "{} windows", rows.len());
        for row in rows {
            let expected = &expected[row["window_start"].as_str().expect("a time")];
            for (index, part) in ["avg", "min", "max"].into_iter().enumerate() {
                same(&row[part], &expected[index], part);
            }
        }

        let shown = page.get(&format!("/api/v1/sensors/{sensor}")).json();
        let sql = format!(
            "select json_agg(json_build_array(kafka_offset, temperature, is_anomaly) order by recorded_at desc, \
             kafka_partition, kafka_offset desc)::text from (select * from sensor_readings where sensor_id = '{sensor}' \
             order by recorded_at desc limit 500) as newest"
        );
        let rows = shown["readings"].as_array().expect("rows");
        let expected = text(&client, &sql).await;
        assert_eq!(rows.len(), expected.as_array().expect("rows").len());
        for (index, row) in rows.iter().enumerate() {
            for (part, name) in ["kafka_offset", "temperature", "is_anomaly"].into_iter().enumerate() {
                same(&row[name], &expected[index][part], name);
            }
        }
        let sql = format!(
            "select count(*) from incident_states where sensor_id = '{sensor}' and condition <> 'pending'"
        );
        let incidents = shown["incidents"].as_array().expect("rows").len() as i64;
        assert_eq!(incidents, number(&client, &sql).await.min(20));
        for missing in ["incidents/nonsense", "sensors/nonsense"] {
            assert_eq!(page.get(&format!("/api/v1/{missing}")).status, 404, "{missing}");
        }
    });
}

#[test]
fn people_act_on_incidents_over_http_and_no_other_site_does() {
    with_database(async |scratch: &Scratch| {
        let client = scratch.with_schema().await;
        fill(&client).await;
        let page = Page::serve(scratch, "");
        let ours = "X-Citytide: 1\r\n";
        let acted = page.act("aa02/acknowledge", ours, r#"{"actor":"anna","comment":"on it"}"#);
        assert_eq!(acted.status, 200, "{}", acted.body);
        assert_eq!(acted.json()["incident"]["acknowledged_by"], "anna");
        assert_eq!(
            page.act("aa02/assign", ours, r#"{"assignee":"bob"}"#).json()["incident"]["assignee"],
            "bob"
        );
        assert_eq!(page.act("aa02/shelve", ours, r#"{"minutes":90,"comment":"works"}"#).status, 200);
        assert_eq!(page.act("aa02/out", ours, "").json()["incident"]["is_out_of_service"], true);
        let actions = "select string_agg(action || ' ' || actor, ', ' order by action_id) from incident_actions \
                       where incident_id = 'aa02'";
        let actions: String = client.query_one(actions, &[]).await.expect("actions").get(0);
        let user: String = client.query_one("select current_user::text", &[]).await.expect("a user").get(0);
        assert_eq!(actions, format!("acknowledge anna, assign {user}, shelve {user}, out_of_service {user}"));

        let before = number(&client, "select count(*) from incident_actions").await;
        for (headers, path, body, status) in [
            ("", "aa02/acknowledge", "", 403),
            ("X-Citytide: 1\r\nOrigin: http://evil.example\r\n", "aa02/acknowledge", "", 403),
            ("X-Citytide: 1\r\nSec-Fetch-Site: cross-site\r\n", "aa02/acknowledge", "", 403),
            (ours, "aa02/comment", "{}", 422),
            (ours, "aa02/shelve", r#"{"minutes":9000,"comment":"x"}"#, 422),
            (ours, "zz/acknowledge", "", 404),
            (ours, "aa02/close", "", 404),
            (ours, "aa02/comment", "{\"comment\":", 400),
        ] {
            let answer = page.act(path, headers, body);
            assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        }
        let long = format!("{{\"comment\":\"{}\"}}", "x".repeat(20_000));
        assert_eq!(page.act("aa02/comment", ours, &long).status, 413);
        assert_eq!(number(&client, "select count(*) from incident_actions").await, before);
    });
}

#[test]
fn a_stream_resumes_behind_the_last_event_and_a_snapshot_follows_another_start() {
    with_database(async |scratch: &Scratch| {
        scratch.with_schema().await;
        let page = Page::serve(scratch, "");
        let (id, first) = page.now("");
        assert_eq!(first["sections"]["status"]["phase"], "empty", "{first}");
        assert!(first["sections"]["zones"].is_null() && first["as_of"] == 0);
        let (later, _) = page.now(&format!("Last-Event-ID: {id}\r\n"));
        assert_ne!(later, id, "the state that is known does not come again");
        let (_, other) = page.now("Last-Event-ID: 1-999999\r\n");
        assert!(other["sections"]["status"].is_object());
    });
}

#[test]
fn lists_answer_as_their_document_says_and_page_by_page_give_what_the_table_holds() {
    with_database(async |scratch: &Scratch| {
        let client = scratch.open().await;
        filled(scratch);
        let page = Page::serve(scratch, "");
        let document = page.get("/api/v1/openapi.json").json();
        let paths = document["paths"].as_object().expect("paths");
        let mut lists = 0;
        for (path, operations) in paths {
            let content = &operations["get"]["responses"]["200"]["content"]["application/json"]["schema"];
            let Some(row) = content["properties"]["rows"]["items"]["properties"].as_object() else {
                continue;
            };
            lists += 1;
            let answer = page.get(&format!("{path}?limit=50"));
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            let body = answer.json();
            for shown in body["rows"].as_array().expect("rows") {
                let shown = shown.as_object().expect("an object");
                assert_eq!(shown.len(), row.len(), "{path}");
                for (name, value) in shown {
                    let types = row[name]["type"].as_array().expect("types");
                    let is = match value {
                        Value::Null => "null",
                        Value::Bool(_) => "boolean",
                        Value::Number(number) if number.is_f64() => "number",
                        Value::Number(_) => "integer",
                        Value::String(_) => "string",
                        Value::Array(_) => "array",
                        Value::Object(_) => "object",
                    };
                    let fits = types.iter().any(|ty| ty == is || (is == "integer" && ty == "number"));
                    assert!(fits, "{path}: {name} is {value}, not one of {types:?}");
                }
            }
            assert_eq!(page.get(&format!("{path}?nonsense=1")).status, 400, "{path}");
            let csv = page.get(&format!("{path}?format=csv&limit=3"));
            assert_eq!(csv.body.lines().next().expect("a header").split(',').count(), row.len(), "{path}");
        }
        assert_eq!(lists, 14);

        let (mut cursor, mut all) = (String::new(), Vec::new());
        loop {
            let answer = page.get(&format!("/api/v1/windows?limit=7{cursor}")).json();
            all.extend(answer["rows"].as_array().expect("rows").clone());
            let Some(next) = answer["next"].as_str() else { break };
            cursor =
                format!("&cursor={}", next.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>());
        }
        let expected = "select json_agg(json_build_array(zone, reading_count, round(avg_aqi::numeric, 6)) order by \
                        window_start, zone)::text from metrics_1min, (select max(watermark) as w from commits) as newest \
                        where window_start >= w - interval '1 hour'";
        let expected = text(&client, expected).await;
        let expected = expected.as_array().expect("rows");
        assert_eq!(all.len(), expected.len());
        for (shown, expected) in all.iter().zip(expected) {
            assert_eq!((&shown["zone"], &shown["reading_count"]), (&expected[0], &expected[1]));
        }

        let readings = page.rows("readings?limit=10000&zone=Downtown");
        let count = "select count(*) from sensor_data, (select max(watermark) as w from commits) as newest \
                     where zone = 'Downtown' and recorded_at >= w - interval '5 minutes'";
        assert_eq!(readings.len() as i64, number(&client, count).await);
        let progress = page.rows("progress");
        let consumed = progress.iter().filter_map(|row| row["next_offset"].as_i64()).sum::<i64>();
        assert_eq!(consumed, number(&client, "select count(*) from sensor_readings").await);

        // Charts: windows of five minutes side by side, in one zone and in all.
        let rows = page.rows("windows?size=5min&every=300&zone=Downtown&limit=10000");
        let expected = "select json_agg(json_build_array(count, average, least) order by start)::text from (select \
                        date_bin('5 minutes', recorded_at, 'epoch') as start, count(*) as count, avg(noise_level) as average, \
                        min(noise_level) as least from sensor_data where not is_late and zone = 'Downtown' group by 1) as five, \
                        (select max(watermark) as w from commits) as newest where start >= w - interval '1 hour'";
        let expected = text(&client, expected).await;
        assert_eq!(rows.len(), expected.as_array().expect("rows").len());
        for (row, expected) in rows.iter().zip(expected.as_array().expect("rows")) {
            for (part, name) in
                ["reading_count", "avg_noise_level", "min_noise_level"].into_iter().enumerate()
            {
                same(&row[name], &expected[part], name);
            }
        }

        // Data: what the readings of the last hour lack, by zone; the newest commit; Models: how many there are.
        let quality = page.rows("quality?limit=10000");
        let lacks = "select json_object_agg(zone, json_build_array(readings, nulls))::text from (select zone, count(*) as \
                     readings, count(*) - count(aqi) as nulls from sensor_data, (select date_trunc('minute', max(watermark) \
                     - interval '1 hour' + interval '59.999999 seconds') as since from commits) as hour where not is_late \
                     and recorded_at >= since group by zone) as zones";
        for (zone, expected) in text(&client, lacks).await.as_object().expect("zones") {
            let of_zone = quality.iter().filter(|row| row["zone"] == zone.as_str());
            let sum = |name: &str| of_zone.clone().filter_map(|row| row[name].as_i64()).sum::<i64>();
            assert_eq!(json!([sum("readings"), sum("nulls_aqi")]), *expected, "{zone}");
        }
        let newest = &page.rows("commits?limit=1")[0];
        let readings = "select count(*) from sensor_readings where epoch > (select previous_epoch from commits order by \
                        epoch desc limit 1)";
        same(&newest["readings"], &number(&client, readings).await.into(), "readings of the newest commit");
        let models = page.rows("models").len() as i64;
        assert_eq!(models, number(&client, "select coalesce(max(version), 0)::bigint from models").await);
    });
}

#[test]
fn an_answer_that_is_known_is_not_sent_again_until_something_has_changed() {
    with_database(async |scratch: &Scratch| {
        let client = scratch.with_schema().await;
        execute(
            &client,
            "insert into commits (epoch, previous_epoch, run_id, watermark, readings) \
             values (50, 0, 1, '2026-11-21 12:00+00', 0)",
        )
        .await;
        let page = Page::serve(scratch, "");
        for list in ["zones", "followers"] {
            let first = page.get(&format!("/api/v1/{list}"));
            let known = format!("If-None-Match: {}\r\n", first.header("etag").expect("a tag"));
            assert_eq!(page.ask(&format!("GET /api/v1/{list}"), &known, "").status, 304, "{list}");
            let change = "insert into commits (epoch, previous_epoch, run_id, watermark, readings) select max(epoch) + 50, \
                          max(epoch), 1, '2026-11-21 12:00+00', 0 from commits; insert into followers (name, epoch) \
                          values ('=cmd()', 0) on conflict do nothing;";
            execute(&client, change).await;
            let again = page.ask(&format!("GET /api/v1/{list}"), &known, "");
            assert_eq!(
                (again.status, again.header("x-as-of") != first.header("x-as-of")),
                (200, true),
                "{list}"
            );
        }
        let csv = page.get("/api/v1/followers?format=csv");
        assert!(csv.body.contains("\"'=cmd()\",0,"), "{}", csv.body);
    });
}

#[test]
fn the_page_is_for_this_machine_and_elsewhere_for_those_who_have_the_token() {
    with_database(async |scratch: &Scratch| {
        scratch.with_schema().await;
        let page = Page::serve(scratch, "");
        let index = page.get("/");
        assert_eq!(index.status, 200);
        let policy = index.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.ask("GET /api/v1/zones", "Host: evil.example\r\n", "").status, 421);
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(page.get(path).status, 200, "{path}");
        }

        let told = citytide(scratch, "serve --listen 0.0.0.0:1");
        assert_eq!((told.code, told.err.contains("--token-file")), (Some(2), true), "{}", told.err);

        let folder = std::env::temp_dir().join(format!("citytide-page-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("token");
        std::fs::write(&file, "short\n").expect("a file");
        let told = citytide(scratch, &format!("serve --listen 1 --token-file {}", file.display()));
        assert_eq!((told.code, told.err.contains("16 bytes")), (Some(78), true), "{}", told.err);

        std::fs::write(&file, "a-token-that-is-long\n").expect("a file");
        let page = Page::serve(scratch, &format!("--token-file {}", file.display()));
        let asked = |headers: &str| page.ask("GET /api/v1/zones", headers, "").status;
        assert_eq!(asked("Host: city.example\r\n"), 401);
        assert_eq!(asked("Authorization: Bearer a-token-that-is-long\r\n"), 200);
        assert_eq!(page.get("/").header("location"), Some("/login"));
        let form = |token: &str| page.ask("POST /login", "", &format!("token={token}"));
        assert_eq!(form("a-token-that-is-wrong").status, 403);
        let answer = form("a-token-that-is-long");
        let cookie = answer.header("set-cookie").expect("a cookie");
        assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
        let cookie = cookie.split(';').next().expect("a first part");
        assert_eq!(asked(&format!("Cookie: {cookie}\r\n")), 200);
        assert_eq!(asked(&format!("Cookie: {cookie}0\r\n")), 401);
        std::fs::remove_dir_all(&folder).expect("the folder");
    });
}

#[test]
fn a_run_serves_the_page_beside_itself_while_its_generations_come_and_go() {
    with_database(async |scratch: &Scratch| {
        let client = scratch.open().await;
        let run = "run --source simulation --sensors 40 --partitions 2 --rate 200 --serve";
        let page = Page::start(scratch, run);
        let until = instant() + LIMIT;
        let phase = |page: &Page| {
            let answer = page.get("/readyz");
            (answer.status == 200).then(|| page.now("").1["sections"]["status"]["phase"].clone())
        };
        while !matches!(phase(&page), Some(phase) if phase == "live") {
            assert!(instant() < until, "it never was live");
            std::thread::sleep(Duration::from_millis(100));
        }
        // The run's own sessions end: the next generation comes, and the page is there meanwhile.
        let first = number(&client, "select max(run_id) from runs").await;
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() \
                   and application_name like 'citytide:%:%'";
        execute(&client, end).await;
        while number(&client, "select max(run_id) from runs").await == first {
            assert_eq!(page.get("/livez").status, 200);
            assert!(instant() < until, "no generation followed");
            std::thread::sleep(Duration::from_millis(100));
        }
        let taken = citytide(scratch, &format!("{run} {}", page.port));
        assert_eq!((taken.code, taken.err.contains("--serve")), (Some(78), true), "{}", taken.err);
        assert_eq!(page.program.end(), Some(0));
    });
}
