//! Two scalar functions over delays and distances of flights.

use thalweg_udf::{export_functions, scalar_function};

/// The class of a delay in minutes: early (< 0), on time (< 15), late (< 60) or very late. Null for null.
///
/// A NaN has no class and is an error of its row.
#[scalar_function]
fn delay_class(dep_delay: Option<f64>) -> Result<Option<&'static str>, &'static str> {
    let Some(minutes) = dep_delay else {
        return Ok(None);
    };
    match minutes {
        _ if minutes.is_nan() => Err("a delay of NaN minutes has no class"),
        _ if minutes < 0.0 => Ok(Some("early")),
        _ if minutes < 15.0 => Ok(Some("on time")),
        _ if minutes < 60.0 => Ok(Some("late")),
        _ => Ok(Some("very late")),
    }
}

/// Statute miles in kilometres. Never asked about null.
#[scalar_function]
fn kilometres(miles: f64) -> f64 {
    miles * 1.609_344
}

export_functions!(delay_class, kilometres);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_begin_where_they_say() {
        let class = |minutes| delay_class(Some(minutes)).unwrap().unwrap();
        assert_eq!(class(-0.5), "early");
        assert_eq!(class(0.0), "on time");
        assert_eq!(class(14.9), "on time");
        assert_eq!(class(15.0), "late");
        assert_eq!(class(59.9), "late");
        assert_eq!(class(60.0), "very late");
    }

    #[test]
    fn null_has_no_class_and_nan_is_an_error() {
        assert_eq!(delay_class(None), Ok(None));
        assert!(delay_class(Some(f64::NAN)).is_err());
    }

    #[test]
    fn a_mile_is_longer_than_a_kilometre() {
        assert_eq!(kilometres(1000.0), 1609.344);
    }
}
