//! The one reading of JSON whose shape is ours. A struct is an object in it; that serde
//! would take an array for one too, field by field, is as much code again for each struct.

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Error;
use serde_json::de::SliceRead;

/// Reads all of `bytes`.
///
/// # Errors
/// They are no JSON, or have another shape.
pub fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Error> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let read = T::deserialize(Json(&mut from))?;
    from.end()?;
    Ok(read)
}

struct Json<'a, 'de>(&'a mut serde_json::Deserializer<SliceRead<'de>>);

impl<'de> Deserializer<'de> for Json<'_, 'de> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_seq(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit unit_struct newtype_struct tuple tuple_struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, serde::Deserialize)]
    struct Point {
        x: u8,
    }

    #[test]
    fn a_struct_is_an_object_and_no_array() {
        assert_eq!(read::<Point>(b" {\"x\": 1} ").unwrap(), Point { x: 1 });
        assert_eq!(read::<Vec<u8>>(b"[1]").unwrap(), [1]);
        for bad in ["[1]", "{\"x\": 1}]", "null", ""] {
            assert!(read::<Point>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
