//! One table in the place of another, in one step for whoever reads.

use super::names;
use super::names::quoted;
use super::state::State;
use super::tables::forget;
use super::trouble::Trouble;
use rusqlite::Connection;

/// Puts the table `by` in the place of `table`, which is dropped, not copied. Indexes and triggers that the application made
/// on it are made again; views on it never notice.
pub(super) fn replace(connection: &Connection, table: &str, by: &str) -> Result<(), Trouble> {
    let mut select = connection.prepare(
        "select name, sql from sqlite_master
         where tbl_name = ? collate nocase and type in ('index', 'trigger') and sql is not null",
    )?;
    let rows = select.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let belongings: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
    drop(select);
    connection.execute_batch(&format!("drop table {}", quoted(table)))?;
    connection.execute_batch(&format!("alter table {} rename to {}", quoted(by), quoted(table)))?;
    for (name, sql) in belongings {
        // It may be on a column that is no more. The rows matter more than the index.
        if let Err(error) = connection.execute_batch(&sql) {
            tracing::warn!(table, name, %error, "an index or trigger of the application does not fit the table any more");
        }
    }
    Ok(())
}

/// Shows what is staged instead of what was shown. A table of which nothing came is emptied and stays, so that queries go on.
pub(super) fn show_staged(connection: &Connection, state: &mut State) -> Result<(), Trouble> {
    let staged = std::mem::take(&mut state.staging.by_name);
    for (name, table) in &mut state.tables.by_name {
        if !staged.contains_key(name) {
            table.clear(connection)?;
        }
    }
    for (name, table) in staged {
        let table = match state.tables.by_name.remove(&name) {
            Some(old) => {
                forget(connection, &old)?;
                replace(connection, &old.sql_name, &table.sql_name)?;
                table.renamed(old.sql_name)
            }
            None => {
                let relation = &table.shape.relation;
                let given = names::table_name(connection, &relation.schema, &relation.name)?;
                let rename = format!("alter table {} rename to {}", quoted(&table.sql_name), quoted(&given));
                connection.execute_batch(&rename)?;
                table.renamed(given)
            }
        };
        state.tables.by_name.insert(name, table);
    }
    Ok(())
}
