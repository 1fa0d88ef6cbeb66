"""An application whose connections the kernel redirects to its proxy, in a network namespace of
its own. Prints what it got, and what the proxy counted, as one JSON object.

usage: unshare --net python3 transparent.py FUSEBOX_PROXY nft|iptables POLICY
"""

import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request

PROXY, TOOL, POLICY = sys.argv[1:4]
HOME = "10.9.9.9"
NOBODY = "10.9.9.10"
# Of hosts that only the policy knows.
VIRTUAL = "10.9.9.11"
ANYONE = 65534


class Named(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{self.server.name} {self.headers['host']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve_http(name, port):
    server = http.server.ThreadingHTTPServer((HOME, port), Named)
    server.name = name
    threading.Thread(target=server.serve_forever, daemon=True).start()


def serve_raw(port, greeting):
    listener = socket.create_server((HOME, port))

    def serve(stream):
        stream.sendall(greeting)
        while words := stream.recv(4096):
            stream.sendall(words)
        stream.close()

    def accept():
        while True:
            stream, _ = listener.accept()
            threading.Thread(target=serve, args=(stream,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def say(port, words, address=HOME):
    """What comes back until the other side ends."""
    with socket.create_connection((address, port), 10) as stream:
        stream.settimeout(10)
        stream.sendall(words)
        stream.shutdown(socket.SHUT_WR)
        got = b""
        while more := stream.recv(4096):
            got += more
        return got.decode()


def hear(port):
    """What a server says first."""
    with socket.create_connection((HOME, port), 10) as stream:
        stream.settimeout(10)
        return stream.recv(4096).decode()


def say_tls(port, name, address=HOME):
    """What answers to the first words of a TLS client that names a server."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    with socket.create_connection((address, port), 10) as stream:
        stream.settimeout(10)
        stream.sendall(outgoing.read())
        return stream.recv(3).decode()


def get(port, host, address=HOME):
    """The body of an answer."""
    with socket.create_connection((address, port), 10) as stream:
        stream.settimeout(10)
        head = f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        stream.sendall(head.encode())
        got = b""
        while more := stream.recv(4096):
            got += more
        return got.decode().partition("\r\n\r\n")[2]


def through_rules():
    return {
        "endpoint": get(8080, "inventory"),
        "by_host": get(80, "inventory", NOBODY),
        "unknown_host": get(8081, "elsewhere.example.com"),
        "raw": say(9000, b"ping\n"),
        "server_first": hear(9001),
        "entry_by_host": get(80, "api.example.com", NOBODY),
        "entry_at_its_endpoint": get(8082, "elsewhere.example.com"),
        "entry_named_at_anothers": get(8080, "api.example.com:80"),
        "entry_virtual": say(9100, b"ping\n", VIRTUAL),
        "entry_tls_one": say_tls(9443, "one.example.com", VIRTUAL),
        "entry_tls_two": say_tls(9443, "two.example.com", VIRTUAL),
        "entry_unresolved": get(8081, "a.wild.example.com"),
        "entry_answered": get(8081, "answered.wild.example.com"),
    }


def as_application(act):
    """Acts as another user than the proxy, and returns what it saw."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(ANYONE)
        os.setuid(ANYONE)
        os.write(writable, json.dumps(act()).encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as told:
        text = told.read()
    os.waitpid(child, 0)
    return json.loads(text)


def metrics():
    with urllib.request.urlopen("http://127.0.0.1:15000/metrics", timeout=10) as page:
        return page.read().decode()


def main():
    for command in (
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", f"{HOME}/32", "dev", "lo"],
        ["ip", "address", "add", f"{NOBODY}/32", "dev", "lo"],
        ["ip", "address", "add", f"{VIRTUAL}/32", "dev", "lo"],
    ):
        subprocess.run(command, check=True)
    serve_http("inventory", 8080)
    serve_http("other", 8081)
    serve_http("api", 8082)
    serve_raw(9000, b"")
    serve_raw(9001, b"220 ready\r\n")
    serve_raw(9002, b"one")
    serve_raw(9003, b"two")
    serve_raw(9004, b"")
    proxy = subprocess.Popen([
        PROXY, "--service", "payment", "--transparent", "--outbound", "127.0.0.1:15001",
        "--outbound", f"127.0.0.1:15002=inventory@{HOME}:8080", "--config", POLICY,
    ])
    try:
        rules = [PROXY, "redirect", "--tool", TOOL]
        subprocess.run([*rules, "--install"], check=True)
        subprocess.run([*rules, "--install"], check=True)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                metrics()
                break
            except OSError:
                time.sleep(0.05)
        saw = as_application(through_rules)
        counted = metrics()
        # Counters are those of whole seconds; one was answered by the proxy itself.
        while time.monotonic() < deadline and attempts(counted) < len(saw) - 1:
            time.sleep(0.05)
            counted = metrics()
        subprocess.run([*rules, "--remove"], check=True)
    finally:
        proxy.kill()
        proxy.wait()
    # With the proxy gone, what is still redirected is refused.
    direct = as_application(lambda: get(8080, "inventory"))
    print(json.dumps({"saw": saw, "metrics": counted, "direct": direct}))


def attempts(page):
    lines = [one for one in page.splitlines() if one.startswith("fusebox_proxy_attempts_total{")]
    return sum(int(one.rpartition(" ")[2]) for one in lines)


main()
