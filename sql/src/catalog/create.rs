//! From CREATE SOURCE and TABLE to a bound relation: types, formats, keys, time.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use sqlparser::ast::{BinaryOperator, DataType as SqlType, Expr as SqlExpr};
use streams::{
    ColumnOrigin, Decoder, KeyFormat, SourceColumn, SourceSpecError, TextLength, ValueFormat,
    json_type,
};

use super::computed::add_computed;
use super::object::{Identity, Relation, TimeAttribute};
use super::options::{Options, connector, options};
use crate::diagnostic::{Code, Diagnostic, Span, Words};
use crate::generate::generator;
use crate::parse::computed_key;
use crate::parse::statement::{
    ColumnDef, CreateRelation, Encode, Format, Metadata, Name, Watermark,
};
use crate::plan::{
    LENGTH_MAX, Library, arrow_type, default_key_format, interval, length_of, timestamp, type_name,
};

/// How far the watermark stays behind the records' own time where nothing was declared, µs.
const DEFAULT_DELAY_US: i64 = 5_000_000;

/// A bound source or table, and how many partitions its topic gets if it has to be made.
#[derive(Debug)]
pub(crate) struct BoundRelation {
    pub relation: Relation,
    pub partitions: Option<i32>,
    /// Where the statement names the topic.
    pub topic_span: Option<Span>,
    /// Options that say which cluster the topic is in, and that are not looked at.
    pub elsewhere: Vec<String>,
}

/// Binds CREATE SOURCE or TABLE.
pub(crate) fn bind_relation(
    library: &Library,
    create: &CreateRelation,
    identity: Identity,
    words: &Words,
) -> Result<BoundRelation, Diagnostic> {
    let has_connector = connector(create).is_some();
    let mut columns = declared_columns(create)?;
    let types: Vec<_> = (create.columns.iter())
        .zip(&columns)
        .map(|(declared, (_, column))| (declared, column.data_type.clone()))
        .collect();
    let (generator, options) = match generator(&create.options, &types)? {
        Some((generator, rest)) => (Some(generator), options(&rest, false)?),
        None => (None, options(&create.options, has_connector)?),
    };
    let mut key = primary_key(create, &mut columns)?;
    includes(create, &mut columns);
    unique_names(create, &columns)?;
    let key_columns = columns
        .iter()
        .filter(|(_, column)| column.origin == ColumnOrigin::Key);
    let key_types: Vec<DataType> = key_columns
        .map(|(_, column)| column.data_type.clone())
        .collect();
    let debezium = matches!(create.format, Some((Format::Debezium, _)));
    let key_format = options.key_format.unwrap_or_else(|| {
        if debezium {
            KeyFormat::Json
        } else {
            default_key_format(&key_types)
        }
    });
    let value_format = value_format(create, &options, &columns)?;
    if key_format == KeyFormat::String && key_types != [DataType::Utf8View] {
        return Err(Diagnostic::new(
            Code::OptionValue,
            "key.format = 'string' needs a single TEXT column as the key",
        )
        .at(words.place("key"))
        .help("key.format = 'json' takes any columns"));
    }
    add_computed(
        library,
        create,
        &identity,
        (&mut columns, &mut key[..]),
        words,
    )?;
    let times = times(library, create, &columns, &options, words)?;
    let schema = Schema::new(
        columns
            .iter()
            .map(|(name, column)| Field::new(name, column.data_type.clone(), true))
            .collect::<Vec<_>>(),
    );
    let topic_span = options
        .topic
        .as_ref()
        .and_then(|topic| topic.span)
        .or(create.name.span);
    let topic = options
        .topic
        .map_or_else(|| identity.name.clone(), |topic| topic.value);
    let relation = Relation {
        topic,
        columns: columns.into_iter().map(|(_, column)| column).collect(),
        schema: Arc::new(schema),
        key,
        key_format: if key_types.is_empty() {
            KeyFormat::None
        } else {
            key_format
        },
        value_format,
        times,
        view: None,
        generator,
        has_connector,
        identity,
    };
    check_generated(create, &relation)?;
    check_decodable(create, &relation)?;
    Ok(BoundRelation {
        relation,
        partitions: options.partitions,
        topic_span,
        elsewhere: options.elsewhere,
    })
}

/// Columns by their folded names.
pub(super) type Columns = Vec<(String, SourceColumn)>;

/// What a number in a time of Debezium's counts where nothing says otherwise: it writes them with all digits.
const DEBEZIUM_UNIT_US: i64 = 1;

/// How values are written.
fn value_format(
    create: &CreateRelation,
    options: &Options,
    columns: &Columns,
) -> Result<ValueFormat, Diagnostic> {
    let timestamp_unit_us = options.timestamp_unit_us;
    let encode = match (&create.encode, options.encode) {
        (Some((declared, span)), Some(option)) if *declared != option => {
            let message = "FORMAT … ENCODE says another format than the option of WITH";
            return Err(Diagnostic::new(Code::OptionValue, message)
                .at(*span)
                .help("say it once"));
        }
        (declared, option) => {
            let declared = declared.as_ref().map(|(declared, _)| *declared);
            declared.or(option).unwrap_or(Encode::Json)
        }
    };
    if options.delimiter.is_some() && encode != Encode::Csv {
        let message = "a delimiter is for CSV";
        return Err(Diagnostic::new(Code::OptionValue, message).help("FORMAT PLAIN ENCODE CSV"));
    }
    let debezium = matches!(create.format, Some((Format::Debezium, _)));
    Ok(match encode {
        Encode::Json if debezium => ValueFormat::Debezium {
            timestamp_unit_us: timestamp_unit_us.or(Some(DEBEZIUM_UNIT_US)),
        },
        _ if debezium => {
            let span = create.encode.as_ref().and_then(|(_, span)| *span);
            let message = "Debezium's envelopes are read from JSON";
            return Err(Diagnostic::new(Code::Unsupported, message)
                .at(span)
                .help("FORMAT DEBEZIUM ENCODE JSON"));
        }
        Encode::Json => ValueFormat::Json { timestamp_unit_us },
        Encode::Csv => ValueFormat::Csv {
            columns: (columns.iter().take(create.columns.len()))
                .map(|(_, column)| column.name.clone())
                .collect(),
            delimiter: options.delimiter.unwrap_or(b','),
            timestamp_unit_us,
        },
        Encode::Text => ValueFormat::Text,
        Encode::Bytes => ValueFormat::Bytes,
    })
}

/// That what a generator writes is what is read.
fn check_generated(create: &CreateRelation, relation: &Relation) -> Result<(), Diagnostic> {
    if relation.generator.is_none() {
        return Ok(());
    }
    let is_json = matches!(relation.value_format, ValueFormat::Json { .. });
    if relation.key_format == KeyFormat::None && is_json {
        return Ok(());
    }
    let message = "rows that are made come as JSON without a key";
    Err(Diagnostic::new(Code::Unsupported, message)
        .at(create.name.span)
        .help("leave KEY, PRIMARY KEY and FORMAT out"))
}

/// That the topic can be read as it is declared.
fn check_decodable(create: &CreateRelation, relation: &Relation) -> Result<(), Diagnostic> {
    let all: Vec<usize> = (0..relation.columns.len()).collect();
    let Err(error) = Decoder::new(&relation.source(&all).0) else {
        return Ok(());
    };
    let span = create.encode.as_ref().and_then(|(_, span)| *span);
    Err(match error {
        SourceSpecError::Value { reason, .. } => {
            let words = ["one column", "BYTES or TEXT"];
            let whole = words.iter().any(|words| reason.contains(words));
            let diagnostic = Diagnostic::new(Code::OptionValue, reason).at(span);
            match whole {
                true => {
                    diagnostic.help("declare one column: (line TEXT) … FORMAT PLAIN ENCODE TEXT")
                }
                false => diagnostic,
            }
        }
        SourceSpecError::Key { reason, .. } => {
            Diagnostic::new(Code::OptionValue, reason).at(create.name.span)
        }
        other => Diagnostic::new(Code::UnknownType, other.to_string()).at(create.name.span),
    })
}

fn declared_columns(create: &CreateRelation) -> Result<Columns, Diagnostic> {
    if create.columns.is_empty() {
        return Err(Diagnostic::new(
            Code::Syntax,
            format!("{} has no columns", create.name.written),
        )
        .at(create.name.span)
        .help("declare them: (name TYPE, …)"));
    }
    let mut columns = Vec::with_capacity(create.columns.len());
    for column in &create.columns {
        let data_type =
            arrow_type(&column.data_type).map_err(|error| error.at(column.type_span))?;
        let origin = if column.key {
            ColumnOrigin::Key
        } else {
            ColumnOrigin::Value
        };
        columns.push((
            column.name.name.clone(),
            SourceColumn {
                name: column.name.written.clone(),
                data_type,
                nullable: column.nullable,
                length: text_length(column)?,
                origin,
            },
        ));
    }
    Ok(columns)
}

/// The length that a column of texts is declared with.
fn text_length(column: &ColumnDef) -> Result<Option<TextLength>, Diagnostic> {
    length_in(&column.data_type, column.type_span)
}

/// The same of a type as it is written.
pub(super) fn length_in(
    written: &SqlType,
    span: Option<Span>,
) -> Result<Option<TextLength>, Diagnostic> {
    let Some((length, pads)) = length_of(written) else {
        return Ok(None);
    };
    match u32::try_from(length) {
        Ok(chars_max @ 1..=LENGTH_MAX) => Ok(Some(TextLength { chars_max, pads })),
        _ => {
            let message = format!("a length of {length} is out of range");
            Err(Diagnostic::new(Code::UnknownType, message)
                .at(span)
                .help(format!("1 to {LENGTH_MAX}; TEXT has no limit")))
        }
    }
}

fn primary_key(create: &CreateRelation, columns: &mut Columns) -> Result<Vec<usize>, Diagnostic> {
    let mut key = Vec::with_capacity(create.primary_key.len());
    for name in &create.primary_key {
        let Some(place) = columns.iter().position(|(other, _)| *other == name.name) else {
            let computed = create
                .computed
                .iter()
                .any(|column| column.name.name == name.name);
            return Err(match computed {
                true => computed_key(name),
                false => unknown_column(name, columns),
            });
        };
        if key.contains(&place) {
            return Err(Diagnostic::new(
                Code::DuplicateColumn,
                format!("{} is twice in the primary key", name.written),
            )
            .at(name.span));
        }
        columns[place].1.origin = ColumnOrigin::Key;
        columns[place].1.nullable = false;
        key.push(place);
    }
    match (&create.format, key.is_empty()) {
        (Some((Format::Upsert, span)), true) => Err(Diagnostic::new(
            Code::Syntax,
            "FORMAT UPSERT needs a PRIMARY KEY: a record replaces the row of its key",
        )
        .at(*span)
        .help("add PRIMARY KEY (…), or use FORMAT PLAIN")),
        (Some((Format::Debezium, span)), true) => Err(Diagnostic::new(
            Code::Syntax,
            "FORMAT DEBEZIUM needs a PRIMARY KEY: the columns of the record key, whose row an envelope changes",
        )
        .at(*span)
        .help("add PRIMARY KEY (…), the key of the table that the connector reads")),
        _ => Ok(key),
    }
}

fn includes(create: &CreateRelation, columns: &mut Columns) {
    for include in &create.includes {
        let (data_type, origin) = match &include.what {
            Metadata::Key => (DataType::Utf8View, ColumnOrigin::Key),
            Metadata::Partition => (DataType::Int32, ColumnOrigin::Partition),
            Metadata::Offset => (DataType::Int64, ColumnOrigin::Offset),
            Metadata::Timestamp => (timestamp(), ColumnOrigin::Timestamp),
            Metadata::Header(name) => (DataType::Utf8View, ColumnOrigin::Header(name.clone())),
            Metadata::Headers => (json_type(), ColumnOrigin::Headers),
        };
        let column = SourceColumn {
            name: include.name.written.clone(),
            data_type,
            nullable: true,
            length: None,
            origin,
        };
        columns.push((include.name.name.clone(), column));
    }
}

fn unique_names(create: &CreateRelation, columns: &Columns) -> Result<(), Diagnostic> {
    let spans = create.columns.iter().map(|column| column.name.span);
    let spans: Vec<_> = spans
        .chain(create.includes.iter().map(|include| include.name.span))
        .collect();
    for (index, (name, _)) in columns.iter().enumerate() {
        if columns.iter().take(index).any(|(other, _)| other == name) {
            let message = format!("two columns are named {name:?}");
            return Err(Diagnostic::new(Code::DuplicateColumn, message)
                .at(spans.get(index).copied().flatten()));
        }
    }
    Ok(())
}

fn unknown_column(name: &Name, columns: &Columns) -> Diagnostic {
    Diagnostic::new(
        Code::UnknownColumn,
        format!("column {:?} is not declared", name.name),
    )
    .at(name.span)
    .suggest_nearest(&name.name, columns.iter().map(|(name, _)| name.as_str()))
}

/// The declared event time, or the records' own where they are included.
fn times(
    library: &Library,
    create: &CreateRelation,
    columns: &Columns,
    options: &Options,
    words: &Words,
) -> Result<Vec<TimeAttribute>, Diagnostic> {
    let idle_advance = options.idle_advance;
    let Some(watermark) = &create.watermark else {
        if let Some(named) = &options.timestamp {
            let name = Name {
                name: named.value.to_lowercase(),
                written: named.value.clone(),
                span: named.span,
            };
            return Ok(vec![TimeAttribute {
                column: time_column(&name, columns)?,
                delay_us: DEFAULT_DELAY_US,
                shift_us: 0,
                idle_advance,
                declared: true,
            }]);
        }
        let included = columns
            .iter()
            .position(|(_, column)| column.origin == ColumnOrigin::Timestamp);
        let time = |column| TimeAttribute {
            column,
            delay_us: DEFAULT_DELAY_US,
            shift_us: 0,
            idle_advance,
            declared: false,
        };
        return Ok(included.map(time).into_iter().collect());
    };
    let column = time_column(&watermark.column, columns)?;
    let delay_us = watermark_delay(library, watermark, words)?;
    Ok(vec![TimeAttribute {
        column,
        delay_us,
        shift_us: 0,
        idle_advance,
        declared: true,
    }])
}

/// The column that is to be event time.
fn time_column(name: &Name, columns: &Columns) -> Result<usize, Diagnostic> {
    let Some(column) = columns.iter().position(|(other, _)| *other == name.name) else {
        return Err(unknown_column(name, columns));
    };
    let SourceColumn {
        data_type, origin, ..
    } = &columns[column].1;
    if !matches!(data_type, DataType::Timestamp(_, None)) {
        let message = format!(
            "{} is of type {}, event time is a TIMESTAMP",
            name.written,
            type_name(data_type)
        );
        let mut diagnostic = Diagnostic::new(Code::TimeColumn, message).at(name.span);
        if matches!(data_type, DataType::Timestamp(_, Some(_))) {
            diagnostic = diagnostic.help(match origin {
                ColumnOrigin::Computed(computation) => format!(
                    "{} AS CAST({} AS TIMESTAMP), which is its time of UTC",
                    name.written, computation.text
                ),
                _ => {
                    "declare it as TIMESTAMP: values with an offset are converted to UTC".to_owned()
                }
            });
        }
        return Err(diagnostic);
    }
    Ok(column)
}

/// `ts` or `ts - INTERVAL '…'`.
fn watermark_delay(
    library: &Library,
    watermark: &Watermark,
    words: &Words,
) -> Result<i64, Diagnostic> {
    let is_column = |expr: &SqlExpr| match expr {
        SqlExpr::Identifier(ident) => Name::from(ident).name == watermark.column.name,
        _ => false,
    };
    match &watermark.expr {
        expr if is_column(expr) => Ok(0),
        SqlExpr::BinaryOp {
            left,
            op: BinaryOperator::Minus,
            right,
        } if is_column(left) => interval(library, right, watermark.span, words),
        other => {
            let name = &watermark.column.written;
            Err(
                Diagnostic::new(Code::Unsupported, format!("a watermark cannot be {other}"))
                    .at(watermark.span)
                    .help(format!(
                        "WATERMARK FOR {name} AS {name} - INTERVAL '5 seconds', or AS {name}"
                    )),
            )
        }
    }
}
