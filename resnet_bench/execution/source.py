"""Which source this is: machines that work together must run the same."""

import hashlib
from functools import cache
from pathlib import Path

PACKAGE_FOLDER = Path(__file__).resolve().parent.parent


@cache
def source_digest(folder: Path = PACKAGE_FOLDER) -> str:
    """Return twelve hexadecimal digits that depend on every source file."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
