"""An endpoint: a server's base URL as one account sees it. The models of a run that are asked there share its connections
and its gate.

What is sent goes through the HTTP client that the SDK makes of aiohttp, which takes a third of the time of the SDK's usual
one; the SDK's request machinery is left out, since it transforms and parses what we write and read ourselves.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from arena.models.allowance import MINUTE_S
from arena.models.gate import Gate
from arena.models.retry import Failure, shortened, shown_url
from arena.models.spec import OpenAIModel

if TYPE_CHECKING:
    import httpx2
    import openai

_MANY = 1_000_000
"""No limit of connections but the places of the gate."""

Account = tuple[str, str, tuple[tuple[str, str], ...]]


class Endpoint:
    """Open connections to one server with one key. `close` it once for every `Endpoints.open` that returned it."""

    def __init__(self, spec: OpenAIModel, key: str, minute_s: float) -> None:
        """Raises ValueError for a header whose environment variable is not set."""
        import httpx2

        self.gate = Gate(minute_s)
        self._http = _http_client(spec.connect_timeout_s)
        self.client = _client(spec, key, self._http)
        """The SDK's client over the same connections, for whatever is not worth speeding up."""
        self.users = 0
        self._headers = httpx2.Headers({**self._http.headers, "authorization": f"Bearer {key}"})
        for name, value in self.headers.items():
            self._headers[name] = value
        self._query = dict(parse_qsl(urlsplit(spec.base_url).query))
        self._base = shown_url(spec.base_url).rstrip("/")

    @property
    def headers(self) -> Mapping[str, str]:
        """What is sent with every request besides the key; a header of the declaration may replace it."""
        return {name: value for name, value in self.client.default_headers.items() if isinstance(value, str)}

    async def exchange(
        self, path: str, content: bytes | None, content_type: str, connect_timeout_s: float
    ) -> httpx2.Response | Failure:
        """The server's reply to a POST (a GET where there is no content), whatever its status, read to its end; or how the way
        there or back failed.

        There is no time limit but that of connecting. Redirects are not followed.
        """
        import aiohttp
        import httpx2

        timeout = httpx2.Timeout(None, connect=connect_timeout_s).as_dict()
        url = httpx2.URL(f"{self._base}{path}", params=self._query) if self._query else f"{self._base}{path}"
        headers = self._headers
        if content is not None and content_type != "application/json":
            headers = headers.copy()
            headers["content-type"] = content_type
        method = "GET" if content is None else "POST"
        try:
            asked = httpx2.Request(method, url, headers=headers, content=content, extensions={"timeout": timeout})
            return await self._http.send(asked, follow_redirects=False)
        except (httpx2.HTTPError, httpx2.InvalidURL, aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as error:
            return failure_of_transport(error, connect_timeout_s)

    async def close(self) -> None:
        self.users -= 1
        if self.users == 0:
            await self.client.close()


class Endpoints:
    """The endpoints of a run: declarations with one base URL, key and headers get the same."""

    def __init__(self, minute_s: float = MINUTE_S) -> None:
        """`minute_s` is how long a minute of the rate limits lasts."""
        self._minute_s = minute_s
        self._open: dict[Account, Endpoint] = {}

    def open(self, spec: OpenAIModel, key: str) -> Endpoint:
        """Raises ValueError for a header whose environment variable is not set."""
        headers = sorted((name.lower(), value) for name, value in spec.resolved_headers().items())
        account = (spec.base_url.rstrip("/"), key, tuple(headers))
        endpoint = self._open.get(account)
        if endpoint is None or endpoint.client.is_closed():
            endpoint = self._open[account] = Endpoint(spec, key, self._minute_s)
        endpoint.users += 1
        return endpoint


def _http_client(connect_timeout_s: float) -> httpx2.AsyncClient:
    import httpx2
    import openai

    for name in ("httpx2", "httpcore2"):
        # They log URLs and response headers, where a key may stand.
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    # Below the 5 s after which uvicorn hangs up, so that a request rarely meets a connection that is being closed.
    limits = httpx2.Limits(max_connections=_MANY, max_keepalive_connections=_MANY, keepalive_expiry=4.0)
    return openai.DefaultAioHttpClient(limits=limits, timeout=httpx2.Timeout(None, connect=connect_timeout_s))


def _client(spec: OpenAIModel, key: str, http: httpx2.AsyncClient) -> openai.AsyncOpenAI:
    """The SDK's client: its own retries off, no time limit but ours."""
    import openai

    client = openai.AsyncOpenAI(
        api_key=key,
        base_url=shown_url(spec.base_url),
        default_query=dict(parse_qsl(urlsplit(spec.base_url).query)),
        max_retries=0,
        timeout=http.timeout,
        default_headers=spec.resolved_headers(),
        http_client=http,
    )
    if not is_openai(spec.base_url):
        # The SDK takes these from the environment and would send them to anybody's server.
        client.organization = client.project = None
    return client


def is_openai(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def failure_of_transport(error: BaseException, connect_timeout_s: float) -> Failure:
    """What went wrong on the way. The SDK's client tells a connection that broke as one that came too late: what aiohttp
    raised counts.
    """
    import aiohttp
    import httpx2

    cause: Any = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
    said = shortened(str(cause), 200) or type(cause).__name__
    if isinstance(error, httpx2.DecodingError):
        message = f"a body that is not in the encoding it claims: {said}"
        return Failure(status="error:bad_response", message=message, then="retry")
    if isinstance(cause, aiohttp.ConnectionTimeoutError | httpx2.ConnectTimeout):
        message = f"no connection within {connect_timeout_s:g} s"
        return Failure(status="error:connection", message=message, then="retry", unreached=True)
    if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError | httpx2.ConnectError):
        return Failure(status="error:connection", message=f"no connection: {said}", then="retry", unreached=True)
    if isinstance(cause, aiohttp.ServerTimeoutError | httpx2.TimeoutException):
        return Failure(status="error:timeout", message=said, then="retry")
    return Failure(status="error:connection", message=f"the connection broke: {said}", then="retry")
