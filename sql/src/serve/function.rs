//! CREATE FUNCTION: a module of a file becomes a function of the catalog, or takes the place of the one that is there.
//!
//! ```text
//! CREATE OR REPLACE:  module → log ── record, same id → log ── objects ── each view that calls it: stop after a commit,
//!                     start again where it stood, bound to the new module
//! ```
//!
//! Invariants:
//! 1. Views keep their columns: a function that views call is replaced by one of the same signature only.
//! 2. What a view has computed stays. Rows after the commit at which it stopped are the new module's.
//! 3. The record names the module that is in the log already; a crash between two steps leaves the old or the new.

use std::sync::Arc;

use connect_sandbox::Module;
use tracing::{info, warn};

use super::answer::Outcome;
use super::ddl::{catalog_error, exists, record};
use super::server::{Inner, StatementContext};
use crate::catalog::{Function, FunctionModule, Kind, Objects, Relation, bind_function};
use crate::diagnostic::{Code, Diagnostic};
use crate::parse::statement::{CreateFunction, Name, Text};

impl Inner {
    /// CREATE FUNCTION.
    pub(super) async fn create_function(
        &self,
        create: &CreateFunction,
        context: &StatementContext<'_>,
    ) -> Result<Outcome, Diagnostic> {
        let _one_at_a_time = self.change_catalog().await;
        let name = create.name.name.as_str();
        let objects = self.objects();
        let before = objects.function(name).cloned();
        let broken = self
            .broken_id(name)
            .filter(|(_, kind)| *kind == Kind::Function);
        if (before.is_some() || broken.is_some()) && !create.or_replace {
            if create.if_not_exists && before.is_some() {
                return Ok(Outcome::done(format!("function {name} exists already")));
            }
            return Err(exists(&create.name, Kind::Function).help(
                "CREATE OR REPLACE FUNCTION puts the new module in its place; views that call it go on",
            ));
        }
        let state = &self.library.state;
        if state.scalar_functions().contains_key(name)
            || state.aggregate_functions().contains_key(name)
        {
            return Err(
                exists(&create.name, Kind::Function).help("it is built in: choose another name")
            );
        }
        let mut identity = self.identity(&create.name, Kind::Function, context);
        if let Some(before) = &before {
            identity.id = before.identity.id;
        } else if let Some((id, _)) = broken {
            identity.id = id;
        }
        let found = self.load_module(name, &create.location).await?;
        let function = Arc::new(bind_function(create, identity, &found.module)?);
        let views = match &before {
            Some(before) => self.rebound(before, &function, &create.name, &objects)?,
            None => Vec::new(),
        };
        self.keep_module(&function, &found, context.now_ms).await?;
        self.change_objects(|objects| {
            objects.insert_function(Arc::clone(&function));
            for view in &views {
                objects.insert_relation(Arc::clone(view));
            }
        });
        self.forget_broken(name);
        let signature = function.signature();
        let module = function.module_shown();
        info!(function = name, module, "function is there");
        let mut notes = vec![format!("{signature}, module {module}")];
        for view in &views {
            notes.push(self.take_over(view).await);
        }
        let done = if before.is_some() {
            "replaced"
        } else {
            "created"
        };
        Ok(Outcome::Done {
            message: format!("{done} function {name}"),
            notes,
        })
    }

    /// The views that call a function, bound to what takes its place.
    fn rebound(
        &self,
        before: &Function,
        function: &Arc<Function>,
        name: &Name,
        objects: &Objects,
    ) -> Result<Vec<Arc<Relation>>, Diagnostic> {
        let callers = objects.dependents(before.identity.id);
        if callers.is_empty() {
            return Ok(Vec::new());
        }
        let refused = |why: String| {
            let drops: Vec<String> = callers
                .iter()
                .map(|user| {
                    format!(
                        "DROP {} {}",
                        user.kind.to_string().to_uppercase(),
                        user.name
                    )
                })
                .collect();
            Diagnostic::new(Code::InUse, why)
                .at(name.span)
                .help(format!(
                    "another name for the new one, or first: {}",
                    drops.join("; ")
                ))
        };
        let names: Vec<&str> = callers.iter().map(|caller| caller.name.as_str()).collect();
        if let Some(sink) = callers.iter().find(|caller| caller.kind == Kind::Sink) {
            let (name, sink) = (&before.identity.name, &sink.name);
            return Err(refused(format!(
                "{name} is called by sink {sink}, which does not go on with another module"
            )));
        }
        if (&before.args, &before.returns) != (&function.args, &function.returns) {
            return Err(refused(format!(
                "{} is called by {}, and the new module says {}",
                before.signature(),
                names.join(", "),
                function.signature()
            )));
        }
        let mut changed = objects.clone();
        changed.insert_function(Arc::clone(function));
        let mut views = Vec::with_capacity(callers.len());
        for caller in &callers {
            let caller = caller.name.as_str();
            let Some(view) = objects.relation(caller) else {
                continue;
            };
            let mut bound = self
                .bind_again(&view.identity, &changed)
                .map_err(|error| refused(format!("view {caller} cannot go on with it: {error}")))?;
            // What it has kept stays under the numbers that it has.
            if let (Some(after), Some(before)) = (&mut bound.view, &view.view) {
                after.manifest.clone_from(&before.manifest);
            }
            if bound.schema != view.schema {
                return Err(refused(format!(
                    "with it view {caller} would have other columns"
                )));
            }
            views.push(Arc::new(bound));
        }
        Ok(views)
    }

    /// Puts the module into the log where it is not there, then the record that names it.
    async fn keep_module(
        &self,
        function: &Function,
        found: &FunctionModule,
        now_ms: i64,
    ) -> Result<(), Diagnostic> {
        let hash = &function.module;
        let known = self.store.module(hash).await.map_err(catalog_error)?;
        if known.is_none() {
            let put = self.store.put_module(hash, &found.bytes, now_ms).await;
            put.map_err(catalog_error)?;
        }
        let record = record(&function.identity, Some(hash.clone()));
        let put = self.store.put(function.identity.id, &record).await;
        put.map_err(catalog_error)
    }

    /// Lets a view go on from its last commit with what it is bound to now; says how that went.
    async fn take_over(&self, view: &Relation) -> String {
        let name = view.name();
        match self.jobs.restart(&self.engine, view).await {
            Ok(()) => {
                format!("view {name} goes on with it; what it has computed stays as it is")
            }
            Err(error) => {
                warn!(view = name, %error, "view does not go on with the new module");
                format!("view {name} does not go on yet: {error}; EXPLAIN WHY {name} says more")
            }
        }
    }

    /// Reads and compiles a module away from the threads that serve.
    async fn load_module(&self, name: &str, location: &Text) -> Result<FunctionModule, Diagnostic> {
        let wrong = |message: String| Diagnostic::new(Code::Module, message).at(location.span);
        let Some(path) = location.value.strip_prefix("file:") else {
            return Err(wrong(format!("'{}' names no module", location.value))
                .help("AS 'file:PATH'; the server reads the file once and keeps it in the log"));
        };
        let path = path.strip_prefix("//").unwrap_or(path).to_owned();
        let (sandbox, name) = (Arc::clone(&self.sandbox), name.to_owned());
        let loaded = tokio::task::spawn_blocking(move || {
            let unread = |error: std::io::Error| unread(&path, &error);
            let metadata = std::fs::metadata(&path).map_err(unread)?;
            if metadata.len() > crate::catalog::MODULE_BYTES_MAX as u64 {
                return Err(format!(
                    "{path} is larger than {} bytes; strip it or build it with --release",
                    crate::catalog::MODULE_BYTES_MAX
                ));
            }
            let bytes = std::fs::read(&path).map_err(unread)?;
            let module: Module = sandbox
                .load(&name, &bytes)
                .map_err(|error| error.to_string())?;
            Ok(FunctionModule { module, bytes })
        });
        match loaded.await {
            Ok(loaded) => loaded.map_err(wrong),
            Err(error) => Err(wrong(format!("the module could not be loaded: {error}"))),
        }
    }
}

/// Why a file cannot be read: a relative path is the server's, not the client's.
fn unread(path: &str, error: &std::io::Error) -> String {
    let text = format!("read {path}: {error}");
    if std::path::Path::new(path).is_absolute() {
        return text;
    }
    match std::env::current_dir() {
        Ok(folder) => format!(
            "{text}; it is looked for in the server's folder, {}: give the whole path",
            folder.display()
        ),
        Err(_) => text,
    }
}
