//! The client in Python, which was written from the protocol's page alone, through cuts and kills.

use crate::support::{PATIENCE, Site, eventually};
use dormouse_runtime::demo::proxy::Proxy;
use dormouse_runtime::demo::workload::{Writers, prepare};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The client as a process, with what its lives said.
struct Python {
    dir: TempDir,
    url: String,
    more: Vec<String>,
    child: Option<Child>,
}

impl Python {
    fn new(port: u16, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let url = format!("ws://127.0.0.1:{port}");
        Self { dir, url, more: more.iter().map(|one| (*one).to_owned()).collect(), child: None }
    }

    fn command(&self) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").join("docs/client.py");
        let mut command = Command::new("python3");
        command.arg(script).args([&self.url, "python"]).arg("--store").arg(self.path("store")).args(&self.more);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Begins a life, whose lines go after those of the lives before.
    fn launch(&mut self) {
        let open = |name| File::options().create(true).append(true).open(self.path(name)).expect("a file");
        let child = self.command().stdin(Stdio::null()).stdout(open("out")).stderr(open("err")).spawn();
        self.child = Some(child.expect("python3 is needed for this test: `apt-get install python3`"));
    }

    /// SIGKILL, as a power cut does it.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            assert!(matches!(child.try_wait(), Ok(None)), "it ended by itself: {}", self.said("err"));
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Every whole line that was printed; a kill may have torn one.
    fn lines(&self) -> Vec<Value> {
        self.said("out").lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Catches up in a last life and returns what it holds: everything that was committed before.
    async fn finish(&mut self) -> Value {
        self.kill();
        let mut command = tokio::process::Command::from(self.command());
        let output = command.args(["--until-live", "--dump"]).kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, output).await.expect("it becomes live").expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("text");
        let mut lines = fs::OpenOptions::new().append(true).open(self.path("out")).expect("a file");
        std::io::Write::write_all(&mut lines, text.as_bytes()).expect("room");
        serde_json::from_str(text.lines().last().expect("a dump")).expect("JSON")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = (child.kill(), child.wait());
        }
    }
}

/// A row by the names of its columns, in Postgres' text.
type Row = BTreeMap<String, Option<String>>;

/// What Postgres holds.
async fn truth(site: &Site, table: &str) -> Vec<Row> {
    use tokio_postgres::SimpleQueryMessage::Row;
    let sql = site.sql().await;
    sql.batch_execute("set timezone to 'UTC'").await.expect("valid");
    let answer = sql.simple_query(&format!("select * from {table}")).await.expect("the table is there");
    let row = |row: &tokio_postgres::SimpleQueryRow| {
        let names = row.columns().iter().map(|column| column.name().to_owned());
        // `score` is a floating number, which has several texts: it is read as the client's is.
        let text = |name: &str, text: &str| match serde_json::from_str::<f64>(text) {
            Ok(number) if name == "score" && number.is_finite() => format!("{number:?}"),
            _ => text.to_owned(),
        };
        names.enumerate().map(|(n, name)| (name.clone(), row.get(n).map(|value| text(&name, value)))).collect()
    };
    let mut rows: Vec<_> =
        answer.iter().filter_map(|one| if let Row(one) = one { Some(row(one)) } else { None }).collect();
    rows.sort_unstable();
    rows
}

/// What the client holds.
fn replica(dump: &Value, table: &str) -> Vec<Row> {
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::Bool(is) => Some(if *is { "t" } else { "f" }.to_owned()),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        unknown => panic!("{unknown} is no value, but a mark that one is missing"),
    };
    let value = |name: &str, value: &Value| match value.as_f64() {
        Some(number) if name == "score" => Some(format!("{number:?}")),
        _ => text(value),
    };
    let cells = |row: &Value| row.as_object().expect("a row").clone().into_iter();
    let row = |row: &Value| cells(row).map(|(name, cell)| (name.clone(), value(&name, &cell))).collect();
    let tables = dump["tables"].as_object().expect("tables");
    let table = tables.get(&format!("public.{table}")).and_then(Value::as_object);
    let mut rows: Vec<Row> = table.into_iter().flat_map(|table| table.values().map(row)).collect();
    rows.sort_unstable();
    rows
}

/// Each transaction once and in order: positions only grow, in all lives together, unless everything came again.
fn assert_once_and_in_order(lines: &[Value]) -> usize {
    let place = |text: &str| {
        let (high, low) = text.split_once('/').expect("an LSN");
        (u64::from_str_radix(high, 16).expect("hex") << 32) | u64::from_str_radix(low, 16).expect("hex")
    };
    let mut last = 0;
    let mut transactions = 0;
    for line in lines {
        if let Some(lsn) = line["commit_lsn"].as_str() {
            assert!(place(lsn) > last, "{lsn} came twice, or too late: {line}");
            last = place(lsn);
            transactions += 1;
        } else if line["backfill"] == true {
            last = place(line["position"].as_str().expect("a position"));
        }
    }
    transactions
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_stays_right_through_cuts_and_kills() {
    let mut site = Site::start("").await;
    site.server.kill();
    prepare(&site.cluster.url(), 300).await.expect("the tables are new");
    site.server.launch().expect("starts");
    site.server.await_open().await.expect("opens");
    let proxy = Proxy::start(site.server.port()).await.expect("a port");
    let mut python = Python::new(proxy.port(), &[]);
    python.launch();
    eventually("the first rows", async || python.said("out").contains("\"backfill\"")).await;

    let writers = Writers::start(&site.cluster.url(), 7, 300);
    let mut heard = 0;
    for round in 0..9 {
        // Something new has come since the last interruption, so that each meets it at work.
        eventually("transactions arrive", async || python.said("out").lines().count() > heard).await;
        match round % 3 {
            0 => eventually("a connection is cut", async || proxy.cut(|| true) == 1).await,
            1 => {
                site.server.kill();
                site.server.launch().expect("starts");
            }
            _ => {
                python.kill();
                python.launch();
            }
        }
        // Counted after it: what the life that was killed still said is nothing that came to the next.
        heard = python.said("out").lines().count();
    }
    writers.stop().await;
    let dump = python.finish().await;
    assert_eq!(dump["anomalies"], 0, "every change fitted");
    for table in ["ledger", "account", "item", "document", "scratch", "bulk"] {
        let (truth, replica) = (truth(&site, table).await, replica(&dump, table));
        assert!(!truth.is_empty() || table == "scratch" || table == "bulk", "{table} has rows");
        let differing = truth.iter().zip(&replica).find(|(one, other)| one != other);
        assert!(truth == replica, "{table} differs: {} rows and {}: {differing:?}", truth.len(), replica.len());
    }
    let transactions = assert_once_and_in_order(&python.lines());
    assert!(transactions > 20, "{transactions} transactions came");
    println!("{transactions} transactions, 3 cuts, 3 kills of the server and 3 of the client");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_resumes_inside_a_large_transaction() {
    const ROWS: usize = 60_000;
    let site = Site::start(
        "create table bulk (id int primary key, filler text);
         create table document (id int primary key, revision int, body text);
         alter table document alter body set storage external;
         insert into document values (1, 0, repeat(md5('a'), 2000)), (2, 0, repeat(md5('b'), 2000))",
    )
    .await;
    let proxy = Proxy::start(site.server.port()).await.expect("a port");
    let mut python = Python::new(proxy.port(), &[]);
    python.launch();
    eventually("the first rows", async || python.said("out").contains("\"backfill\"")).await;
    let insert = format!(
        "begin; update document set revision = 1; update document set id = 3 where id = 2;
         insert into bulk select i, 'filler ' || i from generate_series(1, {ROWS}) i; commit"
    );
    // Its store names an index in its position while it is inside the transaction.
    let inside = |python: &Python| {
        let held: Value = serde_json::from_str(&python.said("store")).expect("the store is whole at any moment");
        let shown = held["tables"]["public.bulk"].as_object().map_or(0, serde_json::Map::len);
        assert!(shown == 0 || shown == ROWS, "{shown} rows are the middle of a transaction");
        (shown == 0 && held["position"]["position"].as_str().is_some_and(|position| position.contains('+')), shown)
    };
    let (mut cuts, mut kills) = (0, 0);
    let writing = site.execute(&insert);
    let watching = async {
        loop {
            match inside(&python) {
                (_, ROWS) => break,
                (true, _) if cuts == 0 => cuts += proxy.cut(|| true),
                (true, _) if kills == 0 => {
                    kills += 1;
                    python.kill();
                    python.launch();
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (watched, ()) = tokio::join!(tokio::time::timeout(PATIENCE, watching), writing);
    watched.expect("it arrives");
    assert!(cuts + kills > 0, "it was interrupted inside the transaction");
    let dump = python.finish().await;
    assert_eq!(dump["anomalies"], 0, "every change fitted");
    for table in ["document", "bulk"] {
        assert!(truth(&site, table).await == replica(&dump, table), "{table} differs");
    }
    let backfills = python.lines().iter().filter(|line| line["backfill"] == true).count();
    assert_eq!(backfills, 1, "it resumed, and did not begin again");
    println!("{ROWS} rows in one transaction: {cuts} cut and {kills} kill inside it");
}
