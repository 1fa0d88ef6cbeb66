//! What the own machine says about names: `/etc/hosts` and `/etc/resolv.conf`.

use resolv_conf::{Config, ScopedIp};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// The port of name servers.
const PORT: u16 = 53;
/// No more of a file is read.
const FILE_LEN_MAX: u64 = 1 << 20;
/// As in libc: no server gets more time, and no more rounds are made.
const TIMEOUT_S_MAX: u32 = 30;
const ATTEMPTS_MAX: u32 = 5;
/// Lines of `/etc/hosts` with the same name.
const LISTED_MAX: usize = 256;

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// Names and their addresses.
    pub(super) hosts: PathBuf,
    /// Name servers, and how they are asked.
    pub(super) conf: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), conf: "/etc/resolv.conf".into() }
    }
}

/// What they say. A file that is not there says nothing.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    hosts: String,
    conf: Config,
    /// Those of the operator hold against those of the file.
    pub(super) servers: Vec<SocketAddr>,
    /// Whether the system's resolver may be asked for what those do not know.
    pub(super) is_system_asked: bool,
}

impl Machine {
    /// Reads `files`, where the operator named these `servers`, or none.
    pub(super) async fn read(files: &Files, servers: &[SocketAddr]) -> Self {
        let (hosts, conf) = tokio::join!(text(&files.hosts), text(&files.conf));
        Self::new(hosts, &conf, servers)
    }

    pub(super) fn new(hosts: String, conf: &str, servers: &[SocketAddr]) -> Self {
        // Lines that are not understood are passed over, as libc does.
        let (mut conf, _) = Config::parse_with_errors(conf.as_bytes());
        conf.glibc_normalize();
        let is_system_asked = servers.is_empty();
        let servers = if is_system_asked {
            conf.nameservers.iter().map(server).collect()
        } else {
            servers.to_vec()
        };
        Self { hosts, conf, servers, is_system_asked }
    }

    /// Addresses of `name` in `/etc/hosts`.
    pub(super) fn listed(&self, name: &str) -> Vec<IpAddr> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let of_line = |line: &str| {
            let mut words = line.split('#').next()?.split_ascii_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
        };
        self.hosts.lines().filter_map(of_line).take(LISTED_MAX).collect()
    }

    /// Names, from the root on, that `name` may stand for, in the order in which they are tried.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let below = |domain: &String| {
            let domain = domain.trim_matches('.');
            if domain.is_empty() { name.to_owned() } else { format!("{name}.{domain}") }
        };
        let mut all: Vec<String> = self.conf.get_last_search_or_domain().map(below).collect();
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let first = dots >= self.conf.ndots as usize;
        all.insert(if first { 0 } else { all.len() }, name.to_owned());
        all
    }

    /// How long a server may take.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.conf.timeout.clamp(1, TIMEOUT_S_MAX).into())
    }

    /// How often each server is asked.
    pub(super) fn attempts(&self) -> u32 {
        self.conf.attempts.clamp(1, ATTEMPTS_MAX)
    }

    /// Whether datagrams are not wanted.
    pub(super) const fn is_tcp_only(&self) -> bool {
        self.conf.use_vc
    }

    /// Whether IPv6 addresses are wanted.
    pub(super) const fn wants_ipv6(&self) -> bool {
        !self.conf.no_aaaa
    }
}

fn server(ip: &ScopedIp) -> SocketAddr {
    match ip {
        ScopedIp::V6(ip, Some(scope)) => {
            let index = scope.parse().unwrap_or_else(|_| interface(scope));
            SocketAddrV6::new(*ip, PORT, 0, index).into()
        }
        ip => SocketAddr::new(IpAddr::from(ip.clone()), PORT),
    }
}

/// The number of an interface; 0: there is none of that name.
fn interface(name: &str) -> u32 {
    if name.contains('/') {
        return 0;
    }
    let index = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex"));
    index.ok().and_then(|index| index.trim().parse().ok()).unwrap_or(0)
}

/// As much of a file as counts.
async fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = tokio::fs::File::open(path).await {
        // What was read before an error is as good as nothing else.
        let _ = file.take(FILE_LEN_MAX).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a hosts file with comments, several lines of a name, IPv6, and nonsense.
    /// Guarantees: all addresses of the name are found, whatever its case and a final dot; others not.
    #[test]
    fn hosts() {
        let hosts = "127.0.0.1 localhost\n::1\tlocalhost ip6-localhost # loopback\n\
                     10.0.0.1 inventory inventory.local\nnonsense inventory\n#10.0.0.9 inventory\n\
                     10.0.0.2 Inventory\n10.0.0.3 # inventory\n\n";
        let machine = Machine::new(hosts.to_owned(), "", &[]);
        let check = |name: &str, expected: &[&str]| {
            let found: Vec<_> = machine.listed(name).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{name}");
        };
        check("localhost", &["127.0.0.1", "::1"]);
        check("inventory", &["10.0.0.1", "10.0.0.2"]);
        check("INVENTORY.local.", &["10.0.0.1"]);
        check("stock", &[]);
        check("", &[]);
    }

    /// Scenario: files of `resolv.conf`: none, as on a host, as in a pod, with excess and nonsense; and
    /// an operator's own server.
    /// Guarantees: servers, search, dots, timeouts and attempts are those of the file, within libc's
    /// bounds; the operator's server holds instead, and then the system is not asked.
    #[test]
    fn resolv_conf() {
        let of = |conf: &str| Machine::new(String::new(), conf, &[]);
        let none = of("");
        assert_eq!((none.servers.len(), none.is_system_asked), (0, true));
        assert_eq!((none.timeout(), none.attempts()), (Duration::from_secs(5), 2));
        assert_eq!(none.candidates("a"), ["a"]);

        let pod = "nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local\n\
                   options ndots:2 timeout:99 attempts:9 use-vc no-aaaa\n";
        let pod = of(pod);
        assert_eq!(pod.servers, ["10.96.0.10:53".parse().unwrap()]);
        assert_eq!((pod.timeout(), pod.attempts()), (Duration::from_secs(30), 5));
        assert!(pod.is_tcp_only() && !pod.wants_ipv6());
        let below = ["a.shop.svc.cluster.local", "a.svc.cluster.local", "a"];
        assert_eq!(pod.candidates("a"), below);
        assert_eq!(pod.candidates("a.b.c")[0], "a.b.c");
        assert_eq!(pod.candidates("a.b.c").len(), 3);
        assert_eq!(pod.candidates("a."), ["a"]);

        let many = of("nameserver 10.0.0.1\nnonsense\nnameserver fe80::1%7\nnameserver x\n\
                       nameserver 10.0.0.3\nnameserver 10.0.0.4\noptions timeout:0\n");
        let servers: Vec<_> = many.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[fe80::1%7]:53", "10.0.0.3:53"]);
        assert_eq!(many.timeout(), Duration::from_secs(1));

        let own = "127.0.0.1:5300".parse().unwrap();
        let given = Machine::new(String::new(), "nameserver 10.0.0.1\nsearch b", &[own]);
        assert_eq!((given.servers.clone(), given.is_system_asked), (vec![own], false));
        assert_eq!(given.candidates("a"), ["a.b", "a"]);
    }
}
