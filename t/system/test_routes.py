"""What a route of the site can say: who answers, what is sent on, what a page's address is made of."""

import subprocess

import pytest
from harness import DAEMON
from origin import response
from test_site import FRESH, Site


@pytest.fixture
def routes(tmp_path):
    """Sites whose first routes are given and whose last one leads to the origin."""
    made = []

    def make(answer, before="", **options):
        made.append(Site(tmp_path / str(len(made)), answer, before=before, **options))
        return made[-1]

    yield make
    for each in made:
        each.__exit__()


def plain(request, _):
    return response(request.path, **FRESH)


def test_a_route_answers_by_itself(routes):
    s = routes(plain, before="""
        {{ path = "/old/"; target = "answer"; answer_status = 301; answer_type = "";
           set_response = [ "Location: /new/" ]; }},
        {{ path = "/robots.txt"; target = "answer"; answer_body = "User-agent: *"; }},""")
    status, headers, body = s.ask("/old/x")
    assert (status, headers["Location"], headers["Content-Type"], body) == (301, "/new/", None, b"")
    status, headers, body = s.ask("/robots.txt")
    assert (status, headers["Content-Type"], body) == (200, "text/plain; charset=utf-8", b"User-agent: *")
    status, headers, body = s.ask("/robots.txt", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "13", b"")
    assert s.ask("/else")[2] == b"/else"
    assert s.origin.paths() == ["/else"]
    # Several on one connection: the answer's end is where it says.
    got = s.raw(b"GET /robots.txt HTTP/1.1\r\nHost: a\r\n\r\n"
                b"GET /robots.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert got.count(b"User-agent: *") == 2


def test_routes_to_the_api(routes, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    s = routes(plain, top=f'api_token_file = "{token}";', before="""
        {{ path = "/v1/stats"; target = "admin"; }},
        {{ path = "/v1/"; target = "api"; methods = [ "GET", "PUT" ]; }},""")
    key = "/v1/caches/default/entries/k"
    bearer = {"Authorization": "Bearer secret"}
    assert s.ask(key)[0] == 401
    assert s.ask(key, "PUT", body=b"v" * 100000, headers=bearer)[0] in (201, 204)
    assert s.ask(key, headers=bearer)[2] == b"v" * 100000
    status, headers, _ = s.ask(key, "DELETE", headers=bearer)
    assert (status, headers["Allow"]) == (405, "GET, PUT")
    assert s.ask(key, "PUT", body=b"v", headers={"Authorization": "Bearer wrong"})[0] == 401
    # An admin route knows clients of this machine, and those that a proxy passed on from elsewhere.
    assert s.ask("/v1/stats")[0] == 200
    assert s.ask("/v1/stats", headers={"X-Forwarded-For": "6.6.6.6"})[0] == 401
    # The site is there as before, on the same connection too.
    got = s.raw(b"PUT /v1/caches/default/entries/p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
                b"Authorization: Bearer secret\r\n\r\nhello"
                b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n"
                b"GET /v1/caches/default/entries/p HTTP/1.1\r\nHost: localhost\r\n"
                b"Authorization: Bearer secret\r\nConnection: close\r\n\r\n")
    assert got.endswith(b"\r\n\r\nhello")
    assert b"\r\n\r\n/page" in got
    assert s.origin.paths() == ["/page"]


def test_a_body_for_the_api_has_its_limit(routes):
    s = routes(plain, before='{{ path = "/v1/"; target = "admin"; }},', top='limits = {{ value = "64K"; }};')
    path = "/v1/caches/default/entries/k"
    chunk = b"x" * 60000
    got = s.raw(b"PUT " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                + 2 * (b"%x\r\n" % len(chunk) + chunk + b"\r\n") + b"0\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 413 ")
    assert s.ask(path, "PUT", body=chunk)[0] in (201, 204)
    assert s.ask(path, "PUT", body=b"y", headers={"Expect": "100-continue"})[0] in (201, 204)
    assert s.ask(path)[2] == b"y"


def test_methods(routes):
    s = routes(plain, route='methods = [ "GET" ];')
    assert s.ask("/")[0] == 200
    for method in ("POST", "HEAD", "PURGE"):
        status, headers, _ = s.ask("/", method)
        assert (status, headers["Allow"]) == (405, "GET")
    assert len(s.origin.requests) == 1


def test_fields_of_the_request(routes):
    def answer(request, _):
        return response(request.headers.get("cookie", "-"), Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT")

    s = routes(answer, route='set_request = [ "X-Tier: edge" ]; remove_request = [ "cookie", "X-In*" ];')
    sent = {"Cookie": "id=1", "X-Internal": "1", "X-Tier": "mine", "X-Other": "2"}
    assert s.ask("/", headers=sent)[2] == b"-"
    got = s.origin.requests[0].headers
    assert (got["x-tier"], got["x-other"]) == ("edge", "2")
    assert "x-internal" not in got and "cookie" not in got
    # What the origin was not told cannot have shaped the page.
    assert "hit" in s.ask("/", headers=sent)[1]["Cache-Status"]


@pytest.mark.parametrize("size", [100, 2_000_000])  # a copy, and sent from where it lies
def test_fields_of_the_response(routes, size):
    def answer(request, _):
        return response("x" * size, ETag='"e"', X_Powered_By="PHP", X_Keep="1", Cache_Control="max-age=60")

    s = routes(answer, route='set_response = [ "X-Frame-Options: DENY", "Cache-Control: no-cache" ]; '
                             'remove_response = [ "x-powered-*" ];')
    for headers, status in (({}, 200), ({}, 200), ({"If-None-Match": '"e"'}, 304), ({"Range": "bytes=0-1"}, 206)):
        got = s.ask("/", headers=headers)
        assert got[0] == status
        assert got[1].get_all("Cache-Control") == ["no-cache"]
        assert (got[1]["X-Frame-Options"], got[1]["X-Keep"], got[1]["X-Powered-By"]) == ("DENY", "1", None)
        assert len(got[2]) == {200: size, 304: 0, 206: 2}[status]
    assert len(s.origin.requests) == 1


def test_fields_that_are_ignored(routes):
    def answer(request, _):
        return response("x", Set_Cookie="a=b", Cache_Control="no-store", Vary="*", X_Keep="1")

    s = routes(answer, route='ttl = "1m"; ignore_headers = [ "Set-Cookie", "cache-control", "Vary" ];')
    s.ask("/")
    status, headers, _ = s.ask("/")
    assert "hit" in headers["Cache-Status"]
    assert (headers["Set-Cookie"], headers["Cache-Control"], headers["Vary"], headers["X-Keep"]) == \
        (None, None, None, "1")


def test_ttl_by_status(routes):
    statuses = {"/gone": "410 Gone", "/missing": "404 Not Found", "/broken": "503 Service Unavailable",
                "/ok": "200 OK", "/said": "404 Not Found"}

    def answer(request, _):
        headers = {"Cache_Control": "max-age=0"} if request.path == "/said" else {}
        return response("x", status=statuses[request.path], **headers)

    s = routes(answer, route='status_ttl = [ "404 410: 1m", "5xx: 1m" ];')
    for path in statuses:
        s.ask(path)
        hit = "hit" in s.ask(path)[1]["Cache-Status"]
        assert hit == (path not in ("/ok", "/said")), path


def test_cookies_and_parameters_of_the_key(routes):
    def answer(request, _):
        return response(request.path + " " + request.headers.get("cookie", "-"), **FRESH)

    s = routes(answer, route='key_cookies = [ "lang" ]; key_query = [ "id" ];')
    assert s.ask("/?id=1&x=1", headers={"Cookie": "lang=de; s=1"})[2] == b"/?id=1&x=1 lang=de; s=1"
    assert s.ask("/?x=2&id=1", headers={"Cookie": "s=2; lang=de"})[2] == b"/?id=1&x=1 lang=de; s=1"
    assert s.ask("/?id=1", headers={"Cookie": "lang=fr"})[2] == b"/?id=1 lang=fr"
    assert s.ask("/?id=1", headers={"Cookie": "lang="})[2] == b"/?id=1 lang="
    assert s.ask("/?id=1")[2] == b"/?id=1 -"
    assert s.ask("/?id=2", headers={"Cookie": "lang=de"})[2] == b"/?id=2 lang=de"
    assert len(s.origin.requests) == 5
    # A purge of the address takes all of them, and no other address.
    assert s.ask("/v1/caches/http/purge?url=http%3A%2F%2F127.0.0.1:" + str(s.daemon.port) + "%2F%3Fid%3D1",
                 "POST", port=s.admin)[0] == 200
    s.ask("/?id=1", headers={"Cookie": "lang=de"})
    s.ask("/?id=1", headers={"Cookie": "lang=fr"})
    assert len(s.origin.requests) == 7
    s.ask("/?id=2", headers={"Cookie": "lang=de"})
    assert len(s.origin.requests) == 7


def test_bypass(routes):
    s = routes(plain, route='bypass_headers = [ "X-No*" ]; bypass_query = [ "preview" ];')
    for headers, path in (({"X-Nothing": "1"}, "/"), ({}, "/?preview"), ({}, "/?a=1&preview=2")):
        for _ in range(2):
            assert "fwd=bypass" in s.ask(path, headers=headers)[1]["Cache-Status"]
    s.ask("/?a=preview")
    assert "hit" in s.ask("/?a=preview")[1]["Cache-Status"]


@pytest.mark.parametrize("route, complaint", [
    ('target = "answer"; origin = [ "http://a" ];', 'has a meaning with target = "origin" only'),
    ('path = "/x";', "origin: is missing"),
    ('origin = [ "http://a" ]; set_request = [ "Host: b" ];', "host is written by the proxy itself"),
    ('origin = [ "http://a" ]; set_response = [ "no colon" ];', 'a header field is written "Name: value"'),
    ('origin = [ "http://a" ]; status_ttl = [ "404" ];', "a rule is written"),
    ('origin = [ "http://a" ]; methods = [ "G ET" ];', "has no name of a method"),
])
def test_what_is_wrong_is_refused(tmp_path, route, complaint):
    file = tmp_path / "c.conf"
    file.write_text(f"routes = ( {{ {route} }} );")
    done = subprocess.run([DAEMON, "-t", "-c", str(file)], capture_output=True, text=True)
    assert done.returncode != 0 and complaint in done.stderr, done.stderr
