//! Owns the tasks of a run: each has a name, and each that ends before it was stopped is noticed.

use std::fmt::Display;
use std::time::Duration;
use tokio::task::JoinSet;

/// The tasks.
#[derive(Debug, Default)]
pub struct Tasks(JoinSet<(&'static str, Result<(), String>)>);

/// A task that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub name: &'static str,
    /// Why, where it failed.
    pub error: Option<String>,
}

impl Tasks {
    /// Starts a task that cannot fail.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            task.await;
            (name, Ok(()))
        });
    }

    /// Starts a task that may fail.
    pub fn spawn_fallible<E: Display>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.0.spawn(async move { (name, task.await.map_err(|error| error.to_string())) });
    }

    /// The next task that ends. Waits for ever where there is none. Cancel-safe.
    pub async fn next(&mut self) -> Ended {
        match self.0.join_next().await {
            None => std::future::pending().await,
            Some(Ok((name, outcome))) => Ended { name, error: outcome.err() },
            Some(Err(error)) => Ended { name: "task", error: Some(error.to_string()) },
        }
    }

    /// Waits until all have ended, at most this long; then ends them. The failures among them.
    pub async fn drain(&mut self, deadline: Duration) -> Vec<Ended> {
        let mut failed = Vec::new();
        let all = async {
            while !self.0.is_empty() {
                failed.extend(Some(self.next().await).filter(|ended| ended.error.is_some()));
            }
        };
        if tokio::time::timeout(deadline, all).await.is_err() {
            failed.push(Ended { name: "shutdown", error: Some(format!("tasks did not end within {deadline:?}")) });
            self.0.shutdown().await;
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_are_noticed_and_a_drain_has_an_end() {
        let mut tasks = Tasks::default();
        tasks.spawn_fallible("weak", async { Err::<(), _>("no") });
        assert_eq!(tasks.next().await, Ended { name: "weak", error: Some("no".into()) });
        tasks.spawn("endless", std::future::pending());
        let failed = tasks.drain(Duration::from_secs(1)).await;
        assert_eq!(failed[0].name, "shutdown");
        assert!(tasks.drain(Duration::from_secs(1)).await.is_empty());
    }
}
