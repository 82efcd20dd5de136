//! The statements, as the parser hands them to the binder. Queries stay sqlparser's trees with their original spans.

use sqlparser::ast::{DataType, Expr, Ident, Query};

use crate::diagnostic::Span;

/// A name with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// Folded to lower case unless it was quoted.
    pub name: String,
    /// As it was written.
    pub written: String,
    /// Where.
    pub span: Option<Span>,
}

/// A string or word with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    /// What it says.
    pub value: String,
    /// Where.
    pub span: Option<Span>,
}

/// One statement.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    CreateRelation(Box<CreateRelation>),
    CreateView(Box<CreateView>),
    CreateSink(Box<CreateSink>),
    CreateFunction(Box<CreateFunction>),
    Alter(Alter),
    Drop(Drop),
    Insert(Box<Insert>),
    Update(Box<Update>),
    Delete(Box<Delete>),
    Print(Print),
    Select(Box<Select>),
    Explain(Box<Explain>),
    Show(Show),
    ShowCreate(Name),
    Describe(Name),
    Set { name: Text, value: Text },
}

/// `CREATE SOURCE|TABLE`.
#[derive(Debug, Clone)]
pub(crate) struct CreateRelation {
    pub table: bool,
    pub if_not_exists: bool,
    pub name: Name,
    pub columns: Vec<ColumnDef>,
    pub computed: Vec<ComputedDef>,
    pub primary_key: Vec<Name>,
    pub watermark: Option<Watermark>,
    pub includes: Vec<Include>,
    pub options: Vec<(Text, Text)>,
    pub format: Option<(Format, Option<Span>)>,
    pub encode: Option<(Encode, Option<Span>)>,
    /// Where columns that were not declared would stand: behind this place, and whether that is an open parenthesis.
    pub columns_at: Option<(Span, bool)>,
}

/// A declared column.
#[derive(Debug, Clone)]
pub(crate) struct ColumnDef {
    pub name: Name,
    pub data_type: DataType,
    pub type_span: Option<Span>,
    pub nullable: bool,
    /// `KEY`: comes from the record key, which need not be unique.
    pub key: bool,
}

/// A column that is computed from others of its row: `c AS expression`, `c type GENERATED ALWAYS AS (expression) STORED`.
#[derive(Debug, Clone)]
pub(crate) struct ComputedDef {
    pub name: Name,
    /// How many of [`CreateRelation::columns`] stand before it.
    pub place: usize,
    /// `None`: that of the expression.
    pub data_type: Option<(DataType, Option<Span>)>,
    pub nullable: bool,
    pub expr: Expr,
    pub span: Option<Span>,
}

/// `WATERMARK FOR column AS expr`.
#[derive(Debug, Clone)]
pub(crate) struct Watermark {
    pub column: Name,
    pub expr: Expr,
    pub span: Option<Span>,
}

/// `INCLUDE what AS name`.
#[derive(Debug, Clone)]
pub(crate) struct Include {
    pub what: Metadata,
    pub name: Name,
}

/// Metadata of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Metadata {
    Key,
    Partition,
    Offset,
    Timestamp,
    Header(String),
    Headers,
}

/// What a record means, as it was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Plain,
    Upsert,
    Debezium,
}

/// How values are written, as it was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encode {
    Json,
    Csv,
    Text,
    Bytes,
}

/// `CREATE MATERIALIZED VIEW`.
#[derive(Debug, Clone)]
pub(crate) struct CreateView {
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub name: Name,
    pub options: Vec<(Text, Text)>,
    pub query: QueryClauses,
}

/// `CREATE SINK s FROM v | AS query WITH (…) [FORMAT … ENCODE …]`.
#[derive(Debug, Clone)]
pub(crate) struct CreateSink {
    pub if_not_exists: bool,
    pub name: Name,
    pub query: QueryClauses,
    pub output: Output,
}

/// Where and how the rows of a sink are written, as it was declared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    pub options: Vec<(Text, Text)>,
    pub format: Option<(Format, Option<Span>)>,
    pub encode: Option<(Encode, Option<Span>)>,
}

/// `ALTER kind name PAUSE | RESUME | RENAME TO other`.
#[derive(Debug, Clone)]
pub(crate) struct Alter {
    pub kind: DropKind,
    /// Whether it is good when there is no such object.
    pub if_exists: bool,
    pub name: Name,
    pub change: AlterChange,
}

/// See [`Alter`].
#[derive(Debug, Clone)]
pub(crate) enum AlterChange {
    /// A view or sink stands still.
    Pause,
    /// It goes on.
    Resume,
    /// A source or table has another name.
    Rename(Name),
}

/// `PRINT topic [FROM BEGINNING] [LIMIT n]`.
#[derive(Debug, Clone)]
pub(crate) struct Print {
    pub topic: Text,
    pub from_beginning: bool,
    pub limit: Option<u64>,
}

/// A query with its trailing clauses.
#[derive(Debug, Clone)]
pub(crate) struct QueryClauses {
    pub query: Box<Query>,
    pub emit: Option<(Emit, Option<Span>)>,
    pub late: Option<(Late, Option<Span>)>,
    pub grace: Option<(Expr, Option<Span>)>,
    /// `LIMIT n` of a push query, in either place.
    pub limit: Option<u64>,
    pub span: Option<Span>,
}

/// `EMIT …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emit {
    Changes { from_latest: bool },
    OnWindowClose,
}

/// `LATE …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Late {
    To(String),
    Drop,
    Update,
}

/// `CREATE [OR REPLACE] FUNCTION … LANGUAGE wasm AS 'file:…'`.
#[derive(Debug, Clone)]
pub(crate) struct CreateFunction {
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub name: Name,
    /// `None` where neither arguments nor result were declared: the module says them.
    pub signature: Option<DeclaredSignature>,
    pub location: Text,
}

/// Arguments and result as they were declared.
#[derive(Debug, Clone)]
pub(crate) struct DeclaredSignature {
    pub args: Vec<(DataType, Option<Span>)>,
    pub returns: DataType,
    pub returns_span: Option<Span>,
    pub span: Option<Span>,
}

/// `DROP kind [IF EXISTS] name [CASCADE]`.
#[derive(Debug, Clone)]
pub(crate) struct Drop {
    pub kind: DropKind,
    pub if_exists: bool,
    pub name: Name,
    /// Together with what reads it.
    pub cascade: bool,
}

/// What is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropKind {
    Source,
    Table,
    View,
    Sink,
    Function,
}

/// `INSERT INTO table [AS alias] [(columns)] query [ON CONFLICT …]`; with `EMIT CHANGES` it goes on.
#[derive(Debug, Clone)]
pub(crate) struct Insert {
    pub table: Name,
    /// What ON CONFLICT calls the table.
    pub alias: Option<Name>,
    pub columns: Vec<Name>,
    pub query: QueryClauses,
    pub conflict: Option<OnConflict>,
}

/// `ON CONFLICT [(key)] DO NOTHING | UPDATE SET …`: what becomes of rows whose key is there.
#[derive(Debug, Clone)]
pub(crate) struct OnConflict {
    pub unique: Unique,
    pub action: ConflictAction,
    pub span: Span,
}

/// What no two rows have alike.
#[derive(Debug, Clone)]
pub(crate) enum Unique {
    /// Whatever there is.
    Any,
    Columns(Vec<Name>),
    /// `ON CONSTRAINT name`.
    Constraint(Name),
}

/// See [`OnConflict`].
#[derive(Debug, Clone)]
pub(crate) enum ConflictAction {
    /// The row that is there stays.
    Nothing,
    /// It changes, where the condition holds.
    Update {
        assignments: Vec<(Name, Expr)>,
        only: Option<Box<Expr>>,
    },
}

/// `UPDATE table [AS name] SET column = expression, … [WHERE condition]`.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub table: Name,
    pub assignments: Vec<(Name, Expr)>,
    /// `SELECT * FROM table WHERE condition`: the rows to change.
    pub query: Box<Query>,
}

/// `DELETE FROM table [WHERE condition]`.
#[derive(Debug, Clone)]
pub(crate) struct Delete {
    pub table: Name,
    /// `SELECT * FROM table WHERE condition`: the rows to delete.
    pub query: Box<Query>,
}

/// A query: a snapshot that ends, or with `EMIT CHANGES` one that goes on.
#[derive(Debug, Clone)]
pub(crate) struct Select {
    pub query: QueryClauses,
}

/// `EXPLAIN`.
#[derive(Debug, Clone)]
pub(crate) enum Explain {
    Query(Box<QueryClauses>),
    Insert(Box<Insert>),
    Sink(Box<CreateSink>),
    Object(Name),
    Why(Name),
    /// What the operators of a running view or sink do.
    Analyze(Name),
}

/// `SHOW …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Sources,
    Tables,
    Views,
    Sinks,
    Jobs,
    Functions,
    Topics,
}

impl From<&Ident> for Name {
    fn from(ident: &Ident) -> Self {
        let name = match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_lowercase(),
        };
        Self {
            name,
            written: ident.value.clone(),
            span: Span::known(ident.span),
        }
    }
}
