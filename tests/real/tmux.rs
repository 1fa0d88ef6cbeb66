//! The dashboard where operators have it: in tmux.

use crate::setup::is_real;
use fusebox_tests::eventually::eventually;
use fusebox_tests::process::binary;
use std::process::Command;
use std::time::Duration;

/// A tmux server of the test's own; gone when dropped.
struct Tmux(String);

impl Tmux {
    fn run(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").args(["-L", &self.0]).args(args).output();
        String::from_utf8_lossy(&output.expect("tmux runs").stdout).into_owned()
    }

    async fn wait_for(&self, text: &str) -> String {
        eventually(text, Duration::from_secs(40), || async {
            let screen = self.run(&["capture-pane", "-p"]);
            if screen.contains(text) { Ok(screen) } else { Err(screen) }
        })
        .await
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

/// Scenario: the demo in tmux, 80x24: the storm is named, `t` (and `y` if asked) stops it.
/// Guarantees: the screen shows every proxy's acknowledgement, and after `q` the shell is back.
#[tokio::test]
async fn the_demo_in_tmux() {
    if !is_real("the demo in tmux") {
        return;
    }
    let tmux = Tmux(format!("fusebox-{}", std::process::id()));
    let demo = format!("{} demo; echo back in the shell; cat", binary("fusebox").display());
    tmux.run(&["new-session", "-d", "-x", "80", "-y", "24", &demo]);
    tmux.wait_for("payment sends inventory").await;
    tmux.run(&["send-keys", "t"]);
    eventually("every acknowledgement", Duration::from_secs(10), || async {
        let screen = tmux.run(&["capture-pane", "-p"]);
        if screen.contains(" y ") && !screen.contains("3 of 3") {
            tmux.run(&["send-keys", "y"]);
        }
        if screen.contains("3 of 3") { Ok(()) } else { Err(screen) }
    })
    .await;
    tmux.run(&["send-keys", "q"]);
    tmux.wait_for("back in the shell").await;
}
