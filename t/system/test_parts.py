"""Parts of pages: asked for alone, stored, put together, and never where that would be wrong."""

import http.client
import re
import threading
import time

import pytest
from harness import SLOW
from origin import response
from test_site import Site

PAGE = bytes(range(256)) * 40  # 10,240 bytes


def ranged(request, page=PAGE, **headers):
    """An origin that knows ranges and If-Range."""
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if not asked or ("if-range" in request.headers and request.headers["if-range"] != headers.get("ETag")):
        return response(page, **headers)
    first, last = asked.groups()
    if first == "":
        first, last = max(len(page) - int(last), 0), len(page) - 1
    first, last = int(first), min(int(last or len(page)), len(page) - 1)
    if first >= len(page):
        return response(b"", "416 Range Not Satisfiable", Content_Range=f"bytes */{len(page)}", **headers)
    return response(page[first:last + 1], "206 Partial Content", Content_Range=f"bytes {first}-{last}/{len(page)}",
                    **headers)


@pytest.fixture
def parts(tmp_path):
    made = []

    def make(route="", headers=None, **options):
        headers = {"ETag": '"e"', "Cache_Control": "max-age=600"} if headers is None else headers
        made.append(Site(tmp_path / str(len(made)), lambda request, _: ranged(request, **headers), route=route,
                         **options))
        made[-1].said = headers
        return made[-1]

    yield make
    for each in made:
        each.__exit__()


def part(s, text, **headers):
    status, got, body = s.ask("/", headers={"Range": f"bytes={text}", **headers})
    return status, got["Content-Range"], body


def expect(s, first, last, cached=None):
    before = len(s.origin.requests)
    assert part(s, f"{first}-{last}") == (206, f"bytes {first}-{last}/{len(PAGE)}", PAGE[first:last + 1])
    if cached is not None:
        assert (len(s.origin.requests) == before) == cached


def test_a_part_is_asked_for_and_stored(parts):
    s = parts()
    expect(s, 100, 199, cached=False)
    assert s.origin.requests[0].headers["range"] == "bytes=100-199"
    expect(s, 100, 199, cached=True)
    expect(s, 150, 160, cached=True)
    expect(s, 199, 199, cached=True)
    status, headers, _ = s.ask("/", headers={"Range": "bytes=150-150"})
    assert status == 206 and "hit" in headers["Cache-Status"]
    assert s.ask("/", headers={"Range": "bytes=150-151", "If-None-Match": '"e"'})[0] == 304
    expect(s, 199, 200, cached=False)


def test_parts_that_touch_become_one(parts):
    s = parts()
    expect(s, 100, 199)
    expect(s, 200, 299)  # after it
    expect(s, 50, 120)   # over its beginning
    expect(s, 50, 299, cached=True)
    expect(s, 0, 4999)   # around it
    expect(s, 0, 4999, cached=True)
    part(s, "-5240")     # and the rest: it is the page now
    before = len(s.origin.requests)
    status, headers, body = s.ask("/")
    assert (status, body, headers["Content-Range"]) == (200, PAGE, None)
    assert "hit" in headers["Cache-Status"] and len(s.origin.requests) == before
    expect(s, 7, 9000, cached=True)


def test_a_gap_is_not_filled_with_anything(parts):
    s = parts()
    expect(s, 0, 99)
    expect(s, 200, 299)
    expect(s, 50, 250, cached=False)
    assert s.ask("/")[2] == PAGE


@pytest.mark.parametrize("stored, asked", [("0-99", "bytes=100-"), ("-40", "bytes=0-10199")])
def test_the_rest_alone_is_asked_for(parts, stored, asked):
    s = parts()
    part(s, stored)
    status, headers, body = s.ask("/")
    assert (status, body, headers["Content-Range"], headers["Content-Length"]) == (200, PAGE, None, str(len(PAGE)))
    assert "fwd=partial-miss" in headers["Cache-Status"]
    assert (s.origin.requests[1].headers["range"], s.origin.requests[1].headers["if-range"]) == (asked, '"e"')
    assert "hit" in s.ask("/")[1]["Cache-Status"]
    assert len(s.origin.requests) == 2


def test_a_page_that_changed_meanwhile(parts):
    other = PAGE[::-1]
    s = parts()
    part(s, "0-99")
    s.origin.answer = lambda request, _: ranged(request, other, ETag='"f"', Cache_Control="max-age=600")
    assert s.ask("/")[2] == other
    # Parts of two representations are never put together.
    s = parts()
    part(s, "0-99")
    s.origin.answer = lambda request, _: ranged(request, other, ETag='"f"', Cache_Control="max-age=600")
    assert part(s, "100-199")[2] == other[100:200]
    assert part(s, "0-199")[2] == other[:200]


@pytest.mark.parametrize("etag", [None, 'W/"e"'])
def test_only_a_strong_validator_puts_parts_together(parts, etag):
    s = parts(headers={"Cache_Control": "max-age=600", **({"ETag": etag} if etag else {})})
    expect(s, 0, 99, cached=False)
    expect(s, 20, 30, cached=True)
    expect(s, 100, 199, cached=False)
    expect(s, 0, 199, cached=False)
    assert s.ask("/")[2] == PAGE
    assert "range" not in s.origin.requests[-1].headers


@pytest.mark.parametrize("lie", ["bytes 0-98/10240", "bytes 0-100/10240", "bytes 0-99/*", "bytes 0-99/50", "0-99/10240",
                                 "bytes 5-99/10240", None])
def test_what_does_not_say_its_place_is_not_stored(parts, lie):
    s = parts()
    headers = {"Content_Range": lie} if lie else {}
    s.origin.answer = lambda request, _: response(PAGE[:100], "206 Partial Content", ETag='"e"',
                                                  Cache_Control="max-age=600", **headers)
    for n in (1, 2):
        assert part(s, "0-99")[0] == 206
        assert len(s.origin.requests) == n
    s.origin.answer = lambda request, _: ranged(request, ETag='"e"', Cache_Control="max-age=600")
    assert s.ask("/")[2] == PAGE


@pytest.mark.parametrize("answer", ["416", "other place", "other length"])
def test_an_origin_that_does_not_give_the_rest(parts, answer):
    s = parts()
    part(s, "0-99")

    def odd(request, _):
        if "if-range" not in request.headers:
            return ranged(request, **s.said)
        if answer == "416":
            return response(b"", "416 Range Not Satisfiable", **s.said)
        place = "bytes 200-10239/10240" if answer == "other place" else "bytes 100-10239/20000"
        return response(PAGE[200:] if answer == "other place" else PAGE[100:], "206 Partial Content",
                        Content_Range=place, **s.said)

    s.origin.answer = odd
    status, _, body = s.ask("/")
    assert (status, body) == (200, PAGE)
    assert len(s.origin.requests) == 3


def test_a_range_outside_says_nothing_of_the_page(parts):
    s = parts()
    assert part(s, "99999-")[0] == 416
    assert s.ask("/")[0] == 200
    assert part(s, "99999-")[0] == 416
    assert len(s.origin.requests) == 2


def test_parts_end_in_time_and_with_a_purge(parts):
    s = parts(headers={"ETag": '"e"', "Cache_Control": "max-age=1"})
    expect(s, 0, 99)
    time.sleep(1.2)
    expect(s, 0, 99, cached=False)
    s = parts()
    expect(s, 0, 99)
    url = f"http%3A%2F%2F127.0.0.1%3A{s.daemon.port}%2F"
    assert s.ask(f"/v1/caches/http/purge?url={url}", "POST", port=s.admin)[0] == 200
    expect(s, 0, 99, cached=False)


def test_parts_have_variants(parts):
    s = parts(headers={"ETag": '"e"', "Cache_Control": "max-age=600", "Vary": "X-Kind"})
    for _ in range(2):
        for kind in ("a", "b"):
            assert part(s, "0-9", **{"X-Kind": kind})[2] == PAGE[:10]
    assert len(s.origin.requests) == 2


def test_ranges_that_are_not_asked_for_alone(parts):
    s = parts()
    assert part(s, "0-1,5-6")[0] == 200  # several: the whole
    s = parts()
    assert part(s, "0-1", **{"If-Range": '"e"'})[0] == 206
    assert "range" not in s.origin.requests[0].headers
    s = parts(route="parts = false;")
    expect(s, 0, 99, cached=False)
    assert "range" not in s.origin.requests[0].headers
    expect(s, 5000, 5999, cached=True)


def test_a_large_page_is_passed_on_in_parts(parts):
    s = parts(route='max_object = "4K";')
    assert part(s, "5000-9999")[2] == PAGE[5000:10000]  # larger than what is stored
    assert s.origin.requests[0].headers["range"] == "bytes=5000-9999"
    s = parts(route='max_object = "4K";')
    expect(s, 0, 2999, cached=False)
    expect(s, 3000, 5999, cached=False)
    expect(s, 3000, 5999, cached=True)  # the union would be too large: the newer one stays


def test_many_ask_for_all_while_a_part_is_there(parts):
    s = parts(workers=2)
    expect(s, 0, 99)
    known = s.origin.answer

    def slow(request, connection):
        time.sleep(0.5)
        return known(request, connection)

    s.origin.answer = slow
    got = []
    threads = [threading.Thread(target=lambda: got.append(s.ask("/")[2])) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [PAGE] * 40
    # One to complete it; another only where a worker looked between the part's going and the lease.
    assert 2 <= len(s.origin.requests) <= 3


def test_a_client_that_leaves(parts):
    s = parts()
    connection = http.client.HTTPConnection("127.0.0.1", s.daemon.port, timeout=30 * SLOW)
    connection.request("GET", "/", headers={"Range": "bytes=0-99"})
    connection.close()
    expect(s, 0, 99)
    expect(s, 10, 20, cached=True)
