//! What a connector's configuration means: the plugins there are, the keys that every connector has, validation, and
//! the settings that a task runs with.

mod creation;
mod keys;
mod names;
mod nearest;
mod overrides;
mod plugins;
mod settings;
mod validate;

#[cfg(test)]
mod tests;

pub(crate) use creation::TopicCreation;
pub(crate) use keys::{key_infos, whole};
pub(crate) use names::target_issue;
pub(crate) use nearest::{is_typo, nearest};
pub(crate) use overrides::{Consumer, OffsetReset, group};
pub(crate) use plugins::Plugins;
pub(crate) use settings::{ErrorSettings, Settings};
pub(crate) use validate::{ConfigInfos, Invalid, validate};
