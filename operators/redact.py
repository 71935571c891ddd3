"""redact: personal data is taken out before anything is published or stored."""

import re
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from policy import PolicySet

_EMAIL = re.compile(r"[\w.%+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_CARD = re.compile(r"(?<![^\W_])(?<![.-])(?:\d[ -]?){12,18}\d(?![\w-])")
_PHONE = re.compile(r"(?<![\w+])\+\d(?:[ ()./-]{0,2}\d){7,14}(?!\w)")
_IPV4 = re.compile(r"(?<![\d.])(?:::ffff:)?\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)", re.IGNORECASE)
_IPV6 = re.compile(r"(?<![\w.:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")


class Redactor:
    """Replaces e-mail addresses, payment card numbers, phone numbers and guests' addresses.

    A card number has 13 to 19 digits, a card network's first digit (2 to 6) and a right Luhn check
    digit; a phone number is in international form (+47 ...); a guest's address lies in one of the
    guest networks. Keeps no state.

    >>> redactor = Redactor(email=True, card=True, phone=True, guest_networks=["10.50.0.0/16"])
    >>> redactor.text("mail bob@example.org card 4111 1111 1111 1111 from 10.50.3.4 to 10.1.0.1")[0]
    'mail [email] card [card] from [guest_ip] to 10.1.0.1'
    """

    def __init__(self, *, email: bool, card: bool, phone: bool, guest_networks: Sequence[str]) -> None:
        self._email = email
        self._card = card
        self._phone = phone
        self._guests: list[IPv4Network | IPv6Network] = [ip_network(network) for network in guest_networks]

    def text(self, text: str) -> tuple[str, Counter[str]]:
        """The text with each finding replaced by its kind in brackets, and how many of each kind."""
        found: Counter[str] = Counter()
        if self._email and "@" in text:
            text = self._replace(_EMAIL, "email", text, found)
        if self._guests and ("." in text or ":" in text):
            text = _IPV4.sub(lambda match: self._guest(match, found), text)
            text = _IPV6.sub(lambda match: self._guest(match, found), text)
        if self._phone and "+" in text:
            text = self._replace(_PHONE, "phone", text, found)
        if self._card:
            text = _CARD.sub(lambda match: _card(match, found), text)
        return text, found

    def payload(self, data: bytes) -> bytes:
        """The same for bytes that may or may not be UTF-8."""
        return self.text(data.decode("utf-8", "surrogateescape"))[0].encode("utf-8", "surrogateescape")

    def value(self, value: Any) -> tuple[Any, Counter[str]]:
        """The same for the texts inside a JSON value, keys included."""
        if isinstance(value, str):
            return self.text(value)
        found: Counter[str] = Counter()
        if isinstance(value, dict):
            return self._mapping(value)
        if isinstance(value, list):
            items = [self.value(item) for item in value]
            for _, in_item in items:
                found += in_item
            return [item for item, _ in items], found
        return value, found

    def _mapping(self, value: dict[str, Any]) -> tuple[dict[str, Any], Counter[str]]:
        """Keys that are one after redaction stay apart by a number."""
        found: Counter[str] = Counter()
        out: dict[str, Any] = {}
        for key, item in value.items():
            clean, in_key = self.text(key)
            name, number = clean, 1
            while name in out:
                number += 1
                name = f"{clean}#{number}"
            out[name], in_item = self.value(item)
            found += in_key + in_item
        return out, found

    @staticmethod
    def _replace(pattern: re.Pattern[str], kind: str, text: str, found: Counter[str]) -> str:
        text, count = pattern.subn(f"[{kind}]", text)
        if count:
            found[kind] += count
        return text

    def _guest(self, match: re.Match[str], found: Counter[str]) -> str:
        try:
            address = ip_address(match[0].lower().removeprefix("::ffff:"))
        except ValueError:
            return match[0]
        if not any(address in network for network in self._guests):
            return match[0]
        found["guest_ip"] += 1
        return "[guest_ip]"


def redactor_of(policy: PolicySet, ship_id: str) -> Redactor:
    """The redactor that policy.privacy sets for a ship."""
    privacy = policy.for_ship(ship_id).privacy
    return Redactor(
        email=privacy.redact.email,
        card=privacy.redact.card,
        phone=privacy.redact.phone,
        guest_networks=[str(network) for network in privacy.guest_networks] if privacy.redact.guest_ip else [],
    )


def _card(match: re.Match[str], found: Counter[str]) -> str:
    digits = [int(char) for char in match[0] if char.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6) or not _luhn(digits):
        return match[0]
    found["card"] += 1
    return "[card]"


def _luhn(digits: Sequence[int]) -> bool:
    """Check digit by ISO/IEC 7812-1, annex B."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if position % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0
