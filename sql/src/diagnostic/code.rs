//! The codes: `TW1xxx` is about the text, `TW2xxx` about running it, `TW3xxx` about the log and the engine.

/// What kind of trouble a diagnostic speaks of; each has a stable number and PostgreSQL's SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The text is no statement.
    Syntax,
    /// A word that looks like a mistyped keyword.
    Keyword,
    /// A string, comment or quoted name without an end.
    Unterminated,
    /// The statement is longer than the limit.
    TooLong,
    /// No such source, table or view.
    UnknownRelation,
    /// No such column.
    UnknownColumn,
    /// No such function.
    UnknownFunction,
    /// More than one column fits.
    AmbiguousColumn,
    /// The name is taken.
    Exists,
    /// Others depend on it.
    InUse,
    /// The object is there but of another kind.
    WrongKind,
    /// Types do not fit.
    TypeMismatch,
    /// A column is neither grouped nor aggregated.
    Grouping,
    /// It has no meaning over a stream.
    NotStreaming,
    /// A clause or statement that is understood but not carried out.
    Unsupported,
    /// The column of a window is not the event time.
    TimeColumn,
    /// A view whose rows have no key.
    NoKey,
    /// A function whose answer changes by itself.
    Volatile,
    /// Names inside of one relation collide.
    DuplicateColumn,
    /// No such option.
    UnknownOption,
    /// An option's value is wrong.
    OptionValue,
    /// No such topic.
    UnknownTopic,
    /// No such type.
    UnknownType,
    /// A name that cannot be used.
    InvalidName,
    /// A module cannot be loaded.
    Module,
    /// A module's function does not have the declared shape.
    Signature,
    /// A row cannot be computed.
    Row,
    /// A limit of the server was reached.
    Limit,
    /// It took longer than allowed.
    Timeout,
    /// The server is stopping.
    Shutdown,
    /// The request may come from a page of another site.
    Caller,
    /// Who sends the statement may not do what it does.
    Denied,
    /// Nobody knows who sends the statement.
    NotKnown,
    /// Records are missing in an answer.
    LeftOut,
    /// A view, or the connector of a table, has not read yet what was there when it began.
    Filling,
    /// One key lies in several partitions.
    Scattered,
    /// The log did not do what was asked.
    Log,
    /// The engine did not do what was asked.
    Engine,
    /// A connector cannot be what the statement asks for, or did not do it.
    Connector,
    /// A fault of ours.
    Internal,
}

impl Code {
    /// The stable number.
    pub(crate) fn number(self) -> &'static str {
        match self {
            Self::Syntax => "TW1001",
            Self::Keyword => "TW1002",
            Self::Unterminated => "TW1003",
            Self::TooLong => "TW1004",
            Self::UnknownRelation => "TW1101",
            Self::UnknownColumn => "TW1102",
            Self::UnknownFunction => "TW1103",
            Self::AmbiguousColumn => "TW1104",
            Self::Exists => "TW1105",
            Self::InUse => "TW1106",
            Self::WrongKind => "TW1107",
            Self::TypeMismatch => "TW1201",
            Self::Grouping => "TW1202",
            Self::NotStreaming => "TW1203",
            Self::Unsupported => "TW1204",
            Self::TimeColumn => "TW1205",
            Self::NoKey => "TW1206",
            Self::Volatile => "TW1207",
            Self::DuplicateColumn => "TW1208",
            Self::UnknownOption => "TW1301",
            Self::OptionValue => "TW1302",
            Self::UnknownTopic => "TW1303",
            Self::UnknownType => "TW1304",
            Self::InvalidName => "TW1305",
            Self::Module => "TW1401",
            Self::Signature => "TW1402",
            Self::Row => "TW2001",
            Self::Limit => "TW2002",
            Self::Timeout => "TW2003",
            Self::Shutdown => "TW2004",
            Self::Caller => "TW2005",
            Self::Denied => "TW2006",
            Self::NotKnown => "TW2007",
            Self::LeftOut => "TW2101",
            Self::Filling => "TW2102",
            Self::Scattered => "TW2103",
            Self::Log => "TW3001",
            Self::Engine => "TW3002",
            Self::Connector => "TW3003",
            Self::Internal => "TW9001",
        }
    }

    /// PostgreSQL's SQLSTATE.
    pub(crate) fn sqlstate(self) -> &'static str {
        match self {
            Self::Syntax | Self::Keyword | Self::Unterminated => "42601",
            Self::TooLong | Self::Limit => "53400",
            Self::UnknownRelation => "42P01",
            Self::UnknownColumn => "42703",
            Self::UnknownFunction => "42883",
            Self::AmbiguousColumn => "42702",
            Self::Exists => "42P07",
            Self::InUse => "2BP01",
            Self::WrongKind => "42809",
            Self::TypeMismatch => "42804",
            Self::Grouping => "42803",
            Self::NotStreaming | Self::Unsupported | Self::NoKey | Self::Volatile => "0A000",
            Self::TimeColumn => "42804",
            Self::DuplicateColumn => "42701",
            Self::UnknownOption | Self::UnknownTopic | Self::UnknownType => "42704",
            Self::OptionValue => "22023",
            Self::InvalidName => "42602",
            Self::Module | Self::Signature => "42P13",
            Self::Row => "22000",
            Self::Timeout => "57014",
            Self::Shutdown => "57P01",
            Self::Caller | Self::NotKnown => "28000",
            Self::Denied => "42501",
            Self::LeftOut | Self::Filling | Self::Scattered => "01000",
            Self::Log | Self::Engine => "58000",
            Self::Connector => "HV000",
            Self::Internal => "XX000",
        }
    }
}
