//! The alerts and the dashboard in a real Prometheus that scrapes a real driver:
//! every expression can be evaluated, and every name in one is one of ours.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::{Client, Setup, eventually, get, project};
use crate::tools::{Prometheus, serve_metrics};

/// The words of PromQL that the expressions are made with.
const PROMQL: [&str; 11] = [
    "sum",
    "by",
    "on",
    "unless",
    "group_left",
    "increase",
    "rate",
    "changes",
    "time",
    "histogram_quantile",
    "up",
];

/// What Grafana puts for its variables: all instances, and a time in which
/// there are some scrapes.
fn as_grafana_does(expression: &str) -> String {
    expression.replace("$instance", ".*").replace("$__rate_interval", "5s")
}

/// The expressions of the dashboard, checked for its variables.
fn dashboard() -> Vec<String> {
    let text = fs::read_to_string(project("packaging/monitoring/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!(variables[0]["name"], "datasource");
    assert_eq!(variables[0]["query"], "prometheus");
    assert_eq!(variables[1]["name"], "instance");
    let values = variables[1]["query"]["query"].as_str().unwrap();
    let metric = values.strip_prefix("label_values(").unwrap();
    let metric = metric.strip_suffix(", instance)").unwrap();
    let mut expressions = vec![format!("sum by (instance) ({metric})")];
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
            let expression = target["expr"].as_str().unwrap();
            for (_, selector) in selectors(expression) {
                assert!(selector.contains(r#"instance=~"$instance""#), "{expression}");
            }
            expressions.push(as_grafana_does(expression));
        }
    }
    expressions
}

/// The words of an expression outside of quotes, each with what follows it.
fn words(expression: &str) -> Vec<(&str, &str)> {
    let mut words = Vec::new();
    let mut quoted = false;
    let mut at = 0;
    while let Some(char) = expression[at..].chars().next() {
        let rest = &expression[at..];
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
        if quoted || length == 0 {
            quoted ^= char == '"';
            at += char.len_utf8();
        } else {
            words.push(rest.split_at(length));
            at += length;
        }
    }
    // What begins with a digit is a number or a time.
    words.retain(|(word, _)| !word.starts_with(|c: char| c.is_ascii_digit()));
    words
}

/// The metrics in an expression, each with the labels that it is chosen by.
fn selectors(expression: &str) -> Vec<(&str, String)> {
    let metrics = words(expression).into_iter().filter(|(word, _)| word.starts_with("dirvol_"));
    let with_labels = metrics.map(|(metric, rest)| {
        let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        (metric, labels.map_or(metric.to_owned(), |(labels, _)| format!("{metric}{{{labels}}}")))
    });
    with_labels.collect()
}

/// Checks that an expression names metrics and labels of `text`, and PromQL.
fn assert_known(expression: &str, text: &str) {
    let mut known = BTreeSet::from(PROMQL);
    // What Prometheus adds to each sample.
    known.extend(["job", "instance"]);
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        known.extend(words(sample).into_iter().map(|(word, _)| word));
    }
    for (word, _) in words(expression) {
        assert!(known.contains(word), "{word} in: {expression}");
    }
}

/// Calls of all sorts until it is `over`.
fn call(socket: &Path, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let mut client = Client::connect(socket);
        for (method, body, status) in [
            ("Plugin.Activate", "", 200),
            ("VolumeDriver.Create", r#"{"Name":"a"}"#, 200),
            ("VolumeDriver.Mount", r#"{"Name":"a","ID":"x"}"#, 200),
            ("VolumeDriver.Unmount", r#"{"Name":"a","ID":"x"}"#, 200),
            ("VolumeDriver.Get", r#"{"Name":"none"}"#, 404),
            ("VolumeDriver.Create", r#"{"Name":"/"}"#, 400),
        ] {
            assert_eq!(client.call(method, body).unwrap().status, status, "{method} {body}");
        }
        thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn every_expression_can_be_evaluated_on_what_a_driver_says() {
    let setup = Setup::new().log_level("info").env("DIRVOL_METRICS_LISTEN", "0");
    let (serve, address) = serve_metrics(&setup);
    for name in ["a", "held", "gone"] {
        serve.create(name);
    }
    serve.remove("gone");
    serve.ok("VolumeDriver.Mount", r#"{"Name":"held","ID":"x"}"#);
    let prometheus = Prometheus::scraping(address);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| call(&serve.socket, &over));
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            check(&prometheus, &get(&serve.socket, "/metrics").body);
        }));
        over.store(true, Ordering::Relaxed);
        checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    serve.stop();
}

fn check(prometheus: &Prometheus, text: &str) {
    eventually("the driver was scraped", || {
        (prometheus.query("count_over_time(up[1m]) > 3").len() == 1).then_some(())
    });
    let targets = prometheus.ask("/api/v1/targets");
    assert_eq!(targets["activeTargets"][0]["lastError"], "", "{targets}");

    let expressions = dashboard();
    assert!(expressions.len() > 20, "{expressions:?}");
    for expression in &expressions {
        assert_known(expression, text);
        eventually(&format!("there is something to show for {expression}"), || {
            (!prometheus.query(expression).is_empty()).then_some(())
        });
    }

    let rules = eventually("the alerts were evaluated", || {
        let data = prometheus.ask("/api/v1/rules");
        let rules = data["groups"][0]["rules"].as_array().unwrap().clone();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    });
    assert_eq!(rules.len(), 12);
    for rule in &rules {
        assert_eq!((&rule["type"], &rule["health"]), (&"alerting".into(), &"ok".into()), "{rule}");
        let expression = rule["query"].as_str().unwrap();
        assert_known(expression, text);
        prometheus.query(expression);
        for (_, selector) in selectors(expression) {
            assert!(!prometheus.query(&selector).is_empty(), "{selector} in: {expression}");
        }
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].as_str().is_some_and(|text| text.len() > 20));
        }
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("warning" | "critical")), "{rule}");
    }
}
