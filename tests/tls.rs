//! TLS to Postgres and to clients, with a private authority: what is trusted, what is refused and in which words.

use crate::support::authority::Authority;
use crate::support::site::{connect, options};
use crate::support::{PATIENCE, Site, call, eventually, holds, program};
use dormouse_core::store::MemoryStore;
use dormouse_runtime::client::{Client, Options};
use dormouse_runtime::demo::cluster::Cluster;
use dormouse_runtime::demo::process::signal;
use dormouse_runtime::demo::server::Server;
use dormouse_runtime::verify::verify;
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ITEMS: &str = "create table item (id int primary key, name text); insert into item values (1, 'one')";

fn cluster() -> Cluster {
    Cluster::start().unwrap_or_else(|error| panic!("{error}"))
}

/// A URL of a cluster by a name of its host and with parameters.
fn url(cluster: &Cluster, host: &str, parameters: &str) -> String {
    format!("postgres://postgres@{host}:{}/postgres?{parameters}", cluster.port())
}

async fn serve(cluster: Cluster, url: &str, more: &[&str]) -> Site {
    let server = Server::start(program(), url, more).await.unwrap_or_else(|error| panic!("{error}"));
    Site { server, cluster }
}

/// How many of the server's sessions are encrypted and how many are not, with the kinds of those that are.
async fn sessions(site: &Site) -> (i64, i64, String) {
    let sql = "select count(*) filter (where ssl), count(*) filter (where not ssl),
                      coalesce(string_agg(distinct backend_type, ', ') filter (where ssl), '')
               from pg_stat_activity join pg_stat_ssl using (pid) where application_name = 'dormouse'";
    let row = site.sql().await.query_one(sql, &[]).await.expect("answers");
    (row.get(0), row.get(1), row.get(2))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_to_postgres_is_encrypted_and_the_stream_comes_back_so() {
    let (authority, cluster) = (Authority::new(), cluster());
    authority.issue("localhost").install(&cluster).await;
    connect(&cluster.url()).await.batch_execute(ITEMS).await.expect("valid SQL");
    let url = url(&cluster, "localhost", &format!("sslmode=verify-full&sslrootcert={}", authority.file().display()));
    let site = serve(cluster, &url, &[]).await;
    let client = site.live_client("a").await;
    site.execute("insert into item values (2, 'two')").await;
    holds(&client, "public.item", &["1|one", "2|two"]).await;
    let (encrypted, plain, kinds) = sessions(&site).await;
    assert!(encrypted >= 3 && plain == 0, "{encrypted} are encrypted, {plain} are not");
    assert_eq!(kinds, "client backend, walsender");

    let ended = "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walsender'";
    site.execute(ended).await;
    site.execute("insert into item values (3, 'three')").await;
    holds(&client, "public.item", &["1|one", "2|two", "3|three"]).await;
    let (_, plain, kinds) = sessions(&site).await;
    assert_eq!((plain, kinds.as_str()), (0, "client backend, walsender"));

    let doctor = call(&["doctor", "--database-url", &url, "--json"]).await;
    assert_eq!(doctor.status.code(), Some(0), "{doctor:?}");
    let report = verify(site.options("v"), &url, None).await.expect("the same URL serves verify");
    assert!(report.ok(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_enough_for_verify_ca_and_nothing_for_require() {
    let (authority, cluster) = (Authority::new(), cluster());
    // For another host: only its authority can be checked. `require` without an authority asks for nothing.
    authority.issue("elsewhere.example").install(&cluster).await;
    connect(&cluster.url()).await.batch_execute(ITEMS).await.expect("valid SQL");
    let chain = url(&cluster, "127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={}", authority.file().display()));
    let mut site = serve(cluster, &chain, &[]).await;
    for parameters in ["", "sslmode=require"] {
        let client = site.live_client("a").await;
        let name = format!("insert into item values ((select max(id) + 1 from item), '{parameters}')");
        site.execute(&name).await;
        eventually("the row comes", async || {
            client.read(|store| crate::support::rows(store, "public.item").iter().any(|row| row.ends_with(parameters)))
        })
        .await;
        let (encrypted, plain, kinds) = sessions(&site).await;
        assert!(encrypted >= 3 && plain == 0 && kinds.contains("walsender"), "{encrypted}, {plain}, {kinds}");
        drop(client);
        site.server.kill();
        let next = url(&site.cluster, "127.0.0.1", if parameters.is_empty() { "sslmode=require" } else { "" });
        site.server = Server::start(program(), &next, &[]).await.unwrap_or_else(|error| panic!("{error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_can_stand_for_a_password() {
    let (authority, cluster) = (Authority::new(), cluster());
    let admin = connect(&cluster.url()).await;
    admin.batch_execute(ITEMS).await.expect("valid SQL");
    admin.batch_execute("create role app superuser login replication").await.expect("valid SQL");
    let data: String = admin.query_one("show data_directory", &[]).await.expect("answers").get(0);
    std::fs::copy(authority.file(), Path::new(&data).join("ca.pem")).expect("copied");
    let hba = "hostssl all app 127.0.0.1/32 cert\nhost all postgres 127.0.0.1/32 trust\n";
    std::fs::write(Path::new(&data).join("pg_hba.conf"), hba).expect("written");
    admin.batch_execute(&format!("alter system set ssl_ca_file = '{data}/ca.pem'")).await.expect("set");
    authority.issue("localhost").install(&cluster).await;

    let dir = tempfile::tempdir().expect("a folder");
    let (certificate, key) = authority.issue_for_role("app").write(dir.path());
    let ca = authority.file();
    let without = format!(
        "postgres://app@localhost:{}/postgres?sslmode=verify-full&sslrootcert={}",
        cluster.port(),
        ca.display()
    );
    let output = call(&["serve", "--listen", "127.0.0.1:0", "--database-url", &without]).await;
    let said = stderr(&output);
    assert!(output.status.code() == Some(3) && said.contains("requires a valid client certificate [28000]"), "{said}");
    let with = format!("{without}&sslcert={}&sslkey={}", certificate.display(), key.display());
    let site = serve(cluster, &with, &[]).await;
    let client = site.live_client("a").await;
    site.execute("insert into item values (2, 'two')").await;
    holds(&client, "public.item", &["1|one", "2|two"]).await;
    let (_, plain, kinds) = sessions(&site).await;
    assert_eq!((plain, kinds.as_str()), (0, "client backend, walsender"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_at_the_database_prefer_goes_on_and_require_says_what_to_do() {
    let cluster = cluster();
    connect(&cluster.url()).await.batch_execute(ITEMS).await.expect("valid SQL");
    let required = url(&cluster, "127.0.0.1", "sslmode=require&password=s3cret");
    let output = call(&["serve", "--listen", "127.0.0.1:0", "--database-url", &required]).await;
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("speaks no TLS, which sslmode asks for: switch it on (`ssl = on`)"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");

    let preferred = url(&cluster, "127.0.0.1", "sslmode=prefer");
    let site = serve(cluster, &preferred, &[]).await;
    let client = site.live_client("a").await;
    site.execute("insert into item values (2, 'two')").await;
    holds(&client, "public.item", &["1|one", "2|two"]).await;
    let (encrypted, plain, _) = sessions(&site).await;
    assert!(encrypted == 0 && plain >= 3, "{encrypted} are encrypted, {plain} are not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_trusted_is_refused_in_one_sentence() {
    let (authority, other, cluster) = (Authority::new(), Authority::new(), cluster());
    let (ca, other) = (authority.file().display().to_string(), other.file().display().to_string());
    let full = |ca: &str| format!("sslmode=verify-full&sslrootcert={ca}&password=s3cret");
    authority.issue("localhost").install(&cluster).await;
    let refused = async |host: &str, parameters: &str, sentence: &str| {
        let url = url(&cluster, host, parameters);
        for command in [
            &["serve", "--listen", "127.0.0.1:0", "--database-url", &url][..],
            &["verify", "--url", "ws://127.0.0.1:9", "--database-url", &url],
        ] {
            let output = call(command).await;
            let said = stderr(&output);
            assert!(said.contains(sentence), "{command:?} says {said}");
            assert!(!said.contains("s3cret"), "{command:?} says {said}");
            assert_eq!(output.status.code(), Some(3), "{command:?} says {said}");
        }
        let doctor = call(&["doctor", "--database-url", &url, "--json"]).await;
        let report: Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
        assert_eq!(report["findings"][0]["code"], "tls_failed", "{report}");
        assert!(!report.to_string().contains("s3cret"), "{report}");
    };
    refused("localhost", &full(&other), "not trusted here: name the authority's certificate with sslrootcert=FILE")
        .await;
    refused("127.0.0.1", &full(&ca), "and not for 127.0.0.1: connect by a name that it has").await;
    authority.issue_expired("localhost").install(&cluster).await;
    refused("localhost", &full(&ca), "the certificate of the database has expired: renew it there").await;

    let missing = url(&cluster, "localhost", &full("/nonexistent/ca.pem"));
    let output = call(&["serve", "--database-url", &missing]).await;
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "a setting is wrong: {said}");
    assert!(said.contains("/nonexistent/ca.pem") && !said.contains("s3cret"), "{said}");
}

/// Options of a client that trusts an authority.
fn secure(site: &Site, name: &str, authority: &Authority) -> Options {
    let url = format!("wss://localhost:{}", site.server.port());
    options(&url, name).with_root_certificates(authority.file())
}

async fn live(options: Options) -> Client<MemoryStore> {
    let client = Client::connect(options, MemoryStore::default());
    let waited = tokio::time::timeout(PATIENCE, client.wait_until_live()).await.expect("in time");
    waited.unwrap_or_else(|stopped| panic!("{stopped}"));
    client
}

async fn secure_site(authority: &Authority, dir: &Path) -> Site {
    let (certificate, key) = authority.issue("localhost").write(dir);
    let cluster = cluster();
    connect(&cluster.url()).await.batch_execute(ITEMS).await.expect("valid SQL");
    let plain = cluster.url();
    let paths = (certificate.display().to_string(), key.display().to_string());
    serve(cluster, &plain, &["--tls-cert", &paths.0, "--tls-key", &paths.1]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_come_over_tls_and_only_to_whom_they_trust() {
    let (authority, other) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().expect("a folder");
    let site = secure_site(&authority, dir.path()).await;
    let client = live(secure(&site, "a", &authority)).await;
    let rows: Vec<_> = (1..=2_000).map(|id| format!("{id}|{}", if id == 1 { "one" } else { "more" })).collect();
    site.execute("insert into item select id, 'more' from generate_series(2, 2000) id").await;
    holds(&client, "public.item", &rows.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let report = verify(secure(&site, "v", &authority), &site.cluster.url(), None).await.expect("compared");
    assert!(report.ok(), "{report:?}");

    let (ca, wrong) = (authority.file().display().to_string(), other.file().display().to_string());
    let (by_name, by_address) =
        (format!("https://localhost:{}", site.server.port()), format!("https://127.0.0.1:{}", site.server.port()));
    for (command, address, ca, status, sentence) in [
        ("status", &by_name, &ca, 0, ""),
        ("status", &by_name, &wrong, 3, "not trusted here: name the authority's certificate with --ca FILE"),
        ("status", &by_address, &ca, 3, "and not for 127.0.0.1"),
        ("tail", &by_name, &wrong, 3, "not trusted here: name the authority's certificate with --ca FILE"),
    ] {
        let output = call(&[command, "--url", address, "--ca", ca, "--json"]).await;
        assert_eq!(output.status.code(), Some(status), "{command} {address}: {output:?}");
        assert!(stderr(&output).contains(sentence), "{command} {address}: {output:?}");
    }
    let tail = call(&["tail", "--url", &by_name, "--ca", &ca, "--until-live", "--json"]).await;
    assert!(tail.status.success() && !tail.stdout.is_empty(), "{tail:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_with_tls_ends_what_is_none_and_what_falls_silent() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().expect("a folder");
    let site = secure_site(&authority, dir.path()).await;
    let mut silent = TcpStream::connect(("127.0.0.1", site.server.port())).await.expect("connected");
    let mut plain = TcpStream::connect(("127.0.0.1", site.server.port())).await.expect("connected");
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, plain.read_to_string(&mut answer)).await.expect("it is closed");
    read.expect("cleanly");
    let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
    assert!(head.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    assert!(body.contains("https://") && body.contains("wss://"), "{answer}");
    let end = tokio::time::timeout(PATIENCE, silent.read(&mut [0; 1])).await.expect("a handshake has an end");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_after_sighup_and_a_broken_one_is_not() {
    let (first, second) = (Authority::new(), Authority::new());
    let dir = tempfile::tempdir().expect("a folder");
    let site = secure_site(&first, dir.path()).await;
    let old = live(secure(&site, "old", &first)).await;
    let hang_up = || signal("HUP", &[site.server.pid().expect("it runs")]);

    std::fs::write(dir.path().join("certificate.pem"), "broken").expect("written");
    hang_up();
    eventually("the log says so", async || site.server.log().contains("the certificate stays as it is")).await;
    live(secure(&site, "still", &first)).await.close().await;

    second.issue("localhost").write(dir.path());
    hang_up();
    eventually("the log says so", async || site.server.log().contains("new connections are shown the certificate"))
        .await;
    let new = live(secure(&site, "new", &second)).await;
    assert!(secure(&site, "x", &first).security.check(&secure(&site, "x", &first).address).await.is_err());
    site.execute("insert into item values (2, 'two')").await;
    holds(&new, "public.item", &["1|one", "2|two"]).await;
    holds(&old, "public.item", &["1|one", "2|two"]).await;
    assert_eq!(old.status().borrow().welcomes, 1, "an open session goes on");
}
