// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tests the service from a client's point of view, on both allocators.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use hakmem_examples::client::Connection;
use hakmem_examples::load::Report;
use hakmem_examples::service::child::ServiceProcess;
use serde_json::{Value, json};

const ON_HAKMEM: &str = env!("CARGO_BIN_EXE_service");
const ON_SYSTEM: &str = env!("CARGO_BIN_EXE_service-system");

struct Client {
    connection: Connection,
    service: ServiceProcess,
}

impl Client {
    async fn start(executable: &str, arguments: &[&str]) -> Self {
        let service = ServiceProcess::start(Path::new(executable), arguments).unwrap();
        let connection = Connection::open(service.address()).await.unwrap();
        Self {
            connection,
            service,
        }
    }

    async fn ask(&mut self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let answer = self.connection.ask(method, path, body.to_owned()).await;
        let (status, body) = answer.unwrap();
        if body.is_empty() {
            return (status, Value::Null);
        }
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(&mut self, path: &str) -> (StatusCode, Value) {
        self.ask(Method::GET, path, "").await
    }

    async fn post(&mut self, body: &str) -> (StatusCode, Value) {
        self.ask(Method::POST, "/documents", body).await
    }

    async fn refused(&mut self, method: Method, path: &str, body: &str, status: StatusCode) {
        let (answered, body) = self.ask(method, path, body).await;
        assert_eq!(answered, status, "{path}: {body}");
        assert!(
            !body["error"].as_str().unwrap().is_empty(),
            "{path}: {body}"
        );
    }

    /// Stops the service. The connection is still open and idle, which must not prevent the stop.
    fn stop(self) {
        let status = self.service.stop().unwrap();
        assert!(status.success(), "{status}");
    }
}

async fn answers_its_clients(executable: &str, allocator: &str) {
    let mut client = Client::start(executable, &[]).await;

    let one = r#"{"id": "one", "text": "a red fox", "year": 2024}"#;
    let added = json!({"added": 1, "replaced": 0});
    assert_eq!(client.post(one).await, (StatusCode::CREATED, added));
    let lines = "{\"id\": \"two\", \"text\": \"red, red\"}\n{\"id\": \"one\", \"text\": \"red\"}\n";
    let added = json!({"added": 1, "replaced": 1});
    assert_eq!(client.post(lines).await, (StatusCode::CREATED, added));

    let (status, found) = client.get("/search?q=RED&limit=1").await;
    let best = json!([{"score": 2, "document": {"id": "two", "text": "red, red"}}]);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(found, json!({"total": 2, "hits": best}));
    assert_eq!(client.get("/search?q=fox").await.1["total"], 0);

    let document = json!({"id": "one", "text": "red"});
    assert_eq!(
        client.get("/documents/one").await,
        (StatusCode::OK, document)
    );
    let (status, _) = client.ask(Method::DELETE, "/documents/one", "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(client.get("/search?q=red").await.1["total"], 1);

    let (status, stats) = client.get("/stats").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(stats["allocator"], allocator);
    assert_eq!(
        (&stats["documents"], &stats["words"]),
        (&json!(1), &json!(1))
    );
    let rss = stats["rss_bytes"].as_u64().unwrap();
    assert!(
        rss > 0 && stats["rss_peak_bytes"].as_u64().unwrap() >= rss,
        "{stats}"
    );
    assert_eq!(
        stats["statistics"].is_object(),
        allocator == "hakmem",
        "{stats}"
    );

    let (status, _) = client.ask(Method::DELETE, "/documents", "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(client.get("/search?q=red").await.1["total"], 0);
    client.stop();
}

#[tokio::test]
async fn answers_its_clients_on_hakmem() {
    answers_its_clients(ON_HAKMEM, "hakmem").await;
}

#[tokio::test]
async fn answers_its_clients_on_the_system_allocator() {
    answers_its_clients(ON_SYSTEM, "system").await;
}

/// An answer to `GET /metrics`.
struct Scrape {
    text: String,
    values: HashMap<String, u64>,
}

impl Scrape {
    fn of(service: &ServiceProcess) -> Self {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(
            head.contains("\r\ncontent-type: text/plain; version=0.0.4\r\n"),
            "{head}"
        );
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
        Self {
            values: samples.collect(),
            text: text.to_owned(),
        }
    }

    /// Checks the text with Prometheus's own program, where it is installed.
    fn check(&self) {
        let mut command = Command::new("promtool");
        command.args(["check", "metrics"]).stdin(Stdio::piped());
        let mut child = match command.stdout(Stdio::piped()).spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            child => child.unwrap(),
        };
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(self.text.as_bytes()).unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success(), "{}", self.text);
    }
}

#[tokio::test]
async fn metrics_follow_the_documents() {
    let mut client = Client::start(ON_HAKMEM, &[]).await;
    let before = Scrape::of(&client.service);
    before.check();

    let text = "word ".repeat(200_000);
    client
        .post(&json!({"id": "long", "text": text}).to_string())
        .await;
    let after = Scrape::of(&client.service);
    after.check();
    assert_eq!(
        (
            before.values["service_documents"],
            after.values["service_documents"]
        ),
        (0, 1)
    );
    let grown = after.values["hakmem_bytes_live"] - before.values["hakmem_bytes_live"];
    assert!(grown >= text.len() as u64, "{grown} bytes");
    assert!(after.values["process_resident_memory_bytes"] > 0);
    for name in ["hakmem_refills_total", "hakmem_map_calls_total"] {
        assert!(after.values[name] >= before.values[name], "{name}");
    }
    client.stop();
}

#[tokio::test]
async fn metrics_of_the_system_allocator_are_those_of_the_service() {
    let client = Client::start(ON_SYSTEM, &[]).await;
    let scrape = Scrape::of(&client.service);
    scrape.check();
    assert_eq!(scrape.values.len(), 3, "{}", scrape.text);
    client.stop();
}

#[tokio::test]
async fn writes_heap_profiles() {
    let mut client = Client::start(ON_HAKMEM, &["--threads", "2"]).await;
    let types = b"inuse_space";
    for (method, path, bytes_min) in [
        (Method::GET, "/debug/pprof/heap?seconds=0", 100),
        (Method::GET, "/debug/pprof/heap", 100),
        (Method::DELETE, "/debug/pprof/heap", 0),
    ] {
        let answer = client.connection.ask(method, path, String::new()).await;
        let (status, body) = answer.unwrap();
        assert!(status.is_success(), "{path}: {status}");
        assert!(body.len() >= bytes_min, "{path}: {} bytes", body.len());
        let found = body.windows(types.len()).any(|window| window == types);
        assert_eq!(found, bytes_min > 0, "{path}");
    }

    let path = "/debug/pprof/heap?format=collapsed".to_owned();
    let answer = client
        .connection
        .ask(Method::GET, &path, String::new())
        .await;
    let (status, body) = answer.unwrap();
    assert!(status.is_success() && std::str::from_utf8(&body).is_ok());
    client.stop();
}

#[tokio::test]
async fn lists_the_most_frequent_words_and_frees_the_heap_of_the_request() {
    let mut client = Client::start(ON_HAKMEM, &[]).await;
    for (id, text) in ["a red fox", "a red dog", "a bird"].into_iter().enumerate() {
        let document = json!({"id": id.to_string(), "text": text});
        client.post(&document.to_string()).await;
    }
    let (status, words) = client.get("/words?limit=2").await;
    let expected = json!([{"word": "a", "documents": 3}, {"word": "red", "documents": 2}]);
    assert_eq!((status, words), (StatusCode::OK, expected));
    let stats = client.get("/stats").await.1;
    assert_eq!(stats["statistics"]["stats"]["heaps_private"], 0, "{stats}");
    client.stop();
}

#[tokio::test]
async fn has_neither_heap_profiles_nor_lists_of_words_on_the_system_allocator() {
    let mut client = Client::start(ON_SYSTEM, &[]).await;
    let none = StatusCode::NOT_FOUND;
    for path in ["/debug/pprof/heap", "/words"] {
        client.refused(Method::GET, path, "", none).await;
    }
    client.stop();
}

#[tokio::test]
async fn refuses_what_it_cannot_do() {
    let mut client = Client::start(ON_HAKMEM, &["--max-body-bytes", "1000"]).await;
    client.post(r#"{"id": "here"}"#).await;

    let (bad, none) = (StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND);
    for body in [
        "",
        "{",
        "[]",
        "{\"id\": 1}",
        "{\"text\": \"no id\"}",
        "{\"id\": \"x\"} {",
    ] {
        client.refused(Method::POST, "/documents", body, bad).await;
    }
    let large = format!(r#"{{"id": "{}"}}"#, "x".repeat(1000));
    client
        .refused(
            Method::POST,
            "/documents",
            &large,
            StatusCode::PAYLOAD_TOO_LARGE,
        )
        .await;
    for path in ["/search", "/search?q=x&limit=-1", "/documents/%ff"] {
        client.refused(Method::GET, path, "", bad).await;
    }
    for path in ["/", "/documents/none", "/documents/one/more"] {
        client.refused(Method::GET, path, "", none).await;
    }
    client
        .refused(Method::DELETE, "/documents/none", "", none)
        .await;
    client
        .refused(
            Method::PUT,
            "/documents",
            "",
            StatusCode::METHOD_NOT_ALLOWED,
        )
        .await;

    assert_eq!(
        client.get("/stats").await.1["documents"],
        1,
        "nothing of it was added"
    );
    client.stop();
}

#[tokio::test]
async fn stands_the_load() {
    let mut client = Client::start(ON_HAKMEM, &["--threads", "2"]).await;
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["--target", &client.service.address().to_string(), "--json"])
        .args([
            "--documents",
            "2000",
            "--requests",
            "4000",
            "--connections",
            "4",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (report.documents, report.requests, report.failed),
        (2000, 4000, 0)
    );
    assert!(
        report.complete && report.p50_ms <= report.p99_ms,
        "{report}"
    );

    // The load adds about as many documents as it deletes.
    let documents = client.get("/stats").await.1["documents"].as_u64().unwrap();
    assert!((1500..2500).contains(&documents), "{documents}");
    client.stop();
}

#[test]
fn load_stays_on_this_machine() {
    let output = Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["--target", "192.0.2.1:80"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a loopback address"));
}

#[tokio::test]
async fn an_address_in_use_is_an_error() {
    let client = Client::start(ON_HAKMEM, &[]).await;
    let output = Command::new(ON_HAKMEM)
        .args(["--listen", &client.service.address().to_string()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on"));
    client.stop();
}

#[test]
fn a_request_in_progress_is_answered_before_the_end() {
    let service = ServiceProcess::start(Path::new(ON_HAKMEM), &[]).unwrap();
    let address = service.address();
    let mut stream = TcpStream::connect(address).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let body = r#"{"id": "late"}"#;
    let length = body.len();
    let head = format!("POST /documents HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}");
    write!(stream, "{head}\r\nExpect: 100-continue\r\n\r\n").unwrap();
    // The service waits for the body.
    assert_eq!(lines.next().unwrap().unwrap(), "HTTP/1.1 100 Continue");

    let stopped = thread::spawn(|| service.stop());
    while TcpStream::connect(address).is_ok() {
        assert!(!stopped.is_finished(), "the request was cut off");
        thread::sleep(Duration::from_millis(5));
    }
    stream.write_all(body.as_bytes()).unwrap();
    let answer: Vec<String> = lines.map_while(Result::ok).collect();
    assert!(
        answer.contains(&"HTTP/1.1 201 Created".to_owned()),
        "{answer:?}"
    );
    let status = stopped.join().unwrap().unwrap();
    assert!(status.success(), "{status}");
}
