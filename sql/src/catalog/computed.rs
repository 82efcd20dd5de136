//! The columns of a source or table that are computed: where they stand among the others, and what they declare.

use streams::{ColumnOrigin, SourceColumn};

use super::create::{Columns, length_in};
use super::object::Identity;
use crate::diagnostic::{Code, Diagnostic, Words};
use crate::parse::statement::{ComputedDef, CreateRelation};
use crate::plan::{ComputedColumn, Library, arrow_type};

/// Adds the columns that are computed from these where they are declared.
pub(super) fn add_computed(
    library: &Library,
    create: &CreateRelation,
    identity: &Identity,
    (columns, key): (&mut Columns, &mut [usize]),
    words: &Words,
) -> Result<(), Diagnostic> {
    let base = columns.clone();
    for (before, definition) in create.computed.iter().enumerate() {
        let name = &definition.name;
        if columns.iter().any(|(other, _)| *other == name.name) {
            let message = format!("two columns are named {:?}", name.name);
            return Err(Diagnostic::new(Code::DuplicateColumn, message).at(name.span));
        }
        let computed = ComputedColumn {
            definition,
            declared: declared(definition)?,
            others: &create.computed,
        };
        let column = computed.bound(library, identity, &base, words)?;
        let place = definition.place + before;
        columns.insert(place, (name.name.clone(), column));
        for column in key.iter_mut().filter(|column| **column >= place) {
            *column += 1;
        }
    }
    Ok(())
}

/// What a computed column declares of its values, NOT NULL aside.
fn declared(definition: &ComputedDef) -> Result<Option<SourceColumn>, Diagnostic> {
    let Some((written, span)) = &definition.data_type else {
        return Ok(None);
    };
    Ok(Some(SourceColumn {
        name: definition.name.written.clone(),
        data_type: arrow_type(written).map_err(|error| error.at(*span))?,
        nullable: true,
        length: length_in(written, *span)?,
        origin: ColumnOrigin::Value,
    }))
}
