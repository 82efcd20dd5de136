//! IncrementalAlterConfigs (key 44): sets, deletes, appends to or subtracts from single configs of a topic (KIP-339). Nothing is set for a
//! broker while it runs, so of its settings only the deletion succeeds.

use std::collections::{BTreeMap, HashSet};

use log_protocol::ErrorCode;
use log_protocol::api::incremental_alter_configs::{
    AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::alter_configs::{alterable, named_twice, replace};
use super::describe_configs::{BROKER, broker_id};
use super::{Answered, Repeated};
use crate::services::Context;
use crate::topic_config::{CONFIG_KEYS, ConfigKind};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) async fn handle(
    ctx: &Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    let named = request.resources.iter();
    let repeated = Repeated::of(
        named.map(|resource| (resource.resource_type, resource.resource_name.clone())),
    );
    let mut answered = Answered::default();
    for resource in request.resources {
        let (resource_type, name) = (resource.resource_type, resource.resource_name);
        let is_repeated = repeated.is_repeated(&(resource_type, name.clone()));
        if !answered.may_answer((resource_type, name.clone())) {
            continue;
        }
        let outcome = match alterable(ctx, resource_type, &name) {
            _ if is_repeated => Err(named_twice(&name)),
            // That it is allowed was looked at first.
            Err((ErrorCode::InvalidRequest, _))
                if resource_type == BROKER
                    && (name.is_empty() || broker_id(ctx, &name).is_ok())
                    && only_deletes(&resource.configs) =>
            {
                Ok(())
            }
            Ok(topic) => match changed(topic.set_configs(), &resource.configs) {
                Ok(set) => replace(ctx, &topic, set, request.validate_only).await,
                Err(refused) => Err(refused),
            },
            Err(refused) => Err(refused),
        };
        let (error_code, error_message) = match outcome {
            Ok(()) => (ErrorCode::None, None),
            Err((error, message)) => (error, Some(message)),
        };
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type,
            resource_name: name,
        });
    }
    IncrementalAlterConfigsResponse {
        responses,
        ..IncrementalAlterConfigsResponse::default()
    }
}

/// As `kafka-reassign-partitions --verify` does with throttles.
fn only_deletes(operations: &[AlterableConfig]) -> bool {
    let deletes = |operation: &AlterableConfig| operation.config_operation == DELETE;
    !operations.is_empty() && operations.iter().all(deletes)
}

fn changed(
    mut set: BTreeMap<String, String>,
    operations: &[AlterableConfig],
) -> Result<BTreeMap<String, String>, (ErrorCode, String)> {
    let mut named = HashSet::new();
    for operation in operations {
        let name = operation.name.clone();
        if !named.insert(&operation.name) {
            let message = format!("config {name} is named more than once");
            return Err((ErrorCode::InvalidRequest, message));
        }
        let value = operation.value.clone();
        match (operation.config_operation, value) {
            (SET, Some(value)) => drop(set.insert(name, value)),
            (DELETE, _) => drop(set.remove(&name)),
            (APPEND | SUBTRACT, Some(value)) => {
                let key = CONFIG_KEYS.iter().find(|key| key.name == name);
                let Some(key) = key.filter(|key| matches!(key.kind, ConfigKind::List)) else {
                    let message =
                        format!("config {name} is no list: nothing can be added or taken away");
                    return Err((ErrorCode::InvalidConfig, message));
                };
                let current = set.get(&name).map_or(key.default, String::as_str);
                let append = operation.config_operation == APPEND;
                let edited = edit_list(current, &value, append);
                set.insert(name, edited);
            }
            (SET | APPEND | SUBTRACT, None) => {
                return Err((
                    ErrorCode::InvalidRequest,
                    format!("config {name} has no value"),
                ));
            }
            (other, _) => {
                let message = format!("config {name}: operation {other} is not known");
                return Err((ErrorCode::InvalidRequest, message));
            }
        }
    }
    Ok(set)
}

fn edit_list(current: &str, named: &str, append: bool) -> String {
    let split = |list: &str| -> Vec<String> {
        list.split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let named = split(named);
    let mut items = split(current);
    items.retain(|item| append || !named.contains(item));
    if append {
        for item in named {
            if !items.contains(&item) {
                items.push(item);
            }
        }
    }
    items.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(name: &str, config_operation: i8, value: Option<&str>) -> AlterableConfig {
        AlterableConfig {
            name: name.into(),
            config_operation,
            value: value.map(str::to_owned),
        }
    }

    #[test]
    fn lists_grow_and_shrink() {
        let set = changed(
            BTreeMap::new(),
            &[operation("cleanup.policy", APPEND, Some("compact"))],
        )
        .unwrap();
        assert_eq!(set["cleanup.policy"], "delete,compact");
        let set = changed(
            set,
            &[operation("cleanup.policy", SUBTRACT, Some("delete"))],
        )
        .unwrap();
        assert_eq!(set["cleanup.policy"], "compact");
        assert!(changed(set, &[operation("retention.ms", APPEND, Some("5"))]).is_err());
    }

    #[test]
    fn a_key_that_is_named_twice_is_refused() {
        let twice = [
            operation("retention.ms", SET, Some("5")),
            operation("retention.ms", DELETE, None),
        ];
        let refused = changed(BTreeMap::new(), &twice).unwrap_err();
        assert_eq!(refused.0, ErrorCode::InvalidRequest);
    }

    #[test]
    fn keys_are_set_and_deleted() {
        let set = changed(
            BTreeMap::new(),
            &[operation("retention.ms", SET, Some("5"))],
        )
        .unwrap();
        assert_eq!(set["retention.ms"], "5");
        assert!(
            changed(set, &[operation("retention.ms", DELETE, None)])
                .unwrap()
                .is_empty()
        );
    }
}
