"""A server on this machine that answers for images. No image goes to any other."""

from __future__ import annotations

import http.client
import ipaddress
import json
import secrets
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from medgraft.errors import ForeignModelError
from medgraft.foreign.image_files import as_png, check_files
from medgraft.foreign.json_answers import FORM, read_rows
from medgraft.foreign.options import ForeignOptions
from medgraft.results.foreign_model import ForeignKind, OutputKind
from medgraft.types import Floats, Pixels

PATH = "/v1/predict"  # of medgraft serve, where the URL names none
LISTS = ("images", "predictions")  # keys under which servers give a row for each image
MOST = 16 * 1024**2  # bytes of an answer


class LoopbackServer:
    """POSTs a form of PNG files (`files`, several) to http on the loopback address.

    It answers a JSON list with a row for each file, or an object with such a list under `images` or
    `predictions`. Redirects and proxies are not followed.

    Raises
    ------
    ForeignModelError
        The URL leads elsewhere, or the size of its images was not said.
    """

    kind: ForeignKind = "url"
    batch = 16
    normalize = output = network = ""

    def __init__(self, url: str, options: ForeignOptions, classes: Sequence[str]) -> None:
        self.name, parts = url, urlsplit(url)
        try:
            self.host, self.port = parts.hostname or "", parts.port or 80
        except ValueError as error:
            raise ForeignModelError(f"{url} names no port ({error})") from error
        if parts.scheme != "http" or parts.username or parts.fragment or not is_loopback(self.host):
            raise ForeignModelError(
                f"{url} is not asked: images go to this machine alone, as "
                "http://127.0.0.1:PORT/PATH without name and password; for a server elsewhere, "
                "write a function or a command that asks it, if your images may go there"
            )
        self.path = (parts.path if parts.path not in ("", "/") else PATH) + (
            f"?{parts.query}" if parts.query else ""
        )
        self.side = options.side(f"{url} reads files")
        self.channels = check_files(options, url)
        self.classes, self.seconds = classes, options.timeout
        self.named, self.outputs = False, ""

    outputs: OutputKind | str

    def __call__(self, images: Pixels) -> Floats:
        status, kind, body = self._post([as_png(image, self.channels) for image in images])
        text = body[:200].decode(errors="replace").strip()
        if status != http.client.OK:
            raise ForeignModelError(
                f"{self.name} answered {status} {http.client.responses.get(status, '')}: {text}; "
                "look at the path, and at what its server logs"
            )
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ForeignModelError(
                f"{self.name} answered {kind or 'something'} that is no JSON ({text[:80]!r}); "
                f"{FORM}"
            ) from error
        rows = read_rows(self._listed(answer, len(images)), self.classes, self.name)
        self.named, self.outputs = rows.named, rows.outputs
        return rows.numbers

    def _listed(self, answer: Any, n: int) -> list[Any]:
        """The rows in an answer, one for each image."""
        if isinstance(answer, dict):
            answer = next((answer[key] for key in LISTS if key in answer), answer)
        if not isinstance(answer, list) or len(answer) != n:
            what = f"{len(answer)} rows" if isinstance(answer, list) else type(answer).__name__
            raise ForeignModelError(
                f"{self.name} answered {what} for {n} images; it should answer a JSON list, or "
                f"one under {' or '.join(LISTS)}, with a row for each; {FORM}"
            )
        return answer

    def _post(self, files: Sequence[bytes]) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer."""
        boundary = secrets.token_hex(16)
        body = b"".join(_part(boundary, number, data) for number, data in enumerate(files))
        body += f"--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.seconds)
        try:
            connection.connect()
            peer = connection.sock.getpeername()[0]
            if not is_loopback(peer):  # whatever a hosts file makes of localhost
                raise ForeignModelError(
                    f"{self.name} leads to {peer}, which is not this machine; no image was sent"
                )
            connection.request("POST", self.path, body, headers)
            response = connection.getresponse()
            return response.status, response.getheader("Content-Type", ""), self._read(response)
        except (OSError, http.client.HTTPException) as error:
            raise ForeignModelError(
                f"{self.name} does not answer ({error or type(error).__name__}); start its server, "
                "or look at the port; --model-timeout gives it more time"
            ) from error
        finally:
            connection.close()

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """The body, if it comes in time and is no larger than answers are."""
        ends, found = time.monotonic() + self.seconds, bytearray()
        while some := response.read1(64 * 1024):
            found += some
            if len(found) > MOST:
                raise ForeignModelError(f"{self.name} answers more than {MOST:,} bytes; {FORM}")
            if time.monotonic() > ends:
                raise TimeoutError(f"not finished after {self.seconds:g} seconds")
        return bytes(found)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its address or as localhost.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("10.0.0.1")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _part(boundary: str, number: int, data: bytes) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; '
    head += f'filename="{number}.png"\r\nContent-Type: image/png\r\n\r\n'
    return head.encode() + data + b"\r\n"
