//! A terminal as a person has it, by tmux: programs run in it, keys are pressed, and what stands there is read.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::eventually;
use super::server::die_with_parent;

/// A window with a shell in it, whose prompt is `$ `.
pub struct Terminal {
    server: Child,
    dir: TempDir,
}

impl Terminal {
    #[track_caller]
    pub fn start(width: u16, height: u16) -> Self {
        let dir = TempDir::new().expect("temporary directory");
        let mut command = tmux(dir.path().join("socket"), &["-D"]);
        command.current_dir(dir.path());
        die_with_parent(&mut command, libc::SIGTERM);
        let server = command.spawn().expect("tmux: apt-get install tmux (scripts/test does)");
        let terminal = Self { server, dir };
        let at = terminal.dir.path().display().to_string();
        let size = [width.to_string(), height.to_string()];
        let shell = "env -i PS1='$ ' LC_ALL=C.UTF-8 TERM=screen-256color PATH=\"$PATH\" sh";
        eventually("tmux takes commands", || {
            terminal
                .try_tmux(&["new-session", "-d", "-c", &at, "-x", &size[0], "-y", &size[1], shell])
                .is_some()
        });
        terminal.eventually("a prompt", |screen| screen.starts_with('$'));
        terminal
    }

    /// A file in the directory in which its shell is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As when its window is closed.
    pub fn vanish(mut self) {
        self.server.kill().expect("tmux is there");
        self.server.wait().expect("tmux is there");
    }

    fn try_tmux(&self, args: &[&str]) -> Option<String> {
        let mut command = tmux(self.dir.path().join("socket"), args);
        let output = command.stdout(Stdio::piped()).output().expect("tmux");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[track_caller]
    fn tmux(&self, args: &[&str]) -> String {
        self.try_tmux(args).unwrap_or_else(|| panic!("tmux {args:?} failed"))
    }

    /// Types a line.
    #[track_caller]
    pub fn line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    /// Presses keys, by their names in tmux: `F10`, `Down`, `q`.
    #[track_caller]
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// The text that stands there.
    #[track_caller]
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    #[track_caller]
    pub fn resize(&self, width: u16, height: u16) {
        self.tmux(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// Waits until what stands there is as it should be; a failure shows it.
    #[track_caller]
    pub fn eventually(&self, what: &str, mut is_so: impl FnMut(&str) -> bool) -> String {
        let mut last = String::new();
        let shown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, || {
                last = self.screen();
                is_so(&last)
            });
        }));
        assert!(shown.is_ok(), "{what}:\n{last}");
        last
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.try_tmux(&["kill-server"]);
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn tmux(socket: PathBuf, args: &[&str]) -> Command {
    let mut command = Command::new("tmux");
    command.args(["-u", "-f", "/dev/null", "-S"]).arg(socket).args(args);
    command.env_remove("TMUX").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
