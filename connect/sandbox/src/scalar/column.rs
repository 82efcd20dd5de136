//! A result column on its way from a guest: every rule of the layout is checked before it becomes an array.

use arrow::array::{ArrayData, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::DataType;

use super::{RowError, ScalarOutput};
use crate::error::brief;
use crate::wire::{self, ArrayNode};

/// The array and errors of `output`, which must be one column of `data_type` with `rows` rows.
///
/// # Errors
/// The rule that the guest broke.
pub(super) fn check(
    output: wire::ScalarOutput,
    data_type: &DataType,
    rows: usize,
) -> Result<ScalarOutput, String> {
    let data = output.data;
    if data.rows as usize != rows {
        return Err(format!("{} rows for {rows} rows of arguments", data.rows));
    }
    let [ArrayNode { length, null_count }] = data.nodes.as_slice() else {
        return Err(format!("{} columns, one was expected", data.nodes.len()));
    };
    if *length as usize != rows {
        return Err(format!("a column of {length} rows in a batch of {rows}"));
    }
    let (validity, buffers) = data
        .buffers
        .split_first()
        .ok_or("a column without buffers")?;
    let nulls = check_validity(validity, rows, *null_count as usize)?;
    let buffers = check_values(buffers, data_type, rows, nulls.as_ref())?;
    let array = ArrayData::builder(data_type.clone())
        .len(rows)
        .nulls(nulls)
        .buffers(buffers)
        // All rules again, as arrow sees them: UTF-8 among them.
        .build()
        .map_err(|error| format!("a column that is not {data_type}: {error}"))?;

    let mut errors = Vec::with_capacity(output.errors.len());
    let mut last = None;
    for error in output.errors {
        if error.row as usize >= rows {
            return Err(format!("an error of row {} of {rows}", error.row));
        }
        if last.is_some_and(|last| last >= error.row) {
            return Err(format!("errors that do not ascend at row {}", error.row));
        }
        if array.is_valid(error.row as usize) {
            return Err(format!("a value in row {}, which has an error", error.row));
        }
        last = Some(error.row);
        errors.push(RowError {
            row: error.row,
            message: brief(error.message),
        });
    }
    Ok(ScalarOutput {
        values: make_array(array),
        errors,
    })
}

fn check_validity(
    bitmap: &[u8],
    rows: usize,
    null_count: usize,
) -> Result<Option<NullBuffer>, String> {
    if bitmap.is_empty() {
        return match null_count {
            0 => Ok(None),
            _ => Err(format!("{null_count} nulls and no validity bitmap")),
        };
    }
    if bitmap.len() != rows.div_ceil(8) {
        return Err(format!(
            "a validity bitmap of {} bytes for {rows} rows",
            bitmap.len()
        ));
    }
    let nulls = NullBuffer::new(BooleanBuffer::new(Buffer::from(bitmap), 0, rows));
    if nulls.null_count() != null_count {
        return Err(format!(
            "{null_count} nulls announced and {} in the bitmap",
            nulls.null_count()
        ));
    }
    Ok((null_count > 0).then_some(nulls))
}

/// Checks offsets and lengths; the buffers, aligned.
fn check_values(
    buffers: &[Vec<u8>],
    data_type: &DataType,
    rows: usize,
    nulls: Option<&NullBuffer>,
) -> Result<Vec<Buffer>, String> {
    let expected = if matches!(data_type, DataType::Utf8 | DataType::Binary) {
        2
    } else {
        1
    };
    if buffers.len() != expected {
        return Err(format!(
            "{} buffers after the validity of a {data_type} column",
            buffers.len()
        ));
    }
    if expected == 2 {
        check_offsets(&buffers[0], rows, buffers[1].len(), nulls)?;
    } else {
        let length = match data_type.primitive_width() {
            Some(width) => rows * width,
            None if *data_type == DataType::Boolean => rows.div_ceil(8),
            None => return Err(format!("a column of type {data_type}, which cannot cross")),
        };
        if buffers[0].len() != length {
            return Err(format!(
                "{} bytes of values where {rows} rows take {length}",
                buffers[0].len()
            ));
        }
    }
    // A guest's bytes lie anywhere; the copy is aligned.
    Ok(buffers
        .iter()
        .map(|bytes| Buffer::from(bytes.as_slice()))
        .collect())
}

fn check_offsets(
    offsets: &[u8],
    rows: usize,
    bytes: usize,
    nulls: Option<&NullBuffer>,
) -> Result<(), String> {
    if offsets.len() != (rows + 1) * 4 {
        return Err(format!(
            "{} bytes of offsets for {rows} rows",
            offsets.len()
        ));
    }
    let offset = |row: usize| i32::from_le_bytes(offsets.as_chunks::<4>().0[row]);
    if offset(0) != 0 {
        return Err(format!("offsets that start with {}", offset(0)));
    }
    for row in 0..rows {
        let (start, end) = (offset(row), offset(row + 1));
        if start > end {
            return Err(format!("offsets that decrease after row {row}"));
        }
        if start != end && nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return Err(format!("bytes in null {row}"));
        }
    }
    // Not negative: they start with 0 and never decrease.
    if offset(rows) as usize != bytes {
        return Err(format!(
            "offsets that end with {} over {bytes} bytes",
            offset(rows)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(offsets: &[i32], bytes: &[u8]) -> Result<ScalarOutput, String> {
        let rows = offsets.len() - 1;
        let offsets = offsets
            .iter()
            .flat_map(|offset| offset.to_le_bytes())
            .collect();
        let node = ArrayNode {
            length: rows as u32,
            null_count: 0,
        };
        let data = wire::Batch {
            rows: rows as u32,
            nodes: vec![node],
            buffers: vec![Vec::new(), offsets, bytes.to_vec()],
        };
        check(
            wire::ScalarOutput {
                data,
                errors: Vec::new(),
            },
            &DataType::Utf8,
            rows,
        )
    }

    #[test]
    fn a_character_cut_in_two_is_refused() {
        assert!(text(&[0, 2, 3], "éx".as_bytes()).is_ok());
        // All bytes together are UTF-8, the rows are not.
        let reason = text(&[0, 1, 3], "éx".as_bytes()).unwrap_err();
        assert!(
            reason.starts_with("a column that is not Utf8: "),
            "{reason}"
        );
    }

    #[test]
    fn errors_ascend_and_their_rows_are_null() {
        let run = |rows: &[u32]| {
            let errors = rows
                .iter()
                .map(|&row| wire::RowError {
                    row,
                    message: "no".to_owned(),
                })
                .collect();
            let data = wire::Batch {
                rows: 3,
                nodes: vec![ArrayNode {
                    length: 3,
                    null_count: 2,
                }],
                buffers: vec![vec![0b010], vec![0; 12]],
            };
            check(wire::ScalarOutput { data, errors }, &DataType::Int32, 3)
                .map(|output| output.errors.len())
        };
        assert_eq!(run(&[0, 2]), Ok(2));
        assert_eq!(
            run(&[2, 0]),
            Err("errors that do not ascend at row 0".to_owned())
        );
        assert_eq!(
            run(&[2, 2]),
            Err("errors that do not ascend at row 2".to_owned())
        );
        assert_eq!(
            run(&[1]),
            Err("a value in row 1, which has an error".to_owned())
        );
    }
}
