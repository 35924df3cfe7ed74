//! The sample: the order board of a tea room, its receipts and its till, in a schema of their own.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use tokio_postgres::{Client, Error, Transaction};

/// The schema that everything of the sample lives in.
pub const SCHEMA: &str = "dormouse_demo";
/// The sample's tables, as `serve --tables` takes them.
pub const TABLES: &str = "dormouse_demo.orders,dormouse_demo.receipts,dormouse_demo.till";

/// How many orders stand on the board at most, and at least.
const ORDERS: std::ops::RangeInclusive<usize> = 9..=12;
/// The states of an order, in their order; after the last it is paid and leaves the board.
const STATES: [&str; 4] = ["ordered", "brewing", "poured", "served"];
/// How warm tea is when it is poured, in degrees Celsius.
const POURED_DEGREES: i32 = 96;
const GUESTS: [&str; 12] = [
    "Alice",
    "White Rabbit",
    "Hatter",
    "March Hare",
    "Cheshire Cat",
    "Duchess",
    "Caterpillar",
    "Mock Turtle",
    "Gryphon",
    "Dodo",
    "Knave of Hearts",
    "Queen of Hearts",
];
const TEAS: [(&str, i32); 8] = [
    ("Assam", 340),
    ("Earl Grey", 360),
    ("Darjeeling", 420),
    ("Lapsang", 440),
    ("Sencha", 390),
    ("Jasmine", 380),
    ("Mint", 310),
    ("Camomile", 300),
];

/// `till.n` counts the transactions that wrote here: every one of them raises it by one, so it names the state of all tables.
const DDL: &str = "
    create table dormouse_demo.orders
        (id int primary key, guest text not null, tea text not null, state text not null, degrees int not null, cents int not null);
    create table dormouse_demo.receipts (id int primary key, guest text not null, cents int not null, stamp int not null);
    create table dormouse_demo.till (id int primary key, n int not null, cents bigint not null);
    insert into dormouse_demo.till values (1, 0, 0);";

/// A burst: so many transactions of so many changes.
const BURST_TRANSACTIONS: i64 = 200;
const BURST_CHANGES: i64 = 50;

/// What a write was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The till's number after it.
    pub n: i32,
    /// How many transactions.
    pub transactions: i64,
    /// How many rows were changed.
    pub changes: i64,
}

/// What Postgres itself says the tables hold, read in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// The till's number.
    pub n: i32,
    /// Rows of all tables.
    pub rows: i64,
    /// SHA-256 of all rows as lines of text (values joined by `|`), by table and id.
    pub digest: String,
}

/// Creates the tables in the schema, which exists, with some orders and `receipts` old receipts.
///
/// # Errors
/// As Postgres says.
pub async fn prepare(client: &Client, receipts: i32) -> Result<(), Error> {
    client.batch_execute(DDL).await?;
    let sql = "insert into dormouse_demo.receipts
        select i, ($2::text[])[1 + i % array_length($2, 1)], 300 + i % 140, 0 from generate_series(1, $1::int) i";
    client.execute(sql, &[&receipts, &&GUESTS[..]]).await?;
    let orders = "insert into dormouse_demo.orders
        select i, ($1::text[])[i], $2, ($3::text[])[1 + (9 - i) / 3], case when i < 4 then 60 + 9 * i else 20 end, $4
        from generate_series($5::int, $5 + 1) i";
    for (first, (tea, cents)) in (1..).step_by(2).zip(&TEAS[..5]) {
        client.execute(orders, &[&&GUESTS[..], tea, &&STATES[..], cents, &first]).await?;
    }
    client.execute("update dormouse_demo.till set n = 10", &[]).await?;
    client
        .execute("update dormouse_demo.till set cents = (select sum(cents) from dormouse_demo.receipts)", &[])
        .await?;
    Ok(())
}

/// Reads what the tables hold.
///
/// # Errors
/// As Postgres says.
pub async fn truth(client: &Client) -> Result<Truth, Error> {
    let sql = r#"
        with line (place, id, line) as (
            select 1, id, concat_ws('|', id, guest, tea, state, degrees, cents) from dormouse_demo.orders union all
            select 2, id, concat_ws('|', id, guest, cents, stamp) from dormouse_demo.receipts union all
            select 3, id, concat_ws('|', id, n, cents) from dormouse_demo.till)
        select (select n from dormouse_demo.till), count(*),
            encode(sha256(convert_to(string_agg(line, E'\n' order by place, id), 'UTF8')), 'hex') from line"#;
    let row = client.query_one(sql, &[]).await?;
    Ok(Truth { n: row.get(0), rows: row.get(1), digest: row.get(2) })
}

/// Whoever runs the tea room: one transaction at a time.
#[derive(Debug)]
pub struct Keeper {
    client: Client,
    random: SmallRng,
}

impl Keeper {
    /// Writes over this connection.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, random: SmallRng::from_os_rng() }
    }

    /// What happens in a tea room all the time: tea cools, orders move on, guests come and pay.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn carry_on(&mut self) -> Result<Written, Error> {
        let transaction = self.client.transaction().await?;
        let board = read_board(&transaction).await?;
        let mut changes = cool(&transaction, &mut self.random).await?;
        let full = board.len() >= *ORDERS.end();
        if board.len() < *ORDERS.start() || (!full && self.random.random_ratio(1, 3)) {
            changes += take_order(&transaction, &mut self.random).await?;
        } else if let Some((id, state)) = board.choose(&mut self.random) {
            // Who waits longest is usually served first.
            let (id, state) = if self.random.random_ratio(1, 2) { (id, state) } else { (&board[0].0, &board[0].1) };
            changes += move_on(&transaction, *id, state).await?;
        }
        finish(transaction, 1, changes).await
    }

    /// One new order, and the oldest makes room if the board is full.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn write_row(&mut self) -> Result<Written, Error> {
        let transaction = self.client.transaction().await?;
        let board = read_board(&transaction).await?;
        let mut changes = take_order(&transaction, &mut self.random).await?;
        if let Some((id, _)) = board.first().filter(|_| board.len() >= *ORDERS.end()) {
            changes += pay(&transaction, *id).await?;
        }
        finish(transaction, 1, changes).await
    }

    /// 10,000 changes in 200 transactions, as fast as they go: all orders, and receipts.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn burst(&mut self) -> Result<Written, Error> {
        let mut last = Written { n: 0, transactions: 0, changes: 0 };
        for _ in 0..BURST_TRANSACTIONS {
            let transaction = self.client.transaction().await?;
            let stirred = "update dormouse_demo.orders set degrees = 20 + (random() * 76)::int";
            let mut changes = rows(transaction.execute(stirred, &[]).await?);
            // With the till's change it is as many as promised.
            let stamped = "update dormouse_demo.receipts set stamp = stamp + 1 where id in
                (select id from dormouse_demo.receipts order by stamp, id limit $1)";
            changes += rows(transaction.execute(stamped, &[&(BURST_CHANGES - 1 - changes)]).await?);
            last = finish(transaction, last.transactions + 1, last.changes + changes).await?;
        }
        Ok(last)
    }
}

async fn read_board(transaction: &Transaction<'_>) -> Result<Vec<(i32, String)>, Error> {
    let rows = transaction.query("select id, state from dormouse_demo.orders order by id", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn cool(transaction: &Transaction<'_>, random: &mut SmallRng) -> Result<i64, Error> {
    let sql = "update dormouse_demo.orders set degrees = greatest(21, degrees - 1 - degrees / 40) where id in
        (select id from dormouse_demo.orders where degrees > 21 order by random() limit $1)";
    Ok(rows(transaction.execute(sql, &[&random.random_range(1..=3_i64)]).await?))
}

async fn take_order(transaction: &Transaction<'_>, random: &mut SmallRng) -> Result<i64, Error> {
    let guest = GUESTS.choose(random).unwrap_or(&GUESTS[0]);
    let (tea, cents) = TEAS.choose(random).unwrap_or(&TEAS[0]);
    // The till's number never comes twice, and so no order's does.
    let sql = "insert into dormouse_demo.orders
        select n + 1, $1, $2, $3, 20, $4 from dormouse_demo.till";
    Ok(rows(transaction.execute(sql, &[guest, tea, &STATES[0], cents]).await?))
}

/// An order's next state; the last is that it is paid.
async fn move_on(transaction: &Transaction<'_>, id: i32, state: &str) -> Result<i64, Error> {
    let next = STATES.iter().position(|known| *known == state).and_then(|at| STATES.get(at + 1));
    let Some(next) = next else { return pay(transaction, id).await };
    let sql = "update dormouse_demo.orders set state = $2, degrees = case $2 when 'poured' then $3 else degrees end where id = $1";
    Ok(rows(transaction.execute(sql, &[&id, next, &POURED_DEGREES]).await?))
}

/// An order leaves the board for the receipts and its price for the till: all or nothing.
async fn pay(transaction: &Transaction<'_>, id: i32) -> Result<i64, Error> {
    let sql = "with paid as (delete from dormouse_demo.orders where id = $1 returning guest, cents),
        receipt as (insert into dormouse_demo.receipts
            select (select coalesce(max(id), 0) + 1 from dormouse_demo.receipts), guest, cents, 0 from paid)
        update dormouse_demo.till set cents = till.cents + paid.cents from paid";
    // The order, its receipt, and the till.
    Ok(3 * rows(transaction.execute(sql, &[&id]).await?))
}

/// Counts the transaction in the till, and commits.
async fn finish(transaction: Transaction<'_>, transactions: i64, changes: i64) -> Result<Written, Error> {
    let n = transaction.query_one("update dormouse_demo.till set n = n + 1 returning n", &[]).await?.get(0);
    transaction.commit().await?;
    Ok(Written { n, transactions, changes: changes + 1 })
}

fn rows(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
