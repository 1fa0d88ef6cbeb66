"""A small real service: `service.py NAME PORT`, configured by the environment.

REDIS   port of a redis: /stock counts in it
CALLS   URL that /order calls, with the library that LIBRARY names:
        requests (no retries), urllib3 (its own Retry), tenacity (around requests)

/set?KNOB=VALUE changes from then on, and /set without any puts back:
library      as LIBRARY
timeout_ms   how long `requests` waits for an answer
each         /order calls so many things, one after the other, by their numbers
wait_ms      /stock waits
status       what /order and /stock answer
"""
import os
import sys
import time

import flask
import redis
import requests
import tenacity
import urllib3

name, port = sys.argv[1], int(sys.argv[2])
app = flask.Flask(name)
calls = os.environ.get("CALLS")
store = redis.Redis(port=int(os.environ["REDIS"])) if "REDIS" in os.environ else None


START = {
    "library": os.environ.get("LIBRARY", "requests"),
    "timeout_ms": 5000,
    "each": 0,
    "wait_ms": 0,
    "status": 200,
}
knobs = dict(START)


def plain(url=calls):
    try:
        return requests.get(url, timeout=knobs["timeout_ms"] / 1000).status_code
    except requests.exceptions.Timeout:
        return 504


POOL = urllib3.PoolManager()
RETRY = urllib3.Retry(total=3, status_forcelist=[502, 503, 504])


def with_urllib3():
    return POOL.request("GET", calls, retries=RETRY).status


def answer_of_last(state):
    return state.outcome.result() if not state.outcome.failed else 599


@tenacity.retry(
    stop=tenacity.stop_after_attempt(4),
    retry=tenacity.retry_if_result(lambda status: status >= 500),
    retry_error_callback=answer_of_last,
)
def with_tenacity():
    return requests.get(calls, timeout=5).status_code


CALL = {"requests": plain, "urllib3": with_urllib3, "tenacity": with_tenacity}


def ask():
    if knobs["each"]:
        return max(plain(f"{calls}/{nth}") for nth in range(knobs["each"]))
    return CALL[knobs["library"]]()


@app.get("/order")
def order():
    if knobs["status"] != 200:
        return "", knobs["status"]
    try:
        status = ask()
    except urllib3.exceptions.MaxRetryError:
        status = 503
    return {"called": status}, 200 if status < 400 else 502


@app.get("/set")
def set_knobs():
    given = {knob: type(START[knob])(value) for knob, value in flask.request.args.items()}
    knobs.update(given or START)
    return "ok"


@app.get("/stock")
@app.get("/stock/<int:nth>")
def stock(nth=0):
    time.sleep(knobs["wait_ms"] / 1000)
    return {"left": store.decr("left") if store else nth}, knobs["status"]


@app.get("/healthz")
def healthz():
    return "ok"


app.run(host="127.0.0.1", port=port, threaded=True)
