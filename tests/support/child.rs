//! Other processes: a test that runs in a process of its own ([`Child`]), perhaps under limits of
//! the system or as another user; and a process that is a fork of this one ([`forked`]).
//!
//! What runs in a child is an ignored test, which its parent calls by name. Alone it finds no
//! [`home`] and does nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

/// Where a child finds its directory.
const HOME: &str = "PERENNIAL_CHILD";

/// The user whom no permission stops, and one with none.
const ROOT: u32 = 0;
const NOBODY: u32 = 65534;

/// The directory of the child that this process is; `None` where it is none.
pub fn home() -> Option<PathBuf> {
    std::env::var_os(HOME).map(PathBuf::from)
}

/// A process that is to run one test in a directory.
pub struct Child {
    test: String,
    home: PathBuf,
    limits: String,
    stranger: bool,
}

impl Child {
    /// The ignored test of this full name, in the directory `home`.
    pub fn new(test: &str, home: &Path) -> Child {
        Child { test: test.into(), home: home.into(), limits: String::new(), stranger: false }
    }

    /// Under a limit of the system, as a shell sets it.
    pub fn limited(mut self, limit: &str) -> Child {
        self.limits += &format!("{limit} || exit 77; ");
        self
    }

    /// As a user who is not root, whom no file keeps out: the directory, and what is in it, becomes
    /// that user's.
    pub fn by_nobody(mut self) -> Child {
        self.stranger = true;
        self
    }

    /// The command that runs it.
    pub fn command(&self) -> Command {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("{}exec \"$0\" \"$@\"", self.limits));
        if self.stranger && fs::metadata(&self.home).unwrap().uid() == ROOT {
            command.arg(self.give_away(&program)).uid(NOBODY).gid(NOBODY);
        } else {
            command.arg(program);
        }
        command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1", &self.test]);
        command.env(HOME, &self.home);
        command
    }

    /// Makes the directory nobody's, and puts a copy of the program into it, since this one may be
    /// where nobody else can look.
    fn give_away(&self, program: &Path) -> PathBuf {
        let copy = self.home.join("program");
        if fs::hard_link(program, &copy).is_err() {
            fs::copy(program, &copy).unwrap();
        }
        fs::set_permissions(&self.home, fs::Permissions::from_mode(0o755)).unwrap();
        chown(&self.home, Some(NOBODY), Some(NOBODY)).unwrap();
        copy
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
