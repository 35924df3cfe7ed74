//! `dormouse demo` as a process: what it leaves, whose database it takes, and whom it obeys.

use crate::support::site::connect;
use crate::support::{Show, eventually, program};
use dormouse_runtime::demo::cluster::Cluster;
use dormouse_runtime::demo::process;
use std::collections::BTreeSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The folders that programs of ours have made.
fn folders() -> BTreeSet<std::ffi::OsString> {
    let entries = std::fs::read_dir(std::env::temp_dir()).expect("a folder").flatten();
    entries.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().starts_with("dormouse-")).collect()
}

/// The folders of ours that processes name on their command lines or write into.
fn folders_of(pids: &[u32]) -> BTreeSet<std::ffi::OsString> {
    let named = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok();
    let written = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/fd/2")).ok();
    let mut lines: Vec<_> = pids.iter().filter_map(named).collect();
    lines.extend(pids.iter().filter_map(written).map(|path| path.to_string_lossy().into_owned()));
    folders().into_iter().filter(|name| lines.iter().any(|line| line.contains(&*name.to_string_lossy()))).collect()
}

async fn leaves_nothing_after(signal: &str) -> std::process::ExitStatus {
    let mut show = Show::start(&[]).await;
    let pids = show.descendants();
    let folders_then = folders_of(&pids);
    assert!(pids.len() > 5, "the server, Postgres and its helpers: {pids:?}");
    assert_eq!(folders_then.len(), 2, "Postgres has its data somewhere, the server its log");
    let status = show.end_with(signal).await;
    eventually("its processes are gone", async || !pids.iter().any(|pid| process::is_running(*pid))).await;
    eventually("its folders are gone", async || folders().is_disjoint(&folders_then)).await;
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_leaves_nothing() {
    assert!(leaves_nothing_after("INT").await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_nothing() {
    assert!(!leaves_nothing_after("KILL").await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_exists_is_left_as_it_was() {
    let cluster = Cluster::start().expect("starts");
    let url = cluster.url();
    let sql = connect(&url).await;
    sql.batch_execute("create table mine (id int primary key); insert into mine values (1)").await.expect("made");
    let left = async || -> i64 {
        let left = "select (select count(*) from pg_namespace where nspname like 'dormouse%') + (select count(*) from pg_publication)
            + (select count(*) from pg_replication_slots)";
        sql.query_one(left, &[]).await.expect("counted").get(0)
    };
    let mut show = Show::start(&["--database-url", &url]).await;
    eventually("the server replicates", async || left().await == 4).await;
    let published =
        "select string_agg(schemaname || '.' || tablename, ' ' order by tablename) from pg_publication_tables";
    let published: String = sql.query_one(published, &[]).await.expect("read").get(0);
    assert_eq!(published, "dormouse_demo.orders dormouse_demo.receipts dormouse_demo.till");
    assert!(show.end_with("INT").await.success());
    assert_eq!(left().await, 0, "nothing is left");

    // One that was killed leaves its things, and the next removes them.
    let mut show = Show::start(&["--database-url", &url]).await;
    eventually("the server replicates", async || left().await == 4).await;
    show.end_with("KILL").await;
    let mut show = Show::start(&["--database-url", &url]).await;
    assert!(show.end_with("TERM").await.success());
    assert_eq!(left().await, 0, "nothing is left");
    let mine: i64 = sql.query_one("select count(*) from mine", &[]).await.expect("still there").get(0);
    assert_eq!(mine, 1);

    // What is not the demo's is refused, with a sentence.
    sql.batch_execute("create schema dormouse").await.expect("made");
    let refused = tokio::process::Command::new(program()).args(["demo", "--database-url", &url]).output();
    let refused = refused.await.expect("it ends");
    assert_eq!(refused.status.code(), Some(3));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("Dormouse already serves it"), "{said}");
}

async fn request(port: u16, head: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    stream
        .write_all(format!("{head}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").as_bytes())
        .await
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_page_gives_orders() {
    let show = Show::start(&[]).await;
    let port = show.port;
    let page = request(port, &format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}")).await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    let token =
        page.split("dormouse-token\" content=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token");
    let order = async |host: &str, origin: &str, token: &str| {
        let head = format!("POST /demo/write HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nx-dormouse-demo: {token}");
        request(port, &head).await
    };
    let own = format!("127.0.0.1:{port}");
    let origin = format!("http://{own}");
    assert!(order(&own, &origin, token).await.starts_with("HTTP/1.1 200"));
    assert!(order(&own, &origin, "guessed").await.starts_with("HTTP/1.1 403"));
    assert!(order(&own, "http://elsewhere.example", token).await.starts_with("HTTP/1.1 403"));
    let rebound = format!("rebound.example:{port}");
    assert!(order(&rebound, &format!("http://{rebound}"), token).await.starts_with("HTTP/1.1 403"));
    let page = request(port, &format!("GET / HTTP/1.1\r\nHost: {rebound}")).await;
    assert!(page.starts_with("HTTP/1.1 403"), "{page}");
    let get = request(port, &format!("GET /demo/write HTTP/1.1\r\nHost: {own}")).await;
    assert!(get.starts_with("HTTP/1.1 403"), "{get}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_postgres_one_sentence_says_what_to_install() {
    let empty = tempfile::tempdir().expect("a folder");
    let folder = empty.path().to_str().expect("text");
    for arguments in [&["demo"][..], &["demo", "--check"]] {
        let mut command = tokio::process::Command::new(program());
        let output = command.args(arguments).env_remove("DATABASE_URL").env("DORMOUSE_POSTGRES", folder).output();
        let output = output.await.expect("it ends");
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.lines().last().is_some_and(|line| line.contains("apt-get install postgresql")), "{said}");
    }
}
