"""Names of files inside a bundle: they come from outside, and must not lead out of a folder."""

from serving.errors import InvalidRequestError


def check_path(path: str) -> None:
    """InvalidRequestError unless it is relative, with forward slashes, and leads nowhere but down.

    `::` would make fsspec chain file systems.
    """
    parts = path.split("/")
    if not all(parts) or {".", ".."} & set(parts) or any(bad in path for bad in ("\\", "\0", "::")):
        raise InvalidRequestError("path", "a plain relative path", repr(path[:200]))
