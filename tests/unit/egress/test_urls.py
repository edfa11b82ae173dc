"""Reading URLs: what is called is what is written, and what could be read in two ways is refused."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.egress.errors import BlockedError
from engine.egress.urls import MAX_LENGTH, read


@pytest.mark.parametrize(
    ("text", "origin", "authority", "target"),
    [
        ("https://hooks.example.com", "https://hooks.example.com:443", "hooks.example.com", "/"),
        ("HTTPS://Hooks.Example.com/a/b?c=d", "https://hooks.example.com:443", "hooks.example.com", "/a/b?c=d"),
        ("http://receiver:8080?x=1", "http://receiver:8080", "receiver:8080", "/?x=1"),
        ("http://1.1.1.1:80/", "http://1.1.1.1:80", "1.1.1.1", "/"),
        ("https://[2606:4700:0::1111]:444/x", "https://[2606:4700::1111]:444", "[2606:4700::1111]:444", "/x"),
        (
            "https://xn--bcher-kva.example/%C3%A4",
            "https://xn--bcher-kva.example:443",
            "xn--bcher-kva.example",
            "/%C3%A4",
        ),
        ("https://_dmarc.a-b.example:65535/", "https://_dmarc.a-b.example:65535", "_dmarc.a-b.example:65535", "/"),
    ],
)
def test_a_url_is_taken_apart(text: str, origin: str, authority: str, target: str) -> None:
    url = read(text)
    assert (url.origin, url.authority, url.target) == (origin, authority, target)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the URL is none"),
        ("hooks.example.com/x", "the URL is none"),
        ("//hooks.example.com/x", "the URL is none"),
        ("https:/hooks.example.com", "the URL is none"),
        ("secret://slack_url", "scheme is neither"),
        ("ftp://hooks.example.com", "scheme is neither"),
        ("file:///etc/passwd", "scheme is neither"),
        ("gopher://hooks.example.com:25/", "scheme is neither"),
        ("https://user:s3cret@hooks.example.com/", "names a user"),
        ("https://hooks.example.com@127.0.0.1/", "names a user"),
        ("https://hooks.example.com/#part", "fragment"),
        ("https://hooks.example.com#@127.0.0.1/", "fragment"),
        ("https://hooks.example.com\\@127.0.0.1/", "character that no URL"),
        ("https://hooks.example.com /x", "character that no URL"),
        ("https://hooks.example.com/\r\nHost: x", "character that no URL"),
        ("https://hooks\t.example.com/", "character that no URL"),
        ("https://bücher.example/", "character that no URL"),
        ("https://127。0。0。1/", "character that no URL"),
        ("https://①②⑦.0.0.1/", "character that no URL"),
        ("https:///x", "no DNS name"),
        ("https://.example.com/", "no DNS name"),
        ("https://hooks..example.com/", "no DNS name"),
        ("https://hooks.example.com./", "no DNS name"),
        ("https://127.0.0.1./", "no DNS name"),
        ("https://-hooks.example.com/", "no DNS name"),
        ("https://%31%32%37.0.0.1/", "unusual spelling"),
        (f"https://{'a' * 64}.example.com/", "no DNS name"),
        (f"https://{'.'.join(['a' * 60] * 5)}/", "no DNS name"),
        ("https://2130706433/", "unusual spelling"),
        ("https://017700000001/", "unusual spelling"),
        ("https://0x7f000001/", "unusual spelling"),
        ("https://0X7F.1/", "unusual spelling"),
        ("https://0x7f.1/", "unusual spelling"),
        ("https://0177.0.0.1/", "unusual spelling"),
        ("https://127.0.0.01/", "unusual spelling"),
        ("https://127.1/", "unusual spelling"),
        ("https://127.0.1/", "unusual spelling"),
        ("https://1.2.3.4.5/", "unusual spelling"),
        ("https://256.0.0.1/", "unusual spelling"),
        ("https://a.0x/", "unusual spelling"),
        ("https://[fe80::1%25eth0]/", "no IPv6 address"),
        ("https://[fe80::1%eth0]/", "no IPv6 address"),
        ("https://[::1/", "not clear"),
        ("https://::1/", "no DNS name"),
        ("https://[]/", "no IPv6 address"),
        ("https://[1.1.1.1]/", "no IPv6 address"),
        ("https://hooks.example.com:/", "port"),
        ("https://hooks.example.com:0/", "port"),
        ("https://hooks.example.com:65536/", "port"),
        ("https://hooks.example.com:080/", "port"),
        ("https://hooks.example.com:+80/", "port"),
        ("https://hooks.example.com:80:80/", "port"),
        (f"https://hooks.example.com/{'x' * MAX_LENGTH}", "longer than"),
    ],
)
def test_a_url_that_is_unclear_is_refused_with_a_reason_and_a_remedy(text: str, reason: str) -> None:
    with pytest.raises(BlockedError, match=reason) as caught:
        read(text)
    assert caught.value.remedy
    assert "s3cret" not in str(caught.value)


@given(st.text(st.sampled_from("htps:/@#?[]%.\\aA0x1-_ 7f\n"), max_size=30))
def test_what_is_read_is_what_python_reads_in_it(rest: str) -> None:
    """The two readers agree on whatever ours lets through; in most of what is tried it refuses."""
    text = f"http://{rest}"
    try:
        url = read(text)
    except BlockedError:
        return
    parts = urlsplit(text)
    assert (parts.hostname, parts.port or 80, parts.username) == (url.host, url.port, None)
    assert (parts.path or "/") + (f"?{parts.query}" if parts.query else "") == url.target.removesuffix("?")
