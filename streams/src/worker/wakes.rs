//! What wakes a job that rests, besides rows.
//!
//! ```text
//! rows                            the job's readers wake it
//! another job has committed       event time of a view travels with the offsets of its job: no row need come
//! a topic was changed             more partitions, made anew, gone: one look at all topics serves all jobs
//! ```
//!
//! Invariant: a wake is never lost: a job that does not rest when it is told finds it when it is about to.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use log_api::Admin;
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

/// How often the log is asked whether topics are still as they were opened.
const TOPICS_INTERVAL: Duration = Duration::from_secs(5);

/// A topic as a job has opened it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenTopic {
    /// Its name.
    pub(crate) name: String,
    /// Which one of that name; nil: not known.
    pub(crate) id: Uuid,
    /// How many partitions are read.
    pub(crate) partitions: i32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    jobs: Mutex<HashMap<String, Sleeper>>,
}

#[derive(Debug)]
struct Sleeper {
    wake: Arc<Notify>,
    upstreams: HashSet<String>,
    topics: Vec<OpenTopic>,
}

impl Wakes {
    /// A job begins; it reads the views of `upstreams`. Gives what wakes it.
    pub(crate) fn enter(&self, job: &str, upstreams: HashSet<String>) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        let sleeper = Sleeper {
            wake: Arc::clone(&wake),
            upstreams,
            topics: Vec::new(),
        };
        self.jobs.lock().insert(job.to_owned(), sleeper);
        wake
    }

    /// The job has opened these topics.
    pub(crate) fn reads(&self, job: &str, topics: Vec<OpenTopic>) {
        if let Some(sleeper) = self.jobs.lock().get_mut(job) {
            sleeper.topics = topics;
        }
    }

    /// The job has ended.
    pub(crate) fn leave(&self, job: &str) {
        self.jobs.lock().remove(job);
    }

    /// Whether a job runs here: only then its commits wake others.
    pub(crate) fn has(&self, job: &str) -> bool {
        self.jobs.lock().contains_key(job)
    }

    /// A job has committed.
    pub(crate) fn committed(&self, job: &str) {
        for sleeper in self.jobs.lock().values() {
            if sleeper.upstreams.contains(job) {
                sleeper.wake.notify_one();
            }
        }
    }

    /// Wakes every job that has opened a topic otherwise than it is now.
    async fn look(&self, admin: &dyn Admin) {
        let is_needed = (self.jobs.lock().values()).any(|sleeper| !sleeper.topics.is_empty());
        if !is_needed {
            return;
        }
        let now = match admin.list_topics().await {
            Ok(topics) => topics,
            Err(error) => {
                tracing::debug!(%error, "the log does not say which topics there are");
                return;
            }
        };
        let now: HashMap<&str, (Uuid, i32)> = now
            .iter()
            .map(|topic| (&*topic.name, (topic.id, topic.partitions)))
            .collect();
        let is_changed = |open: &OpenTopic| match now.get(&*open.name) {
            None => true,
            Some((id, partitions)) => {
                let is_other = !id.is_nil() && !open.id.is_nil() && *id != open.id;
                is_other || *partitions > open.partitions
            }
        };
        for sleeper in self.jobs.lock().values() {
            if sleeper.topics.iter().any(is_changed) {
                sleeper.wake.notify_one();
            }
        }
    }
}

/// Looks at the topics from time to time, for as long as somebody else holds `wakes`.
pub(crate) async fn watch_topics(admin: Arc<dyn Admin>, wakes: Weak<Wakes>) {
    loop {
        tokio::time::sleep(TOPICS_INTERVAL).await;
        let Some(wakes) = wakes.upgrade() else { return };
        wakes.look(admin.as_ref()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_log::MemoryLog;

    fn is_woken(wake: &Notify) -> bool {
        use futures::FutureExt;
        wake.notified().now_or_never().is_some()
    }

    #[test]
    fn a_commit_wakes_those_who_read_the_view() {
        let wakes = Wakes::default();
        let above = wakes.enter("above", ["view".to_owned()].into());
        let beside = wakes.enter("beside", HashSet::new());
        wakes.committed("view");
        assert!(is_woken(&above));
        assert!(!is_woken(&above), "once");
        assert!(!is_woken(&beside));
        assert!(wakes.has("above") && !wakes.has("view"));
        wakes.leave("above");
        wakes.committed("view");
        assert!(!is_woken(&above));
    }

    #[tokio::test]
    async fn a_topic_that_changes_wakes_its_readers() {
        let log = MemoryLog::new();
        log.create("grows", 1);
        log.create("stays", 1);
        let admin = log.shared().admin();
        let wakes = Wakes::default();
        let mut readers = Vec::new();
        for name in ["grows", "stays"] {
            let topic = admin.describe_topic(name).await.unwrap().unwrap();
            readers.push(wakes.enter(name, HashSet::new()));
            let open = OpenTopic {
                name: name.to_owned(),
                id: topic.id,
                partitions: topic.partitions,
            };
            wakes.reads(name, vec![open]);
        }
        wakes.look(admin.as_ref()).await;
        assert!(!is_woken(&readers[0]) && !is_woken(&readers[1]));
        admin.create_partitions("grows", 2).await.unwrap();
        wakes.look(admin.as_ref()).await;
        assert!(is_woken(&readers[0]) && !is_woken(&readers[1]));
        admin.delete_topic("stays").await.unwrap();
        log.create("stays", 1);
        wakes.look(admin.as_ref()).await;
        assert!(is_woken(&readers[1]), "it was made anew");
        admin.delete_topic("stays").await.unwrap();
        wakes.look(admin.as_ref()).await;
        assert!(is_woken(&readers[1]), "it is gone");
    }
}
