//! `fusebox-proxy redirect`: the rules by which the kernel sends an application's connections to a
//! proxy that listens with `--transparent`.
//!
//! Connections of the proxy itself, told by its user, and those to loopback stay as they are; so
//! does IPv6. Inbound connections are redirected only where a port is given: the proxy's inbound
//! listener must then listen on the address that callers use.

use clap::{Parser, ValueEnum};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

/// Prints or installs the rules that send an application's connections to its proxy.
///
/// Connections of the proxy's own user and to loopback are left alone, and so is IPv6. The rules
/// belong to the network namespace in which the command runs.
#[derive(Debug, Parser)]
#[command(name = "fusebox-proxy redirect", version)]
pub struct Args {
    /// Print the rules (the default)
    #[arg(long, conflicts_with_all = ["install", "remove"])]
    print: bool,
    /// Put the rules in force; takes the right to administer the network
    #[arg(long, conflicts_with = "remove")]
    install: bool,
    /// Take the rules out of force
    #[arg(long)]
    remove: bool,
    /// Which kind of rules
    #[arg(long, value_enum, default_value_t = Tool::Nft)]
    tool: Tool,
    /// User of the proxy, by number, whose connections are not redirected [default: the user who
    /// runs this]
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// Port of the proxy's transparent listener
    #[arg(long, value_name = "PORT", default_value_t = 15_001, value_parser = clap::value_parser!(u16).range(1..))]
    outbound: u16,
    /// Port of the proxy's inbound listener, to which connections from elsewhere are sent
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    inbound: Option<u16>,
}

/// What puts the rules in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tool {
    /// nftables, as read by `nft --file -`
    Nft,
    /// iptables, as read by `iptables-restore --noflush`
    Iptables,
}

impl Args {
    /// Does what they say.
    ///
    /// # Errors
    /// If the rules cannot be put in force; in the words of the tool.
    pub fn run(&self) -> io::Result<()> {
        let rules = if self.remove { self.removal() } else { self.rules() };
        if !self.install && !self.remove {
            return io::stdout().write_all(rules.as_bytes());
        }
        let (program, arguments) = match self.tool {
            Tool::Nft => ("nft", ["--file", "-"]),
            Tool::Iptables => ("iptables-restore", ["--noflush", "--wait"]),
        };
        let failed = |error: io::Error| io::Error::other(format!("{program}: {error}"));
        let mut tool = Command::new(program);
        let tool = tool.args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut running = tool.spawn().map_err(failed)?;
        if let Some(mut stdin) = running.stdin.take() {
            stdin.write_all(rules.as_bytes()).map_err(failed)?;
        }
        let output = running.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = fusebox_proto::text::visible(said.trim());
        Err(io::Error::other(format!("{program}: {said}")))
    }

    fn uid(&self) -> u32 {
        self.uid.unwrap_or_else(|| rustix::process::getuid().as_raw())
    }

    /// The rules; put in force once more they replace themselves.
    fn rules(&self) -> String {
        let (uid, outbound) = (self.uid(), self.outbound);
        let mut rules = self.removal();
        match self.tool {
            Tool::Nft => {
                let _ = write!(
                    rules,
                    "table ip fusebox {{\n\
                     \tchain output {{\n\
                     \t\ttype nat hook output priority -100; policy accept;\n\
                     \t\tmeta skuid {uid} return\n\
                     \t\tip daddr 127.0.0.0/8 return\n\
                     \t\tmeta l4proto tcp redirect to :{outbound}\n\
                     \t}}\n"
                );
                if let Some(inbound) = self.inbound {
                    let _ = write!(
                        rules,
                        "\tchain prerouting {{\n\
                         \t\ttype nat hook prerouting priority -100; policy accept;\n\
                         \t\tip daddr 127.0.0.0/8 return\n\
                         \t\tmeta l4proto tcp redirect to :{inbound}\n\
                         \t}}\n"
                    );
                }
                rules.push_str("}\n");
            }
            Tool::Iptables => {
                let _ = write!(
                    rules,
                    "-A FUSEBOX_OUTPUT -m owner --uid-owner {uid} -j RETURN\n\
                     -A FUSEBOX_OUTPUT -d 127.0.0.0/8 -j RETURN\n\
                     -A FUSEBOX_OUTPUT -p tcp -j REDIRECT --to-ports {outbound}\n\
                     -A OUTPUT -p tcp -j FUSEBOX_OUTPUT\n"
                );
                if let Some(inbound) = self.inbound {
                    let _ = write!(
                        rules,
                        "-A FUSEBOX_INBOUND -d 127.0.0.0/8 -j RETURN\n\
                         -A FUSEBOX_INBOUND -p tcp -j REDIRECT --to-ports {inbound}\n\
                         -A PREROUTING -p tcp -j FUSEBOX_INBOUND\n"
                    );
                }
                rules.push_str("COMMIT\n");
            }
        }
        rules
    }

    /// What takes the rules out of force, whether or not they are in.
    fn removal(&self) -> String {
        match self.tool {
            Tool::Nft => "table ip fusebox\ndelete table ip fusebox\n".to_owned(),
            Tool::Iptables => {
                let end = if self.remove { "COMMIT\n" } else { "" };
                format!("*nat\n:FUSEBOX_OUTPUT - [0:0]\n:FUSEBOX_INBOUND - [0:0]\n{end}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(flags: &str) -> String {
        let words = std::iter::once("redirect").chain(flags.split_whitespace());
        Args::try_parse_from(words).expect(flags).rules()
    }

    /// Scenario: rules of both kinds, with and without an inbound port.
    /// Guarantees: the proxy's user and loopback are left alone before anything is redirected.
    #[test]
    fn what_is_redirected() {
        let nft = rules("--uid 1337 --outbound 15001");
        let at = |text: &str| nft.find(text).unwrap_or_else(|| panic!("{text} in {nft}"));
        assert!(at("meta skuid 1337 return") < at("redirect to :15001"));
        assert!(at("127.0.0.0/8 return") < at("redirect to :15001"));
        assert!(at("delete table ip fusebox") < at("chain output"));
        assert!(!nft.contains("prerouting"));
        assert!(rules("--inbound 15006").contains("redirect to :15006"));
        let iptables = rules("--tool iptables --uid 7 --inbound 15006");
        assert!(iptables.starts_with("*nat\n") && iptables.ends_with("COMMIT\n"), "{iptables}");
        assert!(iptables.contains("--uid-owner 7 -j RETURN"));
        assert!(iptables.contains("-A PREROUTING -p tcp -j FUSEBOX_INBOUND"));
    }

    /// Scenario: flags that contradict each other or name no port.
    /// Guarantees: they are refused.
    #[test]
    fn wrong_flags() {
        for flags in ["--install --remove", "--print --install", "--outbound 0", "--tool pf"] {
            let words = std::iter::once("redirect").chain(flags.split_whitespace());
            assert!(Args::try_parse_from(words).is_err(), "{flags}");
        }
    }
}
