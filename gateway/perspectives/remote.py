"""How the coordinator asks its perspectives: one POST over mutual TLS, on connections that are kept open.

Whatever goes wrong on the way is that perspective's failure and nothing else: no exception leaves `ask`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aiohttp

from gateway.config.perspectives import PerspectiveAddress
from gateway.perspectives.wire import (
    CONTENT_TYPE,
    MAX_ANSWER_BYTES,
    PATH,
    BadAnswer,
    plain,
    read_answer,
    write_request,
)
from policy.problems import Unavailable
from policy.validation.perspectives import PerspectiveRequest, PerspectiveResult

MAX_CONNECTIONS = 100
"""To one perspective. It refuses more validations than a few hundred anyhow."""
MAX_HEAD_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class MutualTLS:
    """The files of one side: its certificate chain and key, and the CA that the other side's certificate is of."""

    certificate_file: str
    key_file: str
    ca_file: str

    def client_context(self) -> ssl.SSLContext:
        """For the coordinator. Raises OSError, with the files in its sentence, when one cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Both ends are ours and of one age, so there is nothing to be lenient for.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(cafile=self.ca_file)
            context.load_cert_chain(self.certificate_file, self.key_file)
        except (OSError, ValueError) as exc:
            raise OSError(f"{self} cannot be used: {exc}") from exc
        return context

    def __str__(self) -> str:
        return f"the perspective certificate {self.certificate_file} with {self.key_file} and {self.ca_file}"


class Connections:
    """The open connections to all perspectives; opened when first needed, since that needs an event loop."""

    def __init__(self, tls: Callable[[], ssl.SSLContext]) -> None:
        """`tls` is asked for a context now, so that a file which cannot be used is found at start, and after
        every `renew`."""
        self._tls = tls
        self._context = tls()
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """The HTTP client, with nothing of a browser left in it."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context, limit=0, limit_per_host=MAX_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Content-Type": CONTENT_TYPE, "Accept": CONTENT_TYPE, "Accept-Encoding": "identity"},
                skip_auto_headers=("User-Agent",),
                auto_decompress=False,
                trust_env=False,
                max_line_size=MAX_HEAD_BYTES,
                max_field_size=MAX_HEAD_BYTES,
            )
        return self._session

    async def renew(self) -> None:
        """Read the files again, for connections from now on. Raises OSError; then the old ones stay."""
        self._context = self._tls()
        await self.close()

    async def close(self) -> None:
        """Close every connection; a later question opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class RemotePerspective:
    """One perspective, as the coordinator knows it."""

    def __init__(self, address: PerspectiveAddress, connections: Connections) -> None:
        self.name = address.name
        self.region = address.region
        self._url = address.url + PATH
        self._connections = connections

    async def ask(self, request: PerspectiveRequest) -> PerspectiveResult:
        """What this perspective found. Never raises: one that does not answer in time, or not properly, failed."""
        body = write_request(request)
        try:
            async with asyncio.timeout(request.deadline_seconds):
                answer = await self._post(body)
            said = read_answer(answer, self.name)
        except TimeoutError:
            return self._failed(f"no answer within {request.deadline_seconds:g} seconds")
        except BadAnswer as exc:
            return self._failed(f"the answer {exc}")
        except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as exc:
            return self._failed(f"cannot be asked: {type(exc).__name__}: {plain(str(exc), 200)}")
        return PerspectiveResult(self.name, self.region, said.success, said.problem, said.detail, said.evidence)

    async def _post(self, body: bytes) -> bytes:
        try:
            return await self._post_once(body)
        except aiohttp.ServerDisconnectedError:
            # A kept connection that the other side closed meanwhile. Asking twice does no harm: nothing changes.
            return await self._post_once(body)

    async def _post_once(self, body: bytes) -> bytes:
        session = self._connections.session()
        async with session.post(self._url, data=body, allow_redirects=False) as response:
            answer = b""
            async for part in response.content.iter_any():
                answer += part
                if len(answer) > MAX_ANSWER_BYTES:
                    response.close()
                    raise BadAnswer(f"has more than {MAX_ANSWER_BYTES} bytes")
            if response.status != 200:
                raise BadAnswer(f"is HTTP status {response.status}: {plain(answer.decode('latin-1'), 200)}")
            if response.content_type != CONTENT_TYPE:
                raise BadAnswer("is not JSON by its content type")
            return answer

    def _failed(self, detail: str) -> PerspectiveResult:
        return PerspectiveResult(self.name, self.region, False, Unavailable.kind, detail, answered=False)


def remotes(addresses: Iterable[PerspectiveAddress], connections: Connections) -> tuple[RemotePerspective, ...]:
    """The perspectives at these addresses."""
    return tuple(RemotePerspective(address, connections) for address in addresses)
