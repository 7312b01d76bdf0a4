"""Bodies: what JSON is accepted, what is refused, and that metadata comes back value for value."""

import json

import pytest
from harness.client import assert_v0_error
from harness.rawhttp import RawClient, head
from harness.server import V0

PATH = V0 + "/tickets"
MIB = 1024 * 1024


def nest(depth):
    """metadata so deep that the whole body is `depth` levels deep."""
    inner = depth - 2                    # the body and metadata are two
    return '{"title":"deep","metadata":{"a":' + "[" * inner + "]" * inner + "}}"


@pytest.mark.parametrize("body", [
    b"{", b"{\"title\":\"x\"", b"{'title':'x'}", b"{\"title\":\"x\",}", b"title=x", b"\x00", b"nul",
    b"{\"title\":\"x\"} extra", b"{\"title\":\"x\"}{\"title\":\"y\"}", b"{title:\"x\"}",
    b"{\"title\":\"x\",\"metadata\":{\"n\":NaN}}", b"{\"title\":\"x\",\"metadata\":{\"n\":01}}",
    b"{\"title\":\"x\",\"metadata\":{\"n\":1.}}", b"{\"title\":\"x\" /* c */}",
    b"{\"title\":\"a\nb\"}",
    b"{\"title\":\"\\x41\"}", b"{\"title\":\"\\u12\"}",
])
def test_text_that_is_not_json_is_invalid_json(api, body):
    assert_v0_error(api.post_raw(PATH, body), 400, "invalid_json")


@pytest.mark.parametrize("body", [b"[]", b"\"title\"", b"5", b"null", b"true",
                                  b"[{\"title\":\"x\"}]"])
def test_body_that_is_not_an_object_is_refused(api, body):
    assert_v0_error(api.post_raw(PATH, body), 400, "invalid_json", "invalid_field", "bad_request")


def test_empty_body_is_refused(api):
    assert_v0_error(api.post_raw(PATH, b""), 400, "invalid_json", "missing_required_field")


@pytest.mark.parametrize("bad", [
    b"\xff", b"\xc3", b"\xc3(", b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xc0\xaf",
    b"\xf4\x90\x80\x80", b"\x80",
])
def test_bad_utf8_is_invalid_json(api, bad):
    assert_v0_error(api.post_raw(PATH, b'{"title":"a' + bad + b'b"}'), 400, "invalid_json")
    assert_v0_error(api.post_raw(PATH, b'{"title":"x","' + bad + b'":1}'), 400, "invalid_json")


@pytest.mark.parametrize("escape", ["\\ud800", "\\udfff", "\\ud83dx", "\\ud83d\\u0041",
                                    "\\ude00\\ud83d"])
def test_lone_surrogates_are_invalid_json(api, escape):
    assert_v0_error(api.post_raw(PATH, f'{{"title":"a{escape}"}}'.encode()), 400, "invalid_json")


def test_a_surrogate_pair_is_one_character(api):
    reply = api.post_raw(PATH, b'{"title":"' + b"\\ud83d\\ude00" * 500 + b'"}')

    assert reply.status_code == 201
    assert reply.json()["ticket"]["title"] == "\U0001F600" * 500


@pytest.mark.parametrize("body", [b'{"title":"a\\u0000b"}',
                                  b'{"title":"x","description":"\\u0000"}'])
def test_the_null_character_is_refused(api, body):
    assert_v0_error(api.post_raw(PATH, body), 400, "invalid_json", "invalid_field")


@pytest.mark.parametrize("body", [
    '{"title":"a","title":"b"}', '{"title":"a","titl\\u0065":"b"}',
    '{"title":"a","metadata":{"k":1,"k":1}}', '{"title":"a","metadata":{"l":[{"k":1,"k":2}]}}',
    '{"title":"a","unknown":1,"unknown":2}',
])
def test_duplicate_keys_are_invalid_json_at_any_depth(api, body):
    assert_v0_error(api.post_raw(PATH, body.encode()), 400, "invalid_json")


def test_64_levels_are_accepted_and_65_refused(api):
    assert api.post_raw(PATH, nest(64).encode()).status_code == 201
    assert_v0_error(api.post_raw(PATH, nest(65).encode()), 400, "invalid_json")


def test_half_a_million_brackets_are_refused_and_do_no_harm(api):
    assert_v0_error(api.post_raw(PATH, b"[" * 500000), 400, "invalid_json")
    assert_v0_error(api.post_raw(PATH, b'{"a":' * 100000), 400, "invalid_json")

    api.create_v0("still here")


def test_white_space_and_escapes_are_json(api):
    body = b' \r\n\t{ "t\\u0069tle" : "\\/ \\u00e4 \\n" , "metadata" : { } }\n '

    assert api.post_raw(PATH, body).json()["ticket"]["title"] == "/ \u00e4 \n"


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8",
                                  "Application/JSON;charset=UTF-8", "text/plain",
                                  "application/x-www-form-urlencoded"])
def test_json_is_accepted_under_any_content_type(api, kind):
    assert api.post_raw(PATH, b'{"title":"x"}', content_type=kind).status_code == 201


# --- size ----------------------------------------------------------------------------------------


def sized(size):
    """A body of exactly `size` bytes."""
    body = b'{"title":"big","unknown":""}'
    return body[:-2] + b"x" * (size - len(body)) + body[-2:]


def test_a_body_of_one_mebibyte_is_accepted_and_one_byte_more_is_not(api):
    assert api.post_raw(PATH, sized(MIB)).status_code == 201
    assert_v0_error(api.post_raw(PATH, sized(MIB + 1)), 413, "payload_too_large")


@pytest.mark.parametrize("field,value", [
    ("description", "x" * 300000), ("category", "x" * 3000),
    ("metadata", {"k": "x" * 300000}),
])
def test_every_field_has_a_bound(api, field, value):
    assert_v0_error(api.post(PATH, {"title": "x", field: value}), 400, "invalid_field")


def test_a_far_too_large_length_is_answered_before_the_body_arrives(api):
    with RawClient(api.server) as raw:
        raw.send(head("POST", PATH, api.token, "Content-Type: application/json",
                      f"Content-Length: {32 * MIB}"))
        reply = raw.read_reply(5)

        assert reply.status == 413
        assert json.loads(reply.body)["error"] == "payload_too_large"
        assert raw.wait_closed(5)


def test_a_too_large_chunked_body_is_413(api):
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with RawClient(api.server) as raw:
        raw.send(head("POST", PATH, api.token, "Content-Type: application/json",
                      "Transfer-Encoding: chunked"))
        for _ in range(20):
            if not raw.send(chunk):
                break
        raw.send(b"0\r\n\r\n")
        reply = raw.read_reply(5)

    assert reply.status == 413
    assert json.loads(reply.body)["error"] == "payload_too_large"
    api.create_v0("still here")


def test_a_chunked_body_is_accepted(api):
    parts = [b'{"ti', b'tle":"in ', b'pieces \xc3', b'\xa4"}']

    reply = api.post_raw(PATH, iter(parts))

    assert reply.status_code == 201
    assert reply.json()["ticket"]["title"] == "in pieces \u00e4"


# --- metadata ------------------------------------------------------------------------------------

VALUES = [
    "91.563", "1.0", "-0.5", "1e-7", "1e21", "5e-324", "1.7976931348623157e308", "0.1",
    "0.30000000000000004", "100.0", "1e2", "123456789.123456789", "0", "-1", "9007199254740993",
    "9223372036854775807", "-9223372036854775808", "true", "false", "null", '""', "[]", "{}",
    '"\\u0001\\u001f\\u007f\\u2028\\""', '"\U0001F469\u200D\U0001F4BB \u05e9 \u0301"',
    '[1, [2, [3, {"a": [null]}]]]', '{"": 1, " ": 2, "a.b": 3, "\\u00e4": 4, "$ref": "#"}',
]


def same(a, b):
    """Equal in value and in kind: 1, 1.0 and true are three things."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("text", VALUES)
def test_metadata_comes_back_value_for_value(api, text):
    sent = json.loads(text)

    made = api.post_raw(PATH, f'{{"title":"m","metadata":{{"v":{text}}}}}'.encode())

    assert made.status_code == 201, made.text
    ticket = made.json()["ticket"]
    assert same(ticket["metadata"], {"v": sent})
    assert same(api.get_v0(ticket["id"])["metadata"], {"v": sent})
    again = api.get(f"/v1/tickets/{ticket['id']}").json()["metadata"]
    assert same(again, {"v": sent})


def test_metadata_numbers_are_written_as_people_write_them(api):
    made = api.create_v0(metadata={"price": 91.563, "tenth": 0.1})

    assert '"price":91.563' in api.get(f"{PATH}/{made['id']}").text.replace(" ", "")
    assert '"tenth":0.1' in api.get(f"{PATH}/{made['id']}").text.replace(" ", "")


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809",
                                    "123456789012345678901234567890", "1e400", "-1e999"])
def test_numbers_that_would_change_are_refused_not_bent(api, number):
    reply = api.post_raw(PATH, f'{{"title":"m","metadata":{{"v":{number}}}}}'.encode())

    assert_v0_error(reply, 400, "invalid_json", "invalid_field")


def test_metadata_with_a_thousand_keys_keeps_their_order(api):
    sent = {f"key {i * 7919 % 1000}": i for i in range(1000)}

    assert same(api.get_v0(api.create_v0(metadata=sent)["id"])["metadata"], sent)
