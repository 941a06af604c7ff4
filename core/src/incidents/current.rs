//! The incidents of some zones as event time passes: what epochs bring is added to occurrences, step by step, and what
//! that changes is told as rows.
//!
//! Invariants:
//! 1. after `advance(.., low_us)`, the rows told so far, the last one of each key, are the occurrences of all anomalies
//!    recorded before now, and the incidents that follow from them, beside those that were superseded or withdrawn. Now is
//!    W at its last full step;
//! 2. each step of event time is passed through by itself, so that what is logged does not depend on how many steps an
//!    epoch takes W on;
//! 3. occurrences leave memory a chain at a time, once no anomaly that comes in time can reach them and the epoch that last
//!    changed them is committed. A late one that may reach them has its neighbourhood read back first: see `missing`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::derive::{chains, incidents};
use super::{
    Cause, Condition, Incident, IncidentRules, Occurrence, STEP_US, Steps, Subject, Transition, now_of,
};
use crate::{NEVER, floor_to};

/// How long occurrences stay in memory beyond the reach of what comes in time, microseconds.
const KEPT_FOR_LATE_US: i64 = 10 * 60 * 1_000_000;
/// How far now goes on between two looks for what can leave memory.
const EVICT_EVERY_US: i64 = 60 * 1_000_000;

/// Where occurrences must be read back: those of a subject between two times, with the incidents that they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbourhood {
    pub subject: Subject,
    /// Event times, microseconds.
    pub from_us: i64,
    pub until_us: i64,
}

/// What an epoch changed: rows that appeared (+1) or disappeared (−1), and the log.
#[derive(Debug, Default)]
pub struct Changes {
    pub occurrences: Vec<(Subject, Occurrence, isize)>,
    pub incidents: Vec<(Incident, isize)>,
    pub transitions: Vec<Transition>,
}

#[derive(Debug, Clone, Default)]
struct Group {
    /// By the time of their first anomaly.
    occurrences: BTreeMap<i64, Occurrence>,
    /// By identity, those that were superseded or withdrawn too.
    incidents: BTreeMap<Arc<str>, Incident>,
    /// Pending ones that are gone: the database may still show them.
    removed: BTreeSet<Arc<str>>,
    /// The epoch that last changed it.
    changed_epoch: u64,
}

/// The incidents of the zones of one worker.
#[derive(Debug)]
pub struct Incidents {
    rules: IncidentRules,
    groups: HashMap<Subject, Group>,
    /// Anomalies that now has not reached, by step.
    ahead: Steps,
    /// When a subject's incidents change without a further anomaly.
    deadlines: BTreeSet<(i64, Subject)>,
    now_us: i64,
    /// Occurrences that ended before this may be in the database only.
    evicted_below_us: i64,
    /// Whether occurrences are being read back: the answer may be older than a commit made meanwhile.
    awaits: bool,
}

impl Incidents {
    /// As of the committed watermark, before anything is loaded.
    pub fn new(rules: IncidentRules, low_us: i64) -> Incidents {
        let mut incidents = Incidents {
            rules,
            groups: HashMap::new(),
            ahead: Steps::default(),
            deadlines: BTreeSet::new(),
            now_us: now_of(low_us),
            evicted_below_us: NEVER,
            awaits: false,
        };
        incidents.evicted_below_us = incidents.kept_from_us();
        incidents
    }

    /// Occurrences that ended at or after this belong in memory: after a restart they are loaded, with the incidents that
    /// they belong to.
    pub fn kept_from_us(&self) -> i64 {
        match self.now_us {
            NEVER => NEVER,
            now_us => now_us - self.rules.reach_us() - KEPT_FOR_LATE_US,
        }
    }

    /// Now, microseconds of event time; [`NEVER`] before there is a watermark.
    pub fn now_us(&self) -> i64 {
        self.now_us
    }

    /// Takes in an occurrence that was read from the database, unless memory holds it and knows better.
    pub fn load_occurrence(&mut self, subject: Subject, occurrence: Occurrence) {
        let group = self.groups.entry(subject.clone()).or_default();
        let meets = group.occurrences.range(..=occurrence.last_us).next_back();
        if meets.is_some_and(|(_, known)| known.last_us >= occurrence.first_us) {
            return;
        }
        let deadline_us = deadline_of(&occurrence, &self.rules, &subject);
        group.occurrences.insert(occurrence.first_us, occurrence);
        if deadline_us > self.now_us {
            self.deadlines.insert((deadline_us, subject));
        }
    }

    /// Takes in an incident that was read from the database, unless memory holds it.
    pub fn load_incident(&mut self, incident: Incident) {
        let group = self.groups.entry(incident.subject.clone()).or_default();
        if !group.removed.contains(&incident.id) {
            group.incidents.entry(incident.id.clone()).or_insert(incident);
        }
    }

    /// What must be loaded before `advance` with these anomalies. What memory holds when it is asked stays until then.
    pub fn missing<'a>(
        &mut self,
        anomalies: impl Iterator<Item = (&'a Subject, &'a Occurrence)>,
    ) -> Vec<Neighbourhood> {
        let reach_us = self.rules.reach_us();
        let mut missing: BTreeMap<&Subject, (i64, i64)> = BTreeMap::new();
        for (subject, one) in anomalies.filter(|(_, one)| one.first_us - reach_us < self.evicted_below_us) {
            let (from_us, until_us) = (one.first_us - reach_us, one.last_us + reach_us);
            let range = missing.entry(subject).or_insert((from_us, until_us));
            *range = (range.0.min(from_us), range.1.max(until_us));
        }
        self.awaits = !missing.is_empty();
        let of = |(subject, (from_us, until_us)): (&Subject, (i64, i64))| Neighbourhood {
            subject: subject.clone(),
            from_us,
            until_us,
        };
        missing.into_iter().map(of).collect()
    }

    /// Applies an epoch: all workers' anomalies of these subjects, each within a step, and W at its end.
    pub fn advance(
        &mut self,
        epoch: u64,
        anomalies: impl IntoIterator<Item = (Subject, Occurrence)>,
        low_us: i64,
    ) -> Changes {
        self.awaits = false;
        let mut epoch = Epoch { epoch, before: BTreeMap::new(), transitions: Vec::new() };
        let mut late: BTreeSet<Subject> = BTreeSet::new();
        for (subject, one) in anomalies {
            if self.now_us != NEVER && one.first_us < self.now_us {
                self.add(&mut epoch, &subject, one);
                late.insert(subject);
            } else {
                self.ahead.add(subject, one);
            }
        }
        for subject in late {
            self.settle(&mut epoch, &subject, Cause::LateData);
        }
        let target_us = now_of(low_us).max(self.now_us);
        while let Some(next_us) = self.next_change().filter(|next_us| *next_us <= target_us) {
            self.now_us = next_us;
            let mut touched: BTreeSet<Subject> = BTreeSet::new();
            while let Some((subject, one)) = self.ahead.pop_before(next_us) {
                self.add(&mut epoch, &subject, one);
                touched.insert(subject);
            }
            while let Some((_, subject)) =
                self.deadlines.first().filter(|(at_us, _)| *at_us <= next_us).cloned()
            {
                self.deadlines.pop_first();
                touched.insert(subject);
            }
            for subject in touched {
                self.settle(&mut epoch, &subject, Cause::Condition);
            }
        }
        self.now_us = target_us;
        epoch.changes(&self.groups)
    }

    /// When something changes next if nothing comes: a step that holds anomalies has passed, or a deadline.
    fn next_change(&self) -> Option<i64> {
        let step = self.ahead.first_us().map(|step_us| step_us + STEP_US);
        let deadline = self.deadlines.first().map(|(at_us, _)| *at_us);
        step.into_iter().chain(deadline).min()
    }

    /// Adds anomalies to a subject's occurrences, joining those that they bridge.
    fn add(&mut self, epoch: &mut Epoch, subject: &Subject, mut one: Occurrence) {
        let clear_for_us = self.rules.of(subject).clear_for_us;
        let group = self.groups.entry(subject.clone()).or_default();
        epoch.touch(subject, group);
        loop {
            let near = group.occurrences.range(..=one.last_us + clear_for_us).next_back();
            match near {
                Some((&first_us, near)) if near.last_us + clear_for_us >= one.first_us => {
                    one.merge(group.occurrences.remove(&first_us).expect("it was found"));
                }
                _ => break,
            }
        }
        let deadline_us = deadline_of(&one, &self.rules, subject);
        group.occurrences.insert(one.first_us, one);
        if deadline_us > self.now_us {
            self.deadlines.insert((deadline_us, subject.clone()));
        }
    }

    /// Holds a subject's incidents against its occurrences as of now.
    fn settle(&mut self, epoch: &mut Epoch, subject: &Subject, cause: Cause) {
        let (now_us, rule) = (self.now_us, self.rules.of(subject));
        let Some(group) = self.groups.get_mut(subject) else { return };
        epoch.touch(subject, group);
        let current = incidents(subject, group.occurrences.values(), &rule, now_us);
        let ids: BTreeSet<Arc<str>> = current.iter().map(|incident| incident.id.clone()).collect();
        let mut log = |incident: &Incident, from, to, cause| {
            let incident = incident.clone();
            epoch.transitions.push(Transition { incident, from, to, cause, at_us: now_us });
        };
        for mut incident in current.iter().cloned() {
            let before = group.incidents.get(&incident.id);
            let from = before.map(|before| before.condition);
            incident.revision = before.map_or(0, |before| before.revision);
            let rises = before.is_some_and(|before| incident.severity > before.severity);
            let steps_down = before.is_some_and(|before| incident.severity < before.severity);
            if from != Some(incident.condition) || rises || steps_down {
                incident.revision += 1;
                let is_escalation = rises && from == Some(incident.condition);
                let cause = if is_escalation { Cause::Escalation } else { cause };
                log(&incident, from, Some(incident.condition), cause);
            }
            group.removed.remove(&incident.id);
            group.incidents.insert(incident.id.clone(), incident);
        }
        let is_gone = |known: &&Incident| known.condition.is_current() && !ids.contains(&known.id);
        let gone: Vec<Incident> = group.incidents.values().filter(is_gone).cloned().collect();
        for mut incident in gone {
            let from = Some(incident.condition);
            let meets = |other: &&Incident| {
                other.opened_us <= incident.last_us && other.last_us >= incident.opened_us
            };
            let successor = current.iter().find(meets).map(|other| other.id.clone());
            let cause = if successor.is_some() { Cause::Merge } else { cause };
            incident.revision += 1;
            if incident.condition == Condition::Pending {
                group.incidents.remove(&incident.id);
                group.removed.insert(incident.id.clone());
                log(&incident, from, None, cause);
                continue;
            }
            incident.condition =
                if successor.is_some() { Condition::Superseded } else { Condition::Withdrawn };
            incident.superseded_by = successor;
            log(&incident, from, Some(incident.condition), cause);
            group.incidents.insert(incident.id.clone(), incident);
        }
    }

    /// Lets go of what nothing that comes in time can reach and whose last change lies below `committed_below`, the first
    /// epoch that is not committed yet.
    pub fn evict(&mut self, committed_below: u64) {
        let kept_from_us = self.kept_from_us();
        if self.awaits
            || kept_from_us == NEVER
            || kept_from_us < self.evicted_below_us.saturating_add(EVICT_EVERY_US)
        {
            return;
        }
        let rules = &self.rules;
        self.groups.retain(|subject, group| {
            if group.changed_epoch < committed_below {
                group.evict(kept_from_us, rules, subject);
            }
            !group.occurrences.is_empty()
        });
        self.evicted_below_us = kept_from_us;
    }

    /// Occurrences in memory.
    pub fn occurrences(&self) -> usize {
        self.ahead.len() + self.groups.values().map(|group| group.occurrences.len()).sum::<usize>()
    }
}

impl Group {
    fn evict(&mut self, kept_from_us: i64, rules: &IncidentRules, subject: &Subject) {
        let chains = chains(self.occurrences.values(), &rules.of(subject));
        let past = chains.iter().filter(|(_, chain)| chain[chain.len() - 1].last_us < kept_from_us);
        let firsts: Vec<i64> = past.flat_map(|(_, chain)| chain.iter().map(|one| one.first_us)).collect();
        for first_us in firsts {
            self.occurrences.remove(&first_us);
        }
        self.incidents.retain(|_, incident| incident.last_us >= kept_from_us);
        self.removed.clear();
    }
}

/// When the last anomaly of an occurrence is over, at a full step.
fn deadline_of(occurrence: &Occurrence, rules: &IncidentRules, subject: &Subject) -> i64 {
    let over_us = occurrence.last_us + rules.of(subject).clear_for_us;
    floor_to(over_us + STEP_US - 1, STEP_US)
}

/// What an epoch has touched, as it was before.
struct Epoch {
    epoch: u64,
    before: BTreeMap<Subject, Group>,
    transitions: Vec<Transition>,
}

impl Epoch {
    fn touch(&mut self, subject: &Subject, group: &mut Group) {
        if !self.before.contains_key(subject) {
            self.before.insert(subject.clone(), group.clone());
        }
        group.changed_epoch = self.epoch;
    }

    fn changes(self, groups: &HashMap<Subject, Group>) -> Changes {
        let mut changes = Changes { transitions: self.transitions, ..Changes::default() };
        let none = Group::default();
        for (subject, before) in self.before {
            let after = groups.get(&subject).unwrap_or(&none);
            for (was, is, diff) in [(&before, after, -1), (after, &before, 1)] {
                let occurrences =
                    was.occurrences.iter().filter(|(first, one)| is.occurrences.get(first) != Some(one));
                changes.occurrences.extend(occurrences.map(|(_, one)| (subject.clone(), one.clone(), diff)));
                let incidents = was.incidents.iter().filter(|(id, one)| is.incidents.get(*id) != Some(one));
                changes.incidents.extend(incidents.map(|(_, one)| (one.clone(), diff)));
            }
        }
        changes
    }
}
