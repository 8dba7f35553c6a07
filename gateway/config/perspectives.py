"""How perspectives are written in the configuration: "name=region=https://host:port". Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from policy.validation.perspectives import PRIMARY, Quorum

_ORIGIN = re.compile(r"https://(?:[a-z0-9](?:[a-z0-9.-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_REGION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?", re.ASCII)


class PerspectiveSettings(Protocol):
    """What of the section [validation] is about perspectives."""

    @property
    def perspectives(self) -> tuple[str, ...]:
        """The remote perspectives."""

    @property
    def perspective_certificate_file(self) -> str:
        """Our certificate."""

    @property
    def perspective_key_file(self) -> str:
        """Its key."""

    @property
    def perspective_ca_file(self) -> str:
        """Whom we trust."""

    @property
    def perspective_quorum(self) -> str:
        """How many have to agree."""

    @property
    def perspective_regions(self) -> int:
        """In how many regions these lie."""


@dataclass(frozen=True, slots=True)
class PerspectiveAddress:
    """One remote perspective: what it calls itself, the region it is in, and the origin at which it answers."""

    name: str
    region: str
    url: str

    @classmethod
    def parse(cls, text: str) -> PerspectiveAddress:
        """Read "name=region=https://host:port". Raises ValueError with a sentence that can be shown."""
        name, _, rest = text.partition("=")
        region, _, url = rest.partition("=")
        if not _NAME.fullmatch(name) or not _REGION.fullmatch(region) or not _ORIGIN.fullmatch(url):
            raise ValueError(f'"{text[:200]}" is not name=region=https://host:port')
        if name == PRIMARY:
            raise ValueError(f'"{PRIMARY}" is what this server calls itself; give the perspective another name')
        return cls(name, region, url)


def quorum_of(settings: PerspectiveSettings) -> Quorum:
    """The quorum that the settings ask for. Raises ValueError."""
    text = settings.perspective_quorum
    if text != "auto" and not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII):
        raise ValueError(f'"{text}" is neither "auto" nor how many perspectives have to agree')
    required = None if text == "auto" else int(text)
    return Quorum.standard(len(settings.perspectives), settings.perspective_regions, required)


def mistakes(settings: PerspectiveSettings) -> Iterator[tuple[str, str]]:
    """Key and sentence for everything that is wrong with these settings."""
    files = ("perspective_certificate_file", "perspective_key_file", "perspective_ca_file")
    missing = [name for name in files if not getattr(settings, name)]
    if missing and (settings.perspectives or len(missing) < len(files)):
        yield missing[0], f"{', '.join(files)} need each other, and perspectives need all three"
    found: list[PerspectiveAddress] = []
    for text in settings.perspectives:
        try:
            found.append(PerspectiveAddress.parse(text))
        except ValueError as exc:
            yield "perspectives", str(exc)
    for what in ("name", "url"):
        values = [getattr(one, what) for one in found]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            yield "perspectives", f"the same {what} is there twice: {', '.join(twice)}"
    try:
        quorum_of(settings)
    except ValueError as exc:
        yield "perspective_quorum", str(exc)
    regions = len({one.region for one in found})
    if found and regions < settings.perspective_regions:
        yield (
            "perspective_regions",
            f"is {settings.perspective_regions}, and the number of regions among the perspectives is {regions}",
        )
