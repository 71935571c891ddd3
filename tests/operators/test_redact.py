import pytest

from operators.redact import Redactor

REDACTOR = Redactor(email=True, card=True, phone=True, guest_networks=["10.50.0.0/16", "fd00:50::/32"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail from anna.b+c@mail.example.no now", "mail from [email] now"),
        ("card 4111-1111-1111-1111 ok", "card [card] ok"),
        ("card 378282246310005", "card [card]"),
        ("call +47 912 34 567 please", "call [phone] please"),
        ("call +1 (415) 555-0132.", "call [phone]."),
        ("lease 10.50.3.4 to 10.51.3.4", "lease [guest_ip] to 10.51.3.4"),
        ("dst 10.50.3.4:443 src:10.50.3.4", "dst [guest_ip]:443 src:[guest_ip]"),
        ("from ::ffff:10.50.3.4 port 22", "from [guest_ip] port 22"),
        ("card_4111111111111111 paid", "card_[card] paid"),
        ("mail åse@blåbær.no", "mail [email]"),
        ("lease fd00:50::1 and fd00:51::1", "lease [guest_ip] and fd00:51::1"),
    ],
)
def test_personal_data_is_replaced_by_its_kind(text: str, expected: str) -> None:
    assert REDACTOR.text(text)[0] == expected


@pytest.mark.parametrize(
    "text",
    [
        "req-38101a0b-2096-447d-96ea-a692162415ae 113d3a99c3da401fbd62cc2caa5b96d2",
        "0190aaaa-4111-1111-1111-111111111111",
        "epoch 1767225600000000 took 1234567890123 ns",
        "version 1.2.3.4567 at 12:30:45",
        "card 4111 1111 1111 1112 fails its check digit",
        "temperature +12 and rising, offset +0100",
        "user@ and @host are no addresses",
        "999.10.50.1.2",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert REDACTOR.text(text) == (text, {})


def test_values_are_redacted_at_any_depth_and_counted() -> None:
    value, found = REDACTOR.value({"a": ["bob@example.org", {"b": "bob@example.org"}], "n": 1, "x@y.no": None})
    assert value == {"a": ["[email]", {"b": "[email]"}], "n": 1, "[email]": None}
    assert found == {"email": 3}


def test_each_kind_can_be_switched_off() -> None:
    off = Redactor(email=False, card=False, phone=False, guest_networks=[])
    text = "bob@example.org 4111111111111111 +47 912 34 567 10.50.1.1"
    assert off.text(text) == (text, {})
