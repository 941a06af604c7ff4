//! `citytide evaluate` as others run it: on a labelled file, with its last line and its scores read by a program.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use citytide_evaluate::metrics::Ranking;
use serde_json::Value;

/// A directory of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("citytide-evaluate-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).expect("a file");
        self.path(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The exit code, standard output and standard error of `citytide evaluate`.
fn evaluate(arguments: &[&str]) -> (Option<i32>, String, String) {
    let ended = Command::new(env!("CARGO_BIN_EXE_citytide"))
        .arg("evaluate")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("citytide");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (ended.status.code(), text(ended.stdout), text(ended.stderr))
}

fn figures(out: &str) -> Value {
    serde_json::from_str(out.lines().last().expect("a last line")).expect("a line of JSON")
}

/// Two sensors in each of two zones, a reading a minute for two days, in the order of the sensors; every 150th minute a
/// sensor is 12 degrees off. Without a generator of chance: the noise is that of a multiplication's lower bits.
fn table() -> String {
    let mut text = "district;id;heat;at;what;remark\r\n".to_owned();
    for sensor in 0..4u64 {
        for minute in 0..2_880u64 {
            let noise = |salt: u64| {
                let mixed = (minute * 4 + sensor + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 44
            };
            let chance = (0..4).map(|salt| noise(salt * 1_000_003) as f64 / 1_048_576.0 - 0.5).sum::<f64>();
            let is_odd = minute % 150 == 149 && sensor == minute / 150 % 4;
            let heat = 20.0 + 5.0 * (minute as f64 / 229.0).sin() + chance + if is_odd { 12.0 } else { 0.0 };
            let what = if is_odd { "spike" } else { "normal" };
            writeln!(
                text,
                "Quarter {};{sensor};{};{};{what};\"a; b\"\r",
                sensor / 2,
                format!("{heat:.1}").replace('.', ","),
                1_795_000_000 + minute * 60
            )
            .expect("memory takes text");
        }
    }
    text
}

#[test]
fn the_last_line_holds_the_figures_of_the_scores_that_are_written() {
    let folder = Folder::new("table");
    let (input, scores, page) =
        (folder.file("in.csv", &table()), folder.path("out.csv"), folder.path("page.html"));
    let asked = ["--label", "what", "--time", "at", "--sensor", "id", "--zone", "district", "--from", "0.5"];
    let written = ["--scores", &scores, "--report", &page];
    let (code, out, said) = evaluate(&[&["--input", &input][..], &asked, &written].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(out.lines().rev().skip(1).all(|line| line.chars().count() <= 80), "{out}");
    let figures = figures(&out);
    let number = |key: &str| figures[key].as_f64().unwrap_or_else(|| panic!("{key} in {figures}"));
    assert_eq!((number("rows"), number("scored"), number("anomalous")), (11_520.0, 5_760.0, 10.0));
    assert_eq!((&figures["metrics"], &figures["domain"]), (&serde_json::json!(["heat"]), &Value::Null));
    assert!(number("auroc") > 0.99 && number("recall") > 0.9, "{figures}");
    assert_eq!(figures["by_kind"]["spike"]["readings"], 10);
    assert_eq!(figures["by_zone"].as_object().map(serde_json::Map::len), Some(2));
    for rival in ["rules_only", "max_abs_z", "windowed_pca", "forest_raw", "forest_residuals", "oracle"] {
        assert!(figures["comparison"][rival]["auroc"].is_number(), "{rival} in {figures}");
    }

    let scores = std::fs::read_to_string(scores).expect("scores");
    let mut lines = scores.lines();
    assert_eq!(lines.next(), Some("row,line,score,is_anomaly,is_scored"));
    let (mut ranked, mut labels) = (Vec::new(), Vec::new());
    for (place, (line, of_input)) in lines.zip(table().lines().skip(1)).enumerate() {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!((fields[0], fields[1]), (&*(place + 1).to_string(), &*(place + 2).to_string()));
        if fields[4] == "1" {
            ranked.push(fields[2].parse().expect("a score"));
            labels.push(of_input.contains("spike"));
        }
    }
    let auroc = Ranking::new(&ranked, &labels).auroc().expect("both labels");
    assert!((auroc - number("auroc")).abs() < 1e-12, "{auroc}");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("<svg") && !page.contains("http"), "the page needs nothing else");
}

#[test]
fn a_table_without_anomalies_has_scores_and_no_figures() {
    let folder = Folder::new("none");
    let rows: String = (0..200).map(|row| format!("{row},{},3,0\n", row * 7919 % 101)).collect();
    let input = folder.file("in.csv", &format!("at,heat,still,label\n{rows}"));
    let (code, out, said) = evaluate(&["--input", &input, "--label", "label", "--time", "at"]);
    assert_eq!(code, Some(0), "{said}");
    let figures = figures(&out);
    assert!(figures["auroc"].is_null() && figures["recall"].is_null() && figures["as_table"].is_string());
    assert!(out.contains("none of the labels is anomalous"), "{out}");
}

#[test]
fn what_cannot_be_evaluated_is_said_with_its_line_and_the_code_of_a_wrong_input() {
    let folder = Folder::new("wrong");
    let input = folder.file("in.csv", "at,heat,label\n1,20,0\n2,warm,0\n3,21,1\n");
    let (code, out, said) = evaluate(&["--input", &input, "--label", "label", "--time", "at"]);
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(said.contains("line 3, column `heat`: \"warm\" is not a number"), "{said}");
    let (code, _, said) = evaluate(&["--input", &input, "--time", "at"]);
    assert!(code == Some(2) && said.contains("--label COLUMN"), "{said}");
}
