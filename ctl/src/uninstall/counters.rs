//! Removing counters: those alone that have nothing pending and nothing leased, unless what they have is given up.

use anyhow::Result;
use redis::Cmd;

use crate::connect::Link;
use crate::reading::{keys, reply};

/// To look and to remove are one step, so that no use is lost that is counted in between. A key that holds something
/// else by now is an error of USAGE.GET's.
const REMOVE: &str = "\
local told = redis.call('APIKEY.USAGE.GET', KEYS[1])
for i = 1, #told, 2 do
    if ARGV[1] == 'settled' and (told[i] == 'pending' or told[i] == 'leased') and told[i + 1] ~= 0 then
        return 0
    end
end
return redis.call('UNLINK', KEYS[1])";

/// Removes those of the selected database, and says how many.
pub fn remove(link: &mut Link, give_up_counts: bool) -> Result<u64> {
    let which = if give_up_counts { "all" } else { "settled" };
    let mut removed = 0;
    keys::walk(link, keys::COUNTER, |link, keys| {
        let command = |key: &Vec<u8>| {
            let mut command = redis::cmd("EVAL");
            command.arg(REMOVE).arg(1).arg(key).arg(which);
            command
        };
        let commands: Vec<Cmd> = keys.iter().map(command).collect();
        for (command, reply) in commands.iter().zip(link.ask_all(&commands)?) {
            match reply {
                Ok(one) => removed += u64::from(reply::number(&one) == Some(1)),
                // It holds something else by now, or its slot has left.
                Err(refusal) if is_gone(&refusal.code, &refusal.text) => {}
                Err(refusal) => return Err(link.refused(command, &refusal)),
            }
        }
        Ok(())
    })?;
    Ok(removed)
}

/// 6.2 tells a script's error behind words of its own.
fn is_gone(code: &str, text: &str) -> bool {
    matches!(code, "WRONGTYPE" | "MOVED" | "ASK") || text.contains("WRONGTYPE")
}
