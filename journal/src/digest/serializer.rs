//! A serializer whose output is a hash.

use super::Digest;
use serde::ser::{self, Serialize};
use std::fmt::{self, Display, Write};

/// Feeds a value into a digest.
pub(super) struct Sink<'a>(pub &'a mut Digest);

/// No value refuses.
#[derive(Debug)]
pub(super) struct Refused;

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value refused to be serialized")
    }
}
impl std::error::Error for Refused {}
impl ser::Error for Refused {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

struct Text<'a>(&'a mut Digest);
impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.bytes(text.as_bytes());
        Ok(())
    }
}

macro_rules! words {
    ($($method:ident: $type:ty,)+) => {$(
        #[inline]
        #[expect(clippy::allow_attributes, reason = "not every one of these casts is lossy")]
        #[allow(clippy::cast_lossless, clippy::cast_sign_loss, clippy::disallowed_types, reason = "only the bits matter")]
        fn $method(self, value: $type) -> Result<(), Refused> {
            self.0.word(value as u64);
            Ok(())
        }
    )+};
}

type Done = Result<(), Refused>;

#[expect(clippy::disallowed_types, reason = "the trait names floats; ours are never given one")]
impl<'a> ser::Serializer for Sink<'a> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn is_human_readable(&self) -> bool {
        false
    }
    words! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_char: char,
    }
    fn serialize_u128(self, value: u128) -> Done {
        self.0.bytes(&value.to_le_bytes());
        Ok(())
    }
    fn serialize_f32(self, value: f32) -> Done {
        self.serialize_u32(value.to_bits())
    }
    fn serialize_f64(self, value: f64) -> Done {
        self.serialize_u64(value.to_bits())
    }
    fn serialize_str(self, value: &str) -> Done {
        self.serialize_bytes(value.as_bytes())
    }
    fn serialize_bytes(self, value: &[u8]) -> Done {
        self.0.bytes(value);
        Ok(())
    }
    fn serialize_none(self) -> Done {
        self.serialize_u8(0)
    }
    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Done {
        self.0.word(1);
        value.serialize(self)
    }
    fn serialize_unit(self) -> Done {
        self.serialize_u8(0)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Done {
        self.serialize_u8(0)
    }
    fn serialize_unit_variant(self, _: &'static str, variant: u32, _: &'static str) -> Done {
        self.serialize_u32(variant)
    }
    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        value: &T,
    ) -> Done {
        self.0.word(u64::from(variant));
        value.serialize(self)
    }
    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Refused> {
        self.0.word(length.map_or(u64::MAX, |length| length as u64));
        Ok(self)
    }
    fn serialize_tuple(self, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }
    fn serialize_tuple_variant(self, _: &'static str, v: u32, _: &'static str, _: usize) -> Result<Self, Refused> {
        self.0.word(u64::from(v));
        Ok(self)
    }
    fn serialize_map(self, length: Option<usize>) -> Result<Self, Refused> {
        self.serialize_seq(length)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }
    fn serialize_struct_variant(self, _: &'static str, v: u32, _: &'static str, _: usize) -> Result<Self, Refused> {
        self.0.word(u64::from(v));
        Ok(self)
    }
    fn collect_str<T: ?Sized + Display>(self, value: &T) -> Done {
        write!(Text(self.0), "{value}").map_err(|_| Refused)
    }
}

macro_rules! compounds {
    ($($trait:ident: $method:ident($($skip:ident: $type:ty)?),)+) => {$(
        impl ser::$trait for Sink<'_> {
            type Ok = ();
            type Error = Refused;
            fn $method<T: ?Sized + Serialize>(&mut self, $($skip: $type,)? value: &T) -> Done {
                value.serialize(Sink(self.0))
            }
            fn end(self) -> Done {
                Ok(())
            }
        }
    )+};
}
compounds! {
    SerializeSeq: serialize_element(),
    SerializeTuple: serialize_element(),
    SerializeTupleStruct: serialize_field(),
    SerializeTupleVariant: serialize_field(),
    SerializeStruct: serialize_field(_key: &'static str),
    SerializeStructVariant: serialize_field(_key: &'static str),
}

impl ser::SerializeMap for Sink<'_> {
    type Ok = ();
    type Error = Refused;
    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Done {
        key.serialize(Sink(self.0))
    }
    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Done {
        value.serialize(Sink(self.0))
    }
    fn end(self) -> Done {
        Ok(())
    }
}
