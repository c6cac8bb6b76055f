//! What the kernel is like below a server that runs on this machine.

use std::fs;
use std::path::Path;

use crate::connect::Address;
use crate::reading::Facts;

/// What there is of it; none of what can't be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Whether transparent huge pages are for all.
    pub thp_always: Option<bool>,
    pub overcommit: Option<u64>,
    pub somaxconn: Option<u64>,
    /// Of the server's process.
    pub open_files: Option<u64>,
}

impl Kernel {
    /// Of a server that is asked on this machine, as far as its address, its process id and that one's name tell.
    pub fn beside(address: &Address, facts: &Facts) -> Option<Self> {
        let is_here = match address {
            Address::Socket(_) => true,
            Address::Tcp { host, .. } => {
                host == "localhost"
                    || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
            }
        };
        let process = Path::new("/proc").join(facts.info.text("process_id")?);
        let program = Path::new(facts.info.text("executable")?).file_name()?.to_str()?;
        let name = fs::read_to_string(process.join("comm")).ok()?;
        // The kernel keeps fifteen bytes of a name.
        let is_its = !name.trim_end().is_empty() && program.starts_with(name.trim_end());
        (is_here && is_its).then(|| Self::read(&process))
    }

    fn read(process: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).ok();
        let number = |path: &str| text(path)?.trim().parse().ok();
        let limits = fs::read_to_string(process.join("limits")).ok();
        Self {
            thp_always: text("/sys/kernel/mm/transparent_hugepage/enabled")
                .map(|modes| modes.contains("[always]")),
            overcommit: number("/proc/sys/vm/overcommit_memory"),
            somaxconn: number("/proc/sys/net/core/somaxconn"),
            open_files: limits.as_deref().and_then(open_files),
        }
    }
}

/// The soft limit; a process without one has the most there can be.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let line = "Max processes   1  2  processes\nMax open files            1024                 524288               files\n";
        assert_eq!(open_files(line), Some(1024));
        assert_eq!(open_files("Max open files unlimited unlimited files"), Some(u64::MAX));
        assert_eq!(open_files(""), None);
    }
}
