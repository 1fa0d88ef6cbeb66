"""A small real service: `service.py NAME PORT`, configured by the environment.

REDIS   port of a redis: /stock counts in it
CALLS   URL that /order calls, with the library that LIBRARY names:
        requests (no retries), urllib3 (its own Retry), tenacity (around requests)

/slow?ms=N makes /stock wait from then on.
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


def plain():
    return requests.get(calls, timeout=5).status_code


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


CALL = {"requests": plain, "urllib3": with_urllib3, "tenacity": with_tenacity}[
    os.environ.get("LIBRARY", "requests")
]


@app.get("/order")
def order():
    try:
        status = CALL()
    except urllib3.exceptions.MaxRetryError:
        status = 503
    return {"called": status}, 200 if status < 400 else 502


waits = {"s": 0.0}


@app.get("/slow")
def slow():
    waits["s"] = int(flask.request.args["ms"]) / 1000
    return "ok"


@app.get("/stock")
def stock():
    time.sleep(waits["s"])
    return {"left": store.decr("left") if store else 0}


@app.get("/healthz")
def healthz():
    return "ok"


app.run(host="127.0.0.1", port=port, threaded=True)
