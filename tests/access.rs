//! Who may come in, and for how long: each wrong credential gets its code, is counted, and is nowhere in the log.

use crate::support::site::{Site, options};
use crate::support::{Raw, eventually, holds};
use async_tungstenite::tungstenite::Error;
use dormouse_core::fault::FaultCode;
use dormouse_core::store::MemoryStore;
use dormouse_runtime::client::Client;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ITEMS: &str = "create table item (id int primary key, name text); insert into item values (1, 'one')";
const SECRET: &str = "a-secret-of-more-than-thirty-two-bytes-for-hs256";

/// Files in a folder of their own.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("text").into()
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Ann's claims, with some replaced; null takes one out.
fn claims(changed: Value) -> Value {
    let mut claims =
        json!({ "sub": "ann", "aud": "dormouse", "iss": "https://id.example", "exp": now_s() + 600, "jti": "t-1" });
    for (name, value) in changed.as_object().expect("claims") {
        claims[name] = value.clone();
    }
    let claims = claims.as_object_mut().expect("claims");
    claims.retain(|_, value| !value.is_null());
    Value::Object(claims.clone())
}

fn hs256(secret: &str, claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.as_bytes())).expect("a token")
}

/// What the operator shows; the reports are closed to clients.
const OPERATOR: &str = "the-operator-of-these-tests";

async fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the server listens");
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {OPERATOR}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text
}

/// How many refusals of a code the server has counted.
async fn counted(site: &Site, code: FaultCode) -> u64 {
    let metrics = get(site.server.port(), "/metrics").await;
    let series = format!("dormouse_refusals_total{{code=\"{}\"}} ", code.as_str());
    metrics.lines().find_map(|line| line.strip_prefix(&series)?.trim().parse().ok()).unwrap_or(0)
}

fn connect(site: &Site, name: &str, token: &str) -> Client<MemoryStore> {
    let options = options(&site.server.url(), name).with_credential(Some(token.into()));
    Client::connect(options.with_fixed_credential(), MemoryStore::default())
}

/// With which code a token is refused. It is counted, once more than before.
async fn refused(site: &Site, name: &str, token: &str) -> FaultCode {
    let client = connect(site, name, token);
    let stopped = client.wait_until_live().await.expect_err("it is refused");
    let code = stopped.0.expect("the server says why").code;
    assert!(counted(site, code).await > 0, "{code:?} is counted");
    code
}

async fn serve(files: &Files, auth: &str, arguments: &[&str]) -> Site {
    let operator = files.write("operator", OPERATOR);
    let all = [&["--auth", auth, "--admin-credential-file", &operator], arguments].concat();
    Site::start_with(ITEMS, &[], &all).await
}

async fn serve_tokens(files: &Files, arguments: &[&str]) -> Site {
    serve(files, "jwt", &[&["--jwt-leeway", "0s"], arguments].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_good_token_opens_and_only_for_its_own_subject() {
    let files = Files::new();
    let secret = files.write("secret", &format!("{SECRET}\n"));
    let revoked = files.write("revoked", "# of last week\nt-revoked\n");
    let site = serve_tokens(
        &files,
        &[
            "--jwt-secret-file",
            &secret,
            "--jwt-issuer",
            "https://id.example",
            "--jwt-audience",
            "dormouse",
            "--jwt-revoked",
            &revoked,
        ],
    )
    .await;
    let good = hs256(SECRET, &claims(json!({})));
    connect(&site, "ann/phone", &good).wait_until_live().await.expect("welcome");
    let other = "another-secret-of-more-than-thirty-two-bytes";
    let none = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).expect("claims"));
    let wrong = [
        ("expired", hs256(SECRET, &claims(json!({ "exp": now_s() - 5 }))), FaultCode::Expired),
        ("not yet valid", hs256(SECRET, &claims(json!({ "nbf": now_s() + 500 }))), FaultCode::Unauthorized),
        ("without an end", hs256(SECRET, &claims(json!({ "exp": null }))), FaultCode::Unauthorized),
        ("forged", hs256(other, &claims(json!({}))), FaultCode::Unauthorized),
        ("unsigned", none, FaultCode::Unauthorized),
        ("for another audience", hs256(SECRET, &claims(json!({ "aud": "other" }))), FaultCode::Unauthorized),
        ("for no audience", hs256(SECRET, &claims(json!({ "aud": null }))), FaultCode::Unauthorized),
        (
            "of another issuer",
            hs256(SECRET, &claims(json!({ "iss": "https://evil.example" }))),
            FaultCode::Unauthorized,
        ),
        ("revoked", hs256(SECRET, &claims(json!({ "jti": "t-revoked" }))), FaultCode::Unauthorized),
        ("without a subject", hs256(SECRET, &claims(json!({ "sub": null }))), FaultCode::Unauthorized),
        ("no token", "s3cret-nonsense".into(), FaultCode::Unauthorized),
    ];
    for (what, token, code) in &wrong {
        assert_eq!(refused(&site, "ann", token).await, *code, "{what}");
    }
    assert_eq!(refused(&site, "anna", &good).await, FaultCode::Forbidden);
    let log = site.server.log();
    for token in wrong.iter().map(|(_, token, _)| token).chain([&good]) {
        assert!(token.split('.').filter(|part| part.len() > 20).all(|part| !log.contains(part)), "no token is logged");
    }
    assert!(!log.contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_key_is_never_taken_for_a_secret() {
    let files = Files::new();
    let pair = rcgen::KeyPair::generate().expect("a P-256 key"); // rcgen's default.
    let public = files.write("public.pem", &pair.public_key_pem());
    let site = serve_tokens(&files, &["--jwt-public-key", &public, "--jwt-audience", "dormouse"]).await;
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let good = encode(&Header::new(Algorithm::ES256), &claims(json!({})), &key).expect("a token");
    connect(&site, "ann", &good).wait_until_live().await.expect("welcome");
    let confused = hs256(&pair.public_key_pem(), &claims(json!({})));
    assert_eq!(refused(&site, "ann", &confused).await, FaultCode::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_runs_out_while_its_hub_sleeps() {
    let files = Files::new();
    let secret = files.write("secret", SECRET);
    let site = serve_tokens(
        &files,
        &["--jwt-secret-file", &secret, "--jwt-audience", "dormouse", "--hibernate-after", "200ms"],
    )
    .await;
    let until_s = now_s() + 8;
    let client = connect(&site, "ann", &hs256(SECRET, &claims(json!({ "exp": until_s }))));
    client.wait_until_live().await.expect("welcome");
    eventually("hibernated", async || {
        get(site.server.port(), "/api/replication/status").await.contains("\"hibernated\":1")
    })
    .await;
    assert!(now_s() < until_s, "it fell asleep in time");
    let stopped = client.wait_for(|_| false).await.expect_err("it is closed");
    assert_eq!(stopped.0.map(|fault| fault.code), Some(FaultCode::Expired));
    assert!((until_s..until_s + 5).contains(&now_s()), "on time");
    assert_eq!(counted(&site, FaultCode::Expired).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_keeps_the_connection_and_a_client_without_one_waits() {
    let files = Files::new();
    let secret = files.write("secret", SECRET);
    let site = serve_tokens(&files, &["--jwt-secret-file", &secret, "--jwt-audience", "dormouse"]).await;
    let token = |seconds: u64| hs256(SECRET, &claims(json!({ "exp": now_s() + seconds })));
    let options = options(&site.server.url(), "ann").with_credential(Some(token(4)));
    let client = Client::connect(options, MemoryStore::default());
    client.wait_until_live().await.expect("welcome");
    client.set_credential(token(10)).await;
    let renewed = client.wait_for(|status| {
        status.credential_until.is_some_and(|until| until > std::time::Instant::now() + Duration::from_secs(5))
    });
    renewed.await.expect("the server says that it is good");
    tokio::time::sleep(Duration::from_secs(5)).await; // Across the end of the first: there is nothing to wait for.
    site.execute("insert into item values (2, 'two')").await;
    holds(&client, "public.item", &["1|one", "2|two"]).await;
    assert_eq!(client.status().borrow().welcomes, 1, "on the same connection");
    client.wait_for(|status| status.credential_wanted).await.expect("it waits");
    client.set_credential(token(600)).await;
    let back = client.wait_for(|status| status.welcomes == 2 && status.live).await.expect("it comes back");
    assert!(!back.stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_leaves_the_file_closes_who_came_with_it() {
    let files = Files::new();
    let path = files.write("credentials", "s3cret-ann ann-\ns3cret-bob bob-\n");
    let site = serve(&files, &path, &["--hibernate-after", "200ms"]).await;
    let (ann, bob) = (connect(&site, "ann-1", "s3cret-ann"), connect(&site, "bob-1", "s3cret-bob"));
    ann.wait_until_live().await.expect("welcome");
    bob.wait_until_live().await.expect("welcome");
    files.write("credentials", "s3cret-bob bob-\n");
    let stopped = ann.wait_for(|_| false).await.expect_err("it is closed");
    assert_eq!(stopped.0.map(|fault| fault.code), Some(FaultCode::Unauthorized));
    assert_eq!(counted(&site, FaultCode::Unauthorized).await, 1);
    site.execute("insert into item values (2, 'two')").await;
    holds(&bob, "public.item", &["1|one", "2|two"]).await;
    assert!(!site.server.log().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_closes_its_own_socket_alone() {
    let files = Files::new();
    let site = serve(&files, "none", &["--message-rate", "50"]).await;
    let client = site.live_client("quiet").await;
    let mut flood = Raw::dial(site.server.port()).await;
    flood.text(r#"{"type":"hello","client":"loud","attempt":1,"scope":"all","resume":null}"#).await;
    for _ in 0..1_000 {
        flood.text(r#"{"type":"credential","token":"any"}"#).await;
    }
    assert_eq!(flood.fault().await, Some(FaultCode::TooMany));
    assert_eq!(counted(&site, FaultCode::TooMany).await, 1);
    site.execute("insert into item values (2, 'two')").await;
    holds(&client, "public.item", &["1|one", "2|two"]).await;
    assert_eq!(client.status().borrow().welcomes, 1, "nobody else noticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_credentials_is_refused_for_a_while_and_nothing_is_logged() {
    let files = Files::new();
    let path = files.write("credentials", "s3cret-ann ann-\n");
    let operator = files.write("operator", OPERATOR);
    let arguments = ["--auth", &path, "--admin-credential-file", &operator, "--failures-per-minute", "3"];
    let mut site = Site::start_with(ITEMS, &[], &arguments).await;
    site.server.kill();
    site.server.set_environment("RUST_LOG", "trace");
    site.server.launch().expect("starts");
    site.server.await_open().await.expect("serves");
    let ann = connect(&site, "ann-1", "s3cret-ann");
    ann.wait_until_live().await.expect("welcome");
    let hello = |token: &str| {
        format!(r#"{{"type":"hello","client":"ann-2","attempt":1,"scope":"all","resume":null,"token":"{token}"}}"#)
    };
    for guess in ["s3cret-guess-1", "s3cret-guess-2", "s3cret-guess-3"] {
        let mut raw = Raw::dial(site.server.port()).await;
        raw.text(hello(guess)).await;
        assert_eq!(raw.fault().await, Some(FaultCode::Unauthorized));
    }
    let refused = Raw::dial_as(site.server.port(), "dormouse.v1.json").await;
    assert!(matches!(refused, Err(Error::Http(answer)) if answer.status() == 429), "a good one would be refused too");
    assert_eq!(counted(&site, FaultCode::Unauthorized).await, 3);
    assert_eq!(counted(&site, FaultCode::TooMany).await, 1);
    site.execute("insert into item values (2, 'two')").await;
    holds(&ann, "public.item", &["1|one", "2|two"]).await;
    let log = site.server.log();
    assert!(log.contains("TRACE") && !log.contains("s3cret") && !log.contains(OPERATOR), "no credential is logged");
}
