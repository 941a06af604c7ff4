//! The supervisor over small programs of the system: who restarts, who stops, and with which code.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;

use signal_hook::consts::SIGKILL;

use super::*;

/// A bound for what should be over long before.
const LONG: Duration = Duration::from_secs(30);

/// What the shell runs in each child of a generation.
type Scripts<'a> = &'a dyn Fn(u64) -> Vec<String>;

/// Supervises shells with `scripts`; `signals` are asked for at every look.
fn supervise_shells(scripts: Scripts<'_>, signals: &mut dyn FnMut() -> Option<i32>) -> i32 {
    let arguments = |generation| {
        Ok(scripts(generation).into_iter().map(|script| vec!["-c".into(), script.into()]).collect())
    };
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(2), LONG);
    let plan = Supervision {
        executable: "/bin/sh".into(),
        environment: Vec::new(),
        on_line: None,
        arguments: &arguments,
        backoff,
        drain_max: LONG,
        reader_is_gone: &|| false,
    };
    run(&plan, signals)
}

fn quiet() -> Option<i32> {
    None
}

fn scripts(scripts: &[&str]) -> Vec<String> {
    scripts.iter().map(|script| (*script).to_owned()).collect()
}

/// A file of its own for a test, empty at first; removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("citytide-supervisor-{}-{name}", std::process::id()));
        std::fs::write(&path, "").expect("a scratch file");
        Scratch(path)
    }

    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.0).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn path(&self) -> std::path::Display<'_> {
        self.0.display()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether a process is still there: neither gone nor a zombie.
fn lives(pid: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Whether a process is gone before long. SIGKILL is asynchronous for those that we do not reap.
fn ends(pid: &str) -> bool {
    (0..1_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        !lives(pid)
    })
}

#[test]
fn all_children_that_end_well_end_the_supervisor_well() {
    assert_eq!(supervise_shells(&|_| scripts(&["exit 0", "exit 0"]), &mut quiet), 0);
}

#[test]
fn a_child_that_a_restart_helps_gets_new_generations_until_it_ends_well() {
    let generations = RefCell::new(Vec::new());
    let code = supervise_shells(
        &|generation| {
            generations.borrow_mut().push(generation);
            match generation {
                1 => scripts(&["exit 69", "sleep 600"]),
                2 => scripts(&["sleep 600", "kill -9 $$"]),
                _ => scripts(&["exit 0", "exit 0"]),
            }
        },
        &mut quiet,
    );
    assert_eq!((code, generations.into_inner()), (0, vec![1, 2, 3]));
}

#[test]
fn a_bug_that_comes_back_ends_the_supervisor_after_a_few_generations() {
    let generations = Cell::new(0);
    let code = supervise_shells(
        &|generation| {
            generations.set(generation);
            scripts(&["sleep 600", "exit 70"])
        },
        &mut quiet,
    );
    assert_eq!((code, generations.get()), (70, u64::from(BUGS_MAX)));
}

#[test]
fn a_dependency_that_is_away_for_longer_is_waited_for() {
    let code = supervise_shells(
        &|generation| match generation {
            1..=3 => scripts(&["exit 70"]),
            4..=20 => scripts(&["exit 69"]),
            _ => scripts(&["exit 0"]),
        },
        &mut quiet,
    );
    assert_eq!(code, 0);
}

#[test]
fn a_code_that_a_restart_cannot_help_stops_the_others_and_is_returned() {
    let told = Scratch::new("told");
    let other = format!("trap 'echo told > {}; exit 0' TERM; echo ready; sleep 600 & wait", told.path());
    let ready = Scratch::new("ready");
    let other = other.replace("echo ready", &format!("echo ready > {}", ready.path()));
    let failing = format!("until [ -s {} ]; do sleep 0.01; done; exit 78", ready.path());
    assert_eq!(supervise_shells(&|_| scripts(&[&other, &failing]), &mut quiet), 78);
    assert_eq!(told.lines(), ["told"]);
}

#[test]
fn the_cause_is_seen_also_when_its_echo_comes_first() {
    let echo = Scratch::new("echo");
    let cause = format!("until [ -s {} ]; do sleep 0.01; done; exit 78", echo.path());
    let lost = format!("echo lost > {}; exit 74", echo.path());
    // Were the echo judged alone, the next generation would start and the code be 0.
    let generation =
        |generation| if generation == 1 { scripts(&[&lost, &cause]) } else { scripts(&["exit 0"]) };
    assert_eq!(supervise_shells(&generation, &mut quiet), 78);
}

#[test]
fn nothing_of_a_generation_is_left_when_the_next_one_starts() {
    let pids = Scratch::new("pids");
    let busy = format!("echo $$ >> {0}; sleep 600 & echo $! >> {0}; wait", pids.path());
    let failing = format!("until [ $(wc -l < {}) -ge 2 ]; do sleep 0.01; done; exit 70", pids.path());
    let left = Cell::new(None);
    let code = supervise_shells(
        &|generation| match generation {
            1 => scripts(&[&busy, &failing]),
            _ => {
                left.set(Some(pids.lines().iter().filter(|pid| !ends(pid)).count()));
                scripts(&["exit 0"])
            }
        },
        &mut quiet,
    );
    assert_eq!((code, pids.lines().len(), left.get()), (0, 2, Some(0)));
}

#[test]
fn the_first_signal_is_handed_on_and_a_clean_drain_ends_with_0() {
    let ready = Scratch::new("drain");
    let child = format!("trap 'exit 0' TERM; echo r >> {}; while :; do sleep 0.01; done", ready.path());
    let mut signals = VecDeque::from([SIGINT]);
    let code = supervise_shells(&|_| scripts(&[&child, &child]), &mut || {
        if ready.lines().len() == 2 { signals.pop_front() } else { None }
    });
    assert_eq!((code, signals.len()), (0, 0));
}

#[test]
fn a_child_that_does_not_listen_yet_has_nothing_to_drain() {
    let ready = Scratch::new("unheard");
    let child = format!("echo r >> {}; exec sleep 600", ready.path());
    let mut signals = VecDeque::from([SIGTERM]);
    let code = supervise_shells(&|_| scripts(&[&child]), &mut || {
        if ready.lines().is_empty() { None } else { signals.pop_front() }
    });
    assert_eq!(code, 0);
}

#[test]
fn a_child_that_fails_while_draining_gives_the_code_that_tells_most() {
    let ready = Scratch::new("fail");
    let child =
        |code| format!("trap 'exit {code}' TERM; echo r >> {}; while :; do sleep 0.01; done", ready.path());
    let mut signals = VecDeque::from([SIGTERM]);
    let code = supervise_shells(&|_| vec![child(74), child(69), child(0)], &mut || {
        if ready.lines().len() == 3 { signals.pop_front() } else { None }
    });
    assert_eq!(code, 69);
}

#[test]
fn the_second_signal_kills_at_once_and_is_the_code() {
    let ready = Scratch::new("second");
    let child = format!("trap '' TERM; echo $$ >> {}; while :; do sleep 0.01; done", ready.path());
    let mut signals = VecDeque::from([SIGTERM, SIGINT]);
    let code = supervise_shells(&|_| scripts(&[&child]), &mut || {
        if ready.lines().is_empty() { None } else { signals.pop_front() }
    });
    assert_eq!(code, 128 + SIGINT);
    assert!(ends(&ready.lines()[0]));
}

#[test]
fn a_signal_between_two_generations_ends_at_once_with_0() {
    let pid = Scratch::new("between");
    let script = format!("echo $$ > {}; exit 69", pid.path());
    let arguments = |_| Ok(vec![vec!["-c".into(), script.clone().into()]]);
    let backoff = Backoff::new(Duration::from_secs(3_600), Duration::from_secs(3_600), LONG);
    let plan = Supervision {
        executable: "/bin/sh".into(),
        environment: Vec::new(),
        on_line: None,
        arguments: &arguments,
        backoff,
        drain_max: LONG,
        reader_is_gone: &|| false,
    };
    // The first look after the child's death is followed by its reaping, the second one is between generations.
    let looks = Cell::new(0);
    let code = run(&plan, &mut || {
        let gone = pid.lines().first().is_some_and(|pid| !lives(pid));
        looks.set(looks.get() + u32::from(gone));
        (looks.get() == 2).then_some(SIGTERM)
    });
    assert_eq!((code, looks.get()), (0, 2));
}

#[test]
fn a_program_that_is_not_there_is_not_tried_for_ever() {
    let arguments = |_| Ok(vec![vec![]]);
    let executable = PathBuf::from("/nowhere/citytide");
    let plan = Supervision {
        executable,
        environment: Vec::new(),
        on_line: None,
        arguments: &arguments,
        backoff: Backoff::default(),
        drain_max: LONG,
        reader_is_gone: &|| false,
    };
    assert_eq!(run(&plan, &mut quiet), Exit::Config.code());
}

#[test]
fn children_die_with_the_thread_that_supervises_them() {
    let pids = Scratch::new("orphan");
    let script = format!("echo $$ > {}; exec sleep 600", pids.path());
    let children = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let children =
                    Children::start(Path::new("/bin/sh"), &[], &[vec!["-c".into(), script.into()]], None);
                while pids.lines().is_empty() {
                    std::thread::sleep(POLL_INTERVAL);
                }
                children.expect("started")
            })
            .join()
            .expect("no panic")
    });
    // The thread is gone, as it is when a supervisor is killed; the child follows without anybody's doing.
    let mut children = children;
    let mut exits = None;
    for _ in 0..1_000 {
        reap(&mut children);
        exits = children.exits();
        if exits.is_some() {
            break;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    assert_eq!(exits, Some(vec![ChildExit::Signal(SIGKILL)]));
}

#[test]
fn the_worst_code_is_a_cause_and_not_its_echo() {
    let lost = ChildExit::Code(Exit::PeerLost.code());
    assert_eq!(worst_code(&[ChildExit::Code(0), ChildExit::Code(0)]), 0);
    assert_eq!(worst_code(&[lost, ChildExit::Signal(SIGKILL)]), 137);
    assert_eq!(worst_code(&[lost, ChildExit::Code(69), ChildExit::Signal(6)]), 69);
    assert_eq!(worst_code(&[ChildExit::Code(69), lost, ChildExit::Code(78)]), 78);
    assert_eq!(worst_code(&[ChildExit::Code(0), lost]), 74);
}
