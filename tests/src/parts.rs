//! Real parts: others' programs, as a user has them.
//!
//! The proxy's own tests use this file, too; it needs nothing but the standard library.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Whether to run a test that needs real parts; else says why not.
pub fn is_real(test: &str) -> bool {
    let real = std::env::var_os("FUSEBOX_REAL").is_some_and(|value| value == "1");
    if !real {
        println!("skipped {test}: needs parts from PyPI, npm and Debian; FUSEBOX_REAL=1 runs it");
    }
    real
}

/// Runs `command` to its end; a failure of it is one of the test, with what it said.
pub fn must(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
}

/// The folder of programs of a virtual environment in `folder`, with the packages that the file
/// `requirements` lists.
pub fn python(folder: &Path, requirements: &Path) -> PathBuf {
    must(Command::new("python3").args(["-m", "venv"]).arg(folder));
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    must(pip.arg(requirements));
    folder.join("bin")
}

/// A real program; killed when dropped.
#[derive(Debug)]
pub struct Part(Child);

impl Part {
    /// Starts `command`, which nobody listens to.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }
}

impl std::ops::Deref for Part {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
