//! Writers that do to a database what applications do, and leave one ledger row per transaction.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;
use tokio::sync::watch;
use tokio_postgres::{Client, Error, NoTls, Transaction};
use tokio_util::task::AbortOnDropHandle;

/// How many write at once.
const WRITERS: u64 = 4;

/// The tables. `unkeyed` has no key: the server leaves it out and says so.
const TABLES: &str = "
    create table ledger (writer int, n bigint, version int not null, changes int not null, primary key (writer, n));
    create table account (id bigint primary key, balance numeric not null, owner text not null, active boolean,
                          score double precision, seen timestamptz not null default now());
    create table item (id bigint primary key, place int not null, label text);
    create table document (id bigint primary key, revision int not null, body text not null);
    create table scratch (id bigint primary key, note text);
    create table bulk (writer int, n bigint, filler text, primary key (writer, n));
    create table unkeyed (note text);
    alter table document alter body set storage external;";

/// Creates the tables with about `rows` rows.
///
/// # Errors
/// As Postgres says.
pub async fn prepare(url: &str, rows: u64) -> Result<(), Error> {
    let client = connect(url).await?;
    client.batch_execute(TABLES).await?;
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let accounts = "insert into account (id, balance, owner, active, score)
        select i, i * 1.25, 'owner ' || i, i % 3 = 0, i / 7.0 from generate_series(1, $1::bigint) i";
    client.execute(accounts, &[&rows.max(100)]).await?;
    let items = "insert into item select i, i % 50, 'item ' || i from generate_series(1, 500) i";
    client.execute(items, &[]).await?;
    let documents = "insert into document
        select i, 0, repeat(md5(i::text), 200) from generate_series(1, 50) i";
    client.execute(documents, &[]).await?;
    Ok(())
}

/// Writers at work, until they are stopped or dropped.
#[derive(Debug)]
pub struct Writers {
    stop: watch::Sender<bool>,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl Writers {
    /// Starts them; a lost connection is made again.
    #[must_use]
    pub fn start(url: &str, seed: u64, rows: u64) -> Self {
        let (stop, stopped) = watch::channel(false);
        let writer = |number: u64| {
            let random = SmallRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(number));
            let writer =
                Writer { url: url.to_owned(), number, random, accounts: rows.max(100), stopped: stopped.clone() };
            AbortOnDropHandle::new(tokio::spawn(writer.run()))
        };
        let tasks = (0..WRITERS).map(writer).collect();
        Self { stop, tasks }
    }

    /// Lets each finish the transaction it is in.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

struct Writer {
    url: String,
    number: u64,
    random: SmallRng,
    accounts: u64,
    stopped: watch::Receiver<bool>,
}

impl Writer {
    async fn run(mut self) {
        while !*self.stopped.borrow() {
            let worked = match connect(&self.url).await {
                Ok(mut client) => self.write_until_lost(&mut client).await,
                Err(error) => Err(error),
            };
            if let Err(error) = worked {
                tracing::debug!(writer = self.number, %error, "a writer lost its connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn write_until_lost(&mut self, client: &mut Client) -> Result<(), Error> {
        let number = self.id();
        let last = "select coalesce(max(n), 0) from ledger where writer = $1";
        let mut n: i64 = client.query_one(last, &[&number]).await?.get(0);
        while !*self.stopped.borrow() {
            n += 1;
            match self.write(client, n).await {
                // Two writers met in each other's way: as in life, one of them gives up.
                Err(error) if error.as_db_error().is_some() && !client.is_closed() => n -= 1,
                done => done?,
            }
            let pause = self.random.random_range(0..12);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(())
    }

    async fn write(&mut self, client: &mut Client, n: i64) -> Result<(), Error> {
        let transaction = client.transaction().await?;
        let mut changes = 1;
        if self.random.random_ratio(1, 150) {
            changes += self.change_many(&transaction).await?;
        }
        for _ in 0..self.random.random_range(1..=4) {
            changes += self.change(&transaction).await?;
        }
        let number = self.id();
        let changed = i32::try_from(changes).unwrap_or(i32::MAX);
        let entry = "insert into ledger values ($1, $2, 1, $3)";
        transaction.execute(entry, &[&number, &n, &changed]).await?;
        if n > 1 && self.random.random_ratio(1, 5) {
            let older = self.random.random_range(1..n);
            let again = "update ledger set version = version + 1, changes = changes + 1 where writer = $1 and n = $2";
            transaction.execute(again, &[&number, &older]).await?;
        }
        if self.random.random_ratio(1, 40) {
            // Begins before and commits after many others.
            tokio::time::sleep(Duration::from_millis(self.random.random_range(50..300))).await;
        }
        if self.random.random_ratio(1, 25) { transaction.rollback().await } else { transaction.commit().await }
    }

    /// One change of a random kind; returns how many rows it changed.
    async fn change(&mut self, transaction: &Transaction<'_>) -> Result<u64, Error> {
        let account = i64::try_from(self.random.random_range(1..=self.accounts)).unwrap_or(1);
        let item: i64 = self.random.random_range(1..=500);
        let amount: i32 = self.random.random_range(-100..100);
        match self.random.random_range(0..100) {
            0..35 => {
                let sql = "update account set balance = balance + $2::int, seen = clock_timestamp(),
                    score = case when $2 = 0 then 'NaN' else random() end where id = $1";
                transaction.execute(sql, &[&account, &amount]).await
            }
            35..50 => {
                // The key itself changes.
                let sql = "update item set id = id + case when id <= 500 then 1000 else -1000 end, place = $2::int
                    where id in ($1::bigint, $1 + 1000)";
                transaction.execute(sql, &[&item, &amount]).await
            }
            50..65 => {
                let sql = "update item set label = case when $2::int > 50 then null else 'moved by ' || $2 end
                    where id in ($1::bigint, $1 + 1000)";
                transaction.execute(sql, &[&item, &amount]).await
            }
            65..75 => {
                // The large value is left alone, most of the time.
                let sql = "update document set revision = revision + 1,
                    body = case when $2::int > 80 then repeat(md5($2::text), 250) else body end where id = $1::bigint % 50 + 1";
                transaction.execute(sql, &[&item, &amount]).await
            }
            75..88 => {
                let sql = "insert into scratch values ($1, 'note ' || $2::int)
                    on conflict (id) do update set note = excluded.note || ' again'";
                transaction.execute(sql, &[&account, &amount]).await
            }
            88..96 => transaction.execute("delete from scratch where id = $1", &[&account]).await,
            96 => transaction.execute("insert into unkeyed values ($1)", &[&"left out"]).await.map(|_| 0),
            97..99 => transaction.execute("delete from account where id = $1", &[&account]).await,
            _ => {
                // It waits for no reader for long.
                transaction.batch_execute("set local lock_timeout = '200ms'; truncate scratch").await.map(|()| 1)
            }
        }
    }

    /// A transaction too large for one page.
    async fn change_many(&mut self, transaction: &Transaction<'_>) -> Result<u64, Error> {
        let number = self.id();
        let deleted = transaction.execute("delete from bulk where writer = $1", &[&number]).await?;
        let rows: i64 = self.random.random_range(500..15_000);
        let sql = "insert into bulk select $1::int, i, 'filler ' || i from generate_series(1, $2::bigint) i";
        Ok(deleted + transaction.execute(sql, &[&number, &rows]).await?)
    }

    fn id(&self) -> i32 {
        i32::try_from(self.number).unwrap_or(i32::MAX)
    }
}

async fn connect(url: &str) -> Result<Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
