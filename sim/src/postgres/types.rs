//! Types of columns, as Postgres' catalogue has them, and a value of each.

use dormouse_core::row::Value;

pub(super) const INT8: (u32, &str) = (20, "int8");
pub(super) const TEXT: (u32, &str) = (25, "text");
/// A type that an application made: the stream names it before the first shape that has it.
pub(super) const MADE: (u32, &str) = (70_000, "mood");

/// Types that columns have in a world of odd shapes, by oid and name.
const MANY: &[(u32, &str)] = &[
    (16, "bool"),
    (17, "bytea"),
    (18, "char"),
    (19, "name"),
    (21, "int2"),
    (23, "int4"),
    (26, "oid"),
    (114, "json"),
    (142, "xml"),
    (600, "point"),
    (650, "cidr"),
    (700, "float4"),
    (701, "float8"),
    (790, "money"),
    (829, "macaddr"),
    (869, "inet"),
    (1000, "_bool"),
    (1005, "_int2"),
    (1007, "_int4"),
    (1009, "_text"),
    (1015, "_varchar"),
    (1016, "_int8"),
    (1021, "_float4"),
    (1022, "_float8"),
    (1042, "bpchar"),
    (1043, "varchar"),
    (1082, "date"),
    (1083, "time"),
    (1114, "timestamp"),
    (1184, "timestamptz"),
    (1186, "interval"),
    (1266, "timetz"),
    (1560, "bit"),
    (1562, "varbit"),
    (1700, "numeric"),
    (2950, "uuid"),
    (3614, "tsvector"),
    (3802, "jsonb"),
    (3904, "int4range"),
    MADE,
];

/// One of many types.
pub(super) const fn one_of(n: u64) -> (u32, &'static str) {
    MANY[(n % MANY.len() as u64) as usize]
}

/// What a column of a type holds where nobody wrote anything else: texts that JSON must escape, numbers that it has no token
/// for, and NULL among them.
#[must_use]
pub fn default_of<'a>(oid: u32, name: &'a str) -> Value<'a> {
    match oid {
        16 => Value::Text("f"),
        20 | 21 | 23 | 26 | 1700 => Value::Text("-7"),
        700 => Value::Text("1.5e-07"),
        701 => Value::Text("NaN"),
        114 | 3802 => Value::Text("{\"a\": \"\\u00e9\"}"),
        1042 => Value::Text("a \"quoted\"\n\tline, \u{1F42D}"),
        18 | 1043 => Value::Text(""),
        1186 | 70_000 => Value::Null,
        _ => Value::Text(name),
    }
}
