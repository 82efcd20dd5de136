//! Reads the Arrow IPC schema message with which a guest describes arguments and results.
//!
//! Only flat layouts that the boundary carries are accepted. arrow's own conversion panics on some malformed schemas, so this one
//! walks the verified flatbuffer itself.

use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::ipc;

/// Largest schema message; a field takes about 100 bytes.
const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// Most fields of a schema.
const FIELDS_MAX: usize = 64;

/// The fields of an encapsulated IPC schema message.
///
/// # Errors
/// What is wrong with it, for the module's author.
pub(crate) fn decode(message: &[u8]) -> Result<Vec<Field>, String> {
    if message.len() > SCHEMA_BYTES_MAX {
        return Err(format!(
            "a schema of {} bytes, at most {SCHEMA_BYTES_MAX} are allowed",
            message.len()
        ));
    }
    // 0xffffffff, the length, and the flatbuffer.
    let flatbuffer = message
        .strip_prefix(&[0xff; 4])
        .and_then(|rest| rest.split_first_chunk::<4>())
        .filter(|(length, rest)| u32::from_le_bytes(**length) as usize == rest.len())
        .map(|(_, rest)| rest)
        .ok_or("a schema that is not one encapsulated IPC message")?;
    let message =
        ipc::root_as_message(flatbuffer).map_err(|error| format!("a damaged schema: {error}"))?;
    let schema = message
        .header_as_schema()
        .ok_or("an IPC message that is not a schema")?;
    let fields = schema.fields().ok_or("a schema without fields")?;
    if fields.len() > FIELDS_MAX {
        return Err(format!(
            "a schema of {} fields, at most {FIELDS_MAX} are allowed",
            fields.len()
        ));
    }
    fields.iter().map(field).collect()
}

fn field(field: ipc::Field<'_>) -> Result<Field, String> {
    let name = field.name().ok_or("a field without a name")?;
    let data_type = data_type(field).ok_or_else(|| {
        format!(
            "field {name} has a type that cannot cross; booleans, numbers, dates, timestamps, text and binary can"
        )
    })?;
    Ok(Field::new(name, data_type, field.nullable()))
}

fn data_type(field: ipc::Field<'_>) -> Option<DataType> {
    if field.dictionary().is_some() {
        return None;
    }
    match field.type_type() {
        ipc::Type::Bool => Some(DataType::Boolean),
        ipc::Type::Utf8 => Some(DataType::Utf8),
        ipc::Type::Binary => Some(DataType::Binary),
        ipc::Type::Int => {
            let int = field.type_as_int()?;
            match (int.bitWidth(), int.is_signed()) {
                (8, true) => Some(DataType::Int8),
                (16, true) => Some(DataType::Int16),
                (32, true) => Some(DataType::Int32),
                (64, true) => Some(DataType::Int64),
                (8, false) => Some(DataType::UInt8),
                (16, false) => Some(DataType::UInt16),
                (32, false) => Some(DataType::UInt32),
                (64, false) => Some(DataType::UInt64),
                _ => None,
            }
        }
        ipc::Type::FloatingPoint => match field.type_as_floating_point()?.precision() {
            ipc::Precision::SINGLE => Some(DataType::Float32),
            ipc::Precision::DOUBLE => Some(DataType::Float64),
            _ => None,
        },
        ipc::Type::Date => match field.type_as_date()?.unit() {
            ipc::DateUnit::DAY => Some(DataType::Date32),
            ipc::DateUnit::MILLISECOND => Some(DataType::Date64),
            _ => None,
        },
        ipc::Type::Timestamp => {
            let timestamp = field.type_as_timestamp()?;
            let unit = match timestamp.unit() {
                ipc::TimeUnit::SECOND => TimeUnit::Second,
                ipc::TimeUnit::MILLISECOND => TimeUnit::Millisecond,
                ipc::TimeUnit::MICROSECOND => TimeUnit::Microsecond,
                ipc::TimeUnit::NANOSECOND => TimeUnit::Nanosecond,
                _ => return None,
            };
            Some(DataType::Timestamp(
                unit,
                timestamp.timezone().map(Into::into),
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;
    use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};

    use super::*;

    fn message(fields: Vec<Field>) -> Vec<u8> {
        let flatbuffer = IpcDataGenerator::default()
            .schema_to_bytes_with_dictionary_tracker(
                &Schema::new(fields),
                &mut DictionaryTracker::new(false),
                &IpcWriteOptions::default(),
            )
            .ipc_message;
        let mut message = vec![0xff; 4];
        message.extend_from_slice(&u32::try_from(flatbuffer.len()).unwrap().to_le_bytes());
        message.extend_from_slice(&flatbuffer);
        message
    }

    #[test]
    fn flat_types_round_trip() {
        let fields = vec![
            Field::new("a", DataType::Boolean, true),
            Field::new("b", DataType::UInt16, false),
            Field::new("c", DataType::Float64, true),
            Field::new(
                "d",
                DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
                true,
            ),
            Field::new("e", DataType::Binary, true),
        ];
        assert_eq!(decode(&message(fields.clone())).unwrap(), fields);
    }

    #[test]
    fn nested_types_are_refused() {
        let list = Field::new_list("l", Field::new("item", DataType::Int64, true), true);
        assert_eq!(
            decode(&message(vec![list])).unwrap_err(),
            "field l has a type that cannot cross; booleans, numbers, dates, timestamps, text and binary can"
        );
    }

    #[test]
    fn damaged_messages_are_refused_at_every_byte() {
        let good = message(vec![Field::new("delay", DataType::Float64, true)]);
        for length in 0..good.len() {
            assert!(decode(&good[..length]).is_err());
        }
        // Any answer will do, as long as it is one.
        for position in 0..good.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[position] = value;
                let _ = decode(&bad);
            }
        }
    }
}
