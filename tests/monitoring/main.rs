//! The metrics as those who watch the driver use them: Prometheus' own tools, a
//! real Prometheus, and the alerts and the dashboard in `packaging/monitoring`.

#[path = "../harness/mod.rs"]
mod harness;

mod tools;

mod cardinality;
mod expressions;
mod promtool;
