//! An application at work while a page is played: it asks for its keys, one after the other, and fills what it misses
//! with what its database says.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::harness::*;

/// It ends where this is dropped.
pub struct Application {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Application {
    /// `row` is what its database says of a key: a record, or none.
    pub fn start(
        server: &Server,
        keys: Vec<String>,
        row: impl Fn(&str) -> Option<String> + Send + 'static,
    ) -> Self {
        let mut c = server.client();
        Self::repeat(move || {
            for key in &keys {
                let asked = c.run(&format!("APIKEY.VALIDATE {key} SECRET {SECRET}"));
                if asked.is_error() || code_of(&asked) != "MISS" {
                    continue;
                }
                let token = asked.items()[1].text();
                if let Some(row) = row(key) {
                    // Refused, as it may be: it has its answer from the database.
                    c.cmd(["APIKEY.SETVAL", key, &row, "TOKEN", &token]);
                }
            }
        })
    }

    /// Does the same again and again.
    pub fn repeat(mut once: impl FnMut() + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                once();
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(!matches!(ended, Some(Err(_))), "the application panicked");
        }
    }
}

/// The table of keys that the pages have, in a PostgreSQL, and what an application reads of it.
pub struct Keys(pub Postgres);

impl Keys {
    /// Their `id`, `user_id` and `org_id`; the prefix of `k-1` is `ak_live_1`, and each has [`SECRET`].
    #[track_caller]
    pub fn of(keys: &[(&str, i64, i64)]) -> Self {
        let postgres = Postgres::start();
        postgres.sql("CREATE TABLE api_keys (id text PRIMARY KEY, user_id int, org_id int, key_prefix text, key_hash text, is_active bool)");
        for (id, user, org) in keys {
            let prefix = id.replace("k-", "ak_live_");
            postgres.sql(&format!(
                "INSERT INTO api_keys VALUES ('{id}', {user}, {org}, '{prefix}', '{DIGEST}', true)"
            ));
        }
        Self(postgres)
    }

    /// Reads the row of `apikey:{prefix}`, each time anew.
    pub fn reader(&self) -> impl Fn(&str) -> Option<String> + Send + 'static {
        let words = self.0.export(
            "postgres",
            "SELECT row_to_json(k) FROM api_keys k WHERE key_prefix = 'PREFIX'",
        );
        move |key: &str| {
            let prefix = key.split(['{', '}']).nth(1)?;
            let words: Vec<String> =
                words.iter().map(|word| word.replace("PREFIX", prefix)).collect();
            let read = Command::new(&words[0]).args(&words[1..]).output().expect("psql");
            let row = String::from_utf8_lossy(&read.stdout).trim().to_string();
            (!row.is_empty()).then_some(row)
        }
    }
}
