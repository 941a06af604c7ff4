use super::*;

const EPOCH: i64 = 1_795_262_449_200;

fn model(version: i32, status: &str) -> StoredModel {
    StoredModel {
        version,
        status: status.to_owned(),
        fitted_from_us: 1_794_700_000_000_000,
        fitted_until_us: 1_795_262_400_000_000,
        rows: 9_872,
        parameters: json!({"trees": 100, "extension": 1, "metrics": "temperature, humidity, aqi, noise_level"}),
        figures: json!({"sampled": 10_001, "score_p95": 0.51234, "score_p99": null}),
        bytes: 1_234_567,
        in_force_from_epoch: (status != "shadow").then_some(EPOCH),
        created_at_us: 1_795_262_401_000_000,
        requested_at_us: None,
    }
}

#[test]
fn the_table_fits_80_columns_and_says_who_is_asked_for() {
    let asked = StoredModel { requested_at_us: Some(1), ..model(1_000_000, "shadow") };
    let text = table(&[model(3, "in_force"), asked]);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(
        text,
        "version  status    fitted until        rows  in force from (UTC)          epoch\n\
         \x20     3  in force  2026-11-21 12:00   9,872  2026-11-21 12:00:49  1795262449200\n\
         1000000  shadow    2026-11-21 12:00   9,872  –                                –\n\
         model 1000000 is requested; a run puts it into force\n"
    );
    assert!(table(&[]).starts_with("no models yet"));
}

#[test]
fn one_model_is_told_with_why_it_cannot_be_used_and_when_it_judged() {
    let stored = model(3, "in_force");
    let term = |from_epoch, until_epoch| Term { version: 3, from_epoch, until_epoch };
    let described = Described {
        model: &stored,
        refused: Some(
            "reading model 3: its checksum is 1, stored was 2; it was changed or damaged, train a new one"
                .to_owned(),
        ),
        terms: vec![term(EPOCH - 60_000, Some(EPOCH - 30_000)), term(EPOCH, None)],
        agreements: Vec::new(),
    };
    let text = described.text();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(
        text,
        "model       3, in force\n\
         fitted on   9,872 readings, 2026-11-14 23:46:40 … 2026-11-21 12:00:00 UTC\n\
         parameters  extension 1 · metrics temperature, humidity, aqi, noise_level ·\n\
         \x20           trees 100\n\
         figures     sampled 10,001 · score p95 0.512 · score p99 –\n\
         stored      1,234,567 bytes, 2026-11-21 12:00:01 UTC\n\
         usable      no: reading model 3: its checksum is 1, stored was 2; it was changed\n\
         \x20           or damaged, train a new one\n\
         in force    epoch 1795262449200 (2026-11-21 12:00:49) until now\n\
         \x20           epoch 1795262389200 (2026-11-21 11:59:49) to 2026-11-21 12:00:19\n"
    );
    let object = described.json();
    assert_eq!((&object["usable"], &object["version"]), (&json!(false), &json!(3)));
    assert_eq!(object["in_force"][0], json!({"from_epoch": EPOCH - 60_000, "until_epoch": EPOCH - 30_000}));
}

#[test]
fn a_model_that_never_judged_and_is_asked_for_says_so() {
    let stored = StoredModel { requested_at_us: Some(1_795_262_401_000_000), ..model(4, "shadow") };
    let text = Described { model: &stored, refused: None, terms: Vec::new(), agreements: Vec::new() }.text();
    for part in ["usable      yes", "in force    never", "requested   2026-11-21 12:00:01 UTC"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_became_of_a_request_is_one_sentence() {
    let told = |outcome| promoted(3, outcome);
    assert_eq!(
        told(Promoted::InForce { from_epoch: EPOCH }),
        "model 3 is in force from epoch 1795262449200 (2026-11-21 12:00:49 UTC)"
    );
    assert!(
        told(Promoted::Already { from_epoch: EPOCH, withdrawn: Some(4) })
            .ends_with("the request for model 4 is withdrawn")
    );
    assert!(told(Promoted::NextRun).contains("the next start"));
    assert!(told(Promoted::NotYet { run_id: 7 }).contains("run 7"));
}

#[test]
fn a_shadow_is_told_with_how_far_it_agreed() {
    let stored = model(4, "shadow");
    let agreement = Agreement { readings: 1_000_000, both: 40_000, only_in_force: 12, only_beside: 3 };
    let agreements =
        vec![("Downtown".to_owned(), EPOCH + 50, agreement), ("Tech Hub".to_owned(), EPOCH, agreement)];
    let described = Described { model: &stored, refused: None, terms: Vec::new(), agreements };
    let text = described.text();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let expected = "\nbeside the model in force since 2026-11-21 12:00:49 UTC:\n\
         zone                          readings   both flag  only in force  only shadow\n\
         Downtown                     1,000,000      40,000             12            3\n\
         Tech Hub                     1,000,000      40,000             12            3\n\
         all                          2,000,000      80,000             24            6\n";
    assert!(text.ends_with(expected), "{text}");
    assert_eq!(described.json()["beside"]["Tech Hub"]["only_shadow"], 3);
}
