"""Opens fsspec's file systems, so that they go nowhere but where they are told to, and says why they did not.

S3 and others take endpoint, credentials and region from their own standard variables and files.
"""

from typing import Any

import fsspec

from serving.errors import InvalidRequestError

_HTTP = ("http://", "https://")


def open_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path inside it."""
    options = {"get_client": _without_redirects} if url.startswith(_HTTP) else {}
    system, path = fsspec.core.url_to_fs(url, **options)
    return system, path


def reason(error: Exception) -> str:
    """Say what went wrong with a store, in words where the library has none."""
    if isinstance(error, PermissionError) and error.errno is None:
        return f"access is refused ({error}); check the credentials, and what they may do in this bucket"
    if type(error).__name__ == "NoCredentialsError":
        return "no credentials; give them as this kind of store expects them, such as AWS_ACCESS_KEY_ID and its secret"
    if isinstance(error, FileNotFoundError) and error.errno is None:
        return f"{error}; check the name of the bucket"
    return f"{error!r:.500}"


async def _without_redirects(**options: Any) -> Any:
    """A client that refuses to be sent elsewhere: the roots of a store say all that may be read."""
    import aiohttp  # noqa: PLC0415 - comes with the extras for object stores

    async def refuse(_session: Any, _context: Any, redirect: Any) -> None:
        where = str(redirect.response.headers.get("Location", ""))
        raise InvalidRequestError("uri", f"no redirect from {redirect.url}", repr(where[:200]))

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    return aiohttp.ClientSession(trace_configs=[trace], **options)
