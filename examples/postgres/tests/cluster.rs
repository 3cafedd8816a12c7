//! A throwaway cluster of PostgreSQL, one for all tests, in a temporary directory, behind a socket
//! in that directory.
//!
//! A shell keeps it: the shell reads from a pipe that this process holds, and where that ends,
//! because this process did, however it did, stops the server and removes the directory.

use postgres::{Client, Config, NoTls};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Where this is set, tests are not skipped.
const REQUIRED: &str = "PERENNIAL_REQUIRE_POSTGRES";

/// Who `nobody` is on most systems.
const NOBODY: (u32, u32) = (65534, 65534);

const SERVER: &str = r#"
    "$0" -D "$1/data" -k "$1" -c listen_addresses= -c max_prepared_transactions=50 \
        -c max_connections=100 -c fsync=off > "$1/log" 2>&1 &
    read -r forever
    kill -INT $!
    wait
    rm -rf "$1"
"#;

pub struct Cluster {
    directory: PathBuf,
    /// Holds the pipe.
    _keeper: Child,
}

impl Cluster {
    /// The cluster; nothing where this machine has no PostgreSQL.
    pub fn get() -> Option<&'static Cluster> {
        static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
        let make = || binaries().map(|binaries| Cluster::start(&binaries));
        let cluster = CLUSTER.get_or_init(make).as_ref();
        if cluster.is_none() {
            assert!(std::env::var_os(REQUIRED).is_none(), "there is no PostgreSQL to test with");
            let skipped = "SKIPPED: no initdb and postgres in PATH or /usr/lib/postgresql\n";
            // Past the harness, which shows nothing that a test printed which passes.
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        }
        cluster
    }

    /// How to connect to this database in it.
    pub fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host_path(&self.directory).user("tester").dbname(database);
        config
    }

    fn start(binaries: &Path) -> Cluster {
        // Not `tempdir()`, which may be long: the path of a socket has some hundred bytes.
        let directory = tempfile::tempdir_in("/tmp").unwrap().keep();
        let user = unprivileged();
        if let Some((user, group)) = user {
            chown(&directory, Some(user), Some(group)).unwrap();
        }
        let command = |program: &Path| {
            let mut command = Command::new(program);
            command.current_dir(&directory).stdin(Stdio::null());
            if let Some((user, group)) = user {
                command.uid(user).gid(group);
            }
            command
        };
        let mut init = command(&binaries.join("initdb"));
        init.args(["--username=tester", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        let made = init.args(["--locale=C", "--pgdata"]).arg(directory.join("data")).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut keeper = command(Path::new("/bin/sh"));
        keeper.args(["-c", SERVER]).arg(binaries.join("postgres")).arg(&directory);
        // A group of its own: an interrupt from the terminal is for us, and the pipe for them.
        let keeper = keeper.process_group(0).stdin(Stdio::piped()).spawn().unwrap();
        let cluster = Cluster { directory, _keeper: keeper };
        cluster.wait();
        cluster
    }

    fn wait(&self) {
        let (start, config) = (Instant::now(), self.config("postgres"));
        while let Err(error) = config.connect(NoTls) {
            let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(60), "{error}\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A connection; the server is there.
pub fn connect(config: &Config) -> Client {
    config.connect(NoTls).unwrap()
}

/// The folder with `initdb` and `postgres`.
fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    // Where Debian puts them: one folder for each version, and none of them in the path.
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    let both = |folder: &&PathBuf| ["initdb", "postgres"].iter().all(|p| folder.join(p).exists());
    folders.iter().find(both).cloned()
}

/// The user and group to be where this process is root, to whom PostgreSQL says no.
fn unprivileged() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let postgres = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    Some(postgres.unwrap_or(NOBODY))
}
