"""privacy: what is taken out before anything is published or stored."""

from ipaddress import IPv4Network, IPv6Network

from pydantic import Field

from policy.base import Segment


class RedactPolicy(Segment):
    """Which kinds of personal data are replaced by their kind in brackets."""

    email: bool = Field(True, description="e-mail addresses")
    card: bool = Field(True, description="payment card numbers (with a right check digit)")
    phone: bool = Field(True, description="phone numbers in international form (+47 ...)")
    guest_ip: bool = Field(True, description="addresses in guest_networks")


class PrivacyPolicy(Segment):
    """Personal data."""

    redact: RedactPolicy = Field(RedactPolicy(), description="what is redacted in log lines")
    guest_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), max_length=1000, description="networks of passengers and crew (CIDR)"
    )
