"""Tests which requests are answered, by their Host, Origin and token."""

import pytest
from harness import web
from starlette.responses import PlainTextResponse

from kits_tf.web.guard import Guard

SECRET = "s3cret"


def client(host="127.0.0.1", names=(), token=None):
    return web.Client(Guard(PlainTextResponse("answered"), host, names, token))


def is_answered(guarded, path="/api/scans", **headers):
    answer = guarded.get(path, headers=headers)
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    if answer.status_code == 200:
        return True
    assert answer.status_code == 403 and list(answer.json()) == ["detail"]
    return False


@pytest.mark.parametrize(("host", "expected"), [
    ("127.0.0.1:8080", True), ("localhost:8080", True), ("LOCALHOST", True), ("[::1]:8080", True), ("localhost.", True),
    ("evil.example", False), ("evil.example:8080", False), ("127.0.0.1.evil.example", False), ("192.168.1.5", False),
    ("localhost@evil.example", False), ("evil.example/localhost", False), ("localhost:x", False), ("", False)])
def test_the_host_must_be_a_name_of_the_server(host, expected):
    assert is_answered(client(), Host=host) == expected
    assert is_answered(client(), "/", Host=host) == expected


@pytest.mark.parametrize(("origin", "expected"), [
    ("http://127.0.0.1:8080", True), ("http://localhost:8080", True), ("http://localhost:3000", False),
    ("http://localhost", False), ("https://evil.example", False), ("http://evil.example:8080", False), ("null", False),
    ("file://", False), ("", False), ("http://localhost:8080.evil.example", False)])
def test_the_origin_must_be_the_page(origin, expected):
    assert is_answered(client(), Host="127.0.0.1:8080", Origin=origin) == expected


def test_the_name_of_a_reverse_proxy_is_answered_if_it_was_given():
    headers = {"Host": "scans.example.org", "Origin": "https://scans.example.org"}
    assert not is_answered(client(), **headers)
    assert is_answered(client(names=["Scans.example.org"]), **headers)
    assert not is_answered(client(names=["scans.example.org"]), Host="scans.example.org",
                           Origin="https://scans.example.org:444")


def test_a_server_on_every_address_answers_to_the_address_that_was_called():
    guarded = client("0.0.0.0", token=SECRET)  # httpx calls it as 127.0.0.1, and it lies in scope["server"]
    allowed = {"Authorization": f"Bearer {SECRET}"}
    assert is_answered(guarded, Host="127.0.0.1", **allowed)
    assert not is_answered(guarded, Host="evil.example", **allowed)
    called = web.Client(Guard(PlainTextResponse("answered"), "0.0.0.0", (), SECRET), "http://10.1.2.3:8080")
    assert is_answered(called, **allowed)


@pytest.mark.parametrize("given", [
    None, "", "Bearer", "Bearer wrong", f"Basic {SECRET}", SECRET, "Bearer s3cre", f"Bearer {SECRET}é"])
@pytest.mark.parametrize("path", ["/api/scans", "/api", "/api/"])
def test_every_call_needs_the_token(given, path):
    headers = {} if given is None else {"Authorization": given.encode()}
    assert not is_answered(client(token=SECRET), path, **headers)


def test_with_the_token_calls_are_answered_and_the_page_without():
    assert is_answered(client(token=SECRET), Authorization=f"Bearer {SECRET}")
    assert is_answered(client(token=SECRET), Authorization=f"bearer  {SECRET}")
    assert is_answered(client(token=SECRET), "/")
