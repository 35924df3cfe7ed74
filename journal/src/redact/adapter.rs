//! A serializer around another one, which replaces rows and texts on their way.

use super::{Redaction, Texts, row};
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use std::fmt::Display;

/// The serializer.
pub(super) struct Adapter<'a, S> {
    pub inner: S,
    pub texts: Texts,
    pub redaction: &'a Redaction,
}

/// A value within a value.
struct Within<'a, T: ?Sized> {
    value: &'a T,
    texts: Texts,
    redaction: &'a Redaction,
}

impl<T: ?Sized + Serialize> Serialize for Within<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Adapter { inner: serializer, texts: self.texts, redaction: self.redaction })
    }
}

/// The parts of a value.
pub(super) struct Parts<'a, S> {
    inner: S,
    /// The struct that they are fields of.
    name: &'static str,
    texts: Texts,
    redaction: &'a Redaction,
}

impl<'a, S> Adapter<'a, S> {
    const fn within<'t, T: ?Sized>(&self, value: &'t T, texts: Texts) -> Within<'t, T>
    where
        'a: 't,
    {
        Within { value, texts: texts.within(self.texts), redaction: self.redaction }
    }
}

macro_rules! as_they_are {
    ($($method:ident($($name:ident: $type:ty),*);)+) => {$(
        fn $method(self, $($name: $type),*) -> Result<S::Ok, S::Error> {
            self.inner.$method($($name),*)
        }
    )+};
}

macro_rules! compounds {
    ($($method:ident($($name:ident: $type:ty),*) -> $compound:ident of $struct:expr, $texts:expr;)+) => {$(
        fn $method(self, $($name: $type),*) -> Result<Parts<'a, S::$compound>, S::Error> {
            let texts = Texts::within($texts, self.texts);
            Ok(Parts { inner: self.inner.$method($($name),*)?, name: $struct, texts, redaction: self.redaction })
        }
    )+};
}

type Name = &'static str;

#[expect(clippy::disallowed_types, reason = "the trait names floats; ours are never given one")]
impl<'a, S: Serializer> Serializer for Adapter<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<'a, S::SerializeSeq>;
    type SerializeTuple = Parts<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Parts<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<'a, S::SerializeTupleVariant>;
    type SerializeMap = Parts<'a, S::SerializeMap>;
    type SerializeStruct = Parts<'a, S::SerializeStruct>;
    type SerializeStructVariant = Parts<'a, S::SerializeStructVariant>;

    as_they_are! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: Name);
        serialize_unit_variant(name: Name, index: u32, variant: Name);
    }

    compounds! {
        serialize_seq(length: Option<usize>) -> SerializeSeq of "", Texts::Stay;
        serialize_tuple(length: usize) -> SerializeTuple of "", Texts::Stay;
        serialize_tuple_struct(name: Name, length: usize) -> SerializeTupleStruct of name, Texts::Stay;
        serialize_tuple_variant(name: Name, index: u32, variant: Name, length: usize) -> SerializeTupleVariant
            of name, Texts::of_variant(name);
        serialize_map(length: Option<usize>) -> SerializeMap of "", Texts::Stay;
        serialize_struct(name: Name, length: usize) -> SerializeStruct of name, Texts::Stay;
        serialize_struct_variant(name: Name, index: u32, variant: Name, length: usize) -> SerializeStructVariant
            of name, Texts::of_variant(name);
    }

    fn serialize_str(self, value: &str) -> Result<S::Ok, S::Error> {
        self.inner.serialize_str(&self.redaction.text(value, self.texts))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<S::Ok, S::Error> {
        self.inner.serialize_bytes(&row(value))
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.within(value, Texts::Stay);
        self.inner.serialize_some(&value)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, name: Name, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.within(value, Texts::Stay);
        self.inner.serialize_newtype_struct(name, &value)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        name: Name,
        index: u32,
        variant: Name,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = self.within(value, Texts::of_variant(name));
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    fn collect_str<T: ?Sized + Display>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.serialize_str(&value.to_string())
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! parts {
    ($($trait:ident: $method:ident;)+) => {$(
        impl<S: $trait> $trait for Parts<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;
            fn $method<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), S::Error> {
                self.inner.$method(&Within { value, texts: self.texts, redaction: self.redaction })
            }
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )+};
}
parts! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

macro_rules! fields {
    ($($trait:ident),+) => {$(
        impl<S: $trait> $trait for Parts<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;
            fn serialize_field<T: ?Sized + Serialize>(&mut self, key: Name, value: &T) -> Result<(), S::Error> {
                let texts = Texts::of_field(self.name, key).within(self.texts);
                self.inner.serialize_field(key, &Within { value, texts, redaction: self.redaction })
            }
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        }
    )+};
}
fields!(SerializeStruct, SerializeStructVariant);

impl<S: SerializeMap> SerializeMap for Parts<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), S::Error> {
        self.inner.serialize_key(&Within { value: key, texts: self.texts, redaction: self.redaction })
    }
    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), S::Error> {
        self.inner.serialize_value(&Within { value, texts: self.texts, redaction: self.redaction })
    }
    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}
