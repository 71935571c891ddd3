"""The one error of this package: what is wrong, in which file and line, and what was expected."""

from pathlib import Path

_WHAT_IS_WANTED = ("a ", "an ", "at most ", "at least ", "one of ")


class PolicyError(ValueError):
    """A policy file is missing, broken or says something that cannot be.

    str() is one line, "detect.yaml:14: detect.thresholds.cpu_high.hold_s: expected a number". The
    word "expected" is put before a text that names what is wanted ("a known key"); a text that says
    more than that ("unknown key, did you mean hold_s?") stands as it is. line is 0 when the file or
    folder as a whole is meant (its path is then given in full); key is empty when no key is meant.
    """

    def __init__(self, file: Path, line: int, key: str, expected: str) -> None:
        self.file = file
        self.line = line
        self.key = key
        self.expected = expected
        where = f"{file.name}:{line}" if line else str(file)
        says = f"expected {expected}" if expected.startswith(_WHAT_IS_WANTED) else expected
        super().__init__(" ".join(": ".join(part for part in (where, key, says) if part).split()))
