"""The files of a multipart request, in memory and nowhere else.

Starlette's own parser keeps files of more than a megabyte in temporary files; an upload may show a
patient and must not reach a disk. So the parser beneath it is used, python-multipart, and limits
are held while bytes arrive. The names that files have are not even read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from medgraft.serve.limits import MIB, Limits, RequestError, busy

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks
    from starlette.requests import Request

FIELD = "files"
LONGEST_FIELD = 100  # letters of a field's name that an error repeats


class Held:
    """Bytes of all uploads that are in memory; one event loop counts them."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes = 0

    @contextmanager
    def counted(self) -> Iterator[Held.Share]:
        """A request's share, given back when it ends."""
        share = Held.Share(self)
        try:
            yield share
        finally:
            self.bytes -= share.bytes

    class Share:
        """What one request holds."""

        def __init__(self, whole: Held) -> None:
            self.whole = whole
            self.bytes = 0

        def add(self, n: int) -> None:
            """Take so many more.

            Raises
            ------
            RequestError
                All uploads together would be more than there is room for.
            """
            if self.whole.bytes + n > self.whole.most:
                most = self.whole.most // MIB
                raise busy(f"uploads of {most:,} MiB are in memory", "there is room for no more")
            self.bytes += n
            self.whole.bytes += n


async def read_files(request: Request, limits: Limits, share: Held.Share) -> list[bytes]:
    """The content of each file of the field `files`, in order, at least one.

    Raises
    ------
    RequestError
        It is no multipart form, broken, larger than the limits, slow, or of another field.
    starlette.requests.ClientDisconnect
        The client went before it was complete.
    """
    form = _Form(limits)
    parser = MultipartParser(_boundary(request), form.callbacks())
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.request_bytes:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for chunk in _bounded(request, limits, share):
                parser.write(chunk)
    except TimeoutError as error:
        raise RequestError(
            408, "slow_upload", f"the body is not there after {limits.upload_seconds:g} s",
            "a body must arrive in that time", "send fewer or smaller files at once",
        ) from error  # fmt: skip
    except FormParserError as error:
        raise _broken("what stands between two parts is not their boundary") from error
    if not form.complete:
        raise _broken("the body ends before its closing boundary")
    if not form.files:
        raise RequestError(
            422, "no_files", "a form without files", f"files come in the field {FIELD!r}",
            f"add one, as in curl --form {FIELD}=@image.png",
        )  # fmt: skip
    return form.files


async def _bounded(request: Request, limits: Limits, share: Held.Share) -> AsyncIterator[bytes]:
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limits.request_bytes:
            raise _too_large(limits)
        share.add(len(chunk))
        yield chunk


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise RequestError(
            415, "not_multipart", "a body that is no multipart/form-data",
            "files come as a multipart form", f"send them as in curl --form {FIELD}=@image.png",
        )  # fmt: skip
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:  # RFC 2046, 5.1.1
        raise _broken("its content type names no boundary of 1 to 70 characters")
    return boundary


class _Form:
    """Gathers the files while the parser tells of parts."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.files: list[bytes] = []
        self.complete = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._name = self._value = b""
        self._field = ""

    def callbacks(self) -> MultipartCallbacks:
        """By the names that python-multipart has for them."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header,
            "on_headers_finished": self._headers,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._close,
        }

    def _begin(self) -> None:
        self._chunks, self._size = [], 0
        self._name = self._value = b""
        self._field = ""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._field = options.get(b"name", b"").decode(errors="replace")
        self._name = self._value = b""

    def _headers(self) -> None:
        if self._field != FIELD:
            raise RequestError(
                422, "unknown_field", f"a field named {self._field[:LONGEST_FIELD]!r}",
                f"every part of the form is a file in the field {FIELD!r}",
                "name it so; parameters stand in the URL (?method=gradcam)",
            )  # fmt: skip
        if len(self.files) == self.limits.files:
            raise RequestError(
                413, "too_many_files", f"more than {self.limits.files} files",
                f"a request may hold {self.limits.files}", "send them in several requests",
            )  # fmt: skip

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > (most := self.limits.file_bytes):
            raise RequestError(
                413, "file_too_large", f"a file of more than {most:,} bytes",
                f"a file may have {most:,} bytes", "send a smaller image",
            )  # fmt: skip
        self._chunks.append(data[start:end])

    def _end(self) -> None:
        self.files.append(b"".join(self._chunks))
        self._chunks = []

    def _close(self) -> None:
        self.complete = True


def _too_large(limits: Limits) -> RequestError:
    return RequestError(
        413, "request_too_large", f"a body of more than {limits.request_bytes:,} bytes",
        f"a request may have {limits.request_bytes:,} bytes", "send fewer files at once",
    )  # fmt: skip


def _broken(what: str) -> RequestError:
    rule = "the body must be a whole multipart form (RFC 7578)"
    return RequestError(422, "broken_multipart", what, rule, "let an HTTP library build it")
