//! What PostgreSQL tells of itself: who asks, and where; and of a value what type it has. Nobody is told apart by SQL, there is
//! one database, and objects have no schema but the one that all are in.

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result as BoundResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::super::system::{CATALOG, OWNER, SCHEMA};
use super::super::type_name;
use super::{Answer, Line, line, text};

pub(super) const LINES: &[Line] = &[
    line("version", &[], text, |_| {
        let version = concat!("Thalweg ", env!("CARGO_PKG_VERSION"));
        Ok(Answer::Text(version.into()))
    }),
    line("current_user", &[], text, |_| told(OWNER)),
    line("session_user", &[], text, |_| told(OWNER)),
    line("current_database", &[], text, |_| told(CATALOG)),
    line("current_catalog", &[], text, |_| told(CATALOG)),
    line("current_schema", &[], text, |_| told(SCHEMA)),
];

fn told<'a>(name: &'static str) -> Result<Answer<'a>, String> {
    Ok(Answer::Text(name.into()))
}

pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    [false, true].into_iter().map(|postgres| {
        ScalarUDF::from(TypeOf {
            postgres,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    })
}

/// `typeof(x)`, by our names of types, and `pg_typeof(x)`, by PostgreSQL's.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TypeOf {
    postgres: bool,
    signature: Signature,
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        if self.postgres { "pg_typeof" } else { "typeof" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> BoundResult<Vec<DataType>> {
        match args {
            [_] => Ok(args.to_vec()),
            _ => {
                let message = format!("{} takes a value", self.name());
                Err(DataFusionError::Plan(message))
            }
        }
    }

    fn return_type(&self, _args: &[DataType]) -> BoundResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> BoundResult<ColumnarValue> {
        let data_type = args.arg_fields.first().map(|field| field.data_type());
        let name = data_type.map(|data_type| match self.postgres {
            true => postgres_name(data_type),
            false => type_name(data_type),
        });
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(name)))
    }
}

fn postgres_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Null => "unknown",
        DataType::Float64 => "double precision",
        DataType::Decimal128(..) => "numeric",
        DataType::Timestamp(_, None) => "timestamp without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Time64(_) => "time without time zone",
        DataType::List(element) => return format!("{}[]", postgres_name(element.data_type())),
        DataType::Struct(_) if !streams::is_json(data_type) => "record",
        other => return type_name(other).to_lowercase(),
    };
    name.to_owned()
}
