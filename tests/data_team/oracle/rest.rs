//! Requests to Connect's REST interface, and what is answered: statuses and bodies, without addresses, versions and traces.

use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::until;

/// Numbers that are a worker's own: a time, and an offset, which markers of transactions count.
const MASKED_NUMBERS: [&str; 2] = ["last_modified", "kafka_offset"];

/// Fields that are a worker's own.
const MASKED: [&str; 8] = [
    "worker_id",
    "version",
    "commit",
    "kafka_cluster_id",
    "trace",
    "documentation",
    "display_name",
    "last_modified",
];

/// One who asks, and what was said.
struct Transcript<'a> {
    address: &'a str,
    text: String,
}

impl Transcript<'_> {
    async fn ask(&mut self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.text_of(method, path, body.map(|body| body.to_string()).as_deref())
            .await
    }

    async fn text_of(&mut self, method: &str, path: &str, body: Option<&str>) -> Value {
        let (status, answer) = send(self.address, method, path, body).await;
        let mut shown = answer.clone();
        mask(&mut shown);
        let said = body
            .map(|body| format!("asked {body}\n"))
            .unwrap_or_default();
        let number = self.text.matches("\n== ").count() + 1;
        self.text += &format!("\n== {number} {method} {path}\n{said}status {status}\n");
        print(&mut self.text, "", &shown);
        answer
    }

    /// Waits until a place of an answer is this.
    async fn until(&self, path: &str, pointer: &str, wanted: Value) {
        let ask = || async {
            send(self.address, "GET", path, None)
                .await
                .1
                .pointer(pointer)
                .cloned()
        };
        until(path, ask, |found| found.as_ref() == Some(&wanted)).await;
    }
}

async fn send(address: &str, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = reqwest::Client::new().request(method, format!("http://{address}{path}"));
    if let Some(body) = body {
        request = request
            .header("content-type", "application/json")
            .body(body.to_owned());
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, value)
}

/// A line for each value that has none within, by its place: what has a name is known by that in a list.
fn print(text: &mut String, place: &str, value: &Value) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            for (name, value) in fields {
                print(text, &format!("{place}.{name}"), value);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let name = |item: &Value| {
                let named = item.pointer("/definition/name").or(item.get("name"));
                named.and_then(Value::as_str).map(str::to_owned)
            };
            let mut items: Vec<(String, &Value)> = items
                .iter()
                .enumerate()
                .map(|(number, item)| (name(item).unwrap_or(number.to_string()), item))
                .collect();
            items.sort_by(|(one, _), (other, _)| one.cmp(other));
            for (name, item) in items {
                print(text, &format!("{place}[{name}]"), item);
            }
        }
        value => *text += &format!("{place} {value}\n"),
    }
}

fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if MASKED.contains(&name.as_str()) => {
                        *text = "*".to_owned()
                    }
                    Value::Number(_) if MASKED_NUMBERS.contains(&name.as_str()) => {
                        *value = json!(0)
                    }
                    value => mask(value),
                }
            }
        }
        _ => {}
    }
}

/// The whole conversation.
pub(super) async fn transcript(address: &str, folder: &Path) -> String {
    let mut talk = Transcript {
        address,
        text: String::new(),
    };
    let input = folder.join("lines.txt");
    std::fs::write(&input, "one\ntwo\n").unwrap();
    let file = input.to_str().unwrap();
    creation(&mut talk, file).await;
    looking(&mut talk).await;
    configuring(&mut talk, file).await;
    moving(&mut talk).await;
    offsets(&mut talk, file).await;
    plugins(&mut talk, file).await;
    loggers(&mut talk).await;
    talk.ask("DELETE", "/connectors/f1", None).await;
    talk.ask("DELETE", "/connectors/f1", None).await;
    talk.text.replace(file, "FILE")
}

fn source(file: &str) -> Value {
    json!({"connector.class": "FileStreamSource", "file": file, "topic": "rest-lines", "tasks.max": "1",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.storage.StringConverter"})
}

async fn creation(talk: &mut Transcript<'_>, file: &str) {
    talk.ask("GET", "/", None).await;
    talk.ask("GET", "/health", None).await;
    let config = source(file);
    for wrong in [
        json!({"name": "f1"}),
        json!({"config": config}),
        json!({"name": "", "config": config}),
        json!({"name": "f1", "config": {"file": file}}),
        json!({"name": "f1", "config": {"connector.class": "NoSuch"}}),
        json!({"name": "f1", "config": {"connector.class": "FileStreamSource", "file": file}}),
        json!({"name": "f1", "config": {"name": "other", "connector.class": "FileStreamSource", "topic": "t"}}),
        json!({"name": "f1", "config": {"connector.class": "FileStreamSource", "topic": "t", "tasks.max": "none"}}),
        json!({"name": "f1", "config": {"connector.class": "FileStreamSource", "topic": "t", "tasks.max": "0"}}),
        json!({"name": "f1", "config": {"connector.class": "FileStreamSource", "topic": "t", "errors.tolerance": "some"}}),
        json!({"name": "f1", "config": {"connector.class": "FileStreamSource", "topic": "t", "key.converter": "NoSuch"}}),
        json!({"name": "f1", "config": {"connector.class": "FileStreamSource", "topic": "t", "transforms": "a"}}),
        json!({"name": "f1", "config": {"connector.class": "FileStreamSource", "topic": "t", "transforms": "a,a"}}),
        json!({"name": "f1", "config": {"connector.class": "FileStreamSink"}}),
        json!({"name": "f1", "config": {"connector.class": "FileStreamSink", "topics": "a", "topics.regex": "b"}}),
        json!({"name": "f1", "config": config, "initial_state": "ASLEEP"}),
        json!({"name": "f1", "config": config, "more": 1}),
        json!([]),
    ] {
        talk.ask("POST", "/connectors", Some(wrong)).await;
    }
    talk.text_of("POST", "/connectors", Some("{\"name\": "))
        .await;
    talk.ask(
        "POST",
        "/connectors",
        Some(json!({"name": "f1", "config": config, "initial_state": "STOPPED"})),
    )
    .await;
    talk.until(
        "/connectors/f1/status",
        "/connector/state",
        json!("STOPPED"),
    )
    .await;
    talk.ask("GET", "/connectors/f1/status", None).await;
    talk.ask("GET", "/connectors/f1/offsets", None).await;
    talk.ask(
        "POST",
        "/connectors",
        Some(json!({"name": "f1", "config": config})),
    )
    .await;
    talk.ask("PUT", "/connectors/f1/resume", None).await;
    talk.until("/connectors/f1/status", "/tasks/0/state", json!("RUNNING"))
        .await;
}

async fn looking(talk: &mut Transcript<'_>) {
    talk.until("/connectors/f1/topics", "/f1/topics/0", json!("rest-lines"))
        .await;
    for path in [
        "/connectors/f1",
        "/connectors/f1/",
        "/connectors/f1/config",
        "/connectors/f1/status",
        "/connectors/f1/tasks",
        "/connectors/f1/tasks/0/status",
        "/connectors/f1/tasks/9/status",
        "/connectors/f1/tasks/x/status",
        "/connectors/f1/topics",
        "/connectors/f1/tasks-config",
        "/connectors/nope",
        "/connectors/nope/config",
        "/connectors/nope/status",
        "/connectors/nope/tasks",
        "/connectors/nope/tasks/0/status",
        "/connectors/nope/topics",
        "/connectors/nope/offsets",
        "/nope",
    ] {
        talk.ask("GET", path, None).await;
    }
    talk.ask("PUT", "/connectors/f1/topics/reset", None).await;
    talk.ask("PUT", "/connectors/nope/topics/reset", None).await;
    talk.ask("PATCH", "/connectors", None).await;
    talk.ask("PUT", "/connectors/f1", Some(json!({}))).await;
}

async fn configuring(talk: &mut Transcript<'_>, file: &str) {
    let mut config = source(file);
    config["batch.size"] = json!("100");
    talk.ask("PUT", "/connectors/f1/config", Some(config.clone()))
        .await;
    config["name"] = json!("other");
    talk.ask("PUT", "/connectors/f1/config", Some(config.clone()))
        .await;
    config["name"] = json!("f1");
    config["batch.size"] = json!("many");
    talk.ask("PUT", "/connectors/f1/config", Some(config.clone()))
        .await;
    talk.ask("PUT", "/connectors/f1/config", Some(json!({})))
        .await;
    talk.ask("PUT", "/connectors/f1/config", Some(json!([])))
        .await;
    talk.ask(
        "PATCH",
        "/connectors/f1/config",
        Some(json!({"batch.size": "200", "errors.log.enable": "true"})),
    )
    .await;
    talk.ask(
        "PATCH",
        "/connectors/f1/config",
        Some(json!({"batch.size": null})),
    )
    .await;
    talk.ask(
        "PATCH",
        "/connectors/f1/config",
        Some(json!({"topic": null})),
    )
    .await;
    talk.ask(
        "PATCH",
        "/connectors/nope/config",
        Some(json!({"batch.size": "200"})),
    )
    .await;
    talk.ask("GET", "/connectors/f1/config", None).await;
}

async fn moving(talk: &mut Transcript<'_>) {
    for (path, pointer, state) in [
        ("pause", "/connector/state", "PAUSED"),
        ("pause", "/connector/state", "PAUSED"),
        ("resume", "/connector/state", "RUNNING"),
        ("resume", "/connector/state", "RUNNING"),
        ("stop", "/connector/state", "STOPPED"),
        ("stop", "/connector/state", "STOPPED"),
        ("resume", "/tasks/0/state", "RUNNING"),
    ] {
        talk.ask("PUT", &format!("/connectors/f1/{path}"), None)
            .await;
        talk.until("/connectors/f1/status", pointer, json!(state))
            .await;
    }
    for path in ["pause", "resume", "stop"] {
        talk.ask("PUT", &format!("/connectors/nope/{path}"), None)
            .await;
    }
    for path in [
        "/connectors/f1/tasks/0/restart",
        "/connectors/nope/tasks/0/restart",
        "/connectors/f1/restart",
        "/connectors/f1/restart?onlyFailed=true",
        "/connectors/nope/restart",
        "/connectors/nope/restart?includeTasks=true",
    ] {
        talk.ask("POST", path, None).await;
        talk.until("/connectors/f1/status", "/tasks/0/state", json!("RUNNING"))
            .await;
        talk.until(
            "/connectors/f1/status",
            "/connector/state",
            json!("RUNNING"),
        )
        .await;
    }
}

async fn offsets(talk: &mut Transcript<'_>, file: &str) {
    let place = json!({"filename": file});
    let alter = |partition: &Value, offset: Value| json!({"offsets": [{"partition": partition, "offset": offset}]});
    talk.until(
        "/connectors/f1/offsets",
        "/offsets/0/offset/position",
        json!(8),
    )
    .await;
    talk.ask("GET", "/connectors/f1/offsets", None).await;
    talk.ask(
        "PATCH",
        "/connectors/f1/offsets",
        Some(alter(&place, json!({"position": 4}))),
    )
    .await;
    talk.ask("DELETE", "/connectors/f1/offsets", None).await;
    talk.ask("PUT", "/connectors/f1/stop", None).await;
    talk.until(
        "/connectors/f1/status",
        "/connector/state",
        json!("STOPPED"),
    )
    .await;
    talk.until("/connectors/f1/status", "/tasks", json!([]))
        .await;
    for body in [
        alter(&place, json!({"position": 4})),
        alter(&place, json!({"position": -1})),
        alter(&place, json!({"position": "4"})),
        alter(&place, json!({"position": 1.5})),
        alter(&place, json!({})),
        alter(&json!({}), json!({"position": 4})),
        alter(&json!({"filename": 5}), json!({"position": 4})),
        alter(&json!({"filename": "/other"}), json!({"position": 4})),
        json!({"offsets": []}),
        json!({"offsets": null}),
        json!({}),
        json!({"offsets": [{"partition": null, "offset": null}]}),
        json!({"offsets": [{"partition": place, "offset": null}]}),
    ] {
        talk.ask("PATCH", "/connectors/f1/offsets", Some(body))
            .await;
    }
    talk.ask("GET", "/connectors/f1/offsets", None).await;
    talk.ask("DELETE", "/connectors/f1/offsets", None).await;
    talk.ask(
        "PATCH",
        "/connectors/nope/offsets",
        Some(alter(&place, json!({"position": 4}))),
    )
    .await;
    talk.ask("DELETE", "/connectors/nope/offsets", None).await;
    let sink = json!({"connector.class": "FileStreamSink", "file": format!("{file}.out"), "topics": "rest-lines",
        "value.converter": "org.apache.kafka.connect.storage.StringConverter"});
    talk.ask("PUT", "/connectors/s1/config", Some(sink)).await;
    talk.until("/connectors/s1/status", "/tasks/0/state", json!("RUNNING"))
        .await;
    let read = || async {
        let (_, offsets) = send(talk.address, "GET", "/connectors/s1/offsets", None).await;
        offsets["offsets"][0]["offset"]["kafka_offset"].as_i64()
    };
    let all = |read: &Option<i64>| read.is_some_and(|read| read >= 2);
    until("the sink has read both lines", read, all).await;
    talk.ask("GET", "/connectors/s1/offsets", None).await;
    talk.ask("GET", "/connectors/s1/status", None).await;
    talk.ask("PUT", "/connectors/s1/stop", None).await;
    talk.until("/connectors/s1/status", "/tasks", json!([]))
        .await;
    let partition =
        |partition: Value| json!({"kafka_topic": "rest-lines", "kafka_partition": partition});
    for body in [
        alter(&partition(json!(0)), json!({"kafka_offset": 1})),
        alter(&partition(json!("0")), json!({"kafka_offset": "1"})),
        alter(&partition(json!(0)), json!({"kafka_offset": -1})),
        alter(&partition(json!(0)), json!({"kafka_offset": "x"})),
        alter(&partition(json!(0)), json!({"position": 1})),
        alter(&partition(json!(-1)), json!({"kafka_offset": 1})),
        alter(
            &json!({"kafka_topic": "rest-lines"}),
            json!({"kafka_offset": 1}),
        ),
        alter(&json!({"kafka_partition": 0}), json!({"kafka_offset": 1})),
        alter(
            &json!({"kafka_topic": "rest-lines", "kafka_partition": 0, "more": 1}),
            json!({"kafka_offset": 1}),
        ),
        alter(&partition(json!(0)), Value::Null),
    ] {
        talk.ask("PATCH", "/connectors/s1/offsets", Some(body))
            .await;
    }
    talk.ask("DELETE", "/connectors/s1/offsets", None).await;
    talk.ask("DELETE", "/connectors/s1", None).await;
}

async fn plugins(talk: &mut Transcript<'_>, file: &str) {
    talk.ask("GET", "/connector-plugins/FileStreamSource/config", None)
        .await;
    talk.ask(
        "GET",
        "/connector-plugins/org.apache.kafka.connect.json.JsonConverter/config",
        None,
    )
    .await;
    talk.ask(
        "GET",
        "/connector-plugins/org.apache.kafka.connect.transforms.RegexRouter/config",
        None,
    )
    .await;
    talk.ask("GET", "/connector-plugins/NoSuch/config", None)
        .await;
    let validate = "/connector-plugins/FileStreamSource/config/validate";
    for config in [
        json!({}),
        json!({"connector.class": "FileStreamSource"}),
        json!({"connector.class": "FileStreamSink"}),
        json!({"connector.class": "FileStreamSource", "name": "v", "topic": "t", "file": file, "tasks.max": "x", "batch.size": "1.5",
            "errors.tolerance": "most"}),
        json!({"connector.class": "FileStreamSource", "name": "v", "topic": "t", "file": file, "transforms": "a,b",
            "transforms.a.type": "org.apache.kafka.connect.transforms.RegexRouter", "transforms.a.regex": "(",
            "transforms.b.type": "NoSuch", "predicates": "p",
            "predicates.p.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"}),
    ] {
        talk.ask("PUT", validate, Some(config)).await;
    }
    talk.ask(
        "PUT",
        "/connector-plugins/NoSuch/config/validate",
        Some(json!({"connector.class": "NoSuch"})),
    )
    .await;
    talk.ask(
        "PUT",
        "/connector-plugins/FileStreamSink/config/validate",
        Some(json!({"connector.class": "FileStreamSink", "name": "v"})),
    )
    .await;
}

async fn loggers(talk: &mut Transcript<'_>) {
    talk.ask("GET", "/admin/loggers/root", None).await;
    talk.ask("GET", "/admin/loggers/org.apache.kafka.connect.nope", None)
        .await;
    talk.ask(
        "PUT",
        "/admin/loggers/rest.transcript",
        Some(json!({"level": "DEBUG"})),
    )
    .await;
    talk.ask("GET", "/admin/loggers/rest.transcript", None)
        .await;
    talk.ask(
        "PUT",
        "/admin/loggers/rest.transcript",
        Some(json!({"level": "warn"})),
    )
    .await;
    talk.ask(
        "PUT",
        "/admin/loggers/rest.transcript",
        Some(json!({"level": "BOGUS"})),
    )
    .await;
    talk.ask("PUT", "/admin/loggers/rest.transcript", Some(json!({})))
        .await;
    talk.ask(
        "PUT",
        "/admin/loggers/rest.transcript?scope=worker",
        Some(json!({"level": "INFO"})),
    )
    .await;
    talk.ask(
        "PUT",
        "/admin/loggers/rest.transcript?scope=cluster",
        Some(json!({"level": "INFO"})),
    )
    .await;
    talk.ask(
        "PUT",
        "/admin/loggers/rest.transcript?scope=moon",
        Some(json!({"level": "INFO"})),
    )
    .await;
}
