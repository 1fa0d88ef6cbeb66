//! Polling: somebody asks the same again and again in even steps, for nobody's request. Worth knowing,
//! no incident, also while it fails.

use crate::store::Store;
use fusebox_proto::Edge;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where all questions are heard of, those of so many seconds count: up to 7 s for it to be known that
/// nobody asked, and at least ten questions of one a second.
const SECONDS: u64 = 20;
/// Fewer show no step.
const ASKED_MIN: usize = 10;
/// Where traces are sampled, those of so many seconds count: of ten a second one in ten makes ...
const SAMPLED_SECONDS: u64 = 45;
/// ... so many within half of them. Fewer show no step.
const SAMPLED_MIN: usize = 20;
/// The last questions are looked at, so many of one series.
const ASKED_MAX: usize = 64;
/// More instances of a caller are not heard.
const INSTANCES_MAX: usize = 64;
/// More of what an instance asks for again and again is not told apart.
const APART_SERIES_MAX: usize = 8;
/// What is asked for in steps that can be found is asked for again within so long.
const AGAIN_MS: u64 = 3_000;
/// More series in all are not kept: each has up to a kilobyte.
const SERIES_MAX: usize = 131_072;
/// Steps are even if so many of them ...
const EVEN_MIN: f64 = 0.8;
/// ... are no further from the middle one than this share of it. Of requests that come by chance it is
/// one in six.
const APART_MAX: f64 = 0.25;
/// What is apart by a multiple of a step is no further from that than this share of the step. Of
/// questions that come by chance it is one in five; so 16 of 20 are for one step in 3e-8, and at most
/// `GAPS` by `PARTS` are tried.
const OFF_MAX: f64 = 0.1;
/// Of a sampled job the step is a part, ...
const PARTS: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
/// ... of one of so many of the shortest gaps.
const GAPS: usize = 4;
/// Shorter steps than this are not told from chance in whole milliseconds.
const STEP_MS_MIN: f64 = 20.0;
/// Who works for a longer share of a step, as the middle question takes, does not wait for a time: the
/// next thing of a batch is asked for as soon as the last one came.
const BUSY_MAX: f64 = 0.5;

/// Who asks whom of their own accord.
#[derive(Debug, Default)]
pub(crate) struct Polling {
    heard: BTreeMap<Edge, Heard>,
    /// How many series there are in all.
    series: usize,
    dropped: u64,
}

/// What was heard of one edge.
#[derive(Debug, Default)]
struct Heard {
    instances: BTreeMap<Arc<str>, Asker>,
    told: Option<Poll>,
}

/// What was heard of one instance.
#[derive(Debug, Default)]
struct Asker {
    /// All that it asked: who asks for what is new names another thing each time.
    all: Series,
    /// By what is asked for: the steps of two jobs are not even together.
    apart: BTreeMap<u64, Series>,
}

/// Questions that may have a step.
#[derive(Debug, Default)]
struct Series {
    /// In the order of time.
    questions: Vec<Question>,
    operation: Arc<str>,
    /// How many questions were new when they were judged last, and the step that was found; `None`
    /// where others are there now.
    judged: Option<(usize, Option<u64>)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Question {
    /// Of its start, ms since the Unix epoch.
    at_ms: u64,
    took_ms: u64,
}

/// A question that nobody's request led to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unasked<'a> {
    /// Who asked.
    pub(crate) instance: &'a Arc<str>,
    /// What for, in few words.
    pub(crate) operation: &'a Arc<str>,
    /// What for: its digest.
    pub(crate) asked_for: u64,
    /// Its start, ms since the Unix epoch.
    pub(crate) at_unix_ms: u64,
    /// For how long it waited for the answer.
    pub(crate) took_ms: u64,
}

/// An edge of which it is worth a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Poll {
    /// Since which second.
    pub(crate) since: u64,
    /// The step.
    pub(crate) every_ms: u64,
    /// What was asked for last in this step.
    pub(crate) operation: Arc<str>,
}

impl Polling {
    /// Takes a question, on an edge that the store has.
    pub(crate) fn take(&mut self, now_unix_ms: u64, edge: &Edge, unasked: Unasked<'_>) {
        // A clock that is ahead would make a question that never grows old.
        let at_ms = unasked.at_unix_ms.min(now_unix_ms);
        if at_ms + SAMPLED_SECONDS * 1_000 < now_unix_ms {
            return;
        }
        let heard = self.heard.entry(edge.clone()).or_default();
        let is_new = !heard.instances.contains_key(unasked.instance);
        let has_room = self.series < SERIES_MAX;
        if is_new && (INSTANCES_MAX <= heard.instances.len() || !has_room) {
            self.dropped += 1;
            return;
        }
        let asker = heard.instances.entry(Arc::clone(unasked.instance)).or_default();
        let before = asker.series();
        let question = Question { at_ms, took_ms: unasked.took_ms };
        asker.all.add(question, unasked.operation);
        if let Some(series) = asker.apart((unasked.asked_for, at_ms), has_room) {
            series.add(question, unasked.operation);
        }
        self.series += asker.series() - if is_new { 0 } else { before };
    }

    /// Lets time pass.
    pub(crate) fn judge(&mut self, store: &Store, now_second: u64) {
        let mut series = 0;
        self.heard.retain(|edge, heard| {
            heard.instances.retain(|_, asker| asker.age(now_second));
            let steps = heard.instances.values_mut().filter_map(|asker| asker.judge(now_second));
            let shortest = steps.min_by_key(|(every_ms, _)| *every_ms);
            let since = heard.told.take().map_or(now_second, |told| told.since);
            heard.told = shortest.map(|(every_ms, operation)| Poll { since, every_ms, operation });
            let is_left = !heard.instances.is_empty() && store.edge(edge).is_some();
            if is_left {
                series += heard.instances.values().map(Asker::series).sum::<usize>();
            }
            is_left
        });
        self.series = series;
    }

    /// Those that are worth a line, by edge.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Edge, &Poll)> {
        self.heard.iter().filter_map(|(edge, heard)| Some((edge, heard.told.as_ref()?)))
    }

    /// Questions of instances that found no place, since the start.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Asker {
    fn series(&self) -> usize {
        1 + self.apart.len()
    }

    /// The place of what is asked for at `at_ms`. Where there is none more, what was not asked for again
    /// makes place: a job that asks for another thing each time is no reason not to tell others apart.
    fn apart(&mut self, (asked_for, at_ms): (u64, u64), has_room: bool) -> Option<&mut Series> {
        let is_new = !self.apart.contains_key(&asked_for);
        if is_new && (APART_SERIES_MAX <= self.apart.len() || !has_room) {
            let is_once = |series: &Series| {
                let [only] = series.questions[..] else { return false };
                only.at_ms + AGAIN_MS <= at_ms
            };
            let once = *self.apart.iter().find(|(_, series)| is_once(series))?.0;
            self.apart.remove(&once);
        }
        Some(self.apart.entry(asked_for).or_default())
    }

    /// Forgets what is old; whether something is left.
    fn age(&mut self, now_second: u64) -> bool {
        self.apart.retain(|_, series| series.age(now_second));
        self.all.age(now_second)
    }

    /// The shortest step in which it asks, and what for.
    fn judge(&mut self, now_second: u64) -> Option<(u64, Arc<str>)> {
        let steps = self.apart.values_mut().filter_map(|series| series.judge(now_second));
        let shortest = steps.min_by_key(|(every_ms, _)| *every_ms);
        let is_one = self.apart.values().any(|it| it.questions == self.all.questions);
        if is_one { shortest } else { shortest.or_else(|| self.all.judge(now_second)) }
    }
}

impl Series {
    fn add(&mut self, question: Question, operation: &Arc<str>) {
        let is_full = ASKED_MAX <= self.questions.len();
        let at = self.questions.partition_point(|it| it.at_ms <= question.at_ms);
        // What comes late does not push out what is newer.
        if is_full && at == 0 {
            return;
        }
        self.questions.insert(at, question);
        if is_full {
            self.questions.remove(0);
        }
        self.operation = Arc::clone(operation);
        self.judged = None;
    }

    /// Forgets what is old, and what is of a time to come: the clock was set back. Whether something
    /// is left.
    fn age(&mut self, now_second: u64) -> bool {
        let oldest_ms = now_second.saturating_sub(SAMPLED_SECONDS) * 1_000;
        let before = self.questions.len();
        self.questions.retain(|it| (oldest_ms..(now_second + 1) * 1_000).contains(&it.at_ms));
        if self.questions.len() < before {
            self.judged = None;
        }
        !self.questions.is_empty()
    }

    /// The step in which somebody asks, and what for; `None` where steps are not even, or none is
    /// new. To look for a step takes microseconds, and there may be 100,000 series: so it is looked
    /// for only among other questions than before.
    fn judge(&mut self, now_second: u64) -> Option<(u64, Arc<str>)> {
        let lately_ms = now_second.saturating_sub(SECONDS) * 1_000;
        let lately_from = self.questions.partition_point(|it| it.at_ms < lately_ms);
        let lately = self.questions.len() - lately_from;
        if lately == 0 {
            return None;
        }
        let step_ms = match self.judged {
            Some((judged, step_ms)) if judged == lately => step_ms,
            _ => step_ms(&self.questions, lately_from),
        };
        self.judged = Some((lately, step_ms));
        Some((step_ms?, Arc::clone(&self.operation)))
    }
}

/// The step of questions, of which those from `lately_from` on are new.
fn step_ms(questions: &[Question], lately_from: usize) -> Option<u64> {
    let asked: Vec<u64> = questions.iter().map(|it| it.at_ms).collect();
    let step_ms = even_step_ms(&asked[lately_from..]).or_else(|| sampled_step_ms(&asked))?;
    let mut took_ms: Vec<u64> = questions.iter().map(|it| it.took_ms).collect();
    let middle = took_ms.len() / 2;
    let is_waiting = *took_ms.select_nth_unstable(middle).1 as f64 <= BUSY_MAX * step_ms as f64;
    is_waiting.then_some(step_ms)
}

/// The step of questions that are all known.
fn even_step_ms(asked: &[u64]) -> Option<u64> {
    if asked.len() < ASKED_MIN {
        return None;
    }
    let mut steps: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let middle = steps.len() / 2;
    let middle_ms = *steps.select_nth_unstable(middle).1;
    let apart_max_ms = APART_MAX * middle_ms as f64;
    steps.retain(|step| step.abs_diff(middle_ms) as f64 <= apart_max_ms);
    let even = steps.len();
    let is_even =
        STEP_MS_MIN <= middle_ms as f64 && EVEN_MIN * (asked.len() - 1) as f64 <= even as f64;
    is_even.then(|| (steps.iter().sum::<u64>() as f64 / even as f64).round() as u64)
}

/// The longest step of which all gaps between the known questions are multiples.
fn sampled_step_ms(asked: &[u64]) -> Option<u64> {
    if asked.len() < SAMPLED_MIN {
        return None;
    }
    let mut gaps: Vec<f64> = asked.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
    gaps.sort_unstable_by(f64::total_cmp);
    let shortest = gaps.iter().filter(|gap| STEP_MS_MIN <= **gap).take(GAPS);
    let parts = |gap: &f64| PARTS.map(|part| gap / part);
    let mut steps: Vec<f64> = shortest.flat_map(parts).collect();
    steps.retain(|step| STEP_MS_MIN <= *step);
    steps.sort_unstable_by(|a, b| b.total_cmp(a));
    steps.into_iter().find_map(|step| fitted_ms(&gaps, step)).map(|step| step.round() as u64)
}

/// A step near `step_ms` of which gaps are multiples. This runs up to 32 times for a series of chance:
/// without divisions and branches, which nobody foresees there, in a third of the time.
fn fitted_ms(gaps: &[f64], step_ms: f64) -> Option<f64> {
    let sums = |step_ms: f64| {
        let (steps_per_ms, off_max_ms) = (1.0 / step_ms, OFF_MAX * step_ms);
        gaps.iter().fold((0.0, 0.0, 0.0), |(near, ms, steps), gap| {
            let many = f64::from((gap * steps_per_ms + 0.5) as u32);
            let is_near = 1.0 <= many && (gap - many * step_ms).abs() <= off_max_ms;
            let one = f64::from(u8::from(is_near));
            (near + one, ms + one * gap, steps + one * many)
        })
    };
    let (_, ms, steps) = sums(step_ms);
    let (near, ms, steps) = sums(ms / steps);
    (EVEN_MIN * gaps.len() as f64 <= near).then_some(ms / steps)
}

#[cfg(test)]
mod tests;
