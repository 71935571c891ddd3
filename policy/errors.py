"""The one error of this package: what is wrong, in which file and line, and what was expected."""

from pathlib import Path


class PolicyError(ValueError):
    """A policy file is missing, broken or says something that cannot be.

    str() is one line, "detect.yaml:14: detect.thresholds.cpu_high.hold_s: <what was expected>". line
    is 0 when the file or folder as a whole is meant (its path is then given in full); key is empty
    when no key is meant.
    """

    def __init__(self, file: Path, line: int, key: str, expected: str) -> None:
        self.file = file
        self.line = line
        self.key = key
        self.expected = expected
        where = f"{file.name}:{line}" if line else str(file)
        super().__init__(" ".join(": ".join(part for part in (where, key, expected) if part).split()))
