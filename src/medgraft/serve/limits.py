"""What one server takes on, and how a request beyond it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medgraft.errors import DecodeError, MedgraftError, TooManyPixelsError, UnknownKindError

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of bytes, files, time and queues; those of pixels are the decoders' own.

    file_bytes, request_bytes : of one file, and of the body of one request. held_bytes : of all
    uploads that are in memory. files : in one request. images : that wait or are worked on.
    requests : under way. explanations : under way. upload_seconds : until a body has arrived.
    seconds : from then until it is answered. header_seconds : until a request's headers have
    arrived.
    """

    file_bytes: int = 64 * MIB
    request_bytes: int = 256 * MIB
    held_bytes: int = 512 * MIB
    files: int = 64
    images: int = 256
    requests: int = 256
    explanations: int = 4
    upload_seconds: float = 60.0
    seconds: float = 30.0
    header_seconds: float = 10.0


@dataclass(eq=False)
class RequestError(MedgraftError):
    """A request is refused: what was found, the rule that it breaks, and what helps.

    status : of HTTP. code : for programs, stable.
    """

    status: int
    code: str
    value: str
    rule: str
    remedy: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code}: {self.value}; {self.rule}; {self.remedy}"

    def content(self) -> dict[str, Any]:
        """What stands in an answer under `error`."""
        return {
            "code": self.code,
            "value": self.value,
            "rule": self.rule,
            "remedy": self.remedy,
        }


def undecodable(error: DecodeError) -> RequestError:
    """Why one file has no answer; its decoder's own words are the value."""
    if isinstance(error, TooManyPixelsError):
        rule, remedy = "an image may have so many pixels and no more", "send a smaller image"
        return RequestError(413, "too_many_pixels", str(error), rule, remedy)
    if isinstance(error, UnknownKindError):
        rule = "a file must be an image of a kind that is read"
        return RequestError(415, "unknown_kind", str(error), rule, "convert it to PNG or JPEG")
    rule = "a file must be a whole image that is decoded within limits of time and memory"
    return RequestError(422, "unreadable_image", str(error), rule, "send it anew or leave it out")


def empty() -> RequestError:
    """Of a file of no bytes."""
    rule = "a file must be a whole image"
    return RequestError(422, "empty_file", "a file of 0 bytes", rule, "send its content")


def busy(value: str, rule: str) -> RequestError:
    """There is too much to do; in a second there may be less."""
    remedy = "ask again, less at a time"
    return RequestError(429, "busy", value, rule, remedy, {"Retry-After": "1"})
