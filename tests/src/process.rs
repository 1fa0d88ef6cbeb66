//! The real binaries, as processes that end with the test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

/// `fusebox`, `fusebox-collector`, `fusebox-proxy`: the binary that was built with these tests.
///
/// `cargo test --workspace` builds it before any test runs. Where only this package is tested, it
/// may be missing or older than the sources: then it is built here, once.
pub fn binary(name: &str) -> PathBuf {
    static FRESH: OnceLock<PathBuf> = OnceLock::new();
    let folder = FRESH.get_or_init(|| {
        let test = std::env::current_exe().expect("the test's own path");
        let folder = test.ancestors().nth(2).expect("target/<profile>/deps/<test>").to_owned();
        if !["fusebox", "fusebox-collector", "fusebox-proxy"]
            .iter()
            .all(|binary| is_fresh(&folder.join(binary)))
        {
            build(&folder, &["--bins"]);
        }
        folder
    });
    folder.join(name)
}

/// A binary as it ships, of the profile `dist`, whatever these tests were built with: a measurement
/// is about nothing else. Builds it where it is missing or older than the sources.
pub fn shipped(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let target = test.ancestors().nth(3).expect("target/<profile>/deps/<test>");
    let folder = target.join("dist");
    let binary = folder.join(name);
    if !is_fresh(&binary) {
        build(&folder, &["--bin", name]);
    }
    binary
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

fn is_fresh(binary: &Path) -> bool {
    let Ok(built) = binary.metadata().and_then(|metadata| metadata.modified()) else {
        return false;
    };
    let crates = ["proto/src", "proxy/src", "collector/src", "tui/src", "demo/src"];
    crates.iter().all(|folder| newest(&workspace().join(folder)) <= built)
}

fn newest(folder: &Path) -> SystemTime {
    let entries = folder.read_dir().expect("a source folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let metadata = entry.metadata().expect("metadata of a source file");
            if metadata.is_dir() {
                newest(&entry.path())
            } else {
                metadata.modified().expect("a time of change")
            }
        })
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

fn build(folder: &Path, what: &[&str]) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--offline", "--workspace"]).args(what).arg("--target-dir");
    cargo.arg(folder.parent().expect("the target folder")).current_dir(workspace());
    // The folder of a profile has its name, but for that of `dev`.
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => (),
        Some(profile) => {
            cargo.args(["--profile", profile]);
        }
    }
    assert!(cargo.status().expect("cargo runs").success(), "the binaries do not build");
}

/// A running binary; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    stderr: Arc<Mutex<String>>,
}

/// What a finished process left.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Everything it printed.
    pub stdout: String,
    /// Everything it complained about.
    pub stderr: String,
}

fn command(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(binary(name));
    command.args(args).stdin(Stdio::null()).env_remove("FUSEBOX_COLLECTOR");
    command
}

/// Runs a binary to its end.
pub fn run(name: &str, args: &[&str]) -> Finished {
    let output = command(name, args).output().unwrap_or_else(|e| panic!("{name}: {e}"));
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Process {
    /// Starts a binary in the background.
    pub fn start(name: &str, args: &[&str]) -> Self {
        let mut command = command(name, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{name}: {e}"));
        let stderr = Arc::new(Mutex::new(String::new()));
        let (pipe, sink) = (child.stderr.take().expect("piped"), Arc::clone(&stderr));
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut sink = sink.lock().expect("no panic while held");
                sink.push_str(&line);
                sink.push('\n');
            }
        });
        Self { child, name: name.into(), stderr }
    }

    /// What it complained about so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("no panic while held").clone()
    }

    /// Its next line, which it prints while it runs.
    pub fn line(&mut self) -> String {
        let pipe = self.child.stdout.as_mut().expect("piped");
        // Byte by byte: what comes after the line is for the next reader.
        let bytes = std::iter::from_fn(|| {
            let mut byte = [0];
            (pipe.read(&mut byte).expect("a pipe") == 1).then_some(byte[0])
        });
        let line = bytes.take_while(|byte| *byte != b'\n').collect();
        String::from_utf8(line).expect("text")
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// SIGKILL: no farewell.
    pub fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// SIGTERM, then waits for the end.
    pub fn terminate(self) -> ExitStatus {
        self.signal("-TERM")
    }

    /// SIGINT, as Ctrl-C sends it, then waits for the end.
    pub fn interrupt(self) -> ExitStatus {
        self.signal("-INT")
    }

    fn signal(mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("kill").args([signal, &self.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "{} is gone already", self.name);
        self.child.wait().expect("a child of ours")
    }

    /// Waits for the end and reads what it printed.
    pub fn finish(mut self) -> Finished {
        let mut stdout = String::new();
        let pipe = self.child.stdout.as_mut().expect("piped");
        pipe.read_to_string(&mut stdout).expect("text");
        let code = self.child.wait().expect("a child of ours").code();
        Finished { code, stdout, stderr: self.stderr() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.stderr());
        }
    }
}

/// A loopback port that was free a moment ago, for binaries that must be told one.
pub fn free_port() -> u16 {
    let [port] = free_ports();
    port
}

/// Loopback ports that were free a moment ago. None is given twice, and none is one that the system gives
/// to whoever wants any: a program that takes seconds to start finds its own still free.
pub fn free_ports<const N: usize>() -> [u16; N] {
    [(); N].map(|()| {
        loop {
            let nth = PORTS_GIVEN.fetch_add(1, Relaxed);
            // Two processes begin far from each other.
            let at = std::process::id().wrapping_mul(2_503).wrapping_add(nth) % PORTS;
            let port = PORT_FIRST + u16::try_from(at).expect("below the number of ports");
            let is_free = std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
                && std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok();
            if is_free {
                return port;
            }
        }
    })
}

/// Below what Linux gives out by itself, 32768 and up.
const PORT_FIRST: u16 = 12_000;
const PORTS: u32 = 20_000;
static PORTS_GIVEN: AtomicU32 = AtomicU32::new(0);
