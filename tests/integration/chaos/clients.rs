//! One client's connections: to each node at most one, made when it is needed and dropped when it fails.

use crate::harness::*;
use std::collections::BTreeMap;
use std::time::Duration;

pub struct Clients {
    ports: Vec<u16>,
    open: Vec<Option<Client>>,
    /// Where a key was found last.
    at: BTreeMap<String, usize>,
    patience: Duration,
    pub rng: Rng,
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Nobody was there: nothing was done.
    Unreachable,
    /// It was sent: it may have been done, or be done later.
    Unanswered,
}

/// What became of a call with a key.
pub enum Said {
    /// By whom it was done, with what reply to each line.
    Done(usize, Vec<Reply>),
    /// It was not done.
    Refused,
    /// It may have been done.
    Lost,
}

/// What says that a command was not done, since this is not the node for it, or not the time.
const REFUSALS: [&str; 10] = [
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "NOREPLICAS",
    "UNBLOCKED",
    "PARTIAL",
];

/// An error has to be one of those.
#[track_caller]
pub fn expect_refusal(line: &str, why: &str) {
    let word = why.split(' ').next().expect("a word");
    assert!(REFUSALS.contains(&word), "{line}: {why}");
}

impl Clients {
    pub fn new(ports: &[u16], patience: Duration, rng: Rng) -> Self {
        let open = ports.iter().map(|_| None).collect();
        Self { ports: ports.to_vec(), open, at: BTreeMap::new(), patience, rng }
    }

    pub fn node_of(&self, port: u16) -> Option<usize> {
        self.ports.iter().position(|known| *known == port)
    }

    /// The replies of a node to a few lines.
    pub fn say(&mut self, node: usize, lines: &[&str]) -> Result<Vec<Reply>, Gone> {
        let known = self.open[node].take();
        let connect = || Client::connect(self.ports[node])?.patient_for(self.patience);
        let mut client = match known {
            Some(client) => client,
            None => connect().map_err(|_| Gone::Unreachable)?,
        };
        let replies = client.try_lines(lines).map_err(|_| Gone::Unanswered)?;
        self.open[node] = Some(client);
        Ok(replies)
    }

    /// The reply to one line that is no error.
    pub fn ask(&mut self, node: usize, line: &str) -> Option<Reply> {
        let reply = self.say(node, &[line]).ok()?.remove(0);
        (!reply.is_error()).then_some(reply)
    }

    /// A line of what INFO says of replication.
    pub fn replication(&mut self, node: usize, name: &str) -> Option<String> {
        let text = self.ask(node, "INFO replication")?.text();
        text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::to_string)
    }

    /// The replication ids of a primary, now and before it was promoted.
    pub fn primary(&mut self, node: usize) -> Option<(String, String)> {
        let text = self.ask(node, "INFO replication")?.text();
        let line = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).map(str::to_string);
        let is_primary = line("role:").as_deref() == Some("master");
        is_primary.then_some((line("master_replid:")?, line("master_replid2:")?))
    }

    /// Finds a key anew.
    pub fn forget(&mut self, key: &str) {
        self.at.remove(key);
    }

    /// Whose answer a few lines about a key get that are sent at once. `guess` says who may be its owner where that is
    /// not known; from there on redirections are followed.
    pub fn of_key(
        &mut self,
        key: &str,
        lines: &[&str],
        guess: impl Fn(&mut Self) -> Option<usize>,
    ) -> Said {
        let Some(mut at) = self.at.get(key).copied().or_else(|| guess(self)) else {
            return Said::Refused;
        };
        let mut asks = false;
        for _ in 0..20 {
            let said = match asks {
                true => self.say(at, &[&["ASKING"], lines].concat()),
                false => self.say(at, lines),
            };
            let mut replies = match said {
                Ok(replies) => replies,
                Err(why) => {
                    self.at.remove(key);
                    return match why {
                        Gone::Unreachable => Said::Refused,
                        Gone::Unanswered => Said::Lost,
                    };
                }
            };
            if asks {
                replies.remove(0);
            }
            let Reply::Error(why) = &replies[0] else {
                if !asks {
                    self.at.insert(key.into(), at);
                }
                return Said::Done(at, replies);
            };
            expect_refusal(lines[0], why);
            let words: Vec<&str> = why.split(' ').collect();
            let port = || words.get(2)?.rsplit(':').next()?.parse().ok();
            match words[0] {
                "MOVED" | "ASK" => {
                    let Some(to) = port().and_then(|port| self.node_of(port)) else { break };
                    at = to;
                    asks = words[0] == "ASK";
                }
                // It is asked for here again, as it was.
                "TRYAGAIN" => std::thread::sleep(Duration::from_millis(1)),
                _ => break,
            }
        }
        self.at.remove(key);
        Said::Refused
    }
}
