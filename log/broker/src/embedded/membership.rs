//! Members of groups in this process: a task each joins, beats and joins again; the handle hears of it.
//!
//! ```text
//! task:   join ─▶ sync ─▶ Assigned ─▶ heartbeats ── rebalance ──▶ Revoked ─▶ heartbeats ── asked for the next ──▶ join …
//! handle: next ◀───────────┘                              next ◀─────┘             next ─┘
//! ```
//!
//! The leader assigns by range, as Kafka's clients do, over subscriptions and assignments in their encoding; so a group may
//! have members of both kinds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use log_api::{Change, GroupMember, Membership, MembershipError, MembershipOptions};
use log_protocol::{ErrorCode, TopicPartition};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::assignor;
use crate::config::millis_i32;
use crate::coordinator::group::state::{Identity, Join, JoinReply, Sync};
use crate::services::Services;

/// What the protocol is called among Kafka's clients.
const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";

/// A member beats so often in the time of its session.
const BEATS: u32 = 10;

pub(super) struct EmbeddedMembership {
    member: Member,
    told: mpsc::Receiver<Told>,
    /// What the task waits for before it goes on.
    taken: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What the task tells; it goes on once this was taken note of, where that is asked for.
struct Told {
    what: Result<Change, MembershipError>,
    taken: Option<oneshot::Sender<()>>,
}

/// Who it is for the coordinator; the task and the handle know it.
#[derive(Clone)]
struct Member {
    services: Arc<Services>,
    group: String,
    id: Arc<parking_lot::Mutex<Identity>>,
}

impl EmbeddedMembership {
    pub(super) fn start(services: Arc<Services>, options: MembershipOptions) -> Self {
        let member = Member {
            services,
            group: options.group.clone(),
            id: Arc::default(),
        };
        let (tells, told) = mpsc::channel(1);
        let life = Life {
            member: member.clone(),
            options,
            tells,
        };
        Self {
            member,
            told,
            taken: None,
            task: tokio::spawn(life.run()),
        }
    }
}

impl Member {
    fn identity(&self) -> Identity {
        self.id.lock().clone()
    }

    /// Tells the coordinator that it is gone; one that has no id yet was never there.
    fn leave(&self) -> ErrorCode {
        let identity = self.identity();
        if identity.member_id.is_empty() {
            return ErrorCode::None;
        }
        self.services.groups.leave(&self.group, &identity)
    }
}

#[async_trait]
impl Membership for EmbeddedMembership {
    async fn next(&mut self, wait: Duration) -> Result<Option<Change>, MembershipError> {
        if let Some(taken) = self.taken.take() {
            // A task that is gone shows below.
            let _ = taken.send(());
        }
        match tokio::time::timeout(wait, self.told.recv()).await {
            Ok(Some(told)) => {
                self.taken = told.taken;
                told.what.map(Some)
            }
            Ok(None) => Err(MembershipError::Unavailable {
                group: self.member.group.clone(),
                reason: "the log is shutting down".to_owned(),
            }),
            Err(_) => Ok(None),
        }
    }

    async fn leave(self: Box<Self>) -> Result<(), MembershipError> {
        // Dropping it does the rest.
        Ok(())
    }
}

impl Drop for EmbeddedMembership {
    fn drop(&mut self) {
        self.task.abort();
        let left = self.member.leave();
        tracing::debug!(group = %self.member.group, ?left, "a member has left");
    }
}

/// The life of a member.
struct Life {
    member: Member,
    options: MembershipOptions,
    tells: mpsc::Sender<Told>,
}

impl Life {
    async fn run(self) {
        loop {
            let is_heard = match self.enter().await {
                Ok(change) => {
                    let told = Told {
                        what: Ok(change),
                        taken: None,
                    };
                    let is_heard = self.tells.send(told).await.is_ok();
                    // An answer that is none says that the others wait, or that it is not counted any more.
                    self.beat_until(|answer| answer != ErrorCode::None).await;
                    is_heard && self.tell(Ok(Change::Revoked)).await
                }
                Err(error) => self.tell(Err(error)).await,
            };
            if !is_heard {
                return;
            }
        }
    }

    /// Tells something, and waits until the handle is asked for what comes next; it beats meanwhile, so that it may still
    /// commit. `false`: nobody listens.
    async fn tell(&self, what: Result<Change, MembershipError>) -> bool {
        let (taken, is_taken) = oneshot::channel();
        let told = Told {
            what,
            taken: Some(taken),
        };
        let told = async { self.tells.send(told).await.is_ok() && is_taken.await.is_ok() };
        tokio::select! {
            is_heard = told => is_heard,
            () = self.beat_until(|_| false) => false,
        }
    }

    async fn beat_until(&self, is_it: impl Fn(ErrorCode) -> bool) {
        let mut beats = tokio::time::interval(self.options.session / BEATS);
        loop {
            beats.tick().await;
            let (group, identity) = (&self.member.group, self.member.identity());
            if is_it(self.member.services.groups.heartbeat(group, &identity)) {
                return;
            }
        }
    }

    /// Joins, and comes back with its share.
    async fn enter(&self) -> Result<Change, MembershipError> {
        let groups = &self.member.services.groups;
        loop {
            let reply = groups.join(&self.options.group, self.join()).await;
            match reply.error {
                ErrorCode::None => {}
                // The coordinator does not know it any more: it comes as a new one.
                ErrorCode::UnknownMemberId => {
                    *self.member.id.lock() = Identity::default();
                    continue;
                }
                ErrorCode::RebalanceInProgress => continue,
                error => return Err(self.refused(error)),
            }
            let identity = Identity {
                member_id: reply.member_id.clone(),
                instance_id: None,
                generation: reply.generation,
            };
            *self.member.id.lock() = identity.clone();
            let sync = Sync {
                member: identity.clone(),
                protocol_type: reply.protocol_type.clone(),
                protocol: reply.protocol.clone(),
                assignments: self.assignments(&reply),
                ticket: 0,
            };
            let synced = groups.sync(&self.options.group, sync).await;
            match synced.error {
                ErrorCode::None => {}
                ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration => continue,
                ErrorCode::UnknownMemberId => {
                    *self.member.id.lock() = Identity::default();
                    continue;
                }
                error => return Err(self.refused(error)),
            }
            let partitions = assignor::decode_assignment(&synced.assignment);
            let partitions = partitions.ok_or_else(|| MembershipError::Refused {
                group: self.options.group.clone(),
                reason: "its leader sent an assignment that cannot be read".to_owned(),
            })?;
            let (group, id) = (&self.options.group, &identity.member_id);
            return Ok(Change::Assigned {
                partitions,
                member: GroupMember::new(group, id, identity.generation),
            });
        }
    }

    fn join(&self) -> Join {
        let session_ms = millis_i32(self.options.session);
        let subscription = assignor::encode_subscription(&self.options.topics);
        Join {
            member_id: self.member.identity().member_id,
            fresh_member_id: String::new(),
            member_id_required: false,
            instance_id: None,
            client_id: "thalweg".to_owned(),
            client_host: "/embedded".to_owned(),
            session_timeout_ms: session_ms,
            rebalance_timeout_ms: session_ms,
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols: vec![(PROTOCOL.to_owned(), subscription)],
            can_skip_assignment: false,
            ticket: 0,
        }
    }

    /// What the leader assigns; of others nothing.
    fn assignments(&self, reply: &JoinReply) -> Vec<(String, Bytes)> {
        let subscriptions: BTreeMap<String, Vec<String>> = reply
            .members
            .iter()
            .map(|member| {
                let topics = assignor::decode_subscription(&member.metadata);
                (member.member_id.clone(), topics.unwrap_or_default())
            })
            .collect();
        let partitions = |topic: &str| {
            let topic = self.member.services.topics.get(topic);
            topic.map_or(0, |topic| topic.partitions())
        };
        let shares = assignor::range(&subscriptions, partitions);
        let encoded = |(member, share): (String, Vec<TopicPartition>)| {
            (member, assignor::encode_assignment(&share))
        };
        shares.into_iter().map(encoded).collect()
    }

    fn refused(&self, error: ErrorCode) -> MembershipError {
        let (group, reason) = (self.options.group.clone(), error.message().to_owned());
        match error {
            ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress => {
                MembershipError::Unavailable { group, reason }
            }
            _ => MembershipError::Refused { group, reason },
        }
    }
}
