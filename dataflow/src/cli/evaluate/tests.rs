use std::path::Path;

use clap::Parser;

use super::*;

/// The arguments of `citytide evaluate`.
#[derive(Debug, Parser)]
struct Typed {
    #[command(flatten)]
    args: Args,
}

/// A directory of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("citytide-evaluate-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn refused(arguments: &[&str]) -> (i32, String) {
    let typed = Typed::try_parse_from([&["evaluate"], arguments].concat()).expect("arguments");
    let error = ExitError::from(evaluate(&typed.args).expect_err("a refusal"));
    (error.exit().code(), error.to_string())
}

const LINES: &str = "\
1\t{\"sensor_id\":\"7\",\"timestamp\":\"2026-11-21T05:26:00Z\",\"zone\":\"Downtown\",\"temperature\":24.3}\n\
0\t{\"sensor_id\":\"8\",\"timestamp\":\"2026-11-21T05:26:00Z\",\"zone\":\"Downtown\",\"temperature\":99.0}\n\
1\tnonsense\n\
1\t{\"sensor_id\":\"7\",\"timestamp\":\"2026-11-21T05:25:00Z\",\"zone\":\"Downtown\",\"temperature\":24.4}\n";
const TRUTH: &str = "partition,offset,kind,metrics,event,sensor\n0,0,spike,temperature,5,8\n1,2,drift,temperature,6,7\n1,0,silence,,9,3\n";

fn read_lines(truth: &str) -> Result<Table, EvaluateError> {
    let readings = Readings::read(LINES.as_bytes(), Path::new("-"), &Domain::smart_city())?;
    readings.with_truth(Path::new("truth.csv"), truth.as_bytes())
}

#[test]
fn lines_of_json_meet_their_truth_by_partition_and_offset() {
    assert!(readings::are_lines(LINES.as_bytes()) && readings::are_lines(b"\n {\"zone\":"));
    assert!(!readings::are_lines(b"at,who\n1,a\n") && !readings::are_lines(b"at\twho\n{1\ta\n"));
    let table = read_lines(TRUTH).expect("readings");
    assert_eq!((table.lines.as_slice(), table.positions.as_slice()), (&[4, 1, 2][..], &[2, 0, 1][..]));
    let kinds: Vec<Option<&str>> = (0..3).map(|row| table.kind(row)).collect();
    assert_eq!(kinds, [Some("drift"), None, Some("spike")]);
    assert_eq!(table.metrics[0], [24.4, 24.3, 99.0]);
}

#[test]
fn a_truth_of_another_run_or_none_is_refused() {
    let read = |truth: &str| read_lines(truth).expect_err("wrong").to_string();
    assert!(
        read("partition,offset,kind,metrics,event,sensor\n0,7,spike,,5,8\n")
            .contains("partition 0, offset 7")
    );
    assert!(read("at,kind\n").contains("line 1 is not partition,offset,kind"));
    assert!(read("partition,offset,kind,metrics,event,sensor\n0,x,spike,,5,8\n").contains("line 2"));
}

#[test]
fn what_was_typed_wrongly_ends_with_what_to_type() {
    let folder = Folder::new("typed");
    let table = folder.file("a.csv", "at,heat,kind\n1,20,0\n2,21,1\n");
    let lines = folder.file("a.jsonl", LINES);
    let truth = folder.file("truth.csv", TRUTH);
    let says = |arguments: &[&str], code: i32, what: &str| {
        let (ended, why) = refused(arguments);
        assert!(ended == code && why.contains(what), "{ended}: {why}");
    };
    says(&["--input", &table], 2, "--label COLUMN and --time COLUMN");
    says(&["--input", &lines], 2, "--truth FILE");
    says(&["--input", &lines, "--truth", &truth, "--label", "kind"], 2, "leave out --label");
    says(&["--input", &table, "--truth", &truth], 2, "--truth is for JSON lines");
    let table = ["--input", &table, "--label", "kind", "--time", "at"];
    let with = |more: &[&'static str]| [&table[..], more].concat();
    says(&with(&["--from", "1.5e9"]), 2, "none would count");
    says(&with(&["--from", "noon"]), 2, "a share from 0 to less than 1");
    says(&with(&["--zone", "district"]), 78, "no column `district`");
    says(&with(&["--scores", "/nowhere/at/all.csv"]), 78, "cannot write /nowhere/at/all.csv");
    says(&["--input", "/nowhere.csv", "--label", "kind", "--time", "at"], 78, "cannot read /nowhere.csv");
}

#[test]
fn files_of_a_directory_are_evaluated_one_by_one_and_windows_label_them() {
    let folder = Folder::new("several");
    let rows: String = (0..300).map(|row| format!("{},{}\n", row * 60, row % 7)).collect();
    let first = folder.file("a.csv", &format!("at,heat\n{rows}"));
    folder.file("b.csv", &format!("at,heat\n{rows}"));
    let windows =
        folder.file("w.json", r#"{"a.csv": [["1970-01-01 04:00:00", "1970-01-01 04:10:00"]], "b.csv": []}"#);
    let other = folder.file("v.json", r#"{"c.csv": []}"#);
    let directory = folder.0.to_str().expect("a path").to_owned();
    let typed =
        |arguments: &[&str]| Typed::try_parse_from([&["evaluate"], arguments].concat()).expect("arguments");
    let run = |arguments: &[&str]| evaluate(&typed(arguments).args);
    run(&["--input", &directory, "--time", "at", "--windows", &windows]).expect("two tables");
    let args = typed(&["--input", &first, "--time", "at", "--windows", &windows]).args;
    let table = read(&args, Path::new(&first), Some(&Windows::read(Path::new(&windows)).expect("windows")));
    assert_eq!(table.expect("a table").0.labels().iter().filter(|label| **label).count(), 11);
    let (code, why) = refused(&["--input", &first, "--time", "at", "--windows", &other]);
    assert!(code == 78 && why.contains("no windows of"), "{why}");
    let (code, why) =
        refused(&["--input", &directory, "--time", "at", "--windows", &windows, "--scores", "x"]);
    assert!(code == 2 && why.contains("one input"), "{why}");
    let (code, why) = refused(&["--input", &directory, "--time", "when", "--label", "heat"]);
    assert!(code == 78 && why.contains("a.csv: reading the table"), "{why}");
}
