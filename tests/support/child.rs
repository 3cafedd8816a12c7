//! Other processes: a test that runs in a process of its own ([`Child`]), and a process that is a
//! fork of this one ([`forked`]).
//!
//! What runs in a child is an ignored test, which its parent calls by name. Alone it finds no
//! [`home`] and does nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

/// Where a child finds its directory.
const HOME: &str = "PERENNIAL_CHILD";

/// The directory of the child that this process is; `None` where it is none.
pub fn home() -> Option<PathBuf> {
    std::env::var_os(HOME).map(PathBuf::from)
}

/// A process that is to run one test in a directory.
pub struct Child {
    test: String,
    home: PathBuf,
}

impl Child {
    /// The ignored test of this full name, in the directory `home`.
    pub fn new(test: &str, home: &Path) -> Child {
        Child { test: test.into(), home: home.into() }
    }

    /// The command that runs it.
    pub fn command(&self) -> Command {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1", &self.test]);
        command.env(HOME, &self.home);
        command
    }

    /// Runs it, and returns what it printed; its end must be good.
    pub fn run(&self) -> String {
        let output = self.command().output().unwrap();
        let text = printed(&output);
        assert!(output.status.success(), "{}: {}\n{text}", self.test, output.status);
        assert!(text.contains("1 passed"), "there is no test {}", self.test);
        text
    }

    /// Starts it; what it prints can be read.
    pub fn start(&self) -> std::process::Child {
        self.command().stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
    }
}

fn printed(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Runs `work` in a fork of this process, and waits for its end; the child exits as a program does
/// that comes to its end, or aborts where `work` panics.
///
/// The fork has one thread. Call it where no other thread can hold a lock that `work` needs.
pub fn forked(mut work: impl FnMut() + Send + Sync + 'static) -> ExitStatus {
    use std::os::unix::process::CommandExt;
    let mut never_run = Command::new("/dev/null");
    let ended = move || -> std::io::Result<()> {
        work();
        std::process::exit(0)
    };
    // SAFETY: the closure never returns, so no program is run and nothing of the child reaches
    // the parent but its exit status. That other threads may have held locks at the moment of the
    // fork is the caller's to exclude.
    #[expect(unsafe_code, reason = "nothing else in std forks and goes on")]
    unsafe {
        never_run.pre_exec(ended)
    };
    never_run.spawn().unwrap().wait().unwrap()
}
