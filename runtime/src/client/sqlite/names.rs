//! What the tables are called in SQLite.

use super::trouble::Trouble;
use rusqlite::{Connection, OptionalExtension};

/// A name as SQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name, or the first of `name~2`, `name~3`, … that is not taken.
pub(super) fn unique(name: &str, mut taken: impl FnMut(&str) -> bool) -> String {
    let mut candidate = name.to_owned();
    let mut n = 2;
    while taken(&candidate) {
        candidate = format!("{name}~{n}");
        n += 1;
    }
    candidate
}

/// The name of a published table in this file, the same for ever once it is given: `orders` for `public.orders`, `shop.orders` for
/// `shop.orders`, and with `~2` and so on behind it when that is taken, also by a table of the application's own.
pub(super) fn table_name(connection: &Connection, schema: &str, name: &str) -> Result<String, Trouble> {
    let full_name = format!("{schema}.{name}");
    let known = connection
        .prepare_cached("select sql_name from dormouse_names where full_name = ?")?
        .query_row([&full_name], |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    let wished = if schema == "public" && !is_reserved(name) { name } else { &full_name };
    let wished = if is_reserved(wished) { format!("~{wished}") } else { wished.to_owned() };
    let mut exists = connection.prepare(
        "select exists (select 1 from sqlite_master where name = ?1 collate nocase
             union all select 1 from dormouse_names where sql_name = ?1 collate nocase)",
    )?;
    let mut trouble = None;
    let given = unique(&wished, |name| {
        exists.query_row([name], |row| row.get(0)).unwrap_or_else(|error| {
            trouble = Some(error);
            false
        })
    });
    if let Some(error) = trouble {
        return Err(error.into());
    }
    connection.execute("insert into dormouse_names (full_name, sql_name) values (?, ?)", [&full_name, &given])?;
    Ok(given)
}

/// SQLite's own names and ours.
fn is_reserved(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["sqlite_", "dormouse_"].iter().any(|prefix| lower.starts_with(prefix))
}
