"""A gRPC server, and a client that calls it through whatever is between. The client prints one JSON
line per check: what it saw, and what the server saw. No protoc: messages are bytes.

usage: grpc_calls.py PORT_TO_LISTEN_ON HOST:PORT_TO_CALL
"""

import concurrent.futures
import hashlib
import json
import queue
import sys
import threading

import grpc

PORT, TARGET = sys.argv[1:3]
LARGE = 4 << 20
SERVICE = "test.Words"
PATIENCE_S = 20
# Sizes only: nothing here makes grpcio try again, or ask another proxy of the environment.
OPTIONS = [
    ("grpc.max_receive_message_length", LARGE + 1024),
    ("grpc.max_send_message_length", LARGE + 1024),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
]
STATUSES = {code.value[0]: code for code in grpc.StatusCode}


class Ends:
    """What the server saw of calls that end by themselves, by their name."""

    def __init__(self):
        self.lock = threading.Lock()
        self.ended = {}

    def of(self, name):
        with self.lock:
            return self.ended.setdefault(name, queue.Queue())


ENDS = Ends()


def name_of(context):
    return dict(context.invocation_metadata()).get("call", "")


def watch(context):
    """Tells of the end of the call; returns what is set then."""
    done = threading.Event()
    name = name_of(context)
    remaining_s = context.time_remaining()

    def ended():
        done.set()
        ENDS.of(name).put(remaining_s)

    context.add_callback(ended)
    return done


def echo(message, context):
    return message


def count(message, context):
    for n in range(int(message)):
        yield str(n).encode()


def join(messages, context):
    return b",".join(messages)


def chat(messages, context):
    watch(context)
    for message in messages:
        yield b"re: " + message


def wait(message, context):
    watch(context).wait(PATIENCE_S)
    return b"too late"


def fail(message, context):
    status, _, words = message.decode().partition(" ")
    context.set_trailing_metadata((("why", "test"), ("why-bin", bytes(range(256)))))
    context.abort(STATUSES[int(status)], words)


def fail_later(message, context):
    yield b"one"
    yield b"two"
    context.abort(grpc.StatusCode.DATA_LOSS, "lost the third")


def mirror_metadata(message, context):
    sent = [(key, value) for key, value in context.invocation_metadata() if key.startswith("t-")]
    context.send_initial_metadata(sent)
    context.set_trailing_metadata([("t-end", "end"), ("t-end-bin", b"\x00\xff")])
    return b""


def digest(message, context):
    return hashlib.sha256(message).digest()


def serve():
    unary, streams = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    handlers = {
        "Echo": unary(echo),
        "Count": streams(count),
        "Join": grpc.stream_unary_rpc_method_handler(join),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Wait": unary(wait),
        "Fail": unary(fail),
        "FailLater": streams(fail_later),
        "Metadata": unary(mirror_metadata),
        "Digest": unary(digest),
    }
    pool = concurrent.futures.ThreadPoolExecutor(16)
    server = grpc.server(pool, options=OPTIONS)
    handler = grpc.method_handlers_generic_handler(SERVICE, handlers)
    server.add_generic_rpc_handlers((handler,))
    assert server.add_insecure_port(f"127.0.0.1:{PORT}") == int(PORT)
    server.start()
    return server


def told(call):
    """Status, message and trailers of an ended call. An answer of trailers alone gets its date from
    the proxy, as any answer that comes without one (RFC 9110, 6.6.1)."""
    trailers = [(key, shown(value)) for key, value in call.trailing_metadata() or ()]
    trailers = [(key, value) for key, value in trailers if key != "date"]
    return {"status": call.code().value[0], "message": call.details(), "trailers": trailers}


def shown(value):
    return value.hex() if isinstance(value, bytes) else value


def failure(act):
    try:
        return {"got": shown(act())}
    except grpc.RpcError as error:
        return told(error)


class Checks:
    def __init__(self, channel):
        def path(method):
            return f"/{SERVICE}/{method}"

        def unary(method):
            return channel.unary_unary(path(method))

        self.echo, self.wait, self.fail = unary("Echo"), unary("Wait"), unary("Fail")
        self.metadata_of, self.digest = unary("Metadata"), unary("Digest")
        self.missing = unary("Missing")
        self.count = channel.unary_stream(path("Count"))
        self.fail_later = channel.unary_stream(path("FailLater"))
        self.join = channel.stream_unary(path("Join"))
        self.chat = channel.stream_stream(path("Chat"))

    def unary(self):
        answer, call = self.echo.with_call(b"hello", timeout=PATIENCE_S)
        empty = self.echo(b"", timeout=PATIENCE_S)
        return {"answer": answer.decode(), "empty": empty.decode(), **told(call)}

    def server_streaming(self):
        call = self.count(b"1000", timeout=PATIENCE_S)
        numbers = [int(message) for message in call]
        return {"in_order": numbers == list(range(1000)), **told(call)}

    def client_streaming(self):
        words = [str(n).encode() for n in range(1000)]
        answer, call = self.join.with_call(iter(words), timeout=PATIENCE_S)
        return {"in_order": answer == b",".join(words), **told(call)}

    def bidirectional_streaming(self):
        # Each word is said after the answer to the one before: nothing on the way holds it back.
        say = queue.Queue()
        call = self.chat(iter(say.get, None), timeout=PATIENCE_S)
        answers = []
        for n in range(20):
            say.put(str(n).encode())
            answers.append(next(call).decode())
        say.put(None)
        rest = [message.decode() for message in call]
        return {"answers": answers, "rest": rest, **told(call)}

    def deadline(self):
        named = (("call", "deadline"),)
        saw = failure(lambda: self.wait(b"", timeout=0.5, metadata=named))
        saw["server_had_s"] = ENDS.of("deadline").get(timeout=PATIENCE_S)
        return saw

    def cancellation(self):
        say = queue.Queue()
        named = (("call", "cancellation"),)
        call = self.chat(iter(say.get, None), metadata=named)
        say.put(b"word")
        answer = next(call).decode()
        call.cancel()
        say.put(None)
        # Without a deadline of the call's own, only the cancellation can end it.
        had_s = ENDS.of("cancellation").get(timeout=PATIENCE_S)
        status = call.code().value[0]
        return {"answer": answer, "status": status, "server_had_s": had_s}

    def error(self):
        words = "nothing at 100 %: \u2713\nnext line"
        return failure(lambda: self.fail(f"5 {words}".encode(), timeout=PATIENCE_S))

    def error_after_messages(self):
        call = self.fail_later(b"", timeout=PATIENCE_S)
        got = []
        error = failure(lambda: [got.append(message.decode()) for message in call])
        return {"got_first": got, **error}

    def unknown_method(self):
        return failure(lambda: self.missing(b"", timeout=PATIENCE_S))

    def metadata(self):
        sent = [("t-word", "a b, c"), ("t-twice", "1"), ("t-twice", "2")]
        sent.append(("t-all-bin", bytes(range(256))))
        _, call = self.metadata_of.with_call(b"", metadata=sent, timeout=PATIENCE_S)
        initial = [(key, value) for key, value in call.initial_metadata() if key[:2] == "t-"]
        return {"unchanged": sorted(initial) == sorted(sent), **told(call)}

    def large_messages(self):
        message = bytes(n % 251 for n in range(LARGE))
        there = self.digest(message, timeout=PATIENCE_S) == hashlib.sha256(message).digest()
        back = self.echo(message, timeout=PATIENCE_S) == message
        gzip = grpc.Compression.Gzip
        packed = self.echo(message, timeout=PATIENCE_S, compression=gzip) == message
        return {"there": there, "back": back, "packed": packed}

    def every_status(self):
        ended = {}
        for status in range(1, 17):
            error = failure(lambda: self.fail(f"{status} x".encode(), timeout=PATIENCE_S))
            ended[status] = error.get("status")
        return {"ended": ended}


def main():
    server = serve()
    with grpc.insecure_channel(TARGET, options=OPTIONS) as channel:
        checks = Checks(channel)
        for name in (
            "unary", "server_streaming", "client_streaming", "bidirectional_streaming", "deadline",
            "cancellation", "error", "error_after_messages", "unknown_method", "metadata",
            "large_messages", "every_status",
        ):
            print(json.dumps({"check": name, **getattr(checks, name)()}), flush=True)
    server.stop(0).wait()


main()
