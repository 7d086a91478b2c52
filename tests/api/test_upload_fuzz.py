"""Whatever is uploaded, the answer is a data set or a problem document, never a 5xx, and nothing is left."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.client import ApiClient, problem
from tests.uploads import folders, npz, zipped

GOOD = zipped(folders({"cat": 7, "dog": 7}))

texts = st.text(max_size=20) | st.sampled_from(["photos", "8", "16", "0", "-1", "1e9", "", "digits", ".."])
contents = (
    st.binary(max_size=60)
    | texts.map(lambda text: text.encode(errors="surrogatepass"))
    | st.sampled_from([GOOD, GOOD[:-30], npz(), b"PK\x05\x06" + bytes(18), b"PK\x03\x04" + bytes(40), b"PAR1PAR1"])
)
fields = st.sampled_from(["file", "name", "size", "seed"]) | texts
boundaries = st.sampled_from(["XX", "X" * 70, "a b", "--", "'"])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """(Content-Type, body): almost an upload, with what clients do differently, and then cut or changed."""
    boundary = draw(boundaries)
    body = b""
    for _ in range(draw(st.integers(0, 5))):
        body += f"--{boundary}\r\n".encode()
        field, filename = draw(fields), draw(st.none() | texts)
        named = "" if filename is None else f'; filename="{filename}"'
        head = f'Content-Disposition: form-data; name="{field}"{named}'
        head += draw(st.sampled_from(["", "", "\r\nContent-Type: image/png", "\r\nnonsense", "\nX: y", "\r\n: "]))
        body += head.encode(errors="surrogatepass") + b"\r\n\r\n" + draw(contents) + b"\r\n"
    body += f"--{boundary}--".encode() + draw(st.sampled_from([b"", b"\r\n", b"more"]))
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.integers(0, len(body)))
        body = body[:place] + draw(st.binary(max_size=5)) + body[place + draw(st.integers(0, 5)) :]
    kind = draw(st.sampled_from(["multipart/form-data; boundary=", "Multipart/Form-Data;boundary=", "multipart/"]))
    quoted = draw(st.sampled_from([boundary, f'"{boundary}"', "YY"]))
    return f"{kind}{quoted}", body


same_app = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(api: ApiClient, kind: str, body: bytes) -> None:
    answer = api.post("/v1/datasets", content=body, headers={"Content-Type": kind})
    if answer.status_code in (200, 201):
        assert api.request("DELETE", answer.headers["Location"]).status_code == 204
    else:
        assert problem(answer, answer.status_code)["errors"]
        assert 400 <= answer.status_code < 500
    assert list((api.parts.settings.home / "uploads").glob("*")) == []


@same_app
@given(bodies())
def test_nothing_that_is_almost_an_upload_breaks_the_service(api: ApiClient, body: tuple[str, bytes]) -> None:
    check(api, *body)


@same_app
@given(st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=40), st.binary(max_size=100))
def test_no_bytes_break_the_service(api: ApiClient, kind: str, body: bytes) -> None:
    check(api, kind, body)


@same_app
@given(st.binary(max_size=300))
def test_no_file_breaks_the_service(api: ApiClient, content: bytes) -> None:
    head = b'--XX\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
    body = head % (b"name", b"") + b"photos\r\n" + head % (b"file", b'; filename="x"') + content + b"\r\n--XX--"
    check(api, "multipart/form-data; boundary=XX", body)
