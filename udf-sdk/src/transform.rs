//! Record transforms: the trait, and the glue between it and the exports.

use std::cell::RefCell;

use crate::Fault;
use crate::bindings::transforms::exports::thalweg::plugin::transform::Output;
use crate::bindings::transforms::thalweg::plugin::records::Batch;
use crate::emit::{Emit, Outputs};
use crate::log::install_panic_hook;
use crate::record::Record;

/// A record in, any number of records out.
///
/// A batch may be offered again, in parts, or to a new instance: nothing may be carried from one record to the next. `self` is for
/// configuration and for buffers.
pub trait Transform: Sized {
    /// Reads the configuration; once an instance.
    ///
    /// # Errors
    /// What is wrong with the configuration, for the user who wrote it.
    fn open(config: &Config) -> Result<Self, String>;

    /// Transforms one record. Emitting nothing drops it, on purpose.
    ///
    /// # Errors
    /// Why this record failed; it goes to the dead letters, or is offered again if the error is retryable.
    fn process(&mut self, record: &Record<'_>, out: &mut Emit<'_>) -> Result<(), RecordError>;
}

/// Names and values that the user configured.
#[derive(Clone, Debug, Default)]
pub struct Config(Vec<(String, String)>);

impl Config {
    /// A configuration of these pairs.
    pub fn new(pairs: Vec<(String, String)>) -> Config {
        Config(pairs)
    }

    /// The value of `name`, the last one if it is given twice.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// All names, in the order given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// Why one record failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Whether the same record may succeed later.
    pub retryable: bool,
    /// What is wrong, for whoever reads the dead letters.
    pub message: String,
}

impl From<String> for RecordError {
    fn from(message: String) -> RecordError {
        RecordError {
            retryable: false,
            message,
        }
    }
}

impl From<&str> for RecordError {
    fn from(message: &str) -> RecordError {
        RecordError {
            retryable: false,
            message: message.to_owned(),
        }
    }
}

/// Opens the instance's transform.
///
/// # Errors
/// [`Fault::InvalidArgument`] with the text of [`Transform::open`].
pub fn open<T: Transform>(
    instance: &RefCell<Option<T>>,
    config: Vec<(String, String)>,
) -> Result<(), Fault> {
    install_panic_hook();
    let opened = T::open(&Config::new(config)).map_err(Fault::InvalidArgument)?;
    instance.replace(Some(opened));
    Ok(())
}

/// Runs a batch through the instance's transform.
///
/// # Errors
/// [`Fault::InvalidArgument`] before [`open`].
pub fn process<T: Transform>(
    instance: &RefCell<Option<T>>,
    topic: &str,
    partition: i32,
    batch: &Batch,
) -> Result<Output, Fault> {
    install_panic_hook();
    let mut instance = instance.borrow_mut();
    let Some(transform) = instance.as_mut() else {
        return Err(Fault::InvalidArgument(
            "process came before open".to_owned(),
        ));
    };
    let mut outputs = Outputs::like(batch);
    let mut first_header = 0;
    for index in 0..batch.count as usize {
        let record = Record {
            batch,
            index,
            first_header,
            topic,
            partition,
        };
        outputs.record(&record, |out| transform.process(&record, out));
        first_header += batch
            .header_counts
            .get(index)
            .map_or(0, |&count| count as usize);
    }
    Ok(outputs.finish())
}

/// Makes a module of a type with [`Transform`]; at most one use a module.
#[macro_export]
macro_rules! export_transform {
    ($transform:ty) => {
        const _: () = {
            use $crate::bindings::transforms as bindings;

            thread_local! {
                static INSTANCE: ::std::cell::RefCell<Option<$transform>> =
                    const { ::std::cell::RefCell::new(None) };
            }

            struct Module;

            impl bindings::exports::thalweg::plugin::transform::Guest for Module {
                fn open(config: Vec<(String, String)>) -> Result<(), $crate::Fault> {
                    INSTANCE.with(|instance| $crate::open(instance, config))
                }

                fn process(
                    topic: String,
                    partition: i32,
                    input: bindings::thalweg::plugin::records::Batch,
                ) -> Result<bindings::exports::thalweg::plugin::transform::Output, $crate::Fault> {
                    INSTANCE.with(|instance| $crate::process(instance, &topic, partition, &input))
                }

                fn close() {
                    INSTANCE.with(|instance| drop(instance.take()));
                }
            }

            #[cfg(target_arch = "wasm32")]
            $crate::bindings::transforms::export_record_transform!(Module with_types_in $crate::bindings::transforms);
        };
    };
}
